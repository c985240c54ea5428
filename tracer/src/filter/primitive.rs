//! Primitives: qualifiers, then a value.

use winnow::{Parser as _, combinator::opt, error::ErrMode, stream::Location as _};

use super::{
    ast::{Atom, Expr, Family, Layer, Side, proto_keyword},
    parse::{Fault, Input, PResult, fault, keyword, layer, side, values, word},
    value::{self, BadValue, OWN, Own, Value},
};
use crate::event::Proto;

/// The qualifiers in front of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    layer: Option<Layer>,
    only: Option<Only>,
    side: Option<Side>,
    kind: Kind,
}

/// `tcp`, `ip6` in front of other qualifiers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Only {
    Family(Family),
    Proto(Proto),
}

/// What the value is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// An address or a network, without a keyword.
    Bare,
    Host,
    Net,
    Port,
    PortRange,
    Proto,
    Own(Own),
}

/// Words of pcap-filter that have no meaning for flows.
const FOREIGN: &[&str] = &[
    "action",
    "arp",
    "atalk",
    "broadcast",
    "decnet",
    "dir",
    "ether",
    "fddi",
    "gateway",
    "geneve",
    "greater",
    "ifname",
    "iface",
    "ipx",
    "iso",
    "less",
    "link",
    "llc",
    "mpls",
    "multicast",
    "on",
    "pppoed",
    "pppoes",
    "rarp",
    "rulenum",
    "stp",
    "subtype",
    "type",
    "vlan",
    "wlan",
];

/// All keywords that start a primitive, for hints.
const KEYWORDS: &[&str] = &[
    "host",
    "net",
    "port",
    "portrange",
    "src",
    "dst",
    "ip",
    "ip6",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "sctp",
    "proto",
    "dev",
    "netns",
    "vni",
    "mark",
    "table",
    "reason",
    "drop",
    "pod",
    "inner",
    "outer",
    "not",
    "and",
    "or",
];

fn only(word: &str) -> Option<Only> {
    Some(match word {
        "ip" => Only::Family(Family::V4),
        "ip6" => Only::Family(Family::V6),
        "tcp" => Only::Proto(Proto::TCP),
        "udp" => Only::Proto(Proto::UDP),
        "sctp" => Only::Proto(Proto::SCTP),
        "icmp" => Only::Proto(Proto::ICMP),
        "icmp6" => Only::Proto(Proto::ICMPV6),
        _ => return None,
    })
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "host" => Kind::Host,
        "net" => Kind::Net,
        "port" => Kind::Port,
        "portrange" => Kind::PortRange,
        "proto" => Kind::Proto,
        _ => return None,
    })
}

/// A hint when two primitives stand side by side.
pub(super) fn juxtaposed(before: Option<Head>, word: &str) -> String {
    match before {
        None if word.parse::<u16>().is_ok() => format!("a port is written `port {word}`"),
        _ => format!("join them: `… and {word} …`"),
    }
}

/// One primitive.
pub(super) fn primitive(input: &mut Input<'_>) -> PResult<Expr> {
    let start = input.current_token_start();
    let layer = opt(layer).parse_next(input)?;
    let at = input.current_token_start();
    let Some(side) = opt(side).parse_next(input)? else {
        let Ok(w) = word(input) else {
            return nothing(input, layer.is_some());
        };
        if input.state.values_only && is_keyword(w) {
            return fault(at, w.len(), "expected a value", None);
        }
        return first_word(input, layer, w, at);
    };
    if input.state.values_only {
        return fault(start, 3, "expected a value", None);
    }
    let head = Head {
        layer,
        only: None,
        side: Some(side),
        kind: Kind::Bare,
    };
    typed(input, head)
}

fn is_keyword(w: &str) -> bool {
    KEYWORDS.contains(&w)
}

/// There is no word where a primitive must stand.
fn nothing<T>(input: &Input<'_>, after_layer: bool) -> PResult<T> {
    let what = if after_layer {
        "expected an address, a port or a protocol behind `inner` or `outer`"
    } else if input.state.values_only {
        "expected a value"
    } else {
        "expected a primitive (`host 10.0.0.1`, `port 53`, `dev eth0`, ...), `not` or `(`"
    };
    fault(input.current_token_start(), 1, what, None)
}

