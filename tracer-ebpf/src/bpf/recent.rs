//! The short way of packets whose flow this hook has seen on this CPU moments ago.
//!
//! What the filter says of a flow, its entry, its decision and its translation are the same from packet to
//! packet. So a hook keeps the last flows in places of its own, which it finds by the first words of the
//! headers, and counts there; what was counted is added to the entry when user space reads the tables,
//! at the latest when [`AGAIN_NS`] are over. Then the next packet goes the long way.
//!
//! Only this hook on this CPU uses a place. Who empties it ([`super::hook::settle`]) runs on the same CPU,
//! not while the hook does (`Work::busy`), and keeps it from using places meanwhile (`Work::closed`).

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use tracer_abi::{
    counter::Counter,
    entries,
    glimpse::{Glimpse, is_glimpsed},
    key::{DIR_IN, KeyWords},
    recent::{RECENT_COUNTED, RECENT_FREE, RECENT_UNWANTED, Recent},
};

use super::{
    account::Seen,
    conntrack,
    kmem::add,
    last::clock,
    maps::{FLOWS, count, count_many, each_packet, places, recent, snaplen, wanted_exist},
    work::{Hook, Work},
};

/// Dst memory is reused, and so is that of connections: a pointer that stayed the same is read again
/// after this time.
const AGAIN_NS: u64 = 500_000_000;

/// How large it is.
pub(super) struct Size {
    /// Bytes with the link header.
    pub(super) bytes: u32,
    pub(super) segs: u32,
}

/// Packets may take the short way: not if each is sent.
#[inline(always)]
pub(super) fn allowed() -> bool {
    !each_packet() && snaplen() == 0
}

/// A packet, as a hook first sees it.
pub(super) struct Sight {
    pub(super) hook: Hook,
    pub(super) glimpse: Glimpse,
}

impl Sight {
    /// Its place on this CPU.
    #[inline(always)]
    fn place(&self) -> u32 {
        const BITS: u32 = entries::RECENT_OF_HOOK.ilog2();
        let (k, hook) = (&self.glimpse.key, self.hook);
        let mixed = k[0] ^ k[1] ^ (k[2] ^ k[3]).rotate_left(32) ^ k[4] ^ k[6].rotate_left(16);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let of_hook = (mixed >> (64 - BITS)) as u32;
        // SAFETY: a helper without arguments.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        cpu * entries::RECENT + (hook as u32 & 1) * entries::RECENT_OF_HOOK + of_hook
    }

    /// Counts the packet, if its flow was seen moments ago and goes the way that it went then: by the dst
    /// entry and the connection that `now_by` says. False when it has to go the long way; there [`keep`]
    /// remembers it for the next one.
    #[inline(always)]
    pub(super) fn counted(
        &self,
        w: &mut Work,
        now_by: impl FnOnce(&mut Work) -> Option<(u64, u64)>,
        size: impl FnOnce() -> Size,
    ) -> bool {
        let (i, key) = (self.place(), &self.glimpse.key);
        let Some(p) = recent(i) else { return false };
        if w.is_closed() {
            return false;
        }
        if p.state == RECENT_FREE {
            w.glimpse = *key;
            w.place = i + 1;
            return false;
        }
        if differ(&p.key, key) {
            return false;
        }
        let Some((dst, nfct)) = now_by(w) else {
            return false;
        };
        let now = clock();
        let counted = p.state == RECENT_COUNTED;
        if (counted && p.dst != dst) || p.nfct != nfct || now > p.until_ns {
            tracer_settle_one(i);
            w.glimpse = *key;
            w.place = i + 1;
            return false;
        }
        if !counted {
            if wanted_exist() {
                return false;
            }
            count(Counter::Filtered);
            return true;
        }
        let size = size();
        p.packets += size.segs;
        p.bytes += u64::from(size.bytes);
        p.last_ns = now;
        p.tcp_flags |= self.glimpse.tcp_flags;
        let link = (key[7] >> 8) as u32;
        let mut len = size.bytes.wrapping_sub(link);
        if size.segs > 1 {
            p.joined += size.segs - 1;
            len /= size.segs;
        }
        if p.max_len < len {
            p.max_len = len;
        }
        w.hit = i + 1;
        true
    }
}

#[inline(always)]
fn differ(a: &KeyWords, b: &KeyWords) -> bool {
    let of = |i: usize| a[i] ^ b[i];
    let first = of(0) | of(2) | of(4) | of(6);
    first | of(1) | of(3) | of(5) | of(7) != 0
}

/// The packet in `w`, counted in the entry of `w.digest`: the next ones of its flow may take the short way.
#[inline(always)]
pub(super) fn keep(w: &mut Work, s: &Seen) {
    if w.place == 0 || !is_glimpsed(&w.packet, &w.glimpse) {
        return;
    }
    let undecided = w.undecided && s.dir == DIR_IN;
    fill(w, (s.dst, s.nfct), s.now, RECENT_COUNTED, undecided);
}

/// The filter does not want the packet in `w`, and will not want the next ones.
#[inline(always)]
pub(super) fn keep_unwanted(w: &mut Work, nfct: u64) {
    if w.place != 0 && is_glimpsed(&w.packet, &w.glimpse) {
        fill(w, (0, nfct), clock(), RECENT_UNWANTED, false);
    }
}

#[inline(always)]
fn fill(w: &mut Work, (dst, nfct): (u64, u64), now: u64, state: u16, undecided: bool) {
    // not before user space has shown that it empties the places of this CPU
    let (Some(p), Some(places)) = (recent(w.place.wrapping_sub(1)), places()) else {
        return;
    };
    if places.round == 0 {
        return;
    }
    places.taken += 1;
    *p = Recent {
        key: w.glimpse,
        digest: w.digest,
        dst,
        nfct: conntrack::entry(nfct),
        until_ns: now + AGAIN_NS,
        last_ns: now,
        bytes: 0,
        packets: 0,
        joined: 0,
        max_len: 0,
        tcp_flags: 0,
        undecided: u8::from(undecided),
        state,
    };
}

/// Adds what was counted in a place to the entry of its flow, and frees it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn tracer_settle_one(i: u32) -> u32 {
    let Some(p) = recent(i) else { return 0 };
    let counted = p.state == RECENT_COUNTED && p.packets != 0;
    p.state = RECENT_FREE;
    if !counted {
        return 0;
    }
    let entry = FLOWS.get_ptr_mut(&p.digest);
    // SAFETY: map values; the entry as in `account`.
    unsafe {
        let Some(e) = entry else {
            // user space took it out just now, as its last packet was long ago
            count_many(Counter::FlowsFull, u64::from(p.packets));
            return 0;
        };
        let v = &mut (*e).value;
        add(&mut v.packets, u64::from(p.packets));
        add(&mut v.bytes, p.bytes);
        if p.joined != 0 {
            add(&mut v.joined, u64::from(p.joined));
        }
        if v.last_ns < p.last_ns {
            v.last_ns = p.last_ns;
        }
        if v.max_len < p.max_len {
            v.max_len = p.max_len;
        }
        v.tcp_flags |= u32::from(p.tcp_flags);
    }
    1
}
