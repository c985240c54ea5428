//! The whole table once more, while 10,000 other flows pass through the node: a decision must never
//! be joined to another flow's lookup.

use anyhow::{Context as _, Result};
use harness::confusion::{Load, Table};

use crate::cases;

#[test]
fn the_whole_table_beside_10_000_other_flows() -> Result<()> {
    let mut table = Table::default();
    for case in cases::all()? {
        let ran = case.run(Load::Noisy)?;
        table.extend(ran.table);
    }
    table.print()?;
    table.agree().context("beside 10,000 other flows")
}
