//! A change as one line of `watch`.

use super::{Text, Tone, count, finding, style::Word};
use crate::{event::KtimeNs, model::Flow, view::changes::Change};

/// A flow that is told later than this after its first packet is an old one that woke up.
const AGE_NS: u64 = 30_000_000_000;

/// The line or lines of a change at `now`, each with a line feed; `None` for what nobody wants to
/// read unless `verbose`.
pub fn change(t: &Text<'_>, c: &Change, now: KtimeNs, verbose: bool) -> Option<String> {
    let line = match c {
        Change::New(f) => t.line(first(f, now), "new", f, t.way(f)),
        Change::Route(f) => t.line(now, "route", f, t.way(f)),
        Change::Unanswered(f) => {
            let left = count(f.forward.packets, "packet");
            let why = format!("UNANSWERED: {left} left, none came back");
            t.line(now, "flow", f, vec![Word::new(Tone::Bad, why)])
        }
        Change::End(f) if verbose => t.line(now, "end", f, t.ending(f)),
        // the drop itself follows as a line of its own
        Change::End(_) | Change::Dropping(_) => return None,
        Change::Drop(f, d, new) => {
            let why = vec![Word::new(Tone::Bad, t.drop(d, *new))];
            match f {
                Some(f) => t.line(d.last, "drop", f, why),
                None => t.plain(d.last, "drop", &why),
            }
        }
        Change::Icmp(f, s, new) => t.line(
            s.last,
            "icmp",
            f,
            vec![Word::new(Tone::Warn, t.icmp(s, *new))],
        ),
        Change::RouteFailure(f, r, new) => {
            t.line(r.last, "drop", f, vec![t.route_failure(r, *new)])
        }
        Change::Neigh(n, new) => {
            let times = if *new == 1 {
                String::new()
            } else {
                format!(", {new} times")
            };
            let dev = t.dev(n.netns, n.dev);
            let why = format!("{} on {dev} does not answer{times}", n.address);
            t.plain(now, "neigh", &[Word::new(Tone::Bad, why)])
        }
        Change::Finding(f) => {
            let block = finding(t, f);
            let time = t.cx.clock.time_of_day(now);
            return Some(format!("{} {block}", t.style.paint(Tone::Dim, &time)));
        }
        Change::Loss(l) => {
            let lost = l.sum();
            let why = format!("tracer missed {} so far", count(lost, "event or packet"));
            t.plain(now, "loss", &[Word::new(Tone::Warn, why)])
        }
    };
    Some(line)
}

/// When a flow that is told now began; one that woke after a silence, when it was last seen.
fn first(f: &Flow, now: KtimeNs) -> KtimeNs {
    match &f.forward {
        d if d.packets == 0 => now,
        d if now.since(d.first) > AGE_NS => d.last,
        d => d.first,
    }
}

impl Text<'_> {
    fn line(&self, at: KtimeNs, kind: &str, f: &Flow, mut what: Vec<Word>) -> String {
        let (name, who) = (self.style.flow(f), self.who(f));
        what.insert(0, Word::new(Tone::Strong, format!("{name}{who}:")));
        self.plain(at, kind, &what)
    }

    fn plain(&self, at: KtimeNs, kind: &str, what: &[Word]) -> String {
        let time = self.cx.clock.time_of_day(at);
        let lead = format!("{time} {kind:<5}");
        let used = lead.chars().count() + 1;
        let lead = self.style.paint(Tone::Dim, &lead);
        format!("{lead} {}\n", self.style.wrap(what, used, 22))
    }

    /// The path, or the state when there is none.
    fn way(&self, f: &Flow) -> Vec<Word> {
        let path = self.path(&f.forward);
        if path.is_empty() {
            vec![self.state(f)]
        } else {
            path
        }
    }

    fn ending(&self, f: &Flow) -> Vec<Word> {
        let (fwd, back) = (&f.forward, &f.reply);
        let amount = format!("{} + {}", fwd.packets, count(back.packets, "packet"));
        vec![Word::new(Tone::Plain, amount), self.state(f)]
    }
}
