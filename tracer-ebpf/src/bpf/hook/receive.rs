//! `netif_receive_skb`: every packet that a device hands to the stack, before NAT and filters.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_abi::{
    counter::Counter,
    glimpse::{Glimpse, Where},
    key::DIR_IN,
    offset::Off,
    parse::{ETH_IPV4, ETH_IPV6, WINDOW},
};

use crate::bpf::{
    account::{Seen, account},
    kmem::{copy, ld},
    last::{clock, set_last_rx},
    maps::{count, device_wanted, is_tunnel, netns_full, work},
    packet::{self, Ends},
    recent::{self, Sight, Size},
    skb::{LOOPBACK, Layout, Place, Unparsed, parse_wanted, place, segments},
    tunnel_key,
    work::{Hook, Work},
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
        w.begin();
        w.ready = 0;
        if !recent::allowed() || !again(skb, w, at.netns, at.ifindex) {
            long_way(skb, w, &at);
        }
        w.end();
    }
}

/// Counts the packet, if this CPU saw its flow come in moments ago; see [`recent`].
///
/// A function of its own, so that what it keeps in registers does not take stack from the long way.
#[inline(never)]
unsafe fn again(skb: usize, w: &mut Work, netns: u32, ifindex: u32) -> bool {
    // SAFETY: as above.
    unsafe {
        let ethertype = u16::from_be(ld(skb, Off::SkbProtocol));
        if ethertype != ETH_IPV4 && ethertype != ETH_IPV6 {
            return false;
        }
        let (head, data): (u64, u64) = (ld(skb, Off::SkbHead), ld(skb, Off::SkbData));
        let start = data.wrapping_sub(head) as u32;
        let tail: u32 = ld(skb, Off::SkbTail);
        let len = tail.saturating_sub(start);
        if !copy(w.window.bytes.as_mut_ptr(), WINDOW, data) {
            return false;
        }
        w.ready = if len > WINDOW { WINDOW } else { len };
        // a metadata dst may have a tunnel key
        let dst: u64 = ld(skb, Off::SkbRefdst);
        if dst != 0 && is_tunnel(ifindex) {
            return false;
        }
        let link = start.wrapping_sub(u32::from(ld::<u16>(skb, Off::SkbMacHeader)));
        let at = Where {
            netns,
            ifindex,
            iif: 0,
            dir: DIR_IN,
            link: if link <= 64 { link as u8 } else { 0 },
        };
        let words = (&raw const w.window).cast::<u64>();
        let sight = Glimpse::of(ethertype, &at, |n| n as u32 <= len, |i| words.add(i).read()).map(
            |glimpse| Sight {
                hook: Hook::Receive,
                glimpse,
            },
        );
        let size = || {
            let len: u32 = ld(skb, Off::SkbLen);
            Size {
                bytes: len + u32::from(at.link),
                segs: segments(skb, head, len),
            }
        };
        sight.is_some_and(|s| s.counted(w, |_| Some((0, 0)), size))
    }
}

#[inline(always)]
unsafe fn long_way(skb: usize, w: &mut Work, at: &Place) {
    // SAFETY: as above.
    unsafe {
        let layout = Layout::of(skb);
        let ethertype = u16::from_be(ld(skb, Off::SkbProtocol));
        // the tracepoint fires before the network header is set: data points to it
        let mut linear = layout.linear(layout.data);
        linear.ready = w.ready;
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
