//! The interactive view: a state that actions change, and a function that draws it.
//!
//! ```text
//! input ─ keys ─▶ Action ─▶ State::update ─▶ Effects (clipboard, file, suspend, quit)
//! picture ──────────┘            └─▶ State::draw ─▶ frame
//! ```
//!
//! Nothing here reads a terminal, a clock or a file: `cli::live` does, and carries effects out.
//! Everything that reaches the screen goes through one function that makes names harmless.

mod action;
mod canvas;
mod columns;
mod cursor;
mod draw;
mod facts;
mod flows;
mod grid;
mod input;
mod keys;
mod kinds;
mod label;
mod layout;
mod moves;
mod number;
mod open;
mod pane;
mod panes;
mod prompt;
mod replay;
mod safe;
mod state;
mod sums;
mod theme;

#[cfg(test)]
mod tests;

pub use action::{Action, Effect, Export, Picture};
pub use columns::Column;
pub use input::{Input, Key};
pub use pane::Pane;
pub use replay::{Position, Seek};
pub use state::{Setup, State};
