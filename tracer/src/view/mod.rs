//! Snapshots and findings → what people and programs read: text, JSON, a verdict.
//!
//! Pure: everything that a view needs from the machine comes in through [`ViewContext`], and
//! whatever it writes goes to a caller's [`std::io::Write`].

pub mod audit;
pub mod changes;
pub mod check;
pub mod compare;
mod context;
pub mod escape;
mod icmp;
mod intent;
pub mod json;
pub mod junit;
pub mod metrics;
mod names;
mod owners;
pub mod report;
pub mod schema;
pub mod select;
pub mod stream;
pub mod text;
pub mod tui;

#[cfg(test)]
pub(crate) mod fixture;

pub use context::{Limit, Question, ViewContext, WallClock};
pub use names::{errno_name, flow_name, table_label, translated_name};
pub use owners::{Ends, Who};
