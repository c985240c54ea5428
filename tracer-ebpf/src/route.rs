//! Route decisions: what the packet's dst entry and the fib lookups say.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::key::Tuple;

/// The packet had a dst entry and it was decoded.
pub const ROUTE_DST: u8 = 1;
/// A fib lookup of this very packet's addresses was seen on this CPU and gave `table`.
pub const ROUTE_LOOKUP: u8 = 2;
/// The lookup that was seen names another next hop than the dst. With [`ROUTE_LOOKUP`] it is one of
/// several, of which the event names the first; without, the lookup is not this packet's.
pub const ROUTE_OTHER_NEXTHOP: u8 = 4;
/// The packet had no dst entry: bridged, or redirected by a BPF program.
pub const ROUTE_NO_DST: u8 = 8;
/// The dst is a metadata dst of a collect-metadata tunnel (`DST_METADATA`), not a route.
pub const ROUTE_METADATA: u8 = 16;
/// The dst is `br_netfilter`'s fake table (`DST_FAKE_RTABLE`): bridged.
pub const ROUTE_FAKE: u8 = 32;
/// The dst carries a lightweight tunnel state (`encap …` on the route).
pub const ROUTE_LWTUNNEL: u8 = 64;
/// The record is of the reversed lookup that source validation (`rp_filter`) made: `oif` is the
/// device that the source was expected on.
pub const ROUTE_REVERSED: u8 = 128;

/// The packet came in, but was looked up as if it were sent by this node, from its very source
/// address: `bpf_redirect_neigh` does so, with the device given by the program.
pub const ABOUT_OUTPUT: u16 = 1;
/// The device of the dst entry is in another network namespace: the packet was routed there, and
/// came down through a macvlan, ipvlan or VLAN device of it.
pub const ABOUT_OTHER_NETNS: u16 = 2;
/// The packet was seen where its dst entry is gone, because the program at its device was not
/// attached yet.
pub const ABOUT_EARLY: u16 = 4;

/// The decision for a packet, as far as it can be read at this hook.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Route {
    /// Next hop address, network byte order; zeros when the destination is on-link.
    pub gateway: [u8; 16],
    /// Ifindex of `dst->dev`: the egress device that routing chose.
    pub oif: u32,
    /// Table id; 0 when not known (IPv4 dst entries do not carry it).
    pub table: u32,
    /// Positive errno of the decision, 0 for none.
    pub error: u32,
    /// Path MTU kept in the route, bytes; 0 for none.
    pub pmtu: u32,
    /// Metric of the matched route; 0 when not known.
    pub metric: u32,
    /// VNI of the lightweight tunnel on the route; 0 for none.
    pub lwt_vni: u32,
    /// `DST_*` flags of the dst entry (`net/dst.h`).
    pub dst_flags: u16,
    /// `ABOUT_*` bits: what else is known of the packet's way to this decision.
    pub about: u16,
    /// With [`ASKED`]: the mark that was looked up, which the packet may have lost since.
    pub asked_mark: u32,
    /// With [`ASKED`]: the user that was looked up; what a packet of nobody has is 0.
    pub asked_uid: u32,
    /// With [`ASKED`]: the device that the socket is bound to, 0 for none.
    pub asked_oif: u32,
    /// Prefix length of the matched route; 255 when not known.
    pub prefix_len: u8,
    /// `RTN_*` of `linux/rtnetlink.h`: 1 unicast, 2 local, 6 blackhole, …; 0 when not known.
    pub kind: u8,
    /// 0 on-link, [`crate::key::FAMILY_IPV4`] or [`crate::key::FAMILY_IPV6`].
    pub gw_family: u8,
    /// `ROUTE_*` bits: how it is known.
    pub how: u8,
    /// With [`ASKED`]: the DS field that was looked up, without the ECN bits.
    pub asked_tos: u8,
    /// [`ASKED`], [`ASKED_ANY_SOURCE`], or 0.
    pub asked: u8,
    /// Padding.
    pub reserved: [u8; 2],
}

/// `Route::asked`: the lookup was seen, and what it asked for beside addresses is in `asked_*`.
pub const ASKED: u8 = 1;
/// `Route::asked`: the sender left the source address open.
pub const ASKED_ANY_SOURCE: u8 = 2;

