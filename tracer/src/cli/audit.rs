//! `tracer audit`: what is wrong in the configuration, before any packet.

use std::io::Write as _;

use anyhow::Result;

use super::{
    args::{Format, Options},
    output::{self, Output},
};
use crate::{
    cluster,
    diagnose::{self, Finding},
    names::Resolver,
    net::{self, NetnsSelection},
    view::{
        audit::{self, Audit},
        text::{self, Text},
    },
};

/// Reads, judges, prints. Needs no BPF, and no more privileges than the kernel asks for what is read.
pub(super) fn run(options: &Options, mut out: Output) -> Result<u8> {
    let sources = options.names();
    let intent = cluster::intent(&options.cluster())?;
    let selection = NetnsSelection::from_args(&options.netns).enter_home(&sources.proc)?;
    let read = net::read_inventory(&selection, &sources.proc)?;
    let (mut inventory, limits) = (read.inventory, read.notes);
    Resolver::new(sources).assign(&mut inventory, &read.processes);
    inventory.peers = intent.named_nodes();
    let mut findings = diagnose::audit(&inventory, &intent);
    if !options.devices.is_empty() {
        findings.retain(|f| concerns(f, &inventory, &options.devices));
    }
    let audit = Audit {
        inventory: &inventory,
        intent: &intent,
        findings: &findings,
        limits: &limits,
    };
    let verdict = audit::judge(&audit);
    let clock = output::clock(0);
    let cx = out.context(&inventory, &clock);
    if out.format == Format::Json {
        audit::write_report(&mut out.stdout, &cx, &audit, &verdict)?;
    } else {
        let shown = if options.quiet {
            text::verdict(out.style, &verdict)
        } else {
            let style = out.style;
            audit::report(&Text { cx, style }, &audit, &verdict)
        };
        out.print(&shown)?;
    }
    out.stdout.flush()?;
    Ok(verdict.exit_code())
}

/// The finding is about one of these devices, or about none.
fn concerns(
    finding: &Finding,
    inventory: &crate::inventory::Inventory,
    devices: &[String],
) -> bool {
    finding.subject.dev.is_none_or(|(netns, dev)| {
        let name = inventory.dev_name(netns, dev);
        devices.contains(&name)
    })
}
