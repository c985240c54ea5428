//! A path on one line: `lxc-p1 → [main: dev vx0, lookup] → vx0 ⟦vxlan 42 a > b⟧ → eth0`.

use std::sync::Arc;

use super::{Text, Tone, style::Word};
use crate::{
    event::{Encap, Ifindex, NetnsId, RouteKind},
    model::{Decision, Direction, Hop, Outcome, Step},
    view::{json, table_label},
};

impl Text<'_> {
    /// A device; with its namespace when that is not the home one, otherwise with the pod behind it:
    /// `lxc-a (shop/web-0)`, `shop/web-0/eth0`.
    pub(in crate::view) fn dev(&self, netns: NetnsId, dev: Ifindex) -> String {
        let name = self.device(netns, dev);
        match self.cx.behind(netns, dev) {
            Some(pod) if netns == self.cx.inventory.home => {
                format!("{name} ({})", self.style.name(&pod.to_string()))
            }
            _ => name,
        }
    }

    /// The same without the pod behind it.
    pub(in crate::view) fn device(&self, netns: NetnsId, dev: Ifindex) -> String {
        let name = self.cx.dev(netns, dev);
        let name = self.style.name(&name);
        if netns == self.cx.inventory.home {
            return name.into_owned();
        }
        let outside = self.cx.netns(netns);
        format!("{}/{name}", self.style.name(&outside))
    }

    /// The words of a path; each arrow belongs to the word before it, so that a line which was
    /// broken shows that it goes on.
    pub(in crate::view) fn path(&self, d: &Direction) -> Vec<Word> {
        let mut words: Vec<Word> = Vec::new();
        let mut last: Option<&Hop> = None;
        for (i, step) in d.path.iter().enumerate() {
            let (here, rest) = (last.map(|h| h.netns), &d.path[i..]);
            if !words.is_empty() {
                Self::add(&mut words, self.style.arrow());
            }
            match step {
                Step::Route(r) => words.push(self.decision(r, here, rest)),
                Step::Hop(h) => {
                    words.push(Word::new(Tone::Strong, self.dev(h.netns, h.dev)));
                    let before = last.and_then(|l| l.encap.as_deref());
                    let after = next_hop(&d.path[i + 1..]).and_then(|n| n.encap.as_deref());
                    // said once, where it is put on: before the first device that shows it
                    let shown = match (h.encap.as_deref(), after) {
                        (Some(e), _) if last.is_none() => Some(e),
                        (here, Some(e)) if !same_outer(here, e) => Some(e),
                        (Some(e), None) if before.is_none() && i == 0 => Some(e),
                        _ => None,
                    };
                    if let Some(e) = shown {
                        let encap = self.encap(e);
                        Self::add(&mut words, &encap);
                    }
                    last = Some(h);
                }
            }
        }
        if !words.is_empty() && matches!(d.outcome, Some(Outcome::Dropped(_))) {
            Self::add(&mut words, self.style.arrow());
            words.push(Word::new(Tone::Bad, self.style.stop()));
        }
        words
    }

    /// Appends to the last word, which then is not broken from it.
    fn add(words: &mut [Word], text: &str) {
        if let Some(word) = words.last_mut() {
            word.text.push(' ');
            word.text.push_str(text);
        }
    }

    /// `⟦vxlan 42 192.0.2.1 > 192.0.2.2⟧`.
    pub(in crate::view) fn encap(&self, e: &Encap) -> String {
        let (open, close) = self.style.brackets();
        let vni = e.key.vni.map_or_else(String::new, |v| format!("{v} "));
        format!("{open}{} {vni}{} > {}{close}", e.key.kind, e.src, e.dst)
    }

    /// `redirected by tc program cil_from_container`.
    fn redirected(&self, by: &[Arc<str>]) -> String {
        let names: Vec<_> = by.iter().map(|name| self.style.name(name)).collect();
        match names.as_slice() {
            [] => "redirected, not by a tc program that is known".to_owned(),
            [one] => format!("redirected by tc program {one}"),
            several => format!("redirected by tc program {}", several.join(" or ")),
        }
    }

    /// `[rule 1536 table 6: default via 10.0.0.1, lookup]`.
    pub(in crate::view) fn decision(
        &self,
        r: &Decision,
        netns: Option<NetnsId>,
        rest: &[Step],
    ) -> Word {
        let d = &r.decision;
        let netns = netns
            .or_else(|| json::next_netns(rest))
            .unwrap_or(self.cx.inventory.home);
        if d.bridged {
            return Word::new(Tone::Dim, "[bridged]");
        }
        let by = r.redirected_by.as_deref().map(|by| self.redirected(by));
        let rule = r.rule.map(|n| format!("rule {n}"));
        let table = d.table.map(|t| table_label(t, self.cx.numeric));
        let check = d.source_check.then(|| "source check".to_owned());
        let place: Vec<String> = check.into_iter().chain(rule).chain(table).collect();
        let mut what = Vec::new();
        if !matches!(d.kind, RouteKind::Unicast | RouteKind::Unknown) {
            what.push(
                if d.kind == RouteKind::None {
                    "no route"
                } else {
                    d.kind.name()
                }
                .to_owned(),
            );
        }
        what.extend(
            r.matched
                .as_deref()
                .map(|m| self.style.name(m).into_owned()),
        );
        what.extend(d.lwtunnel.map(|id| format!("encap id {id}")));
        what.extend(d.gateway.map(|g| format!("via {g}")));
        let next = next_hop(rest).map(|h| h.dev);
        // beside a gateway the device is said only when the packet did not leave by it
        if let Some(dev) = d
            .dev
            .filter(|dev| d.gateway.is_none() || next != Some(*dev))
        {
            what.push(format!("dev {}", self.dev(netns, dev)));
        }
        if d.errno != 0 {
            what.push(format!("error {}", self.cx.errno(d.errno)));
        }
        let mut text = match (place.join(" "), what.join(" ")) {
            (p, w) if p.is_empty() => w,
            (p, w) if w.is_empty() => p,
            (p, w) => format!("{p}: {w}"),
        };
        if let Some(by) = by {
            let sep = if text.is_empty() { "" } else { ": " };
            text = format!("{by}{sep}{text}");
        }
        let how = match d.why {
            Some(why) => format!("{}: {}", d.how.name(), why.text()),
            None => d.how.name().to_owned(),
        };
        for tail in [Some(how), changed(r.changes)].into_iter().flatten() {
            let sep = if text.is_empty() { "" } else { ", " };
            text = format!("{text}{sep}{tail}");
        }
        let bad = d.errno != 0
            || matches!(
                d.kind,
                RouteKind::None
                    | RouteKind::Blackhole
                    | RouteKind::Unreachable
                    | RouteKind::Prohibit
            );
        Word::new(
            if bad { Tone::Bad } else { Tone::Plain },
            format!("[{text}]"),
        )
    }
}

fn changed(n: u32) -> Option<String> {
    match n {
        0 => None,
        1 => Some("changed once".to_owned()),
        n => Some(format!("changed {n} times")),
    }
}

fn next_hop(path: &[Step]) -> Option<&Hop> {
    path.iter().find_map(|s| match s {
        Step::Hop(h) => Some(h),
        Step::Route(_) => None,
    })
}

/// The same encapsulation, whatever the source port.
fn same_outer(a: Option<&Encap>, b: &Encap) -> bool {
    a.is_some_and(|a| (a.key, a.src, a.dst) == (b.key, b.src, b.dst))
}
