//! Programs that send UDP past routing, as Cilium's host routing does. Everything else (ARP, ND)
//! goes the way it would.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};

use super::{Hook, Pin, Place, insn, link, load};
use crate::Netns;

// helpers of linux/bpf.h
const SKB_STORE_BYTES: i32 = 9;
const SKB_SET_TUNNEL_KEY: i32 = 21;
const REDIRECT: i32 = 23;
const SKB_LOAD_BYTES: i32 = 26;
const FIB_LOOKUP: i32 = 69;
const REDIRECT_NEIGH: i32 = 152;
const REDIRECT_PEER: i32 = 155;
/// Members of `struct __sk_buff`.
const SKB_PROTOCOL: i16 = 16;
const SKB_IFINDEX: i16 = 40;

/// How packets are sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `bpf_redirect` to the device, with the Ethernet header as it is.
    Device,
    /// `bpf_redirect_neigh` to the device: the kernel looks the route and the neighbour up.
    Neighbour,
    /// `bpf_redirect_peer` to the device: at once into the namespace of its other end.
    Peer,
    /// `bpf_skb_set_tunnel_key` with this endpoint and VNI, then `bpf_redirect` to the tunnel device.
    Tunnel(Ipv4Addr, i32),
    /// `bpf_fib_lookup`, and `bpf_redirect` to what it answers. The device does not matter.
    Lookup,
}

/// A foreign program that redirects, until it is dropped.
#[derive(Debug)]
pub struct Redirect {
    // detach and remove when dropped; a clsact filter goes with its device
    _link: Option<OwnedFd>,
    _pin: Option<Pin>,
}

impl Redirect {
    /// Attaches the program `name` (at most 15 bytes) to a tcx hook of `dev`, behind all that are
    /// there.
    pub fn tcx(
        ns: &Netns,
        (dev, hook): (&str, Hook),
        name: &str,
        (way, to): (Way, &str),
    ) -> Result<Self> {
        let program = load(name, &program(way, ns.ifindex(to)?))
            .with_context(|| format!("cannot load {name}"))?;
        Ok(Self {
            _link: Some(link(ns, dev, (hook, Place::Last), &program)?),
            _pin: None,
        })
    }

    /// The same by a clsact filter at the ingress of `dev`.
    pub fn clsact(ns: &Netns, dev: &str, name: &str, (way, to): (Way, &str)) -> Result<Self> {
        let program = load(name, &program(way, ns.ifindex(to)?))
            .with_context(|| format!("cannot load {name}"))?;
        let pin = Pin::new(&format!("{name}-{dev}"), &program)?;
        ns.exec(&["tc", "qdisc", "add", "dev", dev, "clsact"])?;
        let path = pin.path();
        let filter = ["tc", "filter", "add", "dev", dev, "ingress", "bpf", "da"];
        ns.exec(&[&filter[..], &["object-pinned", &path]].concat())?;
        Ok(Self {
            _link: None,
            _pin: Some(pin),
        })
    }
}

