//! Packets with their bytes, while a recording is made: without one the global `SNAPLEN` is 0 and
//! the verifier takes that out. And headers that are not in the linear part.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{
        bpf_get_smp_processor_id, bpf_ktime_get_ns,
        generated::{
            bpf_probe_read_kernel, bpf_ringbuf_output, bpf_ringbuf_query, bpf_skb_load_bytes,
        },
    },
    programs::TcContext,
};
use tracer_abi::{
    counter::Counter,
    key::FlowKey,
    offset::Off,
    packet::{PacketHead, SNAP_MAX, WHAT_DEVICE, WHAT_DROP},
    record::{KIND_BYTES, RecordHeader},
};

use super::{
    account::Seen,
    emit::{QUIET, WAKE},
    kmem::{Linear, forgotten, read_at},
    maps::{count, events, off, snap, snaplen},
    skb::Layout,
    work::{Hook, PAGED, Work},
};

/// A record as it is put together: too large for the stack, and of varying length.
#[repr(C)]
pub(super) struct Snap {
    header: RecordHeader,
    head: PacketHead,
    bytes: [u8; SNAP_MAX as usize],
}

/// `BPF_RB_AVAIL_DATA`.
const AVAILABLE: u64 = 0;
/// Bytes in the ring buffer of which the reader is told, and of the records that tell it.
const MUCH: u64 = 128 << 10;
const FEW: u64 = 4 << 10;

/// More than any packet is long (`GSO_MAX_SIZE`, `linux/netdevice.h`).
const MOST: u32 = 1 << 19;

const HEAD: u32 = (size_of::<RecordHeader>() + size_of::<PacketHead>()) as u32;

/// Copies the headers of a packet that leaves out of its pages, where a sender with a ring of its own
/// or a splice puts them, and has `w.linear` point to the copy. `link` is the length of the link header.
/// False when there is no more to read than the linear part has.
#[inline(always)]
pub(super) fn headers(ctx: &TcContext, w: &mut Work, link: u32) -> bool {
    // SAFETY: the context of a tc program.
    let len = unsafe { (*ctx.skb.skb).len }.wrapping_sub(link);
    if link > 64 || len <= w.linear.len || len > MOST {
        return false;
    }
    let n = if len < PAGED as u32 {
        len
    } else {
        PAGED as u32
    };
    // as in `send`
    let n = (core::hint::black_box(n - 1) & (PAGED as u32 - 1)) + 1;
    let to = w.paged.as_mut_ptr();
    // SAFETY: the context of a tc program, and a buffer of more than `n` bytes.
    let failed =
        unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast::<c_void>(), link, to.cast::<c_void>(), n) };
    if failed != 0 {
        return false;
    }
    w.linear = Linear {
        network: forgotten(to as u64, &mut w.scratch),
        len: n,
        ready: 0,
    };
    true
}

/// A packet that leaves; also what lies in pages is read.
#[inline(always)]
pub(super) fn sent(ctx: &TcContext, w: &Work, s: &Seen, link: u32, ethertype: u16) {
    if snaplen() == 0 {
        return;
    }
    let Some(p) = begin(Hook::TcEgress) else {
        return;
    };
    // SAFETY: the context of a tc program.
    let c = unsafe { &*ctx.skb.skb };
    let head = Head {
        skb: ctx.skb.skb as u64,
        key: w.entry.key,
        link,
        ethertype,
        tci: c.vlan_tci as u16,
    };
    head.write(p, w, s.bytes, s.segs);
    p.head.gso_size = c.gso_size;
    // SAFETY: the context of a tc program; the helper writes `n` bytes or fails.
    send(p, s.now, s.bytes, |to, n| unsafe {
        bpf_skb_load_bytes(ctx.skb.skb.cast::<c_void>(), 0, to.cast::<c_void>(), n) == 0
    });
}

/// What `passed` needs beside.
pub(super) struct Ends {
    pub(super) ethertype: u16,
    pub(super) tci: u16,
    /// Where its network header is, from `head` on.
    pub(super) network: u32,
    /// Where the buffer ends, behind its head; the offload data are there.
    pub(super) end: u32,
}

/// A packet at a tracepoint; what its linear part holds of it, with its link header.
#[inline(always)]
pub(super) fn passed(skb: u64, w: &Work, s: &Seen, layout: &Layout, e: &Ends) {
    if snaplen() == 0 {
        return;
    }
    let Some(p) = begin(s.hook) else {
        return;
    };
    let link = s.bytes.wrapping_sub(s.len);
    let head = Head {
        skb,
        key: w.entry.key,
        link,
        ethertype: e.ethertype,
        tci: e.tci,
    };
    head.write(p, w, s.bytes, s.segs);
    if s.segs > 1 {
        let shared = layout.head + u64::from(e.end);
        p.head.gso_size = u32::from(read_at::<u16>(shared + off(Off::SharedGsoSize) as u64));
    }
    linear(p, s.now, layout, e.network.wrapping_sub(link));
}

