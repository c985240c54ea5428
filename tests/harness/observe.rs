//! tracer on node 1 beside one round of a lab's traffic: what it reports, and what was really sent.
//!
//! ```no_run
//! use harness::Observed;
//! use serde_json::json;
//!
//! let seen = Observed::of("native-tunnel:native", &["--no-tunnel"])?;
//! seen.code(0)?;
//! let flow = seen.flow("udp4", &json!({"proto": "udp", "dst": "10.244.2.20", "dport": 7}))?;
//! assert_eq!(flow["packets"], seen.sent("udp4")?.sent);
//! # Ok::<(), anyhow::Error>(())
//! ```

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::brief::brief;
use crate::traffic::Sent;
use crate::{Lab, Tracer, deadline, expect, labs};

/// From SIGINT to the end. The promise is below 1 s, and a test of its own measures it.
const END_LIMIT: Duration = Duration::from_secs(20);

/// A finished run.
#[derive(Debug)]
pub struct Observed {
    /// The lab, still up.
    pub lab: Lab,
    /// What became of the traffic, from the senders' side.
    pub traffic: Vec<labs::Flow>,
    /// The object that `tracer check -o json` printed.
    pub report: Value,
}

impl Observed {
    /// Raises `lab` (`NAME` or `NAME:MODE`), runs `tracer check -o json ARGS` in its node while it
    /// sends its traffic once, and ends tracer by SIGINT.
    pub fn of(lab: &str, args: &[&str]) -> Result<Self> {
        Self::until(lab, args, |_| Ok(()))
    }

    /// Like [`of`](Self::of); after the traffic `settled` waits for what comes later, as the failure
    /// of a neighbour does.
    #[expect(clippy::print_stdout, reason = "it is in the output of a failed test")]
    pub fn until(lab: &str, args: &[&str], settled: impl Fn(&Lab) -> Result<()>) -> Result<Self> {
        for _ in 0..2 {
            let seen = Self::once(lab, args, &settled)?;
            match seen.disturbed() {
                Some(why) if deadline::is_slow() => println!("once more: {why}"),
                _ => return Ok(seen),
            }
        }
        Self::once(lab, args, &settled)
    }

    fn once(lab: &str, args: &[&str], settled: impl Fn(&Lab) -> Result<()>) -> Result<Self> {
        let lab = Lab::raise_named(lab)?;
        // long enough that the signal ends it
        let args: Vec<&str> = ["check", "-o", "json", "--for", "1h"]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        let tracer = Tracer::start(lab.node(), &args)?;
        let traffic = lab.traffic(1)?;
        settled(&lab)?;
        let ended = tracer.interrupt(END_LIMIT)?;
        let report = ended.json()?;
        let seen = Self {
            lab,
            traffic,
            report,
        };
        seen.show(&ended.stderr);
        seen.sound(ended.code()?)?;
        Ok(seen)
    }

    /// What only an emulated machine does to healthy traffic, if it did.
    fn disturbed(&self) -> Option<&'static str> {
        let text = self.report["flows"].to_string();
        if self.report.pointer("/loss/lookups") != Some(&json!(0)) {
            // its CPUs are interrupted within a program some hundred times as often as real ones
            return Some("lookups were not seen");
        }
        // its CPUs stand still while others go on, so that segments overtake each other
        let late = ["TCP_RFC7323_PAWS", "TCP_INVALID_SEQUENCE"];
        let dropped = late.iter().any(|reason| text.contains(reason));
        dropped.then_some("segments came too late for their connection")
    }

    #[expect(clippy::print_stdout, reason = "it is in the output of a failed test")]
    fn show(&self, stderr: &str) {
        let lab = &self.lab;
        println!("{}:{}\n{stderr}", lab.scenario().name, lab.mode().name);
        for flow in &self.traffic {
            println!("  {flow}");
        }
        println!("{}", brief(&self.report));
    }

    /// What every report must be, whatever it says.
    fn sound(&self, code: i32) -> Result<()> {
        let wanted = json!({
            "schema": "tracer.check/1",
            "netns": self.lab.node().inode(),
            "exit_code": code,
        });
        ensure!(
            expect::contains(&self.report, &wanted),
            "wanted {wanted}, got\n{}",
            brief(&self.report)
        );
        expect::no_loss(&self.report)
    }

    /// What became of the flow `name`, from the sender's side.
    pub fn sent(&self, name: &str) -> Result<&Sent> {
        let found = self.traffic.iter().find(|flow| flow.name == name);
        Ok(&found
            .with_context(|| format!("the lab has no flow {name}"))?
            .sent)
    }

    /// The reported flow that contains `wanted` and comes from the port that `name` was sent from.
    pub fn flow(&self, name: &str, wanted: &Value) -> Result<&Value> {
        let mut wanted = wanted.clone();
        let source = self.sent(name)?.source;
        wanted["sport"] = json!(source.map(|source| source.port()));
        expect::flow(&self.report, &wanted).with_context(|| format!("the flow {name}"))
    }

    /// Requires an exit status and the verdict that belongs to it.
    pub fn code(&self, wanted: i32) -> Result<()> {
        let verdict = match wanted {
            0 => "pass",
            3 => "fail",
            _ => "inconclusive",
        };
        let wanted = json!({"exit_code": wanted, "verdict": verdict});
        ensure!(
            expect::contains(&self.report, &wanted),
            "wanted {wanted}, got\n{}",
            brief(&self.report)
        );
        Ok(())
    }

    /// Requires the report of a healthy node: no finding, nothing lost, a pass.
    pub fn healthy(&self) -> Result<()> {
        expect::no_findings(&self.report)?;
        for flow in &self.traffic {
            ensure!(flow.sent.delivered(), "the lab is not healthy: {flow}");
        }
        self.code(0)
    }

    /// Requires `id` as the first finding, as an error, and returns it.
    pub fn root_cause(&self, id: &str) -> Result<&Value> {
        let first = self.report.pointer("/findings/0");
        let wanted = json!({"id": id, "severity": "error"});
        first
            .filter(|finding| expect::contains(finding, &wanted))
            .with_context(|| {
                format!(
                    "the first finding is not {wanted}:\n{}",
                    brief(&self.report)
                )
            })
    }
}
