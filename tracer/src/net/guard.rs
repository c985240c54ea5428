//! Netlink on a thread of its own, so that a kernel that does not answer cannot hang tracer.
//!
//! A request waits for the kernel's rtnl lock inside `send` and `recv`, where neither a socket
//! timeout nor a signal ends it. Whoever waits for the thread gives up instead.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::NetError;

/// Longest wait for one answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the waiting side looks whether the thread still gets answers.
const LOOK: Duration = Duration::from_millis(100);

/// What a thread is asking the kernel.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Mutex<Option<(&'static str, Instant)>>>);

impl Progress {
    /// A request or the next part of its answer is being waited for.
    pub(super) fn asking(&self, what: &'static str) {
        self.set(Some((what, Instant::now())));
    }

    /// The answer is complete.
    pub(super) fn answered(&self) {
        self.set(None);
    }

    fn set(&self, value: Option<(&'static str, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// The request that has been waiting for longer than `limit`.
    fn stuck(&self, limit: Duration) -> Option<&'static str> {
        let (what, since) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        (since.elapsed() > limit).then_some(what)
    }
}

/// Runs `work` on a new thread in the namespace of the caller. Gives up when one of its requests
/// is not answered; the thread is then left behind.
pub(super) fn guarded<T: Send + 'static>(
    work: impl FnOnce(&Progress) -> Result<T, NetError> + Send + 'static,
) -> Result<T, NetError> {
    guarded_for(ANSWER_TIMEOUT + LOOK, work)
}

fn guarded_for<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce(&Progress) -> Result<T, NetError> + Send + 'static,
) -> Result<T, NetError> {
    let progress = Progress::default();
    let (sender, receiver) = mpsc::sync_channel(1);
    let of_thread = progress.clone();
    thread::Builder::new()
        .name("netlink".into())
        .spawn(move || {
            // the receiver is gone when the caller gave up
            drop(sender.send(work(&of_thread)));
        })
        .map_err(|source| NetError::Thread { source })?;
    loop {
        match receiver.recv_timeout(LOOK.min(limit)) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(NetError::ThreadEnded),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if let Some(what) = progress.stuck(limit) {
                    return Err(NetError::NoAnswer { what });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_answer_is_given_up_and_named() {
        let started = Instant::now();
        let result: Result<(), _> = guarded_for(Duration::from_millis(50), |progress| {
            progress.asking("links");
            thread::sleep(Duration::from_secs(3));
            Ok(())
        });
        let text = result.unwrap_err().to_string();
        assert!(
            text.contains("did not answer a netlink request for links"),
            "{text}"
        );
        assert!(started.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn slow_work_between_answers_is_not_given_up() {
        let result = guarded_for(Duration::from_millis(50), |progress| {
            progress.asking("links");
            progress.answered();
            thread::sleep(Duration::from_millis(200));
            Ok(7)
        });
        assert_eq!(result.unwrap(), 7);
    }
}