/// Of a packet that ended.
pub(super) struct End {
    pub(super) skb: u64,
    pub(super) location: u64,
    pub(super) reason: u32,
    pub(super) len: u32,
    pub(super) segs: u32,
    pub(super) ethertype: u16,
    pub(super) tci: u16,
}

/// A packet that ended; `network` is where its network header was looked for.
#[inline(always)]
pub(super) fn ended(w: &Work, e: &End, layout: &Layout, network: u32) {
    if snaplen() == 0 {
        return;
    }
    let Some(p) = begin(Hook::KfreeSkb) else {
        return;
    };
    // the link header of a packet that came in is still in front; one made here has none yet
    let link = network.wrapping_sub(layout.mac);
    let link = if layout.mac != 0xffff && link <= 64 {
        link
    } else {
        0
    };
    let start = network.wrapping_sub(link);
    let head = Head {
        skb: e.skb,
        key: w.drop_key.flow,
        link,
        ethertype: e.ethertype,
        tci: e.tci,
    };
    let len = e.len.wrapping_add(layout.data).wrapping_sub(start);
    head.write(p, w, len, e.segs);
    p.head.what = WHAT_DROP;
    p.head.location = e.location;
    p.head.reason = e.reason;
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    linear(p, now, layout, start);
}

struct Head {
    skb: u64,
    key: FlowKey,
    link: u32,
    ethertype: u16,
    tci: u16,
}

impl Head {
    #[inline(always)]
    fn write(&self, p: &mut Snap, w: &Work, len: u32, segs: u32) {
        let h = &mut p.head;
        h.skb = self.skb;
        h.location = 0;
        h.key = self.key;
        h.len = len;
        h.captured = 0;
        h.segs = segs;
        h.reason = 0;
        h.tcp_flags = w.packet.tcp_flags;
        h.ip_id = w.packet.ip_id;
        h.link = if self.link <= 64 { self.link as u16 } else { 0 };
        h.vlan_tci = self.tci;
        h.what = WHAT_DEVICE;
        h.ethertype = self.ethertype;
        h.gso_size = 0;
    }
}

#[inline(always)]
fn begin(hook: Hook) -> Option<&'static mut Snap> {
    // SAFETY: as for `work`: one element per hook and CPU.
    snap(hook).map(|p| unsafe { &mut *p })
}

/// Bytes from the linear part, `start` bytes behind the head of the buffer.
#[inline(always)]
fn linear(p: &mut Snap, now: u64, layout: &Layout, start: u32) {
    let there = layout.tail.saturating_sub(start);
    let there = if there < p.head.len {
        there
    } else {
        p.head.len
    };
    let from = layout.head + u64::from(start);
    // SAFETY: the helper writes `n` bytes or fails.
    send(p, now, there, |to, n| unsafe {
        bpf_probe_read_kernel(to.cast::<c_void>(), n, from as *const c_void) == 0
    });
}

/// The reader sleeps when there was little to read. When much comes at once it is woken as soon as
/// there is as much as it aims to find, so that the rest of the buffer is for the time until it runs.
/// That is so for some records, as several CPUs write, and for no more of them.
#[inline(always)]
fn wake() -> u64 {
    // SAFETY: a helper that reads the positions in the ring buffer.
    let waiting = unsafe { bpf_ringbuf_query(events(), AVAILABLE) };
    if waiting.wrapping_sub(MUCH) < FEW {
        WAKE
    } else {
        QUIET
    }
}

/// Fills in at most `SNAPLEN` of `there` bytes and sends the record. `now`: when the hook was reached;
/// a clock is much to read for a packet.
#[inline(always)]
fn send(p: &mut Snap, now: u64, there: u32, load: impl FnOnce(*mut u8, u32) -> bool) {
    let snap = snaplen();
    let mut n = if there < snap { there } else { snap };
    if n != 0 {
        // The same number, if it is 1..=SNAP_MAX as user space and the packet have it. Said in a way
        // that the verifier follows on each kernel, and hidden from the compiler, which would find
        // a shorter one.
        n = (core::hint::black_box(n - 1) & (SNAP_MAX - 1)) + 1;
        if !load(p.bytes.as_mut_ptr(), n) {
            n = 0;
        }
    }
    p.head.captured = n;
    p.header = RecordHeader {
        ts_ns: now,
        kind: KIND_BYTES,
        // SAFETY: a helper without arguments.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        len: size_of::<PacketHead>() as u32 + n,
    };
    // SAFETY: `p` has room for the head and SNAP_MAX bytes, and `n` is no more than that.
    let sent = unsafe {
        bpf_ringbuf_output(
            events(),
            (&raw mut *p).cast::<c_void>(),
            u64::from(HEAD + n),
            wake(),
        )
    };
    if sent != 0 {
        count(Counter::RingFull);
        count(Counter::PacketsLost);
    }
}
