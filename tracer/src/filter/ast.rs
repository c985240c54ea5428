//! The syntax tree of a filter, and its canonical text.

use std::fmt;

use crate::{
    event::{NetnsId, Proto},
    inventory::{Prefix, table_name},
};

/// An expression. `And` and `Or` have at least two members and none of their own kind, so that
/// there is one tree for `a and b and c` however it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Negation.
    Not(Box<Self>),
    /// All of them hold.
    And(Vec<Self>),
    /// One of them holds.
    Or(Vec<Self>),
    /// A primitive.
    Atom(Atom),
}

/// Which header of an encapsulated packet a primitive looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The whole filter is tried on the innermost packet and on each outer header.
    Any,
    /// The innermost packet, encapsulated or not.
    Inner,
    /// The outer header; never holds for a packet that is not encapsulated.
    Outer,
}

/// Which end of a packet a primitive looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The source.
    Src,
    /// The destination.
    Dst,
    /// One of them (the default).
    Either,
    /// Both.
    Both,
}

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `ip`.
    V4,
    /// `ip6`.
    V6,
}

/// A network namespace as the user named it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetnsRef {
    /// A name under `/run/netns`.
    Name(String),
    /// The inode number that `readlink /proc/PID/ns/net` shows.
    Inode(NetnsId),
    /// A process in it.
    Pid(u32),
}

/// A primitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Atom {
    /// `host`, `net`: an address in a prefix.
    Net {
        /// Header.
        layer: Layer,
        /// End.
        side: Side,
        /// Prefix; a host has all bits.
        net: Prefix,
    },
    /// `port`, `portrange`.
    Port {
        /// Header.
        layer: Layer,
        /// End.
        side: Side,
        /// Only in packets of this protocol (`tcp port 80`).
        proto: Option<Proto>,
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
    /// `ip`, `ip6`.
    Family {
        /// Header, never [`Layer::Any`].
        layer: Layer,
        /// Version.
        family: Family,
    },
    /// `tcp`, `proto N`, `ip proto N`.
    Proto {
        /// Header, never [`Layer::Any`].
        layer: Layer,
        /// Only in packets of this version.
        family: Option<Family>,
        /// Protocol number.
        proto: Proto,
    },
    /// `vni N`: VNI, or GRE key.
    Vni(u32),
    /// `dev NAME`: seen at a device whose name fits the pattern.
    Dev(String),
    /// `netns …`: seen in this namespace.
    Netns(NetnsRef),
    /// `mark X/M`: `skb->mark & mask == value`.
    Mark {
        /// Value, without bits outside the mask.
        value: u32,
        /// Mask.
        mask: u32,
    },
    /// `table N`: routed by this table.
    Table(u32),
    /// `reason NAME`: dropped for a reason whose name fits the pattern (upper case).
    Reason(String),
    /// `drop`: dropped for any reason.
    Drop,
    /// `pod NS/NAME`: to or from a pod whose name fits the patterns.
    Pod {
        /// End.
        side: Side,
        /// Kubernetes namespace.
        namespace: String,
        /// Name.
        name: String,
    },
}

impl Expr {
    pub(super) fn asks_headers_only(&self) -> bool {
        match self {
            Self::Not(e) => e.asks_headers_only(),
            Self::And(v) | Self::Or(v) => v.iter().all(Self::asks_headers_only),
            Self::Atom(atom) => matches!(
                atom,
                Atom::Net { .. }
                    | Atom::Port { .. }
                    | Atom::Family { .. }
                    | Atom::Proto { .. }
                    | Atom::Vni(_)
            ),
        }
    }

    /// It asks for no address, and for nothing that a packet carries.
    pub(super) fn asks_way_only(&self) -> bool {
        match self {
            Self::Not(e) => e.asks_way_only(),
            Self::And(v) | Self::Or(v) => v.iter().all(Self::asks_way_only),
            Self::Atom(atom) => matches!(
                atom,
                Atom::Dev(_)
                    | Atom::Netns(_)
                    | Atom::Mark { .. }
                    | Atom::Table(_)
                    | Atom::Reason(_)
                    | Atom::Drop
            ),
        }
    }

