//! Model and inventory → findings: what is wrong, with evidence and the next step.

mod finding;

pub use finding::{Finding, Severity, Subject};
