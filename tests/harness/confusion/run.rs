//! Running a case: lab, counters, tracer, traffic, and then the rows.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

use super::case::{Case, Flow, Leaves, Step, Wanted};
use super::compare::{self, Sides};
use super::{Row, Table};
use crate::brief::brief;
use crate::traffic::{Echo, Noise, Sent};
use crate::truth::Truth;
use crate::{Netns, Network, Tracer, deadline, expect};

/// From SIGINT to the end; with 10,000 flows in the report.
const END_LIMIT: Duration = Duration::from_mins(1);
/// How long packets may be under way.
const ARRIVE: Duration = Duration::from_secs(10);

/// What else the node has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Nothing.
    Quiet,
    /// 10,000 other flows through the node at the same time ([`Noise`]).
    Noisy,
}

/// A case that was run.
#[derive(Debug)]
pub struct Ran {
    /// Its rows.
    pub table: Table,
    /// The object that `tracer check -o json` printed.
    pub report: Value,
    /// What became of each flow, in the order of the case.
    pub sent: Vec<Sent>,
}

impl Ran {
    /// Prints the rows and requires that all agree; otherwise the report is in the error.
    pub fn agree(self) -> Result<()> {
        self.table.print()?;
        self.table.agree().with_context(|| {
            let shown = brief(&self.report);
            // of 10,000 other flows a few tell enough
            let cut = shown
                .char_indices()
                .nth(20_000)
                .map_or(shown.len(), |(at, _)| at);
            format!("tracer said\n{}", shown.get(..cut).unwrap_or_default())
        })
    }
}

impl Case {
    /// Raises the lab, runs tracer beside the traffic and compares.
    pub fn run(&self, load: Load) -> Result<Ran> {
        self.running(load)
            .with_context(|| format!("the case {}", self.name))
    }

    fn running(&self, load: Load) -> Result<Ran> {
        let topology = match load {
            Load::Quiet => self.topology.clone(),
            Load::Noisy => Noise::beside(self.topology.clone(), &self.node),
        };
        let network = topology.raise()?;
        let mut echoes = Vec::new();
        for (role, address) in &self.echoes {
            let address: IpAddr = address
                .parse()
                .with_context(|| format!("{address:?} is no address"))?;
            echoes.extend(Echo::both(network.ns(role)?, address)?);
        }
        let mut truth = Truth::of_veths(&network, &self.node)?;
        for watch in &self.watch {
            watch(&network, &mut truth)?;
        }
        let prepared: Result<Vec<_>> = self.prepare.iter().map(|f| f(&network)).collect();
        let _kept = prepared?;
        let node = network.ns(&self.node)?;
        let mut args = vec!["check", "-o", "json", "--for", "1h"];
        args.extend(self.args.iter().map(String::as_str));
        let tracer = Tracer::start(node, &args)?;
        let noise = match load {
            Load::Quiet => None,
            Load::Noisy => Some(Noise::start(&network)?),
        };
        let sent = self.send(&network)?;
        self.arrived(&truth, &sent);
        let others = noise.map(Noise::stop).transpose()?;
        let report = tracer.interrupt(END_LIMIT)?.json()?;
        expect::no_loss(&report).with_context(|| format!("beside {others:?}"))?;
        if let Some(others) = others {
            others.were_seen(&report)?;
        }
        let judge = Judge {
            truth: &truth,
            node,
        };
        let table = judge.table(self, &report, &sent)?;
        Ok(Ran {
            table,
            report,
            sent,
        })
    }

    /// Takes the steps. Without any, sends each flow.
    fn send(&self, network: &Network) -> Result<Vec<Sent>> {
        let mut sent = vec![Sent::default(); self.flows.len()];
        for step in &self.steps {
            match step {
                Step::Act(act) => act(network)?,
                Step::Send(at) => {
                    let (flow, sum) = self
                        .flows
                        .get(*at)
                        .zip(sent.get_mut(*at))
                        .context("a step sends a flow that the case does not have")?;
                    // by a task of that namespace, as real senders are: a lookup that finds
                    // nothing is told by its task alone
                    let ns = network.ns(&flow.from)?;
                    let sender = flow.sender.as_ref().context("an act sends it")?;
                    let one = ns.run(|| sender.send(ns, 0))?;
                    let one = one.with_context(|| format!("cannot send {}", flow.name))?;
                    sum.add(one);
                }
            }
        }
        Ok(sent)
    }

    /// Waits for packets that are counted after their sender is done.
    fn arrived(&self, truth: &Truth, sent: &[Sent]) {
        for (flow, sent) in self.flows.iter().zip(sent) {
            let counted = flow.request.as_ref().is_some_and(|wanted| {
                wanted.exact && matches!(wanted.leaves, Leaves::By(_) | Leaves::Among(_))
            });
            if !counted {
                continue;
            }
            let on_wire = flow.on_wire_identity(sent);
            // what does not arrive is a row that disagrees, which says more than an error here
            drop(deadline::wait_for("arrival", ARRIVE, || {
                let total: u64 = truth.of(&on_wire)?.iter().map(|(_, n)| n).sum();
                Ok((total >= sent.sent).then_some(()))
            }));
        }
    }
}

