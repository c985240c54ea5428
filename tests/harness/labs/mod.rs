//! The labs: small clusters, each with something broken in it, and healthy twins.
//!
//! To add one, copy `ipv6_prefix.rs`, describe the cluster in `topology`, the flows in `traffic` and
//! what happens in `MODES`, and list it in [`SCENARIOS`]. The test `labs` then raises it in every
//! mode and checks that exactly the flows named in `lost` get no answer.
//!
//! ```no_run
//! use harness::Lab;
//!
//! let lab = Lab::raise("ipv6-prefix", None)?;
//! println!("{}", lab.describe());
//! for flow in lab.traffic(1)? {
//!     println!("{flow}");
//! }
//! # Ok::<(), anyhow::Error>(())
//! ```

mod aws_eni;
mod config;
mod encap_loss;
mod ipv6_prefix;
mod native_tunnel;
mod node_faults;
mod overlapping_vpc;
mod router;

use std::fmt;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;

use anyhow::{Context as _, Result};

use crate::traffic::{Echo, Plan, Planned, Sent};
use crate::{Netns, Network, Topology, traffic};

/// All labs; the first one is what a demo shows when nothing is asked for.
pub const SCENARIOS: [&Scenario; 8] = [
    &native_tunnel::SCENARIO,
    &aws_eni::SCENARIO,
    &overlapping_vpc::SCENARIO,
    &ipv6_prefix::SCENARIO,
    &encap_loss::SCENARIO,
    &router::SCENARIO,
    &node_faults::SCENARIO,
    &config::SCENARIO,
];

/// A lab in all its modes.
#[derive(Debug)]
pub struct Scenario {
    /// The name that users type.
    pub name: &'static str,
    /// One line for a list of labs.
    pub about: &'static str,
    /// The first one is the default.
    pub modes: &'static [Mode],
    topology: fn(mode: &str) -> Topology,
    traffic: fn(mode: &str) -> Plan,
}

/// One way in which a lab is broken, or not.
#[derive(Debug)]
pub struct Mode {
    /// What users type after the colon.
    pub name: &'static str,
    /// Nothing is wrong: no finding may fire.
    pub healthy: bool,
    /// Who talks to whom and what is broken, in one or two sentences.
    pub describe: &'static str,
    /// The flows that get no answer. All others are answered completely, except those in `either`.
    pub lost: &'static [&'static str],
    /// Flows of which some are answered and some are not, by chance of a hash. Ends of names.
    pub either: &'static [&'static str],
}

impl Scenario {
    /// The scenario called `name`; the error lists those that there are.
    pub fn find(name: &str) -> Result<&'static Self> {
        let found = SCENARIOS.into_iter().find(|scenario| scenario.name == name);
        found.with_context(|| {
            let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            format!("no lab is called {name:?}; there are {}", names.join(", "))
        })
    }

    /// The mode called `name`, or the default one.
    pub fn mode(&self, name: Option<&str>) -> Result<&'static Mode> {
        let found = match name {
            None => self.modes.first(),
            Some(name) => self.modes.iter().find(|mode| mode.name == name),
        };
        found.with_context(|| {
            let names: Vec<_> = self.modes.iter().map(|mode| mode.name).collect();
            let name = name.unwrap_or_default();
            format!(
                "the lab {} has no mode {name:?}; it has {}",
                self.name,
                names.join(", ")
            )
        })
    }
}

/// What became of a flow of the lab's plan.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Its name in the plan.
    pub name: String,
    /// The role that sent it.
    pub from: String,
    /// The counts.
    pub sent: Sent,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}: {}", self.name, self.from, self.sent)
    }
}

/// A lab that is up, with its echo servers. Dropping it takes it down.
#[derive(Debug)]
pub struct Lab {
    scenario: &'static Scenario,
    mode: &'static Mode,
    plan: Plan,
    round: AtomicU16,
    node: Netns,
    // before the network, so that sockets are closed when it goes down
    _echoes: Vec<Echo>,
    _deaf: Vec<UdpSocket>,
    network: Network,
}

