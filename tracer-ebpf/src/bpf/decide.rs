//! What was decided for a packet: its route, and how its addresses are translated.
//!
//! The exported functions take numbers only, so that the verifier checks each once and by itself:
//! inlined, all paths through them would be multiplied with those of their callers.

use tracer_abi::{
    nat::Nat,
    offset::Off,
    route::{ABOUT_EARLY, ROUTE_NO_DST, Route},
};

use super::{
    conntrack, dst,
    kmem::read,
    lookup::{self, Asked},
    maps::work_of,
    validation,
};

/// Reads the decision of an outgoing packet into `w.route`; `w.nat` says how it was translated.
#[unsafe(no_mangle)]
pub(super) extern "C" fn tracer_decide(hook: u32, dst: u64, netns: u32, iif: u32) -> u32 {
    let Some(w) = work_of(hook) else { return 0 };
    dst::decode(dst, netns, &mut w.route);
    let mut asked = Asked::of(&w.packet, netns, iif, w.mark);
    if w.nat.flags != 0 {
        // routing comes after the destination is translated, and before the source is
        asked.saddr = &w.nat.saddr;
        asked.sport = w.nat.sport;
    }
    w.before = w.route;
    if !lookup::join(&mut w.route, &asked, w.now) {
        w.route = w.before;
    }
    1
}

/// The same for a packet whose dst entry is gone: the lookup alone, if it led to the device that the
/// packet leaves by.
#[unsafe(no_mangle)]
pub(super) extern "C" fn tracer_decide_early(hook: u32, ifindex: u32, netns: u32, iif: u32) -> u32 {
    let Some(w) = work_of(hook) else { return 0 };
    let mut asked = Asked::of(&w.packet, netns, iif, w.mark);
    if w.nat.flags != 0 {
        asked.saddr = &w.nat.saddr;
        asked.sport = w.nat.sport;
    }
    w.before = Route {
        prefix_len: 255,
        about: ABOUT_EARLY,
        ..Route::default()
    };
    w.route = w.before;
    let whole = lookup::join_alone(&mut w.route, &asked, w.now);
    if !whole || w.route.oif != ifindex {
        w.route = w.before;
    }
    1
}

/// The same for a packet that was dropped: what routing had decided into `w.route`, the MTU of the
/// device that it chose into `w.drop.mtu`, the original tuple of its connection into `w.nat`.
#[unsafe(no_mangle)]
pub(super) extern "C" fn tracer_decide_dropped(
    hook: u32,
    dst: u64,
    nfct: u64,
    netns: u32,
    iif: u32,
) -> u32 {
    let Some(w) = work_of(hook) else { return 0 };
    dst::decode(dst, netns, &mut w.route);
    w.nat = Nat::default();
    if w.packet.outer.family == 0 && w.packet.tuple.family != 0 && nfct != 0 {
        conntrack::original(nfct, &mut w.ct, &w.packet.tuple, &mut w.nat);
        if w.nat.flags == 0 {
            w.nat = Nat::default();
        }
    }
    w.drop.mtu = 0;
    if w.route.how & ROUTE_NO_DST == 0 {
        let dev: u64 = read(dst, Off::DstDev);
        w.drop.mtu = read(dev, Off::DevMtu);
    }
    if w.edge || w.packet.tuple.family == 0 {
        return 1;
    }
    let mut asked = Asked::of(&w.packet, netns, iif, w.mark);
    asked.dropped = true;
    if w.route.how & ROUTE_NO_DST == 0 {
        w.before = w.route;
        if !lookup::join(&mut w.route, &asked, w.now) {
            w.route = w.before;
        }
        return 1;
    }
    // dropped before routing was done: source validation looks the reverse way
    let mut back = Route {
        prefix_len: 255,
        ..Route::default()
    };
    validation::reverse(&mut back, &asked);
    if back.how != 0 {
        w.route = back;
    }
    1
}
