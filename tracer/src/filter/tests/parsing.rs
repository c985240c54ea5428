//! What each form means, and that the canonical text means the same.

use proptest::prelude::*;

use super::arb;
use crate::{event::NetnsId, filter::Filter};

fn canonical(text: &str) -> String {
    match Filter::parse(text) {
        Ok(f) => f.to_string(),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn forms() {
    let table = [
        ("", ""),
        (" \t\n", ""),
        // addresses
        ("host 10.0.0.1", "host 10.0.0.1"),
        ("10.0.0.1", "host 10.0.0.1"),
        ("::1", "host ::1"),
        ("ip6 host ::1", "host ::1"),
        ("ip host 10.0.0.1", "host 10.0.0.1"),
        ("ip src 10.0.0.1", "src host 10.0.0.1"),
        ("src 10.0.0.1", "src host 10.0.0.1"),
        ("src host fd00::1", "src host fd00::1"),
        ("src or dst host 10.0.0.1", "host 10.0.0.1"),
        ("dst or src 10.0.0.1", "host 10.0.0.1"),
        ("src and dst net 10.0.0.0/8", "src and dst net 10.0.0.0/8"),
        ("src && dst net 10.0.0.0/8", "src and dst net 10.0.0.0/8"),
        ("net 10.0.0.0/8", "net 10.0.0.0/8"),
        ("10.0.0.0/8", "net 10.0.0.0/8"),
        ("dst 10.0.0.0/8", "dst net 10.0.0.0/8"),
        ("net 10", "net 10.0.0.0/8"),
        ("net 192.168", "net 192.168.0.0/16"),
        ("net 192.168/16", "net 192.168.0.0/16"),
        ("net 192.168.1.7", "host 192.168.1.7"),
        ("net 192.168.0.0 mask 255.255.0.0", "net 192.168.0.0/16"),
        ("net 0.0.0.0/0", "net 0.0.0.0/0"),
        ("net 0.0.0.0 mask 0.0.0.0", "net 0.0.0.0/0"),
        ("dst net fd00::/64", "dst net fd00::/64"),
        ("ip6 net fd00::/64", "net fd00::/64"),
        // ports
        ("port 80", "port 80"),
        ("port domain", "port 53"),
        ("tcp port 80", "tcp port 80"),
        ("tcp port http", "tcp port 80"),
        ("udp dst port 53", "udp dst port 53"),
        ("sctp src port 1", "sctp src port 1"),
        ("src and dst port 123", "src and dst port 123"),
        ("portrange 8000-8080", "portrange 8000-8080"),
        ("portrange 80-80", "port 80"),
        ("udp src portrange 1-1023", "udp src portrange 1-1023"),
        // protocols
        ("ip", "ip"),
        ("ip6", "ip6"),
        ("tcp", "tcp"),
        ("icmp or icmp6", "icmp or icmp6"),
        ("proto 6", "tcp"),
        ("proto gre", "proto 47"),
        (r"ip proto \tcp", "ip proto 6"),
        ("ip6 proto udp", "ip6 proto 17"),
        // headers
        ("outer host 192.0.2.1", "outer host 192.0.2.1"),
        ("outer 192.0.2.1", "outer host 192.0.2.1"),
        ("outer dst net 192.0.2.0/24", "outer dst net 192.0.2.0/24"),
        ("outer udp dst port 8472", "outer udp dst port 8472"),
        ("outer ip6", "outer ip6"),
        ("outer proto gre", "outer proto 47"),
        ("inner host 10.0.0.1", "inner host 10.0.0.1"),
        ("inner tcp", "tcp"),
        ("inner udp port 53", "inner udp port 53"),
        // our own
        ("dev eth0", "dev eth0"),
        ("dev eth0.100@if3", "dev eth0.100@if3"),
        ("dev lxc*", "dev lxc*"),
        ("dev drop", "dev drop"),
        ("netns blue", "netns blue"),
        ("netns 4026532201", "netns 4026532201"),
        ("netns 1234", "netns 1234"),
        ("vni 42", "vni 42"),
        ("vni 0x2a", "vni 42"),
        ("mark 0x10/0xff", "mark 0x10/0xff"),
        ("mark 16", "mark 0x10"),
        ("table main", "table main"),
        ("table 255", "table local"),
        ("table 100", "table 100"),
        ("reason ip_outnoroutes", "reason IP_OUTNOROUTES"),
        ("reason SKB_DROP_REASON_NEIGH_*", "reason NEIGH_*"),
        ("drop", "drop"),
        ("pod default/web-0", "pod default/web-0"),
        ("pod */web-*", "pod */web-*"),
        ("src pod web.v1 or c/d", "src pod */web.v1 or src pod c/d"),
    ];
    for (text, want) in table {
        assert_eq!(canonical(text), want, "{text:?}");
        assert_eq!(canonical(want), want, "{text:?} again");
    }
}

#[test]
fn operators() {
    let table = [
        // equal precedence, from the left, as pcap-filter(7) says
        ("ip or tcp and udp", "(ip or tcp) and udp"),
        ("ip and tcp or udp", "(ip and tcp) or udp"),
        ("ip or (tcp and udp)", "ip or (tcp and udp)"),
        ("ip and tcp and udp", "ip and tcp and udp"),
        ("ip and (tcp and udp)", "ip and tcp and udp"),
        ("ip&&tcp||udp", "(ip and tcp) or udp"),
        ("not ip and tcp", "not ip and tcp"),
        ("not (ip and tcp)", "not (ip and tcp)"),
        ("!(ip||tcp)", "not (ip or tcp)"),
        ("!ip", "not ip"),
        ("! ! ip", "not not ip"),
        ("((ip))", "ip"),
        ("(ip)and(tcp)", "ip and tcp"),
        ("drop and not(icmp)", "drop and not icmp"),
        ("\tip\n and\r\n tcp ", "ip and tcp"),
    ];
    for (text, want) in table {
        assert_eq!(canonical(text), want, "{text:?}");
    }
}

#[test]
fn carried_qualifiers() {
    let table = [
        ("port 80 or 443", "port 80 or port 443"),
        (
            "tcp dst port 80 or 443",
            "tcp dst port 80 or tcp dst port 443",
        ),
        (
            "src host 10.0.0.1 and port 80 or 443",
            "(src host 10.0.0.1 and port 80) or port 443",
        ),
        (
            "src host 10.0.0.1 and (port 80 or 443)",
            "src host 10.0.0.1 and (port 80 or port 443)",
        ),
        (
            "host 10.0.0.1 and 10.0.0.2",
            "host 10.0.0.1 and host 10.0.0.2",
        ),
        (
            "src 10.0.0.1 or 10.0.0.0/8",
            "src host 10.0.0.1 or src net 10.0.0.0/8",
        ),
        (
            "src 10.0.0.1 or dst 10.0.0.2",
            "src host 10.0.0.1 or dst host 10.0.0.2",
        ),
        (
            "outer host 10.0.0.1 or 10.0.0.2",
            "outer host 10.0.0.1 or outer host 10.0.0.2",
        ),
        (
            "not host 10.0.0.1 and 10.0.0.2",
            "not host 10.0.0.1 and host 10.0.0.2",
        ),
        ("port (80 or 443)", "port 80 or port 443"),
        (
            "tcp port (80 or not 443)",
            "tcp port 80 or not tcp port 443",
        ),
        (
            "src host (10.0.0.1 or 10.0.0.2) and tcp",
            "(src host 10.0.0.1 or src host 10.0.0.2) and tcp",
        ),
        ("port 80 or 10.0.0.1", "port 80 or host 10.0.0.1"),
        ("vni 1 or 2", "vni 1 or vni 2"),
        ("dev eth0 or eth1", "dev eth0 or dev eth1"),
        ("dev eth0 or tcp", "dev eth0 or tcp"),
        (
            "reason no_socket or neigh_*",
            "reason NO_SOCKET or reason NEIGH_*",
        ),
    ];
    for (text, want) in table {
        assert_eq!(canonical(text), want, "{text:?}");
    }
}

#[test]
fn pids_become_namespaces() {
    let mut f = Filter::parse("netns 77 or not netns 78 or netns x").unwrap();
    f.resolve_pids(|pid| (pid == 77).then_some(NetnsId(4_026_532_201)));
    assert_eq!(f.to_string(), "netns 4026532201 or not netns 78 or netns x");
}

#[test]
fn limits() {
    let nested = |n: usize| format!("{}ip{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(canonical(&nested(60)), "ip");
    for text in [
        nested(64),
        nested(4000),
        "!".repeat(5000),
        "not ".repeat(2000),
        "(".repeat(8000),
    ] {
        let e = Filter::parse(&text).unwrap_err();
        assert_eq!(e.message(), "the filter is nested more than 64 levels deep");
    }
    let alternating = "ip or tcp and ".repeat(500) + "ip";
    assert!(
        Filter::parse(&alternating)
            .unwrap_err()
            .message()
            .contains("nested")
    );
    let long = "ip or ".repeat(1000) + "ip";
    assert!(Filter::parse(&long).is_ok());
    let longer = "ip or ".repeat(2000) + "ip";
    let e = Filter::parse(&longer).unwrap_err();
    assert_eq!(e.message(), "the filter is longer than 8192 bytes");
    assert_eq!(e.offset(), 8192);
    // the deepest tree that parses prints as text that parses
    for n in 1..70 {
        for text in [
            "not ".repeat(n) + "ip",
            "ip or tcp and ".repeat(n) + "ip",
            nested(n),
        ] {
            if let Ok(f) = Filter::parse(&text) {
                assert_eq!(Filter::parse(&f.to_string()).as_ref(), Ok(&f), "{text}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn print_then_parse_is_identity(e in arb::expr()) {
        let text = e.to_string();
        match Filter::parse(&text) {
            Ok(f) => prop_assert_eq!(f.expr(), Some(&e), "{}", text),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn any_text_is_understood_or_refused(text in any::<String>()) {
        if let Err(e) = Filter::parse(&text) {
            prop_assert!(!e.to_string().is_empty());
            prop_assert!(e.offset() <= text.len());
        }
    }

    #[test]
    fn any_words_are_understood_or_refused(
        words in proptest::collection::vec(
            proptest::sample::select(&[
                "host", "net", "port", "portrange", "src", "dst", "or", "and", "not", "(", ")", "!",
                "&&", "||", "tcp", "ip6", "proto", "mask", "outer", "inner", "dev", "vni", "drop",
                "10.0.0.1", "fd00::/64", "80", "1-2", "255.0.0.0", "eth0", "&", "é", "\t", "網",
            ][..]),
            0..12,
        ),
        glue in proptest::sample::select(&[" ", "", "\n"][..]),
    ) {
        let text = words.join(glue);
        match Filter::parse(&text) {
            Ok(f) => prop_assert_eq!(Filter::parse(&f.to_string()), Ok(f), "{}", text),
            Err(e) => prop_assert!(e.to_string().contains('^')),
        }
    }
}
