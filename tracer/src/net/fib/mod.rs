//! Routes, rules, neighbours and forwarding entries.

mod encap;
mod fdb;
mod neighbour;
mod nexthop;
mod route;
mod rule;
#[cfg(test)]
mod tests;

pub(super) use fdb::fdb;
pub(super) use neighbour::neighbours;
pub(super) use nexthop::nexthops;
pub(super) use route::routes;
pub(super) use rule::rules;

/// `AF_INET` and `AF_INET6`.
const FAMILIES: [u8; 2] = [2, 10];
const AF_INET6: u8 = 10;

/// The length of a host's prefix.
fn host_len(family: u8) -> u8 {
    if family == AF_INET6 { 128 } else { 32 }
}

/// The unspecified address of a family.
fn any(family: u8) -> std::net::IpAddr {
    if family == AF_INET6 {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    }
}
