//! Packets that the stack takes in lists (`netif_receive_skb_list()`), as NICs deliver them: all of a
//! list are routed before the first one leaves, and a packet to the address of the one before it shares
//! that one's route without a lookup of its own (route hints).

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::confusion::{Case, Flow, Load, Wanted};
use harness::traffic::{burst as frame, offload};
use harness::{Network, command, deadline};
use serde_json::json;

use crate::lab::{self, A, B1, B2, MAIN};

/// Senders of each family.
const SENDERS: u16 = 32;
/// Packets of each flow.
const ROUNDS: u16 = 3;
const SPORT: u16 = 7400;
const ALIKE: u16 = 7480;

/// What a sender's packets are: three of four go the same way, one after the other.
struct Sent {
    src: IpAddr,
    dst: IpAddr,
    sport: u16,
    dev: &'static str,
    gateway: &'static str,
}

fn sent(family: usize) -> Result<Vec<Sent>> {
    let parse = |text: String| text.parse::<IpAddr>().with_context(|| text.clone());
    (0..SENDERS)
        .map(|number| {
            let (src, net) = match (family, number % 4) {
                (0, 3) => (format!("10.1.0.{}", 100 + number), "10.50.0.2"),
                (0, _) => (format!("10.1.0.{}", 100 + number), "10.40.0.2"),
                (_, 3) => (format!("fd01::{}", 100 + number), "fd50::2"),
                _ => (format!("fd01::{}", 100 + number), "fd40::2"),
            };
            let other = number % 4 == 3;
            Ok(Sent {
                src: parse(src)?,
                dst: parse(net.to_owned())?,
                sport: SPORT + number,
                dev: if other { "o2" } else { "o1" },
                gateway: if other { B2[family] } else { B1[family] },
            })
        })
        .collect()
}

/// 64 flows in one burst, three times.
pub(crate) fn lists() -> Result<Case> {
    // nobody is behind the routers: they drop the packets without a word
    let lab = lab::node("list")
        .route("n1", "10.40.0.0/24 via 10.2.0.2")
        .route("n1", "fd40::/64 via fd02::2")
        .route("n1", "10.50.0.0/24 via 10.3.0.2")
        .route("n1", "fd50::/64 via fd03::2");
    let mut case = Case::new("list", lab)
        .with(in_lists)
        .act(|network| burst(network, sent));
    for (family, router) in B1.into_iter().enumerate() {
        for sent in sent(family)? {
            case = case.expect(flow(&sent, router, MAIN));
        }
    }
    Ok(case)
}

/// Of each family, four conversations between the same two addresses, one of which a rule for its port sends
/// another way.
fn alike(family: usize) -> Result<Vec<Sent>> {
    let (src, dst) = ([A[0], A[1]][family], ["10.40.0.2", "fd40::2"][family]);
    (0..4)
        .map(|number| {
            let other = number == 0;
            Ok(Sent {
                src: src.parse().context(src)?,
                dst: dst.parse().context(dst)?,
                sport: ALIKE + number,
                dev: if other { "o2" } else { "o1" },
                gateway: if other { B2[family] } else { B1[family] },
            })
        })
        .collect()
}

/// Conversations between the same addresses in one list ask the same, up to their ports.
pub(crate) fn alike_in_a_list() -> Result<Case> {
    let rule = format!("rule add ipproto udp sport {ALIKE} pref 100 lookup 102");
    let lab = lab::node("alike")
        .route("n1", "10.40.0.0/24 via 10.2.0.2")
        .route("n1", "fd40::/64 via fd02::2")
        .route("n1", "10.40.0.0/24 via 10.3.0.2 table 102")
        .route("n1", "fd40::/64 via fd03::2 table 102")
        .ip("n1", &rule)
        .ip6("n1", &rule);
    let mut case = Case::new("list alike", lab)
        .with(in_lists)
        .act(|network| burst(network, alike));
    for (family, router) in B1.into_iter().enumerate() {
        for sent in alike(family)? {
            let (rule, table) = if sent.sport == ALIKE {
                (100, 102)
            } else {
                MAIN
            };
            case = case.expect(flow(&sent, router, (rule, table)));
        }
    }
    Ok(case)
}

