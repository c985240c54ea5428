//! Files as CNIs and operators write them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rstest::rstest;
use tempfile::TempDir;

use super::{Given, intent, parse_prefix};
use crate::diagnose::{Intent, Mode, Source};

/// A directory that goes when the test ends.
struct Tree(TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The intent with this tree as the node's files.
    fn intent(&self, more: &str) -> Intent {
        let file = self.file("cluster.toml");
        fs::write(&file, format!("root = \".\"\n{more}")).unwrap();
        intent(&Given {
            file: Some(file),
            ..Given::default()
        })
        .unwrap()
    }
}

const CONFLIST: &str = "etc/cni/net.d/05-net.conflist";
const POD: &str = "var/lib/kubelet/pods/6f2e/volumes";

#[rstest]
#[case::cilium(r#"{"plugins":[{"type":"cilium-cni"}]}"#, "Cilium")]
#[case::calico(r#"{"plugins":[{"type":"calico"},{"type":"portmap"}]}"#, "Calico")]
#[case::kube_router(
    r#"{"plugins":[{"type":"bridge","bridge":"kube-bridge"}]}"#,
    "kube-router"
)]
#[case::kube_ovn(r#"{"plugins":[{"type":"kube-ovn"}]}"#, "Kube-OVN")]
#[case::aws(
    r#"{"plugins":[{"type":"aws-cni"},{"type":"egress-cni"}]}"#,
    "AWS VPC CNI"
)]
#[case::old(r#"{"type":"flannel"}"#, "flannel")]
fn a_plugin_names_the_cni(#[case] text: &str, #[case] name: &str) {
    let tree = Tree::new(&[(CONFLIST, text), ("etc/cni/net.d/99-loopback.conf", "{}")]);
    let known = tree.intent("");
    let cni = known.cni.clone().unwrap();
    assert_eq!(cni.name, name);
    assert!(cni.why.ends_with("05-net.conflist"), "{}", cni.why);
    // only the AWS CNI has one mode alone
    let native = name == "AWS VPC CNI";
    assert_eq!(known.mode == Mode::Native, native, "{known:?}");
}

#[test]
fn ciliums_config_map_states_mode_and_pods() {
    let dir = format!("{POD}/kubernetes.io~empty-dir/tmp/cilium/config-map");
    let files = [
        (format!("{dir}/routing-mode"), "native\n"),
        (format!("{dir}/cluster-pool-ipv4-cidr"), "10.244.0.0/16\n"),
        (format!("{dir}/cluster-pool-ipv6-cidr"), "fd44::/48\n"),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), *t)).collect();
    let known = Tree::new(&files).intent("");
    assert_eq!(
        (known.mode, known.source),
        (Mode::Native, Source::CniConfig)
    );
    let pods: Vec<String> = known.pod_cidrs.iter().map(ToString::to_string).collect();
    assert_eq!(pods, ["10.244.0.0/16", "fd44::/48"]);
    assert!(
        known.sources[0].contains("config-map/routing-mode"),
        "{:?}",
        known.sources
    );
}

#[rstest]
#[case("vxlan", "tunnel", Mode::Tunnel)]
#[case("disabled", "tunnel", Mode::Native)]
#[case("tunnel", "routing-mode", Mode::Tunnel)]
#[case("odd", "routing-mode", Mode::Unknown)]
fn keys_of_ciliums_config_map(#[case] value: &str, #[case] key: &str, #[case] mode: Mode) {
    let path = format!("tmp/cilium/config-map/{key}");
    let known = Tree::new(&[(&path, value)]).intent("");
    assert_eq!(known.mode, mode);
    assert_eq!(known.cni.unwrap().name, "Cilium");
}

