//! Text for people: as close to tcpdump and iproute2 as the matter allows.
//!
//! Colour never says anything that the words do not. Names from outside are escaped.

mod doctor;
mod finding;
mod flow;
mod line;
mod packet;
mod path;
mod style;
mod verdict;

pub use doctor::{Feature, features};
pub use finding::finding;
pub use flow::flow;
pub use line::change;
pub use packet::{packet, packet_end};
pub(in crate::view) use style::Word;
pub use style::{Style, Tone};
pub use verdict::{Summary, report, summary, tally, verdict};

use super::ViewContext;

/// Context and style together: what every function here needs.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Names and times.
    pub cx: ViewContext<'a>,
    /// How to paint.
    pub style: Style,
}

/// `1 packet`, `3 packets`.
pub(in crate::view) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
