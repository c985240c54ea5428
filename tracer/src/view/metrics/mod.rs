//! Snapshots → metrics in Prometheus' text format; `docs/metrics.md` describes each.
//!
//! Counters are sums since tracer started. What labels can be is bounded: see [`Labels`].

mod labels;
#[cfg(test)]
mod tests;

use prometheus::{Encoder as _, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

pub use labels::{Label, Labels, MAX_DEVICES, OTHER, PODS};

use super::{check::Judgement, errno_name};
use crate::{
    diagnose::{self, Finding},
    event::Dir,
    inventory::Inventory,
    model::{Loss, Snapshot, Sums},
};

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that metrics are made of.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The picture, with [`Sums`].
    pub snapshot: &'a Snapshot,
    /// What is wrong with the flows of the picture.
    pub findings: &'a [Finding],
    /// The node's configuration.
    pub inventory: &'a Inventory,
    /// Labels of devices, up to date with the picture.
    pub labels: &'a Labels,
    /// Devices that are traced.
    pub devices: usize,
    /// Sentences about what this kernel does not let us see.
    pub limits: usize,
    /// Start of the counters, seconds since 1970.
    pub started: f64,
    /// Checks that are repeated, with their last verdicts.
    pub checks: &'a [Checked],
}

/// A check that is repeated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// Its name in the file.
    pub name: String,
    /// The last verdict.
    pub verdict: Option<Judgement>,
    /// End of the last run that came to a verdict, seconds since 1970.
    pub at: f64,
    /// Runs by verdict: pass, fail, inconclusive.
    pub runs: [u64; 3],
    /// Runs that came to no verdict.
    pub errors: u64,
}

const VERDICTS: [Judgement; 3] = [Judgement::Pass, Judgement::Fail, Judgement::Inconclusive];

/// The text of a scrape.
pub fn render(scene: &Scene<'_>) -> Result<Vec<u8>, prometheus::Error> {
    let page = Page(Registry::new_custom(Some("tracer".to_owned()), None)?);
    about(&page, scene)?;
    if let Some(sums) = &scene.snapshot.sums {
        traffic(&page, scene.labels, sums)?;
    }
    loss(&page, &scene.snapshot.loss)?;
    flows(&page, scene.snapshot)?;
    findings(&page, scene.findings)?;
    if !scene.checks.is_empty() {
        checks(&page, scene.checks)?;
    }
    let mut text = Vec::new();
    TextEncoder::new().encode(&page.0.gather(), &mut text)?;
    Ok(text)
}

/// Metrics that are made for one scrape.
struct Page(Registry);