/// What the report is held against.
struct Judge<'a> {
    truth: &'a Truth,
    node: &'a Netns,
}

impl Judge<'_> {
    fn table(&self, case: &Case, report: &Value, sent: &[Sent]) -> Result<Table> {
        let mut table = Table::default();
        for (flow, sent) in case.flows.iter().zip(sent) {
            let name = format!("{}/{}", case.name, flow.name);
            let found = expect::flow(report, &flow.identity(sent));
            let missing = found.as_ref().err().map(ToString::to_string);
            let found = found.ok();
            if let Some(wanted) = &flow.request {
                let wire = flow.on_wire_identity(sent);
                let reported = found.ok_or_else(|| missing.clone());
                table
                    .rows
                    .push(self.row(name.clone(), wanted, &wire, reported)?);
            }
            if let Some(wanted) = &flow.reply {
                let reported = found.and_then(|flow| flow.get("reply")).ok_or(missing);
                let wire = reversed(&flow.identity(sent));
                table
                    .rows
                    .push(self.row(format!("{name} reply"), wanted, &wire, reported)?);
            }
        }
        Ok(table)
    }

    fn row(
        &self,
        case: String,
        wanted: &Wanted,
        wire: &Value,
        reported: Result<&Value, Option<String>>,
    ) -> Result<Row> {
        let counted = if wanted.leaves == Leaves::Uncounted {
            Vec::new()
        } else {
            self.truth.of(wire)?
        };
        Ok(compare::row(&Sides {
            case,
            wanted,
            reported: reported.as_ref().ok().copied(),
            missing: reported.err().flatten(),
            truth: counted,
            kernel: wanted.route_get.as_ref().map(|args| {
                let got = route_get(self.node, args);
                got.map_err(|error| format!("{error:#}").replace('\n', " "))
            }),
        }))
    }
}

impl Flow {
    /// How tracer reports it.
    fn identity(&self, sent: &Sent) -> Value {
        let mut identity = self.seen.clone();
        if let (Some(source), true) = (sent.source, identity.get("sport").is_none()) {
            identity["sport"] = json!(source.port());
        }
        identity
    }

    /// How it looks after it left. The identifier of a ping is no port to the counters.
    fn on_wire_identity(&self, sent: &Sent) -> Value {
        let mut identity = match &self.on_wire {
            Some(identity) => identity.clone(),
            None => self.identity(sent),
        };
        without_icmp_ids(&mut identity);
        identity
    }
}

fn without_icmp_ids(identity: &mut Value) {
    let icmp = matches!(identity["proto"].as_str(), Some("icmp" | "icmp6"));
    if let (Value::Object(fields), true) = (identity, icmp) {
        for key in ["sport", "dport", "icmp_type", "icmp_code"] {
            fields.remove(key);
        }
    }
}

/// The answers to a flow.
fn reversed(identity: &Value) -> Value {
    let mut turned = identity.clone();
    for (one, other) in [("src", "dst"), ("sport", "dport")] {
        for (from, to) in [(one, other), (other, one)] {
            match identity.get(from) {
                Some(value) => turned[to] = value.clone(),
                None => drop(turned.as_object_mut().map(|fields| fields.remove(to))),
            }
        }
    }
    without_icmp_ids(&mut turned);
    turned
}

/// Device and gateway that `ip route get` names.
fn route_get(node: &Netns, args: &str) -> Result<(String, Option<String>)> {
    let argv: Vec<&str> = ["ip", "-j", "route", "get"]
        .into_iter()
        .chain(args.split(' '))
        .collect();
    let answer: Value = serde_json::from_str(&node.exec(&argv)?)?;
    let text = |key: &str| answer[0][key].as_str().map(str::to_owned);
    let dev = text("dev").ok_or_else(|| anyhow!("no device in {answer}"))?;
    let via = answer[0].pointer("/via/host").and_then(Value::as_str);
    Ok((dev, text("gateway").or_else(|| via.map(str::to_owned))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_both_ends_swapped() {
        let flow = json!({"proto": "udp", "src": "a", "dst": "b", "sport": 1});
        assert_eq!(
            reversed(&flow),
            json!({"proto": "udp", "src": "b", "dst": "a", "dport": 1})
        );
        let ping = json!({"proto": "icmp", "src": "a", "dst": "b", "icmp_type": 8});
        assert_eq!(
            reversed(&ping),
            json!({"proto": "icmp", "src": "b", "dst": "a"})
        );
    }
}
