//! The values behind keywords: addresses, ports, numbers and names.

use std::net::{IpAddr, Ipv4Addr};

use super::ast::{Atom, NetnsRef, Side};
use crate::{
    event::{NetnsId, Proto},
    inventory::Prefix,
};

/// Why a value is no good: what was expected, and a hint.
pub(super) struct BadValue {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

pub(super) type Value<T> = Result<T, BadValue>;

/// An error without a hint.
pub(super) fn bad<T>(message: impl Into<String>) -> Value<T> {
    Err(BadValue {
        message: message.into(),
        hint: None,
    })
}

/// An error with a hint.
pub(super) fn bad_hint<T>(message: impl Into<String>, hint: impl Into<String>) -> Value<T> {
    Err(BadValue {
        message: message.into(),
        hint: Some(hint.into()),
    })
}

/// Smallest inode number that the kernel gives to a namespace (`PROC_DYNAMIC_FIRST`); process ids
/// end far below it.
const FIRST_INODE: u32 = 0xf000_0000;

/// Port names that everybody knows by heart (`/etc/services` differs between machines).
const SERVICES: &[(&str, u16)] = &[
    ("bgp", 179),
    ("bootpc", 68),
    ("bootps", 67),
    ("domain", 53),
    ("ftp", 21),
    ("ftp-data", 20),
    ("geneve", 6081),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imaps", 993),
    ("ldap", 389),
    ("ldaps", 636),
    ("mysql", 3306),
    ("nfs", 2049),
    ("ntp", 123),
    ("pop3", 110),
    ("postgresql", 5432),
    ("smtp", 25),
    ("snmp", 161),
    ("ssh", 22),
    ("submission", 587),
    ("syslog", 514),
    ("telnet", 23),
    ("tftp", 69),
    ("vxlan", 4789),
];

/// Protocol names of `proto NAME`, as in `/etc/protocols`.
const PROTOCOLS: &[(&str, u8)] = &[
    ("ah", 51),
    ("esp", 50),
    ("gre", 47),
    ("icmp", 1),
    ("icmp6", 58),
    ("igmp", 2),
    ("ipip", 4),
    ("ipv6", 41),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("pim", 103),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("vrrp", 112),
];

/// A number in decimal or, with `0x`, in hexadecimal.
pub(super) fn number(word: &str, what: &str) -> Value<u32> {
    let parsed = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex, 16)
        }
        _ if word.starts_with(|c: char| c.is_ascii_digit()) => word.parse(),
        _ => return bad(format!("expected {what}")),
    };
    parsed.or_else(|_| bad(format!("expected {what}: a number from 0 to {}", u32::MAX)))
}

/// The word looks like an address: what a bare value may be.
pub(super) fn looks_like_address(word: &str) -> bool {
    let address = word.split('/').next().unwrap_or(word);
    address.contains(':') && address.parse::<IpAddr>().is_ok()
        || address.contains('.') && address.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn no_dns<T>(word: &str) -> Value<T> {
    if let Some((address, zone)) = word.split_once('%')
        && address.parse::<IpAddr>().is_ok()
    {
        return bad_hint(
            "an address here has no zone",
            format!("write `host {address} and dev {zone}`"),
        );
    }
    bad_hint(
        "expected an IPv4 or IPv6 address",
        "names are not looked up (the trace must not depend on DNS): use the address",
    )
}

/// The address of `host`.
pub(super) fn host(word: &str) -> Value<Prefix> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(Prefix::new(
            address,
            if address.is_ipv6() { 128 } else { 32 },
        ));
    }
    if word.contains('/') {
        return bad_hint("`host` takes one address", format!("write `net {word}`"));
    }
    if looks_like_address(word) {
        return bad("expected an IPv4 or IPv6 address: four numbers up to 255");
    }
    no_dns(word)
}

/// The address of `net`, which may leave out trailing zeros as in pcap-filter (`net 192.168`), and
/// the length that this implies.
fn net_address(word: &str) -> Value<(IpAddr, u8)> {
    if let Ok(a) = word.parse::<IpAddr>() {
        return Ok((a, if a.is_ipv6() { 128 } else { 32 }));
    }
    let mut octets = [0u8; 4];
    let mut n = 0;
    for part in word.split('.') {
        match (octets.get_mut(n), part.parse()) {
            (Some(slot), Ok(octet)) if part.starts_with(|c: char| c.is_ascii_digit()) => {
                *slot = octet;
            }
            _ if looks_like_address(word) => {
                return bad("expected a network: up to four numbers up to 255");
            }
            _ => return no_dns(word),
        }
        n += 1;
    }
    Ok((Ipv4Addr::from(octets).into(), n as u8 * 8))
}

fn exact_prefix(address: IpAddr, len: u8) -> Value<Prefix> {
    let net = Prefix::new(address, len);
    if net.address == address {
        return Ok(net);
    }
    bad_hint(
        format!("{address} has bits behind the first {len}"),
        format!("write `net {}/{len}` or `host {address}`", net.address),
    )
}

/// The network of `net`: CIDR, an address, or the leading numbers of an IPv4 one.
pub(super) fn net(word: &str) -> Value<Prefix> {
    let Some((address, len)) = word.split_once('/') else {
        let (address, len) = net_address(word)?;
        return exact_prefix(address, len);
    };
    let (address, _) = net_address(address)?;
    let most = if address.is_ipv6() { 128 } else { 32 };
    match len.parse::<u8>() {
        Ok(len) if len <= most => exact_prefix(address, len),
        _ => bad(format!(
            "expected a prefix length from 0 to {most} behind the `/`"
        )),
    }
}

