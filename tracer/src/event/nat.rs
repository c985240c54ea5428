//! Address translation.

use serde::{Deserialize, Serialize};

use super::Tuple;

/// A connection whose addresses or ports a node translates: the same packets on both sides of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nat {
    /// The opening direction as it comes in: as the client sent it.
    pub original: Tuple,
    /// The opening direction as it leaves: as the server gets it.
    pub translated: Tuple,
}

impl Nat {
    /// The direction of `wire` on the client's side, when the packet is of this connection.
    pub fn on_client_side(&self, wire: &Tuple) -> Option<Tuple> {
        if *wire == self.translated {
            Some(self.original)
        } else if *wire == self.translated.reversed() {
            Some(self.original.reversed())
        } else {
            None
        }
    }

    /// The direction of `tuple` on the server's side, when the flow is of this connection.
    pub fn on_server_side(&self, tuple: &Tuple) -> Option<Tuple> {
        if *tuple == self.original {
            Some(self.translated)
        } else if *tuple == self.original.reversed() {
            Some(self.translated.reversed())
        } else {
            None
        }
    }

    /// The addresses that routing looks up for packets of the flow `tuple`: after the destination is
    /// translated, before the source is.
    pub fn routed(&self, tuple: &Tuple) -> Tuple {
        match self.on_server_side(tuple) {
            Some(far) if *tuple == self.original => Tuple {
                dst: far.dst,
                dport: if tuple.proto.is_icmp() {
                    tuple.dport
                } else {
                    far.dport
                },
                ..*tuple
            },
            Some(far) => Tuple {
                src: far.src,
                sport: far.sport,
                ..*tuple
            },
            None => *tuple,
        }
    }
}
