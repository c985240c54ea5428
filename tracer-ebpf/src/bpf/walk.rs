//! The walk of a lookup through the tables: where its answer is kept, and the account of local
//! senders whose walk found no route.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use tracer_abi::{
    counter::Counter,
    key::{FAMILY_IPV4, FAMILY_IPV6, PROTO_ICMPV6, Tuple},
    route::{FailKey, FailValue, LookupSlot},
};

use super::{
    last::set_clock,
    lookup::{self, EAGAIN, ENETUNREACH, IIF_OUTPUT},
    maps::{ROUTE_FAILS, count},
    validation,
    work::LookupWork,
};

/// Puts the lookup where the packet will find it, and keeps account of failed walks.
#[inline(always)]
pub(super) fn keep(w: &mut LookupWork) {
    validation::tell_reversed(&mut w.slot);
    let l = &w.slot;
    let missed = lookup::keep(l);
    // a program's lookup and source validation's are for a packet that came in: no local sender asked
    let asked = l.iif == IIF_OUTPUT && l.by_program == 0 && l.reversed == 0 && l.proto != 0;
    if !asked || is_multicast(l) || is_for_source(l) {
        return;
    }
    if l.errno == 0 && !missed {
        return;
    }
    fail_key(w);
    if w.slot.errno != 0 {
        fail(w);
    } else {
        take_back(w);
    }
}

/// Before IPv6 makes an error message it looks for the source that a route prefers, without type and without
/// the VRF (`icmpv6_rt_has_prefsrc()`); what is sent is looked up again, with both. No message is of
/// type 0.
#[inline(always)]
fn is_for_source(s: &LookupSlot) -> bool {
    s.proto == PROTO_ICMPV6 && s.family == FAMILY_IPV6 && s.dport == 0
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
fn fail_key(w: &mut LookupWork) {
    let l = &w.slot;
    w.key = FailKey {
        tuple: Tuple {
            saddr: l.saddr,
            daddr: l.daddr,
            sport: l.sport,
            dport: l.dport,
            family: l.family,
            proto: l.proto,
            later_fragment: 0,
            encap: 0,
            vni: 0,
        },
        netns: l.netns,
    };
}

/// A walk did not find a route in this table.
#[inline(always)]
fn fail(w: &mut LookupWork) {
    let now = set_clock();
    let l = &w.slot;
    let errno = if l.errno == EAGAIN {
        ENETUNREACH
    } else {
        l.errno
    };
    if let Some(v) = ROUTE_FAILS.get_ptr_mut(&w.key) {
        // SAFETY: a map value; senders on other CPUs may race, the count is then off by one.
        let v = unsafe { &mut *v };
        if l.table == v.first_table {
            v.count += 1;
        }
        v.table = l.table;
        v.errno = errno;
        v.last_ns = now;
        return;
    }
    w.fail = FailValue {
        count: 1,
        first_ns: now,
        last_ns: now,
        first_table: l.table,
        table: l.table,
        errno,
        mark: l.mark,
        uid: l.uid,
        bound: l.bound,
        tos: u32::from(l.tos),
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        comm: bpf_get_current_comm().unwrap_or([0; 16]),
    };
    // No record: whether the walk failed is known only when it ended. User space reads the table.
    if ROUTE_FAILS.insert(&w.key, &w.fail, 0).is_err() {
        count(Counter::RouteFailsFull);
    }
}

/// A later table answered: the walk did not fail.
#[inline(always)]
fn take_back(w: &LookupWork) {
    if let Some(v) = ROUTE_FAILS.get_ptr_mut(&w.key) {
        // SAFETY: as in `fail`.
        let v = unsafe { &mut *v };
        if v.count > 0 {
            v.count -= 1;
        }
    }
}
