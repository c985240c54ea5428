//! Per-CPU counters of the kernel side. What could hide something from the user is a loss.

/// Index into the `COUNTERS` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Packets that `netif_receive_skb` showed in a traced namespace.
    Received = 0,
    /// Packets that a tc program saw going out.
    Sent,
    /// Packets that a tc program saw coming in (redirected past `netif_receive_skb`).
    Redirected,
    /// Not IP (ARP, LLDP, …): counted, not shown as a flow.
    NotIp,
    /// Rejected by the filter.
    Filtered,
    /// Loss: the headers could not be read or made no sense; the packet is in no flow.
    Unreadable,
    /// Loss: `FLOWS` is full, or another flow has the digest; the packet is in no flow.
    FlowsFull,
    /// Loss: `DROPS` is full; the drop is in no flow.
    DropsFull,
    /// Loss: `ICMP_ERRORS` is full.
    IcmpFull,
    /// Loss: `ROUTE_FAILS` is full.
    RouteFailsFull,
    /// Loss: the ring buffer is full; the record was not sent (counters in the maps stay exact).
    RingFull,
    /// `kfree_skb` calls in traced namespaces.
    Drops,
    /// Of these: at a place that is no loss.
    NoLoss,
    /// Of these: without a device or namespace to tell where.
    DropsNoWhere,
    /// Drop records held back by the rate limit (their counts are in the map).
    DropsQuiet,
    /// Fib lookups seen.
    Lookups,
    /// Dst entries decoded.
    DstDecoded,
    /// Of [`Counter::RingFull`]: packets with their bytes that a recording lacks.
    PacketsLost,
    /// Loss: the table of translated connections that the filter wants is full.
    WantedFull,
    /// Lookups that the first program was not called for, and the second was; in any namespace.
    LookupsAgain,
}

/// Number of counters.
pub const COUNTERS: u32 = Counter::LookupsAgain as u32 + 1;
