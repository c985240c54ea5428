//! A lookup that asks for the same as the one before it in its place, and finds the same: what routing does
//! for packet after packet of a flow. Nothing of it has to be written down but its time.

use tracer_abi::{key::FAMILY_IPV4, offset::Off, route::LookupSlot};

use super::{
    kmem::ld,
    last::{clock, set_last_lookup},
    lookup::index4,
    maps::lookup_slot,
};

/// `AF_INET` of `linux/socket.h`.
const AF_INET: u8 = 2;

/// A lookup of IPv4 for a packet that came in and that has a next hop.
pub(super) struct Found4 {
    /// `flowi4` and `fib_nh_common`, as BTF pointers.
    pub(super) flow: usize,
    pub(super) nhc: usize,
    pub(super) netns: u32,
    pub(super) iif: u32,
    pub(super) table: u32,
    pub(super) oif: u32,
    pub(super) errno: u32,
    pub(super) tos: u8,
    /// Destination and source port.
    pub(super) ports: (u16, u16),
}

impl Found4 {
    /// Renews the lookup in its place when that is all there is to do. Else false, and nothing is done.
    ///
    /// # Safety
    /// Both pointers must be what they are said to be, and `nhc` not NULL.
    #[inline(always)]
    pub(super) unsafe fn is_repeated(&self) -> bool {
        let flow = self.flow;
        // SAFETY: by contract; a place of this CPU (see `lookup::keep`).
        unsafe {
            let (saddr, daddr): (u32, u32) = (ld(flow, Off::Flow4Saddr), ld(flow, Off::Flow4Daddr));
            let i = index4(saddr, daddr, self.iif);
            let Some(place) = lookup_slot(false, i) else {
                return false;
            };
            let s = &*place;
            let first = |a: &[u8; 16]| tracer_abi::key::words(a)[0];
            let asked = (first(&s.saddr) ^ saddr)
                | (first(&s.daddr) ^ daddr)
                | (s.iif ^ self.iif)
                | (s.netns ^ self.netns)
                | (s.mark ^ ld::<u32>(flow, Off::FlowMark))
                | (s.uid ^ ld::<u32>(flow, Off::FlowUid))
                | (s.bound ^ ld::<i32>(flow, Off::FlowOif) as u32);
            let kinds = (s.family ^ FAMILY_IPV4)
                | (s.proto ^ ld::<u8>(flow, Off::FlowProto))
                | (s.tos ^ self.tos)
                | s.by_program
                | s.reversed;
            let found = (s.table ^ self.table) | (s.oif ^ self.oif) | (s.errno ^ self.errno);
            if asked | found | u32::from(kinds) != 0 || s.task != 0 || s.ts_ns == 0 {
                return false;
            }
            self.has_gateway(s) && self.renew(place, i)
        }
    }

    /// The memory of a next hop is reused, so that its address alone does not say that it is the same.
    #[inline(always)]
    unsafe fn has_gateway(&self, s: &LookupSlot) -> bool {
        if s.nhc != self.nhc as u64 {
            return false;
        }
        // SAFETY: by contract of the caller.
        unsafe {
            match ld::<u8>(self.nhc, Off::NhcGwFamily) {
                0 => s.gw_family == 0,
                AF_INET => {
                    s.gw_family == FAMILY_IPV4
                        && tracer_abi::key::words(&s.gateway)[0] == ld(self.nhc, Off::NhcGw)
                }
                _ => false,
            }
        }
    }

    /// The ports are those of the packet that left by the lookup before.
    #[inline(always)]
    unsafe fn renew(&self, place: *mut LookupSlot, i: u32) -> bool {
        // SAFETY: a place of this CPU.
        unsafe {
            ((*place).dport, (*place).sport) = self.ports;
            (&raw mut (*place).ts_ns).write_volatile(clock());
        }
        set_last_lookup(false, i);
        true
    }
}
