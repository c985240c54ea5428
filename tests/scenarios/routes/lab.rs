//! A router with two hosts, which most cases start from.

use harness::Topology;

/// ```text
/// a 10.1.0.2 fd01::2 -- in n1 out -- b 10.2.0.2 fd02::2, 10.20.0.2 fd20::2 behind it
/// ```
pub(crate) fn router(name: &str) -> Topology {
    Topology::new(name)
        .ns(&["n1", "a", "b"])
        .forwarding(&["n1"])
        .veth(("n1", "in"), ("a", "eth0"))
        .veth(("n1", "out"), ("b", "eth0"))
        .addr("n1", "in", &["10.1.0.1/24", "fd01::1/64"])
        .addr("n1", "out", &["10.2.0.1/24", "fd02::1/64"])
        .addr("a", "eth0", &["10.1.0.2/24", "fd01::2/64"])
        .addr("b", "eth0", &["10.2.0.2/24", "fd02::2/64"])
        .addr("b", "lo", &["10.20.0.2/32", "fd20::2/128"])
        .route("a", "default via 10.1.0.1")
        .route("a", "default via fd01::1")
        .route("b", "default via 10.2.0.1")
        .route("b", "default via fd02::1")
        .reach("a", "10.2.0.2")
        .reach("a", "fd02::2")
}
