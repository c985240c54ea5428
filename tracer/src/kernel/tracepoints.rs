//! Which tracepoints the kernel has, and how many arguments each passes.

use super::btf::Btf;

macro_rules! tracepoints {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A tracepoint that a BPF program attaches to (`tp_btf`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Tracepoint {
            $($(#[$doc])* $variant,)*
        }

        impl Tracepoint {
            /// All of them.
            pub const ALL: [Self; COUNT] = [$(Self::$variant,)*];

            /// The kernel's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        const COUNT: usize = [$(Tracepoint::$variant,)*].len();
    };
}

tracepoints! {
    /// `(skb)`: a device received a packet.
    NetifReceiveSkb = "netif_receive_skb",
    /// `(tb_id, flp, nhc, err)`: lookup in one IPv4 table.
    FibTableLookup = "fib_table_lookup",
    /// `(net, res, table, flp)`: lookup in one IPv6 table.
    Fib6TableLookup = "fib6_table_lookup",
    /// `(skb, location)`, with `reason` from 5.17 and `rx_sk` from 6.11 on: a packet ended.
    KfreeSkb = "kfree_skb",
    /// `(skb, rc, dev, len)`: a driver took or refused a packet.
    NetDevXmit = "net_dev_xmit",
    /// `(neigh, err)`: runs behind the step to `NUD_FAILED` (`neigh_timer_handler` in
    /// `net/core/neighbour.c`), after the waiting packets were freed.
    NeighTimerHandler = "neigh_timer_handler",
    /// `(sk, skb)`, with `err` from 6.18 on: a segment was sent again.
    TcpRetransmitSkb = "tcp_retransmit_skb",
    /// `(sk, skb)`, with `reason` from 6.10 on: this node sent a reset.
    TcpSendReset = "tcp_send_reset",
    /// `(sk)`: this node received a reset.
    TcpReceiveReset = "tcp_receive_reset",
    /// `(skb, type, code)`: IPv4 error made by this node; not in every kernel.
    IcmpSend = "icmp_send",
}

/// Argument counts of this kernel's tracepoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracepoints {
    args: [Option<u32>; COUNT],
}

impl Tracepoints {
    /// As the type information has them.
    pub fn from_btf(btf: &Btf) -> Self {
        Self {
            args: Tracepoint::ALL.map(|t| btf.tracepoint_args(t.name())),
        }
    }

    /// Number of arguments; `None` when the kernel has no such tracepoint.
    pub fn args(&self, tracepoint: Tracepoint) -> Option<u32> {
        self.args.get(tracepoint as usize).copied().flatten()
    }

    /// The kernel has it.
    pub fn has(&self, tracepoint: Tracepoint) -> bool {
        self.args(tracepoint).is_some()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{Tracepoint, Tracepoints};
    use crate::kernel::fixtures::btf;

    #[rstest]
    #[case("5.10", [1, 4, 4, 2, 4, 2, 2, 2, 1, 0])]
    #[case("6.1", [1, 4, 4, 3, 4, 2, 2, 2, 1, 3])]
    #[case("6.12", [1, 4, 4, 4, 4, 2, 2, 3, 1, 3])]
    #[case("6.18", [1, 4, 4, 4, 4, 2, 3, 3, 1, 3])]
    #[case("7.2", [1, 4, 4, 4, 4, 2, 3, 3, 1, 3])]
    fn argument_counts(#[case] kernel: &str, #[case] expected: [u32; 10]) {
        let tracepoints = Tracepoints::from_btf(btf(kernel));
        for (tracepoint, args) in Tracepoint::ALL.into_iter().zip(expected) {
            let found = tracepoints.args(tracepoint);
            assert_eq!(found.unwrap_or(0), args, "{}", tracepoint.name());
            assert_eq!(tracepoints.has(tracepoint), args != 0);
        }
    }

    #[test]
    fn without_type_information_there_is_none() {
        let none = Tracepoints::default();
        assert!(Tracepoint::ALL.into_iter().all(|t| !none.has(t)));
    }
}