fn flow(sent: &Sent, router: &str, (rule, table): (u32, u32)) -> Flow {
    let mut decision = lab::decision(sent.dev, Some(sent.gateway), rule, table, "");
    decision["how"] = json!(["lookup", "cached"]);
    Flow::of_act(&format!("{}.{}", sent.sport, lab::family(router)))
        .seen_as(
            json!({"proto": "udp", "src": sent.src, "sport": sent.sport, "dst": sent.dst, "dport": 9}),
        )
        .request(
            Wanted::leaves(sent.dev)
                .decision(decision)
                .also(json!({"packets": ROUNDS})),
        )
}

/// The cases, if this kernel can run them; if not, that is said.
pub(crate) fn all() -> Result<Vec<Case>> {
    let lab = harness::Topology::new("thread")
        .ns(&["n1"])
        .veth(("n1", "in"), ("n1", "out"))
        .raise()?;
    let node = lab.ns("n1")?;
    if node.output(&["test", "-e", THREADED])?.status.success() {
        return Ok(vec![lists()?, alike_in_a_list()?]);
    }
    // past the capture of test output, so that it is seen when the test passes
    writeln!(
        std::io::stderr(),
        "NOT CHECKED, this kernel has no {THREADED}"
    )?;
    Ok(Vec::new())
}

/// Since 5.12.
const THREADED: &str = "/sys/class/net/in/threaded";

/// The device collects what its sender puts into its ring, and a thread takes it out when the sender
/// is done: it runs on the sender's CPU, when nothing else wants that.
fn in_lists(network: &Network) -> Result<()> {
    let node = network.ns("n1")?;
    // a sender that segments by itself is not worth it to a veth (veth_skb_is_eligible_for_gro())
    offload::off(network.ns("a")?, "eth0")?;
    offload::receive_on(node, "in")?;
    let threaded = format!("echo 1 > {THREADED}");
    node.exec(&["sh", "-c", &threaded])?;
    let mut threads = 0;
    for process in std::fs::read_dir("/proc")? {
        let path = process?.path();
        // a process may have ended meanwhile
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let pid = path.file_name().and_then(|pid| pid.to_str());
        if let (true, Some(pid)) = (name.starts_with("napi/in-"), pid) {
            command::run(&["taskset", "-p", "-c", "0", pid], "")?;
            command::run(&["chrt", "--idle", "-p", "0", pid], "")?;
            threads += 1;
        }
    }
    ensure!(threads > 0, "no thread took over the device");
    Ok(())
}

fn burst(network: &Network, sent: fn(usize) -> Result<Vec<Sent>>) -> Result<()> {
    let (node, host) = (network.ns("n1")?, network.ns("a")?);
    let to = frame::mac(node, "in")?;
    let mut frames = Vec::new();
    for family in 0..2 {
        for sent in sent(family)? {
            let ends = (
                SocketAddr::new(sent.src, sent.sport),
                SocketAddr::new(sent.dst, 9),
            );
            frames.push(frame::udp(to, ends));
        }
    }
    let left = || -> Result<u64> {
        Ok(node.statistic("o1", "tx_packets")? + node.statistic("o2", "tx_packets")?)
    };
    let before = left()?;
    for round in 1..=u64::from(ROUNDS) {
        frame::burst_on(0, host, "eth0", &frames)?;
        let wanted = before + round * frames.len() as u64;
        deadline::wait_for("the burst to leave", Duration::from_secs(10), || {
            Ok((left()? >= wanted).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn each_packet_of_a_list_has_its_own_decision() -> Result<()> {
    for (number, case) in all()?.into_iter().enumerate() {
        let ran = case.run(Load::Quiet)?;
        for family in ['4', '6'] {
            let of_family = ran
                .table
                .rows
                .iter()
                .filter(|row| row.case.ends_with(family));
            let shared = of_family.filter(|row| row.how == "cached").count();
            // or there were no lists, and the test proves nothing
            ensure!(
                number > 0 || shared > 0,
                "no packet of IPv{family} shared a route"
            );
        }
        ran.agree()?;
    }
    Ok(())
}
