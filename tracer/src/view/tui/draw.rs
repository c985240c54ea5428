//! The whole screen.

use ratatui::{
    Frame,
    layout::Rect,
    widgets::{Clear, Widget as _},
};

use super::{
    canvas::{Canvas, word},
    pane::Pane,
    panes::{details, findings, flows, footer, header, help, path, strip},
    state::{Over, State},
    theme::Theme,
};
use crate::view::text::Tone;

impl State {
    /// Draws everything. Shows what is in the state and changes nothing.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let areas = self.areas();
        let theme = Theme::new(self.setup.style);
        let mut canvas = Canvas {
            buffer: frame.buffer_mut(),
            theme,
        };
        let Some(p) = &self.picture else {
            canvas.put((1, 0), self.size.0, &[word(Tone::Dim, "tracer: starting")]);
            return;
        };
        header::draw(&mut canvas, areas.header, self, p);
        header::tabs(&mut canvas, areas.tabs, self);
        match self.pane {
            Pane::Flows => {
                let lines = strip::lines(p, self.size);
                strip::draw(&mut canvas, areas.strip, &lines);
                flows::draw(&mut canvas, &areas, self, p);
                path::draw(&mut canvas, (areas.rule, areas.detail), self, p);
            }
            Pane::Findings => findings::draw(&mut canvas, &areas, self, p),
            Pane::Drops => self.drops.draw(&mut canvas, &areas),
            Pane::Devices => self.devices.draw(&mut canvas, &areas),
            Pane::Routes => self.routes.draw(&mut canvas, &areas),
        }
        if let Some(over) = self.over {
            let area = self.covered();
            Clear.render(area, canvas.buffer);
            let (lines, at) = match over {
                Over::Help(at) => {
                    let replay = self.setup.replay.is_some();
                    (help::lines(theme.ascii, replay), at)
                }
                Over::Details(at) => (details::lines(self, p, area.width), at),
            };
            if !canvas.lines(area, &lines, at) && area.height > 0 {
                let more = word(Tone::Strong, format!(" {} j: more ", theme.sorted(false)));
                canvas.put_right((area.x, area.bottom() - 1), area.width, &more);
            }
        }
        footer::draw(&mut canvas, areas.footer, self);
        let Some(prompt) = &self.prompt else { return };
        let at = footer::prompt(&mut canvas, last_row(areas.footer, self.size), prompt);
        frame.set_cursor_position(at);
    }
}

fn last_row(footer: Rect, (width, height): (u16, u16)) -> Rect {
    if footer.height > 0 {
        footer
    } else {
        Rect::new(0, height.saturating_sub(1), width, 1)
    }
}
