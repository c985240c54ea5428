//! A system call made by another process: what it would get, not what we would.

use std::ffi::CString;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::deadline;

/// `syscall`, as it lies in memory.
const SYSCALL: i64 = 0x050f;
/// Below the stack pointer there may be data of a function (the red zone of the ABI).
const RED_ZONE: u64 = 128;

/// Has a thread that waits in a system call open a file for reading, and returns what it was told.
/// The call that it waited in goes on. (x86-64)
pub fn open(thread: u32, path: &str) -> Result<Result<(), Errno>> {
    let pid = Pid::from_raw(i32::try_from(thread)?);
    // a thread that is at work just now will wait again
    deadline::wait_for("waiting in a system call", Duration::from_secs(10), || {
        ptrace::attach(pid).with_context(|| format!("cannot trace {pid}"))?;
        let result = opened(pid, path);
        ptrace::detach(pid, None).with_context(|| format!("cannot let {pid} go"))?;
        result
    })
}

/// `None` when the thread does not wait in a system call.
fn opened(pid: Pid, path: &str) -> Result<Option<Result<(), Errno>>> {
    stopped(pid)?;
    let before = ptrace::getregs(pid)?;
    let at = before.rip - 2;
    let code = ptrace::read(pid, at as ptrace::AddressType)?;
    if code & 0xffff != SYSCALL {
        return Ok(None);
    }
    let place = (before.rsp - RED_ZONE - 256) & !15;
    let text = CString::new(path)?.into_bytes_with_nul();
    let mut saved = Vec::new();
    for (number, word) in text.chunks(8).enumerate() {
        let address = (place + 8 * number as u64) as ptrace::AddressType;
        saved.push((address, ptrace::read(pid, address)?));
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(word) {
            *to = *from;
        }
        ptrace::write(pid, address, i64::from_ne_bytes(bytes))?;
    }
    let mut call = before;
    call.rip = at;
    // not the one that it waited in, which the kernel would start again
    call.orig_rax = u64::MAX;
    call.rax = libc::SYS_open as u64;
    call.rdi = place;
    call.rsi = libc::O_RDONLY as u64;
    call.rdx = 0;
    ptrace::setregs(pid, call)?;
    ptrace::step(pid, None)?;
    stopped(pid)?;
    let answer = ptrace::getregs(pid)?.rax.cast_signed();
    for (address, word) in saved {
        ptrace::write(pid, address, word)?;
    }
    ptrace::setregs(pid, before)?;
    Ok(Some(match i32::try_from(answer) {
        Ok(errno @ i32::MIN..0) => Err(Errno::from_raw(-errno)),
        _ => Ok(()),
    }))
}

fn stopped(pid: Pid) -> Result<()> {
    let status = waitpid(pid, Some(WaitPidFlag::__WALL))?;
    ensure!(
        matches!(status, WaitStatus::Stopped(..)),
        "{pid} did not stop: {status:?}"
    );
    Ok(())
}
