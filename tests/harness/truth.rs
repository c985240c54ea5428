//! What really left by each device, counted by nftables where tracer has no hand in it.
//!
//! The counters sit on the far end of the node's veth devices, in the netdev ingress hook there: a
//! packet that arrives at the peer has left by the device, whatever the node thought about it. One
//! set element per 5-tuple, made by the first packet, so that a case need not say beforehand what
//! it expects.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{Netns, Network, expect};

/// Elements for each set: more than any case sends flows.
const SET: usize = 65_535;

/// Counters on the far ends of devices.
#[derive(Debug)]
pub struct Truth {
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    /// What the counts are filed under: the node's device.
    dev: String,
    ns: Netns,
    table: String,
}

/// Packets of one flow that left by one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The node's device.
    pub dev: String,
    /// Source address on the wire.
    pub src: IpAddr,
    /// Destination address on the wire.
    pub dst: IpAddr,
    /// As tracer prints it: `udp`, `tcp`, `icmp`, `icmp6`, else what nftables prints.
    pub proto: String,
    /// Ports; `None` for what has none, and for fragments other than the first.
    pub ports: Option<(u16, u16)>,
    /// Buffers: what was handed over whole (GSO) counts once.
    pub packets: u64,
}

impl Left {
    /// The same fields as a flow of tracer's JSON has.
    fn identity(&self) -> Value {
        json!({
            "src": self.src.to_string(),
            "dst": self.dst.to_string(),
            "proto": self.proto,
            "sport": self.ports.map(|(sport, _)| sport),
            "dport": self.ports.map(|(_, dport)| dport),
        })
    }
}

impl Truth {
    /// Counts nothing yet.
    pub fn new() -> Self {
        Self {
            watched: Vec::new(),
        }
    }

    /// Counts at the far end of every veth of `node`.
    pub fn of_veths(network: &Network, node: &str) -> Result<Self> {
        let mut truth = Self::new();
        for dev in network.veths(node) {
            let (ns, far) = network
                .far_end(node, dev)
                .with_context(|| format!("{dev} of {node} has no far end"))?;
            truth.watch(dev, ns, far)?;
        }
        Ok(truth)
    }

    /// Counts what arrives at `device` in `ns`, filed under `dev`. For a tunnel device of the node
    /// this is the other end of the tunnel.
    pub fn watch(&mut self, dev: &str, ns: &Netns, device: &str) -> Result<()> {
        let table = format!("truth{}", self.watched.len());
        ns.exec_with_input(&["nft", "-f", "-"], &ruleset(&table, device))
            .with_context(|| format!("cannot count what leaves by {dev}"))?;
        self.watched.push(Watched {
            dev: dev.to_owned(),
            ns: ns.clone(),
            table,
        });
        Ok(())
    }

    /// All that has left so far.
    pub fn read(&self) -> Result<Vec<Left>> {
        let mut all = Vec::new();
        for watched in &self.watched {
            let text =
                watched
                    .ns
                    .exec(&["nft", "-j", "-n", "list", "table", "netdev", &watched.table])?;
            let listed: Value = serde_json::from_str(&text)?;
            let sets = items(&listed["nftables"]).filter_map(|item| item.get("set"));
            for element in sets.flat_map(|set| items(&set["elem"])) {
                all.push(
                    left(&watched.dev, &element["elem"])
                        .with_context(|| format!("a set element {element}"))?,
                );
            }
        }
        Ok(all)
    }

    /// Packets by device of the flows that contain `wanted` (the fields of a flow in tracer's JSON:
    /// `proto`, `src`, `sport`, `dst`, `dport`), devices by name.
    pub fn of(&self, wanted: &Value) -> Result<Vec<(String, u64)>> {
        let mut by_dev = std::collections::BTreeMap::new();
        for left in self.read()? {
            if expect::contains(&left.identity(), wanted) {
                *by_dev.entry(left.dev).or_default() += left.packets;
            }
        }
        Ok(by_dev.into_iter().collect())
    }
}

impl Default for Truth {
    fn default() -> Self {
        Self::new()
    }
}

fn ruleset(table: &str, dev: &str) -> String {
    let set = |name: &str, key: &str| {
        format!(" set {name} {{ type {key}; flags dynamic; size {SET}; counter; }}\n")
    };
    let rule = |family: &str, set: &str, ports: &str| {
        let of = format!("{family} saddr . {family} daddr . meta l4proto");
        format!("  update @{set} {{ {of}{ports} counter }}")
    };
    let ports = " . th sport . th dport";
    let full = "inet_proto . inet_service . inet_service";
    [
        format!("table netdev {table} {{\n"),
        set("v4", &format!("ipv4_addr . ipv4_addr . {full}")),
        set("v6", &format!("ipv6_addr . ipv6_addr . {full}")),
        set("i4", "ipv4_addr . ipv4_addr . inet_proto"),
        set("i6", "ipv6_addr . ipv6_addr . inet_proto"),
        " chain c {\n".to_owned(),
        format!("  type filter hook ingress device \"{dev}\" priority -500; policy accept;\n"),
        // the transport header of a later fragment is not read, and the rule does not match then
        format!(
            "  meta protocol ip meta l4proto {{ 6, 17, 132 }} {} return\n",
            rule("ip", "v4", ports).trim()
        ),
        format!(
            "  meta protocol ip6 meta l4proto {{ 6, 17, 132 }} {} return\n",
            rule("ip6", "v6", ports).trim()
        ),
        format!("  meta protocol ip {}\n", rule("ip", "i4", "").trim()),
        format!("  meta protocol ip6 {}\n", rule("ip6", "i6", "").trim()),
        " }\n}\n".to_owned(),
    ]
    .concat()
}

fn left(dev: &str, element: &Value) -> Option<Left> {
    let key: Vec<&Value> = items(element.pointer("/val/concat")?).collect();
    let number = |at: usize| u16::try_from(key.get(at)?.as_u64()?).ok();
    let address = |at: usize| key.get(at)?.as_str()?.parse().ok();
    Some(Left {
        dev: dev.to_owned(),
        src: address(0)?,
        dst: address(1)?,
        proto: protocol(key.get(2)?),
        ports: number(3).zip(number(4)),
        packets: element.pointer("/counter/packets")?.as_u64()?,
    })
}

/// nftables prints a number or a name, as its version likes; tracer prints names.
fn protocol(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.as_str() {
        "1" => "icmp",
        "6" => "tcp",
        "17" => "udp",
        "58" | "ipv6-icmp" | "icmpv6" => "icmp6",
        "132" => "sctp",
        other => other,
    }
    .to_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_a_flow_at_a_device() {
        let element = json!({"val": {"concat": ["10.0.0.1", "10.0.0.2", "udp", 4000, 7]},
            "counter": {"packets": 3, "bytes": 93}});
        let got = left("eth0", &element).expect("an element");
        assert_eq!((got.packets, got.ports), (3, Some((4000, 7))));
        let wanted = json!({"proto": "udp", "src": "10.0.0.1", "dport": 7});
        assert!(expect::contains(&got.identity(), &wanted));
        assert!(!expect::contains(&got.identity(), &json!({"dport": 8})));
    }

    #[test]
    fn protocols_have_tracers_names() {
        assert_eq!(protocol(&json!(58)), "icmp6");
        assert_eq!(protocol(&json!("ipv6-icmp")), "icmp6");
        assert_eq!(protocol(&json!("udp")), "udp");
    }
}
