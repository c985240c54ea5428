//! Packets by hand, without an Ethernet header in front.

use tracer_abi::parse::{Load, WINDOW, Window};

/// A packet in memory; what a copy does not fill is `stale`.
pub(crate) struct Bytes<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) stale: u8,
}

impl Load for Bytes<'_> {
    fn load(&self, off: u32, window: &mut Window) -> u32 {
        window.bytes.fill(self.stale);
        let rest = self.bytes.get(off as usize..).unwrap_or_default();
        let n = rest.len().min(WINDOW as usize);
        window.bytes[..n].copy_from_slice(&rest[..n]);
        n as u32
    }
}

fn be16(n: usize) -> [u8; 2] {
    (n as u16).to_be_bytes()
}

/// IPv4, don't fragment, `10.NET.0.1` → `10.NET.0.2`.
pub(crate) fn ip4(net: u8, proto: u8, payload: &[u8]) -> Vec<u8> {
    ip4_with(net, proto, 0, 0x4000, payload)
}

/// IPv4 with bytes of options and flags and offset of the fragment.
pub(crate) fn ip4_with(net: u8, proto: u8, options: usize, frag: u16, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x45 + (options / 4) as u8, 0];
    p.extend(be16(20 + options + payload.len()));
    p.extend([0x42, 0x42]);
    p.extend(frag.to_be_bytes());
    p.extend([64, proto, 0, 0, 10, net, 0, 1, 10, net, 0, 2]);
    p.extend(vec![1; options]);
    p.extend(payload);
    p
}

/// IPv6, `fdNET::1` → `fdNET::2`.
pub(crate) fn ip6(net: u8, proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60, 0, 0, 0];
    p.extend(be16(payload.len()));
    p.extend([proto, 64]);
    for last in [1, 2] {
        p.extend([0xfd, net]);
        p.extend([0; 13]);
        p.push(last);
    }
    p.extend(payload);
    p
}

/// IPv6 with extension headers of these numbers, each of another length.
pub(crate) fn ip6_with(net: u8, proto: u8, chain: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut rest = payload.to_vec();
    let mut next = proto;
    for (n, kind) in chain.iter().enumerate().rev() {
        // the authentication header counts in units of 4, less 2 (RFC 4302), the others of 8
        let (units, len) = if *kind == 51 {
            (4, 24)
        } else {
            (n as u8 % 3, 8 * (n % 3 + 1))
        };
        let mut header = vec![next, units];
        header.resize(len, 0xee);
        header.extend(rest);
        (rest, next) = (header, *kind);
    }
    ip6(net, next, &rest)
}

/// IPv6 fragment header (RFC 8200 §4.5).
pub(crate) fn fragment6(proto: u8, offset_and_more: u16, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![proto, 0];
    p.extend(offset_and_more.to_be_bytes());
    p.extend(id.to_be_bytes());
    p.extend(payload);
    p
}

/// TCP header without options.
pub(crate) fn tcp(sport: u16, dport: u16, flags: u8) -> Vec<u8> {
    let mut p = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    p.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    p
}

/// UDP header and payload.
pub(crate) fn udp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let mut p = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    p.extend(be16(8 + payload.len()));
    p.extend([0, 0]);
    p.extend(payload);
    p
}

/// SCTP common header.
pub(crate) fn sctp(sport: u16, dport: u16) -> Vec<u8> {
    let mut p = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    p.extend([0; 8]);
    p
}

/// ICMP header: type, code, checksum, word.
pub(crate) fn icmp(kind: u8, code: u8, word: u32) -> Vec<u8> {
    let mut p = vec![kind, code, 0, 0];
    p.extend(word.to_be_bytes());
    p
}

/// `ICMPv6` header, of the same form.
pub(crate) fn icmp6(kind: u8, code: u8, word: u32) -> Vec<u8> {
    icmp(kind, code, word)
}

/// What follows the ethertype of an 802.1Q tag: tag control information and the next ethertype.
pub(crate) fn vlan(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x20, 0x2a];
    p.extend(ethertype.to_be_bytes());
    p.extend(payload);
    p
}

/// Ethernet frame.
pub(crate) fn eth(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    p.extend(ethertype.to_be_bytes());
    p.extend(payload);
    p
}

/// VXLAN header (RFC 7348).
pub(crate) fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    let mut p = vec![0x08, 0, 0, 0];
    p.extend((vni << 8).to_be_bytes());
    p.extend(frame);
    p
}

/// Geneve header (RFC 8926) with bytes of options.
pub(crate) fn geneve(vni: u32, options: usize, proto: u16, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![(options / 4) as u8, 0];
    p.extend(proto.to_be_bytes());
    p.extend((vni << 8).to_be_bytes());
    p.extend(vec![0xdd; options]);
    p.extend(payload);
    p
}

/// GRE header (RFC 2784, 2890).
pub(crate) fn gre(key: Option<u32>, sum: bool, seq: bool, proto: u16, payload: &[u8]) -> Vec<u8> {
    let flags = u8::from(sum) << 7 | u8::from(key.is_some()) << 5 | u8::from(seq) << 4;
    let mut p = vec![flags, 0];
    p.extend(proto.to_be_bytes());
    if sum {
        p.extend([0xab, 0xcd, 0, 0]);
    }
    if let Some(key) = key {
        p.extend(key.to_be_bytes());
    }
    if seq {
        p.extend([0, 0, 0, 9]);
    }
    p.extend(payload);
    p
}
