//! The state of the interface: `update(Action)` changes it and answers what the outside has to do.

use std::sync::Arc;

use super::{
    action::{Action, Effect, Picture},
    flows::Flows,
    grid::Grid,
    input::{Input, Key},
    keys,
    layout::{Areas, areas},
    pane::Pane,
    panes::{details, devices::Devices, drops::Drops, findings, help, routes::Routes, strip},
    prompt::{Prompt, Typed},
    replay::Position,
    sums::Sums,
};
use crate::{
    event::KtimeNs,
    filter::Filter,
    view::{
        ViewContext, WallClock,
        text::{Style, Text},
    },
};

/// Drop rates that are kept for the sparkline.
const HISTORY: usize = 60;

/// What does not change while the interface runs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Colour and character set.
    pub style: Style,
    /// Numbers instead of names.
    pub numeric: bool,
    /// Wall time.
    pub clock: WallClock,
    /// What a drop reason at a symbol with an errno means.
    pub meaning: fn(&str, &str, u32) -> String,
    /// The filter that was given at the start, which limits what is traced; empty for none.
    pub filter: String,
    /// The file that is shown; `None` when live.
    pub replay: Option<String>,
}

/// What covers the panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The selected flow, from this line on.
    Details(usize),
    /// The keys, from this line on.
    Help(usize),
}

/// Everything that is shown.
#[derive(Debug)]
pub struct State {
    pub(super) setup: Setup,
    pub(super) size: (u16, u16),
    /// With the findings that concern the flows that are shown.
    pub(super) picture: Option<Picture>,
    /// As it came.
    whole: Option<Picture>,
    /// The one before.
    replaced: Option<Picture>,
    /// The newest picture, while paused.
    waiting: Option<Picture>,
    pub(super) paused: bool,
    pub(super) pane: Pane,
    pub(super) over: Option<Over>,
    pub(super) prompt: Option<Prompt>,
    pub(super) message: Option<(String, bool)>,
    /// The file that is being written, and its bytes.
    pub(super) recording: Option<(String, u64)>,
    /// Where in a recording this is.
    pub(super) position: Option<Position>,
    pub(super) filter: Filter,
    pub(super) filter_text: String,
    pub(super) cleared: KtimeNs,
    pub(super) history: Vec<f64>,
    pub(super) flows: Flows,
    /// Over the flows that are shown.
    sums: Arc<Sums>,
    pub(super) findings: Grid,
    pub(super) drops: Drops,
    pub(super) devices: Devices,
    pub(super) routes: Routes,
}

impl State {
    /// Nothing is known yet; `size` is columns and rows.
    pub fn new(setup: Setup, size: (u16, u16)) -> Self {
        let mut state = Self {
            setup,
            size,
            picture: None,
            whole: None,
            replaced: None,
            waiting: None,
            paused: false,
            pane: Pane::default(),
            over: None,
            prompt: None,
            message: None,
            recording: None,
            position: None,
            filter: Filter::all(),
            filter_text: String::new(),
            cleared: KtimeNs::default(),
            history: Vec::new(),
            flows: Flows::default(),
            sums: Arc::default(),
            findings: Grid::default(),
            drops: Drops::default(),
            devices: Devices::default(),
            routes: Routes::default(),
        };
        state.measure();
        state
    }

    /// What it was made with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Hands out what the last picture replaced. To drop it takes a while with very many flows,
    /// which need not be where keys are answered.
    pub fn discarded(&mut self) -> Option<Picture> {
        self.replaced.take()
    }

    /// The picture as it came.
    pub(super) fn whole(&self) -> Option<&Picture> {
        self.whole.as_ref()
    }

