//! The confusion table of route decisions: case × expected × reported × how, all of which agree.
//!
//! A [`Case`] declares a topology, what is sent and what the node must decide. It is run with tracer
//! beside it. Each direction of each flow gives a [`Row`]: what was expected, what the packets did
//! ([`Truth`](crate::truth::Truth): counters at the far end of each device, and `ip route get` where
//! a single next hop lets it be right), and what tracer reported.
//!
//! ```no_run
//! use harness::Topology;
//! use harness::confusion::{Case, Flow, Load, Wanted};
//! use harness::traffic::Udp;
//! use serde_json::json;
//!
//! fn forwarding() -> Case {
//!     let lab = Topology::new("fwd").ns(&["n1", "a", "b"]).veth(("n1", "in"), ("a", "eth0")); // …
//!     Case::new("forwarding", lab).echo("b", "10.2.0.2").flow(
//!         Flow::new("udp4", "a", Udp::to("10.2.0.2:7"))
//!             .seen_as(json!({"proto": "udp", "src": "10.1.0.2", "dst": "10.2.0.2", "dport": 7}))
//!             .request(Wanted::leaves("out").decision(json!({"table": 254, "how": "lookup"})))
//!             .reply(Wanted::leaves("in").decision(json!({"table": 254, "how": "lookup"}))),
//!     )
//! }
//!
//! forwarding().run(Load::Quiet)?.agree()
//! # ;Ok::<(), anyhow::Error>(())
//! ```

mod case;
mod compare;
mod run;
mod table;

pub use case::{Case, Flow, Wanted};
pub use run::{Load, Ran};
pub use table::{Row, Table};
