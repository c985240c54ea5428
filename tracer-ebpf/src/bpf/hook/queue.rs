//! `net_dev_queue`: packets that leave by devices to which the tc program is not attached yet.
//!
//! Attaching takes the kernel a grace period for each device, so that a node with many of them would
//! have to wait for seconds. This tracepoint comes after tc egress and before the queue of the device,
//! within the same section of the kernel in which no other packet of this CPU leaves. Each packet is
//! counted once: here, until the first one on this CPU passes the tc program at that device, which
//! says so in `PENDING`; there, from that one on. The dst entry is gone here for most devices, so that
//! these are attached last that need it least, and this program goes as soon as all are attached.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_abi::{
    counter::Counter,
    key::DIR_OUT,
    offset::{ABSENT, Off},
};

use crate::bpf::{
    account::{Seen, account},
    kmem::ld,
    last::clock,
    maps::{count, home_netns, is_pending, off, work},
    packet::{self, Ends},
    skb::{Layout, Unparsed, parse_wanted, place, segments},
    tunnel_key,
    work::Hook,
};

#[btf_tracepoint(function = "net_dev_queue")]
fn tracer_queue(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is the `sk_buff` on every kernel.
    unsafe { queued(ctx.arg::<*const u8>(0) as usize) };
    0
}

#[inline(always)]
unsafe fn queued(skb: usize) {
    // SAFETY: `skb` is a BTF pointer; the verifier checks each load.
    unsafe {
        let dev: usize = ld(skb, Off::SkbDev);
        let at = place(dev);
        if at.netns != home_netns() || !is_pending(at.ifindex) {
            return;
        }
        count(Counter::Sent);
        let Some(w) = work(Hook::Queue) else { return };
        let layout = Layout::of(skb);
        let ethertype = u16::from_be(ld(skb, Off::SkbProtocol));
        let linear = layout.linear(layout.network);
        let dst = ld::<u64>(skb, Off::SkbRefdst) & !1;
        let iif: u32 = ld(skb, Off::SkbIif);
        let now = clock();
        tunnel_key::leaves(skb as u64, w, (dst, (at.ifindex, iif)), now);
        w.linear = linear;
        let nfct = if off(Off::SkbNfct) == ABSENT as usize {
            0
        } else {
            ld(skb, Off::SkbNfct)
        };
        let unparsed = Unparsed {
            ethertype,
            netns: at.netns,
            nfct,
        };
        if !parse_wanted(Hook::Queue, &unparsed, w, |_| false) {
            return;
        }
        let bytes: u32 = ld(skb, Off::SkbLen);
        let link = layout.network.wrapping_sub(layout.data);
        let seen = Seen {
            netns: at.netns,
            ifindex: at.ifindex,
            iif,
            dir: DIR_OUT,
            bytes,
            len: if link <= 64 {
                bytes.wrapping_sub(link)
            } else {
                bytes
            },
            segs: segments(skb, layout.head, bytes),
            mark: ld(skb, Off::SkbMark),
            vlan: u32::from(ld::<u16>(skb, Off::SkbVlanTci) & 0xfff),
            dst: 0,
            nfct,
            now,
            hook: Hook::Queue,
        };
        account(w, &linear, &seen);
        let ends = Ends {
            ethertype,
            tci: ld(skb, Off::SkbVlanTci),
            network: layout.network,
            end: ld(skb, Off::SkbEnd),
        };
        packet::passed(skb as u64, w, &seen, &layout, &ends);
    }
}