    /// What the user did.
    pub fn input(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Resize(columns, rows) => self.update(Action::Resize(columns, rows)),
            Input::Key(key) => self.key(key),
            Input::Paste(text) => {
                if let Some(prompt) = &mut self.prompt {
                    prompt.insert(&text);
                }
                Vec::new()
            }
            Input::Wheel(down) => {
                self.message = None;
                self.update(Action::Move(if down { 3 } else { -3 }))
            }
            Input::Click(x, y) => {
                self.message = None;
                self.click(x, y).map_or_else(Vec::new, |a| self.update(a))
            }
        }
    }

    fn key(&mut self, key: Key) -> Vec<Effect> {
        let Some(prompt) = &mut self.prompt else {
            self.message = None;
            return keys::action(key, self.setup.replay.is_some())
                .map_or_else(Vec::new, |a| self.update(a));
        };
        match prompt.key(key) {
            Typed::Open => {}
            Typed::Cancelled => self.prompt = None,
            Typed::Done => {
                let text = prompt.text();
                self.prompt = None;
                self.narrow(&text);
            }
        }
        Vec::new()
    }

    /// Changes the state, and says what the outside has to do.
    pub fn update(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Picture(picture) if self.paused => self.waiting = Some(picture),
            Action::Picture(picture) => self.take(picture),
            Action::Say(text, bad) => self.message = Some((text, bad)),
            Action::Resize(columns, rows) => self.size = (columns, rows),
            Action::Move(by) => self.step(by),
            Action::Page(by) => self.page(by),
            Action::Top => self.step(isize::MIN),
            Action::Bottom => self.step(isize::MAX),
            Action::Cycle(forward) => self.go(self.pane.cycle(forward)),
            Action::Go(pane) => self.go(pane),
            Action::Open => self.open(),
            Action::Back => self.back(),
            Action::Filter => self.prompt = Some(Prompt::new(&self.filter_text)),
            Action::Sort => self.sort(),
            Action::SortBy(column) => self.sort_by(column),
            Action::Reverse => {
                self.flows.reverse = !self.flows.reverse;
                self.arrange();
            }
            Action::Group => self.group(),
            Action::OnlyTrouble => {
                self.flows.only_trouble = !self.flows.only_trouble;
                self.arrange();
            }
            Action::Pause => self.pause(),
            Action::Clear => {
                self.cleared = self
                    .picture
                    .as_ref()
                    .map_or(self.cleared, |p| p.snapshot.at);
                self.recount();
            }
            Action::Copy => return self.copy(),
            Action::Export => return self.export(),
            Action::Help => {
                self.over = match self.over {
                    Some(Over::Help(_)) => None,
                    _ => Some(Over::Help(0)),
                }
            }
            Action::Record => return self.record(),
            Action::Recording(file) => self.recording = file,
            Action::Replay(seek) => return self.seek(seek),
            Action::At(position) => self.position = Some(position),
            Action::Narrow(text) => self.narrow(&text),
            Action::Redraw => return vec![Effect::Redraw],
            Action::Suspend => return vec![Effect::Suspend],
            Action::Quit => return vec![Effect::Quit],
        }
        self.measure();
        Vec::new()
    }

    /// Text of this picture.
    pub(super) fn text<'a>(&'a self, p: &'a Picture) -> Text<'a> {
        text(&self.setup, p)
    }

    /// Where everything is.
    pub(super) fn areas(&self) -> Areas {
        let strip = self
            .picture
            .as_ref()
            .map_or(0, |p| strip::lines(p, self.size).len());
        areas(self.size, self.pane, strip as u16)
    }

    /// The part of the screen that an overlay covers.
    pub(super) fn covered(&self) -> ratatui::layout::Rect {
        let a = self.areas();
        let rows = a.footer.y.saturating_sub(a.tabs.bottom());
        ratatui::layout::Rect::new(0, a.tabs.bottom(), self.size.0, rows)
    }

    fn take(&mut self, picture: Picture) {
        let back = |before: &Picture| picture.snapshot.at < before.snapshot.at;
        if self.whole.as_ref().is_some_and(back) {
            self.rewind();
        }
        self.replaced = self.whole.replace(picture);
        self.recount();
        self.history.push(self.drops.rate());
        if self.history.len() > HISTORY {
            self.history.remove(0);
        }
    }

    /// Counts again what is shown.
    pub(super) fn recount(&mut self) {
        let Some(mut p) = self.whole.clone() else {
            return;
        };
        self.flows.update(&p, &self.filter, self.cleared);
        let all = self.shows_all();
        if !all {
            p.findings = self.flows.concerning(&p.findings);
        }
        self.flows.arrange(&p);
        self.sums = if all {
            p.sums.clone()
        } else {
            let rows = self.flows.rows().iter();
            Arc::new(p.kinds.sum(&p.facts, rows.map(|r| r.source)))
        };
        let t = text(&self.setup, &p);
        self.drops.update(&t, &p, &self.sums, all);
        self.findings.set(findings::rows(&p));
        self.picture = Some(p);
        self.fill();
        self.measure();
    }

    /// Neither a filter nor a time leaves flows out.
    fn shows_all(&self) -> bool {
        self.filter.is_all() && self.cleared == KtimeNs::default()
    }

    /// Fills the panes that are only filled when they are looked at.
    fn fill(&mut self) {
        let Some(p) = &self.picture else { return };
        let t = text(&self.setup, p);
        match self.pane {
            Pane::Devices => self.devices.update(&t, p, &self.sums),
            Pane::Routes => self.routes.update(&t, p, &self.sums),
            Pane::Flows | Pane::Findings | Pane::Drops => {}
        }
    }

    /// Tells the lists how high they are.
    fn measure(&mut self) {
        let height = usize::from(self.areas().list.height);
        self.flows.height = height;
        self.flows.follow();
        for grid in [
            &mut self.findings,
            &mut self.drops.grid,
            &mut self.devices.grid,
            &mut self.routes.grid,
        ] {
            grid.height = height;
            grid.follow();
        }
        let lines = match self.over {
            Some(Over::Help(_)) => {
                help::lines(self.setup.style.ascii, self.setup.replay.is_some()).len()
            }
            Some(Over::Details(_)) => match &self.picture {
                Some(p) => details::lines(self, p, self.size.0).len(),
                None => 0,
            },
            None => 0,
        };
        let most = lines.saturating_sub(usize::from(self.covered().height));
        if let Some(Over::Help(at) | Over::Details(at)) = &mut self.over {
            *at = (*at).min(most);
        }
    }

    pub(super) fn arrange(&mut self) {
        if let Some(p) = &self.picture {
            self.flows.arrange(p);
        }
    }

    pub(super) fn go(&mut self, pane: Pane) {
        self.over = None;
        self.pane = pane;
        self.fill();
    }

    pub(super) fn grid(&mut self) -> Option<&mut Grid> {
        match self.pane {
            Pane::Flows => None,
            Pane::Findings => Some(&mut self.findings),
            Pane::Drops => Some(&mut self.drops.grid),
            Pane::Devices => Some(&mut self.devices.grid),
            Pane::Routes => Some(&mut self.routes.grid),
        }
    }

    pub(super) fn pause(&mut self) {
        self.paused = !self.paused;
        if let Some(picture) = self.waiting.take().filter(|_| !self.paused) {
            self.take(picture);
        }
    }
}

fn text<'a>(setup: &'a Setup, p: &'a Picture) -> Text<'a> {
    Text {
        cx: ViewContext {
            inventory: &p.inventory,
            clock: &setup.clock,
            meaning: setup.meaning,
            numeric: setup.numeric,
        },
        style: Style {
            width: None,
            ..setup.style
        },
    }
}
