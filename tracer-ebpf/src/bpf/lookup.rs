//! The last fib lookups, to be joined to the packet that they were made for.
//!
//! A place holds what one lookup asked for and found. It is found again by what was asked: an error
//! message that the node makes looks the same addresses up with another input device, and gets
//! another place. A packet that came in leaves on the CPU that routed it; what the node sends, in the
//! task that looked it up, be it a sender or the one that an interrupt came upon.

use aya_ebpf::helpers::bpf_get_current_task;
use tracer_abi::{
    key::{
        self, FAMILY_IPV4, FAMILY_IPV6, PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP,
    },
    offset::Off,
    parse::Packet,
    route::{
        ABOUT_OUTPUT, ASKED, ASKED_ANY_SOURCE, LookupSlot, ROUTE_DST, ROUTE_LOOKUP,
        ROUTE_OTHER_NEXTHOP, Route,
    },
};

use super::{kmem::read, last::set_last_lookup, maps::lookup_slot};

/// A lookup older than this belongs to another packet: batches are done within microseconds.
const MAX_AGE_NS: u64 = 100_000_000;
/// A packet whose mark changed after its lookup leaves within this time, or the lookup is taken for
/// another packet's: a millisecond, and the longest tick, by which the time of a lookup may be late.
const MARK_AGE_NS: u64 = 11_000_000;
/// `flowi_common.flowic_iif` of an output lookup: loopback.
pub(super) const IIF_OUTPUT: u32 = 1;
/// `RTN_UNICAST`, `RTN_LOCAL`, `RTN_BROADCAST` and `RTN_ANYCAST` of `linux/rtnetlink.h`.
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
const BROADCAST: u8 = 3;
const ANYCAST: u8 = 4;
/// `RT_TABLE_MAIN` and `RT_TABLE_LOCAL`.
const TABLE_MAIN: u32 = 254;
const TABLE_LOCAL: u32 = 255;
/// `EAGAIN`: this table has no match, the next rule is tried.
pub(super) const EAGAIN: u32 = 11;
/// `ENETUNREACH`: what the sender gets when no table had a match.
pub(super) const ENETUNREACH: u32 = 101;
const AF_INET6: u8 = 10;
/// First byte of the first multicast address of IPv4.
const MULTICAST: u8 = 224;
const KERNEL: u64 = 1 << 63;

/// What must have been looked up for a packet.
pub(super) struct Asked<'a> {
    pub(super) saddr: &'a [u8; 16],
    pub(super) daddr: &'a [u8; 16],
    /// 0 when the ports are not those of the header that was routed.
    pub(super) proto: u8,
    pub(super) sport: u16,
    pub(super) dport: u16,
    pub(super) netns: u32,
    /// The device that the packet came in by, 0 for local output.
    pub(super) iif: u32,
    pub(super) mark: u32,
    /// The packet was dropped, maybe seconds after its lookup.
    pub(super) dropped: bool,
}

impl<'a> Asked<'a> {
    /// For a packet: for the header around it when it is encapsulated, whose dst entry it has.
    #[inline(always)]
    pub(super) fn of(p: &'a Packet, netns: u32, iif: u32, mark: u32) -> Self {
        let (t, outer) = (&p.tuple, p.outer.family != 0);
        Self {
            saddr: if outer { &p.outer.saddr } else { &t.saddr },
            daddr: if outer { &p.outer.daddr } else { &t.daddr },
            proto: if outer || t.later_fragment != 0 {
                0
            } else {
                t.proto
            },
            sport: t.sport,
            dport: t.dport,
            netns,
            iif,
            mark,
            dropped: false,
        }
    }
}

/// All addresses here are members of structs that lie on multiples of four.
#[inline(always)]
fn words(a: &[u8; 16]) -> [u32; 4] {
    // SAFETY: see above.
    unsafe { key::words(a) }
}

#[inline(always)]
pub(super) fn same(a: &[u8; 16], b: &[u8; 16]) -> bool {
    let (a, b) = (words(a), words(b));
    ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) == 0
}

/// One of the two places for a pair of addresses and an input device, or a task; the other is its
/// neighbour (`index ^ 1`).
#[inline(always)]
fn index(saddr: &[u8; 16], daddr: &[u8; 16], iif: u32, task: u64) -> u32 {
    let (s, d) = (words(saddr), words(daddr));
    let s = s[0] ^ s[1] ^ s[2] ^ s[3];
    let d = d[0] ^ d[1] ^ d[2] ^ d[3];
    // a task_struct is some kilobytes long
    mix(s, d, iif ^ (task >> 6) as u32)
}

