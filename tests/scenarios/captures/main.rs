//! `tracer record` and `tracer read`: the file says what the live run said, and other programs open
//! it.

mod compare;
mod ends;
mod files;
mod modes;
mod parity;
mod report;
mod segments;
mod translation;
mod wireshark;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Tracer, expect, labs};
use serde_json::Value;

/// From SIGINT to the end, on a loaded machine.
const END: Duration = Duration::from_secs(30);

/// A directory of its own; removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Result<Self> {
        let path =
            std::env::temp_dir().join(format!("tracer-captures-{}-{name}", std::process::id()));
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

/// A lab's traffic, recorded.
struct Recorded {
    dir: Dir,
    lab: Lab,
    /// What `record -o json` said at its end.
    live: Value,
    /// What became of the traffic.
    sent: Vec<labs::Flow>,
}

impl Recorded {
    fn of(lab: &str, args: &[&str]) -> Result<Self> {
        Self::with(lab, args, |lab| lab.traffic(1))
    }

    /// The same with other traffic.
    fn with(
        lab: &str,
        args: &[&str],
        traffic: impl FnOnce(&Lab) -> Result<Vec<labs::Flow>>,
    ) -> Result<Self> {
        let dir = Dir::new(&lab.replace(':', "-"))?;
        let lab = Lab::raise_named(lab)?;
        let file = dir.file("a.pcapng");
        let args: Vec<&str> = ["record", "-o", "json", "-w", &file]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        let tracer = Tracer::start(lab.node(), &args)?;
        let sent = traffic(&lab)?;
        let ended = tracer.interrupt(END)?.expect_code(0)?;
        let live = ended.json()?;
        expect::no_loss(&live)?;
        Ok(Self {
            dir,
            lab,
            live,
            sent,
        })
    }

    fn file(&self) -> String {
        self.dir.file("a.pcapng")
    }

    /// `tracer read -o json FILE ARGS`.
    fn read(&self, args: &[&str]) -> Result<Value> {
        read(&self.lab, &self.file(), args)
    }
}

/// `tracer read -o json FILE ARGS`, without its `file`.
fn read(lab: &Lab, file: &str, args: &[&str]) -> Result<Value> {
    let args: Vec<&str> = ["read", "-o", "json", file]
        .into_iter()
        .chain(args.iter().copied())
        .collect();
    let ended = Tracer::run(lab.node(), &args, END)?.expect_code(0)?;
    ended.json()
}

/// The packets of a file as `read --packets -o json` has them.
fn packets(lab: &Lab, file: &str) -> Result<Vec<Value>> {
    let args = ["read", "--packets", "-o", "json", file];
    let ended = Tracer::run(lab.node(), &args, END)?.expect_code(0)?;
    ended.json_lines()
}

fn array<'a>(report: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    report[key]
        .as_array()
        .with_context(|| format!("no {key} in {report}"))
}

/// Requires two reports to be the same, key by key.
fn same(a: &Value, b: &Value) -> Result<()> {
    let keys = |v: &Value| -> Vec<String> {
        v.as_object()
            .map(|o| o.keys().cloned().collect())
            .unwrap_or_default()
    };
    ensure!(keys(a) == keys(b), "{:?} and {:?}", keys(a), keys(b));
    for key in keys(a) {
        ensure!(
            a[&key] == b[&key],
            "{key} differs:\n{}\n{}",
            a[&key],
            b[&key]
        );
    }
    Ok(())
}
