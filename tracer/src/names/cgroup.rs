//! What a process's `/proc/PID/cgroup` says about the container and the pod that it is in.
//!
//! The kubelet puts each pod into a cgroup of its own, below it the runtime each container:
//!
//! ```text
//! systemd   /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/cri-containerd-ID.scope
//! cgroupfs  /kubepods/burstable/podUID/ID
//! ```
//!
//! The parts above may be missing, or there may be more of them: a process sees paths from the root
//! of its cgroup namespace, and nodes that are containers nest. Only the components that name
//! something are looked at, and the last pod in a path counts.

/// What the cgroup names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cgroup {
    /// UID of the pod, with dashes.
    pub(super) pod: Option<String>,
    /// `RUNTIME://ID`; the runtime is left out where the path does not name it.
    pub(super) container: Option<String>,
}

/// What stands before the id in the name of a systemd scope, and the runtime that writes it so.
const SCOPES: &[(&str, &str)] = &[
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-conmon-", "cri-o"),
    ("crio-", "cri-o"),
    ("docker-", "docker"),
    ("libpod-conmon-", "podman"),
    ("libpod-", "podman"),
];

/// Names of the directory right above the id with the cgroupfs driver of a runtime.
const PARENTS: &[(&str, &str)] = &[
    ("docker", "docker"),
    ("libpod_parent", "podman"),
    ("crio", "cri-o"),
    ("default", "containerd"),
];

/// Hexadecimal digits of a container's id.
const ID_LEN: usize = 64;

/// Reads the file: a line for each hierarchy, `ID:CONTROLLERS:PATH` (v1) or `0::PATH` (v2). The
/// first line that names a pod counts, otherwise the first that names a container.
pub(super) fn parse(text: &str) -> Option<Cgroup> {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut container = None;
    for found in paths.filter_map(path) {
        if found.pod.is_some() {
            return Some(found);
        }
        container.get_or_insert(found);
    }
    container
}

fn path(path: &str) -> Option<Cgroup> {
    let (mut pod, mut container) = (None, None);
    let mut parent = "";
    // containerd's cgroupfs driver below a kubelet with the systemd one: `PARENT:cri-containerd:ID`
    let parts = path.split(['/', ':']).filter(|p| !p.is_empty());
    for part in parts {
        if let Some(uid) = pod_uid(part) {
            (pod, container) = (Some(uid), None);
        } else if let Some(found) = container_id(part, parent) {
            container = Some(found);
        }
        parent = part;
    }
    (pod.is_some() || container.is_some()).then_some(Cgroup { pod, container })
}

/// `podUID`, `kubepods-podUID.slice`, `kubepods-besteffort-podUID.slice`,
/// `kubelet-kubepods-burstable-podUID.slice`.
fn pod_uid(part: &str) -> Option<String> {
    let uid = match part.strip_suffix(".slice") {
        // systemd gives `-` a meaning of its own: the kubelet writes `_` for it
        Some(slice) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => part.strip_prefix("pod")?.to_owned(),
    };
    let fits = |c: char| c.is_ascii_hexdigit() || c == '-';
    // a UUID, or the hash of a static pod's manifest
    (matches!(uid.len(), 32 | 36) && uid.chars().all(fits)).then_some(uid)
}

