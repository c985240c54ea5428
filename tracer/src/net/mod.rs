//! Reads the node's configuration from the kernel: netlink dumps and `/proc/sys/net`, one
//! namespace at a time, and a subscription to changes. Produces `inventory` types only.
//!
//! Plain blocking sockets: a netlink socket belongs to the namespace of the thread that opens it,
//! so that other namespaces are read by a thread that has entered them (see [`netns`]).
//!
//! Attributes are decoded here, one by one, and not as whole messages: an attribute that this
//! version does not know or cannot read costs that attribute, is counted, and is reported in a
//! note, while the rest of the dump stays usable.

mod fib;
mod guard;
mod link;
pub mod netns;
mod program;
mod reader;
mod socket;
mod sysctl;
pub mod watch;
mod wire;

pub use netns::NetnsSelection;
pub use program::{OwnFilter, own_filters, remove_filter};
pub use reader::{Reading, read_inventory};

use crate::event::NetnsId;

/// Why the configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A netlink socket could not be opened or used.
    #[error("netlink {what}: {source}")]
    Netlink {
        /// What was being done.
        what: &'static str,
        /// The error.
        source: std::io::Error,
    },
    /// The kernel refused a request.
    #[error("the kernel refuses a netlink request for {what}: {source}")]
    Refused {
        /// Request.
        what: &'static str,
        /// The kernel's errno.
        source: std::io::Error,
    },
    /// The kernel is stuck or very slow.
    #[error(
        "the kernel did not answer a netlink request for {what} within {} s; \
         is another task holding rtnl? see dmesg",
        guard::ANSWER_TIMEOUT.as_secs()
    )]
    NoAnswer {
        /// Request.
        what: &'static str,
    },
    /// A file could not be read.
    #[error("{path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// The error.
        source: std::io::Error,
    },
    /// A namespace could not be entered.
    #[error(
        "cannot enter network namespace {netns}: {source}{}",
        enter_hint(source)
    )]
    Enter {
        /// Which.
        netns: NetnsId,
        /// The error.
        source: std::io::Error,
    },
    /// No namespace is called so.
    #[error(
        "no network namespace {0:?}: expected a name below /run/netns, a process id, an inode \
         number, `self` or `all`"
    )]
    UnknownNetns(String),
    /// No thread could be started.
    #[error("starting a thread: {source}")]
    Thread {
        /// The error.
        source: std::io::Error,
    },
    /// The thread that read the configuration died.
    #[error("the thread that reads the configuration ended early")]
    ThreadEnded,
}

/// What to do about a refused `setns`.
fn enter_hint(error: &std::io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => " (CAP_SYS_ADMIN is needed to enter other namespaces)",
        _ => "",
    }
}