/// [`index`] of a lookup of IPv4 that no task made.
#[inline(always)]
pub(super) fn index4(saddr: u32, daddr: u32, iif: u32) -> u32 {
    mix(saddr, daddr, iif)
}

#[inline(always)]
fn mix(s: u32, d: u32, by: u32) -> u32 {
    let mixed =
        s.wrapping_mul(0x9e37_79b1) ^ d.wrapping_mul(0x85eb_ca6b) ^ by.wrapping_mul(0xc2b2_ae35);
    mixed >> 16
}

/// Keeps a lookup in the place of the last one that asked for the same, else of the older one of
/// two. True when the last one that asked for the same had found no match in its table.
#[inline(always)]
pub(super) fn keep(s: &LookupSlot) -> bool {
    let of_task = s.task != 0;
    let i = index(&s.saddr, &s.daddr, s.iif, s.task);
    let (Some(one), Some(other)) = (lookup_slot(of_task, i), lookup_slot(of_task, i ^ 1)) else {
        return false;
    };
    // SAFETY: elements of this CPU, or by chance of another task as well, whose copy can then mix
    // with this one; the references end before the place is written.
    let (at, again) = unsafe {
        if asks_the_same(&*one, s) {
            (i, true)
        } else if asks_the_same(&*other, s) {
            (i ^ 1, true)
        } else if (*one).ts_ns <= (*other).ts_ns {
            (i, false)
        } else {
            (i ^ 1, false)
        }
    };
    let place = if at == i { one } else { other };
    // SAFETY: as above.
    let missed = unsafe { again && (*place).errno == EAGAIN };
    // A hook that interrupts the copy must not take half of it: without a time it fits nothing.
    // SAFETY: as above.
    unsafe {
        (&raw mut (*place).ts_ns).write_volatile(0);
        let mut copy = *s;
        copy.ts_ns = 0;
        place.write_volatile(copy);
        (&raw mut (*place).ts_ns).write_volatile(s.ts_ns);
    }
    set_last_lookup(of_task, at);
    missed
}

#[inline(always)]
fn asks_the_same(a: &LookupSlot, b: &LookupSlot) -> bool {
    a.netns == b.netns
        && a.task == b.task
        && a.iif == b.iif
        && a.mark == b.mark
        && same(&a.daddr, &b.daddr)
        && same(&a.saddr, &b.saddr)
}

/// Who asked, beside the addresses.
#[derive(Clone, Copy)]
struct By {
    iif: u32,
    /// 0 for what belongs to this CPU.
    task: u64,
}

/// The lookup that asked for these addresses; `None` when there is none, or it is too old, or it was
/// another flow's.
#[inline(always)]
fn find(a: &Asked<'_>, saddr: &[u8; 16], by: By, now: u64) -> Option<*mut LookupSlot> {
    let i = index(saddr, a.daddr, by.iif, by.task);
    let of_task = by.task != 0;
    let places = (lookup_slot(of_task, i)?, lookup_slot(of_task, i ^ 1)?);
    // SAFETY: elements of this CPU or task (see `keep`); they are only read here.
    let (one, other) = unsafe { (&*places.0, &*places.1) };
    let (is_one, is_other) = (fits(one, a, saddr, by, now), fits(other, a, saddr, by, now));
    if is_one && one.mark == a.mark {
        return Some(places.0);
    }
    if is_other && other.mark == a.mark {
        return Some(places.1);
    }
    // The mark was changed after the lookup, as kube-proxy does when it masquerades.
    let (last, place) = if is_one && (!is_other || one.ts_ns > other.ts_ns) {
        (one, places.0)
    } else if is_other {
        (other, places.1)
    } else {
        return None;
    };
    (now.saturating_sub(last.ts_ns) < MARK_AGE_NS).then_some(place)
}

#[inline(always)]
fn fits(slot: &LookupSlot, a: &Asked<'_>, saddr: &[u8; 16], by: By, now: u64) -> bool {
    now.saturating_sub(slot.ts_ns) < MAX_AGE_NS
        && slot.netns == a.netns
        && slot.iif == by.iif
        && slot.task == by.task
        && slot.reversed == 0
        && same(&slot.saddr, saddr)
        && same(&slot.daddr, a.daddr)
        && same_ports(slot, a)
}

