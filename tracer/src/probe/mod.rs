//! Load, configure, attach, drain, detach the kernel side.

mod attach;
mod counters;
mod device;
mod leave;
pub mod memory;
mod object;
mod rest;
mod ring;
mod settle;
mod syscall;
mod table;

pub use attach::Missing;
pub use counters::{KernelCounters, Skipped};
pub use device::{Attachment, Device};
pub use leave::leave_the_rest;
pub use object::{Probe, ProbeConfig, Recording};
pub use rest::Attached;
pub use ring::{Batch, Ring};
pub use table::Table;

use std::io;

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use thiserror::Error;

/// Why the kernel side could not be started or asked.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The object was refused before any program was loaded.
    #[error(
        "the kernel refused the BPF object: {0}; `tracer doctor` says what this kernel and these \
         capabilities allow"
    )]
    Object(#[from] Box<EbpfError>),
    /// The tables do not fit into what may be locked, and the limit may not be raised.
    #[error(
        "this kernel counts tracer's tables as locked memory (Linux before 5.11), of which {kib} KiB are \
         allowed: give it CAP_SYS_RESOURCE, or `ulimit -l unlimited` before it starts"
    )]
    LockedMemory {
        /// `RLIMIT_MEMLOCK`, KiB.
        kib: u64,
    },
    /// A program was refused.
    #[error("the kernel refused the BPF program {program}: {reason}")]
    Load {
        /// Program.
        program: &'static str,
        /// The error and the last lines of the verifier's log.
        reason: String,
    },
    /// A program could not be attached.
    #[error("cannot attach {program} to {target}: {reason}")]
    Attach {
        /// Program.
        program: &'static str,
        /// Tracepoint or device.
        target: String,
        /// Why.
        reason: String,
    },
    /// A map is missing or of another type than expected.
    #[error("BPF map {name}: {source}")]
    Map {
        /// Map.
        name: &'static str,
        /// Why.
        source: Box<MapError>,
    },
    /// The object does not have a map or program that it must have.
    #[error("the BPF object has no {0}; tracer was built from mixed sources")]
    Missing(&'static str),
    /// A `bpf(2)` call on a map failed.
    #[error("{operation} on BPF map {name}: {source}")]
    Table {
        /// What was tried.
        operation: &'static str,
        /// Map.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A member that must lie within one read does not.
    #[error(
        "this kernel lays out `struct sk_buff` in a way tracer does not know ({0} lies more than \
         {1} bytes behind _skb_refdst); please report it with `uname -r`"
    )]
    Layout(&'static str, usize),
}

/// The error and the end of the verifier's log, where the reason is.
fn program_error(e: &ProgramError) -> String {
    const LINES: usize = 12;
    let mut text = e.to_string();
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = e
    {
        text = io_error.to_string();
        let log = verifier_log.to_string();
        let lines: Vec<&str> = log.lines().filter(|l| !l.trim().is_empty()).collect();
        let from = lines.len().saturating_sub(LINES);
        if !lines.is_empty() {
            text.push_str("\nverifier: ");
            text.push_str(&lines[from..].join("\nverifier: "));
        }
    }
    text
}
