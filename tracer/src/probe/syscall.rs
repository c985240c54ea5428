//! `bpf(2)` where no library makes the call as it is needed.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use zerocopy::{Immutable, IntoBytes};

const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_TCX_EGRESS: u32 = 47;
/// Without another program that is named: before all.
const BPF_F_BEFORE: u32 = 1 << 3;

/// `union bpf_attr` of `BPF_LINK_CREATE` for tcx (`linux/bpf.h`).
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct LinkAttr {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64,
}

/// Makes the call. Returns what it returns when that is no error.
pub(super) fn bpf(cmd: libc::c_int, attr: *mut u8, size: usize) -> io::Result<libc::c_long> {
    // SAFETY: `attr` points to `size` bytes laid out as the kernel expects for `cmd`, and the
    // buffers it names are live and large enough (each caller says why).
    let rc = unsafe { libc::syscall(libc::SYS_bpf, cmd, attr, size) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

/// Attaches a program to the egress of a device, first in its chain, for as long as what is returned
/// is open.
pub(super) fn tcx_egress(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<OwnedFd> {
    let mut attr = LinkAttr {
        prog_fd: program.as_raw_fd() as u32,
        target_ifindex: ifindex,
        attach_type: BPF_TCX_EGRESS,
        flags: BPF_F_BEFORE,
        relative_fd: 0,
        pad: 0,
        expected_revision: 0,
    };
    // it names no buffer
    let fd = bpf(
        BPF_LINK_CREATE,
        (&raw mut attr).cast(),
        size_of::<LinkAttr>(),
    )?;
    // SAFETY: a descriptor that was just made and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// It is this error.
pub(super) fn is<T>(result: &io::Result<T>, errno: libc::c_int) -> bool {
    matches!(result, Err(e) if e.raw_os_error() == Some(errno))
}
