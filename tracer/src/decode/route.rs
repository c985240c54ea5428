//! Route decisions: how they are known and what they say.

use tracer_abi::route::{
    ABOUT_EARLY, ABOUT_OTHER_NETNS, ABOUT_OUTPUT, ASKED, ASKED_ANY_SOURCE, ROUTE_DST, ROUTE_FAKE,
    ROUTE_LOOKUP, ROUTE_LWTUNNEL, ROUTE_METADATA, ROUTE_NO_DST, ROUTE_OTHER_NEXTHOP,
    ROUTE_REVERSED, Route,
};

use super::{DecodeError, convert};
use crate::event::{Asked, How, Ifindex, RouteDecision, RouteKind, Why};

/// Prefix length that is not known.
const PREFIX_UNKNOWN: u8 = 255;

/// The decision for a packet; `None` when the hook could not read one.
pub(super) fn decision(raw: &Route) -> Result<Option<RouteDecision>, DecodeError> {
    // a metadata dst carries a received tunnel key and routes nothing
    if raw.how == 0 || raw.how & ROUTE_METADATA != 0 {
        return Ok(None);
    }
    let bridged = raw.how & ROUTE_FAKE != 0;
    if bridged {
        return Ok(Some(RouteDecision {
            bridged,
            ..RouteDecision::unknown(How::Inferred)
        }));
    }
    if raw.how & ROUTE_NO_DST != 0 {
        return Ok(Some(without_dst(raw)));
    }
    if raw.about & ABOUT_OTHER_NETNS != 0 {
        // its tables and device numbers mean nothing here
        return Ok(Some(RouteDecision {
            why: Some(Why::OtherNetns),
            ..RouteDecision::unknown(How::Unknown)
        }));
    }
    let errno = raw.error.cast_signed().unsigned_abs();
    let kind = kind(raw.kind, errno);
    let refused = matches!(
        kind,
        RouteKind::None | RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit
    );
    let gateway = match raw.gw_family {
        0 => None,
        family => Some(convert::address(family, &raw.gateway)?),
    };
    Ok(Some(RouteDecision {
        kind,
        table: known(raw.table),
        gateway: gateway.filter(|_| !refused),
        // the dst entry of a refused packet names `lo`, where nothing would leave
        dev: known(raw.oif).filter(|_| !refused).map(Ifindex),
        prefix_len: (raw.prefix_len != PREFIX_UNKNOWN).then_some(raw.prefix_len),
        metric: known(raw.metric),
        pmtu: known(raw.pmtu),
        errno,
        lwtunnel: (raw.how & ROUTE_LWTUNNEL != 0).then_some(raw.lwt_vni),
        bridged: false,
        source_check: raw.how & ROUTE_REVERSED != 0,
        bypass: raw.about & ABOUT_OUTPUT != 0,
        changed: None,
        asked: asked(raw),
        why: None,
        how: how(raw.how)?,
    }))
}

/// The same for a packet that leaves. One with a metadata dst was not routed either: whoever attached
/// the tunnel key gave it to the device.
pub(super) fn of_sent(raw: &Route) -> Result<Option<RouteDecision>, DecodeError> {
    if raw.how & ROUTE_METADATA != 0 {
        return Ok(Some(without_dst(raw)));
    }
    if raw.how == 0 && raw.about & ABOUT_EARLY != 0 {
        return Ok(Some(RouteDecision {
            why: Some(Why::Early),
            ..RouteDecision::unknown(How::Unknown)
        }));
    }
    decision(raw)
}

/// Nothing routed the packet. A lookup of its addresses was then made for a program
/// (`bpf_fib_lookup`), whose advice it need not have followed: device and table are kept to be
/// compared with the way it took.
fn without_dst(raw: &Route) -> RouteDecision {
    let advised = raw.how & ROUTE_LOOKUP != 0 && raw.error == 0;
    RouteDecision {
        bypass: true,
        table: known(raw.table).filter(|_| advised),
        dev: known(raw.oif).filter(|_| advised).map(Ifindex),
        ..RouteDecision::unknown(How::Inferred)
    }
}

fn asked(raw: &Route) -> Option<Asked> {
    (raw.asked & ASKED != 0).then(|| Asked {
        mark: raw.asked_mark,
        uid: raw.asked_uid,
        oif: known(raw.asked_oif).map(Ifindex),
        tos: raw.asked_tos,
        any_source: raw.asked & ASKED_ANY_SOURCE != 0,
    })
}

fn known(n: u32) -> Option<u32> {
    (n != 0).then_some(n)
}

fn how(bits: u8) -> Result<How, DecodeError> {
    let (dst, lookup) = (bits & ROUTE_DST != 0, bits & ROUTE_LOOKUP != 0);
    match (dst, lookup, bits & ROUTE_OTHER_NEXTHOP != 0) {
        (_, true, false) => Ok(How::Lookup),
        (true, _, true) => Ok(How::Dst),
        (true, false, false) => Ok(How::Cached),
        (false, _, _) => Err(DecodeError::How(bits)),
    }
}

/// Result type of a route. The dst entry that IPv4 input routing makes for any refusal is of type
/// unreachable (`no_route` in `ip_route_input_slow()`), and so is IPv6's null entry: only the errno
/// tells them apart.
fn kind(rtn: u8, errno: u32) -> RouteKind {
    match (RouteKind::from_rtn(rtn), errno) {
        (RouteKind::Unknown | RouteKind::Unreachable, 101) => RouteKind::None,
        (RouteKind::Unknown | RouteKind::Unreachable, 22) => RouteKind::Blackhole,
        (RouteKind::Unknown | RouteKind::Unreachable, 13) => RouteKind::Prohibit,
        (RouteKind::Unknown, 113) => RouteKind::Unreachable,
        (kind, _) => kind,
    }
}
