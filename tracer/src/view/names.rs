//! How flows, tables and errors are called, in text and in machine output alike.

use std::net::IpAddr;

use super::{ViewContext, icmp};
use crate::{event::Tuple, inventory::table_name};

/// `udp 10.0.0.1:40000 > 10.0.0.2:7`, `tcp [fd00::1]:1 > [fd00::2]:443`,
/// `icmp 10.0.0.1 > 10.0.0.2 echo request id 7`. Contains no names from outside.
pub fn flow_name(t: &Tuple) -> String {
    let (src, dst) = (end(t, t.src, t.sport), end(t, t.dst, t.dport));
    format!("{} {src} > {dst}{}", t.proto, tail(t))
}

/// What is said behind the addresses.
fn tail(t: &Tuple) -> String {
    match t.icmp_type() {
        _ if t.later_fragment => " fragment".to_owned(),
        Some(_) if t.is_echo() => format!(" {} id {}", icmp::name(t), t.sport),
        Some(_) => format!(" {}", icmp::name(t)),
        None => String::new(),
    }
}

/// The same with both sides of address translation:
/// `udp 10.0.0.1:40000 > 10.96.0.10:80 ⇒ 10.244.2.20:8080`. `arrow` stands between the two sides.
pub fn translated_name(t: &Tuple, nat: &Tuple, arrow: &str) -> String {
    let both = |here: String, there: String| {
        if here == there {
            here
        } else {
            format!("{here} {arrow} {there}")
        }
    };
    let src = both(end(t, t.src, t.sport), end(nat, nat.src, nat.sport));
    let dst = both(end(t, t.dst, t.dport), end(nat, nat.dst, nat.dport));
    format!("{} {src} > {dst}{}", t.proto, tail(t))
}

/// An endpoint; `*` for an address that a sender left open, no port where there is none.
fn end(t: &Tuple, address: IpAddr, port: u16) -> String {
    let host = match address {
        a if a.is_unspecified() => "*".to_owned(),
        a => a.to_string(),
    };
    let ports = t.proto.has_ports() && !t.later_fragment && (t.sport, t.dport) != (0, 0);
    match (ports, port) {
        (false, _) => host,
        (true, 0) => format!("{}:*", bracket(address, &host)),
        (true, p) => format!("{}:{p}", bracket(address, &host)),
    }
}

fn bracket(address: IpAddr, host: &str) -> String {
    if address.is_ipv6() {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// `main`, `local`, `table 6`; always the number with `-n`.
pub fn table_label(table: u32, numeric: bool) -> String {
    match table_name(table) {
        name if numeric || name.parse::<u32>().is_ok() => format!("table {table}"),
        name => name,
    }
}

/// The name of an errno that routing and the network stack give, otherwise `errno N`.
pub fn errno_name(errno: u32) -> String {
    let name = match errno {
        1 => "EPERM",
        2 => "ENOENT",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        19 => "ENODEV",
        22 => "EINVAL",
        90 => "EMSGSIZE",
        97 => "EAFNOSUPPORT",
        99 => "EADDRNOTAVAIL",
        100 => "ENETDOWN",
        101 => "ENETUNREACH",
        105 => "ENOBUFS",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        112 => "EHOSTDOWN",
        113 => "EHOSTUNREACH",
        n => return format!("errno {n}"),
    };
    name.to_owned()
}

impl ViewContext<'_> {
    /// The errno as `-n` asks for it.
    pub(crate) fn errno(&self, errno: u32) -> String {
        if self.numeric {
            format!("errno {errno}")
        } else {
            errno_name(errno)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::event::Proto;

    fn tuple(proto: Proto, src: &str, dst: &str, sport: u16, dport: u16) -> Tuple {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        Tuple {
            proto,
            src,
            dst,
            sport,
            dport,
            later_fragment: false,
        }
    }

    #[rstest]
    #[case(
        Proto::UDP, ["10.0.0.1",
        "10.0.0.2"], [40000,
        7], "udp 10.0.0.1:40000 > 10.0.0.2:7")]
    #[case(
        Proto::TCP, ["fd00::1",
        "fd00::2"], [1,
        443], "tcp [fd00::1]:1 > [fd00::2]:443")]
    #[case(Proto::UDP, ["0.0.0.0", "10.0.0.2"], [0, 53], "udp *:* > 10.0.0.2:53")]
    #[case(Proto::UDP, ["::", "fd00::2"], [0, 53], "udp [*]:* > [fd00::2]:53")]
    #[case(Proto::UDP, ["0.0.0.0", "10.0.0.2"], [0, 0], "udp * > 10.0.0.2")]
    #[case(Proto::ICMP, ["10.0.0.1", "10.0.0.2"], [7, 8 << 8], "icmp 10.0.0.1 > 10.0.0.2 echo request id 7")]
    #[case(Proto::ICMPV6, ["fd00::1", "fd00::2"], [9, 129 << 8], "icmp6 fd00::1 > fd00::2 echo reply id 9")]
    #[case(Proto::ICMP, ["10.0.0.1", "10.0.0.2"], [0, 3 << 8 | 4], "icmp 10.0.0.1 > 10.0.0.2 fragmentation needed")]
    #[case(Proto(47), ["10.0.0.1", "10.0.0.2"], [0, 0], "gre 10.0.0.1 > 10.0.0.2")]
    #[case(
        Proto(200), ["10.0.0.1",
        "10.0.0.2"], [0,
        0], "proto-200 10.0.0.1 > 10.0.0.2")]
    fn flows(
        #[case] proto: Proto,
        #[case] ends: [&str; 2],
        #[case] ports: [u16; 2],
        #[case] name: &str,
    ) {
        assert_eq!(
            flow_name(&tuple(proto, ends[0], ends[1], ports[0], ports[1])),
            name
        );
    }

    #[test]
    fn a_fragment_has_no_ports() {
        let t = Tuple {
            later_fragment: true,
            ..tuple(Proto::UDP, "10.0.0.1", "10.0.0.2", 0, 0)
        };
        assert_eq!(flow_name(&t), "udp 10.0.0.1 > 10.0.0.2 fragment");
    }

    #[rstest]
    #[case(254, false, "main")]
    #[case(254, true, "table 254")]
    #[case(6, false, "table 6")]
    fn tables(#[case] table: u32, #[case] numeric: bool, #[case] name: &str) {
        assert_eq!(table_label(table, numeric), name);
    }

    #[test]
    fn errors() {
        assert_eq!(errno_name(101), "ENETUNREACH");
        assert_eq!(errno_name(4095), "errno 4095");
    }
}
