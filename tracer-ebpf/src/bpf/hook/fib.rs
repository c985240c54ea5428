//! `fib_table_lookup` and `fib6_table_lookup`: candidates, never the decision.
//!
//! They are kept for a moment per CPU and joined to the packet they were made for (the table of
//! IPv4, whether a route was looked up or cached), and they are the only trace of local senders
//! that found no route: no packet exists then.

use aya_ebpf::{
    helpers::bpf_get_current_task, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tracer_abi::{
    counter::Counter,
    key::{FAMILY_IPV4, FAMILY_IPV6, put_words},
    offset::{ABSENT, Off},
    route::LookupSlot,
};

use crate::bpf::{
    again::Turn,
    kmem::{ld, read},
    last::{clock, last_rx},
    lookup::{EAGAIN, IIF_OUTPUT},
    maps::{count, lookup_work, netns_scope, off},
    repeat::Found4,
    stay,
    walk::keep,
};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// The bits of the DS field that are no part of the DSCP (RFC 3168).
const ECN: u8 = 3;
/// `RTN_LOCAL`, `RTN_ANYCAST` and `RTN_MULTICAST` of `linux/rtnetlink.h`.
const LOCAL: u8 = 2;
const ANYCAST: u8 = 4;
const MULTICAST: u8 = 5;
/// The scope of the next hop of a local route, and of no other (`fib_create_info()`).
const RT_SCOPE_NOWHERE: u8 = 255;
/// `FLOWI_FLAG_ANYSRC` of `net/flow.h`.
const FLOWI_FLAG_ANYSRC: u8 = 1;

#[btf_tracepoint(function = "fib_table_lookup")]
fn tracer_fib4(ctx: BtfTracePointContext) -> i32 {
    lookup4(&ctx, Turn::First);
    0
}

/// Only attached from Linux 7.0 on.
#[btf_tracepoint(function = "fib_table_lookup")]
fn tracer_fib4_again(ctx: BtfTracePointContext) -> i32 {
    lookup4(&ctx, Turn::Second);
    0
}

#[btf_tracepoint(function = "fib6_table_lookup")]
fn tracer_fib6(ctx: BtfTracePointContext) -> i32 {
    lookup6(&ctx, Turn::First);
    0
}

/// Only attached from Linux 7.0 on.
#[btf_tracepoint(function = "fib6_table_lookup")]
fn tracer_fib6_again(ctx: BtfTracePointContext) -> i32 {
    lookup6(&ctx, Turn::Second);
    0
}

#[inline(always)]
fn lookup4(ctx: &BtfTracePointContext, turn: Turn) {
    // SAFETY: the arguments are the same on every kernel; `nhc` may be NULL and is tested.
    unsafe {
        let flow = ctx.arg::<*const u8>(1) as usize;
        if !turn.is_here(flow, 0) {
            return;
        }
        let iif: u32 = ld(flow, Off::FlowIif);
        // 0: an address-type helper, no packet
        if iif == 0 {
            return;
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
            return;
        }
        count(Counter::Lookups);
        let ports = ports(flow + off(Off::Flow4Uli));
        let tos = tos4(flow);
        // the event does not name the type
        let here =
            iif != IIF_OUTPUT && nhc != 0 && ld::<u8>(nhc, Off::NhcScope) == RT_SCOPE_NOWHERE;
        if iif != IIF_OUTPUT && nhc != 0 && !here {
            let found = Found4 {
                flow,
                nhc,
                netns,
                iif: in_vrf(flow, iif),
                table: ctx.arg(0),
                oif,
                errno: err.unsigned_abs(),
                tos,
                ports,
            };
            if found.is_repeated() {
                return;
            }
        }
        let Some(w) = lookup_work(turn.memory(0)) else {
            return;
        };
        let l = &mut w.slot;
        asked(l, flow, iif);
        l.family = FAMILY_IPV4;
        l.kind = 0;
        l.metric = 0;
        l.several = 0;
        l.netns = netns;
        l.table = ctx.arg(0);
        l.oif = oif;
        l.errno = err.unsigned_abs();
        l.nhc = nhc as u64;
        l.tos = tos;
        put_words(&mut l.saddr, [ld(flow, Off::Flow4Saddr), 0, 0, 0]);
        put_words(&mut l.daddr, [ld(flow, Off::Flow4Daddr), 0, 0, 0]);
        if nhc != 0 {
            gateway4(l, nhc);
        }
        (l.dport, l.sport) = ports;
        if here {
            stay::delivered(l, LOCAL);
        }
        keep(w);
    }
}

#[inline(always)]
fn lookup6(ctx: &BtfTracePointContext, turn: Turn) {
    // SAFETY: the arguments are the same on every kernel; pointers in the result are tested.
    unsafe {
        let flow = ctx.arg::<*const u8>(3) as usize;
        if !turn.is_here(flow, 1) {
            return;
        }
        let iif: u32 = ld(flow, Off::FlowIif);
        if iif == 0 {
            return;
        }
        let net = ctx.arg::<*const u8>(0) as usize;
        let netns: u32 = ld(net, Off::NetInum);
        if netns_scope(netns) == 0 {
            return;
        }
        count(Counter::Lookups);
        let result = ctx.arg::<*const u8>(1) as usize;
        let f6i: usize = ld(result, Off::Res6F6i);
        if f6i == 0 {
            return;
        }
        let of_table: usize = ld(f6i, Off::F6iTable);
        let kind: u8 = ld(result, Off::Res6Type);
        let Some(w) = lookup_work(turn.memory(1)) else {
            return;
        };
        let l = &mut w.slot;
        asked(l, flow, iif);
        l.family = FAMILY_IPV6;
        l.nhc = 0;
        l.netns = netns;
        l.kind = kind;
        put_words(&mut l.saddr, ld(flow, Off::Flow6Saddr));
        put_words(&mut l.daddr, ld(flow, Off::Flow6Daddr));
        let label: u32 = ld(flow, Off::Flow6Label);
        l.tos = (u32::from_be(label) >> 20) as u8 & !ECN;
        // the null entry belongs to no table: no match here, the next rule is tried
        l.errno = EAGAIN;
        (l.oif, l.metric, l.several) = (0, 0, 0);
        if of_table != 0 {
            l.errno = errno_of(kind);
            l.metric = ld(f6i, Off::F6iMetric);
            let object: usize = ld(f6i, Off::F6iNh);
            l.several = u8::from(object != 0 || ld::<u32>(f6i, Off::F6iSiblings) != 0);
            let nh: usize = ld(result, Off::Res6Nh);
            if nh != 0 {
                l.oif = ld::<i32>(nh, Off::Nh6Oif) as u32;
                if ld::<u8>(nh, Off::Nh6GwFamily) == AF_INET6 {
                    l.gw_family = FAMILY_IPV6;
                    l.gateway = ld(nh, Off::Nh6Gw);
                }
            }
        }
        let table = ctx.arg::<*const u8>(2) as usize;
        l.table = ld(table, Off::Table6Id);
        (l.dport, l.sport) = ports(flow + off(Off::Flow6Uli));
        if iif != IIF_OUTPUT && of_table != 0 && matches!(kind, LOCAL | ANYCAST | MULTICAST) {
            stay::delivered(l, kind);
        }
        keep(w);
    }
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

/// What a packet has as the device that it came in by (`skb_iif`): for a lookup by a device of a VRF,
/// as IPv4 makes it, the VRF.
///
/// # Safety
/// `flow` must be a BTF pointer to a `flowi4` or `flowi6`.
#[inline(always)]
unsafe fn in_vrf(flow: usize, iif: u32) -> u32 {
    if iif == IIF_OUTPUT || off(Off::FlowL3mdev) == ABSENT as usize {
        return iif;
    }
    // SAFETY: by contract; both begin with a `flowi_common`.
    match unsafe { ld::<i32>(flow, Off::FlowL3mdev) } {
        0 => iif,
        vrf => vrf as u32,
    }
}

/// What both families ask for in the same members. No gateway yet.
#[inline(always)]
unsafe fn asked(l: &mut LookupSlot, flow: usize, iif: u32) {
    l.gw_family = 0;
    // SAFETY: by contract of the caller, a BTF pointer to a flow.
    unsafe {
        l.iif = in_vrf(flow, iif);
        l.ts_ns = clock();
        l.mark = ld(flow, Off::FlowMark);
        l.uid = ld(flow, Off::FlowUid);
        l.bound = ld::<i32>(flow, Off::FlowOif) as u32;
        l.proto = ld(flow, Off::FlowProto);
        l.by_program = by_program(flow, iif);
        l.reversed = 0;
        l.task = if iif == IIF_OUTPUT && l.by_program == 0 {
            bpf_get_current_task()
        } else {
            0
        };
    }
}

/// The DS field of a lookup of IPv4.
///
/// # Safety
/// `flow` must be a BTF pointer to a `flowi4`.
#[inline(always)]
unsafe fn tos4(flow: usize) -> u8 {
    let member = if off(Off::FlowDscp) == ABSENT as usize {
        Off::FlowTos
    } else {
        Off::FlowDscp
    };
    // SAFETY: by contract.
    unsafe { ld::<u8>(flow, member) & !ECN }
}

/// The gateway of an IPv4 route, which may be an address of IPv6.
#[inline(always)]
unsafe fn gateway4(l: &mut LookupSlot, nhc: usize) {
    // SAFETY: a BTF pointer that is not NULL; `nhc_gw` is a union that begins with the address.
    unsafe {
        match ld::<u8>(nhc, Off::NhcGwFamily) {
            AF_INET => {
                l.gw_family = FAMILY_IPV4;
                put_words(&mut l.gateway, [ld(nhc, Off::NhcGw), 0, 0, 0]);
            }
            AF_INET6 => {
                l.gw_family = FAMILY_IPV6;
                l.gateway = read(nhc as u64, Off::NhcGw);
            }
            _ => {}
        }
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
