//! Error messages, word for word.

use crate::filter::Filter;

fn error(text: &str) -> String {
    Filter::parse(text).expect_err(text).to_string()
}

const TEXTS: &[(&str, &str)] = &[
    (
        "hots 10.0.0.1",
        "expected a primitive (`host 10.0.0.1`, `port 53`, `dev eth0`, ...), `not` or `(`\n  hots 10.0.0.1\n  ^^^^\nhint: did you mean `host`?",
    ),
    (
        "tcp and",
        "expected a primitive (`host 10.0.0.1`, `port 53`, `dev eth0`, ...), `not` or `(`\n  tcp and\n         ^",
    ),
    (
        "host web.example.com",
        "expected an IPv4 or IPv6 address\n  host web.example.com\n       ^^^^^^^^^^^^^^^\nhint: names are not looked up (the trace must not depend on DNS): use the address",
    ),
    (
        "tcp port 65536",
        "expected a port: a number from 0 to 65535\n  tcp port 65536\n           ^^^^^",
    ),
    (
        "net 10.0.0.1/8",
        "10.0.0.1 has bits behind the first 8\n  net 10.0.0.1/8\n      ^^^^^^^^^^\nhint: write `net 10.0.0.0/8` or `host 10.0.0.1`",
    ),
    (
        "net 10.0.0.0/33",
        "expected a prefix length from 0 to 32 behind the `/`\n  net 10.0.0.0/33\n      ^^^^^^^^^^^",
    ),
    (
        "net 10.0.0.0 mask 255.0.255.0",
        "the mask must be ones, then zeros\n  net 10.0.0.0 mask 255.0.255.0\n                    ^^^^^^^^^^^",
    ),
    (
        "net 10.0.0.0 mask",
        "expected a mask such as 255.255.0.0\n  net 10.0.0.0 mask\n                   ^",
    ),
    (
        "host 10.0.0.0/8",
        "`host` takes one address\n  host 10.0.0.0/8\n       ^^^^^^^^^^\nhint: write `net 10.0.0.0/8`",
    ),
    (
        "host 10.0.0.256",
        "expected an IPv4 or IPv6 address: four numbers up to 255\n  host 10.0.0.256\n       ^^^^^^^^^^",
    ),
    (
        "host fe80::1%eth0",
        "an address here has no zone\n  host fe80::1%eth0\n       ^^^^^^^^^^^^\nhint: write `host fe80::1 and dev eth0`",
    ),
    (
        "ip6 host 10.0.0.1",
        "expected an IPv6 address\n  ip6 host 10.0.0.1\n           ^^^^^^^^",
    ),
    (
        "tcp host 10.0.0.1",
        "`tcp` stands before ports, not before addresses\n  tcp host 10.0.0.1\n           ^\nhint: write `tcp and host ...`",
    ),
    (
        "ip port 80",
        "`ip` stands before addresses, not before ports\n  ip port 80\n          ^\nhint: write `ip and port ...`",
    ),
    (
        "icmp port 1",
        "ICMP has no ports\n  icmp port 1\n            ^",
    ),
    (
        "tcp 80",
        "expected `and`, `or` or the end of the filter\n  tcp 80\n      ^^\nhint: a port is written `port 80`",
    ),
    (
        "host 10.0.0.1 tcp",
        "expected `and`, `or` or the end of the filter\n  host 10.0.0.1 tcp\n                ^^^\nhint: join them: `… and tcp …`",
    ),
    (
        "tcp & udp",
        "expected `and`, `or` or the end of the filter\n  tcp & udp\n      ^\nhint: write `and` (`&&`) or `or` (`||`)",
    ),
    ("(tcp or udp", "this `(` is not closed\n  (tcp or udp\n  ^"),
    ("tcp)", "this `)` closes nothing\n  tcp)\n     ^"),
    (
        "()",
        "expected a primitive (`host 10.0.0.1`, `port 53`, `dev eth0`, ...), `not` or `(`\n  ()\n   ^",
    ),
    (
        "port (80 or tcp)",
        "expected a value\n  port (80 or tcp)\n              ^^^",
    ),
    (
        "src",
        "expected `host`, `net`, `port`, `portrange` or an address\n  src\n     ^",
    ),
    (
        "portrange 90-80",
        "the first port of a range must not be above the last\n  portrange 90-80\n            ^^^^^\nhint: write `portrange 80-90`",
    ),
    (
        "port 80-90",
        "`port` takes one port\n  port 80-90\n       ^^^^^\nhint: write `portrange 80-90`",
    ),
    (
        "443",
        "expected a primitive (`host 10.0.0.1`, `port 53`, `dev eth0`, ...), `not` or `(`\n  443\n  ^^^\nhint: a port is written `port 443`",
    ),
    (
        "tcp[13] != 0",
        "this part of pcap-filter is not supported\n  tcp[13] != 0\n  ^^^^^^^\nhint: tracer works on flows: addresses, ports and protocols of IP packets",
    ),
    (
        "vlan 3",
        "this part of pcap-filter is not supported\n  vlan 3\n  ^^^^\nhint: tracer works on flows: addresses, ports and protocols of IP packets",
    ),
    (
        "mark 0x100/0xff",
        "mark 0x100 has bits outside the mask 0xff and can never match\n  mark 0x100/0xff\n       ^^^^^^^^^^\nhint: write `mark 0x0/0xff`",
    ),
    (
        "outer dev eth0",
        "`inner` and `outer` stand before addresses, ports and protocols only\n  outer dev eth0\n        ^^^\nhint: write `dev` alone",
    ),
    (
        "outer",
        "expected an address, a port or a protocol behind `inner` or `outer`\n  outer\n       ^",
    ),
    (
        "pod Web-0",
        "expected NAMESPACE/NAME or NAME of a pod\n  pod Web-0\n      ^^^^^\nhint: write `pod web-0`",
    ),
    (
        "src pod a/b/c",
        "expected NAMESPACE/NAME or NAME of a pod\n  src pod a/b/c\n          ^^^^^\nhint: names of pods have lower-case letters, digits, `-` and `.` in them; `*` stands for any characters",
    ),
    (
        "inner src pod web",
        "`inner` and `outer` stand before addresses, ports and protocols only\n  inner src pod web\n                ^",
    ),
    (
        "pod",
        "expected NAMESPACE/NAME or NAME of a pod\n  pod\n     ^",
    ),
    ("vni", "expected a VNI\n  vni\n     ^"),
    (
        "table x",
        "expected a table: main, local, default or a number\n  table x\n        ^",
    ),
];