impl Lab {
    /// Raises the lab `name` in `mode`, or in its default mode.
    pub fn raise(name: &str, mode: Option<&str>) -> Result<Self> {
        let scenario = Scenario::find(name)?;
        let mode = scenario.mode(mode)?;
        let network = (scenario.topology)(mode.name).raise()?;
        let plan = (scenario.traffic)(mode.name);
        let mut echoes = Vec::new();
        for (role, address) in &plan.echoes {
            let address: IpAddr = address
                .parse()
                .with_context(|| format!("{address:?} is no address"))?;
            echoes.extend(Echo::both(network.ns(role)?, address)?);
        }
        let mut deaf = Vec::new();
        for (role, address) in &plan.deaf {
            deaf.push(traffic::deaf(network.ns(role)?, address)?);
        }
        let node = network.ns("n1")?.clone();
        Ok(Self {
            scenario,
            mode,
            plan,
            round: AtomicU16::new(0),
            node,
            _echoes: echoes,
            _deaf: deaf,
            network,
        })
    }

    /// Raises what a user asked for as `NAME` or `NAME:MODE`.
    pub fn raise_named(wanted: &str) -> Result<Self> {
        match wanted.split_once(':') {
            Some((name, mode)) => Self::raise(name, Some(mode)),
            None => Self::raise(wanted, None),
        }
    }

    /// All labs with their modes.
    pub fn scenarios() -> [&'static Scenario; SCENARIOS.len()] {
        SCENARIOS
    }

    /// The node on which tracer runs: `n1`.
    pub fn node(&self) -> &Netns {
        &self.node
    }

    /// The namespace of a role.
    pub fn ns(&self, role: &str) -> Result<&Netns> {
        self.network.ns(role)
    }

    /// The namespaces.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The scenario that it is of.
    pub fn scenario(&self) -> &'static Scenario {
        self.scenario
    }

    /// The mode that it was raised in.
    pub fn mode(&self) -> &'static Mode {
        self.mode
    }

    /// Who talks to whom and what is broken.
    pub fn describe(&self) -> &'static str {
        self.mode.describe
    }

    /// Sends the lab's traffic `rounds` times, and returns what became of each flow in all rounds
    /// together, in the order of the plan.
    pub fn traffic(&self, rounds: u32) -> Result<Vec<Flow>> {
        let mut total: Vec<Flow> = Vec::new();
        for _ in 0..rounds {
            let flows = self.send_round()?;
            if total.is_empty() {
                total = flows;
            } else {
                for (sum, flow) in total.iter_mut().zip(flows) {
                    sum.sent.add(flow.sent);
                }
            }
        }
        Ok(total)
    }

    /// Repeats the lab's traffic until `stop` is set; a round that has begun is finished.
    pub fn traffic_until(&self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            self.send_round()?;
        }
        Ok(())
    }

    fn send_round(&self) -> Result<Vec<Flow>> {
        let round = self.round.fetch_add(1, Ordering::Relaxed);
        let mut flows = Vec::new();
        for wave in &self.plan.waves {
            flows.extend(self.send_wave(wave, round)?);
        }
        Ok(flows)
    }

    fn send_wave(&self, wave: &[Planned], round: u16) -> Result<Vec<Flow>> {
        let send = |planned: &Planned| -> Result<Flow> {
            let sent = planned.sender.send(self.ns(&planned.from)?, round);
            let sent = sent.with_context(|| format!("cannot send the flow {}", planned.name))?;
            Ok(Flow {
                name: planned.name.clone(),
                from: planned.from.clone(),
                sent,
            })
        };
        thread::scope(|scope| {
            let senders: Vec<_> = wave
                .iter()
                .map(|planned| scope.spawn(move || send(planned)))
                .collect();
            let join = |sender: thread::ScopedJoinHandle<'_, Result<Flow>>| {
                sender
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            senders.into_iter().map(join).collect()
        })
    }
}
