//! What is where on the screen.
//!
//! ```text
//! header   tracer n1  Linux 6.18                                   LIVE 00:00:12
//!          8 flows  3 lost │ 12 pkt/s │ 4 drops/s ▁▂▃
//! tabs     1 Flows  2 Findings 2  3 Drops  4 Devices  5 Routes
//! strip    error onlink-prefix-mismatch: n1 has no route for …
//! head     ! FLOW                        PATH            STATE
//! list     ✗ udp … > …                   lxc-p1 → eth0   UNANSWERED
//! rule     ── path ─────────────────────────────────────
//! detail   ● lxc-p1 …
//! footer   / filter  d trouble  ? help  q quit
//! ```

use ratatui::layout::Rect;

use super::pane::Pane;

/// The parts of the screen; those that have no room have no height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Areas {
    pub(super) header: Rect,
    pub(super) tabs: Rect,
    pub(super) strip: Rect,
    pub(super) head: Rect,
    pub(super) list: Rect,
    pub(super) rule: Rect,
    pub(super) detail: Rect,
    pub(super) footer: Rect,
}

/// Rows that the strip may take at this height.
pub(super) fn strip_rows(height: u16) -> u16 {
    match height {
        0..12 => 0,
        12..18 => 1,
        18..24 => 2,
        24..30 => 4,
        _ => 5,
    }
}

/// The parts for a size. `strip` is how many rows the strip needs.
pub(super) fn areas((width, height): (u16, u16), pane: Pane, strip: u16) -> Areas {
    let mut left = height;
    let mut y = 0;
    let mut take = |rows: u16| {
        let rows = rows.min(left);
        let area = Rect::new(0, y, width, rows);
        left -= rows;
        y += rows;
        area
    };
    let header = take(if height >= 16 { 2 } else { 1 });
    let tabs = take(1);
    let strip = take(match pane {
        Pane::Flows => strip.min(strip_rows(height)),
        _ => 0,
    });
    let head = take(1);
    let rest = height.saturating_sub(y_after(&[header, tabs, strip, head]) + 1);
    let detail = match pane {
        Pane::Flows if height >= 16 => (rest * 3 / 5).clamp(4, 14),
        Pane::Findings if height >= 12 => rest * 2 / 3,
        _ => 0,
    };
    let list = take(rest.saturating_sub(detail));
    let rule = take(detail.min(1));
    let detail = take(detail.saturating_sub(1));
    let footer = take(1);
    Areas {
        header,
        tabs,
        strip,
        head,
        list,
        rule,
        detail,
        footer,
    }
}

fn y_after(parts: &[Rect]) -> u16 {
    parts.iter().map(|p| p.height).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_screen_at_every_size() {
        for height in 0..80 {
            for pane in Pane::ALL {
                let a = areas((80, height), pane, 9);
                let parts = [
                    a.header, a.tabs, a.strip, a.head, a.list, a.rule, a.detail, a.footer,
                ];
                assert_eq!(y_after(&parts), height, "{pane:?} at {height}: {a:?}");
                assert!(parts.windows(2).all(|p| p[0].bottom() == p[1].y));
            }
        }
    }

    #[test]
    fn there_are_rows_for_flows_at_24() {
        let a = areas((80, 24), Pane::Flows, 9);
        assert!(a.list.height >= 6 && a.detail.height >= 6, "{a:?}");
    }
}
