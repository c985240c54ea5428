//! Programs that do nothing, where tracer has programs: what no tracer can cost less than.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use super::{Hook, Place, bpf_fd, insn, link, load, load_as};
use crate::Netns;

const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
/// `TCX_NEXT`
const NEXT: i32 = -1;

/// Where tracer has programs that run for each forwarded packet.
const TRACEPOINTS: [&std::ffi::CStr; 4] = [
    c"netif_receive_skb",
    c"fib_table_lookup",
    c"fib6_table_lookup",
    c"kfree_skb",
];

/// The programs, attached until this is dropped.
#[derive(Debug)]
pub struct Floor {
    _tracepoints: Vec<OwnedFd>,
    _devices: Vec<OwnedFd>,
    // open, so that their runs can be read
    _programs: [OwnedFd; 2],
}

impl Floor {
    /// `empty_tp` at each tracepoint, and `empty_tc` first at the tcx egress of each of `devices`.
    pub fn attach(ns: &Netns, devices: &[&str]) -> Result<Self> {
        let empty = |answer| [insn(0xb7, 0, 0, 0, answer), insn(0x95, 0, 0, 0, 0)];
        let raw = load_as(PROG_TYPE_RAW_TRACEPOINT, "empty_tp", &empty(0))?;
        let mut tracepoints = Vec::new();
        for name in TRACEPOINTS {
            // name {prog_fd, -}
            let mut attr = [name.as_ptr() as u64, u64::from(raw.as_raw_fd() as u32)];
            let open = bpf_fd(RAW_TRACEPOINT_OPEN, &mut attr);
            tracepoints.push(open.with_context(|| format!("cannot attach to {name:?}"))?);
        }
        let tc = load("empty_tc", &empty(NEXT))?;
        let devices = devices.iter().copied();
        let devices = devices.map(|dev| link(ns, dev, (Hook::Egress, Place::First), &tc));
        Ok(Self {
            _tracepoints: tracepoints,
            _devices: devices.collect::<Result<_>>()?,
            _programs: [raw, tc],
        })
    }
}
