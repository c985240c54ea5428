//! Columns of the flow table: which fit, and where.

/// A column of the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// How bad it is.
    Mark,
    /// Addresses and ports.
    Flow,
    /// Devices passed.
    Path,
    /// What became of it.
    State,
    /// Packets dropped, and why.
    Drops,
    /// Packets of the opening direction.
    Packets,
    /// Packets per second, both directions.
    Rate,
    /// Packets of the answers.
    Reply,
    /// Since the last packet.
    Age,
}

impl Column {
    /// In the order in which `s` goes through them; the first is the default.
    pub const ALL: [Self; 9] = [
        Self::Mark,
        Self::Flow,
        Self::Path,
        Self::State,
        Self::Drops,
        Self::Packets,
        Self::Rate,
        Self::Reply,
        Self::Age,
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mark => "!",
            Self::Flow => "FLOW",
            Self::Path => "PATH",
            Self::State => "STATE",
            Self::Drops => "DROPS",
            Self::Packets => "PKTS",
            Self::Rate => "PKT/S",
            Self::Reply => "REPLY",
            Self::Age => "AGE",
        }
    }

    /// How a line of text calls the order by it.
    pub fn order(self) -> &'static str {
        match self {
            Self::Mark => "trouble first",
            Self::Flow => "flow",
            Self::Path => "path",
            Self::State => "state",
            Self::Drops => "drops",
            Self::Packets => "packets",
            Self::Rate => "rate",
            Self::Reply => "reply",
            Self::Age => "age",
        }
    }

    /// The numbers stand at the right.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Packets | Self::Rate | Self::Reply | Self::Age)
    }
}

/// A column on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) column: Column,
    pub(super) x: u16,
    pub(super) width: u16,
}

/// The terminal's width from which on a column is shown, and how wide it is. Those of width 0
/// share what is left.
const PLAN: &[(Column, u16, u16)] = &[
    (Column::Mark, 0, 1),
    (Column::Flow, 0, 0),
    (Column::Path, 64, 0),
    (Column::State, 0, 13),
    (Column::Drops, 110, 0),
    (Column::Packets, 72, 5),
    (Column::Rate, 96, 5),
    (Column::Reply, 104, 5),
    (Column::Age, 90, 4),
];

/// Paths get this much at least.
const PATH: u16 = 12;

/// The columns that fit into `width`; paths need `path` columns.
pub(super) fn place(width: u16, path: u16) -> Vec<Placed> {
    let shown: Vec<_> = PLAN.iter().filter(|(_, from, _)| width >= *from).collect();
    let fixed: u16 = shown.iter().map(|(_, _, w)| *w).sum();
    let gaps = shown.len().saturating_sub(1) as u16;
    let free = width.saturating_sub(fixed + gaps);
    let has = |c| shown.iter().any(|(column, ..)| *column == c);
    let (wide, drops) = match (has(Column::Path), has(Column::Drops)) {
        (_, true) => ((free * 3 / 10).min(44), (free / 4).min(34)),
        (true, false) => (free / 3, 0),
        (false, false) => (0, 0),
    };
    let path = path.clamp(PATH.min(wide), wide);
    let mut x = 0;
    let mut placed = Vec::new();
    for (column, _, width) in shown {
        let width = match column {
            Column::Path => path,
            Column::Drops => drops,
            Column::Flow => free.saturating_sub(path + drops),
            _ => *width,
        };
        placed.push(Placed {
            column: *column,
            x,
            width,
        });
        x += width + 1;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_the_width_and_do_not_overlap() {
        for width in 20..300 {
            let placed = place(width, width / 4);
            for pair in placed.windows(2) {
                assert_eq!(pair[0].x + pair[0].width + 1, pair[1].x, "width {width}");
            }
            let last = placed.last().unwrap();
            assert_eq!(last.x + last.width, width);
        }
    }

    #[test]
    fn a_usual_flow_fits_at_80() {
        let flow = place(80, 80).into_iter().find(|p| p.column == Column::Flow);
        let name = "udp 10.244.1.10:40000 > 10.244.2.20:7";
        assert!(usize::from(flow.unwrap().width) >= name.len());
    }
}