/// A primitive that starts with the word `w` at `at`.
fn first_word(input: &mut Input<'_>, layer: Option<Layer>, w: &str, at: usize) -> PResult<Expr> {
    if let Some(only) = only(w) {
        return qualified(input, layer, only);
    }
    let head = |kind| Head {
        layer,
        only: None,
        side: None,
        kind,
    };
    if let Some(kind) = kind(w) {
        return complete(input, head(kind));
    }
    let own = OWN.iter().find(|(name, _)| *name == w).map(|(_, own)| *own);
    if layer.is_some() && (own.is_some() || w == "drop") {
        return fault(
            at,
            w.len(),
            "`inner` and `outer` stand before addresses, ports and protocols only",
            Some(format!("write `{w}` alone")),
        );
    }
    if let Some(own) = own {
        return complete(input, head(Kind::Own(own)));
    }
    if w == "drop" {
        input.state.carried = None;
        return Ok(Expr::Atom(Atom::Drop));
    }
    if value::looks_like_address(w) {
        let keeps = input
            .state
            .carried
            .filter(|c| layer.is_none() && c.takes_addresses());
        let head = keeps.unwrap_or(head(Kind::Bare));
        return finish(input, head, w, at);
    }
    match input.state.carried {
        Some(head) if layer.is_none() && !is_foreign(w) && !is_keyword(w) => {
            finish(input, head, w, at)
        }
        _ => unknown(w, at),
    }
}

fn is_foreign(w: &str) -> bool {
    w.contains('[') || FOREIGN.contains(&w)
}

/// Not a word of the language.
fn unknown<T>(w: &str, at: usize) -> PResult<T> {
    if is_foreign(w) {
        return fault(
            at,
            w.len(),
            "this part of pcap-filter is not supported",
            Some("tracer works on flows: addresses, ports and protocols of IP packets".to_owned()),
        );
    }
    let near = KEYWORDS.iter().map(|k| (distance(w, k), *k)).min();
    let hint = match near {
        _ if w.parse::<u16>().is_ok() => Some(format!("a port is written `port {w}`")),
        Some((d, k)) if d <= 2 && d < k.len().min(w.len()) => Some(format!("did you mean `{k}`?")),
        _ if w.contains('.') => Some("names are not looked up: use the address".to_owned()),
        _ => None,
    };
    fault(
        at,
        w.len(),
        "expected a primitive (`host 10.0.0.1`, `port 53`, `dev eth0`, ...), `not` or `(`",
        hint,
    )
}

/// Edit distance, for hints.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 16 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let changed = diagonal + usize::from(x.to_ascii_lowercase() != y);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// Behind `tcp`, `ip6`, …: alone, or in front of other qualifiers.
fn qualified(input: &mut Input<'_>, layer: Option<Layer>, only: Only) -> PResult<Expr> {
    let mut head = Head {
        layer,
        only: Some(only),
        side: None,
        kind: Kind::Bare,
    };
    if let Some(s) = opt(side).parse_next(input)? {
        head.side = Some(s);
        return typed(input, head);
    }
    if let Some(kind) = opt(kind_word).parse_next(input)? {
        head.kind = kind;
        return complete(input, head);
    }
    input.state.carried = None;
    let layer = layer.unwrap_or(Layer::Inner);
    Ok(Expr::Atom(match only {
        Only::Family(family) => Atom::Family { layer, family },
        Only::Proto(proto) => Atom::Proto {
            layer,
            family: None,
            proto,
        },
    }))
}

fn kind_word(input: &mut Input<'_>) -> PResult<Kind> {
    word.verify_map(kind).parse_next(input)
}

/// Behind `src` or `dst`: a keyword for the kind of value, or the value.
fn typed(input: &mut Input<'_>, mut head: Head) -> PResult<Expr> {
    if let Some(kind) = opt(kind_word).parse_next(input)? {
        head.kind = kind;
    }
    complete(input, head)
}

/// The value behind `head`, or a parenthesis of values.
fn complete(input: &mut Input<'_>, head: Head) -> PResult<Expr> {
    let at = input.current_token_start();
    head.check(at)?;
    if let Some(e) = values(input, head)? {
        return Ok(e);
    }
    match word(input) {
        Ok(w) => finish(input, head, w, at),
        Err(_) => fault(at, 1, format!("expected {}", head.wants()), None),
    }
}

/// The primitive of `head` with the value `w` at `at`.
fn finish(input: &mut Input<'_>, head: Head, w: &str, at: usize) -> PResult<Expr> {
    let located = |e: BadValue| {
        ErrMode::Cut(Fault {
            at,
            len: w.len(),
            message: e.message,
            hint: e.hint,
        })
    };
    let mut atom = head.atom(w).map_err(located)?;
    if let Atom::Net { net, .. } = &mut atom
        && head.kind == Kind::Net
        && opt(keyword("mask")).parse_next(input)?.is_some()
    {
        let mask_at = input.current_token_start();
        let mask = word(input).unwrap_or_default();
        *net = masked(w, mask).map_err(|e| {
            let len = mask.len().max(1);
            ErrMode::Cut(Fault {
                at: mask_at,
                len,
                message: e.message,
                hint: e.hint,
            })
        })?;
    }
    input.state.carried = Some(head);
    Ok(Expr::Atom(atom))
}

