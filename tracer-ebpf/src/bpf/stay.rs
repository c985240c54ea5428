//! Packets that end on this node, at a socket: the lookup that said so.
//!
//! Nothing else tells of them: no hook sees them again. The packet was received on this CPU just
//! before it was looked up, and its flow is still in the working memory of the hook that saw it.

use tracer_abi::route::{ASKED, LookupSlot, ROUTE_LOOKUP, Route};

use super::{
    account::is_of,
    lookup::{same, table, with_ports},
    maps::{FLOWS, recent, work},
    work::{Hook, Work},
};

/// The lookup, which had the result `kind`, is about the packet that this CPU received last: its flow
/// is delivered here. Once for each flow: only a flow without a decision is looked for.
///
/// A packet that is not the last one of a list has no such luck, and neither have those that find
/// their socket without a lookup; what is not seen is worked out from the configuration.
#[inline(always)]
pub(super) fn delivered(l: &LookupSlot, kind: u8) {
    let Some(w) = work(Hook::Receive) else { return };
    let place = w.hit;
    if place != 0 && !took_short_way(w, place - 1) {
        return;
    }
    let (key, p) = (&w.entry.key, &w.packet);
    if !w.undecided || key.ifindex != l.iif || key.netns != l.netns || p.outer.family != 0 {
        return;
    }
    let tuple = &key.tuple;
    let other = |asked: u16, has: u16| asked != 0 && asked != has;
    if !same(&tuple.saddr, &l.saddr)
        || !same(&tuple.daddr, &l.daddr)
        || (l.proto != 0 && l.proto != tuple.proto)
        || (with_ports(l.proto) && (other(l.sport, tuple.sport) || other(l.dport, tuple.dport)))
    {
        return;
    }
    w.undecided = false;
    if let Some(p) = recent(place.wrapping_sub(1)) {
        p.undecided = 0;
    }
    let Some(entry) = FLOWS.get_ptr_mut(&w.digest) else {
        return;
    };
    // SAFETY: a map value.
    if !is_of(unsafe { &*entry }, w) {
        return;
    }
    w.route = Route {
        oif: l.oif,
        table: table(l, kind),
        metric: l.metric,
        asked_mark: l.mark,
        asked_uid: l.uid,
        asked_oif: l.bound,
        prefix_len: 255,
        kind,
        how: ROUTE_LOOKUP,
        asked_tos: l.tos,
        asked: ASKED,
        ..Route::default()
    };
    // SAFETY: a map value; of what came in nothing else writes the route.
    unsafe { (*entry).value.route = w.route };
}

/// The packet was counted in this place: has `w` look as if it had gone the long way. False when its flow has
/// a decision.
#[inline(always)]
fn took_short_way(w: &mut Work, place: u32) -> bool {
    let Some(p) = recent(place) else { return false };
    if p.undecided == 0 {
        return false;
    }
    w.hit = 0;
    w.undecided = true;
    w.packet.outer.family = 0;
    w.digest = p.digest;
    // SAFETY: an entry lies on a multiple of eight, and its key and the padding behind it are as long. What
    // a place has in reserved bytes of the key is none of it.
    unsafe {
        let key = (&raw mut w.entry).cast::<u64>();
        for i in 0..7 {
            key.add(i).write(p.key[i]);
        }
        key.add(7).write(p.key[7] & 0xff);
    }
    true
}
