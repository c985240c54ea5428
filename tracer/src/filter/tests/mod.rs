//! Tests of the filter language as a whole.

mod arb;
mod errors;
mod kernel;
mod matching;
mod parsing;
