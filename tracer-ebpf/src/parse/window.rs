//! Packet bytes, a window at a time.

/// Bytes that one [`Load::load`] copies at most.
pub const WINDOW: u32 = 64;

/// A piece of the packet. The bytes behind the valid ones are zeros or stale, never out of bounds.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Window {
    /// [`WINDOW`] bytes and room for a read that starts in the last of them.
    pub bytes: [u8; WINDOW as usize + 16],
}

impl Default for Window {
    fn default() -> Self {
        Self {
            bytes: [0; WINDOW as usize + 16],
        }
    }
}

impl Window {
    /// Copies the bytes at `start + at` to their place `at`.
    ///
    /// # Safety
    /// They must be there, and the window must have room for them. (BPF loads words from everywhere.)
    #[inline(always)]
    pub unsafe fn take<T: Copy>(&mut self, at: usize, start: usize) {
        // SAFETY: by contract. Volatile, or one load for each byte is made of it.
        unsafe {
            let word = ((start + at) as *const T).read_volatile();
            self.bytes.as_mut_ptr().add(at).cast::<T>().write(word);
        }
    }
}

/// Where packet bytes come from.
pub trait Load {
    /// Copies up to [`WINDOW`] bytes that start `off` bytes behind the network header and returns
    /// how many are valid; 0 when nothing could be read.
    fn load(&self, off: u32, window: &mut Window) -> u32;
}

#[inline(always)]
pub(super) fn byte(w: &Window, at: u32) -> u8 {
    // SAFETY: the index is masked to 0..=63 and the window is 80 bytes long.
    unsafe { *w.bytes.as_ptr().add((at & 63) as usize) }
}

#[inline(always)]
pub(super) fn be16(w: &Window, at: u32) -> u16 {
    u16::from_be(load(w, at))
}

#[inline(always)]
pub(super) fn be32(w: &Window, at: u32) -> u32 {
    u32::from_be(load(w, at))
}

/// The words of an IPv4 address: zeros behind the first.
#[inline(always)]
pub(super) fn address4(w: &Window, at: u32) -> [u32; 4] {
    [load(w, at), 0, 0, 0]
}

#[inline(always)]
pub(super) fn address6(w: &Window, at: u32) -> [u32; 4] {
    load(w, at)
}

/// Reads at most 16 bytes. `at` is a constant everywhere, so that one of the branches is left: BPF has
/// no loads that may lie anywhere, and is given one for each byte where nothing better is known.
#[inline(always)]
fn load<T: Copy>(w: &Window, at: u32) -> T {
    const { assert!(size_of::<T>() <= 16) };
    // SAFETY: the index is masked to 0..=63 and the window is 80 bytes long.
    let p = unsafe { w.bytes.as_ptr().add((at & 63) as usize) }.cast::<T>();
    // SAFETY: as above; a window lies on a multiple of eight.
    unsafe {
        if (at as usize).is_multiple_of(align_of::<T>()) {
            p.read()
        } else {
            p.read_unaligned()
        }
    }
}
