//! What hooks read of a socket buffer.

use aya_ebpf::programs::TcContext;
use tracer_abi::{
    counter::Counter,
    flow::Outer,
    key::{ENCAP_KEY, ENCAP_NONE, Tuple},
    offset::{ABSENT, Off},
    parse::{ETH_IPV4, Packet, ParseError, Window, parse},
};

use super::{
    conntrack::entry,
    fragment,
    kmem::{Linear, ld, read_at},
    maps::{count, off, work_of},
    recent,
    wanted::{Wanted, accepted, wanted, wanted_dropped},
    work::{Hook, SKB_TAIL, SkbTail, Work},
};

/// Loopback has this number in every namespace (`LOOPBACK_IFINDEX`).
pub(super) const LOOPBACK: u32 = 1;

/// Device and namespace of a packet at a BTF tracepoint.
pub(super) struct Place {
    pub(super) ifindex: u32,
    pub(super) netns: u32,
}

/// Reads `dev->ifindex` and the inode of its namespace.
///
/// # Safety
/// `dev` must be a BTF pointer to a `net_device`.
#[inline(always)]
pub(super) unsafe fn place(dev: usize) -> Place {
    // SAFETY: by contract; the verifier checks the chain.
    unsafe {
        let net: usize = ld(dev, Off::DevNet);
        Place {
            ifindex: ld(dev, Off::DevIfindex),
            netns: ld(net, Off::NetInum),
        }
    }
}

/// Positions in the linear part, as offsets from `head`.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) head: u64,
    pub(super) data: u32,
    pub(super) tail: u32,
    pub(super) network: u32,
    pub(super) mac: u32,
}

impl Layout {
    /// At a BTF tracepoint.
    ///
    /// # Safety
    /// `skb` must be a BTF pointer to an `sk_buff`.
    #[inline(always)]
    pub(super) unsafe fn of(skb: usize) -> Self {
        // SAFETY: by contract.
        unsafe {
            let head: u64 = ld(skb, Off::SkbHead);
            let data: u64 = ld(skb, Off::SkbData);
            Self {
                head,
                data: data.wrapping_sub(head) as u32,
                tail: ld(skb, Off::SkbTail),
                network: u32::from(ld::<u16>(skb, Off::SkbNetworkHeader)),
                mac: u32::from(ld::<u16>(skb, Off::SkbMacHeader)),
            }
        }
    }

    /// The bytes from position `at` on.
    #[inline(always)]
    pub(super) fn linear(&self, at: u32) -> Linear {
        Linear {
            network: self.head + u64::from(at),
            len: self.tail.saturating_sub(at),
            ready: 0,
        }
    }
}

/// What a packet that leaves was decided by: `_skb_refdst` without its flag bits, and its connection. Read
/// through the context of a tc program, which is the address of the `sk_buff`.
#[inline(always)]
pub(super) fn decided_by(ctx: u64, bytes: &mut SkbTail) -> Option<(u64, u64)> {
    // they are neighbours
    const BOTH: usize = 24;
    let nfct = off(Off::SkbNfct);
    if nfct != ABSENT as usize && nfct.wrapping_sub(off(Off::SkbRefdst)) > BOTH - 8 {
        let skb = TcSkb::read(ctx, bytes)?;
        return Some((skb.refdst & !1, entry(skb.nfct)));
    }
    // SAFETY: `bytes` has more bytes.
    let read = unsafe {
        super::kmem::copy(
            bytes.0.as_mut_ptr(),
            BOTH as u32,
            ctx + off(Off::SkbRefdst) as u64,
        )
    };
    let dst: u64 = member(bytes, Off::SkbRefdst);
    let nfct = if nfct == ABSENT as usize {
        0
    } else {
        member(bytes, Off::SkbNfct)
    };
    read.then_some((dst & !1, entry(nfct)))
}

/// The part of `struct sk_buff` that a tc program reads in one go; its context gives the rest.
pub(super) struct TcSkb {
    pub(super) refdst: u64,
    /// `skb->_nfct`, 0 on a kernel without connection tracking.
    pub(super) nfct: u64,
    pub(super) layout: Layout,
}

