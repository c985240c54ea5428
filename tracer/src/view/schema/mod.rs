//! The types of our JSON, apart from the model, so that the model can change and the output not.
//!
//! Field order is the order in the output. Absent is `null`; numbers are numbers; addresses and
//! names are strings. Fields may be added within a version, never removed or changed: the version
//! is in `schema`. `docs/json.md` describes them.

mod check;
mod finding;
mod intent;
mod names;
mod nat;

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

use crate::inventory::Owner;

pub use check::{Checks, Probe, Tally, Verdict};
pub use finding::{Finding, Subject};
pub use intent::{Cni, Intent};
pub use names::{Named, Names};
pub use nat::Nat;

/// `schema` of a verdict.
pub const CHECK: &str = "tracer.check/1";
/// `schema` of the verdicts of a file of checks.
pub const CHECKS: &str = "tracer.checks/1";
/// `schema` of the same object without a verdict.
pub const READ: &str = "tracer.read/1";
/// `schema` of a line of a stream.
pub const WATCH: &str = "tracer.watch/1";

/// One object for a whole session.
#[derive(Clone, Debug, Serialize)]
pub struct Report<'a> {
    /// [`CHECK`] or [`READ`].
    pub schema: &'static str,
    /// The node's name.
    pub node: &'a str,
    /// `uname -r`.
    pub kernel: &'a str,
    /// Inode number of the home namespace.
    pub netns: u32,
    /// RFC 3339, UTC.
    pub started: String,
    /// Seconds from the start to the last event.
    pub duration_s: f64,
    /// The filter as it was given; `null` for none.
    pub filter: Option<&'a str>,
    /// What the network is meant to do.
    pub intent: Intent<'a>,
    /// The verdict's fields; left out where nothing was judged.
    #[serde(flatten)]
    pub verdict: Option<Verdict<'a>>,
    /// What is wrong.
    pub findings: Vec<Finding<'a>>,
    /// The flows.
    pub flows: Vec<Flow>,
    /// What was not shown.
    pub loss: Loss,
    /// What this kernel does not let us see, one sentence each.
    pub limits: Vec<&'a str>,
    /// Drops that belong to no flow.
    pub stray_drops: Vec<Drop>,
    /// Next hops that do not answer.
    pub neigh_failures: Vec<Neigh>,
}

/// [`Report`] of a capture file.
#[derive(Clone, Debug, Serialize)]
pub struct Read<'a> {
    /// What the session was.
    #[serde(flatten)]
    pub report: Report<'a>,
    /// The file.
    pub file: File<'a>,
}

/// A capture file.
#[derive(Clone, Debug, Serialize)]
pub struct File<'a> {
    /// As it was given.
    pub name: &'a str,
    /// Version of the tracer that wrote it.
    pub tracer: &'a str,
    /// The filter of the recording; `null` for none.
    pub filter: Option<&'a str>,
    /// Bytes kept of each packet.
    pub snaplen: u32,
    /// Packets in it.
    pub packets: u64,
    /// Packets that the recording could not keep up with.
    pub packets_lost: u64,
    /// Number of the file in a rotation, from 0.
    pub part: u64,
    /// It ended in order.
    pub complete: bool,
    /// The byte at which it is cut or damaged.
    pub cut_at: Option<u64>,
    /// The time up to which totals are complete.
    pub until: String,
    /// Lines and packets that made no sense.
    pub unreadable: u64,
}

/// A flow; the fields outside `reply` are those of the direction that opened it.
#[derive(Clone, Debug, Serialize)]
pub struct Flow {
    /// `udp`, `tcp`, `icmp6`, …
    pub proto: String,
    /// Source address.
    pub src: IpAddr,
    /// Source port; echo identifier; `null` where there is none.
    pub sport: Option<u16>,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port; `null` where there is none.
    pub dport: Option<u16>,
    /// Where it entered.
    pub scope: Scope,
    /// Wire packets, counted once.
    pub packets: u64,
    /// Bytes, counted once.
    pub bytes: u64,
    /// What became of it.
    pub outcome: &'static str,
    /// The answers.
    pub reply: Reply,
    /// Steps in order.
    pub path: Vec<Step>,
    /// Where packets of it ended.
    pub drops: Vec<Drop>,
    /// The device it left by, when `outcome` is `forwarded` or `unanswered`.
    pub left_by: Option<String>,
    /// The reason, when `outcome` is `dropped` or `unknown`.
    pub why: Option<String>,
    /// ICMP type and code, when it is ICMP.
    pub icmp_type: Option<u8>,
    /// ICMP code.
    pub icmp_code: Option<u8>,
    /// First packet, RFC 3339 UTC; `null` when no packet was seen.
    pub first: Option<String>,
    /// Last packet.
    pub last: Option<String>,
    /// Retransmissions of a local socket.
    pub retransmits: u64,
    /// TCP resets that answered it.
    pub resets: u64,
    /// ICMP errors about it.
    pub icmp_errors: Vec<IcmpError>,
    /// Lookups of local senders that found no route.
    pub route_failures: Vec<RouteFailure>,
    /// The addresses of this direction on the other side of address translation.
    pub nat: Option<Nat>,
    /// Who is at its ends; `null` when nobody is known by name.
    pub names: Option<Names>,
}

/// Where a flow entered.
#[derive(Clone, Debug, Serialize)]
pub struct Scope {
    /// Inode number.
    pub netns: u32,
    /// First device.
    pub dev: Option<String>,
    /// VNI.
    pub vni: Option<u32>,
}

