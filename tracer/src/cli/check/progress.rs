//! One line on a terminal that says that something is going on.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use ratatui::crossterm::terminal;

use crate::{
    model::{Direction, Snapshot},
    view::text::Style,
};

/// The line. It is on stderr, and gone before the verdict comes.
pub(super) struct Progress {
    style: Style,
    started: Instant,
    time: Duration,
}

impl Progress {
    pub(super) fn new(time: Duration, style: Style) -> Self {
        Self {
            style,
            started: Instant::now(),
            time,
        }
    }

    /// Writes it over the one before.
    pub(super) fn show(&mut self, s: &Snapshot) {
        let columns = terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let line = line(self.started.elapsed(), self.time, s);
        let cut: String = line.chars().take(columns.saturating_sub(1)).collect();
        // nothing is lost when the terminal is gone
        drop(write!(
            io::stderr().lock(),
            "\r{}\x1b[K",
            self.style.sentence(&cut)
        ));
    }
}

impl Drop for Progress {
    /// Leaves the line empty.
    fn drop(&mut self) {
        drop(write!(io::stderr().lock(), "\r\x1b[K"));
    }
}

fn line(elapsed: Duration, time: Duration, s: &Snapshot) -> String {
    let dropped = |d: &Direction| d.drops.iter().map(|x| x.count).sum::<u64>();
    let (mut packets, mut drops) = (0, 0);
    for f in &s.flows {
        packets += f.forward.packets + f.reply.packets;
        drops += dropped(&f.forward) + dropped(&f.reply);
    }
    format!(
        "tracer: {} of {} s: {packets} packets in {} flows, {drops} dropped",
        elapsed.as_secs(),
        time.as_secs(),
        s.flows.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture;

    #[test]
    fn it_counts() {
        let s = fixture::snapshot(vec![fixture::dropped()]);
        let text = line(Duration::from_millis(1900), Duration::from_secs(30), &s);
        assert_eq!(text, "tracer: 1 of 30 s: 3 packets in 1 flows, 3 dropped");
    }
}
