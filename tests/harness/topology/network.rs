//! Making a [`Topology`] real, and the guard that takes it away again.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::{Action, End, Step, Tool, Topology};
use crate::reaper::{Reaper, prefix_of};
use crate::traffic::offload;
use crate::{command, deadline, netns::Netns};

/// What every namespace starts with. The names are those of the kernel's documentation
/// (`ip-sysctl.rst`).
const QUIET: [(&str, &str); 8] = [
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.all.router_solicitations", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv6.icmp.ratelimit", "0"),
];

/// Carrier and address changes are carried out by kernel workers within milliseconds; a machine
/// under load gets this long.
const SETTLE: Duration = Duration::from_secs(10);

/// `IFA_F_TENTATIVE` of `linux/if_addr.h`, as `/proc/net/if_inet6` prints it.
const TENTATIVE: u32 = 0x40;

static SEQUENCE: AtomicU32 = AtomicU32::new(0);

/// Namespaces that are up. Dropping it deletes them, with whatever still runs inside.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    spaces: Vec<(String, Netns)>,
    pairs: Vec<(End, End)>,
    // removes the namespaces when dropped
    _reaper: Reaper,
}

impl Network {
    pub(super) fn raise(topology: &Topology) -> Result<Self> {
        crate::require_root()?;
        Reaper::remove_stale()?;
        let prefix = prefix_of(&topology.name, SEQUENCE.fetch_add(1, Ordering::Relaxed));
        let reaper = Reaper::guard(&prefix)?;
        let spaces = add_namespaces(&prefix, &topology.spaces)?;
        let network = Self {
            prefix,
            spaces,
            pairs: topology.pairs.clone(),
            _reaper: reaper,
        };
        network
            .build(topology)
            .with_context(|| format!("cannot raise the lab {}", topology.name))?;
        Ok(network)
    }

    /// The namespace of a role.
    pub fn ns(&self, role: &str) -> Result<&Netns> {
        let found = self.spaces.iter().find(|(name, _)| name == role);
        found.map(|(_, ns)| ns).with_context(|| {
            let roles: Vec<_> = self.spaces.iter().map(|(name, _)| name.as_str()).collect();
            format!(
                "no namespace {role:?} in {}, only {}",
                self.prefix,
                roles.join(" ")
            )
        })
    }

    /// All namespaces with their roles, in the order of the description.
    pub fn spaces(&self) -> impl Iterator<Item = (&str, &Netns)> {
        self.spaces.iter().map(|(role, ns)| (role.as_str(), ns))
    }

    /// The other end of a veth: its namespace and its name there.
    pub fn far_end(&self, role: &str, dev: &str) -> Option<(&Netns, &str)> {
        let is = |end: &End| end.ns == role && end.dev == dev;
        let other = self.pairs.iter().find_map(|(one, other)| {
            let far = is(one).then_some(other);
            far.or_else(|| is(other).then_some(one))
        })?;
        Some((self.ns(&other.ns).ok()?, &other.dev))
    }

    /// The devices of a role that are an end of a veth pair.
    pub fn veths(&self, role: &str) -> Vec<&str> {
        let ends = self.pairs.iter().flat_map(|(one, other)| [one, other]);
        ends.filter(|end| end.ns == role)
            .map(|end| end.dev.as_str())
            .collect()
    }

