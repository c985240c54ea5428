//! What is to be checked: from the command line or a file, validated before anything starts.

use std::fs;

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;

use super::file::{self, Table};
use crate::{
    cli::args::{CheckArgs, CheckCommand, DEFAULT_TIME, Options, ProbeProto},
    filter::Filter,
    names::{Resolver, Sources},
    net::netns::{self, Found, Namespaces},
    traffic::{Kind, Order},
    view::check::Expectations,
};

/// One check.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// Its name in a file.
    pub(super) name: Option<String>,
    /// The filter as it was given.
    pub(super) text: String,
    pub(super) filter: Filter,
    pub(super) expect: Expectations,
    /// Enough packets to judge.
    pub(super) until: Option<u64>,
    pub(super) probe: Option<Probe>,
}

/// What to send for a check.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) order: Order,
    /// The namespace as it was given.
    pub(super) netns: Option<String>,
}

/// All checks of one run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) checks: Vec<Check>,
    /// They are from a file: each has a name, and there is a summary.
    pub(super) many: bool,
    pub(super) time: std::time::Duration,
}

/// The arguments make no sense; the text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

impl Plan {
    /// Reads what was given. A [`Usage`] error is one of the arguments or of the file.
    pub(super) fn new(options: &Options, command: &CheckCommand) -> Result<Self> {
        let names = options.names();
        let Some(path) = &command.file else {
            let check = Check::new(None, &command.check, options.count, &names)?;
            return Ok(Self {
                checks: vec![check],
                many: false,
                time: command.duration.unwrap_or(DEFAULT_TIME),
            });
        };
        let shown = path.display();
        if command.check != CheckArgs::default() || options.count.is_some() {
            return Err(Usage(format!(
                "what to check is in {shown}: beside --file there can be --for and the options of all \
                 commands only"
            ))
            .into());
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let file = file::parse(&text).map_err(|e| Usage(format!("{shown}: {e}")))?;
        let checks = file.checks.iter().map(|table| {
            let wrong =
                |e: &dyn std::fmt::Display| Usage(format!("{shown}: check {:?}: {e}", table.name));
            let args = Table::try_parse_from(&table.words)
                .map_err(|e| wrong(&file::in_a_file(&e.to_string())))?;
            Check::new(Some(table.name.clone()), &args.check, None, &names).map_err(|e| match e
                .downcast::<Usage>()
            {
                Ok(usage) => wrong(&usage).into(),
                Err(e) => e.context(format!("{shown}: check {:?}", table.name)),
            })
        });
        Ok(Self {
            checks: checks.collect::<Result<_>>()?,
            many: true,
            time: command.duration.or(file.time).unwrap_or(DEFAULT_TIME),
        })
    }

    /// Accepts what any of the checks does, and ICMP: an error about a packet that matches need not
    /// match itself, and without it "the sender was not told" would be an invention.
    pub(super) fn filter(&self) -> Filter {
        if self.checks.iter().any(|c| c.filter.is_all()) {
            return Filter::all();
        }
        let alternatives: Vec<String> = self
            .checks
            .iter()
            .map(|c| format!("({})", c.filter))
            .chain(["icmp".into(), "icmp6".into()])
            .collect();
        // each is the text of a filter; should they not join, nothing is filtered before
        Filter::parse(&alternatives.join(" or ")).unwrap_or_default()
    }
}

impl Check {
    fn new(
        name: Option<String>,
        args: &CheckArgs,
        count: Option<u64>,
        names: &Sources,
    ) -> Result<Self> {
        let e = &args.expect;
        if let Some(id) = e.fail_on.iter().find(|id| e.ignore.contains(id)) {
            let text = format!("--fail-on {id} and --ignore {id} exclude each other");
            return Err(Usage(text).into());
        }
        let probe = probe(args, names)?;
        let mut text = args.filter_text();
        if let Some(probe) = &probe
            && text.trim().is_empty()
        {
            text = filter_of(&probe.order);
        }
        let filter = Filter::parse(&text).map_err(|e| Usage(e.to_string()))?;
        Ok(Self {
            name,
            text,
            filter,
            expect: args.expect.expectations(),
            until: args.until_packets.or(count),
            probe,
        })
    }
}

/// What to send; its namespace is looked up now, so that a wrong name is told at once.
fn probe(args: &CheckArgs, names: &Sources) -> Result<Option<Probe>> {
    let p = &args.probe;
    let Some((target, proto)) = p.proto().map_err(Usage)? else {
        return Ok(None);
    };
    let port = target.port.unwrap_or_default();
    let netns = p
        .probe_netns
        .as_deref()
        .map(|name| find_netns(name, names))
        .transpose()
        .context("--probe-netns")?;
    let order = Order {
        to: target.host,
        kind: match proto {
            ProbeProto::Icmp => Kind::Echo,
            ProbeProto::Tcp => Kind::Tcp(port),
            ProbeProto::Udp => Kind::Udp(port),
        },
        count: p.probe_count.unwrap_or(3),
        interval: p
            .probe_interval
            .unwrap_or(std::time::Duration::from_millis(200)),
        size: p.probe_size,
        netns,
    };
    Ok(Some(Probe {
        order,
        netns: p.probe_netns.clone(),
    }))
}

/// A namespace by its name, process or inode, otherwise that of a pod.
fn find_netns(name: &str, names: &Sources) -> Result<Found> {
    let unknown = match netns::find(name, &names.proc) {
        Ok(found) => return Ok(found),
        Err(e) => e,
    };
    let all = Namespaces::find(&names.proc)?;
    match Resolver::new(names.clone()).find(name, &all.processes()) {
        Ok(id) => all.get(id).cloned().ok_or_else(|| unknown.into()),
        Err(why) => bail!("{unknown}; and {why}"),
    }
}

/// The flows of a probe.
fn filter_of(order: &Order) -> String {
    let to = order.to;
    match order.kind {
        Kind::Udp(port) => format!("dst host {to} and udp dst port {port}"),
        Kind::Tcp(port) => format!("dst host {to} and tcp dst port {port}"),
        Kind::Echo if to.is_ipv4() => format!("dst host {to} and icmp"),
        Kind::Echo => format!("dst host {to} and icmp6"),
    }
}
