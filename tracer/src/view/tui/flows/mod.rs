//! The flows that are shown: which, in which order, and which one is selected.

mod group;
mod matching;
mod order;
mod row;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;

pub(super) use group::{By, Group, Key};
pub(super) use row::{Asymmetry, Class, Place, Row, asymmetry, class, drops, last};

use super::{action::Picture, columns::Column, cursor::Cursor};
use crate::{
    diagnose::Finding,
    event::KtimeNs,
    filter::{Filter, Verdict},
    model::FlowId,
};
use matching::Asking;

/// Sums over the flows that are shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) flows: usize,
    pub(super) lost: usize,
    pub(super) unanswered: usize,
    pub(super) rate: f64,
    pub(super) drop_rate: f64,
}

/// Rows, in an order, with a selection.
#[derive(Debug)]
pub(super) struct Flows {
    rows: Vec<Row>,
    /// Flow → its row.
    index: HashMap<FlowId, u32, RandomState>,
    /// Rows that are shown, by number.
    order: Vec<u32>,
    groups: Vec<Group>,
    at: KtimeNs,
    pub(super) totals: Totals,
    pub(super) sort: Column,
    pub(super) reverse: bool,
    pub(super) only_trouble: bool,
    pub(super) by: By,
    /// The group that is open.
    pub(super) inside: Option<Key>,
    /// Flows of a finding, when only those are asked for.
    pub(super) only: Option<(String, Vec<FlowId>)>,
    cursor: Cursor<FlowId>,
    group_cursor: Cursor<Key>,
    pub(super) height: usize,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            index: HashMap::default(),
            order: Vec::new(),
            groups: Vec::new(),
            at: KtimeNs::default(),
            totals: Totals::default(),
            sort: Column::Mark,
            reverse: false,
            only_trouble: false,
            by: By::Flow,
            inside: None,
            only: None,
            cursor: Cursor::default(),
            group_cursor: Cursor::default(),
            height: 1,
        }
    }
}

impl Flows {
    /// Takes a picture in: the flows that match and were seen since `cleared`. They have to be
    /// arranged then.
    pub(super) fn update(&mut self, picture: &Picture, filter: &Filter, cleared: KtimeNs) {
        let snapshot = &picture.snapshot;
        let seconds = snapshot.at.since(self.at) as f64 / 1e9;
        let first = self.index.is_empty() && self.at == KtimeNs::default();
        let asking = Asking::new(filter, picture);
        let mut rows = Vec::with_capacity(snapshot.flows.len());
        let mut place = 0;
        for (source, facts) in (0..).zip(picture.facts.iter()) {
            let verdict = asking.verdict(facts);
            if !verdict.is_match() || cleared > KtimeNs::default() && facts.last <= cleared {
                continue;
            }
            let mut row = Row::new(facts, source, verdict == Verdict::Reverse);
            if !first {
                row.measure(self.before(&facts.id, &mut place), seconds);
            }
            rows.push(row);
        }
        let same = rows.len() == self.rows.len()
            && rows.iter().zip(&self.rows).all(|(a, b)| a.id() == b.id());
        if !same {
            self.index.clear();
            self.index.extend(rows.iter().map(Row::id).zip(0..));
        }
        self.rows = rows;
        self.at = snapshot.at;
        self.totals = self.rows.iter().fold(Totals::default(), |t, r| Totals {
            flows: t.flows + 1,
            lost: t.lost + usize::from(r.class == Class::Lost),
            unanswered: t.unanswered + usize::from(r.class == Class::Unanswered),
            rate: t.rate + r.rate,
            drop_rate: t.drop_rate + r.drop_rate,
        });
    }

    /// Time went back: rates start again.
    pub(super) fn rewind(&mut self) {
        self.at = KtimeNs::default();
        self.index.clear();
        self.rows.clear();
    }

    /// The row of a flow as it was. Most often flows stay in their order: then it is the one after
    /// the last that was asked for.
    fn before(&self, id: &FlowId, place: &mut usize) -> Option<&Row> {
        let next = self.rows.get(*place).filter(|r| r.id() == *id);
        let row = next.or_else(|| {
            *place = *self.index.get(id)? as usize;
            self.rows.get(*place)
        });
        *place += usize::from(row.is_some());
        row
    }

