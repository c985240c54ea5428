//! The tunnel key that a packet carries beside itself on collect-metadata devices, where nothing in
//! its bytes tells two VNIs apart.
//!
//! Receiving, the key is in the metadata dst that the tunnel device attaches. Routing replaces that
//! dst, so it is kept until the packet leaves, which it does on the same CPU. Sending, it is in the
//! route (`encap ip id …`) or in a metadata dst that a program attached (`bpf_skb_set_tunnel_key`).

use tracer_abi::{offset::Off, route::CarriedKey};

use super::{
    dst::{DST_METADATA, KERNEL, lwtunnel_key},
    kmem::{forgotten, read},
    maps::{carried, is_tunnel},
    work::Work,
};

/// `METADATA_IP_TUNNEL` of `net/dst_metadata.h`.
const METADATA_IP_TUNNEL: u32 = 0;
/// A packet that is older has left, and the memory is another's now.
const MAX_AGE_NS: u64 = 100_000_000;

/// The key of a metadata dst; 0 when it is none, or has none.
#[inline(always)]
fn of_metadata(dst: u64) -> u32 {
    if read::<u16>(dst, Off::DstFlags) & DST_METADATA == 0
        || read::<u32>(dst, Off::MetadataType) != METADATA_IP_TUNNEL
    {
        return 0;
    }
    u64::from_be(read(dst, Off::MetadataKeyId)) as u32
}

/// Puts the key that a packet arrives with into `w`, and keeps it. Costs nothing for packets without
/// a dst, which are all but those of such devices.
#[inline(always)]
pub(super) fn arrives(skb: u64, w: &mut Work, (dst, ifindex): (u64, u32), now: u64) {
    w.tunnel_key = 0;
    // devices with a VNI of their own attach metadata too, once some route has a tunnel
    if dst < KERNEL || !is_tunnel(ifindex) {
        return;
    }
    let key = of_metadata(dst);
    if key == 0 {
        return;
    }
    w.tunnel_key = key;
    let skb = forgotten(skb, &mut w.scratch);
    if let Some(slot) = carried(skb) {
        // SAFETY: this CPU's own element.
        unsafe {
            *slot = CarriedKey {
                skb,
                ts_ns: now,
                ifindex,
                key,
            };
        }
    }
}

/// Puts the key that a packet leaves with, or came in with by a device that has such, into `w`.
#[inline(always)]
pub(super) fn leaves(skb: u64, w: &mut Work, (dst, (ifindex, iif)): (u64, (u32, u32)), now: u64) {
    w.tunnel_key = 0;
    let dst = forgotten(dst, &mut w.scratch);
    let iif = forgotten(u64::from(iif), &mut w.scratch) as u32;
    if is_tunnel(ifindex) {
        let key = of_metadata(dst);
        w.tunnel_key = if key == 0 { lwtunnel_key(dst) } else { key };
        return;
    }
    if iif == 0 || !is_tunnel(iif) {
        return;
    }
    let skb = forgotten(skb, &mut w.scratch);
    let Some(slot) = carried(skb) else { return };
    // SAFETY: this CPU's own element; it is only read here.
    let slot = unsafe { &*slot };
    let same = slot.skb == skb && slot.ifindex == iif;
    if same && now.wrapping_sub(slot.ts_ns) < MAX_AGE_NS {
        w.tunnel_key = slot.key;
    }
}
