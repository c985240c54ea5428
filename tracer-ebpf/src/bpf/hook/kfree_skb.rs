//! `kfree_skb`: where and why packets end.

use aya_ebpf::{
    bindings::BPF_NOEXIST, helpers::bpf_ktime_get_ns, macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use tracer_abi::{
    NETNS_EDGE,
    counter::Counter,
    drop::{DROP_HAS_DEV, DROP_HAS_SOCK, DropKey, DropRecord, DropValue},
    flow::Outer,
    key::FlowKey,
    offset::{ABSENT, Off},
    record::KIND_DROP,
};

use crate::bpf::{
    decide::tracer_decide_dropped,
    emit::{WAKE, emit},
    kmem::{add, ld, read},
    maps::{DROPS, count, home_netns, netns_scope, no_loss, off, work},
    packet::{self, End},
    skb::{Layout, Unparsed, parse_dropped, segments},
    work::{Hook, Work},
};

/// At most one record per key in this time; the map counts on.
const QUIET_NS: u64 = 1_000_000_000;
/// Smallest inode of a network namespace (they start at 0xeffffff9 or 0xf0000000): anything below
/// was read through a pointer that was none.
const MIN_NETNS: u32 = 0xefff_fff0;
const KERNEL: u64 = 1 << 63;

#[btf_tracepoint(function = "kfree_skb")]
fn tracer_kfree_skb(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: arguments one and two are the same on every kernel; the third is read only where
    // BTF says that it exists (the branch is pruned elsewhere).
    unsafe {
        let skb = ctx.arg::<*const u8>(0) as usize;
        let location = ctx.arg::<*const u8>(1) as u64;
        let reason = if off(Off::KfreeArgs) >= 3 {
            ctx.arg::<u32>(2)
        } else {
            0
        };
        dropped(skb, location, reason);
    }
    0
}

/// Where the packet was when it ended.
struct Where {
    netns: u32,
    ifindex: u32,
    flags: u32,
}

/// The connection of a packet.
struct Connection {
    /// `skb->_nfct`; 0 without one, and in a pod, which the flow is not followed into.
    nfct: u64,
    /// Namespace where the flow's packets are followed.
    netns: u32,
}

impl Connection {
    #[inline(always)]
    unsafe fn of(skb: usize, at: &Where, scope: u32) -> Self {
        if scope == NETNS_EDGE {
            return Self {
                nfct: 0,
                netns: home_netns(),
            };
        }
        let nfct = if off(Off::SkbNfct) == ABSENT as usize {
            0
        } else {
            // SAFETY: `skb` is a BTF pointer.
            unsafe { ld(skb, Off::SkbNfct) }
        };
        Self {
            nfct,
            netns: at.netns,
        }
    }
}

#[inline(always)]
unsafe fn dropped(skb: usize, location: u64, reason: u32) {
    // SAFETY: `skb` is a BTF pointer; the verifier checks each load.
    unsafe {
        let refdst: u64 = ld::<u64>(skb, Off::SkbRefdst) & !1;
        let at = locate(skb, refdst);
        let scope = netns_scope(at.netns);
        if scope == 0 {
            return;
        }
        count(Counter::Drops);
        if no_loss(location) {
            count(Counter::NoLoss);
            return;
        }
        let Some(w) = work(Hook::KfreeSkb) else {
            return;
        };
        let layout = Layout::of(skb);
        let start = if layout.network != 0 && layout.network != 0xffff {
            layout.network
        } else {
            layout.data
        };
        let linear = layout.linear(start);
        let ct = Connection::of(skb, &at, scope);
        w.linear = linear;
        w.edge = scope == NETNS_EDGE;
        let ethertype = u16::from_be(ld(skb, Off::SkbProtocol));
        let unparsed = Unparsed {
            ethertype,
            netns: ct.netns,
            nfct: ct.nfct,
        };
        if !parse_dropped(&unparsed, w) {
            count(Counter::Filtered);
            return;
        }
        w.drop_key = DropKey {
            location,
            flow: FlowKey {
                tuple: w.packet.tuple,
                netns: at.netns,
                ifindex: at.ifindex,
                iif: ld(skb, Off::SkbIif),
                dir: 0,
                reserved: [0; 3],
            },
            reason,
        };
        let len: u32 = ld(skb, Off::SkbLen);
        let segs = segments(skb, layout.head, len);
        let mark: u32 = ld(skb, Off::SkbMark);
        let end = End {
            skb: skb as u64,
            location,
            reason,
            len,
            segs,
            ethertype,
            tci: ld(skb, Off::SkbVlanTci),
        };
        packet::ended(w, &end, &layout, start);
        record(
            w,
            &Ended {
                refdst,
                ct,
                at,
                len,
                segs,
                mark,
            },
        );
    }
}

struct Ended {
    refdst: u64,
    ct: Connection,
    at: Where,
    len: u32,
    segs: u32,
    mark: u32,
}

/// Namespace and device: `skb->dev`, else that of the dst entry, else of the socket.
#[inline(always)]
unsafe fn locate(skb: usize, refdst: u64) -> Where {
    // SAFETY: BTF pointers; loads through a pointer that is none read as zero.
    unsafe {
        let mut flags = 0;
        let sk: usize = ld(skb, Off::SkbSk);
        if sk != 0 {
            flags |= DROP_HAS_SOCK;
        }
        let dev: usize = ld(skb, Off::SkbDev);
        if dev != 0 {
            let net: usize = ld(dev, Off::DevNet);
            let netns: u32 = ld(net, Off::NetInum);
            if netns >= MIN_NETNS {
                return Where {
                    netns,
                    ifindex: ld(dev, Off::DevIfindex),
                    flags: flags | DROP_HAS_DEV,
                };
            }
        }
        if refdst >= KERNEL {
            let dev: u64 = read(refdst, Off::DstDev);
            let net: u64 = read(dev, Off::DevNet);
            let netns: u32 = read(net, Off::NetInum);
            if netns >= MIN_NETNS {
                return Where {
                    netns,
                    ifindex: 0,
                    flags,
                };
            }
        }
        let mut netns = 0;
        if sk != 0 {
            let net: usize = ld(sk, Off::SockNet);
            netns = ld(net, Off::NetInum);
        }
        Where {
            netns,
            ifindex: 0,
            flags,
        }
    }
}

#[inline(always)]
fn record(w: &mut Work, e: &Ended) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if let Some(v) = DROPS.get_ptr_mut(&w.drop_key) {
        // SAFETY: a map value; other CPUs only add to the counters.
        let v = unsafe { &mut *v };
        add(&mut v.count, u64::from(e.segs));
        add(&mut v.bytes, u64::from(e.len));
        v.last_ns = now;
        if v.max_len < e.len {
            v.max_len = e.len;
        }
        if now.wrapping_sub(v.sent_ns) < QUIET_NS {
            count(Counter::DropsQuiet);
            return;
        }
        v.sent_ns = now;
        send(&w.drop_key, v);
        return;
    }
    (w.now, w.mark) = (now, e.mark);
    let hook = Hook::KfreeSkb as u32;
    let iif = w.drop_key.flow.iif;
    tracer_decide_dropped(hook, e.refdst, e.ct.nfct, e.at.netns, iif);
    w.drop = DropValue {
        count: u64::from(e.segs),
        bytes: u64::from(e.len),
        first_ns: now,
        last_ns: now,
        sent_ns: now,
        route: w.route,
        outer: w.packet.outer,
        nat: w.nat,
        mtu: w.drop.mtu,
        max_len: if e.segs > 1 { e.len / e.segs } else { e.len },
        flags: e.at.flags,
        mark: e.mark,
    };
    if w.packet.outer.family == 0 {
        w.drop.outer = Outer::default();
    }
    let new = DROPS.insert(&w.drop_key, &w.drop, u64::from(BPF_NOEXIST));
    if new.is_err() {
        // another CPU was first, or the table is full
        match DROPS.get_ptr_mut(&w.drop_key) {
            // SAFETY: a map value whose counters are only added to.
            Some(v) => unsafe {
                add(&mut (*v).count, w.drop.count);
                add(&mut (*v).bytes, w.drop.bytes);
            },
            None => count(Counter::DropsFull),
        }
        return;
    }
    send(&w.drop_key, &w.drop);
}

#[inline(always)]
fn send(key: &DropKey, value: &DropValue) {
    emit::<DropRecord>(KIND_DROP, WAKE, |p| {
        // SAFETY: `p` is the reserved payload.
        unsafe {
            core::ptr::copy_nonoverlapping(key, &raw mut (*p).key, 1);
            core::ptr::copy_nonoverlapping(value, &raw mut (*p).value, 1);
        }
    });
}
