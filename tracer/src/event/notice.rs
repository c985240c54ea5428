//! Rare events beside packets: failed lookups, dead neighbours, retransmissions, ICMP errors.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Asked, Dir, Ifindex, KtimeNs, NetnsId, Tuple};

/// A local sender's lookup found no usable route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFailure {
    /// What was looked up; source and ports are unspecified or 0 where the sender left them open.
    pub tuple: Tuple,
    /// Namespace of the sender.
    pub netns: NetnsId,
    /// Table of the last lookup.
    pub table: u32,
    /// Positive errno: 101 no route, 22 blackhole, 113 unreachable, 13 prohibit.
    pub errno: u32,
    /// What the lookup asked for beside the addresses.
    pub asked: Asked,
    /// The errno is that of a refusing rule, by the configuration: such a rule gives no event, only
    /// the tables before it do.
    pub by_rule: bool,
    /// Failed walks.
    pub count: u64,
    /// First one.
    pub first: KtimeNs,
    /// Last one.
    pub last: KtimeNs,
    /// Process that asked.
    pub pid: u32,
    /// Its name.
    pub comm: String,
}

/// A next hop or on-link destination that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighFailure {
    /// Address asked for.
    pub address: IpAddr,
    /// Namespace.
    pub netns: NetnsId,
    /// Device.
    pub dev: Ifindex,
    /// Packets waiting for it.
    pub queued: u32,
}

/// What happened to a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TcpWhat {
    /// A segment was sent again.
    Retransmit,
    /// A reset was sent.
    SendReset,
    /// A reset was received.
    ReceiveReset,
}

/// A TCP event of a local socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpNotice {
    /// The socket: source is the local end.
    pub tuple: Tuple,
    /// Namespace of the socket.
    pub netns: NetnsId,
    /// What happened.
    pub what: TcpWhat,
}

/// ICMP errors that passed a device, by the flow they complain about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpSample {
    /// The flow complained about.
    pub about: Tuple,
    /// Who complains.
    pub from: IpAddr,
    /// Namespace.
    pub netns: NetnsId,
    /// Device.
    pub dev: Ifindex,
    /// Direction.
    pub dir: Dir,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub code: u8,
    /// MTU announced, bytes.
    pub mtu: Option<u32>,
    /// Made by this node.
    pub local: bool,
    /// Packets.
    pub count: u64,
    /// First one.
    pub first: KtimeNs,
    /// Last one.
    pub last: KtimeNs,
}
