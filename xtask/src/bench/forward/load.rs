//! What is sent, and through what.

use std::fmt;

use anyhow::{Result, ensure};
use harness::{
    Netns, Network, Topology,
    bpf::xdp::{Action, Mode, Xdp},
    traffic::{Blast, blast::Blasted},
};

/// What carries the packets behind the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Ipv4,
    Ipv6,
    Vxlan,
}

/// Packets of one size in so many flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) over: Over,
    pub(super) frame: usize,
    pub(super) flows: u32,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = match self.over {
            Over::Ipv4 => "IPv4",
            Over::Ipv6 => "IPv6",
            Over::Vxlan => "IPv4 into VXLAN",
        };
        write!(f, "{over}, {} bytes, {} flows", self.frame, self.flows)
    }
}

impl Load {
    const MAIN: Self = Self {
        over: Over::Ipv4,
        frame: 64,
        flows: 10,
    };

    /// The one that every program is measured with.
    pub(super) fn is_main(self) -> bool {
        self == Self::MAIN
    }

    pub(super) fn all(quick: bool) -> Vec<Self> {
        let mut all = vec![Self::MAIN];
        if quick {
            return all;
        }
        for flows in [1_000, 100_000] {
            all.push(Self {
                flows,
                ..Self::MAIN
            });
        }
        all.push(Self {
            frame: 1400,
            ..Self::MAIN
        });
        for over in [Over::Ipv6, Over::Vxlan] {
            all.push(Self { over, ..Self::MAIN });
        }
        all
    }

    /// Where it is sent: every port from 20000 on vanishes at the receiver.
    fn to(self) -> &'static str {
        match self.over {
            Over::Ipv4 => "10.2.0.2:20000",
            Over::Ipv6 => "[fd02::2]:20000",
            Over::Vxlan => "10.9.0.2:20000",
        }
    }
}

/// Two hosts and a router, raised.
pub(super) struct Router {
    // goes before its device
    sink: Option<Xdp>,
    network: Network,
}

impl Router {
    /// The receiver's device sends the packets of the load back, before its stack, and tracepoints of the
    /// kernel that all share, see them: what a receiver does is no part of a router. The router's device takes
    /// none of them (a veth without NAPI, `veth_xdp_xmit()`), so that they end without being a loss to trace.
    pub(super) fn raise(load: &Load) -> Result<Self> {
        let mut router = Self::open(load.over)?;
        let wire = load.frame + if load.over == Over::Vxlan { 50 } else { 0 };
        router.sink = Some(Xdp::attach(
            router.ns("b")?,
            "eth0",
            Mode::Native,
            i32::try_from(wire)?,
            Action::Back,
        )?);
        Ok(router)
    }

    /// The receiver answers.
    pub(super) fn open(over: Over) -> Result<Self> {
        let network = Topology::new("bench")
            .ns(&["n1", "a", "b"])
            .forwarding(&["n1"])
            .veth(("n1", "in"), ("a", "eth0"))
            .veth(("n1", "out"), ("b", "eth0"))
            .addr("n1", "in", &["10.1.0.1/24", "fd01::1/64"])
            .addr("n1", "out", &["10.2.0.1/24", "fd02::1/64"])
            .addr("a", "eth0", &["10.1.0.2/24", "fd01::2/64"])
            .addr("b", "eth0", &["10.2.0.2/24", "fd02::2/64"])
            .route("a", "default via 10.1.0.1")
            .route("a", "default via fd01::1")
            .route("b", "default via 10.2.0.1")
            .route("b", "default via fd02::1")
            .when(over == Over::Vxlan, |network| {
                network
                    .link(
                        "n1",
                        "vx0 type vxlan id 7 local 10.2.0.1 remote 10.2.0.2 dstport 4789",
                    )
                    .link(
                        "b",
                        "vx0 type vxlan id 7 local 10.2.0.2 remote 10.2.0.1 dstport 4789",
                    )
                    .ip("n1", "link set vx0 up")
                    .ip("b", "link set vx0 up")
                    .addr("n1", "vx0", &["10.9.0.1/24"])
                    .addr("b", "vx0", &["10.9.0.2/24"])
                    .route("b", "10.1.0.0/24 via 10.9.0.1")
                    .reach("a", "10.9.0.2")
            })
            .reach("a", "fd02::2")
            .raise()?;
        Ok(Self {
            sink: None,
            network,
        })
    }

    pub(super) fn ns(&self, role: &str) -> Result<&Netns> {
        self.network.ns(role)
    }

    /// Sends so many packets of the load and makes sure that they were forwarded.
    pub(super) fn send(&self, load: &Load, packets: u64) -> Result<Blasted> {
        let out = || self.ns("n1")?.statistic("out", "tx_packets");
        let before = out()?;
        let sent = Blast::to(load.to())
            .packets(packets)
            .frame(load.frame)
            .flows(load.flows)
            .send(self.ns("a")?)?;
        let forwarded = out()? - before;
        ensure!(
            forwarded * 100 >= packets * 99,
            "of {packets} packets {forwarded} were forwarded: {load}"
        );
        Ok(sent)
    }
}
