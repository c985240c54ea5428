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
    // SAFETY: at most byte 64 of 80 is read.
    u16::from_be(unsafe {
        w.bytes
            .as_ptr()
            .add((at & 63) as usize)
            .cast::<u16>()
            .read_unaligned()
    })
}

#[inline(always)]
pub(super) fn be32(w: &Window, at: u32) -> u32 {
    // SAFETY: at most byte 66 of 80 is read.
    u32::from_be(unsafe {
        w.bytes
            .as_ptr()
            .add((at & 63) as usize)
            .cast::<u32>()
            .read_unaligned()
    })
}

#[inline(always)]
pub(super) fn address4(w: &Window, at: u32) -> [u8; 16] {
    let mut a = [0u8; 16];
    // SAFETY: at most byte 66 of 80 is read and four bytes of `a` are written.
    unsafe {
        a.as_mut_ptr().cast::<u32>().write_unaligned(
            w.bytes
                .as_ptr()
                .add((at & 63) as usize)
                .cast::<u32>()
                .read_unaligned(),
        );
    }
    a
}

#[inline(always)]
pub(super) fn address6(w: &Window, at: u32) -> [u8; 16] {
    // SAFETY: at most byte 78 of 80 is read.
    unsafe {
        w.bytes
            .as_ptr()
            .add((at & 63) as usize)
            .cast::<[u8; 16]>()
            .read_unaligned()
    }
}
