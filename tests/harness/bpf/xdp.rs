//! Other people's XDP programs: they see packets before anything that tracer can see.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use super::{LINK_CREATE, bpf_fd, counted, create_map, insn, load_as};
use crate::Netns;

const PROG_TYPE_XDP: u32 = 6;
/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_XDP: u32 = 37;

/// Where XDP runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the stack, when there is a socket buffer already (`XDP_FLAGS_SKB_MODE`).
    Generic = 2,
    /// In the driver (`XDP_FLAGS_DRV_MODE`).
    Native = 4,
}

/// What it answers (`enum xdp_action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `XDP_DROP`
    Drop = 1,
    /// `XDP_PASS`
    Pass = 2,
    /// `XDP_TX`: back out of the device that it came in by.
    Back = 3,
}

/// A foreign XDP program that counts packets of one length and answers them; all others pass.
/// Detached when dropped.
#[derive(Debug)]
pub struct Xdp {
    map: OwnedFd,
    // detaches when closed
    _link: OwnedFd,
}

impl Xdp {
    /// Attaches it to `dev` of `ns`. `length` includes the Ethernet header.
    pub fn attach(ns: &Netns, dev: &str, mode: Mode, length: i32, action: Action) -> Result<Self> {
        let map = create_map().context("cannot make the map of an XDP program")?;
        let program = load_as(
            PROG_TYPE_XDP,
            "foreign",
            &program(map.as_raw_fd(), length, action as i32),
        )
        .context("cannot load an XDP program")?;
        // {prog_fd, target_ifindex, attach_type, flags}
        let mut attr = [
            program.as_raw_fd() as u32,
            ns.ifindex(dev)?,
            ATTACH_XDP,
            mode as u32,
            0,
            0,
            0,
            0,
        ];
        let link = ns
            .run(|| bpf_fd(LINK_CREATE, &mut attr))?
            .with_context(|| format!("cannot attach an XDP program to {dev} ({mode:?})"))?;
        Ok(Self { map, _link: link })
    }

    /// Packets of the length, since it was attached.
    pub fn packets(&self) -> Result<u64> {
        counted(&self.map)
    }
}

/// `if (data_end - data == LENGTH) { counter += 1; return ACTION; } return XDP_PASS;`
fn program(map: i32, length: i32, action: i32) -> Vec<u64> {
    vec![
        insn(0x61, 6, 1, 4, 0),       // r6 = ctx->data_end
        insn(0x61, 7, 1, 0, 0),       // r7 = ctx->data
        insn(0x1f, 6, 7, 0, 0),       // r6 -= r7
        insn(0x55, 6, 0, 11, length), // if r6 != length goto pass
        insn(0x62, 10, 0, -4, 0),     // *(u32 *)(fp - 4) = 0
        insn(0xbf, 2, 10, 0, 0),      // r2 = fp
        insn(0x07, 2, 0, 0, -4),      // r2 -= 4
        insn(0x18, 1, 1, 0, map),     // r1 = map, two slots
        insn(0, 0, 0, 0, 0),
        insn(0x85, 0, 0, 0, 1), // r0 = bpf_map_lookup_elem(r1, r2)
        insn(0x15, 0, 0, 4, 0), // if r0 == 0 goto pass
        insn(0xb7, 1, 0, 0, 1), // r1 = 1
        insn(0xdb, 0, 1, 0, 0), // lock *(u64 *)r0 += r1
        insn(0xb7, 0, 0, 0, action),
        insn(0x95, 0, 0, 0, 0),                   // exit
        insn(0xb7, 0, 0, 0, Action::Pass as i32), // pass:
        insn(0x95, 0, 0, 0, 0),
    ]
}
