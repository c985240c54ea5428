//! A flow as a block: a line that says what became of it, then its path, answers and losses.

use super::{Text, Tone, count, style::Word};
use crate::{
    event::{IcmpSample, RouteFailure},
    model::{Direction, Drop, Flow, Outcome},
    view::{Who, icmp, json, table_label},
};

/// A flow as several lines, each with a line feed.
pub fn flow(t: &Text<'_>, f: &Flow) -> String {
    let mut out = t.headline(f);
    out.push('\n');
    let mut line = |words: Vec<Word>, label: &str| {
        if !words.is_empty() {
            let used = 2 + label.chars().count();
            out.extend(["  ", label, &t.style.wrap(&words, used, 4), "\n"]);
        }
    };
    line(t.path(&f.forward), "");
    t.troubles(&f.forward)
        .into_iter()
        .for_each(|w| line(vec![w], ""));
    f.route_failures
        .iter()
        .for_each(|r| line(vec![t.route_failure(r, r.count)], ""));
    if f.reply.packets > 0 {
        let amount = format!("{} {} B", count(f.reply.packets, "packet"), f.reply.bytes);
        let mut words = vec![Word::new(Tone::Plain, amount)];
        words.extend(t.path(&f.reply));
        line(words, "reply: ");
    } else if matches!(f.forward.outcome, Some(Outcome::Unanswered(_))) {
        line(vec![Word::new(Tone::Warn, "none")], "reply: ");
    }
    t.troubles(&f.reply)
        .into_iter()
        .for_each(|w| line(vec![w], "reply "));
    out
}