/// The network of `net A mask M`.
pub(super) fn masked_net(address: Prefix, mask: &str) -> Value<Prefix> {
    let Ok(m) = mask.parse::<Ipv4Addr>().map(u32::from) else {
        return bad("expected a mask such as 255.255.0.0");
    };
    if m.leading_ones() + m.trailing_zeros() < 32 {
        return bad("the mask must be ones, then zeros");
    }
    exact_prefix(address.address, m.leading_ones() as u8)
}

/// The port of `port`.
pub(super) fn port(word: &str) -> Value<(u16, u16)> {
    if let Some((_, n)) = SERVICES.iter().find(|(name, _)| *name == word) {
        return Ok((*n, *n));
    }
    if word.contains('-') && port_range(word).is_ok() {
        return bad_hint("`port` takes one port", format!("write `portrange {word}`"));
    }
    match word.parse::<u16>() {
        Ok(n) if word.starts_with(|c: char| c.is_ascii_digit()) => Ok((n, n)),
        _ => bad("expected a port: a number from 0 to 65535"),
    }
}

/// The range of `portrange`.
pub(super) fn port_range(word: &str) -> Value<(u16, u16)> {
    let range = word
        .split_once('-')
        .and_then(|(a, b)| Some((port(a).ok()?.0, port(b).ok()?.0)));
    match range {
        Some((a, b)) if a <= b => Ok((a, b)),
        Some((a, b)) => bad_hint(
            "the first port of a range must not be above the last",
            format!("write `portrange {b}-{a}`"),
        ),
        None => bad("expected a range of ports such as 8000-8080"),
    }
}

/// The protocol of `proto`; a name may have pcap-filter's backslash.
pub(super) fn proto(word: &str) -> Value<Proto> {
    let name = word.strip_prefix('\\').unwrap_or(word);
    if let Some((_, n)) = PROTOCOLS.iter().find(|(p, _)| *p == name) {
        return Ok(Proto(*n));
    }
    match number(word, "a protocol") {
        Ok(n) if n <= 255 => Ok(Proto(n as u8)),
        _ => bad("expected a protocol: a number from 0 to 255, or a name such as tcp, gre, esp"),
    }
}

/// Our own primitives that take one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Dev,
    Netns,
    Vni,
    Mark,
    Table,
    Reason,
    Pod,
}

/// The keywords of [`Own`].
pub(super) const OWN: &[(&str, Own)] = &[
    ("dev", Own::Dev),
    ("netns", Own::Netns),
    ("vni", Own::Vni),
    ("mark", Own::Mark),
    ("table", Own::Table),
    ("reason", Own::Reason),
    ("pod", Own::Pod),
];

/// The primitive `own` with the value `word`; only a pod has a `side`.
pub(super) fn own(own: Own, side: Side, word: &str) -> Value<Atom> {
    Ok(match own {
        Own::Dev => Atom::Dev(word.to_owned()),
        Own::Netns if word.bytes().all(|b| b.is_ascii_digit()) => {
            Atom::Netns(match number(word, "a namespace")? {
                n if n >= FIRST_INODE => NetnsRef::Inode(NetnsId(n)),
                n => NetnsRef::Pid(n),
            })
        }
        Own::Netns => Atom::Netns(NetnsRef::Name(word.to_owned())),
        Own::Vni => Atom::Vni(number(word, "a VNI")?),
        Own::Mark => mark(word)?,
        Own::Table => Atom::Table(match word {
            "main" => 254,
            "local" => 255,
            "default" => 253,
            n => number(n, "a table: main, local, default or a number")?,
        }),
        Own::Reason => {
            let name = word.to_ascii_uppercase();
            let name = name.strip_prefix("SKB_DROP_REASON_").unwrap_or(&name);
            if name.is_empty() {
                return bad("expected the name of a drop reason");
            }
            Atom::Reason(name.to_owned())
        }
        Own::Pod => pod(word, side)?,
    })
}

/// `NAMESPACE/NAME`, or `NAME` in any namespace.
fn pod(word: &str, side: Side) -> Value<Atom> {
    let (namespace, name) = word.split_once('/').unwrap_or(("*", word));
    let fits = |text: &str, dots: bool| {
        let letter = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || "-*".contains(c) || dots && c == '.'
        };
        !text.is_empty() && text.chars().all(letter)
    };
    if fits(namespace, false) && fits(name, true) {
        return Ok(Atom::Pod {
            side,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    }
    let lower = word.to_ascii_lowercase();
    let hint = match word.split('/').count() {
        1 | 2 if lower != word && pod(&lower, side).is_ok() => format!("write `pod {lower}`"),
        _ => "names of pods have lower-case letters, digits, `-` and `.` in them; `*` stands for any \
              characters"
            .to_owned(),
    };
    bad_hint("expected NAMESPACE/NAME or NAME of a pod", hint)
}

/// `X` or `X/M`.
fn mark(word: &str) -> Value<Atom> {
    let (value, mask) = match word.split_once('/') {
        Some((v, m)) => (number(v, "a mark")?, number(m, "a mask")?),
        None => (number(word, "a mark")?, u32::MAX),
    };
    if value & !mask != 0 {
        return bad_hint(
            format!("mark {value:#x} has bits outside the mask {mask:#x} and can never match"),
            format!("write `mark {:#x}/{mask:#x}`", value & mask),
        );
    }
    Ok(Atom::Mark { value, mask })
}
