//! Whatever happens to the process, the terminal, the disk or the kernel's queues: nothing is left
//! behind, what is written can be read, and what was lost is said.

mod clock;
mod kill;
mod overrun;
mod stall;
mod terminal;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::bpf::{self, Hook};
use harness::{Lab, Netns};
use serde_json::Value;

/// From a signal to the end, on a loaded machine.
const END: Duration = Duration::from_secs(30);

/// A directory of its own; removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Result<Self> {
        let path =
            std::env::temp_dir().join(format!("tracer-faults-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Requires the devices of a router to be as they were: no program, no filter, no qdisc of ours.
fn devices_are_clean(lab: &Lab) -> Result<()> {
    let node = lab.node();
    for dev in ["in", "out"] {
        for hook in [Hook::Ingress, Hook::Egress] {
            // an error where the kernel has no tcx, and no program either
            let left = bpf::attached(node, dev, hook).unwrap_or_default();
            ensure!(left.is_empty(), "{left:?} on {dev}");
        }
        for side in ["ingress", "egress"] {
            let left = node.exec(&["tc", "filter", "show", "dev", dev, side])?;
            ensure!(left.is_empty(), "on {dev}: {left}");
        }
    }
    Ok(())
}

/// Whether a program of tracer is at the egress of a device.
fn traced(node: &Netns, dev: &str) -> Result<bool> {
    match bpf::attached(node, dev, Hook::Egress) {
        Ok(programs) => Ok(programs.iter().any(|p| p.name.starts_with("tracer_"))),
        // a kernel without tcx, where it is a filter
        Err(_) => Ok(node
            .exec(&["tc", "filter", "show", "dev", dev, "egress"])?
            .contains("tracer_")),
    }
}

fn number(of: &Value, key: &str) -> Result<u64> {
    let value = of.get(key).and_then(Value::as_u64);
    value.with_context(|| format!("no number {key} in {of}"))
}
