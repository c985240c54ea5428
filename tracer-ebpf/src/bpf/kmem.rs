//! Reads of kernel memory.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_abi::{
    offset::Off,
    parse::{Load, WINDOW, Window},
};

use super::maps::off;

/// Loads a member through a pointer that the verifier knows by its BTF type. A bad address reads
/// as zero.
///
/// # Safety
/// `p` must come from a tracepoint argument or from another `ld`, and `T` must be the member's
/// exact type (the verifier checks both).
#[inline(always)]
pub(super) unsafe fn ld<T: Copy>(p: usize, o: Off) -> T {
    // SAFETY: the verifier checks the access against BTF.
    unsafe { core::ptr::read_volatile((p + off(o)) as *const T) }
}

/// A copy of which the verifier knows nothing, because it has been in a map. It forbids to reckon with
/// pointers unless it forgot that they are; and what it learns of the copy in a branch does not stay
/// with the original, which would make it go through all that follows once more.
#[inline(always)]
pub(super) fn forgotten(value: u64, in_map: &mut u64) -> u64 {
    // SAFETY: a reference; volatile, or the compiler would leave the detour out.
    unsafe {
        core::ptr::write_volatile(in_map, value);
        core::ptr::read_volatile(in_map)
    }
}

/// Reads a member through a plain number, for pointers that lost their type (masked, from a map).
#[inline(always)]
pub(super) fn read<T: Copy + Default>(p: u64, o: Off) -> T {
    read_at(p + off(o) as u64)
}

/// Reads at a plain address; zero when it is not readable.
#[inline(always)]
pub(super) fn read_at<T: Copy + Default>(address: u64) -> T {
    let mut v = T::default();
    // SAFETY: the helper writes size_of::<T>() bytes into `v` or fails and leaves zeros.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut v).cast::<c_void>(),
            size_of::<T>() as u32,
            address as *const c_void,
        );
    }
    v
}

/// Copies `len` bytes (a constant) from a plain address; false when they are not readable.
///
/// # Safety
/// `to` must be writable for `len` bytes.
#[inline(always)]
pub(super) unsafe fn copy(to: *mut u8, len: u32, address: u64) -> bool {
    // SAFETY: by contract of this function.
    unsafe { bpf_probe_read_kernel(to.cast::<c_void>(), len, address as *const c_void) == 0 }
}

/// Adds to a counter in a map value, atomically towards the other CPUs.
#[inline(always)]
pub(super) fn add(counter: &mut u64, n: u64) {
    // SAFETY: an aligned u64 behind a unique-per-CPU reference; others only add to it as well.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(
            counter, n,
        );
    }
}

/// Packet bytes in the linear part of a socket buffer.
#[derive(Clone, Copy)]
pub(super) struct Linear {
    /// Address of the network header.
    pub(super) network: u64,
    /// Bytes of the linear part behind it.
    pub(super) len: u32,
    /// As many bytes of them are in the window already; 0 for none.
    pub(super) ready: u32,
}

impl Load for Linear {
    #[inline(always)]
    fn load(&self, offset: u32, window: &mut Window) -> u32 {
        // the headers are read from their start only once
        if offset == 0 && self.ready != 0 {
            return self.ready;
        }
        if offset >= self.len {
            return 0;
        }
        // Always a whole window: behind the linear part lie tailroom and skb_shared_info, so the
        // read is valid memory; how much of it is packet is said by the return value.
        // SAFETY: a window has room for WINDOW bytes.
        if !unsafe {
            copy(
                window.bytes.as_mut_ptr(),
                WINDOW,
                self.network + u64::from(offset),
            )
        } {
            return 0;
        }
        let n = self.len - offset;
        if n > WINDOW { WINDOW } else { n }
    }
}
