//! The way of one flow through this node, drawn: devices, decisions, tunnels, where it ends; and the
//! way of its answers beside it.

use ratatui::layout::Rect;

use crate::{
    event::{Dir, Ifindex, NetnsId},
    inventory::Role,
    model::{Direction, Flow, Outcome, Step},
    view::{
        flow_name,
        text::{Text, Tone, Word, count},
        tui::{
            action::Picture,
            canvas::{Canvas, Line, word, wrap},
            flows::{Asymmetry, Class, Row, asymmetry},
            state::State,
            theme::Theme,
        },
    },
};

/// From this width on the answers are drawn beside the packets.
const BESIDE: u16 = 100;

/// The pane below the table.
pub(in crate::view::tui) fn draw(
    canvas: &mut Canvas<'_>,
    (rule, area): (Rect, Rect),
    state: &State,
    p: &Picture,
) {
    if rule.height == 0 {
        return;
    }
    let Some(row) = state.flows.selected() else {
        canvas.rule(rule, &[]);
        if let Some(group) = state.flows.selected_group() {
            let text = format!(" Enter shows the {}", count(group.flows as u64, "flow"));
            canvas.put((area.x, area.y), area.width, &[word(Tone::Dim, text)]);
        }
        return;
    };
    let t = state.text(p);
    canvas.rule(rule, &title(&t, &row.shown(p)));
    let flow = &*row.shown(p);
    let mut top = notes(&t, flow, area.width);
    let next = next_step(row, p, area.width);
    let reply = reply_line(&t, flow, area.width);
    let height = usize::from(area.height);
    let (left, right) = (
        way(&t, &flow.forward, canvas.theme, true),
        answers(&t, flow, canvas.theme),
    );
    // a long way is cut before what to do about it is, of which the beginning is enough then
    let room = |next: &[Line]| area.height - (next.len() as u16).min(area.height / 2);
    if area.width >= BESIDE {
        let half = area.width / 2;
        let (left, right) = (fold(&left, half - 2), fold(&right, area.width - half - 1));
        let used = left.len().max(right.len()) + top.len();
        let next = cut(next, height.saturating_sub(used));
        let way = Rect::new(area.x, area.y, area.width, room(&next));
        let used = place(canvas, way, half, &left, &right);
        let below = Rect::new(area.x, area.y + used, area.width, area.height - used);
        top.truncate(usize::from(below.height).saturating_sub(next.len()));
        top.extend(next);
        canvas.lines(below, &top, 0);
    } else {
        let mut lines = fold(&left, area.width);
        lines.extend(top);
        let next = cut(next, height.saturating_sub(lines.len() + reply.len()));
        lines.truncate(usize::from(room(&next)));
        lines.extend(next);
        lines.extend(reply);
        canvas.lines(area, &lines, 0);
    }
}

/// Rows that a next step gets however long the way is.
const NEXT: usize = 2;

/// What to do about the selected flow; when no finding is about one that is in trouble, about the
/// worst of all findings, which is named.
fn next_step(row: &Row, p: &Picture, width: u16) -> Vec<Line> {
    let worst = || {
        p.findings
            .first()
            .filter(|_| row.class <= Class::Unanswered)
    };
    let found = row.finding().and_then(|i| p.findings.get(i)).or_else(worst);
    let Some(f) = found.filter(|f| !f.next.is_empty()) else {
        return Vec::new();
    };
    let line = vec![
        word(Tone::Strong, format!(" next [{}]: ", f.id)),
        word(Tone::Plain, f.next.clone()),
    ];
    wrap(&line, usize::from(width), 3)
}

/// At most `room` lines of a next step, and at least the first ones.
fn cut(mut next: Vec<Line>, room: usize) -> Vec<Line> {
    let room = room.max(NEXT);
    if next.len() > room {
        // cut where it ends: the canvas marks a line that goes on
        let rest = next.split_off(room).into_iter().flatten();
        let rest: Vec<String> = rest.map(|w| w.text.trim_start().to_owned()).collect();
        if let Some(last) = next.last_mut() {
            last.push(word(Tone::Plain, format!(" {}", rest.join(" "))));
        }
    }
    next
}

/// Draws two columns and returns how many rows they took.
fn place(canvas: &mut Canvas<'_>, area: Rect, half: u16, left: &[Line], right: &[Line]) -> u16 {
    canvas.lines(Rect::new(area.x, area.y, half - 1, area.height), left, 0);
    let beside = Rect::new(
        area.x + half + 1,
        area.y,
        area.width - half - 1,
        area.height,
    );
    canvas.lines(beside, right, 0);
    let used = (left.len().max(right.len()) as u16).min(area.height);
    let bar = [word(Tone::Dim, canvas.theme.path()[1])];
    for y in area.y..area.y + used {
        canvas.put((area.x + half - 1, y), 1, &bar);
    }
    used
}

/// Breaks lines that are too long.
fn fold(lines: &[Line], width: u16) -> Vec<Line> {
    let width = usize::from(width);
    lines.iter().flat_map(|l| wrap(l, width, 3)).collect()
}

