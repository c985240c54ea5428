//! Address translation, fragments and ICMP errors as rows of the table; more of each is in the program
//! `nat`.

use std::time::Duration;

use anyhow::Result;
use harness::Topology;
use harness::confusion::{Case, Flow, Load, Wanted};
use harness::traffic::Udp;
use serde_json::{Value, json};

use crate::lab::{self, A, B1, FAR, MAIN};

const SERVICE: [&str; 2] = ["10.96.0.10", "fd96::10"];
/// The node's addresses towards the host and towards b2.
const IN: [&str; 2] = ["10.1.0.1", "fd01::1"];
const O1: [&str; 2] = ["10.2.0.1", "fd02::1"];
const O2: [&str; 2] = ["10.3.0.1", "fd03::1"];
/// Three fragments of a 1500-byte MTU.
const SIZE: usize = 4000;

/// The service's address leads to b2, the one behind it to b1: which of them routing was asked for
/// shows.
fn topology(name: &str) -> Topology {
    lab::node(name)
        .route("n1", "10.20.0.0/24 via 10.2.0.2")
        .route("n1", "fd20::/64 via fd02::2")
        .route("n1", "10.96.0.0/16 via 10.3.0.2")
        .route("n1", "fd96::/64 via fd03::2")
}

/// kube-proxy's: a service in front of the far address (port 80) and of the client itself (82), one in front of the node itself (83), and
/// masquerade of what is sent to port 7 from port 7302 and of what comes back to its sender.
fn rules(family: usize) -> String {
    let table = ["ip", "ip6"][family];
    let (client, far, service) = (A[family], FAR[family], SERVICE[family]);
    let dnat = format!(
        "  {table} daddr {service} udp dport 80 dnat to {}\n  {table} daddr {service} udp dport 82 dnat to {}\n",
        lab::at(far, 7),
        lab::at(client, 7)
    );
    let own = lab::at(IN[family], 7);
    let dnat = format!("{dnat}  {table} daddr {service} udp dport 83 dnat to {own}\n");
    format!(
        "table {table} kube {{\n chain pre {{\n  type nat hook prerouting priority -100\n{dnat} }}\n \
         chain out {{\n  type nat hook output priority -100\n{dnat} }}\n \
         chain post {{\n  type nat hook postrouting priority 100\n  udp sport 7302 masquerade\n  \
         {table} saddr {client} {table} daddr {client} masquerade\n }}\n}}\n"
    )
}

fn ends((src, sport): (&str, u16), (dst, dport): (&str, u16)) -> Value {
    json!({"src": src, "sport": sport, "dst": dst, "dport": dport})
}

fn udp(ends: &Value) -> Value {
    let mut flow = ends.clone();
    flow["proto"] = json!("udp");
    flow
}

/// A conversation: its name and sender, how it begins, how it goes on behind the translation.
struct Conversation {
    name: String,
    from: &'static str,
    begins: Value,
    goes_on: Value,
    request: Wanted,
    reply: Option<Wanted>,
}

impl Conversation {
    fn flow(self, udp_sender: Udp) -> Flow {
        let changed = self.begins != self.goes_on;
        let nat = if changed {
            self.goes_on.clone()
        } else {
            Value::Null
        };
        let flow = Flow::new(&self.name, self.from, udp_sender)
            .seen_as(udp(&self.begins))
            .on_wire(udp(&self.goes_on))
            .request(self.request.also(json!({"nat": nat})));
        match self.reply {
            Some(reply) => flow.reply(reply),
            None => flow,
        }
    }
}

pub(crate) fn services() -> Case {
    let lab = (0..2).fold(topology("nat"), |lab, family| lab.nft("n1", &rules(family)));
    let mut case = Case::new("nat", lab);
    for family in 0..2 {
        let (a, far, service) = (A[family], FAR[family], SERVICE[family]);
        let to_far = || lab::looked_up("o1", Some(B1[family]), MAIN.0, MAIN.1);
        let to_client = || lab::looked_up("in", None, MAIN.0, MAIN.1);
        let name = |name: &str| format!("{name}{}", lab::family(far));
        let all = [
            Conversation {
                name: name("service"),
                from: "a",
                begins: ends((a, 7301), (service, 80)),
                goes_on: ends((a, 7301), (far, 7)),
                request: to_far(),
                reply: Some(to_client()),
            },
            Conversation {
                name: name("masquerade"),
                from: "a",
                begins: ends((a, 7302), (far, 7)),
                goes_on: ends((O1[family], 7302), (far, 7)),
                request: to_far(),
                reply: Some(to_client()),
            },
            Conversation {
                name: name("hairpin"),
                from: "a",
                begins: ends((a, 7303), (service, 82)),
                goes_on: ends((IN[family], 7303), (a, 7)),
                request: to_client(),
                reply: Some(to_client()),
            },
            // to the node itself; the lookup was for an address that its packets did not come in with
            Conversation {
                name: name("here"),
                from: "a",
                begins: ends((a, 7305), (service, 83)),
                goes_on: ends((a, 7305), (IN[family], 7)),
                request: Wanted::ends()
                    .decision(json!({"type": "local", "rule": 0, "table": 255, "how": "inferred"}))
                    .also(json!({"outcome": "delivered"})),
                reply: Some(to_client()),
            },
            // the source was chosen for the way to the service
            Conversation {
                name: name("own"),
                from: "n1",
                begins: ends((O2[family], 7304), (service, 80)),
                goes_on: ends((O2[family], 7304), (far, 7)),
                request: to_far(),
                reply: None,
            },
        ];
        case = case.echo("b1", far).echo("a", a).echo("n1", IN[family]);
        for conversation in all {
            let sport = u16::try_from(conversation.begins["sport"].as_u64().unwrap_or(0));
            let port = match conversation.name.get(..4) {
                Some("hair") => 82,
                Some("here") => 83,
                _ => 80,
            };
            let to = if conversation.name.starts_with("masquerade") {
                lab::at(far, 7)
            } else {
                lab::at(service, port)
            };
            case = case.flow(conversation.flow(Udp::to(&to).sport(sport.unwrap_or(0))));
        }
    }
    case
}

