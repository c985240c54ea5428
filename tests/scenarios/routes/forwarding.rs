//! Packets of others: in by one device, out by another.

use anyhow::Result;
use harness::confusion::{Case, Flow, Load, Wanted};
use harness::traffic::Udp;
use serde_json::json;

use crate::lab;

fn on_link() -> Case {
    let main = |dev: &str, gateway: Option<&str>, matched: &str| {
        json!({"rule": 32766, "table": 254, "type": "unicast", "gateway": gateway, "dev": dev,
            "matched": matched, "how": "lookup"})
    };
    Case::new("on-link", lab::router("onlink"))
        .echo("b", "10.2.0.2")
        .echo("b", "fd02::2")
        .flow(
            Flow::new("udp4", "a", Udp::to("10.2.0.2:7"))
                .seen_as(json!({"proto": "udp", "src": "10.1.0.2", "dst": "10.2.0.2", "dport": 7}))
                .request(
                    Wanted::leaves("out")
                        .decision(main("out", None, "10.2.0.0/24"))
                        .route_get("10.2.0.2 from 10.1.0.2 iif in"),
                )
                .reply(Wanted::leaves("in").decision(main("in", None, "10.1.0.0/24"))),
        )
        .flow(
            Flow::new("udp6", "a", Udp::to("[fd02::2]:7"))
                .seen_as(json!({"proto": "udp", "src": "fd01::2", "dst": "fd02::2", "dport": 7}))
                .request(
                    Wanted::leaves("out")
                        .decision(main("out", None, "fd02::/64"))
                        .route_get("fd02::2 from fd01::2 iif in"),
                )
                .reply(Wanted::leaves("in").decision(main("in", None, "fd01::/64"))),
        )
}

#[test]
fn on_link_destinations() -> Result<()> {
    on_link().run(Load::Quiet)?.agree()
}

#[test]
fn on_link_destinations_beside_10_000_flows() -> Result<()> {
    on_link().run(Load::Noisy)?.agree()
}