/// Name and state.
fn title(t: &Text<'_>, f: &Flow) -> Line {
    let vni =
        f.id.scope
            .vni
            .map_or_else(String::new, |v| format!("  vni {v}"));
    let name = format!("{}{}{vni}  ", flow_name(&f.id.tuple), t.who(f));
    vec![word(Tone::Strong, name), t.state(f)]
}

/// Everything about a flow, for the whole screen.
pub(in crate::view::tui) fn full(t: &Text<'_>, f: &Flow, theme: Theme, width: u16) -> Vec<Line> {
    let mut lines = vec![title(t, f), Vec::new()];
    lines.extend(way(t, &f.forward, theme, true));
    lines.push(Vec::new());
    lines.extend(answers(t, f, theme));
    lines.extend(notes(t, f, width));
    fold(&lines, width)
}

/// The steps of a direction, one a line, and where packets of it ended.
fn way(t: &Text<'_>, d: &Direction, theme: Theme, forward: bool) -> Vec<Line> {
    let [device, between, end] = theme.path();
    let words = t.path(d);
    let arrow = format!(" {}", t.style.arrow());
    let mut lines: Vec<Line> = Vec::new();
    for (step, w) in d.path.iter().zip(&words) {
        let text = w.text.strip_suffix(&arrow).unwrap_or(&w.text).to_owned();
        lines.push(match step {
            Step::Hop(h) => {
                let dir = match h.dir {
                    Dir::In => "in",
                    Dir::Out => "out",
                };
                let role = t.cx.inventory.link(h.netns, h.dev).map(|l| l.role);
                let role = role.filter(|r| !matches!(r, Role::Other | Role::Loopback));
                let role = role.map_or_else(String::new, |r| format!(" {r}"));
                let amount = count(h.counters.packets, "packet");
                vec![
                    word(Tone::Plain, format!(" {device} ")),
                    word(w.tone, text),
                    word(
                        Tone::Dim,
                        format!("  {dir} {amount} {} B{role}", h.counters.bytes),
                    ),
                ]
            }
            Step::Route(_) => vec![
                word(Tone::Dim, format!(" {between}   ")),
                word(w.tone, text),
            ],
        });
    }
    let troubles = t.troubles(d);
    let ended = matches!(d.outcome, Some(Outcome::Dropped(_)));
    for w in troubles {
        let mark = if ended && w.tone == Tone::Bad {
            end
        } else {
            "!"
        };
        lines.push(vec![word(w.tone, format!(" {mark} ")), w]);
    }
    if let Some(Outcome::Unanswered(_)) = d.outcome
        && forward
    {
        lines.push(vec![word(Tone::Bad, format!(" {end} nothing comes back"))]);
    }
    if lines.is_empty() {
        lines.push(vec![word(Tone::Dim, " no packet of it was seen")]);
    }
    lines
}

/// The way back, under a heading.
fn answers(t: &Text<'_>, f: &Flow, theme: Theme) -> Vec<Line> {
    if f.reply.path.is_empty() && f.reply.drops.is_empty() {
        let tone = match f.forward.outcome {
            Some(Outcome::Unanswered(_) | Outcome::Dropped(_)) => Tone::Bad,
            _ => Tone::Dim,
        };
        return vec![vec![word(tone, " reply: none")]];
    }
    let amount = count(f.reply.packets, "packet");
    let head = format!(" reply: {amount} {} B", f.reply.bytes);
    let mut lines = vec![vec![word(Tone::Strong, head)]];
    lines.extend(way(t, &f.reply, theme, false));
    lines
}

/// The way back in one line, where it cannot stand beside.
fn reply_line(t: &Text<'_>, f: &Flow, width: u16) -> Vec<Line> {
    if f.reply.path.is_empty() && f.reply.drops.is_empty() {
        return match f.forward.outcome {
            // said already
            Some(Outcome::Unanswered(_)) => Vec::new(),
            _ => vec![vec![word(Tone::Dim, " reply: none")]],
        };
    }
    let amount = count(f.reply.packets, "packet");
    let mut line: Vec<Word> = vec![word(Tone::Plain, format!(" reply: {amount}"))];
    for w in t.path(&f.reply) {
        line.push(word(w.tone, format!(" {}", w.text)));
    }
    let mut lines = wrap(&line, usize::from(width), 3);
    for w in t.troubles(&f.reply) {
        lines.extend(wrap(&[word(w.tone, " ! "), w], usize::from(width), 3));
    }
    lines
}

/// What does not belong to one direction.
fn notes(t: &Text<'_>, f: &Flow, width: u16) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for failure in &f.route_failures {
        let w = t.route_failure(failure, failure.count);
        lines.push(vec![word(w.tone, " "), w]);
    }
    let dev = |p: (NetnsId, Ifindex)| t.dev(p.0, p.1);
    let asymmetric = asymmetry(f).map(|a| match a {
        Asymmetry::Left(left, came) => {
            format!(
                "left by {}, the answers come in by {}",
                dev(left),
                dev(came)
            )
        }
        Asymmetry::Came(came, left) => {
            format!("in by {}, the answers leave by {}", dev(came), dev(left))
        }
    });
    if let Some(text) = asymmetric {
        lines.push(vec![word(Tone::Warn, format!(" ! asymmetric: {text}"))]);
    }
    fold(&lines, width)
}