/// Later fragments have no ports. Two conversations between the same addresses, plain and translated
/// (where connection tracking puts them together and the node takes them apart again).
fn fragments(name: &str, lab: &str, tracked: bool) -> Case {
    let topology = (0..2).fold(topology(lab), |lab, family| {
        lab.when(tracked, |lab| lab.nft("n1", &rules(family)))
    });
    let mut case = Case::new(name, topology);
    for family in 0..2 {
        let (a, far) = (A[family], FAR[family]);
        let (to, port) = if tracked {
            (SERVICE[family], 80)
        } else {
            (far, 7)
        };
        case = case.echo("b1", far);
        for (sport, count) in [(7311, 3), (7312, 5)] {
            let packets = json!({"packets": count * 3});
            let conversation = Conversation {
                name: format!("{sport}.{}", lab::family(far)),
                from: "a",
                begins: ends((a, sport), (to, port)),
                goes_on: ends((a, sport), (far, 7)),
                request: lab::looked_up("o1", Some(B1[family]), MAIN.0, MAIN.1)
                    .any_count()
                    .also(packets.clone()),
                reply: Some(
                    lab::looked_up("in", None, MAIN.0, MAIN.1)
                        .any_count()
                        .also(packets),
                ),
            };
            let sender = Udp::to(&lab::at(to, port))
                .sport(sport)
                .count(count)
                .size(SIZE);
            case = case.flow(conversation.flow(sender));
        }
    }
    case
}

pub(crate) fn plain_fragments() -> Case {
    fragments("fragments", "frg", false)
}

pub(crate) fn translated_fragments() -> Case {
    fragments("nat fragments", "frn", true)
}

/// Errors about the packets of others: from behind the node, and made by it.
pub(crate) fn errors() -> Case {
    let lab = topology("icm").ip("n1", "link set o2 mtu 1300");
    let mut case = Case::new("icmp", lab);
    for family in 0..2 {
        let (a, far, service) = (A[family], FAR[family], SERVICE[family]);
        let [closed, too_big] = [[(3, 3), (3, 4)], [(1, 4), (2, 0)]][family];
        let error = |(kind, code), dev: &str, dir: &str| json!({"icmp_errors": [{"type": kind, "code": code, "dev": dev, "dir": dir}]});
        let name = |name: &str| format!("{name}{}", lab::family(far));
        let quick = |to: &str, port| {
            Udp::to(&lab::at(to, port))
                .connect()
                .wait(Duration::from_millis(50))
        };
        let refused = lab::looked_up("o1", Some(B1[family]), MAIN.0, MAIN.1);
        let large = lab::decision("o2", Some(lab::B2[family]), MAIN.0, MAIN.1, "lookup");
        case = case
            .flow(
                Flow::new(&name("unreachable"), "a", quick(far, 19).sport(7321))
                    .seen_as(udp(&ends((a, 7321), (far, 19))))
                    .request(refused.also(error(closed, "o1", "in"))),
            )
            .flow(
                Flow::new(
                    &name("too big"),
                    "a",
                    quick(service, 19)
                        .sport(7322)
                        .size(1350)
                        .count(1)
                        .dont_fragment(),
                )
                .seen_as(udp(&ends((a, 7322), (service, 19))))
                .request(
                    Wanted::ends()
                        .decision(large)
                        .also(error(too_big, "in", "out")),
                ),
            );
    }
    case
}

#[test]
fn services_masquerade_and_hairpin() -> Result<()> {
    services().run(Load::Quiet)?.agree()
}

#[test]
fn later_fragments() -> Result<()> {
    plain_fragments().run(Load::Quiet)?.agree()
}

#[test]
fn later_fragments_of_translated_packets() -> Result<()> {
    translated_fragments().run(Load::Quiet)?.agree()
}

#[test]
fn icmp_errors() -> Result<()> {
    errors().run(Load::Quiet)?.agree()
}