/// Key of failed lookups of local senders: no packet was ever made.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FailKey {
    /// Addresses and ports of the flow that was looked up; zeros where the sender left them open.
    pub tuple: Tuple,
    /// Inode number of the network namespace.
    pub netns: u32,
}

/// Failed lookups of local senders.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FailValue {
    /// Table walks that ended without a route. A walk that a later table answers is taken back.
    pub count: u64,
    /// Time of the first one.
    pub first_ns: u64,
    /// Time of the last one.
    pub last_ns: u64,
    /// Table that each walk starts with; a second sight of it is a new walk.
    pub first_table: u32,
    /// Table of the last lookup of the walk.
    pub table: u32,
    /// Positive errno: 101 no route, 22 blackhole, 113 unreachable, 13 prohibit.
    pub errno: u32,
    /// The mark that was looked up.
    pub mark: u32,
    /// The user.
    pub uid: u32,
    /// The device that the socket is bound to, 0 for none.
    pub bound: u32,
    /// The DS field, without the ECN bits.
    pub tos: u32,
    /// Process that asked.
    pub pid: u32,
    /// Its name, NUL padded.
    pub comm: [u8; 16],
}

/// The tunnel key that a packet came in with, until it leaves: routing replaces the dst that
/// carries it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CarriedKey {
    /// Address of the `sk_buff`. Not an address to follow.
    pub skb: u64,
    /// Time of the arrival.
    pub ts_ns: u64,
    /// Tunnel device.
    pub ifindex: u32,
    /// Tunnel key.
    pub key: u32,
}

/// The result of the most recent lookup for a pair of addresses: on one CPU, or by one task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LookupSlot {
    /// Source address as it was looked up (zeros: left open by the sender).
    pub saddr: [u8; 16],
    /// Destination address.
    pub daddr: [u8; 16],
    /// First next hop's gateway.
    pub gateway: [u8; 16],
    /// Time of the lookup.
    pub ts_ns: u64,
    /// IPv4: the `fib_nh_common` that the event named, to be asked for more when the packet does not
    /// agree with it.
    pub nhc: u64,
    /// Output lookups: the task that made it, an address that is not followed. In an interrupt it is
    /// the one that was interrupted, until the packet leaves. 0 for other lookups, which belong to
    /// a CPU.
    pub task: u64,
    /// Namespace.
    pub netns: u32,
    /// 1 output, above: input device; in a VRF the VRF, which is what the packet has as such.
    pub iif: u32,
    /// Table that answered, or that did not (`errno` says which).
    pub table: u32,
    /// First next hop's device; 0 for none.
    pub oif: u32,
    /// Positive errno; 11 (`EAGAIN`) means no match in this table.
    pub errno: u32,
    /// Metric of the matched route, when it could be read.
    pub metric: u32,
    /// `flowic_mark`.
    pub mark: u32,
    /// `flowic_uid`.
    pub uid: u32,
    /// `flowic_oif`: the device that the socket is bound to, 0 for none.
    pub bound: u32,
    /// Source port, host byte order; 0 when it was left open or the lookup has no ports. Once a packet
    /// left by the lookup it is that packet's, or the identifier of its echo request.
    pub sport: u16,
    /// Destination port, as `sport`.
    pub dport: u16,
    /// Address family, [`crate::key::FAMILY_IPV4`] or [`crate::key::FAMILY_IPV6`].
    pub family: u8,
    /// `RTN_*` of the matched route; 0 when not known.
    pub kind: u8,
    /// `flowic_proto`; 0 in input lookups of IPv4 (unless a rule asks for it).
    pub proto: u8,
    /// The DS field, without the ECN bits.
    pub tos: u8,
    /// Family of `gateway`, 0 for none.
    pub gw_family: u8,
    /// IPv6: 1 when the route has several next hops, or a nexthop object.
    pub several: u8,
    /// 1 for an output lookup as `bpf_redirect_neigh` makes it: from any source
    /// (`FLOWI_FLAG_ANYSRC`), by a given device. Else 0.
    pub by_program: u8,
    /// 1 for source validation's lookup of the way back, which looks like an output lookup. Else 0.
    pub reversed: u8,
}
