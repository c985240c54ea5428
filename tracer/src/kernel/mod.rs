//! Facts about the running kernel: type information, symbols, drop reasons, what is allowed.

pub mod btf;
pub mod offsets;

#[cfg(test)]
pub(crate) mod fixtures;