/// `if (UDP over IPv4 or IPv6) return REDIRECT; return TCX_NEXT;`
fn program(way: Way, ifindex: u32) -> Vec<u64> {
    let device = insn(0xb7, 1, 0, 0, ifindex.cast_signed()); // r1 = ifindex
    let zero = |register| insn(0xb7, register, 0, 0, 0);
    let call = |helper| insn(0x85, 0, 0, 0, helper);
    let exit = insn(0x95, 0, 0, 0, 0);
    let body = match way {
        Way::Device => vec![device, zero(2), call(REDIRECT), exit],
        Way::Neighbour => vec![
            device,
            zero(2),
            zero(3),
            zero(4),
            call(REDIRECT_NEIGH),
            exit,
        ],
        Way::Tunnel(remote, id) => vec![
            // the first two members of struct bpf_tunnel_key, in host byte order
            insn(0x62, 10, 0, -72, id),
            insn(0x62, 10, 0, -68, u32::from(remote).cast_signed()),
            insn(0xbf, 1, 6, 0, 0),
            insn(0xbf, 2, 10, 0, 0),
            insn(0x07, 2, 0, 0, -72),
            insn(0xb7, 3, 0, 0, 8),
            zero(4),
            call(SKB_SET_TUNNEL_KEY),
            device,
            zero(2),
            call(REDIRECT),
            exit,
        ],
        Way::Peer => vec![device, zero(2), call(REDIRECT_PEER), exit],
        Way::Lookup => look_up(),
    };
    let mut all = vec![insn(0xbf, 6, 1, 0, 0)]; // r6 = skb
    all.extend((0..8).map(|word| insn(0x7a, 10, 0, -64 + word * 8, 0))); // *(u64 *)(fp - 64 …) = 0
    all.push(insn(0x61, 7, 6, SKB_PROTOCOL, 0)); // r7 = skb->protocol
    let family = [(0x0800_u16, 9, 2, 26), (0x86dd, 6, 10, 22)];
    for (ethertype, protocol_at, address_family, addresses_at) in family {
        let protocol = read_packet(14 + protocol_at, -63, 1);
        let addresses = match address_family {
            2 => [
                read_packet(addresses_at, -48, 4),
                read_packet(addresses_at + 4, -32, 4),
            ]
            .concat(),
            _ => read_packet(addresses_at, -48, 32),
        };
        let part = [
            &protocol[..],
            &[
                insn(0x71, 8, 10, -63, 0), // r8 = protocol
                // not UDP: over the rest of this part
                insn(0x55, 8, 0, distance(&[&addresses, &body]) + 1, 17),
            ],
            &addresses,
            &[insn(0x72, 10, 0, -64, address_family)], // family
            &body,
        ]
        .concat();
        all.push(insn(
            0x55,
            7,
            0,
            distance(&[&part]),
            i32::from(ethertype.to_be()),
        ));
        all.extend(part);
    }
    all.extend([insn(0xb7, 0, 0, 0, -1), exit]);
    all
}

/// Over so many instructions a jump goes; programs here have a few dozen.
fn distance(parts: &[&[u64]]) -> i16 {
    let sum: usize = parts.iter().map(|part| part.len()).sum();
    i16::try_from(sum).unwrap_or(i16::MAX)
}

/// Copies bytes of the packet onto the stack.
fn read_packet(from: i32, to: i32, len: i32) -> Vec<u64> {
    vec![
        insn(0xbf, 1, 6, 0, 0),
        insn(0xb7, 2, 0, 0, from),
        insn(0xbf, 3, 10, 0, 0),
        insn(0x07, 3, 0, 0, to),
        insn(0xb7, 4, 0, 0, len),
        insn(0x85, 0, 0, 0, SKB_LOAD_BYTES),
    ]
}

/// Fills the rest of `struct bpf_fib_lookup` at fp - 64, asks, and puts the answer into the packet.
fn look_up() -> Vec<u64> {
    let store = |packet: i32, stack: i32| {
        vec![
            insn(0xbf, 1, 6, 0, 0),
            insn(0xb7, 2, 0, 0, packet),
            insn(0xbf, 3, 10, 0, 0),
            insn(0x07, 3, 0, 0, stack),
            insn(0xb7, 4, 0, 0, 6),
            insn(0xb7, 5, 0, 0, 0),
            insn(0x85, 0, 0, 0, SKB_STORE_BYTES),
        ]
    };
    let answered = [
        store(0, -6),  // destination MAC
        store(6, -12), // source MAC
        vec![
            insn(0x61, 1, 10, -56, 0), // r1 = ifindex of the answer
            insn(0xb7, 2, 0, 0, 0),
            insn(0x85, 0, 0, 0, REDIRECT),
            insn(0x95, 0, 0, 0, 0),
        ],
    ]
    .concat();
    let ask = vec![
        insn(0x61, 1, 6, SKB_IFINDEX, 0),
        insn(0x63, 10, 1, -56, 0), // ifindex
        insn(0xbf, 1, 6, 0, 0),
        insn(0xbf, 2, 10, 0, 0),
        insn(0x07, 2, 0, 0, -64),
        insn(0xb7, 3, 0, 0, 64),
        insn(0xb7, 4, 0, 0, 0),
        insn(0x85, 0, 0, 0, FIB_LOOKUP),
        insn(0x55, 0, 0, distance(&[&answered]), 0), // no answer: as if it were not here
    ];
    let next = vec![insn(0xb7, 0, 0, 0, -1), insn(0x95, 0, 0, 0, 0)];
    [ask, answered, next].concat()
}