/// The first four bytes behind its header are two ports.
#[inline(always)]
pub(super) fn with_ports(proto: u8) -> bool {
    proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP
}

/// Not the lookup of another protocol or port, as far as both say theirs.
#[inline(always)]
fn same_ports(slot: &LookupSlot, a: &Asked<'_>) -> bool {
    if slot.proto == 0 || a.proto == 0 {
        return true;
    }
    if slot.iif == IIF_OUTPUT && slot.proto != a.proto {
        return false;
    }
    let echo = a.sport != 0 && (a.proto == PROTO_ICMP || a.proto == PROTO_ICMPV6);
    let with_ports = with_ports(a.proto);
    let source = slot.sport == 0 || slot.sport == a.sport;
    let destination = slot.dport == 0 || slot.dport == a.dport;
    (source || !(with_ports || echo)) && (destination || !with_ports)
}

/// The source address of a lookup that leaves it open.
#[repr(align(4))]
struct Source([u8; 16]);
const ANY_SOURCE: Source = Source([0; 16]);

/// The lookup that was made for this packet.
#[inline(always)]
fn of_packet(route: &mut Route, a: &Asked<'_>, now: u64) -> Option<*mut LookupSlot> {
    if a.iif == 0 {
        let by = By {
            iif: IIF_OUTPUT,
            // SAFETY: a helper without arguments.
            task: unsafe { bpf_get_current_task() },
        };
        // A sender's lookup may have left the source open. One without a protocol as well is made for
        // the error message about a packet that no neighbour took (`icmp_route_lookup()`).
        let open = || find(a, &ANY_SOURCE.0, by, now);
        // SAFETY: a place of this task, only read here.
        let asked = |place: &*mut LookupSlot| !a.dropped || unsafe { (**place).proto } != 0;
        return find(a, a.saddr, by, now).or_else(|| open().filter(asked));
    }
    let (input, output) = (a.iif, IIF_OUTPUT);
    let slot = find(
        a,
        a.saddr,
        By {
            iif: input,
            task: 0,
        },
        now,
    );
    let program = find(
        a,
        a.saddr,
        By {
            iif: output,
            task: 0,
        },
        now,
    );
    // SAFETY: places of this CPU, only read here.
    let later = unsafe {
        match (slot, program) {
            (Some(slot), Some(program)) => (*slot).ts_ns < (*program).ts_ns,
            (None, Some(_)) => true,
            _ => false,
        }
    };
    if later {
        route.about |= ABOUT_OUTPUT;
        return program;
    }
    slot
}

/// Adds what the lookup of this packet says to the decision read from its dst entry. False when another
/// task took the place meanwhile: what was added is of two lookups then, and of no use.
#[inline(always)]
pub(super) fn join(route: &mut Route, a: &Asked<'_>, now: u64) -> bool {
    let Some(place) = of_packet(route, a, now) else {
        return true;
    };
    // SAFETY: as in `find`.
    let slot = unsafe { &*place };
    // SAFETY: a member of the place.
    let taken = unsafe { (&raw const (*place).ts_ns).read_volatile() };
    if route.how & ROUTE_DST != 0 && !agree(route, slot, a) {
        return true;
    }
    claim(place, slot, a);
    route.how |= ROUTE_LOOKUP;
    merge(route, slot, a);
    is_unchanged(place, taken)
}

/// The same without a dst entry: nothing but the lookup says what was decided. Of several next hops it
/// names the first, so that it says nothing then. False when nothing is known.
#[inline(always)]
pub(super) fn join_alone(route: &mut Route, a: &Asked<'_>, now: u64) -> bool {
    let Some(place) = of_packet(route, a, now) else {
        return false;
    };
    // SAFETY: as in `find`.
    let slot = unsafe { &*place };
    // SAFETY: a member of the place.
    let taken = unsafe { (&raw const (*place).ts_ns).read_volatile() };
    if slot.errno != 0 || route.about & ABOUT_OUTPUT != 0 || has_several(slot) {
        return false;
    }
    claim(place, slot, a);
    route.how = ROUTE_LOOKUP;
    route.gw_family = slot.gw_family;
    if slot.gw_family != 0 {
        route.gateway = slot.gateway;
    }
    // the event of IPv4 does not name the type
    if slot.family == FAMILY_IPV4 && slot.daddr[0] < MULTICAST {
        route.kind = UNICAST;
    }
    merge(route, slot, a);
    is_unchanged(place, taken)
}