/// The answers of a flow.
#[derive(Clone, Debug, Serialize)]
pub struct Reply {
    /// Wire packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// What became of them.
    pub outcome: &'static str,
    /// Steps in order.
    pub path: Vec<Step>,
    /// Where packets ended.
    pub drops: Vec<Drop>,
    /// As in the flow.
    pub left_by: Option<String>,
    /// As in the flow.
    pub why: Option<String>,
    /// Retransmissions of a local socket.
    pub retransmits: u64,
    /// TCP resets.
    pub resets: u64,
    /// ICMP errors about it.
    pub icmp_errors: Vec<IcmpError>,
}

/// A step of a path: an object with one key.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Passed a device.
    Hop(Hop),
    /// Routing decided.
    Route(Route),
}

/// A device that was passed.
#[derive(Clone, Debug, Serialize)]
pub struct Hop {
    /// Name.
    pub dev: String,
    /// Number.
    pub ifindex: u32,
    /// Inode number.
    pub netns: u32,
    /// `in` or `out`.
    pub dir: &'static str,
    /// Wire packets.
    pub packets: u64,
    /// Bytes with the link header.
    pub bytes: u64,
    /// Encapsulation on the wire here.
    pub encap: Option<Encap>,
    /// VNI that the packet carries beside it.
    pub tunnel_key: Option<u32>,
    /// VLAN id of the tag.
    pub vlan: Option<u16>,
    /// Packet mark, 0 for none.
    pub mark: u32,
    /// The addresses of the packets here, when they are not those of the flow.
    pub nat: Option<Nat>,
    /// The pod or container behind the device.
    pub behind: Option<Owner>,
}

/// An outer header.
#[derive(Clone, Debug, Serialize)]
pub struct Encap {
    /// `vxlan`, `geneve`, `ipip`, `ip6`, `gre`.
    pub kind: &'static str,
    /// VNI or GRE key.
    pub vni: Option<u32>,
    /// Outer source.
    pub src: IpAddr,
    /// Outer destination.
    pub dst: IpAddr,
    /// Outer UDP destination port.
    pub dport: Option<u16>,
}

/// A route decision.
#[derive(Clone, Debug, Serialize)]
pub struct Route {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Preference of the rule.
    pub rule: Option<u32>,
    /// Table number.
    pub table: Option<u32>,
    /// `unicast`, `local`, `blackhole`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Next hop; `null` when on-link.
    pub gateway: Option<IpAddr>,
    /// Egress device.
    pub dev: Option<String>,
    /// Preferred source.
    pub prefsrc: Option<IpAddr>,
    /// Positive errno, 0 for none.
    pub errno: u32,
    /// `lookup`, `dst`, `cached`, `inferred`, `unknown`.
    pub how: &'static str,
    /// Destination of the configured route that matched.
    pub matched: Option<String>,
    /// Metric.
    pub metric: Option<u32>,
    /// Path MTU kept in the route.
    pub pmtu: Option<u32>,
    /// Bridged, not routed.
    pub bridged: bool,
    /// BPF programs that may have sent the packet on; `None` when the stack did.
    pub redirected_by: Option<Vec<Arc<str>>>,
    /// The way back to the source, which source validation looked up, not the way of the packet.
    pub source_check: bool,
    /// How often the decision changed.
    pub changes: u32,
    /// When it last did.
    pub changed: Option<String>,
    /// Why something of it is not known.
    pub why: Option<String>,
}

/// Packets that ended at one place.
#[derive(Clone, Debug, Serialize)]
pub struct Drop {
    /// Reason.
    pub reason: String,
    /// Wire packets.
    pub count: u64,
    /// Device.
    pub dev: Option<String>,
    /// Inode number.
    pub netns: Option<u32>,
    /// Kernel function.
    pub symbol: String,
    /// What it means.
    pub summary: String,
    /// The pod or container in the namespace or behind the device.
    pub behind: Option<Owner>,
}

/// An ICMP error about a flow.
#[derive(Clone, Debug, Serialize)]
pub struct IcmpError {
    /// Who complains.
    pub from: IpAddr,
    /// Type.
    #[serde(rename = "type")]
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// In words.
    pub summary: String,
    /// MTU announced.
    pub mtu: Option<u32>,
    /// Made by this node.
    pub local: bool,
    /// Packets.
    pub count: u64,
    /// Device it passed.
    pub dev: String,
    /// `in` or `out`.
    pub dir: &'static str,
}

/// Lookups of a local sender that found no route.
#[derive(Clone, Debug, Serialize)]
pub struct RouteFailure {
    /// What was looked up.
    pub flow: String,
    /// Inode number.
    pub netns: u32,
    /// Table of the last lookup.
    pub table: u32,
    /// Positive errno.
    pub errno: u32,
    /// Lookups.
    pub count: u64,
    /// Process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
}

/// A next hop that does not answer.
#[derive(Clone, Debug, Serialize)]
pub struct Neigh {
    /// Address.
    pub address: IpAddr,
    /// Device.
    pub dev: String,
    /// Inode number.
    pub netns: u32,
    /// Packets waiting.
    pub queued: u32,
    /// How often.
    pub count: u64,
}

/// What was not shown.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Loss {
    /// Records not sent.
    pub events: u64,
    /// Tables found full.
    pub evicted: u64,
    /// Not decoded.
    pub undecoded: u64,
    /// In no flow.
    pub untracked: u64,
    /// Route lookups not seen.
    pub lookups: u64,
}
