//! Two captures joined, as text and as `tracer.compare/1`.

mod json;

pub use json::{Compare, object};

use std::fmt::Write as _;

use super::{
    Ends, Who, flow_name,
    text::{Style, Tone},
};
use crate::compare::{Compared, FlowCompared, Node, Side, Totals};

/// Exit status: all arrived.
pub const COMPLETE: u8 = 0;
/// Exit status: packets were lost between the nodes.
pub const LOST: u8 = 3;
/// Exit status: the captures do not tell.
pub const OPEN: u8 = 4;

/// Flows shown when more are not asked for.
const FLOWS: usize = 20;

/// What was compared.
#[derive(Clone, Copy, Debug)]
pub struct Captures<'a> {
    /// The first file and its name.
    pub a: (&'a Side, &'a str),
    /// The second file and its name.
    pub b: (&'a Side, &'a str),
    /// No names.
    pub numeric: bool,
}

impl<'a> Captures<'a> {
    fn node(&self, node: Node) -> &'a str {
        match node {
            Node::A => &self.a.0.inventory.node,
            Node::B => &self.b.0.inventory.node,
        }
    }

    /// Who is at the ends of what was sent by a node, as each node knows its own.
    fn who(&self, f: &FlowCompared) -> Who<'a> {
        if self.numeric {
            return Who::default();
        }
        let (a, b) = (&self.a.0.inventory, &self.b.0.inventory);
        let (from, to) = match f.from {
            Node::A => (a, b),
            Node::B => (b, a),
        };
        // a node knows its pods by what it calls them itself
        let src = f.before.unwrap_or(f.tuple).src;
        let dst = f.after.or(f.arrives_as).unwrap_or(f.tuple).dst;
        let ends = Ends {
            src: from.owner_of(src).or_else(|| to.peers.get(&src)),
            dst: to.owner_of(dst).or_else(|| from.peers.get(&dst)),
        };
        Who { ends, far: None }
    }

    fn other(&self, node: Node) -> &'a str {
        self.node(match node {
            Node::A => Node::B,
            Node::B => Node::A,
        })
    }
}

/// What the process exits with: loss that was seen counts, whatever else is open.
pub fn exit_code(c: &Compared) -> u8 {
    match (c.totals.lost, c.open.is_empty()) {
        (0, true) => COMPLETE,
        (1.., true) => LOST,
        (_, false) => OPEN,
    }
}

/// The answer first, then the clocks, then the flows that lost something, or all.
pub fn text(style: Style, files: &Captures<'_>, c: &Compared, all: bool) -> String {
    let mut out = headline(style, c);
    for open in &c.open {
        out.extend(["  ", &style.sentence(open), "\n"]);
    }
    out.push_str(&clocks(style, files, c));
    let lossy = |f: &&FlowCompared| all || f.totals != clean(&f.totals) || !f.dropped.is_empty();
    let flows: Vec<&FlowCompared> = c.flows.iter().filter(lossy).collect();
    let shown = if all {
        flows.len()
    } else {
        flows.len().min(FLOWS)
    };
    for f in &flows[..shown] {
        out.push_str(&flow(style, files, f));
    }
    if shown < flows.len() {
        let _infallible = writeln!(
            out,
            "\nand {} more flows (-v shows all)",
            flows.len() - shown
        );
    } else if flows.len() < c.flows.len() {
        let n = c.flows.len() - flows.len();
        let s = if n == 1 { "" } else { "s" };
        let _infallible = writeln!(out, "\n{n} flow{s} without loss (-v shows all)");
    }
    out
}

/// The same as if nothing had gone wrong.
fn clean(t: &Totals) -> Totals {
    Totals {
        sent: t.sent,
        received: t.sent,
        outside: t.outside,
        ..Totals::default()
    }
}

