//! Primitives: qualifiers, then a value.

use winnow::{
    Parser as _,
    combinator::{alt, opt},
    error::ErrMode,
    stream::Location as _,
};

use super::{
    ast::{Atom, Expr, Family, Layer},
    head::{Head, Kind, Only},
    hint::{is_foreign, is_keyword, unknown},
    parse::{Fault, Input, PResult, fault, keyword, layer, side, values, word},
    value::{self, BadValue, OWN, Own, Value},
};
use crate::event::Proto;

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
    let pod = word.verify(|w: &str| w == "pod").value(Kind::Own(Own::Pod));
    if let Some(kind) = opt(alt((pod, kind_word))).parse_next(input)? {
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
