//! The panes, in the order of their tabs.

/// One of the panes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// Flows and the path of the selected one.
    #[default]
    Flows,
    /// What is wrong.
    Findings,
    /// Where packets end.
    Drops,
    /// Devices with their rates.
    Devices,
    /// Rules and routes with their use.
    Routes,
}

impl Pane {
    /// All panes.
    pub const ALL: [Self; 5] = [
        Self::Flows,
        Self::Findings,
        Self::Drops,
        Self::Devices,
        Self::Routes,
    ];

    /// The text of its tab.
    pub fn title(self) -> &'static str {
        match self {
            Self::Flows => "Flows",
            Self::Findings => "Findings",
            Self::Drops => "Drops",
            Self::Devices => "Devices",
            Self::Routes => "Routes",
        }
    }

    /// The text of its tab in a narrow terminal.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Flows => "Flows",
            Self::Findings => "Found",
            Self::Drops => "Drops",
            Self::Devices => "Devs",
            Self::Routes => "Routes",
        }
    }

    /// The next pane, or the one before; the ends are joined.
    #[must_use]
    pub fn cycle(self, forward: bool) -> Self {
        let n = Self::ALL.len();
        let at = Self::ALL.iter().position(|p| *p == self).unwrap_or(0);
        Self::ALL[if forward { at + 1 } else { at + n - 1 } % n]
    }
}
