//! Arguments of `tracer report`.

use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  tracer report now.pcapng -o report.html           a page to attach to a ticket
  tracer report now.pcapng -o report.md host 10.1.2.3
  tracer report now.pcapng > report.html

The page holds all that it needs: no script, nothing from elsewhere.";

/// `report`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct ReportCommand {
    /// A file that `tracer record` wrote; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the report goes (also -o): a name that ends in .html or .md; standard output without
    #[arg(short = 'w', long = "write", value_name = "REPORT")]
    pub to: Option<PathBuf>,
    /// Which flows
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}
