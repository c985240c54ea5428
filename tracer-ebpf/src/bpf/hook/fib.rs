//! `fib_table_lookup` and `fib6_table_lookup`: candidates, never the decision.
//!
//! They are kept for a moment per CPU and joined to the packet they were made for (the table of
//! IPv4, whether a route was looked up or cached), and they are the only trace of local senders
//! that found no route: no packet exists then.

use aya_ebpf::{
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns,
    },
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use tracer_abi::{
    counter::Counter,
    key::{FAMILY_IPV4, FAMILY_IPV6, Tuple},
    offset::Off,
    route::{FailKey, FailValue, LookupSlot},
};

use crate::bpf::{
    kmem::{ld, read},
    lookup,
    maps::{ROUTE_FAILS, count, last_rx, lookup_slot, netns_scope, off},
};

/// `EAGAIN`: this table has no match, the next rule is tried.
const EAGAIN: u32 = 11;
/// `ENETUNREACH`: what the sender gets when no table had a match.
const ENETUNREACH: u32 = 101;
/// `flowi_common.flowic_iif` of an output lookup.
const IIF_OUTPUT: u32 = 1;
/// `FLOWI_FLAG_ANYSRC` of `net/flow.h`.
const FLOWI_FLAG_ANYSRC: u8 = 1;

/// One lookup in the terms of both families.
struct Lookup {
    slot: LookupSlot,
    proto: u8,
    sport: u16,
    dport: u16,
}

#[btf_tracepoint(function = "fib_table_lookup")]
fn tracer_fib4(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the arguments are the same on every kernel; `nhc` may be NULL and is tested.
    unsafe {
        let flow = ctx.arg::<*const u8>(1) as usize;
        let iif: u32 = ld(flow, Off::FlowIif);
        // 0: an address-type helper, no packet
        if iif == 0 {
            return 0;
        }
        let nhc = ctx.arg::<*const u8>(2) as usize;
        let err: i32 = ctx.arg(3);
        let (mut netns, mut oif) = (0, 0);
        if nhc != 0 {
            oif = ld::<i32>(nhc, Off::NhcOif) as u32;
            let dev: usize = ld(nhc, Off::NhcDev);
            if dev != 0 {
                let net: usize = ld(dev, Off::DevNet);
                netns = ld(net, Off::NetInum);
            }
        }
        if netns == 0 {
            netns = if iif == IIF_OUTPUT {
                current_netns()
            } else {
                last_rx()
            };
        }
        if netns_scope(netns) == 0 {
            return 0;
        }
        count(Counter::Lookups);
        let mut l = Lookup {
            slot: LookupSlot {
                saddr: [0; 16],
                daddr: [0; 16],
                ts_ns: bpf_ktime_get_ns(),
                netns,
                iif,
                table: ctx.arg(0),
                oif,
                errno: err.unsigned_abs(),
                metric: 0,
                family: FAMILY_IPV4,
                kind: 0,
                by_program: by_program(flow, iif),
                reserved: [0; 5],
            },
            proto: ld(flow, Off::FlowProto),
            sport: 0,
            dport: 0,
        };
        put4(&mut l.slot.saddr, ld(flow, Off::Flow4Saddr));
        put4(&mut l.slot.daddr, ld(flow, Off::Flow4Daddr));
        (l.dport, l.sport) = ports(flow + off(Off::Flow4Uli));
        keep(&l);
    }
    0
}

#[btf_tracepoint(function = "fib6_table_lookup")]
fn tracer_fib6(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the arguments are the same on every kernel; pointers in the result are tested.
    unsafe {
        let flow = ctx.arg::<*const u8>(3) as usize;
        let iif: u32 = ld(flow, Off::FlowIif);
        if iif == 0 {
            return 0;
        }
        let net = ctx.arg::<*const u8>(0) as usize;
        let netns: u32 = ld(net, Off::NetInum);
        if netns_scope(netns) == 0 {
            return 0;
        }
        count(Counter::Lookups);
        let result = ctx.arg::<*const u8>(1) as usize;
        let f6i: usize = ld(result, Off::Res6F6i);
        if f6i == 0 {
            return 0;
        }
        let of_table: usize = ld(f6i, Off::F6iTable);
        let kind: u8 = ld(result, Off::Res6Type);
        let (mut oif, mut metric) = (0, 0);
        // the null entry belongs to no table: no match here, the next rule is tried
        let mut errno = EAGAIN;
        if of_table != 0 {
            errno = errno_of(kind);
            metric = ld(f6i, Off::F6iMetric);
            let nh: usize = ld(result, Off::Res6Nh);
            if nh != 0 {
                oif = read::<i32>((nh + off(Off::Nh6Common)) as u64, Off::NhcOif) as u32;
            }
        }
        let table = ctx.arg::<*const u8>(2) as usize;
        let mut l = Lookup {
            slot: LookupSlot {
                saddr: read(flow as u64, Off::Flow6Saddr),
                daddr: read(flow as u64, Off::Flow6Daddr),
                ts_ns: bpf_ktime_get_ns(),
                netns,
                iif,
                table: ld(table, Off::Table6Id),
                oif,
                errno,
                metric,
                family: FAMILY_IPV6,
                kind,
                by_program: by_program(flow, iif),
                reserved: [0; 5],
            },
            proto: ld(flow, Off::FlowProto),
            sport: 0,
            dport: 0,
        };
        (l.dport, l.sport) = ports(flow + off(Off::Flow6Uli));
        keep(&l);
    }
    0
}