impl TcSkb {
    /// Reads it through the context of a tc program, which is the address of the `sk_buff`.
    #[inline(always)]
    pub(super) fn read(ctx: u64, bytes: &mut SkbTail) -> Option<Self> {
        // SAFETY: `bytes` has SKB_TAIL bytes.
        let ok = unsafe {
            super::kmem::copy(
                bytes.0.as_mut_ptr(),
                SKB_TAIL as u32,
                ctx + off(Off::SkbRefdst) as u64,
            )
        };
        if !ok {
            return None;
        }
        let head: u64 = member(bytes, Off::SkbHead);
        let data: u64 = member(bytes, Off::SkbData);
        Some(Self {
            refdst: member(bytes, Off::SkbRefdst),
            nfct: if off(Off::SkbNfct) == ABSENT as usize {
                0
            } else {
                member(bytes, Off::SkbNfct)
            },
            layout: Layout {
                head,
                data: data.wrapping_sub(head) as u32,
                tail: member(bytes, Off::SkbTail),
                network: u32::from(member::<u16>(bytes, Off::SkbNetworkHeader)),
                mac: u32::from(member::<u16>(bytes, Off::SkbMacHeader)),
            },
        })
    }
}

/// Copies the first bytes behind the link header into the window, by loads instead of a helper's call.
/// Returns how many: as many as a parser needs, or 0 where the linear part has fewer.
#[inline(always)]
pub(super) fn peek(ctx: &TcContext, link: u32, ethertype: u16, window: &mut Window) -> u32 {
    // no link header is longer; in a form that the verifier follows
    let (start, end) = (ctx.data() + (link & 63) as usize, ctx.data_end());
    if link > 63 || start + 40 > end {
        return 0;
    }
    // SAFETY: what is copied ends where the comparison before it says, and within a window.
    unsafe {
        for at in [0, 8, 16, 24, 32] {
            window.take::<u64>(at, start);
        }
        if start + 48 > end {
            // with a header of 20 bytes, ports and TCP flags are among them
            return if ethertype == ETH_IPV4 { 40 } else { 0 };
        }
        window.take::<u64>(40, start);
        // as long as IPv6 and TCP together
        if start + 60 > end {
            return 48;
        }
        window.take::<u64>(48, start);
        window.take::<u32>(56, start);
        if start + 64 > end {
            return 60;
        }
        window.take::<u32>(60, start);
    }
    64
}

/// A member out of the bytes that start at `_skb_refdst`.
#[inline(always)]
fn member<T: Copy>(bytes: &SkbTail, o: Off) -> T {
    let at = off(o).wrapping_sub(off(Off::SkbRefdst));
    // SAFETY: user space refuses to load when a member lies outside; the verifier checks again. The
    // first member is a pointer, so that in this copy each member is aligned as in the original.
    unsafe { bytes.0.as_ptr().add(at).cast::<T>().read() }
}

/// Wire packets that this buffer stands for.
///
/// # Safety
/// `skb` must be a BTF pointer to an `sk_buff`.
#[inline(always)]
pub(super) unsafe fn segments(skb: usize, head: u64, len: u32) -> u32 {
    // SAFETY: by contract.
    unsafe {
        let data_len: u32 = ld(skb, Off::SkbDataLen);
        // one wire packet is linear or fits a frame: spare it the extra read
        if data_len == 0 && len <= 1500 {
            return 1;
        }
        let end: u32 = ld(skb, Off::SkbEnd);
        let segs: u16 = read_at(head + u64::from(end) + off(Off::SharedGsoSegs) as u64);
        if segs == 0 { 1 } else { u32::from(segs) }
    }
}

/// Parses the packet at `w.linear`, whose tunnel key is in `w`.
///
/// It takes numbers only and is exported, so that the verifier checks it once and by itself: inlined,
/// all paths through the parser would be multiplied with those behind it.
#[unsafe(no_mangle)]
extern "C" fn tracer_parse(hook: u32, ethertype: u32, netns: u32) -> u32 {
    let Some(w) = work_of(hook) else {
        return NOTHING;
    };
    let linear = w.linear;
    match parse_into(&linear, ethertype as u16, &mut w.window, &mut w.packet) {
        Ok(()) => {}
        Err(ParseError::NotIp) => {
            count(Counter::NotIp);
            return NOTHING;
        }
        Err(ParseError::Unreadable) => return UNREADABLE,
    }
    fragment::resolve(w, netns);
    name_tenant(w);
    PARSED
}