    /// What the names of all its namespaces start with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn build(&self, topology: &Topology) -> Result<()> {
        self.add_pairs(&topology.pairs)?;
        for (role, ns) in self.spaces() {
            let ends = topology.pairs.iter().flat_map(|(one, other)| [one, other]);
            let devs = ends
                .filter(|end| end.ns == role)
                .map(|end| end.dev.as_str());
            let lines: Vec<_> = ["lo"]
                .into_iter()
                .chain(devs)
                .map(|dev| format!("link set {dev} up"))
                .collect();
            batch_in(Tool::Ip, ns, &lines)?;
        }
        if let Some(step) = topology
            .steps
            .iter()
            .find(|step| self.ns(&step.ns).is_err())
        {
            self.ns(&step.ns)
                .with_context(|| format!("{:?}", step.action))?;
        }
        let reach = |step: &Step| matches!(step.action, Action::Reach(_));
        for part in topology.steps.split_inclusive(reach) {
            let (last, rest) = match part.split_last() {
                Some((last, rest)) if reach(last) => (Some(last), rest),
                _ => (None, part),
            };
            for (role, ns) in self.spaces() {
                let own: Vec<_> = rest.iter().filter(|step| step.ns == role).collect();
                self.take(ns, &own)?;
            }
            if let Some(step) = last {
                self.act(self.ns(&step.ns)?, &step.action)?;
            }
        }
        self.settle()
    }

    /// Takes the steps of one namespace, with few processes: a batch for commands in a row.
    fn take(&self, ns: &Netns, mut rest: &[&Step]) -> Result<()> {
        while let Some(first) = rest.first() {
            let (lines, tool) = leading_commands(rest);
            let done = if let Some(tool) = tool {
                batch_in(tool, ns, &lines)?;
                lines.len()
            } else {
                self.act(ns, &first.action)?;
                1
            };
            rest = rest.get(done..).unwrap_or_default();
        }
        Ok(())
    }

    fn add_pairs(&self, pairs: &[(End, End)]) -> Result<()> {
        let mut lines = Vec::with_capacity(pairs.len());
        for (one, other) in pairs {
            let (here, there) = (self.ns(&one.ns)?.name(), self.ns(&other.ns)?.name());
            lines.push(format!(
                "link add {}{} netns {here} type veth peer name {}{} netns {there}",
                one.dev,
                mac(one),
                other.dev,
                mac(other),
            ));
        }
        if lines.is_empty() {
            Ok(())
        } else {
            command::batch(&["ip"], &lines)
        }
    }

    fn act(&self, ns: &Netns, action: &Action) -> Result<()> {
        match action {
            Action::Command(tool, line) => batch_in(*tool, ns, std::slice::from_ref(line)),
            Action::Nft(ruleset) => ns.exec_with_input(&["nft", "-f", "-"], ruleset).map(drop),
            Action::Sysctl {
                key,
                optional: true,
                ..
            } if !ns.has_sysctl(key)? => Ok(()),
            Action::Sysctl { key, value, .. } => ns.sysctl(key, value),
            Action::OffloadOff(dev) => offload::off(ns, dev),
            Action::ChecksumsInSoftware(dev) => offload::checksums_in_software(ns, dev),
            Action::Reach(address) => {
                self.settle()?;
                ns.exec(&["ping", "-n", "-q", "-c1", "-W5", address])
                    .map(drop)
            }
        }
    }

    /// Waits until every device that is up runs and no address is tentative any more.
    fn settle(&self) -> Result<()> {
        for (role, ns) in self.spaces() {
            let pending = std::cell::RefCell::new(Vec::new());
            let settled = deadline::wait_for(&format!("carrier in {role}"), SETTLE, || {
                let now = ns.run(unsettled)??;
                let done = now.is_empty().then_some(());
                pending.replace(now);
                Ok(done)
            });
            settled.with_context(|| format!("still pending: {}", pending.borrow().join(", ")))?;
        }
        Ok(())
    }
}

fn add_namespaces(prefix: &str, roles: &[String]) -> Result<Vec<(String, Netns)>> {
    let distinct: HashSet<_> = roles.iter().collect();
    ensure!(
        !roles.is_empty() && distinct.len() == roles.len(),
        "roles {roles:?} are not distinct"
    );
    if let Some(role) = roles.iter().find(|role| role.contains('-')) {
        bail!("role {role:?} must not contain a dash, which ends the prefix of a namespace's name");
    }
    let lines: Vec<_> = roles
        .iter()
        .map(|role| format!("netns add {prefix}-{role}"))
        .collect();
    command::batch(&["ip"], &lines)?;
    let mut spaces = Vec::with_capacity(roles.len());
    for role in roles {
        let ns = Netns::open(&format!("{prefix}-{role}"))?;
        ns.write_sysctls(&QUIET)?;
        spaces.push((role.clone(), ns));
    }
    Ok(spaces)
}

/// The commands at the start of `steps` that one process of one tool can run.
fn leading_commands(steps: &[&Step]) -> (Vec<String>, Option<Tool>) {
    let mut lines = Vec::new();
    let mut of = None;
    for step in steps {
        let Action::Command(tool, line) = &step.action else {
            break;
        };
        if *of.get_or_insert(*tool) != *tool {
            break;
        }
        lines.push(line.clone());
    }
    (lines, of)
}

fn batch_in(tool: Tool, ns: &Netns, lines: &[String]) -> Result<()> {
    let mut argv = tool.argv().to_vec();
    argv.extend(["-n", ns.name()]);
    command::batch(&argv, lines)
}

fn mac(end: &End) -> String {
    end.mac
        .as_ref()
        .map(|mac| format!(" address {mac}"))
        .unwrap_or_default()
}

/// Devices that are up and do not run yet, and tentative addresses, of the current namespace.
fn unsettled() -> Result<Vec<String>> {
    let mut pending = Vec::new();
    for entry in getifaddrs()? {
        let packet = entry
            .address
            .and_then(|address| address.as_link_addr().map(drop));
        let up = entry.flags.contains(InterfaceFlags::IFF_UP);
        let running = entry.flags.contains(InterfaceFlags::IFF_RUNNING);
        if packet.is_some() && up && !running {
            pending.push(entry.interface_name);
        }
    }
    for line in fs::read_to_string("/proc/thread-self/net/if_inet6")?.lines() {
        let mut fields = line.split_ascii_whitespace();
        let flags = fields
            .nth(4)
            .and_then(|text| u32::from_str_radix(text, 16).ok());
        if flags.is_some_and(|flags| flags & TENTATIVE != 0) {
            pending.push(line.to_owned());
        }
    }
    Ok(pending)
}