fn masked(address: &str, mask: &str) -> Value<crate::inventory::Prefix> {
    if address.contains('/') || address.contains(':') {
        return value::bad("`mask` goes with an IPv4 address without `/`");
    }
    value::masked_net(value::net(address)?, mask)
}

impl Head {
    /// A bare address behind a value of this kind takes its qualifiers over.
    fn takes_addresses(self) -> bool {
        matches!(self.kind, Kind::Bare | Kind::Host | Kind::Net)
    }

    /// What the value must be, for errors.
    fn wants(self) -> &'static str {
        match self.kind {
            Kind::Bare => "`host`, `net`, `port`, `portrange` or an address",
            Kind::Host => "an IPv4 or IPv6 address",
            Kind::Net => "a network such as 10.0.0.0/8 or fd00::/64",
            Kind::Port => "a port",
            Kind::PortRange => "a range of ports such as 8000-8080",
            Kind::Proto => "a protocol",
            Kind::Own(Own::Dev) => "the name of a device",
            Kind::Own(Own::Netns) => "the name, inode number or a process of a network namespace",
            Kind::Own(Own::Vni) => "a VNI",
            Kind::Own(Own::Mark) => "a mark such as 0x10 or 0x10/0xff",
            Kind::Own(Own::Table) => "a table: main, local, default or a number",
            Kind::Own(Own::Reason) => "the name of a drop reason",
            Kind::Own(Own::Pod) => "NAMESPACE/NAME of a pod",
        }
    }

    /// Qualifiers that make no sense together.
    fn check(self, at: usize) -> PResult<()> {
        let wrong = match (self.kind, self.only, self.side) {
            (Kind::Proto, Some(Only::Proto(_)), _) => "`proto` behind a protocol",
            (Kind::Proto, _, Some(_)) => "`proto` has no source or destination",
            (Kind::Bare | Kind::Host | Kind::Net, Some(Only::Proto(p)), _) => {
                let word = proto_keyword(p).unwrap_or("proto");
                return fault(
                    at,
                    1,
                    format!("`{word}` stands before ports, not before addresses"),
                    Some(format!("write `{word} and host ...`")),
                );
            }
            (Kind::Port | Kind::PortRange, Some(Only::Proto(p)), _) if p.is_icmp() => {
                "ICMP has no ports"
            }
            (Kind::Port | Kind::PortRange, Some(Only::Family(f)), _) => {
                return fault(
                    at,
                    1,
                    format!("`{f}` stands before addresses, not before ports"),
                    Some(format!("write `{f} and port ...`")),
                );
            }
            _ => return Ok(()),
        };
        fault(at, 1, wrong, None)
    }

    /// The primitive with the value `w`.
    fn atom(self, w: &str) -> Value<Atom> {
        let side = self.side.unwrap_or(Side::Either);
        let port = |(first, last)| Atom::Port {
            layer: self.layer.unwrap_or(Layer::Any),
            side,
            proto: match self.only {
                Some(Only::Proto(p)) => Some(p),
                _ => None,
            },
            first,
            last,
        };
        let family = match self.only {
            Some(Only::Family(f)) => Some(f),
            _ => None,
        };
        let net = match self.kind {
            Kind::Own(own) => return value::own(own, w),
            Kind::Port => return value::port(w).map(port),
            Kind::PortRange => return value::port_range(w).map(port),
            Kind::Proto => {
                let layer = self.layer.unwrap_or(Layer::Inner);
                return value::proto(w).map(|proto| Atom::Proto {
                    layer,
                    family,
                    proto,
                });
            }
            Kind::Net => value::net(w)?,
            Kind::Bare if w.contains('/') => value::net(w)?,
            Kind::Bare | Kind::Host => value::host(w)?,
        };
        if family.is_some_and(|f| (f == Family::V6) != net.address.is_ipv6()) {
            return value::bad(format!(
                "expected an {} address",
                if net.address.is_ipv6() {
                    "IPv4"
                } else {
                    "IPv6"
                }
            ));
        }
        Ok(Atom::Net {
            layer: self.layer.unwrap_or(Layer::Any),
            side,
            net,
        })
    }
}