/// [`tracer_parse`]: not IP.
const NOTHING: u32 = 0;
/// [`tracer_parse`]: it is.
const PARSED: u32 = 1;
/// [`tracer_parse`]: its headers are cut, make no sense, or are not in the linear part.
const UNREADABLE: u32 = 2;

/// What a hook knows of a packet before its headers are read.
pub(super) struct Unparsed {
    pub(super) ethertype: u16,
    pub(super) netns: u32,
    /// `skb->_nfct`, or 0 where it is not known yet.
    pub(super) nfct: u64,
}

/// Parses the packet at `w.linear` and applies the filter. False when there is nothing to record; why
/// was counted.
///
/// A packet whose addresses are translated is wanted for either side of the translation, and an ICMP
/// error for the flow that it is about.
/// `elsewhere` points `w.linear` to the headers when they are not where they should be, if it can.
#[inline(always)]
pub(super) fn parse_wanted(
    hook: Hook,
    packet: &Unparsed,
    w: &mut Work,
    elsewhere: impl FnOnce(&mut Work) -> bool,
) -> bool {
    let hook = hook as u32;
    let Unparsed {
        ethertype,
        netns,
        nfct,
    } = *packet;
    w.error_only = false;
    let mut parsed = tracer_parse(hook, u32::from(ethertype), netns);
    if parsed == UNREADABLE && elsewhere(w) {
        parsed = tracer_parse(hook, u32::from(ethertype), netns);
    }
    if parsed == UNREADABLE {
        count(Counter::Unreadable);
    }
    if parsed != PARSED {
        return false;
    }
    if accepted(hook, netns, w) {
        return true;
    }
    match wanted(hook, nfct, netns, &w.packet) {
        Wanted::Translated => true,
        Wanted::Error => {
            w.error_only = true;
            true
        }
        Wanted::Not => {
            count(Counter::Filtered);
            recent::keep_unwanted(w, nfct);
            false
        }
    }
}

/// The same for a packet that was dropped; one that cannot be read is kept with an empty tuple: a
/// loss is a loss.
#[inline(always)]
pub(super) fn parse_dropped(packet: &Unparsed, w: &mut Work) -> bool {
    let hook = Hook::KfreeSkb as u32;
    let netns = packet.netns;
    tracer_parse_dropped(hook, u32::from(packet.ethertype), netns) == 0
        || accepted(hook, netns, w)
        || wanted_dropped(hook, packet.nfct, netns)
}

/// Returns 1 when it can be read.
#[unsafe(no_mangle)]
extern "C" fn tracer_parse_dropped(hook: u32, ethertype: u32, netns: u32) -> u32 {
    let Some(w) = work_of(hook) else { return 0 };
    let linear = w.linear;
    if parse_into(&linear, ethertype as u16, &mut w.window, &mut w.packet).is_err() {
        w.packet.tuple = Tuple::default();
        w.packet.outer = Outer::default();
        return 0;
    }
    fragment::resolve(w, netns);
    1
}

/// Puts the tunnel key that the packet carries into its tuple, unless it is encapsulated.
///
/// Volatile, so that what follows reads the tuple again: with a register of which the verifier knows
/// something after this branch it would go through the filter several times.
#[inline(always)]
fn name_tenant(w: &mut Work) {
    let t = &mut w.packet.tuple;
    // SAFETY: references.
    unsafe {
        let key = core::ptr::read_volatile(&raw const w.tunnel_key);
        if key != 0 && core::ptr::read_volatile(&raw const t.encap) == ENCAP_NONE {
            core::ptr::write_volatile(&raw mut t.encap, ENCAP_KEY);
            core::ptr::write_volatile(&raw mut t.vni, key);
        }
    }
}

/// [`parse`] with the outer header cleared first.
#[inline(always)]
pub(super) fn parse_into(
    linear: &Linear,
    ethertype: u16,
    window: &mut Window,
    packet: &mut Packet,
) -> Result<(), ParseError> {
    packet.outer.family = 0;
    parse(linear, ethertype, window, packet)
}
