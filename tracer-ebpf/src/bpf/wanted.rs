//! Packets that the filter does not want as they are, and wants for something else.
//!
//! Each step is a function that the verifier checks by itself. The program calls one after the other,
//! and none calls the next: the frames of nested calls add up to 512 bytes at most, and before Linux
//! 6.8 each is rounded up to 32.

use tracer_abi::parse::Packet;

use super::{
    conntrack::{came, error_of, original},
    fragment,
    maps::{WANTED, filter, wanted_exist, work_of},
    work::Work,
};

/// The filter accepts the packet or its reverse: as it is, or as `w.view` has it. A first fragment is
/// remembered then.
///
/// By itself, so that the verifier goes through the clauses once for each program, however often it asks;
/// and called by programs and not by the parser, for the sake of the 512 bytes of stack.
#[unsafe(no_mangle)]
extern "C" fn tracer_accepts(hook: u32, netns: u32, as_it_is: u32) -> u32 {
    let (Some(w), Some(f)) = (work_of(hook), filter()) else {
        return 1;
    };
    if as_it_is != 0 {
        w.view = w.packet.tuple;
    }
    if !f.accepts(&w.view, &w.packet.outer) {
        return 0;
    }
    fragment::remember(w, netns);
    1
}

/// The filter accepts the packet as it is; without one, and for what is no fragment, it is not asked.
#[inline(always)]
pub(super) fn accepted(hook: u32, netns: u32, w: &Work) -> bool {
    let none = filter().is_none_or(|f| f.len == 0);
    (none && !fragment::is_one(&w.packet)) || tracer_accepts(hook, netns, 1) != 0
}

/// [`tracer_other_side`]: there is none.
const NO_OTHER: u32 = 0;
/// [`tracer_other_side`]: the addresses on the other side of the translation.
const TRANSLATED: u32 = 1;
/// [`tracer_other_side`]: the flow that the ICMP error is about.
const ERROR: u32 = 2;

/// Why the filter wants a packet that it does not want as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It does not.
    Not,
    /// For the addresses on the other side of the translation.
    Translated,
    /// It is an ICMP error about a flow that the filter wants.
    Error,
}

/// Asks the filter again about a packet that it does not want as it is: for the addresses before
/// translation, and for the flow that an ICMP error is about. Costs a read of the connection's
/// status, and more when it is translated.
#[inline(always)]
pub(super) fn wanted(hook: u32, nfct: u64, netns: u32, p: &Packet) -> Wanted {
    let error = error_of(hook, p);
    let other = tracer_other_side(hook, nfct, error);
    let found = if error != 0 {
        Wanted::Error
    } else {
        Wanted::Translated
    };
    let accepted = other != NO_OTHER && tracer_accepts(hook, netns, 0) != 0;
    if accepted || tracer_known(hook, netns, u32::from(other == ERROR)) != 0 {
        found
    } else {
        Wanted::Not
    }
}

/// Fills `w.view` with the addresses before translation, or of the flow that an ICMP error is about.
///
/// Like the other exported functions here it takes numbers only, so that the verifier checks it
/// once and by itself. `error` is what [`error_of`] said.
#[unsafe(no_mangle)]
extern "C" fn tracer_other_side(hook: u32, nfct: u64, error: u32) -> u32 {
    let Some(w) = work_of(hook) else {
        return NO_OTHER;
    };
    if w.packet.outer.family != 0 {
        return NO_OTHER;
    }
    if error != 0 {
        w.view = w.about.tuple;
        return ERROR;
    }
    w.view = w.packet.tuple;
    if nfct == 0 {
        return NO_OTHER;
    }
    came(nfct, &mut w.ct, &w.packet.tuple, &mut w.nat);
    if w.nat.flags == 0 {
        return NO_OTHER;
    }
    w.nat.put(&mut w.view);
    TRANSLATED
}

/// [`tracer_other_side`] for a packet that was dropped.
#[unsafe(no_mangle)]
extern "C" fn tracer_other_side_dropped(hook: u32, nfct: u64) -> u32 {
    let Some(w) = work_of(hook) else {
        return NO_OTHER;
    };
    w.view = w.packet.tuple;
    if w.packet.outer.family != 0 || nfct == 0 {
        return NO_OTHER;
    }
    original(nfct, &mut w.ct, &w.packet.tuple, &mut w.nat);
    if w.nat.flags == 0 {
        return NO_OTHER;
    }
    w.nat.put(&mut w.view);
    TRANSLATED
}

/// [`wanted`] for a packet that was dropped.
#[inline(always)]
pub(super) fn wanted_dropped(hook: u32, nfct: u64, netns: u32) -> bool {
    let other = tracer_other_side_dropped(hook, nfct);
    (other != NO_OTHER && tracer_accepts(hook, netns, 0) != 0) || tracer_known(hook, netns, 0) != 0
}

/// The filter wanted a packet with these addresses, or with the reverse, on the other side of the
/// translation: those that it has here, or that the ICMP error is about.
#[unsafe(no_mangle)]
extern "C" fn tracer_known(hook: u32, netns: u32, error: u32) -> u32 {
    if !wanted_exist() {
        return 0;
    }
    let Some(w) = work_of(hook) else {
        return 0;
    };
    if error == 0 {
        w.view = w.packet.tuple;
    }
    w.wanted.fill(&w.view, netns);
    if WANTED.get_ptr(&w.wanted).is_none() {
        return 0;
    }
    fragment::remember(w, netns);
    1
}
