//! Signals of a session.

use super::Ended;
use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a session in order, and the one that asks a recording for its counters.
pub(super) struct Signals([Signal; 3], Option<Signal>);

impl Signals {
    pub(super) fn new(recording: bool) -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let ends = [
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ];
        let asks = recording.then(|| listen(SignalKind::user_defined1()));
        Ok(Self(ends, asks.transpose()?))
    }

    /// How the signal ends the session; `None` when it asks for the counters.
    pub(super) async fn recv(&mut self) -> Option<Ended> {
        let [interrupt, terminate, hangup] = &mut self.0;
        let asked = async {
            match &mut self.1 {
                Some(asks) => asks.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => Some(Ended::Interrupt),
            _ = terminate.recv() => Some(Ended::Terminate),
            _ = hangup.recv() => Some(Ended::Hangup),
            _ = asked => None,
        }
    }
}
