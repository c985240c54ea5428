//! Options of all commands.

use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};

use crate::{
    cluster::{Given, parse_prefix},
    diagnose::Mode,
    filter::Filter,
    inventory::Prefix,
    names::Sources,
    pipeline::{Pace, SessionConfig},
};

/// Options of all commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct Options {
    /// Only this device (repeatable)
    #[arg(short = 'i', long = "interface", value_name = "DEV", global = true)]
    pub devices: Vec<String>,
    /// Other namespaces: NAME, PID, INODE, self (without the pods) or all (repeatable)
    #[arg(long, value_name = "NETNS", global = true)]
    pub netns: Vec<String>,
    /// Stop after N lines (check, record: after N packets)
    #[arg(short, long, value_name = "N", global = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Output format
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        global = true
    )]
    pub output: Format,
    /// Numbers instead of names for pods, tables, namespaces and errors
    #[arg(short, long, global = true)]
    pub numeric: bool,
    /// Only what was asked for: no summary (check: the verdict alone)
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More: healthy ends, all flows; twice for tracer's own log
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Colour (`NO_COLOR` is respected)
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", global = true)]
    pub color: Color,
    /// ASCII only
    #[arg(long, global = true)]
    pub ascii: bool,
    /// How pods of different nodes are meant to reach each other
    #[arg(long, value_enum, value_name = "MODE", global = true)]
    pub mode: Option<RoutingMode>,
    /// Addresses of the cluster's pods: 10.244.0.0/16 (repeatable)
    #[arg(long = "pod-cidr", value_name = "PREFIX", global = true, value_parser = parse_prefix)]
    pub pod_cidrs: Vec<Prefix>,
    /// Network that the nodes share without a router between: 10.0.0.0/24 (repeatable)
    #[arg(long = "node-cidr", value_name = "PREFIX", global = true, value_parser = parse_prefix)]
    pub node_cidrs: Vec<Prefix>,
    /// TOML file with mode, `pod_cidrs`, `node_cidrs` and nodes (docs/cluster.md)
    #[arg(long, value_name = "FILE", global = true)]
    pub cluster: Option<PathBuf>,
    /// The host's procfs, where processes and their namespaces are looked up (default: /proc)
    #[arg(long, value_name = "DIR", global = true)]
    pub proc: Option<PathBuf>,
    /// Logs of pods, whose directories tell their names (default: /var/log/pods)
    #[arg(long, value_name = "DIR", global = true)]
    pub pod_logs: Option<PathBuf>,
    /// Names of other nodes' pods and of services from an API server
    ///
    /// That of the kubeconfig, otherwise that of this pod's account; what it knows is in docs/names.md.
    /// Only a tracer that is built with the feature `kube` has it.
    #[arg(long, global = true)]
    pub kube: bool,
    /// Most flows at devices that the kernel counts at a time (131072; `doctor -v` shows the memory)
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u32).range(1_024..=16_777_216))]
    pub flows: Option<u32>,
    /// Type information instead of /sys/kernel/btf/vmlinux
    #[arg(long, value_name = "FILE", global = true)]
    pub btf: Option<PathBuf>,
}

/// How pods of different nodes are meant to reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoutingMode {
    /// By routes of the underlay
    Native,
    /// Through a tunnel device
    Tunnel,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For CI systems: `JUnit` XML (check only)
    Junit,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Options {
    /// What a session with `filter` looks at.
    pub fn session(&self, filter: Filter) -> SessionConfig {
        SessionConfig {
            devices: self.devices.clone(),
            netns: self.netns.clone(),
            filter,
            each_packet: false,
            recording: None,
            flows: self.flows,
            duration: None,
            forget: None,
            pace: Pace::default(),
            btf: self.btf.clone(),
            drop_root: false,
            cluster: self.cluster(),
            names: self.names(),
            kube: self.kube && !self.numeric,
        }
    }

    /// Where the names of pods and containers are looked up.
    pub fn names(&self) -> Sources {
        let default = Sources::default();
        Sources {
            proc: self.proc.clone().unwrap_or(default.proc),
            pod_logs: self.pod_logs.clone().unwrap_or(default.pod_logs),
        }
    }

    /// What was given of what the network is meant to do.
    pub fn cluster(&self) -> Given {
        Given {
            mode: self.mode.map(|m| match m {
                RoutingMode::Native => Mode::Native,
                RoutingMode::Tunnel => Mode::Tunnel,
            }),
            pod_cidrs: self.pod_cidrs.clone(),
            node_cidrs: self.node_cidrs.clone(),
            file: self.cluster.clone(),
        }
    }
}
