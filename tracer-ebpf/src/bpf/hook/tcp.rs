//! TCP retransmissions and resets of local sockets: the only trace here of losses elsewhere.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_abi::{
    key::{FAMILY_IPV4, FAMILY_IPV6, PROTO_TCP, Tuple},
    offset::Off,
    record::{KIND_TCP, TCP_RECEIVE_RESET, TCP_RETRANSMIT, TCP_SEND_RESET, TcpRecord},
};

use crate::bpf::{emit::emit, kmem::ld, maps::netns_scope};

#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tracer_retransmit(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is the socket on every kernel.
    unsafe { socket(ctx.arg::<*const u8>(0) as usize, TCP_RETRANSMIT) }
}

#[btf_tracepoint(function = "tcp_send_reset")]
fn tracer_send_reset(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: as above; NULL when the segment had no socket.
    unsafe { socket(ctx.arg::<*const u8>(0) as usize, TCP_SEND_RESET) }
}

#[btf_tracepoint(function = "tcp_receive_reset")]
fn tracer_receive_reset(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: as above.
    unsafe { socket(ctx.arg::<*const u8>(0) as usize, TCP_RECEIVE_RESET) }
}

#[inline(always)]
unsafe fn socket(sk: usize, what: u8) -> i32 {
    if sk == 0 {
        return 0;
    }
    // SAFETY: a BTF pointer to a socket that was tested.
    unsafe {
        let net: usize = ld(sk, Off::SockNet);
        let netns: u32 = ld(net, Off::NetInum);
        if netns_scope(netns) == 0 {
            return 0;
        }
        let mut t = Tuple {
            sport: ld(sk, Off::SockNum),
            dport: u16::from_be(ld(sk, Off::SockDport)),
            proto: PROTO_TCP,
            ..Tuple::default()
        };
        let v6_daddr: [u8; 16] = ld(sk, Off::SockV6Daddr);
        // an IPv4 socket, or an IPv6 socket that talks IPv4 (::ffff:a.b.c.d, RFC 4291 §2.5.5.2)
        let mapped = v6_daddr[10] == 0xff && v6_daddr[11] == 0xff && v6_daddr[0] == 0;
        if ld::<u16>(sk, Off::SockFamily) == 2 || mapped {
            let (s, d): (u32, u32) = (ld(sk, Off::SockSaddr), ld(sk, Off::SockDaddr));
            t.saddr.as_mut_ptr().cast::<u32>().write_unaligned(s);
            t.daddr.as_mut_ptr().cast::<u32>().write_unaligned(d);
            t.family = FAMILY_IPV4;
        } else {
            t.saddr = ld(sk, Off::SockV6Saddr);
            t.daddr = v6_daddr;
            t.family = FAMILY_IPV6;
        }
        let state: u8 = ld(sk, Off::SockState);
        emit::<TcpRecord>(KIND_TCP, 0, |p| {
            (*p).tuple = t;
            (*p).netns = netns;
            (*p).what = what;
            (*p).state = state;
            (*p).reserved = [0; 2];
        });
    }
    0
}
