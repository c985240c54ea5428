//! Sends the packets that a check was told to send: at most so many, to the one address that was
//! named, and counts them.
//!
//! Plain sockets of the kernel, so that the packets take the way that those of any program take:
//! routes, rules, NAT, tunnels. Everything else in tracer only observes.

mod echo;
mod socket;
mod tcp;
mod udp;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::errno::Errno;

use crate::net::netns::{self, Found};

/// How long answers are awaited after the last packet: a round trip within a cluster takes
/// milliseconds, and what takes longer than a second is judged as unanswered anyway.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How often answers are looked for.
const TICK: Duration = Duration::from_millis(10);

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The only address that anything is sent to; one of a single host.
    pub to: IpAddr,
    /// What kind of packet.
    pub kind: Kind,
    /// How many packets; for TCP how many attempts to connect.
    pub count: u32,
    /// Time from one to the next.
    pub interval: Duration,
    /// Bytes of each packet with its IP header, sent with "don't fragment"; `None` for a small one.
    pub size: Option<u16>,
    /// Where to send from; `None` for the namespace of the thread that starts it.
    pub netns: Option<Found>,
}

/// What kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Echo requests of ICMP with one identifier.
    Echo,
    /// UDP datagrams from one source port to this port.
    Udp(u16),
    /// TCP connections to this port: a SYN each, and when it is answered an ACK and a RST. Given up
    /// before TCP would repeat the SYN.
    Tcp(u16),
}

/// What was sent, and what came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets that the kernel took; for TCP attempts to connect.
    pub packets: u32,
    /// How many of them were answered; a refused connection is an answer.
    pub answers: u32,
    /// Packets that the kernel did not make, by errno.
    pub refused: BTreeMap<String, u32>,
    /// Errors that came back for packets that were sent, by errno.
    pub errors: BTreeMap<String, u32>,
    /// Why nothing could be sent: no socket, no such namespace.
    pub failed: Option<String>,
}

impl Sent {
    fn refuse(&mut self, e: &io::Error) {
        *self.refused.entry(errno(e)).or_default() += 1;
    }

    fn error(&mut self, e: &io::Error) {
        *self.errors.entry(errno(e)).or_default() += 1;
    }
}

fn errno(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => e.to_string(),
    }
}

/// A kind of packet at work.
trait Way {
    /// Sends the packet number `n`. An error means that none was made.
    fn send(&mut self, n: u16) -> io::Result<()>;
    /// Counts what has come back, without waiting.
    fn collect(&mut self, sent: &mut Sent);
}

/// Packets being sent by a thread of their own. Dropping it stops it.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: Mutex<Sent>,
    stop: AtomicBool,
    done: AtomicBool,
}

impl Shared {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Sender {
    /// Begins. What goes wrong is in [`Sent`].
    pub fn start(order: Order) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = thread::Builder::new().name("probe".into()).spawn(move || {
            if let Err(e) = work(&order, &theirs) {
                theirs.sent().failed = Some(e);
            }
            theirs.done.store(true, Ordering::Release);
        });
        let thread = thread
            .inspect_err(|e| {
                shared.sent().failed = Some(format!("no thread: {e}"));
                shared.done.store(true, Ordering::Release);
            })
            .ok();
        Self { shared, thread }
    }

    /// Everything is sent, and answered or awaited long enough.
    pub fn is_done(&self) -> bool {
        self.shared.done.load(Ordering::Acquire)
    }

    /// Sends nothing more and tells what was sent.
    pub fn stop(mut self) -> Sent {
        self.end();
        self.shared.sent().clone()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // a panic of it leaves what was counted so far
            drop(thread.join());
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(order: &Order, shared: &Shared) -> Result<(), String> {
    if let Some(found) = &order.netns {
        netns::enter(found).map_err(|e| e.to_string())?;
    }
    let mut way: Box<dyn Way> = match order.kind {
        Kind::Echo => Box::new(echo::Echo::new(order).map_err(|e| explain(&e))?),
        Kind::Udp(port) => Box::new(udp::Udp::new(order, port)),
        Kind::Tcp(port) => Box::new(tcp::Tcp::new(order, port)),
    };
    for n in 0..order.count {
        if shared.stopped() {
            return Ok(());
        }
        let next = Instant::now() + order.interval;
        // under the lock, so that `stop` never misses a packet that is on its way
        {
            let mut sent = shared.sent();
            match way.send(n as u16) {
                Ok(()) => sent.packets += 1,
                Err(e) => sent.refuse(&e),
            }
        }
        if n + 1 < order.count {
            listen(way.as_mut(), shared, next, |_| false);
        }
    }
    let end = Instant::now() + ANSWER_WAIT;
    listen(way.as_mut(), shared, end, |sent| {
        sent.answers + sent.errors.values().sum::<u32>() >= sent.packets
    });
    Ok(())
}

/// Collects answers until the time is over, all have come, or somebody stops it.
fn listen(way: &mut dyn Way, shared: &Shared, end: Instant, enough: impl Fn(&Sent) -> bool) {
    while !shared.stopped() {
        {
            let mut sent = shared.sent();
            way.collect(&mut sent);
            if enough(&sent) {
                return;
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(TICK));
    }
}

fn explain(e: &io::Error) -> String {
    if matches!(e.raw_os_error(), Some(libc::EPERM | libc::EACCES)) {
        return format!("{e} (echo requests need CAP_NET_RAW; udp and tcp do not)");
    }
    e.to_string()
}

#[cfg(test)]
mod tests;