fn headline(style: Style, c: &Compared) -> String {
    let t = &c.totals;
    let (tone, word) = match exit_code(c) {
        COMPLETE => (Tone::Good, "COMPLETE"),
        LOST => (Tone::Bad, "LOST"),
        _ => (Tone::Warn, "INCONCLUSIVE"),
    };
    let mut line = format!(
        "{}: {} of {} packets did not arrive",
        style.paint(tone, word),
        t.lost,
        t.sent
    );
    for (n, what) in [
        (t.duplicated, "duplicated"),
        (t.reordered, "reordered"),
        (t.outside, "sent while the other node did not record"),
    ] {
        if n > 0 {
            let _infallible = write!(line, ", {n} {what}");
        }
    }
    line.push('\n');
    line
}

fn clocks(style: Style, files: &Captures<'_>, c: &Compared) -> String {
    let Some(clocks) = c.clocks else {
        return String::new();
    };
    let (a, b) = (
        style.name(files.node(Node::A)),
        style.name(files.node(Node::B)),
    );
    let how = if clocks.both_ways {
        "from packets in both directions"
    } else {
        "from packets in one direction: the fastest is taken to have needed no time"
    };
    let sign = if clocks.offset_ns < 0 {
        "behind"
    } else {
        "ahead of"
    };
    let by = duration(clocks.offset_ns.saturating_abs());
    format!("the clock of {b} is {by} {sign} that of {a} ({how})\n")
}

fn flow(style: Style, files: &Captures<'_>, f: &FlowCompared) -> String {
    let t = &f.totals;
    let (from, to) = (
        style.name(files.node(f.from)),
        style.name(files.other(f.from)),
    );
    let who = files
        .who(f)
        .text("")
        .map_or_else(String::new, |w| format!(" ({w})"));
    let mut out = format!("\n{}{}\n", flow_name(&f.tuple), style.sentence(&who));
    let names = [
        (f.before, format!("before {from} translates it")),
        (f.arrives_as, format!("where it reaches {to}")),
        (f.after, format!("after {to} translates it")),
    ];
    for (name, place) in names {
        if let Some(name) = name {
            let _infallible = writeln!(out, "  {place}: {}", flow_name(&name));
        }
    }
    let _infallible = write!(
        out,
        "  {from} > {to}: {} sent, {} received",
        t.sent, t.received
    );
    if t.lost > 0 {
        let lost = style.paint(Tone::Bad, &format!("{} lost", t.lost));
        let dev = style.name(&f.left_by);
        let _infallible = write!(out, ", {lost} after leaving {from} by {dev}");
    }
    for (n, what) in [
        (t.duplicated, "duplicated"),
        (t.reordered, "reordered"),
        (t.outside, "not judged: the other node did not record then"),
    ] {
        if n > 0 {
            let _infallible = write!(out, ", {n} {what}");
        }
    }
    out.push('\n');
    if let Some(d) = f.delays {
        let _infallible = writeln!(
            out,
            "  one way: {} at least, {} median, {} p95, {} at most",
            duration(d.min),
            duration(d.p50),
            duration(d.p95),
            duration(d.max)
        );
    }
    for (reason, symbol, n) in &f.dropped {
        let end = format!("{n} of those that arrived ended on {to}: {reason} at {symbol}");
        let end = style.paint(Tone::Bad, &style.sentence(&end));
        let _infallible = writeln!(out, "  {end}");
    }
    out
}

/// `-1.5 ms`, `3 h 0 min 2 s`.
fn duration(ns: i64) -> String {
    let n = ns as f64;
    match ns.unsigned_abs() {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", n / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", n / 1e6),
        1_000_000_000..60_000_000_000 => format!("{:.3} s", n / 1e9),
        _ => {
            let s = ns / 1_000_000_000;
            format!("{} h {} min {} s", s / 3600, s / 60 % 60, s % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations() {
        assert_eq!(duration(-1_500_000), "-1.5 ms");
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(10_802_000_000_000), "3 h 0 min 2 s");
    }
}
