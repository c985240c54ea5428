//! Translated addresses, from the packet's connection tracking entry.
//!
//! The entry is known where packets leave and where they are dropped, not where they come in:
//! connection tracking runs after `netif_receive_skb`.

use aya_ebpf::bindings::BPF_ANY;
use tracer_abi::{
    counter::Counter,
    key::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP, Tuple, words},
    nat::{NAT_ORIGINAL, NAT_RELATED, NAT_REPLY, Nat},
    offset::{ABSENT, Off},
    parse::{Packet, icmp_about},
};

use super::{
    kmem::{copy, read},
    maps::{WANTED, count, filter, note_wanted, off, work_of},
};

/// Both `nf_conntrack_tuple_hash` of a connection; user space checks that it reads no further.
pub(super) const CT_BYTES: usize = 112;

/// Memory for them.
#[repr(C, align(8))]
pub(super) struct Tuples([u8; CT_BYTES]);

/// Lower bound of kernel addresses.
const KERNEL: u64 = 1 << 63;
/// `NFCT_INFOMASK`: `enum ip_conntrack_info` in the lowest bits of `skb->_nfct`.
const INFO: u64 = 7;
/// `IP_CT_RELATED`.
const RELATED: u64 = 1;
/// `IP_CT_IS_REPLY`; this and above are answers.
const IS_REPLY: u64 = 3;
/// `IP_CT_RELATED_REPLY`.
const RELATED_REPLY: u64 = 4;
/// `IPS_SRC_NAT | IPS_DST_NAT`: set only when an address or port really differs.
const IPS_NAT: u32 = 0x30;

/// The part of `skb->_nfct` that names the connection.
#[inline(always)]
pub(super) fn entry(nfct: u64) -> u64 {
    nfct & !INFO
}

#[inline(always)]
fn same(a: [u32; 4], b: [u32; 4]) -> bool {
    ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) == 0
}

/// Source and destination of a packet as words in memory order.
#[inline(always)]
fn ends(t: &Tuple) -> ([u32; 4], [u32; 4]) {
    // SAFETY: the addresses of a tuple are aligned.
    unsafe { (words(&t.saddr), words(&t.daddr)) }
}

/// Whether both say the same.
#[inline(always)]
pub(super) fn equal(a: &Nat, b: &Nat) -> bool {
    a.flags == b.flags
        && a.sport == b.sport
        && a.dport == b.dport
        && same(a.addresses().0, b.addresses().0)
        && same(a.addresses().1, b.addresses().1)
}

/// Reads both tuples; false when nothing is translated.
#[inline(always)]
fn load(nfct: u64, bytes: &mut Tuples) -> bool {
    if off(Off::CtStatus) == ABSENT as usize {
        return false;
    }
    let ct = entry(nfct);
    if ct < KERNEL || read::<u32>(ct, Off::CtStatus) & IPS_NAT == 0 {
        return false;
    }
    let at = ct + off(Off::CtTuplehash) as u64;
    // SAFETY: `bytes` has CT_BYTES bytes.
    unsafe { copy(bytes.0.as_mut_ptr(), CT_BYTES as u32, at) }
}

/// One of the two tuples: `struct nf_conntrack_tuple`, addresses and ports in network byte order.
#[derive(Clone, Copy)]
struct Way {
    at: *const u8,
}

impl Way {
    /// The tuple in which packets of this direction come in.
    #[inline(always)]
    fn of(bytes: &Tuples, reply: bool) -> Self {
        let second = if reply { off(Off::CtTuplehashSize) } else { 0 };
        // SAFETY: user space refuses offsets outside of `bytes`; the verifier checks again.
        let at = unsafe { bytes.0.as_ptr().add(off(Off::CtTuple) + second) };
        Self { at }
    }

    #[inline(always)]
    fn member<T: Copy>(self, o: usize) -> T {
        // SAFETY: as above; user space checks that words lie on multiples of four.
        unsafe { self.at.add(o).cast::<T>().read() }
    }

    #[inline(always)]
    fn src(self) -> [u32; 4] {
        self.member(0)
    }

    #[inline(always)]
    fn dst(self) -> [u32; 4] {
        self.member(off(Off::CtDst))
    }

    /// Source port, or the identifier of an echo.
    #[inline(always)]
    fn sport(self) -> u16 {
        u16::from_be(self.member(off(Off::CtSrcPort)))
    }

    /// Destination port, or type and code of an echo.
    #[inline(always)]
    fn dport(self) -> u16 {
        u16::from_be(self.member(off(Off::CtDstPort)))
    }

    #[inline(always)]
    fn fill(self, nat: &mut Nat, proto: u8, flags: u8) {
        nat.set_addresses(self.src(), self.dst());
        (nat.sport, nat.dport) = if has_ports(proto) || is_icmp(proto) {
            (self.sport(), self.dport())
        } else {
            (0, 0)
        };
        nat.flags = flags;
    }
}

#[inline(always)]
fn has_ports(proto: u8) -> bool {
    proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP
}