impl Page {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn time(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        let metric = GaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn about(page: &Page, scene: &Scene<'_>) -> Result<(), prometheus::Error> {
    let build = page.gauge(
        "build_info",
        "Version of tracer, the kernel's release and the node's name; always 1",
        &["version", "kernel", "node"],
    )?;
    let words = [
        env!("CARGO_PKG_VERSION"),
        &scene.inventory.kernel,
        &scene.inventory.node,
    ];
    build.with_label_values(&words).set(1);
    page.time(
        "start_time_seconds",
        "Since when counters count, seconds since 1970",
        &[],
    )?
    .with_label_values(NO_LABELS)
    .set(scene.started);
    page.gauge("traced_devices", "Devices that tracer is attached to", &[])?
        .with_label_values(NO_LABELS)
        .set(count(scene.devices));
    page.gauge(
        "limits",
        "Things that this kernel or these privileges do not let tracer see",
        &[],
    )?
    .with_label_values(NO_LABELS)
    .set(count(scene.limits));
    Ok(())
}

const NO_LABELS: &[&str] = &[];

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn traffic(page: &Page, labels: &Labels, sums: &Sums) -> Result<(), prometheus::Error> {
    let packets = page.counter(
        "device_packets_total",
        "Wire packets that passed a device",
        &["netns", "device", "direction"],
    )?;
    let bytes = page.counter(
        "device_bytes_total",
        "Bytes that passed a device, with the link header",
        &["netns", "device", "direction"],
    )?;
    for ((device, dir), volume) in &sums.devices {
        let Some(label) = labels.get(*device) else {
            continue;
        };
        let direction = match dir {
            Dir::In => "in",
            Dir::Out => "out",
        };
        let words = [label.netns, &label.device, direction];
        packets.with_label_values(&words).inc_by(volume.packets);
        bytes.with_label_values(&words).inc_by(volume.bytes);
    }
    let drops = page.counter(
        "dropped_packets_total",
        "Packets that were lost on this node",
        &["reason", "netns", "device"],
    )?;
    for (at, count) in &sums.drops {
        if let Some(label) = labels.get(at.device) {
            let words = [&*at.reason, label.netns, &label.device];
            drops.with_label_values(&words).inc_by(*count);
        }
    }
    let failures = page.counter(
        "route_failures_total",
        "Lookups of local senders that found no route: no packet was made",
        &["errno"],
    )?;
    for (errno, count) in &sums.route_failures {
        failures
            .with_label_values(&[&errno_name(*errno)])
            .inc_by(*count);
    }
    Ok(())
}

fn loss(page: &Page, loss: &Loss) -> Result<(), prometheus::Error> {
    let lost = page.counter("lost_total", "What tracer itself did not show", &["kind"])?;
    for (kind, count) in [
        ("events", loss.events),
        ("evicted", loss.evicted),
        ("undecoded", loss.undecoded),
        ("untracked", loss.untracked),
        ("lookups", loss.lookups),
    ] {
        lost.with_label_values(&[kind]).inc_by(count);
    }
    Ok(())
}

/// The names of [`Outcome`](crate::model::Outcome), so that each is there from the start.
const OUTCOMES: [&str; 5] = ["delivered", "forwarded", "dropped", "unanswered", "unknown"];

fn flows(page: &Page, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let flows = page.gauge(
        "flows",
        "Flows of the last minutes by what became of their opening direction",
        &["outcome"],
    )?;
    for outcome in OUTCOMES {
        flows.with_label_values(&[outcome]).set(0);
    }
    for flow in &snapshot.flows {
        let outcome = flow
            .forward
            .outcome
            .as_ref()
            .map_or("unknown", |o| o.name());
        flows.with_label_values(&[outcome]).inc();
    }
    page.gauge(
        "neighbours_failed",
        "Next hops that did not answer in the last minutes",
        &[],
    )?
    .with_label_values(NO_LABELS)
    .set(count(snapshot.neigh_failures.len()));
    Ok(())
}

fn findings(page: &Page, found: &[Finding]) -> Result<(), prometheus::Error> {
    let findings = page.gauge(
        "findings",
        "Findings about the flows of the last minutes and the node's configuration",
        &["id", "severity"],
    )?;
    for rule in diagnose::rules() {
        findings.with_label_values(&[rule.id, "error"]).set(0);
    }
    for finding in found {
        let words = [finding.id, finding.severity.name()];
        findings.with_label_values(&words).inc();
    }
    Ok(())
}

fn checks(page: &Page, checked: &[Checked]) -> Result<(), prometheus::Error> {
    let verdict = page.gauge(
        "check_verdict",
        "1 for the last verdict of a check",
        &["check", "verdict"],
    )?;
    let runs = page.counter(
        "check_runs_total",
        "Runs of a check by verdict",
        &["check", "verdict"],
    )?;
    let last = page.time(
        "check_last_run_timestamp_seconds",
        "End of the last run that came to a verdict, seconds since 1970; 0 before the first",
        &["check"],
    )?;
    let errors = page.counter(
        "check_errors_total",
        "Runs of a check that came to no verdict",
        &["check"],
    )?;
    for check in checked {
        for (which, count) in VERDICTS.into_iter().zip(check.runs) {
            let words = [check.name.as_str(), which.name()];
            let is = check.verdict == Some(which);
            verdict.with_label_values(&words).set(is.into());
            runs.with_label_values(&words).inc_by(count);
        }
        last.with_label_values(&[&check.name]).set(check.at);
        errors
            .with_label_values(&[&check.name])
            .inc_by(check.errors);
    }
    Ok(())
}
