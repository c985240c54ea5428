//! Address translation in machine output.

use std::net::IpAddr;

use serde::Serialize;

/// Addresses on the other side of address translation.
#[derive(Clone, Debug, Serialize)]
pub struct Nat {
    /// Source address.
    pub src: IpAddr,
    /// Source port; echo identifier; `null` where there is none.
    pub sport: Option<u16>,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port; `null` where there is none.
    pub dport: Option<u16>,
}
