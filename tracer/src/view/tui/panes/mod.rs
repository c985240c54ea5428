//! The panes, one a file. Each is a function of the state; none changes anything.

pub(super) mod details;
pub(super) mod devices;
pub(super) mod drops;
pub(super) mod findings;
pub(super) mod flows;
pub(super) mod footer;
pub(super) mod header;
pub(super) mod help;
pub(super) mod path;
pub(super) mod routes;
pub(super) mod strip;