/// A lookup of a sender that left its port open is from here on this flow's.
#[inline(always)]
fn claim(place: *mut LookupSlot, slot: &LookupSlot, a: &Asked<'_>) {
    if slot.task != 0 && slot.sport == 0 {
        // SAFETY: a member of the place; another task's lookup may just be taking it (see `keep`).
        unsafe { (&raw mut (*place).sport).write_volatile(a.sport) };
    }
}

/// No other task took the place since it was of the time `taken`.
#[inline(always)]
fn is_unchanged(place: *mut LookupSlot, taken: u64) -> bool {
    // SAFETY: members of the place, and a helper without arguments.
    unsafe {
        let task = (&raw const (*place).task).read_volatile();
        let time = (&raw const (*place).ts_ns).read_volatile();
        task == 0 || (time == taken && task == bpf_get_current_task())
    }
}

/// What was asked, and what of the answer is not known otherwise.
#[inline(always)]
fn merge(route: &mut Route, slot: &LookupSlot, a: &Asked<'_>) {
    route.asked = if same(&slot.saddr, a.saddr) {
        ASKED
    } else {
        ASKED | ASKED_ANY_SOURCE
    };
    route.asked_mark = slot.mark;
    route.asked_uid = slot.uid;
    route.asked_oif = slot.bound;
    route.asked_tos = slot.tos;
    if route.kind == 0 {
        route.kind = slot.kind;
    }
    if route.oif == 0 {
        route.oif = slot.oif;
    }
    if slot.errno == EAGAIN {
        // no table had a match
        if route.error == 0 {
            route.error = ENETUNREACH;
        }
        return;
    }
    if route.error == 0 {
        route.error = slot.errno;
    }
    if route.metric == 0 {
        route.metric = slot.metric;
    }
    if route.table == 0 {
        route.table = table(slot, route.kind);
    }
}

/// The lookup led to this dst entry. Where it names another next hop, the route must have several.
#[inline(always)]
fn agree(route: &mut Route, slot: &LookupSlot, a: &Asked<'_>) -> bool {
    if slot.errno != 0 {
        return route.error != 0;
    }
    if route.table != 0 && route.table != slot.table {
        return false;
    }
    // what is refused or delivered here has lo as its device
    if route.error != 0 || matches!(route.kind, LOCAL | BROADCAST | ANYCAST) {
        return true;
    }
    // the dst of a smaller path MTU may name the destination as its gateway
    let other_gateway = slot.gw_family != 0
        && slot.gw_family == route.gw_family
        && !same(&slot.gateway, &route.gateway)
        && !same(a.daddr, &route.gateway);
    if slot.oif == route.oif && !other_gateway {
        return true;
    }
    route.how |= ROUTE_OTHER_NEXTHOP;
    has_several(slot)
}

/// The route that was found has several next hops, or may have: a nexthop object.
#[inline(always)]
fn has_several(slot: &LookupSlot) -> bool {
    if slot.family == FAMILY_IPV6 {
        return slot.several != 0;
    }
    match fib_info(slot) {
        0 => true,
        info => read::<i32>(info, Off::FibInfoNhs) > 1,
    }
}

/// Address of the `fib_info` of an IPv4 lookup, 0 for a nexthop object. Read later than the event,
/// and so by the fault-safe way.
#[inline(always)]
fn fib_info(slot: &LookupSlot) -> u64 {
    if slot.nhc < KERNEL || read::<u8>(slot.nhc, Off::NhcFamily) == AF_INET6 {
        return 0;
    }
    // struct fib_nh begins with its fib_nh_common
    let info: u64 = read(slot.nhc, Off::FibNhParent);
    if info < KERNEL { 0 } else { info }
}

/// Local and main share one trie until the first rule is added: the event says main for both.
#[inline(always)]
pub(super) fn table(slot: &LookupSlot, kind: u8) -> u32 {
    if slot.table != TABLE_MAIN || (kind != LOCAL && kind != BROADCAST) {
        return slot.table;
    }
    match fib_info(slot) {
        0 => TABLE_LOCAL,
        info => read(info, Off::FibInfoTable),
    }
}
