//! Drop reasons in plain words.
//!
//! The words follow the comments of `include/net/dropreason-core.h`; where the reason says nothing,
//! the function that freed the packet does.

/// What it means that `symbol` freed a packet for `reason`, with the errno that routing left in the
/// packet's dst entry (0 for none): a fragment of a sentence, without a full stop.
pub fn meaning(reason: &str, symbol: &str, errno: u32) -> String {
    let routing = matches!(reason, "NOT_SPECIFIED" | "IP_INNOROUTES" | "IP_OUTNOROUTES");
    let words = routing
        .then(|| by_errno(symbol, errno))
        .flatten()
        .or_else(|| find(PLACES, &(reason, symbol)))
        .or_else(|| find(REASONS, &reason))
        .or_else(|| find(SYMBOLS, &symbol));
    match words {
        Some(words) => words.to_owned(),
        None if reason == "NOT_SPECIFIED" && symbol == "?" => "dropped, no reason given".to_owned(),
        None if reason == "NOT_SPECIFIED" => format!("dropped by {symbol}, no reason given"),
        None => reason.to_lowercase().replace('_', " "),
    }
}

fn find<K: PartialEq>(table: &[(K, &'static str)], key: &K) -> Option<&'static str> {
    table
        .iter()
        .find(|(k, _)| k == key)
        .map(|(_, words)| *words)
}

/// Functions that stand for a packet whose route refuses it.
fn by_errno(symbol: &str, errno: u32) -> Option<&'static str> {
    let refuses = matches!(
        symbol,
        "ip_error"
            | "ip6_pkt_drop"
            | "ip6_pkt_discard"
            | "ip6_pkt_discard_out"
            | "ip6_pkt_prohibit"
            | "ip6_pkt_prohibit_out"
            | "dst_discard"
            | "dst_discard_out"
    );
    match errno {
        101 if refuses => Some("no route to destination"),
        113 if refuses => Some("refused by an unreachable route, or forwarding is off"),
        22 if refuses => Some("discarded by a blackhole route"),
        13 if refuses => Some("refused by a prohibit route"),
        _ => None,
    }
}

/// Reasons that mean something else at one place.
#[rustfmt::skip]
const PLACES: &[((&str, &str), &str)] = &[
    (("IP_INHDR", "ip_forward"), "hop limit (TTL) exhausted"),
    (("IP_INHDR", "ip6_forward"), "hop limit exhausted"),
    (("NO_SOCKET", "tcp_v4_rcv"), "no TCP socket listens on that address and port"),
    (("NO_SOCKET", "tcp_v6_rcv"), "no TCP socket listens on that address and port"),
    (("NO_SOCKET", "__udp4_lib_rcv"), "no UDP socket listens on that address and port"),
    (("NO_SOCKET", "__udp6_lib_rcv"), "no UDP socket listens on that address and port"),
    (("IP_INADDRERRORS", "ip_error"), "not for this node, and forwarding is off"),
    (("IP_INADDRERRORS", "ip6_forward"), "not for this node, and forwarding is off"),
];

/// Functions that free packets without a reason, on kernels that have one or have none.
#[rustfmt::skip]
const SYMBOLS: &[(&str, &str)] = &[
    ("__dev_forward_skb2", "larger than the MTU of the other end of the veth pair"),
    ("__dev_forward_skb", "larger than the MTU of the other end of the veth pair"),
    ("__dev_queue_xmit", "refused by the queue of the output device"),
    ("__udp4_lib_rcv", "no UDP socket listens there, or a wrong checksum"),
    ("__udp6_lib_rcv", "no UDP socket listens there, or a wrong checksum"),
    ("br_dev_queue_push_xmit", "larger than the MTU of the bridge port"),
    ("br_handle_frame", "refused by the bridge port (its STP state or address)"),
    ("do_xdp_generic", "dropped by an XDP program"),
    ("dst_discard", "discarded by its route"),
    ("dst_discard_out", "discarded by its route"),
    ("geneve_xmit", "could not be encapsulated by the Geneve device"),
    ("ip6_forward", "refused when forwarding IPv6: hop limit, size or route"),
    ("ip6_fragment", "larger than the MTU of the output device"),
    ("ip6_pkt_discard", "no route to destination"),
    ("ip6_pkt_drop", "no route to destination"),
    ("ip6_pkt_prohibit", "refused by a prohibit route"),
    ("ip_error", "no usable route to destination"),
    ("ip_forward", "refused when forwarding: hop limit, size or route"),
    ("ip_fragment", "larger than the MTU of the output device and must not be fragmented"),
    ("ip_rcv_finish_core", "refused by source validation or routing on input"),
    ("ip_tunnel_xmit", "could not be encapsulated by the tunnel device"),
    ("neigh_invalidate", "next hop does not answer ARP or neighbour discovery"),
    ("neigh_event_send", "next hop does not answer ARP or neighbour discovery"),
    ("__neigh_event_send", "next hop does not answer ARP or neighbour discovery"),
    ("net_dev_xmit", "refused by the driver of the output device"),
    ("nf_hook_slow", "dropped by netfilter (nftables or iptables)"),
    ("nft_do_chain", "dropped by netfilter (nftables)"),
    ("sch_handle_egress", "dropped by a tc program on the output device"),
    ("veth_xdp_rcv_skb", "dropped by an XDP program on the veth device"),
    ("veth_xmit", "refused by the veth device"),
    ("vxlan_rcv", "refused by the VXLAN device: no such VNI here"),
    ("vxlan_xmit", "no tunnel endpoint known for the destination MAC (no FDB entry)"),
    ("vxlan_xmit_one", "could not be encapsulated by the VXLAN device"),
];

/// Names of `enum skb_drop_reason` and of the subsystems'.
#[rustfmt::skip]
const REASONS: &[(&str, &str)] = &[
    ("ARP_PVLAN_DISABLE", "ARP answer within a private VLAN is disabled"),
    ("BPF_CGROUP_EGRESS", "dropped by a BPF program of the sender's cgroup"),
    ("BRIDGE_INGRESS_STP_STATE", "the bridge port does not forward in its STP state"),
    ("CAKE_FLOOD", "dropped by the cake queue: flow does not react to congestion"),
    ("CPU_BACKLOG", "the CPU's receive queue is full (net.core.netdev_max_backlog)"),
    ("DEV_HDR", "the device's header could not be read"),
    ("DEV_READY", "the device is not ready (down or detached)"),
    ("DUALPI2_STEP_DROP", "dropped by the dualpi2 queue: queueing delay above its step"),
    ("DUP_FRAG", "duplicate fragment"),
    ("FQ_BAND_LIMIT", "dropped by the fq queue: priority band full"),
    ("FQ_FLOW_LIMIT", "dropped by the fq queue: too many packets of the flow"),
    ("FQ_HORIZON_LIMIT", "dropped by the fq queue: send time too far in the future"),
    ("FRAG_REASM_TIMEOUT", "fragments did not all arrive in time"),
    ("FRAG_TOO_FAR", "too many fragments in between (net.ipv4.ipfrag_max_dist)"),
    ("FULL_RING", "ring buffer of the tap device is full"),
    ("HDR_TRUNC", "headers are cut off"),
    ("ICMP_CSUM", "wrong ICMP checksum"),
    ("INVALID_PROTO", "protocol does not fit the device"),
    ("IPVLAN_MULTICAST_BACKLOG", "multicast queue of the ipvlan device is full"),
    ("IPV6DISABLED", "IPv6 is disabled on the device"),
    ("IPV6_BAD_EXTHDR", "damaged IPv6 extension header"),
    ("IPV6_NDISC_BAD_CODE", "neighbour discovery message with a wrong code"),
    ("IPV6_NDISC_BAD_OPTIONS", "neighbour discovery message with damaged options"),
    ("IPV6_NDISC_FRAG", "fragmented neighbour discovery message"),
    ("IPV6_NDISC_HOP_LIMIT", "neighbour discovery message from another link (hop limit not 255)"),
    ("IPV6_NDISC_NS_OTHERHOST", "neighbour solicitation for another host"),
    ("IPV6_TOO_MANY_EXTHDRS", "too many IPv6 extension headers"),
    ("IP_CSUM", "wrong IP header checksum"),
    ("IP_INADDRERRORS", "destination address is not acceptable here"),
    ("IP_INHDR", "damaged IP header"),
    ("IP_INNOROUTES", "no route to destination"),
    ("IP_INVALID_DEST", "destination address is invalid"),
    ("IP_INVALID_SOURCE", "source address is invalid (martian)"),
    ("IP_LOCALNET", "loopback address from outside (martian)"),
    ("IP_LOCAL_SOURCE", "source address is one of this node's own (martian)"),
    ("IP_NOPROTO", "nothing handles its protocol"),
    ("IP_OUTNOROUTES", "no route to destination"),
    ("IP_RPFILTER", "source not expected on this device (rp_filter)"),
    ("IP_TUNNEL_ECN", "inner and outer congestion marks contradict each other"),
    ("LOCAL_MAC", "source MAC is this node's own"),
    ("MACVLAN_BROADCAST_BACKLOG", "broadcast queue of the macvlan device is full"),
    ("MAC_IEEE_MAC_CONTROL", "MAC control frame"),
    ("MAC_INVALID_SOURCE", "source MAC is invalid"),
    ("NEIGH_CREATEFAIL", "no neighbour entry could be made (table full)"),
    ("NEIGH_DEAD", "neighbour entry was removed"),
    ("NEIGH_FAILED", "next hop does not answer ARP or neighbour discovery"),
    ("NEIGH_HH_FILLFAIL", "link header could not be written"),
    ("NEIGH_QUEUEFULL", "too many packets wait for the next hop's address"),
    ("NETFILTER_DROP", "dropped by netfilter (nftables, iptables or IPVS)"),
    ("NOMEM", "out of memory"),
    ("NO_SOCKET", "no socket takes it"),
    ("NO_TX_TARGET", "no tunnel endpoint known for the destination MAC (no FDB entry)"),
    ("OTHERHOST", "sent to the MAC of another host"),
    ("OVS_DROP_ACTION_ERROR", "Open vSwitch action failed"),
    ("OVS_DROP_CONNTRACK", "Open vSwitch connection tracking failed"),
    ("OVS_DROP_EXPLICIT", "dropped by an Open vSwitch flow"),
    ("OVS_DROP_EXPLICIT_WITH_ERROR", "dropped by an Open vSwitch flow, with an error"),
    ("OVS_DROP_FRAG_INVALID_PROTO", "Open vSwitch cannot fragment this protocol"),
    ("OVS_DROP_FRAG_L2_TOO_LONG", "Open vSwitch cannot fragment: link header too long"),
    ("OVS_DROP_IP_TTL", "hop limit (TTL) exhausted in Open vSwitch"),
    ("OVS_DROP_LAST_ACTION", "dropped by an Open vSwitch flow without an output"),
    ("OVS_DROP_METER", "dropped by an Open vSwitch meter"),
    ("OVS_DROP_RECURSION_LIMIT", "too many nested actions in Open vSwitch"),
    ("PACKET_SOCK_ERROR", "a packet socket could not take its copy"),
    ("PFMEMALLOC", "memory reserve used up, and the socket does not save memory"),
    ("PKT_TOO_BIG", "larger than the MTU of the output device"),
    ("PKT_TOO_SMALL", "shorter than its headers"),
    ("PROTO_MEM", "the protocol's memory limit is reached"),
    ("PSP_INPUT", "PSP encryption missing or wrong on input"),
    ("PSP_OUTPUT", "PSP encryption missing or wrong on output"),
    ("QDISC_BURST_DROP", "burst dropped by the queue of the output device"),
    ("QDISC_CONGESTED", "dropped by the queue of the output device to signal congestion"),
    ("QDISC_DROP", "refused by the queue of the output device"),
    ("QDISC_DROP_BAND_LIMIT", "dropped by the fq queue: priority band full"),
    ("QDISC_DROP_CONGESTED", "dropped by the queue of the output device to signal congestion"),
    ("QDISC_DROP_FLOOD_PROTECTION", "dropped by the queue: flow does not react to congestion"),
    ("QDISC_DROP_FLOW_LIMIT", "dropped by the fq queue: too many packets of the flow"),
    ("QDISC_DROP_GENERIC", "refused by the queue of the output device"),
    ("QDISC_DROP_HORIZON_LIMIT", "dropped by the fq queue: send time too far in the future"),
    ("QDISC_DROP_L4S_STEP_NON_ECN", "dropped by the dualpi2 queue: delay above its step"),
    ("QDISC_DROP_MAXFLOWS", "dropped by the queue: too many flows"),
    ("QDISC_DROP_OVERLIMIT", "the queue of the output device is full"),
    ("QDISC_OVERLIMIT", "the queue of the output device is full"),
    ("QUEUE_PURGE", "its queue was emptied"),
    ("RECURSION_LIMIT", "too many stacked devices (a loop?)"),
    ("SECURITY_HOOK", "refused by a security module"),
    ("SKB_BAD_GSO", "damaged GSO packet"),
    ("SKB_CSUM", "checksum could not be computed"),
    ("SKB_GSO_SEG", "GSO packet could not be segmented"),
    ("SKB_UCOPY_FAULT", "packet could not be copied from user space"),
    ("SOCKET_BACKLOG", "the socket's backlog is full"),
    ("SOCKET_CLOSE", "the socket was closed"),
    ("SOCKET_FILTER", "dropped by the socket's filter"),
    ("SOCKET_RCVBUFF", "the socket's receive buffer is full"),
    ("TAP_FILTER", "dropped by the tap device's filter"),
    ("TAP_TXFILTER", "dropped by the tap device's filter"),
    ("TCP_ABORT_ON_DATA", "data for a connection that the application had closed"),
    ("TCP_ACK_UNSENT_DATA", "acknowledges data that was never sent"),
    ("TCP_AOFAILURE", "wrong TCP authentication (TCP-AO)"),
    ("TCP_AOKEYNOTFOUND", "unknown TCP authentication key (TCP-AO)"),
    ("TCP_AONOTFOUND", "TCP authentication missing (TCP-AO)"),
    ("TCP_AOUNEXPECTED", "TCP authentication not expected (TCP-AO)"),
    ("TCP_AUTH_HDR", "damaged TCP authentication option"),
    ("TCP_CLOSE", "the connection is closed"),
    ("TCP_CSUM", "wrong TCP checksum"),
    ("TCP_FASTOPEN", "TCP fast open data not acceptable"),
    ("TCP_FLAGS", "TCP flags that make no sense here"),
    ("TCP_INVALID_ACK_SEQUENCE", "acknowledgement number outside of the window"),
    ("TCP_INVALID_END_SEQUENCE", "segment ends outside of the window"),
    ("TCP_INVALID_SEQUENCE", "sequence number outside of the window"),
    ("TCP_INVALID_SYN", "SYN within an established connection"),
    ("TCP_LISTEN_OVERFLOW", "the listening socket's accept queue is full"),
    ("TCP_MD5FAILURE", "wrong TCP MD5 signature"),
    ("TCP_MD5NOTFOUND", "TCP MD5 signature missing"),
    ("TCP_MD5UNEXPECTED", "TCP MD5 signature not expected"),
    ("TCP_MINTTL", "hop limit below the socket's minimum"),
    ("TCP_OFOMERGE", "data was there already (out of order)"),
    ("TCP_OFO_DROP", "no memory for out-of-order data"),
    ("TCP_OFO_QUEUE_PRUNE", "out-of-order data discarded to save memory"),
    ("TCP_OLD_ACK", "acknowledgement overtaken by a later one"),
    ("TCP_OLD_DATA", "data was there already (sent twice)"),
    ("TCP_OLD_SEQUENCE", "data was there already (sent twice)"),
    ("TCP_OVERWINDOW", "data beyond the receive window"),
    ("TCP_RESET", "the connection was reset"),
    ("TCP_RFC7323_PAWS", "timestamp older than the last one"),
    ("TCP_RFC7323_PAWS_ACK", "acknowledgement with an old timestamp"),
    ("TCP_RFC7323_TSECR", "echoed timestamp was never sent"),
    ("TCP_RFC7323_TW_PAWS", "old timestamp for a connection in time-wait"),
    ("TCP_TOO_OLD_ACK", "acknowledgement far behind the window"),
    ("TCP_ZEROWINDOW", "the receive window is closed (application does not read)"),
    ("TC_CHAIN_NOTFOUND", "tc chain does not exist"),
    ("TC_COOKIE_ERROR", "tc could not keep its state"),
    ("TC_EGRESS", "dropped by tc (a program or filter) on the output device"),
    ("TC_INGRESS", "dropped by tc (a program or filter) on the input device"),
    ("TC_RECLASSIFY_LOOP", "tc filters loop"),
    ("TUNNEL_TXINFO", "no tunnel endpoint given for a collect-metadata device"),
    ("UDP_CSUM", "wrong UDP checksum"),
    ("UNHANDLED_PROTO", "nothing handles its protocol"),
    ("UNICAST_IN_L2_MULTICAST", "unicast address in a broadcast or multicast frame"),
    ("VXLAN_ENTRY_EXISTS", "MAC is known at another tunnel endpoint"),
    ("VXLAN_INVALID_HDR", "damaged VXLAN header"),
    ("VXLAN_VNI_NOT_FOUND", "no VXLAN device here has this VNI"),
    ("XDP", "dropped by an XDP program"),
    ("XFRM_POLICY", "refused by an IPsec policy"),
];

/// Whether a reason has words of its own.
#[cfg(test)]
pub(crate) fn is_known(reason: &str) -> bool {
    find(REASONS, &reason).is_some()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{PLACES, REASONS, SYMBOLS, meaning};

    #[rstest]
    #[case("IP_OUTNOROUTES", "ip6_forward", 0, "no route to destination")]
    #[case("IP_INNOROUTES", "ip_error", 101, "no route to destination")]
    #[case(
        "IP_INNOROUTES",
        "ip6_pkt_discard",
        113,
        "refused by an unreachable route, or forwarding is off"
    )]
    #[case("NOT_SPECIFIED", "ip_error", 22, "discarded by a blackhole route")]
    #[case("NOT_SPECIFIED", "ip_error", 13, "refused by a prohibit route")]
    #[case("NOT_SPECIFIED", "ip_error", 0, "no usable route to destination")]
    #[case(
        "NOT_SPECIFIED",
        "dst_discard_out",
        22,
        "discarded by a blackhole route"
    )]
    #[case(
        "NOT_SPECIFIED",
        "neigh_invalidate",
        0,
        "next hop does not answer ARP or neighbour discovery"
    )]
    // the errno of some dst entry does not explain another function's drop
    #[case(
        "NOT_SPECIFIED",
        "vxlan_xmit",
        101,
        "no tunnel endpoint known for the destination MAC (no FDB entry)"
    )]
    #[case(
        "NOT_SPECIFIED",
        "some_function",
        0,
        "dropped by some_function, no reason given"
    )]
    #[case("NOT_SPECIFIED", "?", 0, "dropped, no reason given")]
    #[case("IP_INHDR", "ip_forward", 0, "hop limit (TTL) exhausted")]
    #[case("IP_INHDR", "ip_rcv_core", 0, "damaged IP header")]
    #[case(
        "NO_SOCKET",
        "__udp4_lib_rcv",
        0,
        "no UDP socket listens on that address and port"
    )]
    #[case("NO_SOCKET", "sctp_rcv", 0, "no socket takes it")]
    #[case("BRAND_NEW_REASON", "f", 0, "brand new reason")]
    #[case("", "", 0, "")]
    fn meanings(
        #[case] reason: &str,
        #[case] symbol: &str,
        #[case] errno: u32,
        #[case] expected: &str,
    ) {
        assert_eq!(meaning(reason, symbol, errno), expected);
    }

    #[test]
    fn words_are_fragments_and_not_given_twice() {
        let all = REASONS.iter().chain(SYMBOLS).map(|(k, w)| (*k, *w));
        let all: Vec<_> = all
            .chain(PLACES.iter().map(|((r, _), w)| (*r, *w)))
            .collect();
        for (key, words) in &all {
            assert!(
                !words.is_empty() && !words.ends_with('.') && words.len() <= 80,
                "{key}"
            );
        }
        for table in [REASONS, SYMBOLS] {
            let mut keys: Vec<_> = table.iter().map(|(k, _)| k).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), table.len());
        }
    }
}
