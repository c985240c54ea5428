//! The ring buffer: a thread reads it, decodes and hands batches on.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The reader looks by itself this often; drops and other rare records wake it at once.
const INTERVAL_MS: u16 = 50;
/// Bytes that it aims to find each time, when there is much: far less than a small buffer holds, and
/// far more than one record, for which two threads would have to be woken.
const AIM: usize = 128 << 10;
/// Bytes of records in one batch at most, so that a flood does not grow a batch without end.
const BATCH: usize = 1 << 20;

/// Raw records, each a [`tracer_abi::record::RecordHeader`] with its payload, one behind the other
/// in one piece of memory.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// With room for as much as the last one had: under load they are alike.
    fn like(bytes: usize, records: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(records),
        }
    }

    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// The records in their order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .filter_map(|(start, end)| self.bytes.get(start..*end))
    }
}

/// Milliseconds until there will be as much as it aims to find, when `read` bytes came within `time`.
fn pause(read: usize, time: Duration) -> u16 {
    if read == 0 {
        return INTERVAL_MS;
    }
    let aim = time.as_micros().saturating_mul(AIM as u128) / read as u128 / 1000;
    aim.clamp(1, u128::from(INTERVAL_MS)) as u16
}

/// The reading thread. Ends when dropped.
pub struct Ring {
    stop: Arc<AtomicBool>,
    wake: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Ring {
    /// Starts reading; `each` gets every batch and returns false to end. While `each` blocks, the
    /// ring buffer fills, and what then does not fit is counted by the kernel side.
    pub(super) fn start(
        mut ring: RingBuf<MapData>,
        mut each: impl FnMut(Batch) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (reader, wake) = nix::unistd::pipe().map_err(std::io::Error::from)?;
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("ring".into()).spawn(move || {
            let (mut bytes, mut records) = (0, 0);
            let mut looked = Instant::now();
            loop {
                let last = stopped.load(Ordering::Acquire);
                let mut read = 0;
                loop {
                    let mut batch = Batch::like(bytes, records);
                    while batch.bytes.len() < BATCH {
                        let Some(item) = ring.next() else { break };
                        batch.push(&item);
                    }
                    if batch.ends.is_empty() {
                        break;
                    }
                    (bytes, records) = (batch.bytes.len(), batch.ends.len());
                    read += bytes;
                    if !each(batch) {
                        return;
                    }
                    // all that was there; what came meanwhile is soon more
                    if bytes < BATCH && !last {
                        break;
                    }
                }
                if last {
                    return;
                }
                let wait = pause(read, looked.elapsed());
                looked = Instant::now();
                let mut fds = [
                    PollFd::new(reader.as_fd(), PollFlags::POLLIN),
                    PollFd::new(ring.as_fd(), PollFlags::POLLIN),
                ];
                // the ring buffer is readable as soon as it holds one record: then there is no pause
                let awaited = if read < AIM / 8 { 2 } else { 1 };
                // an interrupted poll is the same as a timeout here
                let _woken = poll(&mut fds[..awaited], PollTimeout::from(wait));
            }
        })?;
        Ok(Self {
            stop,
            wake,
            thread: Some(thread),
        })
    }

    /// Reads what is left and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _written = nix::unistd::write(&self.wake, &[1]);
        if let Some(thread) = self.thread.take() {
            // a panic in the thread was already reported by the panic hook
            let _joined = thread.join();
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_as_often_as_much_comes() {
        assert_eq!(pause(0, Duration::from_secs(1)), INTERVAL_MS);
        assert_eq!(pause(1000, Duration::from_millis(50)), INTERVAL_MS);
        // 40 MB a second
        assert_eq!(pause(2_000_000, Duration::from_millis(50)), 3);
        assert_eq!(pause(usize::MAX, Duration::from_millis(50)), 1);
    }
}
