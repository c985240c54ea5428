//! A namespace with everything in it that the reader must understand.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tracer::{
    inventory::Netns,
    net::{
        NetnsSelection,
        netns::{Found, Namespaces},
        read_inventory,
    },
};
/// The output of a command that must succeed.
pub(crate) fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|e| panic!("{line}: {e}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Namespaces of one test; deleted with it.
pub(crate) struct Lab {
    prefix: String,
    names: Vec<String>,
}

impl Lab {
    pub(crate) fn new(test: &str, names: &[&str]) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test makes network namespaces: run it as root"
        );
        let mut lab = Self {
            prefix: format!("tinv-{}-{test}", std::process::id()),
            names: Vec::new(),
        };
        for name in names {
            let full = lab.name(name);
            run(&format!("ip netns add {full}"));
            lab.names.push(full);
            lab.ip(name, "link set lo up");
        }
        lab
    }

    pub(crate) fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    pub(crate) fn ip(&self, short: &str, words: &str) -> String {
        run(&format!("ip -n {} {words}", self.name(short)))
    }

    /// Adds a device of a kind that this kernel may lack. What is then not compared is said.
    pub(crate) fn ip_if_known(&self, short: &str, words: &str) {
        let line = format!("ip -n {} {words}", self.name(short));
        let mut parts = line.split_whitespace();
        let output = Command::new(parts.next().unwrap()).args(parts).output();
        let output = output.unwrap_or_else(|e| panic!("{line}: {e}"));
        let error = String::from_utf8_lossy(&output.stderr);
        if error.contains("Unknown device type") || error.contains("Operation not supported") {
            // past the capture of test output, so that it is seen when the test passes
            let mut stderr = std::io::stderr();
            writeln!(
                stderr,
                "NOT CHECKED, this kernel has no such device: {words}"
            )
            .unwrap();
            return;
        }
        assert!(output.status.success(), "{line}: {error}");
    }

    pub(crate) fn json(&self, short: &str, words: &str) -> Vec<Value> {
        let text = run(&format!("ip -j -N -n {} {words}", self.name(short)));
        match text.trim() {
            "" => Vec::new(),
            text => serde_json::from_str(text).unwrap_or_else(|e| panic!("{words}: {e}: {text}")),
        }
    }

    pub(crate) fn find(&self, short: &str) -> Found {
        let all = Namespaces::find(Path::new("/proc")).unwrap();
        all.named(&self.name(short)).unwrap().clone()
    }

    pub(crate) fn read(&self, short: &str) -> Netns {
        let selection = NetnsSelection::Named(vec![self.name(short)]);
        let read = read_inventory(&selection, Path::new("/proc")).unwrap();
        let (inventory, notes) = (read.inventory, read.notes);
        assert_eq!(notes, Vec::<String>::new());
        inventory.home().unwrap().clone()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            drop(Command::new("ip").args(["netns", "del", name]).status());
        }
    }
}

pub(crate) fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

pub(crate) fn has_flag(value: &Value, flag: &str) -> bool {
    let flags = value["flags"].as_array();
    flags.is_some_and(|f| f.iter().any(|f| f == flag))
}

/// One namespace with every kind of device, address, route and rule.
pub(crate) fn rich() -> Lab {
    let lab = Lab::new("rich", &["a", "b"]);
    run(&format!(
        "ip link add eth0 netns {} type veth peer name far netns {}",
        lab.name("a"),
        lab.name("b")
    ));
    for line in [
        "link set eth0 up",
        "link add d0 type veth peer name d1",
        "link set d1 up mtu 1400",
        "link set d0 up mtu 1400",
        "addr add 10.0.0.1/24 dev eth0",
        "addr add 10.0.0.3/32 dev eth0 scope link",
        "addr add fd00::1/64 dev eth0 nodad",
        "addr add 10.1.0.1/24 dev d0",
        "link add v1 type veth peer name v2",
        "link add vx0 type vxlan id 42 local 10.0.0.1 remote 10.0.0.2 dstport 8472 dev eth0",
        "link add vx6 type vxlan id 43 local fd00::1 remote fd00::2 dstport 8472",
        "link add vxe type vxlan external dstport 4789",
        "link add br0 type bridge",
        "link set v2 master br0 up",
        "link set br0 up",
        "link add mv0 link eth0 type macvlan",
    ] {
        lab.ip("a", line);
    }
    for line in [
        "link add gn0 type geneve id 5 remote 10.0.0.2",
        "link add t1 type ipip local 10.0.0.1 remote 10.0.0.2",
        "link add t2 type sit local 10.0.0.1 remote 10.0.0.3",
        "link add t3 type ip6tnl local fd00::1 remote fd00::2",
        "link add t4 type gre local 10.0.0.1 remote 10.0.0.2",
        "link add t5 type gretap local 10.0.0.1 remote 10.0.0.2",
        "link add t6 type ip6gre local fd00::1 remote fd00::2",
        "link add t7 type wireguard",
        "link add eth0.5 link eth0 type vlan id 5",
        "link add vrf1 type vrf table 77",
    ] {
        lab.ip_if_known("a", line);
    }
    run(&format!("ip -n {} link set far up", lab.name("b")));
    lab
}

pub(crate) fn add_routes(lab: &Lab) {
    for line in [
        "route add default via 10.0.0.2 metric 100 proto dhcp src 10.0.0.1",
        "route add default via 10.1.0.2 dev d0 table 200",
        "route add 10.9.0.0/16 encap ip id 7 dst 10.0.0.2 ttl 64 dev eth0",
        "route add 10.10.0.0/16 encap ip id 7 src 10.0.0.1 dst 10.0.0.2 ttl 9 tos 4 key csum seq dev eth0",
        "route add 10.11.0.0/16 encap ip6 id 7 dst fd00::2 dev eth0",
        "-6 route add fd11::/64 encap ip6 id 9 dst fd00::2 hoplimit 9 tc 3 dev eth0",
        "route add 10.13.0.0/16 nexthop via 10.0.0.2 dev eth0 weight 3 nexthop via 10.2.0.2 dev d0 onlink",
        "route add 10.14.0.0/16 via inet6 fd00::2 dev eth0 mtu 1400",
        "route add blackhole 10.15.0.0/16",
        "route add unreachable 10.16.0.0/16 metric 5",
        "route add prohibit 10.17.0.0/16",
        "route add throw 10.18.0.0/16 table 100",
        "-6 route add default via fd00::2",
        "-6 route add blackhole fd15::/64",
        "-6 route add fd17::/64 nexthop via fd00::2 dev eth0 nexthop via fd00::3 dev eth0 weight 2",
        "-6 route add fd18::/64 via fd00::2 dev eth0 metric 5 mtu lock 1400 table 1000",
        "nexthop add id 1 via 10.0.0.2 dev eth0",
        "nexthop add id 2 via 10.1.0.2 dev d0",
        "nexthop add id 11 group 1,5/2,2",
        "route add 10.50.0.0/16 nhid 1",
        "route add 10.51.0.0/16 nhid 11",
    ] {
        lab.ip("a", line);
    }
}
