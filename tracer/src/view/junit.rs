//! Verdicts as `JUnit` XML, which CI systems and runbook tools read.
//!
//! A check is a test case: a failed one is a `failure`, an inconclusive one an `error` (the case
//! could not be run to an answer), so that no reader takes it for a pass.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{
    check::{Judgement, Verdict},
    json::Session,
    text::{Text, report},
};

/// The XML of all sessions that have a verdict, in their order. The text of each report is in its
/// case; `t` should have no colour.
pub fn junit(
    t: &Text<'_>,
    sessions: &[Session<'_>],
) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new("tracer check");
    suite.add_property(("node", t.cx.inventory.node.as_str()));
    suite.add_property(("kernel", t.cx.inventory.kernel.as_str()));
    for s in sessions {
        if let Some(v) = s.verdict {
            suite.add_test_case(case(t, s, v));
        }
    }
    let longest = sessions.iter().map(duration).max().unwrap_or_default();
    suite.set_time(longest);
    let mut report = Report::new("tracer");
    report.set_time(longest).add_test_suite(suite);
    report.to_string()
}

fn case(t: &Text<'_>, s: &Session<'_>, v: &Verdict) -> TestCase {
    let kind = match v.outcome {
        Judgement::Pass => None,
        Judgement::Fail => Some(NonSuccessKind::Failure),
        Judgement::Inconclusive => Some(NonSuccessKind::Error),
    };
    let status = match kind {
        None => TestCaseStatus::success(),
        Some(kind) => {
            let mut status = TestCaseStatus::non_success(kind);
            // the first finding is what is wrong; without one the kind of verdict says all
            let first = s.findings.first().filter(|_| v.outcome == Judgement::Fail);
            status.set_type(first.map_or(v.outcome.name(), |f| f.id));
            status.set_message(v.reasons.first().cloned().unwrap_or_default());
            status.set_description(report(t, s, true));
            status
        }
    };
    let mut case = TestCase::new(name(s, v), status);
    case.set_classname("tracer.check").set_time(duration(s));
    if kind.is_none() {
        case.set_system_out(report(t, s, true));
    }
    case
}

/// As it is called in its file, otherwise what it looked at.
fn name(s: &Session<'_>, v: &Verdict) -> String {
    match &v.run.name {
        Some(name) => name.clone(),
        None if s.filter.is_empty() => "all traffic".to_owned(),
        None => s.filter.to_owned(),
    }
}

fn duration(s: &Session<'_>) -> Duration {
    Duration::from_millis(s.snapshot.at.since(s.snapshot.started) / 1_000_000)
}
