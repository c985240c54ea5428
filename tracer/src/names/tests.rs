//! Trees as the kubelet and runtimes make them, with real namespaces behind their links.

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::inventory::Netns;

const WEB: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
const CONTAINER: &str = "3f2a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718";
const POD: NetnsId = NetnsId(4_026_532_300);

struct Host {
    root: TempDir,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::create_dir(root.path().join("pods")).unwrap();
        Self { root }
    }

    fn sources(&self) -> Sources {
        Sources {
            proc: self.root.path().join("proc"),
            pod_logs: self.root.path().join("pods"),
        }
    }

    fn process(self, pid: u32, cgroup: &str) -> Self {
        let dir = self.root.path().join(format!("proc/{pid}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("cgroup"), cgroup).unwrap();
        self
    }

    fn log(self, entry: &str) -> Self {
        fs::create_dir(self.root.path().join("pods").join(entry)).unwrap();
        self
    }
}

fn pod_cgroup(uid: &str) -> String {
    let slice = uid.replace('-', "_");
    format!("0::/kubepods.slice/kubepods-pod{slice}.slice/cri-containerd-{CONTAINER}.scope\n")
}

fn inventory() -> Inventory {
    let pod = Netns {
        id: POD,
        edge: true,
        ..Netns::default()
    };
    Inventory {
        netns: BTreeMap::from([(POD, pod)]),
        ..Inventory::default()
    }
}

fn owner(resolver: &mut Resolver, pids: &[u32]) -> Option<Owner> {
    let mut inventory = inventory();
    resolver.assign(&mut inventory, &Processes::from([(POD, pids.to_vec())]));
    inventory.owner(POD).cloned()
}

#[test]
fn a_pod_is_named_by_its_log_directory() {
    let host = Host::new()
        .process(70, &pod_cgroup(WEB))
        .log(&format!("shop_web-0_{WEB}"));
    let mut resolver = Resolver::new(host.sources());
    let web = Owner::pod("shop", "web-0", Some(WEB.into()));
    assert_eq!(owner(&mut resolver, &[70]), Some(web));
    assert_eq!(resolver.open(), 0);
}

#[test]
fn a_shell_that_was_moved_into_a_pod_does_not_hide_it() {
    let host = Host::new()
        .process(7, "0::/user.slice/user-0.slice/session-1.scope\n")
        .process(70, &pod_cgroup(WEB))
        .log(&format!("shop_web-0_{WEB}"));
    let found = owner(&mut Resolver::new(host.sources()), &[7, 70]);
    assert_eq!(found.unwrap().to_string(), "shop/web-0");
}

#[test]
fn without_logs_the_uid_is_shown_and_the_name_asked_for_again() {
    let host = Host::new().process(70, &pod_cgroup(WEB));
    let mut resolver = Resolver::new(host.sources());
    let found = owner(&mut resolver, &[70]).unwrap();
    assert_eq!(found.to_string(), "pod 0a1b2c3d-4e5");
    assert_eq!(resolver.open(), 1);
    let _host = host.log(&format!("shop_web-0_{WEB}"));
    let found = owner(&mut resolver, &[70]).unwrap();
    assert_eq!(found.to_string(), "shop/web-0");
}

#[test]
fn what_is_known_is_not_read_again_until_the_process_ends() {
    let host = Host::new()
        .process(70, &pod_cgroup(WEB))
        .log(&format!("shop_web-0_{WEB}"));
    let mut resolver = Resolver::new(host.sources());
    assert!(owner(&mut resolver, &[70]).is_some());
    fs::remove_dir_all(host.root.path().join("proc/70")).unwrap();
    assert!(owner(&mut resolver, &[70]).is_some(), "read again");
    // the number of the namespace belongs to another one now
    assert_eq!(owner(&mut resolver, &[71]), None);
    assert_eq!(resolver.open(), 1);
}

#[test]
fn the_namespace_of_process_1_belongs_to_the_node() {
    let host = Host::new()
        .process(1, "0::/init.scope\n")
        .process(70, &pod_cgroup(WEB));
    fs::create_dir(host.root.path().join("proc/1/ns")).unwrap();
    symlink("/proc/self/ns/net", host.root.path().join("proc/1/ns/net")).unwrap();
    let id = NetnsId(fs::metadata("/proc/self/ns/net").unwrap().ino() as u32);
    let mut inventory = inventory();
    let mut node = inventory.netns[&POD].clone();
    node.id = id;
    inventory.netns.insert(id, node);
    let processes = Processes::from([(POD, vec![70]), (id, vec![70])]);
    Resolver::new(host.sources()).assign(&mut inventory, &processes);
    assert_eq!(inventory.owner(id), None);
    assert!(inventory.owner(POD).is_some());
}

/// Everything here runs in one container: its cgroup tells nothing about a namespace.
#[test]
fn a_container_around_everything_names_nothing() {
    let cgroup = format!("0::/docker/{CONTAINER}\n");
    let host = Host::new().process(1, &cgroup).process(70, &cgroup);
    assert_eq!(owner(&mut Resolver::new(host.sources()), &[70]), None);
}

#[test]
fn a_container_of_no_pod_has_its_id() {
    let host = Host::new().process(70, &format!("0::/system.slice/docker-{CONTAINER}.scope\n"));
    let found = owner(&mut Resolver::new(host.sources()), &[70]).unwrap();
    assert_eq!(found.to_string(), "docker://3f2a4b5c6d7e");
}

#[test]
fn pods_are_found_by_name() {
    let other = "5a3c1f0e9d8b7a6c5d4e3f2a1b0c9d8e";
    let host = Host::new()
        .process(70, &pod_cgroup(WEB))
        .process(80, &pod_cgroup(other))
        .log(&format!("shop_web-0_{WEB}"))
        .log(&format!("test_web-0_{other}"));
    let mut resolver = Resolver::new(host.sources());
    let mut processes = Processes::from([(POD, vec![70]), (NetnsId(9), vec![80])]);
    assert_eq!(resolver.find("shop/web-0", &processes), Ok(POD));
    assert_eq!(resolver.find("test/web-0", &processes), Ok(NetnsId(9)));
    let several = resolver.find("web-0", &processes).unwrap_err();
    assert_eq!(several, "web-0 can be shop/web-0 or test/web-0");
    let none = resolver.find("db-0", &processes).unwrap_err();
    assert_eq!(none, "no pod on this node is called db-0");
    processes.remove(&NetnsId(9));
    assert_eq!(resolver.find("web-0", &processes), Ok(POD));
}

#[test]
fn what_hides_processes_or_names_is_told() {
    let host = Host::new()
        .process(70, "")
        .log("a_b_5a3c1f0e9d8b7a6c5d4e3f2a1b0c9d8e");
    let access = Access::new(&host.sources());
    assert!(
        access
            .processes
            .unwrap_err()
            .contains("process 1 is not there")
    );
    assert_eq!(access.pod_logs.unwrap(), 1);
    let sources = Sources {
        pod_logs: "/nowhere".into(),
        ..Sources::default()
    };
    let access = Access::new(&sources);
    assert!(access.pod_logs.is_err());
}