#[inline(always)]
fn is_icmp(proto: u8) -> bool {
    proto == PROTO_ICMP || proto == PROTO_ICMPV6
}

/// The addresses in which the packet came in, when this node has translated it since; `flags` is
/// 0 otherwise. `t` are its addresses now.
#[inline(always)]
pub(super) fn came(nfct: u64, bytes: &mut Tuples, t: &Tuple, nat: &mut Nat) {
    nat.flags = 0;
    if !load(nfct, bytes) {
        return;
    }
    let info = nfct & INFO;
    let reply = info >= IS_REPLY;
    let (mine, other) = (Way::of(bytes, reply), Way::of(bytes, !reply));
    if info == RELATED || info == RELATED_REPLY {
        related(mine, other, t, nat);
        return;
    }
    // what is not as connection tracking sends it was changed by somebody else
    let (src, dst) = ends(t);
    if !same(src, other.dst()) || !same(dst, other.src()) {
        return;
    }
    if t.later_fragment == 0 {
        let agree = if is_icmp(t.proto) {
            t.sport == other.sport()
        } else {
            !has_ports(t.proto) || (t.sport == other.dport() && t.dport == other.sport())
        };
        if !agree {
            return;
        }
    }
    let flags = if reply { NAT_REPLY } else { NAT_ORIGINAL };
    mine.fill(nat, t.proto, flags);
}

/// An ICMP error is translated address by address: who sent it need not be an end.
#[inline(always)]
fn related(mine: Way, other: Way, t: &Tuple, nat: &mut Nat) {
    let (src, dst) = ends(t);
    if !same(dst, other.src()) {
        return;
    }
    let came_src = if same(src, other.dst()) {
        mine.src()
    } else {
        src
    };
    nat.set_addresses(came_src, mine.dst());
    (nat.sport, nat.dport) = (t.sport, t.dport);
    if !same(mine.dst(), dst) || !same(came_src, src) {
        nat.flags = NAT_RELATED;
    }
}

/// The original tuple of the connection of a packet that was dropped; it may be translated, half
/// translated or not yet. `flags` say its direction, 0 for none.
#[inline(always)]
pub(super) fn original(nfct: u64, bytes: &mut Tuples, t: &Tuple, nat: &mut Nat) {
    nat.flags = 0;
    if !load(nfct, bytes) {
        return;
    }
    let info = nfct & INFO;
    if info == RELATED || info == RELATED_REPLY {
        return;
    }
    let reply = info >= IS_REPLY;
    let (mine, other) = (Way::of(bytes, reply), Way::of(bytes, !reply));
    let (src, dst) = ends(t);
    if (same(src, other.dst()) || same(src, mine.src()))
        && (same(dst, other.src()) || same(dst, mine.dst()))
    {
        let flags = if reply { NAT_REPLY } else { NAT_ORIGINAL };
        Way::of(bytes, false).fill(nat, t.proto, flags);
    }
}

/// [`tracer_icmp_error`] for a packet that can be one; 0 when it is none, or is encapsulated.
#[inline(always)]
pub(super) fn error_of(hook: u32, p: &Packet) -> u32 {
    if p.outer.family == 0 && is_icmp(p.tuple.proto) {
        tracer_icmp_error(hook)
    } else {
        0
    }
}

/// Parses what an ICMP error is about into `w.about` and `w.error`; 0 when the packet is none.
#[unsafe(no_mangle)]
pub(super) extern "C" fn tracer_icmp_error(hook: u32) -> u32 {
    let Some(w) = work_of(hook) else {
        return 0;
    };
    match icmp_about(&w.linear, &w.packet, &mut w.window, &mut w.about) {
        Some(error) => {
            w.error = error;
            1
        }
        None => 0,
    }
}

/// Reads the addresses in which the packet came in into `w.nat` (`flags` 0 when nothing was
/// translated), and remembers both tuples of the connection when a filter is set: so that its
/// packets are taken also where the filter would not want them. Returns 1 when translated.
#[unsafe(no_mangle)]
pub(super) extern "C" fn tracer_translation(hook: u32, nfct: u64, netns: u32) -> u32 {
    let Some(w) = work_of(hook) else {
        return 0;
    };
    came(nfct, &mut w.ct, &w.packet.tuple, &mut w.nat);
    if w.nat.flags == 0 {
        w.nat = Nat::default();
        return 0;
    }
    if w.nat.flags == NAT_RELATED || filter().is_none_or(|f| f.len == 0) {
        return 1;
    }
    w.view = w.packet.tuple;
    w.nat.put(&mut w.view);
    w.wanted.fill(&w.view, netns);
    let mut full = WANTED
        .insert(&w.wanted, &w.now, u64::from(BPF_ANY))
        .is_err();
    w.wanted.fill(&w.packet.tuple, netns);
    full |= WANTED
        .insert(&w.wanted, &w.now, u64::from(BPF_ANY))
        .is_err();
    if full {
        count(Counter::WantedFull);
    }
    note_wanted();
    1
}