#[rstest]
#[case::vxlan(r#"{"Type":"vxlan"}"#, Mode::Tunnel)]
#[case::direct(r#"{"Type":"vxlan","DirectRouting":true}"#, Mode::Unknown)]
#[case::host_gw(r#"{"Type":"host-gw"}"#, Mode::Native)]
fn flannels_backend(#[case] backend: &str, #[case] mode: Mode) {
    let text = format!(r#"{{"Network":"10.244.0.0/16","Backend":{backend}}}"#);
    let path = format!("{POD}/kubernetes.io~configmap/flannel-cfg/net-conf.json");
    let known = Tree::new(&[(&path, &text)]).intent("");
    assert_eq!(known.mode, mode);
    assert_eq!(known.pod_cidrs, [parse_prefix("10.244.0.0/16").unwrap()]);
}

#[test]
fn flannels_environment_has_the_pods_and_no_mode() {
    let env = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.1.1/24\nFLANNEL_MTU=1450\n";
    let known = Tree::new(&[("run/flannel/subnet.env", env)]).intent("");
    assert_eq!(known.mode, Mode::Unknown);
    assert_eq!(known.pod_cidrs, [parse_prefix("10.42.0.0/16").unwrap()]);
}

#[test]
fn what_is_given_outdoes_what_is_found() {
    let tree = Tree::new(&[("tmp/cilium/config-map/routing-mode", "native")]);
    let more = "mode = \"tunnel\"\npod_cidrs = [\"10.1.0.0/16\"]\n[[nodes]]\nname = \"n2\"\n\
                addresses = [\"10.0.0.2\"]\npod_cidrs = [\"10.1.2.0/24\"]\n";
    let known = tree.intent(more);
    assert_eq!(
        (known.mode, known.source),
        (Mode::Tunnel, Source::ClusterFile)
    );
    assert_eq!(
        known.nodes[0].pod_cidrs,
        [parse_prefix("10.1.2.0/24").unwrap()]
    );
    let given = Given {
        mode: Some(Mode::Native),
        pod_cidrs: vec![parse_prefix("10.2.0.0/16").unwrap()],
        file: Some(tree.file("cluster.toml")),
        ..Given::default()
    };
    let known = intent(&given).unwrap();
    assert_eq!((known.mode, known.source), (Mode::Native, Source::Flag));
    assert_eq!(known.sources[1], "pods: 10.2.0.0/16 (--pod-cidr)");
}

#[test]
fn an_empty_root_says_nothing() {
    let known = Tree::new(&[]).intent("");
    assert_eq!(known, Intent::default());
}

#[test]
fn damaged_files_of_cnis_say_nothing() {
    let files = [
        (CONFLIST, "{not json"),
        ("etc/kube-flannel/net-conf.json", "[]"),
    ];
    let known = Tree::new(&files).intent("");
    assert_eq!((known.mode, known.pod_cidrs.len()), (Mode::Unknown, 0));
}

#[rstest]
#[case("mode = \"vxlan\"", "expected \"native\" or \"tunnel\"")]
#[case("pod_cidr = []", "unknown field")]
#[case("pod_cidrs = [\"10.0.0.0/33\"]", "at most 32")]
#[case("[[nodes]]\naddresses = [\"n2\"]", "IP address")]
fn mistakes_in_a_cluster_file_are_shown(#[case] text: &str, #[case] part: &str) {
    let tree = Tree::new(&[("c.toml", text)]);
    let given = |path: &Path| Given {
        file: Some(path.into()),
        ..Given::default()
    };
    let error = intent(&given(&tree.file("c.toml")))
        .unwrap_err()
        .to_string();
    assert!(error.contains(part) && error.contains("c.toml"), "{error}");
    let missing = intent(&given(&tree.file("none.toml")))
        .unwrap_err()
        .to_string();
    assert!(missing.starts_with("cannot read"), "{missing}");
}

#[rstest]
#[case("10.244.7.1/16", "10.244.0.0/16")]
#[case("fd44::1", "fd44::1")]
fn prefixes_are_read(#[case] text: &str, #[case] shown: &str) {
    assert_eq!(parse_prefix(text).unwrap().to_string(), shown);
}