impl Text<'_> {
    /// `udp a:1 > b:2  3 packets 300 B  UNANSWERED`.
    pub(in crate::view) fn headline(&self, f: &Flow) -> String {
        let name = self.style.paint(Tone::Strong, &self.style.flow(f));
        let vni =
            f.id.scope
                .vni
                .map_or_else(String::new, |v| format!("  vni {v}"));
        let amount = match f.forward.packets {
            0 => "no packet".to_owned(),
            n => format!("{} {} B", count(n, "packet"), f.forward.bytes),
        };
        let state = self.state(f);
        let state = self.style.paint(state.tone, &state.text);
        let who = self.who(f);
        format!("{name}{who}{vni}  {amount}  {state}")
    }

    /// ` (shop/web-0 > shop/db-0)`; empty when nobody is known by name.
    pub(in crate::view) fn who(&self, f: &Flow) -> String {
        self.named(self.cx.who(f))
    }

    pub(in crate::view) fn named(&self, who: Who<'_>) -> String {
        let text = who.text(self.style.becomes());
        text.map_or_else(String::new, |t| format!(" ({})", self.style.sentence(&t)))
    }

    /// What became of the flow, in one word where trouble is in capitals.
    pub(in crate::view) fn state(&self, f: &Flow) -> Word {
        let dropped = |d: &Direction| matches!(d.outcome, Some(Outcome::Dropped(_)));
        let lost = |d: &Direction| d.drops.iter().map(|x| x.count).sum::<u64>();
        let fwd = &f.forward;
        if fwd.packets == 0 && !f.route_failures.is_empty() {
            return Word::new(Tone::Bad, "NO ROUTE");
        }
        if dropped(fwd) {
            return Word::new(Tone::Bad, "DROPPED");
        }
        if dropped(&f.reply) {
            return Word::new(Tone::Bad, "REPLY DROPPED");
        }
        if let Some(Outcome::Unanswered(_)) = fwd.outcome {
            return Word::new(Tone::Bad, "UNANSWERED");
        }
        let lost = lost(fwd) + lost(&f.reply);
        if lost > 0 {
            return Word::new(Tone::Warn, format!("{lost} LOST"));
        }
        match &fwd.outcome {
            _ if f.reply.packets > 0 => Word::new(Tone::Good, "answered"),
            Some(Outcome::Delivered) => Word::new(Tone::Good, "delivered"),
            Some(Outcome::Forwarded(_)) => {
                let dev = json::left_by(&self.cx, f.id.scope.netns, fwd).unwrap_or_default();
                Word::new(Tone::Plain, format!("left by {}", self.style.name(&dev)))
            }
            Some(Outcome::Unknown(why)) => {
                Word::new(Tone::Dim, format!("unknown: {}", self.style.sentence(why)))
            }
            Some(Outcome::Dropped(_) | Outcome::Unanswered(_)) | None => {
                Word::new(Tone::Dim, "unknown")
            }
        }
    }

    /// Drops, ICMP errors, retransmissions of a direction.
    pub(in crate::view) fn troubles(&self, d: &Direction) -> Vec<Word> {
        let mut lines: Vec<Word> = d
            .drops
            .iter()
            .map(|x| Word::new(Tone::Bad, self.drop(x, x.count)))
            .collect();
        lines.extend(
            d.icmp
                .iter()
                .map(|s| Word::new(Tone::Warn, self.icmp(s, s.count))),
        );
        let tcp: Vec<String> = [(d.retransmits, "retransmission"), (d.resets, "reset")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| count(n, what))
            .collect();
        if !tcp.is_empty() {
            lines.push(Word::new(Tone::Warn, tcp.join(", ")));
        }
        lines
    }

    /// `dropped 3: IP_OUTNOROUTES at ip6_forward (no route to destination), dev lxc-p1`.
    pub(in crate::view) fn drop(&self, d: &Drop, n: u64) -> String {
        let p = &d.place;
        let meaning = (self.cx.meaning)(&p.reason, &p.symbol, d.route.map_or(0, |r| r.errno));
        let meaning = match meaning {
            m if m.is_empty() => m,
            m => format!(" ({})", self.style.sentence(&m)),
        };
        let home = p.netns.unwrap_or(self.cx.inventory.home);
        let at = match &*p.symbol {
            "?" | "" => String::new(),
            symbol => format!(" at {}", self.style.name(symbol)),
        };
        let dev = p
            .dev
            .map_or_else(String::new, |d| format!(", dev {}", self.dev(home, d)));
        let from = p.in_dev.filter(|d| p.dev != Some(*d));
        let from = from.map_or_else(String::new, |d| format!(", in by {}", self.dev(home, d)));
        let encap = d
            .encap
            .map_or_else(String::new, |e| format!(", in {}", self.encap(&e)));
        format!(
            "dropped {n}: {}{at}{meaning}{dev}{from}{encap}",
            self.style.name(&p.reason)
        )
    }

    /// `icmp from 10.0.0.1: host unreachable, 3 times, in by eth0`.
    pub(in crate::view) fn icmp(&self, s: &IcmpSample, n: u64) -> String {
        let mtu = s.mtu.map_or_else(String::new, |m| format!(" (mtu {m})"));
        let times = if n == 1 {
            String::new()
        } else {
            format!(", {n} times")
        };
        let by = if s.local {
            "made by this node".to_owned()
        } else {
            format!("{} by {}", json::dir(s.dir), self.dev(s.netns, s.dev))
        };
        format!("icmp from {}: {}{mtu}{times}, {by}", s.from, icmp::error(s))
    }

    /// `no route: ENETUNREACH in main, 3 times, asked by curl (4242) in net p1`.
    pub(in crate::view) fn route_failure(&self, r: &RouteFailure, n: u64) -> Word {
        let times = if n == 1 {
            String::new()
        } else {
            format!(", {n} times")
        };
        let table = table_label(r.table, self.cx.numeric);
        let comm = self.style.name(&r.comm);
        let netns = self.cx.netns(r.netns);
        let netns = if r.netns == self.cx.inventory.home {
            String::new()
        } else {
            format!(" in {}", self.style.name(&netns))
        };
        let error = self.cx.errno(r.errno);
        let text = format!(
            "no route: {error}, last table {table}{times}, asked by {comm} ({}){netns}",
            r.pid
        );
        Word::new(Tone::Bad, text)
    }
}
