//! tc egress: every packet that leaves by a device, with the route decision really used.
//!
//! The dst entry is readable only here: before transmission the stack drops it for most devices.
//! Always returns `TCX_NEXT` (the same number as `TC_ACT_UNSPEC`): the chain goes on as without us.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use tracer_abi::{
    counter::Counter,
    glimpse::{Glimpse, Where},
    key::DIR_OUT,
    offset::Off,
};

use crate::bpf::{
    account::{Seen, account},
    kmem::read,
    last::clock,
    maps::{count, home_netns, multi_netns, serve, work},
    packet,
    recent::{self, Sight, Size},
    skb::{TcSkb, Unparsed, decided_by, parse_wanted, peek},
    tunnel_key,
    work::{Hook, Work},
};

/// `TCX_NEXT`, and `TC_ACT_UNSPEC` for clsact.
const NEXT: i32 = -1;
/// Length of an Ethernet header (`ETH_HLEN` of `linux/if_ether.h`).
const ETH_HLEN: usize = 14;

#[classifier]
fn tracer_egress(ctx: TcContext) -> i32 {
    egress(&ctx);
    NEXT
}

#[inline(always)]
fn egress(ctx: &TcContext) {
    count(Counter::Sent);
    let Some(w) = work(Hook::TcEgress) else {
        return;
    };
    w.begin();
    w.netns = netns(ctx);
    if !recent::allowed() || !again(ctx.skb.skb, w) {
        long_way(ctx, w);
    }
    w.end();
}

/// Namespace of the device that the packet leaves by.
#[inline(always)]
fn netns(ctx: &TcContext) -> u32 {
    if !multi_netns() {
        return home_netns();
    }
    let dev: u64 = read(ctx.as_ptr() as u64, Off::SkbDev);
    let net: u64 = read(dev, Off::DevNet);
    read(net, Off::NetInum)
}

/// Counts the packet, if this CPU saw its flow leave moments ago; see [`recent`].
///
/// A function of its own, so that what it keeps in registers does not take stack from the long way.
#[inline(never)]
fn again(skb: *mut __sk_buff, w: &mut Work) -> bool {
    // SAFETY: the context of a tc program.
    let c = unsafe { &*skb };
    let (start, end) = (c.data as usize, c.data_end as usize);
    if start + ETH_HLEN > end {
        return false;
    }
    // of other devices than those with Ethernet and with no link header this is not the length, and
    // their flows are not kept
    // SAFETY: what was compared.
    let kind = unsafe { ((start + ETH_HLEN - 2) as *const u16).read_volatile() };
    let link = if u32::from(kind) == c.protocol {
        ETH_HLEN
    } else {
        0
    };
    let at = Where {
        netns: w.netns,
        ifindex: c.ifindex,
        iif: c.ingress_ifindex,
        dir: DIR_OUT,
        link: link as u8,
    };
    let start = start + link;
    let sight = Glimpse::of(
        u16::from_be(c.protocol as u16),
        &at,
        |n| start + n <= end,
        // SAFETY: as many as it asked for before.
        |i| unsafe { ((start + i * 8) as *const u64).read_volatile() },
    )
    .map(|glimpse| Sight {
        hook: Hook::TcEgress,
        glimpse,
    });
    let now_by = |w: &mut Work| decided_by(skb as u64, &mut w.skb);
    let size = || Size {
        bytes: c.len,
        segs: if c.gso_segs > 1 { c.gso_segs } else { 1 },
    };
    sight.is_some_and(|s| s.counted(w, now_by, size))
}

#[inline(always)]
fn long_way(ctx: &TcContext, w: &mut Work) {
    // a packet that takes the short way is not the first one at its device on this CPU
    // SAFETY: the context of a tc program.
    serve(unsafe { (*ctx.skb.skb).ifindex });
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
    if u64::from(link) != w.glimpse[7] >> 8 {
        w.place = 0;
    }
    let netns = w.netns;
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
