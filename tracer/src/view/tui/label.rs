//! Flows and paths in few columns.

use std::net::IpAddr;

use super::{safe, theme::Theme};
use crate::{
    event::Tuple,
    inventory::Owner,
    model::{Direction, Flow},
    view::{ViewContext, flow_name},
};

/// Addresses are not cut to less than this.
const LEAST: usize = 5;

/// The flow's name, with pods by their names instead of addresses, both cut in the middle when it
/// does not fit. The path pane shows addresses and names.
pub(super) fn flow(cx: &ViewContext<'_>, f: &Flow, width: usize, theme: Theme) -> String {
    let t = &f.id.tuple;
    let who = cx.who(f).ends;
    let end = |address: IpAddr, owner: Option<&Owner>| {
        owner.map_or_else(
            || address.to_string(),
            |o| safe::safe(&o.to_string(), theme.ascii).into_owned(),
        )
    };
    named(
        t,
        &end(t.src, who.src),
        &end(t.dst, who.dst),
        (width, theme),
    )
}

/// The flow's name with these instead of its addresses.
fn named(t: &Tuple, src: &str, dst: &str, (width, theme): (usize, Theme)) -> String {
    let full = flow_name(t);
    let Some((head, tail)) = full.split_once(" > ") else {
        return full;
    };
    let (Some(head), Some(tail)) = (put(head, t.src, src), put(tail, t.dst, dst)) else {
        return full;
    };
    let have = safe::columns(&head) + 3 + safe::columns(&tail);
    if have <= width {
        return format!("{head} > {tail}");
    }
    let (long_src, long_dst) = (safe::columns(src), safe::columns(dst));
    let room = (long_src + long_dst).saturating_sub(have - width);
    // what the shorter one does not need goes to the other
    let (a, b) = match room / 2 {
        half if long_src < half => (long_src, room - long_src),
        half if long_dst < half => (room - long_dst, long_dst),
        half => (half, room - half),
    };
    let (a, b) = (a.max(LEAST), b.max(LEAST));
    let head = head.replacen(src, &safe::cut_middle(src, a, theme.more()), 1);
    let tail = tail.replacen(dst, &safe::cut_middle(dst, b, theme.more()), 1);
    format!("{head} > {tail}")
}

/// `text` with `name` instead of the address in it. A name needs no brackets before a port.
fn put(text: &str, address: IpAddr, name: &str) -> Option<String> {
    let address = address.to_string();
    let bracketed = format!("[{address}]");
    if name != address && text.contains(&bracketed) {
        return Some(text.replacen(&bracketed, name, 1));
    }
    text.contains(&address)
        .then(|| text.replacen(&address, name, 1))
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
        let put_on = match hops.get(i + 1).and_then(|n| n.encap.as_deref()) {
            Some(next) if hop.encap.is_none() => Some(next),
            _ => hop.encap.as_deref().filter(|_| i == 0),
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
