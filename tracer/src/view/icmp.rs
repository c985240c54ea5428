//! ICMP messages in words.

use std::borrow::Cow;

use crate::event::{IcmpSample, Proto, Tuple};

/// The message of an ICMP tuple.
pub(super) fn name(t: &Tuple) -> Cow<'static, str> {
    words(
        t.proto == Proto::ICMPV6,
        (t.dport >> 8) as u8,
        t.dport as u8,
    )
}

/// The message of an ICMP error.
pub(super) fn error(s: &IcmpSample) -> Cow<'static, str> {
    words(s.from.is_ipv6(), s.icmp_type, s.code)
}

/// From RFC 792, 1122, 1812 and 4443.
fn words(ipv6: bool, icmp_type: u8, code: u8) -> Cow<'static, str> {
    let s = match (ipv6, icmp_type, code) {
        (false, 0, _) | (true, 129, _) => "echo reply",
        (false, 8, _) | (true, 128, _) => "echo request",
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) => "fragmentation needed",
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "administratively prohibited",
        (false, 5, _) | (true, 137, _) => "redirect",
        (false, 11, 0) => "time to live exceeded",
        (false, 11, _) | (true, 3, 1) => "fragment reassembly time exceeded",
        (false, 12, _) | (true, 4, _) => "parameter problem",
        (true, 1, 0) => "no route to destination",
        (true, 1, 2) => "beyond scope of source address",
        (true, 1, 3) => "address unreachable",
        (true, 1, 5) => "source address failed policy",
        (true, 1, 6) => "reject route to destination",
        (false, 3, _) | (true, 1, _) => "destination unreachable",
        (true, 2, _) => "packet too big",
        (true, 3, _) => "hop limit exceeded",
        (true, 133, _) => "router solicitation",
        (true, 134, _) => "router advertisement",
        (true, 135, _) => "neighbour solicitation",
        (true, 136, _) => "neighbour advertisement",
        (_, t, c) => return Cow::Owned(format!("type {t} code {c}")),
    };
    Cow::Borrowed(s)
}