    /// The findings about flows that are shown, and those about no flow. Rows name them by their
    /// new numbers then.
    pub(super) fn concerning(&mut self, findings: &[Finding]) -> Arc<[Finding]> {
        let concerns = |f: &Finding| {
            let flows = &f.subject.flows;
            flows.is_empty() || flows.iter().any(|id| self.index.contains_key(id))
        };
        let mut numbers = Vec::with_capacity(findings.len());
        let mut kept = Vec::new();
        for f in findings {
            numbers.push(kept.len() as u32);
            if concerns(f) {
                kept.push(f.clone());
            }
        }
        for row in &mut self.rows {
            if let Some(number) = numbers.get(row.facts.finding as usize) {
                row.facts.finding = *number;
            }
        }
        kept.into()
    }

    /// Works out what is shown, and in which order.
    pub(super) fn arrange(&mut self, picture: &Picture) {
        let only: Option<HashSet<FlowId, RandomState>> = self
            .only
            .as_ref()
            .map(|(_, ids)| ids.iter().copied().collect());
        let wanted = |r: &Row| {
            (!self.only_trouble || r.class < Class::Unknown)
                && only.as_ref().is_none_or(|ids| ids.contains(&r.id()))
        };
        if self.by != By::Flow && self.inside.is_none() {
            let rows: Vec<&Row> = self.rows.iter().filter(|r| wanted(r)).collect();
            self.groups = group::groups(&rows, self.by, picture);
        }
        let inside = |r: &Row| self.inside.is_none() || Key::of(r, self.by, picture) == self.inside;
        let numbers = (0_u32..).zip(&self.rows);
        self.order = numbers
            .filter(|(_, r)| wanted(r) && inside(r))
            .map(|(i, _)| i)
            .collect();
        order::sort(&mut self.order, &self.rows, self.sort, picture);
        if self.reverse {
            self.order.reverse();
        }
        self.follow();
    }

    /// Goes after the selection, and into the height of the table.
    pub(super) fn follow(&mut self) {
        let (rows, order, groups) = (&self.rows, &self.order, &self.groups);
        self.cursor
            .follow(order.len(), self.height, |i| rows[order[i] as usize].id());
        self.group_cursor
            .follow(groups.len(), self.height, |i| groups[i].key.clone());
    }

    /// Groups are shown, not flows.
    pub(super) fn grouped(&self) -> bool {
        self.by != By::Flow && self.inside.is_none()
    }

    /// Rows in the table.
    pub(super) fn len(&self) -> usize {
        if self.grouped() {
            self.groups.len()
        } else {
            self.order.len()
        }
    }

    /// All flows that the filter lets through.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows on the screen with their numbers.
    pub(super) fn visible(&self, height: usize) -> impl Iterator<Item = (usize, &Row)> {
        let from = self.cursor.offset();
        let rows = self.order.iter().map(|i| &self.rows[*i as usize]);
        rows.enumerate().skip(from).take(height)
    }

    /// The groups on the screen with their numbers.
    pub(super) fn visible_groups(&self, height: usize) -> impl Iterator<Item = (usize, &Group)> {
        let from = self.group_cursor.offset();
        self.groups.iter().enumerate().skip(from).take(height)
    }

    /// Number of the selected row.
    pub(super) fn at(&self) -> usize {
        if self.grouped() {
            self.group_cursor.at()
        } else {
            self.cursor.at()
        }
    }

    /// First row on the screen.
    pub(super) fn offset(&self) -> usize {
        if self.grouped() {
            self.group_cursor.offset()
        } else {
            self.cursor.offset()
        }
    }

    /// The selected flow.
    pub(super) fn selected(&self) -> Option<&Row> {
        if self.grouped() {
            return None;
        }
        let row = self.order.get(self.cursor.at())?;
        self.rows.get(*row as usize)
    }

    /// The selected group.
    pub(super) fn selected_group(&self) -> Option<&Group> {
        self.groups
            .get(self.group_cursor.at())
            .filter(|_| self.grouped())
    }

    /// Selects a row.
    pub(super) fn go(&mut self, at: usize) {
        let (rows, order, groups) = (&self.rows, &self.order, &self.groups);
        if self.by != By::Flow && self.inside.is_none() {
            self.group_cursor
                .go(at, groups.len(), self.height, |i| groups[i].key.clone());
        } else {
            self.cursor.go(at, order.len(), self.height, |i| {
                rows[order[i] as usize].id()
            });
        }
    }

    /// Selects the first row, whatever it will be.
    pub(super) fn top(&mut self) {
        if self.grouped() {
            self.group_cursor.top();
        } else {
            self.cursor.top();
        }
    }
}