/// An output lookup that names any source and a device: `__bpf_redirect_neigh_v4()` and `_v6()`.
///
/// # Safety
/// `flow` must be a BTF pointer to a `flowi4` or `flowi6`.
#[inline(always)]
unsafe fn by_program(flow: usize, iif: u32) -> u8 {
    // SAFETY: by contract; both begin with a `flowi_common`.
    unsafe {
        let any = ld::<u8>(flow, Off::FlowFlags) & FLOWI_FLAG_ANYSRC != 0;
        u8::from(iif == IIF_OUTPUT && any && ld::<i32>(flow, Off::FlowOif) != 0)
    }
}

/// Errno of a route type: 6 blackhole, 7 unreachable, 8 prohibit (`fib6_prop`, net/ipv6/route.c).
#[inline(always)]
fn errno_of(kind: u8) -> u32 {
    match kind {
        6 => 22,
        7 => 113,
        8 => 13,
        9 => EAGAIN,
        _ => 0,
    }
}

#[inline(always)]
fn put4(to: &mut [u8; 16], address: u32) {
    // SAFETY: four of sixteen bytes.
    unsafe { to.as_mut_ptr().cast::<u32>().write_unaligned(address) };
}

/// Destination and source port of `union flowi_uli`, in that order.
#[inline(always)]
unsafe fn ports(uli: usize) -> (u16, u16) {
    // SAFETY: two members of a struct that the tracepoint was given.
    unsafe {
        (
            u16::from_be(core::ptr::read_volatile(uli as *const u16)),
            u16::from_be(core::ptr::read_volatile((uli + 2) as *const u16)),
        )
    }
}

/// Namespace of the current task: the sender, for output lookups.
#[inline(always)]
fn current_netns() -> u32 {
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let proxy: u64 = read(task, Off::TaskNsproxy);
    let net: u64 = read(proxy, Off::NsproxyNet);
    read(net, Off::NetInum)
}

/// Puts the lookup where the packet will find it, and keeps account of failed walks.
#[inline(always)]
fn keep(l: &Lookup) {
    let s = &l.slot;
    let Some(p) = lookup_slot(lookup::index(&s.saddr, &s.daddr)) else {
        return;
    };
    // SAFETY: this CPU's own element.
    let old = unsafe { &mut *p };
    // a program's lookup is for a packet that came in: no local sender asked
    if s.iif == IIF_OUTPUT && s.by_program == 0 && l.proto != 0 && !is_multicast(s) {
        if s.errno != 0 {
            fail(l);
        } else if old.errno == EAGAIN
            && old.iif == IIF_OUTPUT
            && old.netns == s.netns
            && lookup::same(&old.daddr, &s.daddr)
        {
            take_back(l);
        }
    }
    *old = *s;
}

#[inline(always)]
fn is_multicast(s: &LookupSlot) -> bool {
    if s.family == FAMILY_IPV4 {
        s.daddr[0] >= 224
    } else {
        s.daddr[0] == 0xff
    }
}

#[inline(always)]
fn fail_key(l: &Lookup) -> FailKey {
    FailKey {
        tuple: Tuple {
            saddr: l.slot.saddr,
            daddr: l.slot.daddr,
            sport: l.sport,
            dport: l.dport,
            family: l.slot.family,
            proto: l.proto,
            later_fragment: 0,
            encap: 0,
            vni: 0,
        },
        netns: l.slot.netns,
    }
}

/// A walk did not find a route in this table.
#[inline(always)]
fn fail(l: &Lookup) {
    let key = fail_key(l);
    let s = &l.slot;
    let errno = if s.errno == EAGAIN {
        ENETUNREACH
    } else {
        s.errno
    };
    if let Some(v) = ROUTE_FAILS.get_ptr_mut(&key) {
        // SAFETY: a map value; senders on other CPUs may race, the count is then off by one.
        let v = unsafe { &mut *v };
        if s.table == v.first_table {
            v.count += 1;
        }
        v.table = s.table;
        v.errno = errno;
        v.last_ns = s.ts_ns;
        return;
    }
    let value = FailValue {
        count: 1,
        first_ns: s.ts_ns,
        last_ns: s.ts_ns,
        first_table: s.table,
        table: s.table,
        errno,
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        comm: bpf_get_current_comm().unwrap_or([0; 16]),
    };
    // No record: whether the walk failed is known only when it ended. User space reads the table.
    if ROUTE_FAILS.insert(&key, &value, 0).is_err() {
        count(Counter::RouteFailsFull);
    }
}

/// A later table answered: the walk did not fail.
#[inline(always)]
fn take_back(l: &Lookup) {
    if let Some(v) = ROUTE_FAILS.get_ptr_mut(&fail_key(l)) {
        // SAFETY: as in `fail`.
        let v = unsafe { &mut *v };
        if v.count > 0 {
            v.count -= 1;
        }
    }
}
