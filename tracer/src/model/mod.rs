//! Events → flows with paths, drops and outcomes.

mod flow;

pub use flow::{
    Decision, Direction, Drop, Flow, FlowId, Hop, Loss, Outcome, Scope, Snapshot, Step,
};
