//! One self-contained page: no script, nothing from elsewhere, readable in light, dark and on paper.

use std::fmt::Write as _;

use super::{DRAWN, Page, svg, tables};
use crate::{
    diagnose::Finding,
    model::{Direction, Flow},
    view::{escape, flow_name},
};

const STYLE: &str = include_str!("style.css");
/// Bars of the chart.
const BARS: u64 = 60;

/// The page.
pub fn html(p: &Page<'_>) -> String {
    let mut out = String::new();
    let title = escaped(&p.title());
    let _infallible = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in p.facts() {
        let _infallible = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escaped(&value));
    }
    out.push_str("</dl>\n");
    findings(&mut out, p);
    ways(&mut out, p);
    over_time(&mut out, p);
    for table in tables::all(p) {
        write_table(&mut out, &table);
    }
    out.push_str("<h2>What tracer did not see</h2>\n");
    let not_seen = p.not_seen();
    if not_seen.is_empty() {
        out.push_str("<p>Nothing was lost or hidden.</p>\n");
    }
    for line in not_seen {
        let _infallible = writeln!(out, "<p>{}</p>", escaped(&line));
    }
    let _infallible = write!(
        out,
        "<p class=\"dim\">tracer {}</p>\n</body>\n</html>\n",
        escaped(p.file.tracer)
    );
    out
}

fn findings(out: &mut String, p: &Page<'_>) {
    out.push_str("<h2>Findings</h2>\n");
    if p.findings.is_empty() {
        out.push_str("<p class=\"good\">Nothing is wrong as far as tracer can tell.</p>\n");
    }
    for f in p.findings {
        finding(out, p, f);
    }
}

fn finding(out: &mut String, p: &Page<'_>, f: &Finding) {
    let severity = f.severity.name();
    let _infallible = write!(
        out,
        "<section class=\"card {severity}\">\n<h3><span class=\"badge {severity}\">{severity}</span> \
         {}</h3>\n<p>{}</p>\n",
        escaped(f.id),
        escaped(&f.summary)
    );
    let names = p.text.cx.names_in(f);
    if !f.evidence.is_empty() || names.is_some() {
        out.push_str("<ul class=\"evidence\">\n");
        for line in f.evidence.iter().chain(&names) {
            let _infallible = writeln!(out, "<li>{}</li>", escaped(line));
        }
        out.push_str("</ul>\n");
    }
    if !f.next.is_empty() {
        let next = escaped(&f.next);
        let _infallible = writeln!(out, "<div class=\"next\">Next: <code>{next}</code></div>");
    }
    out.push_str("</section>\n");
}

/// The ways of flows that lost packets or had no answer.
fn ways(out: &mut String, p: &Page<'_>) {
    let troubled = p.troubled();
    if troubled.is_empty() {
        return;
    }
    out.push_str("<h2>Flows in trouble</h2>\n");
    for f in troubled.iter().take(DRAWN) {
        flow(out, p, f);
    }
    if troubled.len() > DRAWN {
        let more = troubled.len() - DRAWN;
        let _infallible = writeln!(out, "<p>and {more} more, in the table of flows.</p>");
    }
}

fn flow(out: &mut String, p: &Page<'_>, f: &Flow) {
    let name = format!("{}{}", flow_name(&f.id.tuple), p.text.who(f));
    let state = p.text.state(f);
    let _infallible = writeln!(
        out,
        "<section class=\"card\">\n<h3>{} <span class=\"badge bad\">{}</span></h3>",
        escaped(&name),
        escaped(&state.text)
    );
    let mut notes: Vec<String> = Vec::new();
    for d in [&f.forward, &f.reply] {
        notes.extend(p.text.troubles(d).into_iter().map(|w| w.text));
    }
    notes.extend(
        f.route_failures
            .iter()
            .map(|r| p.text.route_failure(r, r.count).text),
    );
    if !notes.is_empty() {
        out.push_str("<ul class=\"evidence\">\n");
        for note in notes {
            let _infallible = writeln!(out, "<li>{}</li>", escaped(&note));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<div class=\"ways\">\n");
    let figure = |out: &mut String, d: &Direction, caption: &str| {
        let drawn = svg::way(&p.text, d, &format!("{name}: {caption}"));
        if !drawn.is_empty() {
            let (n, s) = (d.packets, if d.packets == 1 { "" } else { "s" });
            let _infallible = writeln!(
                out,
                "<figure><figcaption>{caption}: {n} packet{s}, {} B</figcaption>{drawn}</figure>",
                d.bytes
            );
        }
    };
    figure(out, &f.forward, "there");
    figure(out, &f.reply, "back");
    out.push_str("</div>\n</section>\n");
}

fn over_time(out: &mut String, p: &Page<'_>) {
    if p.drops.is_empty() {
        return;
    }
    let (from, to) = (p.snapshot.started, p.snapshot.at);
    let span = to.since(from).max(1);
    let mut counts = vec![0; BARS as usize];
    for (at, n) in p.drops {
        let bar = at.since(from).min(span - 1).saturating_mul(BARS) / span;
        if let Some(count) = counts.get_mut(bar as usize) {
            *count += n;
        }
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    let each = span as f64 / 1e9 / BARS as f64;
    let clock = p.text.cx.clock;
    let _infallible = write!(
        out,
        "<h2>Dropped packets over time</h2>\n<div class=\"chart\">{}<div class=\"axis\">\
         <span>{}</span><span>at most {most} in {each:.2} s</span><span>{}</span></div></div>\n",
        svg::bars(&counts),
        clock.time_of_day(from),
        clock.time_of_day(to)
    );
}

fn write_table(out: &mut String, t: &tables::Table) {
    let _infallible = write!(
        out,
        "<h2>{}</h2>\n<div class=\"wide\"><table>\n<tr>",
        t.title
    );
    for c in &t.columns {
        match c.strip_prefix('#') {
            Some(c) => out.extend(["<th class=\"n\">", c, "</th>"]),
            None => out.extend(["<th>", c, "</th>"]),
        }
    }
    out.push_str("</tr>\n");
    for row in &t.rows {
        out.push_str("<tr>");
        for (c, cell) in t.columns.iter().zip(row) {
            let class = if c.starts_with('#') {
                " class=\"n\""
            } else {
                ""
            };
            let _infallible = write!(out, "<td{class}>{}</td>", escaped(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
    if t.more > 0 {
        let _infallible = writeln!(out, "<p class=\"dim\">and {} more</p>", t.more);
    }
}

/// Text for a page: nothing in it is markup, and nothing moves other text.
pub(super) fn escaped(text: &str) -> String {
    let text = escape::sentence(text, false);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