#[test]
fn texts() {
    for (text, want) in TEXTS {
        assert_eq!(error(text), *want, "{text:?}");
    }
}

#[test]
fn caret_stands_under_the_mistake() {
    let table = [
        // a tab takes one column
        ("dev\teth0\tadn tcp", "  dev eth0 adn tcp\n           ^^^"),
        // one column each
        ("dev é and й2 tcp", "  dev é and й2 tcp\n               ^^^"),
        // wide and control characters are escaped
        (
            "dev 網卡 adn tcp",
            "  dev \\u{7db2}\\u{5361} adn tcp\n                       ^^^",
        ),
        (
            "dev \u{1b}[31m x",
            "  dev \\u{1b}[31m x\n                 ^",
        ),
        // only the line of the mistake
        (
            "tcp and\n  udp and\n  hots 1.1.1.1\n or ip",
            "(line 3)\n    hots 1.1.1.1\n    ^^^^",
        ),
        ("tcp and\r\nprot 80\r\n", "(line 2)\n  prot 80\n  ^^^^"),
        // one line of text behind which there are blanks is one line
        ("prot 80\n", "`(`\n  prot 80\n  ^^^^"),
    ];
    for (text, want) in table {
        let e = error(text);
        assert!(e.contains(want), "{text:?}\n{e}");
    }
    let long = "tcp and ".repeat(50) + "hots 10.0.0.1" + &" and tcp".repeat(50);
    let shown: Vec<String> = error(&long).lines().map(str::to_owned).collect();
    assert!(
        shown[1].len() < 120 && shown[1].ends_with("..."),
        "{shown:?}"
    );
    let column = shown[2].find('^').unwrap();
    assert_eq!(&shown[1][column..column + 4], "hots");
}
