//! What a check expects of the traffic.

use crate::{
    diagnose,
    view::check::{Expectations, PathExpect},
};

/// What the traffic must do.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Expectations")]
pub struct Expect {
    /// Every flow leaves by DEV (repeat for "by one of these")
    #[arg(long, value_name = "DEV")]
    pub via: Vec<String>,
    /// No flow leaves by DEV
    #[arg(long, value_name = "DEV")]
    pub not_via: Vec<String>,
    /// Every flow is encapsulated, by this device or kind (vxlan, geneve, ipip, gre)
    #[arg(
        long,
        value_name = "DEV|KIND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "no_tunnel"
    )]
    pub tunnel: Option<String>,
    /// No flow is encapsulated
    #[arg(long)]
    pub no_tunnel: bool,
    /// Every flow is routed by table T (number, main, local, default)
    #[arg(long, value_name = "T")]
    pub table: Option<String>,
    /// The answers leave by DEV; so for all of these
    #[arg(long, value_name = "DEV")]
    pub reply_via: Vec<String>,
    /// No answer leaves by DEV
    #[arg(long, value_name = "DEV")]
    pub reply_not_via: Vec<String>,
    /// The answers are encapsulated
    #[arg(
        long,
        value_name = "DEV|KIND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "reply_no_tunnel"
    )]
    pub reply_tunnel: Option<String>,
    /// No answer is encapsulated
    #[arg(long)]
    pub reply_no_tunnel: bool,
    /// The answers are routed by table T
    #[arg(long, value_name = "T")]
    pub reply_table: Option<String>,
    /// At most N packets are dropped on this node
    #[arg(long, value_name = "N")]
    pub max_drops: Option<u64>,
    /// Inconclusive with fewer than N packets
    #[arg(long, value_name = "N")]
    pub min_packets: Option<u64>,
    /// Fail when this finding appears, whatever its severity
    #[arg(long, value_name = "FINDING", value_parser = finding)]
    pub fail_on: Vec<String>,
    /// Do not fail for this finding, nor for what the flows that it names lose
    #[arg(long, value_name = "FINDING", value_parser = finding)]
    pub ignore: Vec<String>,
}

/// A finding that there is: one that is misspelt would never fail, nor be ignored.
fn finding(id: &str) -> Result<String, String> {
    if diagnose::rules().any(|rule| rule.id == id) {
        return Ok(id.to_owned());
    }
    let known: Vec<&str> = diagnose::rules().map(|rule| rule.id).collect();
    Err(format!("there are: {}", known.join(", ")))
}

impl Expect {
    /// As the judge wants them.
    pub fn expectations(&self) -> Expectations {
        let tunnel = |t: &Option<String>| t.clone().map(|t| Some(t).filter(|t| !t.is_empty()));
        Expectations {
            forward: PathExpect {
                via: self.via.clone(),
                not_via: self.not_via.clone(),
                tunnel: tunnel(&self.tunnel),
                no_tunnel: self.no_tunnel,
                table: self.table.clone(),
            },
            reply: PathExpect {
                via: self.reply_via.clone(),
                not_via: self.reply_not_via.clone(),
                tunnel: tunnel(&self.reply_tunnel),
                no_tunnel: self.reply_no_tunnel,
                table: self.reply_table.clone(),
            },
            max_drops: self.max_drops,
            min_packets: self.min_packets,
            fail_on: self.fail_on.clone(),
            ignore: self.ignore.clone(),
        }
    }
}
