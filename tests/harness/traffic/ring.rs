//! Frames sent from a ring that the sender shares with the kernel (`PACKET_TX_RING`, packet(7)): their
//! headers are in pages, not in the linear part of the buffer.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};

use super::burst;
use crate::Netns;

const BLOCK: u32 = 1 << 16;
const SLOT: u32 = 1 << 11;
/// Bytes of a place behind its header of version 1 (`TPACKET_HDRLEN - sizeof(struct sockaddr_ll)`).
const ROOM: usize = SLOT as usize - 32;

/// A place of the ring.
#[repr(C)]
struct Place {
    /// `tp_status` of `struct tpacket_hdr`.
    status: AtomicU64,
    /// `tp_len`.
    length: u32,
    rest: [u8; 20],
    frame: [u8; ROOM],
}

const _: () = assert!(size_of::<Place>() == SLOT as usize);

/// Sends all of `frames` by `dev` of `ns`.
pub fn send(ns: &Netns, dev: &str, frames: &[Vec<u8>]) -> Result<()> {
    let fd = burst::socket(ns, dev)?;
    let places = usize::try_from(BLOCK / SLOT)?;
    ensure!(frames.len() <= places, "the ring has {places} places");
    let request = libc::tpacket_req {
        tp_block_size: BLOCK,
        tp_block_nr: 1,
        tp_frame_size: SLOT,
        tp_frame_nr: BLOCK / SLOT,
    };
    // SAFETY: the pointer and the length describe `request`.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_TX_RING,
            (&raw const request).cast(),
            libc::socklen_t::try_from(size_of_val(&request))?,
        )
    };
    ensure!(
        result == 0,
        "cannot make a ring: {}",
        io::Error::last_os_error()
    );
    let size = usize::try_from(BLOCK)?;
    // SAFETY: a new mapping of the ring; the kernel checks the arguments.
    let ring = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd.as_raw_fd(),
            0,
        )
    };
    ensure!(
        ring != libc::MAP_FAILED,
        "cannot map the ring: {}",
        io::Error::last_os_error()
    );
    for (number, frame) in frames.iter().enumerate() {
        ensure!(frame.len() <= ROOM, "a frame of {} bytes", frame.len());
        // SAFETY: the mapping is an array of places, of which `number` is one; the kernel looks at it
        // when the status says so, which is written last.
        unsafe {
            let place = ring.cast::<Place>().add(number);
            let to = (&raw mut (*place).frame).cast::<u8>();
            std::ptr::copy_nonoverlapping(frame.as_ptr(), to, frame.len());
            (*place).length = u32::try_from(frame.len())?;
            let status = u64::from(libc::TP_STATUS_SEND_REQUEST);
            (*place).status.store(status, Ordering::Release);
        }
    }
    // SAFETY: no data beside the ring; it waits until all of it is sent.
    let sent = unsafe { libc::send(fd.as_raw_fd(), std::ptr::null(), 0, 0) };
    let error = io::Error::last_os_error();
    // SAFETY: the mapping made above, which nothing refers to any more.
    unsafe { libc::munmap(ring, size) };
    let all: usize = frames.iter().map(Vec::len).sum();
    ensure!(sent >= 0, "cannot send the ring: {error}");
    ensure!(
        usize::try_from(sent)? == all,
        "{sent} of {all} bytes were sent"
    );
    Ok(())
}
