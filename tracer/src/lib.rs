//! tracer: what this node did with each packet, per flow, and why.
//!
//! Data flows one way:
//!
//! ```text
//! kernel hooks ─ ring buffer and maps ─▶ decode ─▶ model ─▶ diagnose ─▶ views
//!  (tracer-ebpf)         (probe)         (event)  (flows)   (findings)  (text, json, tui)
//! ```
//!
//! - The **core** (`event inventory filter decode model diagnose compare view`) is pure: no root, no
//!   netlink, no BPF, no clock. Live and replay differ only in who feeds the model.
//! - The **edges** (`apiserver cluster kernel names net probe terminal capture`) ask the machine and produce core
//!   types. The core never calls an edge. `traffic` is the one that sends: the packets that `check --probe` was told
//!   to send.
//! - `pipeline` joins them and `cli` drives it. `cargo xtask layers` checks the allowed edges.

pub mod apiserver;
pub mod capture;
pub mod cli;
pub mod cluster;
pub mod compare;
pub mod decode;
pub mod diagnose;
pub mod event;
pub mod filter;
pub mod inventory;
pub mod kernel;
pub mod model;
pub mod names;
pub mod net;
pub mod pipeline;
pub mod probe;
pub mod terminal;
pub mod traffic;
pub mod view;
