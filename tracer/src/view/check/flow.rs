//! What one flow says about loss and silence.

use crate::{
    event::{Proto, Tuple},
    model::{Direction, Flow, Outcome, SENT_TO_MANY},
};

/// UDP packets without an answer that make it worth a failure.
const UDP_UNANSWERED: u64 = 3;
/// Something of it was seen on this node, or asked for on it.
pub(super) fn has_traffic(f: &Flow) -> bool {
    f.forward.packets > 0 || f.reply.packets > 0 || !f.route_failures.is_empty() || lost(f) > 0
}

/// Packets dropped on this node, both directions.
pub(super) fn lost(f: &Flow) -> u64 {
    let count = |d: &Direction| d.drops.iter().map(|x| x.count).sum::<u64>();
    count(&f.forward) + count(&f.reply)
}

/// Packets of directions that went on, dropped because they were too big: path MTU discovery
/// (RFC 1191, RFC 8201) costs the first ones, and the sender repeats them smaller. Where it does not
/// work the direction ends here, or a finding says so.
pub(super) fn too_big(f: &Flow) -> u64 {
    let count = |d: &Direction| -> u64 {
        let ended = matches!(d.outcome, Some(Outcome::Dropped(_)));
        let drops = d
            .drops
            .iter()
            .filter(|x| !ended && &*x.place.reason == "PKT_TOO_BIG");
        drops.map(|x| x.count).sum()
    };
    count(&f.forward) + count(&f.reply)
}

/// The flow went unanswered in a way that means something for its protocol.
pub(super) fn unanswered(f: &Flow) -> bool {
    wants_answer(f) && matches!(f.forward.outcome, Some(Outcome::Unanswered(_)))
}

/// Nobody can tell what became of the flow, and no answer says that it arrived.
pub(super) fn unknown(f: &Flow) -> Option<&str> {
    match &f.forward.outcome {
        Some(Outcome::Unknown(why)) if f.reply.packets == 0 && wants_answer(f) => {
            Some(why.as_str()).filter(|w| *w != SENT_TO_MANY)
        }
        _ => None,
    }
}

/// Packets of these addresses and ports are questions or answers.
pub(super) fn is_asking(t: &Tuple) -> bool {
    t.proto.has_ports() || t.is_echo()
}

fn wants_answer(f: &Flow) -> bool {
    let t = &f.id.tuple;
    match t.proto {
        Proto::TCP | Proto::SCTP => true,
        Proto::UDP => f.forward.packets >= UDP_UNANSWERED,
        _ => t.is_echo(),
    }
}

/// `3 packets`, `1 packet`.
pub(super) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Reasons of the flow's drops, the most frequent first, each once.
pub(super) fn reasons(f: &Flow) -> String {
    let mut drops: Vec<_> = f.forward.drops.iter().chain(&f.reply.drops).collect();
    drops.sort_by_key(|d| std::cmp::Reverse(d.count));
    let mut names: Vec<String> = drops
        .iter()
        .map(|d| format!("{} at {}", d.place.reason, d.place.symbol))
        .collect();
    names.dedup();
    names.join(", ")
}
