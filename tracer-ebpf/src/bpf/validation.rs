//! Source validation (`rp_filter`): the lookup of the way back of a packet that came in.

use tracer_abi::{
    key::FAMILY_IPV4,
    route::{LookupSlot, ROUTE_LOOKUP, ROUTE_REVERSED, Route},
};

use super::{
    last::{last_lookup, reversed_from},
    lookup::{Asked, EAGAIN, ENETUNREACH, IIF_OUTPUT, same},
};

/// Recognises what source validation looks up: the way back of the packet that was looked up just
/// before, without a protocol unless a rule asks for ports, which are turned round then. Nothing leaves
/// by it, and nobody asked.
#[inline(always)]
pub(super) fn tell_reversed(s: &mut LookupSlot) {
    if s.iif != IIF_OUTPUT {
        return;
    }
    let Some(last) = last_lookup() else { return };
    let back = last.iif > IIF_OUTPUT && same(&last.saddr, &s.daddr) && same(&last.daddr, &s.saddr);
    // the next table of the same walk
    let again = last.reversed != 0 && same(&last.saddr, &s.saddr) && same(&last.daddr, &s.daddr);
    // a miss of IPv4 has no device that tells the namespace
    if last.netns != s.netns && (s.family != FAMILY_IPV4 || s.nhc != 0) {
        return;
    }
    let found = if s.proto == 0 {
        back || again
    } else {
        s.family == FAMILY_IPV4 && last.proto == s.proto && with_ports_turned(s, last, back, again)
    };
    if found {
        (s.reversed, s.task, s.netns) = (1, 0, last.netns);
    }
}

/// The same where the lookup has ports. The answer that the node sends asks for the same, but later: for
/// the same table again.
#[inline(always)]
fn with_ports_turned(s: &LookupSlot, last: &LookupSlot, back: bool, again: bool) -> bool {
    let Some(from) = reversed_from() else {
        return false;
    };
    if back && last.sport == s.dport && last.dport == s.sport {
        // SAFETY: this CPU's own element.
        unsafe { *from = s.table };
        return true;
    }
    let same_ports = last.sport == s.sport && last.dport == s.dport;
    // SAFETY: as above.
    again && same_ports && last.errno == EAGAIN && unsafe { *from } != s.table
}

/// The reversed lookup that source validation made for a packet that ended before it had a dst: the
/// device that `rp_filter` expected it on. It is the last lookup of this CPU, or the packet ended
/// before one was made.
#[inline(always)]
pub(super) fn reverse(route: &mut Route, a: &Asked<'_>) {
    let Some(slot) = last_lookup() else { return };
    if slot.netns != a.netns || !same(&slot.saddr, a.daddr) || !same(&slot.daddr, a.saddr) {
        return;
    }
    route.how |= ROUTE_LOOKUP | ROUTE_REVERSED;
    route.oif = slot.oif;
    if slot.errno == EAGAIN {
        route.error = ENETUNREACH;
    } else {
        route.error = slot.errno;
        route.table = slot.table;
    }
}
