//! What hooks read of a socket buffer.

use tracer_abi::{
    counter::Counter,
    offset::Off,
    parse::{Packet, ParseError, Window, parse},
};

use super::{
    kmem::{Linear, ld, read_at},
    maps::{count, filter, off},
    work::{SKB_TAIL, Work},
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
        }
    }
}

/// The part of `struct sk_buff` that a tc program reads in one go; its context gives the rest.
pub(super) struct TcSkb {
    pub(super) refdst: u64,
    pub(super) layout: Layout,
}

impl TcSkb {
    /// Reads it through the context of a tc program, which is the address of the `sk_buff`.
    #[inline(always)]
    pub(super) fn read(ctx: u64, bytes: &mut [u8; SKB_TAIL]) -> Option<Self> {
        // SAFETY: `bytes` has SKB_TAIL bytes.
        let ok = unsafe {
            super::kmem::copy(
                bytes.as_mut_ptr(),
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

/// A member out of the bytes that start at `_skb_refdst`.
#[inline(always)]
fn member<T: Copy>(bytes: &[u8; SKB_TAIL], o: Off) -> T {
    let at = off(o).wrapping_sub(off(Off::SkbRefdst));
    // SAFETY: user space refuses to load when a member lies outside; the verifier checks again.
    unsafe { bytes.as_ptr().add(at).cast::<T>().read_unaligned() }
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

/// Parses the packet and applies the filter. False when there is nothing to record; why was
/// counted.
#[inline(always)]
pub(super) fn parse_wanted(linear: &Linear, ethertype: u16, w: &mut Work) -> bool {
    match parse_into(linear, ethertype, &mut w.window, &mut w.packet) {
        Ok(()) => {}
        Err(ParseError::NotIp) => {
            count(Counter::NotIp);
            return false;
        }
        Err(ParseError::Unreadable) => {
            count(Counter::Unreadable);
            return false;
        }
    }
    if wanted(&w.packet) {
        return true;
    }
    count(Counter::Filtered);
    false
}

/// The filter accepts the packet or its reverse.
#[inline(always)]
pub(super) fn wanted(p: &Packet) -> bool {
    match filter() {
        Some(f) if f.len != 0 => f.accepts(&p.tuple, &p.outer),
        _ => true,
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
