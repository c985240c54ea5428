//! tc egress: every packet that leaves by a device, with the route decision really used.
//!
//! The dst entry is readable only here: before transmission the stack drops it for most devices.
//! Always returns `TCX_NEXT` (the same number as `TC_ACT_UNSPEC`): the chain goes on as without us.

use aya_ebpf::{EbpfContext as _, macros::classifier, programs::TcContext};
use tracer_abi::{counter::Counter, key::DIR_OUT, offset::Off};

use crate::bpf::{
    account::{Seen, account},
    kmem::read,
    last::clock,
    maps::{count, home_netns, multi_netns, serve, work},
    packet,
    skb::{TcSkb, Unparsed, parse_wanted, peek},
    tunnel_key,
    work::{Hook, Work},
};

/// `TCX_NEXT`, and `TC_ACT_UNSPEC` for clsact.
const NEXT: i32 = -1;

#[classifier]
fn tracer_egress(ctx: TcContext) -> i32 {
    egress(&ctx);
    NEXT
}

#[inline(always)]
fn egress(ctx: &TcContext) {
    count(Counter::Sent);
    // SAFETY: the context of a tc program.
    serve(unsafe { (*ctx.skb.skb).ifindex });
    let Some(w) = work(Hook::TcEgress) else {
        return;
    };
    let address = ctx.as_ptr() as u64;
    let Some(skb) = TcSkb::read(address, &mut w.skb) else {
        count(Counter::Unreadable);
        return;
    };
    // SAFETY: the context of a tc program.
    let c = unsafe { &*ctx.skb.skb };
    let ethertype = u16::from_be(c.protocol as u16);
    let mut linear = skb.layout.linear(skb.layout.network);
    let link = skb.layout.network.wrapping_sub(skb.layout.data);
    linear.ready = peek(ctx, link, ethertype, &mut w.window);
    let (dst, now) = (skb.refdst & !1, clock());
    let between = (c.ifindex, c.ingress_ifindex);
    tunnel_key::leaves(address, w, (dst, between), now);
    let netns = if multi_netns() {
        let dev: u64 = read(address, Off::SkbDev);
        let net: u64 = read(dev, Off::DevNet);
        read(net, Off::NetInum)
    } else {
        home_netns()
    };
    w.linear = linear;
    let in_pages = |w: &mut Work| packet::headers(ctx, w, link);
    let unparsed = Unparsed {
        ethertype,
        netns,
        nfct: skb.nfct,
    };
    if !parse_wanted(Hook::TcEgress, &unparsed, w, in_pages) {
        #[cfg(feature = "log")]
        aya_log_ebpf::debug!(
            ctx,
            "if{} out: not recorded, ethertype {:x}, {} bytes, {} linear",
            c.ifindex,
            ethertype,
            c.len,
            linear.len
        );
        return;
    }
    let seen = Seen {
        netns,
        ifindex: c.ifindex,
        iif: c.ingress_ifindex,
        dir: DIR_OUT,
        bytes: c.len,
        len: if link <= 64 {
            c.len.wrapping_sub(link)
        } else {
            c.len
        },
        segs: if c.gso_segs > 1 { c.gso_segs } else { 1 },
        mark: c.mark,
        vlan: if c.vlan_present != 0 {
            c.vlan_tci & 0xfff
        } else {
            0
        },
        dst,
        nfct: skb.nfct,
        now,
        hook: Hook::TcEgress,
    };
    let linear = w.linear;
    account(w, &linear, &seen);
    packet::sent(ctx, w, &seen, link, ethertype);
}
