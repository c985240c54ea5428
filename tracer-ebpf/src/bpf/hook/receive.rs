//! `netif_receive_skb`: every packet that a device hands to the stack, before NAT and filters.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_abi::{counter::Counter, key::DIR_IN, offset::Off};

use crate::bpf::{
    account::{Seen, account},
    kmem::ld,
    last::{clock, set_last_rx},
    maps::{count, device_wanted, netns_full, work},
    packet::{self, Ends},
    skb::{LOOPBACK, Layout, Unparsed, parse_wanted, place, segments},
    tunnel_key,
    work::Hook,
};

#[btf_tracepoint(function = "netif_receive_skb")]
fn tracer_receive(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is the `sk_buff` on every kernel that has this tracepoint.
    unsafe { receive(ctx.arg::<*const u8>(0) as usize) };
    0
}

#[inline(always)]
unsafe fn receive(skb: usize) {
    // SAFETY: `skb` is a BTF pointer; the verifier checks each load.
    unsafe {
        let dev: usize = ld(skb, Off::SkbDev);
        let at = place(dev);
        set_last_rx(at.netns);
        if !netns_full(at.netns) || at.ifindex == LOOPBACK || !device_wanted(at.ifindex) {
            return;
        }
        count(Counter::Received);
        let Some(w) = work(Hook::Receive) else { return };
        let layout = Layout::of(skb);
        let ethertype = u16::from_be(ld(skb, Off::SkbProtocol));
        // the tracepoint fires before the network header is set: data points to it
        let linear = layout.linear(layout.data);
        let dst = ld::<u64>(skb, Off::SkbRefdst) & !1;
        let now = clock();
        tunnel_key::arrives(skb as u64, w, (dst, at.ifindex), now);
        w.linear = linear;
        // what lies in pages cannot be read here
        let unparsed = Unparsed {
            ethertype,
            netns: at.netns,
            nfct: 0,
        };
        if !parse_wanted(Hook::Receive, &unparsed, w, |_| false) {
            return;
        }
        let len: u32 = ld(skb, Off::SkbLen);
        let link = layout.data.wrapping_sub(layout.mac);
        let seen = Seen {
            netns: at.netns,
            ifindex: at.ifindex,
            iif: 0,
            dir: DIR_IN,
            // without a link header mac is unset (0xffff) or equal to data
            bytes: if link <= 64 { len + link } else { len },
            len,
            segs: segments(skb, layout.head, len),
            mark: ld(skb, Off::SkbMark),
            vlan: u32::from(ld::<u16>(skb, Off::SkbVlanTci) & 0xfff),
            dst: 0,
            nfct: 0,
            now,
            hook: Hook::Receive,
        };
        account(w, &linear, &seen);
        let ends = Ends {
            ethertype,
            tci: ld(skb, Off::SkbVlanTci),
            network: layout.data,
            end: ld(skb, Off::SkbEnd),
        };
        packet::passed(skb as u64, w, &seen, &layout, &ends);
    }
}
