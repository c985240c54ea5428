//! A subscription to changes of one namespace.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        socket::{MsgFlags, recv, setsockopt, sockopt},
    },
};

use super::{
    NetError,
    link::{IFF_UP, IFINFOMSG, IFLA_IFNAME},
    socket::{messages, open},
    wire::{Attrs, Defects, u32_at},
};
use crate::event::Ifindex;

/// `RTNLGRP_*`: links, neighbours, traffic control, addresses, routes and rules of both families,
/// nexthop objects.
const GROUPS: [u32; 10] = [1, 3, 4, 5, 7, 8, 9, 11, 19, 32];
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
/// A bridge tells of its ports in link messages of this family.
const AF_BRIDGE: u8 = 7;
/// Room for bursts, bytes.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Larger than any notification.
const BUFFER: usize = 64 * 1024;
/// Notifications taken in one go.
const BATCH: usize = 256;

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A link is new, renamed, up, down, or changed otherwise: number, name, administratively up.
    LinkChanged(Ifindex, String, bool),
    /// A link was removed or moved to another namespace.
    LinkGone(Ifindex),
    /// Addresses, routes, rules or neighbours changed; many changes may be told as one.
    Changed,
    /// Notifications were lost: read everything again.
    Overrun,
}

/// Calls back on each change until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches the namespace of the calling thread. What changes after this returns is told.
    pub fn start(callback: impl FnMut(Notice) + Send + 'static) -> Result<Self, NetError> {
        let socket = open(GROUPS.iter().fold(0, |mask, group| mask | 1 << (group - 1)))?;
        // beyond the system's limit where that is allowed
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER).map_err(failed)?;
        }
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(failed)?);
        let of_thread = stop.clone();
        let thread = thread::Builder::new()
            .name("netwatch".into())
            .spawn(move || run(&socket, &of_thread, callback))
            .map_err(|source| NetError::Thread { source })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.stop.write(1).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // a callback that panicked has told so already
            drop(thread.join());
        }
    }
}

fn failed(error: Errno) -> NetError {
    NetError::Netlink {
        what: "subscription",
        source: io::Error::from(error),
    }
}

fn run(socket: &OwnedFd, stop: &EventFd, mut callback: impl FnMut(Notice)) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut fds = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        if fds[1].any().unwrap_or(true) {
            return;
        }
        if !take_batch(socket, &mut buffer, &mut callback) {
            return;
        }
    }
}

/// Takes what has arrived; false when the socket is unusable.
fn take_batch(socket: &OwnedFd, buffer: &mut [u8], callback: &mut impl FnMut(Notice)) -> bool {
    let mut changed = false;
    for _ in 0..BATCH {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(len) => {
                for notice in notices(buffer.get(..len).unwrap_or(&[])) {
                    match notice {
                        Notice::Changed => changed = true,
                        other => callback(other),
                    }
                }
            }
            Err(Errno::EAGAIN) => break,
            Err(Errno::EINTR) => {}
            Err(Errno::ENOBUFS) => callback(Notice::Overrun),
            Err(_) => return false,
        }
    }
    if changed {
        callback(Notice::Changed);
    }
    true
}

/// The changes in what one `recv` returned.
fn notices(bytes: &[u8]) -> impl Iterator<Item = Notice> {
    messages(bytes).map(|m| notice(m.kind, m.body))
}

fn notice(kind: u16, body: &[u8]) -> Notice {
    let of_link = matches!(kind, RTM_NEWLINK | RTM_DELLINK) && body.first() != Some(&AF_BRIDGE);
    let (Some(dev), Some(flags), true) = (u32_at(body, 4), u32_at(body, 8), of_link) else {
        return Notice::Changed;
    };
    if kind == RTM_DELLINK {
        return Notice::LinkGone(Ifindex(dev));
    }
    let defects = Defects::default();
    let mut attrs = Attrs::new(body.get(IFINFOMSG..).unwrap_or(&[]), &defects);
    match attrs.find(|a| a.kind == IFLA_IFNAME) {
        Some(name) => Notice::LinkChanged(Ifindex(dev), name.text(), flags & IFF_UP != 0),
        None => Notice::Changed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::{socket::request, wire::push_attr};

    fn link(family: u8, dev: u32, flags: u32) -> Vec<u8> {
        let mut body = request(family, IFINFOMSG);
        body[4..8].copy_from_slice(&dev.to_ne_bytes());
        body[8..12].copy_from_slice(&flags.to_ne_bytes());
        push_attr(&mut body, IFLA_IFNAME, b"eth0\0");
        body
    }

    #[test]
    fn links_are_told_by_name_and_state() {
        let changed = |up| Notice::LinkChanged(Ifindex(7), "eth0".into(), up);
        assert_eq!(notice(RTM_NEWLINK, &link(0, 7, 1)), changed(true));
        assert_eq!(notice(RTM_NEWLINK, &link(0, 7, 0)), changed(false));
        assert_eq!(
            notice(RTM_DELLINK, &link(0, 7, 0)),
            Notice::LinkGone(Ifindex(7))
        );
    }

    #[test]
    fn a_port_that_leaves_a_bridge_is_not_gone() {
        assert_eq!(notice(RTM_DELLINK, &link(AF_BRIDGE, 7, 1)), Notice::Changed);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(notices(&bytes).count() <= bytes.len() / 16 + 1);
        }
    }
}