fn container_id(part: &str, parent: &str) -> Option<String> {
    let id = |text: &str| {
        let hex = text.len() == ID_LEN && text.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| text.to_owned())
    };
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in SCOPES {
        if let Some(id) = scope.strip_prefix(prefix).and_then(id) {
            return Some(format!("{runtime}://{id}"));
        }
    }
    let id = id(scope)?;
    let known = |list: &[(&str, &'static str)]| {
        let found = list.iter().find(|(name, _)| *name == parent);
        found.map(|(_, runtime)| *runtime)
    };
    let runtime = known(PARENTS).or((parent == "cri-containerd").then_some("containerd"));
    Some(runtime.map_or_else(|| id.clone(), |r| format!("{r}://{id}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const ID: &str = "3f2a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718";
    const UID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
    const SYSTEMD_UID: &str = "0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9";
    const STATIC: &str = "5a3c1f0e9d8b7a6c5d4e3f2a1b0c9d8e";

    fn filled(text: &str) -> String {
        text.replace("STATIC", STATIC)
            .replace("SUID", SYSTEMD_UID)
            .replace("UID", UID)
            .replace("ID", ID)
    }

    #[rstest]
    // systemd driver, cgroup v2
    #[case::containerd(
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSUID.slice/cri-containerd-ID.scope",
        "UID",
        "containerd://ID"
    )]
    #[case::guaranteed(
        "0::/kubepods.slice/kubepods-podSUID.slice/cri-containerd-ID.scope",
        "UID",
        "containerd://ID"
    )]
    #[case::crio(
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSUID.slice/crio-ID.scope",
        "UID",
        "cri-o://ID"
    )]
    #[case::conmon(
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSUID.slice/crio-conmon-ID.scope",
        "UID",
        "cri-o://ID"
    )]
    #[case::crio_inner(
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSUID.slice/crio-ID.scope/container",
        "UID",
        "cri-o://ID"
    )]
    #[case::docker(
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSUID.slice/docker-ID.scope",
        "UID",
        "docker://ID"
    )]
    #[case::podman(
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSUID.slice/libpod-ID.scope",
        "UID",
        "podman://ID"
    )]
    #[case::static_pod(
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSTATIC.slice/cri-containerd-ID.scope",
        "STATIC",
        "containerd://ID"
    )]
    #[case::kind(
        "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podSUID.slice/cri-containerd-ID.scope",
        "UID",
        "containerd://ID"
    )]
    // cgroupfs driver: nothing says which runtime it is
    #[case::cgroupfs_v2("0::/kubepods/burstable/podUID/ID", "UID", "ID")]
    #[case::cgroupfs_guaranteed("0::/kubepods/podUID/ID", "UID", "ID")]
    #[case::cgroupfs_crio("0::/kubepods/besteffort/podUID/crio-ID", "UID", "cri-o://ID")]
    // cgroup v1
    #[case::v1(
        "12:pids:/kubepods/besteffort/podUID/ID\n1:name=systemd:/kubepods/besteffort/podUID/ID\n0::/",
        "UID",
        "ID"
    )]
    #[case::v1_late(
        "12:pids:/\n11:memory:/system.slice/containerd.service\n3:cpu:/kubepods.slice/kubepods-podSUID.slice/docker-ID.scope\n",
        "UID",
        "docker://ID"
    )]
    #[case::mixed_drivers(
        "4:cpu,cpuacct:/system.slice/containerd.service/kubepods-burstable-podSUID.slice:cri-containerd:ID",
        "UID",
        "containerd://ID"
    )]
    // seen from another cgroup namespace
    #[case::outside(
        "0::/../../kubepods-burstable-podSUID.slice/cri-containerd-ID.scope",
        "UID",
        "containerd://ID"
    )]
    // a node that is a container of another node
    #[case::nested(
        "0::/kubepods/burstable/podSTATIC/ID/kubelet/kubepods/podUID/cri-containerd-ID.scope",
        "UID",
        "containerd://ID"
    )]
    fn pods(#[case] text: &str, #[case] uid: &str, #[case] container: &str) {
        let found = parse(&filled(text)).unwrap();
        assert_eq!(found.pod, Some(filled(uid)));
        assert_eq!(found.container, Some(filled(container)));
    }

    #[rstest]
    #[case("0::/docker/ID", "docker://ID")]
    #[case("0::/system.slice/docker-ID.scope", "docker://ID")]
    #[case("0::/system.slice/docker-ID.scope/init.scope", "docker://ID")]
    #[case("0::/machine.slice/libpod-ID.scope/container", "podman://ID")]
    #[case("9:name=systemd:/libpod_parent/libpod-ID", "podman://ID")]
    #[case("0::/system.slice/nerdctl-ID.scope", "containerd://ID")]
    #[case("0::/default/ID", "containerd://ID")]
    fn containers_of_no_pod(#[case] text: &str, #[case] container: &str) {
        let found = parse(&filled(text)).unwrap();
        assert_eq!(
            (found.pod, found.container),
            (None, Some(filled(container)))
        );
    }

    /// A pod's own cgroup, where a sandbox without a pause process is.
    #[test]
    fn a_pod_without_a_container() {
        let found = parse(&filled("0::/kubepods/burstable/podUID")).unwrap();
        assert_eq!((found.pod, found.container), (Some(UID.into()), None));
    }

    #[rstest]
    #[case("")]
    #[case("0::/")]
    #[case("0::/user.slice/user-1000.slice/session-3.scope")]
    #[case("0::/kubepods.slice/kubepods-burstable.slice")]
    #[case("0::/system.slice/podman.service")]
    #[case("0::/pods/pod-web/podium.slice")]
    #[case("0::/kubepods/podUIDUID")]
    #[case("no colons")]
    fn nothing(#[case] text: &str) {
        assert_eq!(parse(&filled(text)), None);
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "(?s).{0,300}") {
            let _found = parse(&text);
        }
    }
}
