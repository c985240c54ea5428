//! One direction of a flow, with questions that several rules ask.

use crate::{
    event::{Dir, Ifindex, Proto, Tuple},
    inventory::Role,
    model::{Decision, Direction, Flow, Hop, Outcome, Step},
};

use super::Context;

/// TCP flag bits as on the wire.
pub(super) const SYN: u8 = 0x02;
/// See [`SYN`].
pub(super) const RST: u8 = 0x04;
/// See [`SYN`].
pub(super) const ACK: u8 = 0x10;

/// One second: longer than any round trip inside a cluster, and the first retransmission of a SYN.
pub(super) const PATIENCE_NS: u64 = 1_000_000_000;

/// With fewer packets a single loss anywhere explains the silence.
pub(super) const SILENT_PACKETS: u64 = 3;

/// One direction of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace<'a> {
    pub(super) flow: &'a Flow,
    pub(super) is_reply: bool,
}

impl<'a> Trace<'a> {
    pub(super) fn dir(&self) -> &'a Direction {
        if self.is_reply {
            &self.flow.reply
        } else {
            &self.flow.forward
        }
    }

    /// The opposite direction.
    pub(super) fn back(&self) -> &'a Direction {
        if self.is_reply {
            &self.flow.forward
        } else {
            &self.flow.reply
        }
    }

    pub(super) fn opposite(&self) -> Self {
        Self {
            flow: self.flow,
            is_reply: !self.is_reply,
        }
    }

    /// The addresses that this node routes: without translation those of the packets, otherwise the
    /// source as it came in and the destination as it leaves.
    pub(super) fn tuple(&self) -> Tuple {
        if self.is_reply {
            self.flow.routed().reversed()
        } else {
            self.flow.routed()
        }
    }

    /// The addresses as packets of this direction leave this node.
    pub(super) fn sent(&self) -> Tuple {
        if self.is_reply {
            self.flow.id.tuple.reversed()
        } else {
            self.flow.far().unwrap_or(self.flow.id.tuple)
        }
    }

    pub(super) fn hops(&self) -> impl DoubleEndedIterator<Item = &'a Hop> {
        self.dir().path.iter().filter_map(|s| match s {
            Step::Hop(h) => Some(h),
            Step::Route(_) => None,
        })
    }

    pub(super) fn decisions(&self) -> impl DoubleEndedIterator<Item = &'a Decision> {
        self.dir().path.iter().filter_map(|s| match s {
            Step::Route(d) => Some(&**d),
            Step::Hop(_) => None,
        })
    }

    /// The device it came in by; `None` when this node made it.
    pub(super) fn entry(&self) -> Option<&'a Hop> {
        self.hops().next().filter(|h| h.dir == Dir::In)
    }

    /// The device it left by, last of several.
    pub(super) fn exit(&self) -> Option<&'a Hop> {
        self.hops().next_back().filter(|h| h.dir == Dir::Out)
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.flow.id.tuple.proto == Proto::TCP
    }

    /// Left the node (by no pod's device), and nothing came back for long enough.
    pub(super) fn is_silent(&self, ctx: &Context<'_>) -> Option<Ifindex> {
        let (Outcome::Unanswered(dev) | Outcome::Forwarded(dev)) = self.dir().outcome.as_ref()?
        else {
            return None;
        };
        let netns = self.flow.id.scope.netns;
        let left = !matches!(ctx.role(netns, *dev), Some(Role::Pod | Role::Loopback));
        (left && self.has_waited(ctx) && self.back().packets == 0 && ctx.silence_counts())
            .then_some(*dev)
    }

    fn has_waited(&self, ctx: &Context<'_>) -> bool {
        ctx.snapshot.at.since(self.dir().first) >= PATIENCE_NS
    }

    /// The opening of a TCP connection that this direction takes part in goes on and on: SYNs
    /// without an answer, or SYN-ACKs while the other side repeats its SYN.
    pub(super) fn is_handshake_stuck(&self, ctx: &Context<'_>) -> bool {
        let (d, b) = (self.dir(), self.back());
        let opening = self.is_tcp() && d.tcp_flags & SYN != 0 && d.packets >= 2;
        if !opening || !self.has_waited(ctx) || !ctx.silence_counts() {
            return false;
        }
        let asks_in_vain = d.tcp_flags & ACK == 0 && b.packets == 0;
        let answers_in_vain =
            d.tcp_flags & ACK != 0 && b.tcp_flags & (SYN | ACK | RST) == SYN && b.packets >= 2;
        asks_in_vain || answers_in_vain
    }

    /// Packets of this direction get lost after leaving, as far as this node can tell.
    pub(super) fn is_lost_beyond(&self, ctx: &Context<'_>) -> bool {
        if self.is_tcp() {
            return self.is_handshake_stuck(ctx)
                || self.is_silent(ctx).is_some() && self.dir().retransmits > 0;
        }
        self.dir().packets >= SILENT_PACKETS && self.is_silent(ctx).is_some()
    }

    /// The TCP handshake came to its end: both directions get through.
    pub(super) fn is_connected(&self) -> bool {
        let (d, b) = (self.dir().tcp_flags, self.back().tcp_flags);
        self.is_tcp() && d & ACK != 0 && b & ACK != 0
    }
}