    /// `self and other`, flattened.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut all = Vec::new();
        for e in [self, other] {
            match e {
                Self::And(v) => all.extend(v),
                e => all.push(e),
            }
        }
        Self::And(all)
    }

    /// `self or other`, flattened.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let mut all = Vec::new();
        for e in [self, other] {
            match e {
                Self::Or(v) => all.extend(v),
                e => all.push(e),
            }
        }
        Self::Or(all)
    }

    /// Levels of the tree, 1 for a primitive.
    pub fn depth(&self) -> usize {
        match self {
            Self::Atom(_) => 1,
            Self::Not(e) => 1 + e.depth(),
            Self::And(v) | Self::Or(v) => 1 + v.iter().map(Self::depth).max().unwrap_or(0),
        }
    }

    /// Has a primitive about pods.
    pub fn names_pods(&self) -> bool {
        match self {
            Self::Atom(a) => matches!(a, Atom::Pod { .. }),
            Self::Not(e) => e.names_pods(),
            Self::And(v) | Self::Or(v) => v.iter().any(Self::names_pods),
        }
    }

    /// Calls `f` with each primitive.
    pub fn for_each_atom(&mut self, f: &mut impl FnMut(&mut Atom)) {
        match self {
            Self::Atom(a) => f(a),
            Self::Not(e) => e.for_each_atom(f),
            Self::And(v) | Self::Or(v) => v.iter_mut().for_each(|e| e.for_each_atom(f)),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `and` and `or` bind equally tight in pcap-filter: parentheses leave no doubt
        let member = |f: &mut fmt::Formatter<'_>, e: &Self| match e {
            Self::And(_) | Self::Or(_) => write!(f, "({e})"),
            e => write!(f, "{e}"),
        };
        let (list, word) = match self {
            Self::Atom(a) => return a.fmt(f),
            Self::Not(e) => {
                f.write_str("not ")?;
                return member(f, e);
            }
            Self::And(v) => (v, "and"),
            Self::Or(v) => (v, "or"),
        };
        for (i, e) in list.iter().enumerate() {
            if i > 0 {
                write!(f, " {word} ")?;
            }
            member(f, e)?;
        }
        Ok(())
    }
}

impl fmt::Display for Side {
    /// With a blank behind it; nothing for the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Src => "src ",
            Self::Dst => "dst ",
            Self::Either => "",
            Self::Both => "src and dst ",
        })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        })
    }
}

/// The word that selects a protocol by itself.
pub(super) fn proto_keyword(proto: Proto) -> Option<&'static str> {
    match proto {
        Proto::ICMP => Some("icmp"),
        Proto::TCP => Some("tcp"),
        Proto::UDP => Some("udp"),
        Proto::ICMPV6 => Some("icmp6"),
        Proto::SCTP => Some("sctp"),
        _ => None,
    }
}

/// `outer `, or `inner ` where it is not the default.
fn layer(layer: Layer, default: Layer) -> &'static str {
    match layer {
        l if l == default => "",
        Layer::Outer => "outer ",
        Layer::Any | Layer::Inner => "inner ",
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net {
                layer: l,
                side,
                net,
            } => {
                let host = net.len == if net.address.is_ipv6() { 128 } else { 32 };
                let l = layer(*l, Layer::Any);
                if host {
                    write!(f, "{l}{side}host {}", net.address)
                } else {
                    write!(f, "{l}{side}net {}/{}", net.address, net.len)
                }
            }
            Self::Port {
                layer: l,
                side,
                proto,
                first,
                last,
            } => {
                f.write_str(layer(*l, Layer::Any))?;
                if let Some(word) = proto.and_then(proto_keyword) {
                    write!(f, "{word} ")?;
                }
                if first == last {
                    write!(f, "{side}port {first}")
                } else {
                    write!(f, "{side}portrange {first}-{last}")
                }
            }
            Self::Family { layer: l, family } => {
                write!(f, "{}{family}", layer(*l, Layer::Inner))
            }
            Self::Proto {
                layer: l,
                family,
                proto,
            } => {
                f.write_str(layer(*l, Layer::Inner))?;
                match (family, proto_keyword(*proto)) {
                    (None, Some(word)) => f.write_str(word),
                    (None, None) => write!(f, "proto {}", proto.0),
                    (Some(family), _) => write!(f, "{family} proto {}", proto.0),
                }
            }
            Self::Vni(n) => write!(f, "vni {n}"),
            Self::Dev(name) => write!(f, "dev {name}"),
            Self::Netns(NetnsRef::Name(name)) => write!(f, "netns {name}"),
            Self::Netns(NetnsRef::Inode(NetnsId(n)) | NetnsRef::Pid(n)) => write!(f, "netns {n}"),
            Self::Mark {
                value,
                mask: u32::MAX,
            } => write!(f, "mark {value:#x}"),
            Self::Mark { value, mask } => write!(f, "mark {value:#x}/{mask:#x}"),
            Self::Table(n) => write!(f, "table {}", table_name(*n)),
            Self::Reason(name) => write!(f, "reason {name}"),
            Self::Drop => f.write_str("drop"),
            Self::Pod {
                side,
                namespace,
                name,
            } => write!(f, "{side}pod {namespace}/{name}"),
        }
    }
}
