//! Flows and paths in few columns.

use super::{safe, theme::Theme};
use crate::{
    event::Tuple,
    model::Direction,
    view::{ViewContext, flow_name},
};

/// Addresses are not cut to less than this.
const LEAST: usize = 5;

/// The flow's name, addresses cut in the middle when it does not fit.
pub(super) fn flow(t: &Tuple, width: usize, theme: Theme) -> String {
    let full = flow_name(t);
    let have = full.chars().count();
    if have <= width {
        return full;
    }
    let (src, dst) = (t.src.to_string(), t.dst.to_string());
    let Some((head, tail)) = full.split_once(" > ") else {
        return full;
    };
    if !head.contains(&src) || !tail.contains(&dst) {
        return full;
    }
    let room = (src.len() + dst.len()).saturating_sub(have - width);
    // what the shorter one does not need goes to the other
    let (a, b) = match room / 2 {
        half if src.len() < half => (src.len(), room - src.len()),
        half if dst.len() < half => (room - dst.len(), dst.len()),
        half => (half, room - half),
    };
    let (a, b) = (a.max(LEAST), b.max(LEAST));
    let head = head.replacen(&src, &safe::cut_middle(&src, a, theme.more()), 1);
    let tail = tail.replacen(&dst, &safe::cut_middle(&dst, b, theme.more()), 1);
    format!("{head} > {tail}")
}

/// `lxc-a→vx0⟦42⟧→ens5`: the devices, with the VNI where an encapsulation is put on.
pub(super) fn path(cx: &ViewContext<'_>, d: &Direction, width: usize, theme: Theme) -> String {
    let hops: Vec<_> = d.hops().collect();
    let (open, close) = if theme.ascii {
        ("{", "}")
    } else {
        ("⟦", "⟧")
    };
    let mut names: Vec<String> = Vec::new();
    let mut puts_on: Vec<String> = Vec::new();
    for (i, hop) in hops.iter().enumerate() {
        let mut name = safe::safe(&cx.dev(hop.netns, hop.dev), theme.ascii).into_owned();
        let put_on = match hops.get(i + 1).and_then(|n| n.encap) {
            Some(next) if hop.encap.is_none() => Some(next),
            _ => hop.encap.filter(|_| i == 0),
        };
        if let Some(e) = put_on {
            let what = e.key.vni;
            let what = what.map_or_else(|| e.key.kind.to_string(), |v| v.to_string());
            let shown = format!("{open}{what}{close}");
            name.push_str(&shown);
            puts_on.push(shown);
        }
        names.push(name);
    }
    let arrow = theme.arrow();
    let wide = names.join(&format!(" {arrow} "));
    if safe::columns(&wide) <= width {
        return wide;
    }
    let tight = names.join(arrow);
    if safe::columns(&tight) <= width || names.len() < 3 {
        return tight;
    }
    // the ends and the tunnels say most
    let between = if puts_on.is_empty() || names[0].ends_with(close) {
        theme.more().to_owned()
    } else {
        puts_on.join(arrow)
    };
    format!(
        "{}{arrow}{between}{arrow}{}",
        names[0],
        names[names.len() - 1]
    )
}
