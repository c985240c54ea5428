//! The qualifiers in front of a value, and what they make of it.

use super::{
    ast::{Atom, Family, Layer, Side, proto_keyword},
    parse::{PResult, fault},
    value::{self, Own, Value},
};
use crate::event::Proto;

/// The qualifiers in front of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) layer: Option<Layer>,
    pub(super) only: Option<Only>,
    pub(super) side: Option<Side>,
    pub(super) kind: Kind,
}

/// `tcp`, `ip6` in front of other qualifiers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Only {
    Family(Family),
    Proto(Proto),
}

/// What the value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// An address or a network, without a keyword.
    Bare,
    Host,
    Net,
    Port,
    PortRange,
    Proto,
    Own(Own),
}

impl Head {
    /// A bare address behind a value of this kind takes its qualifiers over.
    pub(super) fn takes_addresses(self) -> bool {
        matches!(self.kind, Kind::Bare | Kind::Host | Kind::Net)
    }

    /// What the value must be, for errors.
    pub(super) fn wants(self) -> &'static str {
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
            Kind::Own(Own::Pod) => "NAMESPACE/NAME or NAME of a pod",
        }
    }

    /// Qualifiers that make no sense together.
    pub(super) fn check(self, at: usize) -> PResult<()> {
        let wrong = match (self.kind, self.only, self.side) {
            (Kind::Proto, Some(Only::Proto(_)), _) => "`proto` behind a protocol",
            (Kind::Own(_), ..) if self.layer.is_some() => {
                "`inner` and `outer` stand before addresses, ports and protocols only"
            }
            (Kind::Own(_), Some(_), _) => "a protocol stands before ports and addresses only",
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
    pub(super) fn atom(self, w: &str) -> Value<Atom> {
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
            Kind::Own(own) => return value::own(own, side, w),
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
