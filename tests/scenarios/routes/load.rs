//! The whole table once more, while 10,000 other flows pass through the node: a decision must never
//! be joined to another flow's lookup.

use anyhow::{Context as _, Result};
use harness::confusion::{Case, Load, Table};

use crate::cases;

fn beside_10_000_other_flows(cases: Vec<Case>) -> Result<()> {
    let mut table = Table::default();
    for case in cases {
        let ran = case.run(Load::Noisy)?;
        table.extend(ran.table);
    }
    table.print()?;
    table.agree().context("beside 10,000 other flows")
}

#[test]
fn ways_beside_10_000_other_flows() -> Result<()> {
    beside_10_000_other_flows(cases::ways())
}

#[test]
fn members_beside_10_000_other_flows() -> Result<()> {
    beside_10_000_other_flows(cases::members()?)
}

#[test]
fn rules_beside_10_000_other_flows() -> Result<()> {
    beside_10_000_other_flows(cases::rules())
}

#[test]
fn ends_beside_10_000_other_flows() -> Result<()> {
    beside_10_000_other_flows(cases::ends()?)
}

#[test]
fn translated_and_below_beside_10_000_other_flows() -> Result<()> {
    beside_10_000_other_flows(cases::below()?)
}
