//! Which freed packets are no loss: the ordinary end of packets in sockets, and copies.
//!
//! A healthy TCP connection alone frees one or two packets through `kfree_skb`.

/// When an entry applies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Always.
    Always,
    /// Only without a device: the packet belongs to a socket already.
    NoDevice,
    /// Only for what is no IP packet.
    NotIp,
}

/// An ordinary end.
struct End {
    /// Name of the reason; `*` for any.
    reason: &'static str,
    /// Kernel function without compiler suffix; `*` for any.
    symbol: &'static str,
    when: When,
}

const fn end(reason: &'static str, symbol: &'static str, when: When) -> End {
    End {
        reason,
        symbol,
        when,
    }
}

/// No reason given, also that of every free before 5.17.
const UNSPECIFIED: &str = "NOT_SPECIFIED";

const ENDS: &[End] = &[
    // freed as consumed
    end("CONSUMED", "*", When::Always),
    // segments that carry nothing for the state machine (pure ACK of a handshake, FIN, RST):
    // tcp_rcv_state_process() discards them once they are worked in
    end(UNSPECIFIED, "tcp_rcv_state_process", When::Always),
    // discard_it of tcp_v4_rcv(), tcp_v6_rcv(): time-wait, and segments handed on
    end(UNSPECIFIED, "tcp_v4_rcv", When::Always),
    end(UNSPECIFIED, "tcp_v6_rcv", When::Always),
    // before 5.17 tcp_drop() frees every segment that is not queued
    end(UNSPECIFIED, "tcp_drop", When::Always),
    // data that is there already: the sender repeated it (RFC 9293 §3.10.7.4)
    end("TCP_OLD_DATA", "*", When::Always),
    end("TCP_OLD_SEQUENCE", "*", When::Always),
    end("TCP_OFOMERGE", "*", When::Always),
    // acknowledgements overtaken by later ones (RFC 5961 §5, RFC 7323 §5)
    end("TCP_OLD_ACK", "*", When::Always),
    end("TCP_TOO_OLD_ACK", "*", When::Always),
    end("TCP_RFC7323_PAWS_ACK", "*", When::Always),
    // for a connection that this side has closed: it waited while its owner closed it
    end("TCP_CLOSE", "tcp_rcv_state_process", When::Always),
    // a valid reset did its work
    end("TCP_RESET", "*", When::Always),
    // queues of a socket that is closed
    end("QUEUE_PURGE", "sk_stream_kill_queues", When::Always),
    end("QUEUE_PURGE", "inet_sock_destruct", When::Always),
    end("QUEUE_PURGE", "*", When::NoDevice),
    end(UNSPECIFIED, "sk_stream_kill_queues", When::Always),
    end(UNSPECIFIED, "inet_sock_destruct", When::Always),
    end("*", "skb_rbtree_purge", When::Always),
    end("SOCKET_CLOSE", "*", When::NoDevice),
    end("SOCKET_CLOSE", "unix_release_sock", When::Always),
    end("UNIX_DISCONNECT", "*", When::Always),
    end("UNIX_SKIP_OOB", "*", When::Always),
    // each answered ping that no ping socket waits for: raw sockets got their copy
    // (freed by ping_rcv() up to 6.1, by its callers later)
    end("NO_SOCKET", "ping_rcv", When::Always),
    end("NO_SOCKET", "icmp_rcv", When::Always),
    end("NO_SOCKET", "icmpv6_rcv", When::Always),
    end(UNSPECIFIED, "ping_rcv", When::Always),
    // the same where the compiler made the free the last jump of ping_rcv(); these two have no
    // other use of the reason
    end("NO_SOCKET", "icmp_rcv", When::Always),
    end("NO_SOCKET", "icmpv6_rcv", When::Always),
    // neighbour discovery, MLD and IGMP messages that were worked in (up to 6.1)
    end(UNSPECIFIED, "icmpv6_rcv", When::Always),
    // and ICMP messages (before 5.17)
    end(UNSPECIFIED, "icmp_rcv", When::Always),
    end(UNSPECIFIED, "ip6_mc_input", When::Always),
    end(UNSPECIFIED, "igmp_rcv", When::Always),
    // a solicitation for another host that the multicast filter let through
    end("IPV6_NDISC_NS_OTHERHOST", "*", When::Always),
    // copies for packet sockets (tcpdump, DHCP clients): the packet itself goes on
    end("PACKET_SOCK_ERROR", "*", When::Always),
    end("*", "packet_rcv", When::Always),
    end("*", "tpacket_rcv", When::Always),
    end("*", "packet_rcv_spkt", When::Always),
    // link-layer housekeeping that nobody handles here (LLDP, STP), and ARP
    end("UNHANDLED_PROTO", "*", When::NotIp),
    end(UNSPECIFIED, "__netif_receive_skb_core", When::NotIp),
    end(UNSPECIFIED, "arp_rcv", When::NotIp),
    end(UNSPECIFIED, "arp_process", When::NotIp),
];

/// Functions of the sending path that free packets without a reason before `skb->dev` is set.
const SENDERS: &[&str] = &[
    "__ip_queue_xmit",
    "dst_discard",
    "dst_discard_out",
    "ip6_fragment",
    "ip6_pkt_discard_out",
    "ip6_pkt_drop",
    "ip6_pkt_prohibit_out",
    "ip6_xmit",
    "ip_error",
    "ip_fragment",
    "ip_queue_xmit",
    "neigh_invalidate",
    "nf_hook_slow",
    "nft_do_chain",
    "vxlan_xmit",
];

/// Whether a freed packet is a loss on a path.
///
/// `has_dev`: `skb->dev` was a valid device. `is_ip`: its addresses could be read. With a device it
/// is a loss unless it is a known ordinary end; without one it belonged to a socket and is a loss
/// only when a reason says so or a function of the sending path freed it.
pub fn is_loss(reason: &str, symbol: &str, has_dev: bool, is_ip: bool) -> bool {
    let ordinary = ENDS.iter().any(|end| {
        (end.reason == "*" || end.reason == reason)
            && (end.symbol == "*" || end.symbol == symbol)
            && match end.when {
                When::Always => true,
                When::NoDevice => !has_dev,
                When::NotIp => !is_ip,
            }
    });
    !ordinary && (has_dev || reason != UNSPECIFIED || SENDERS.contains(&symbol))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_loss;

    #[rstest]
    #[case("NOT_SPECIFIED", "tcp_rcv_state_process", false)]
    #[case("NOT_SPECIFIED", "tcp_v4_rcv", true)]
    #[case("NOT_SPECIFIED", "tcp_v6_rcv", true)]
    #[case("NOT_SPECIFIED", "tcp_drop", false)]
    #[case("TCP_OLD_DATA", "tcp_data_queue", false)]
    #[case("TCP_OLD_SEQUENCE", "tcp_validate_incoming", false)]
    #[case("TCP_CLOSE", "tcp_rcv_state_process", false)]
    #[case("QUEUE_PURGE", "sk_stream_kill_queues", true)]
    #[case("QUEUE_PURGE", "inet_sock_destruct", true)]
    #[case("NOT_SPECIFIED", "skb_rbtree_purge", true)]
    #[case("NO_SOCKET", "ping_rcv", true)]
    #[case("NO_SOCKET", "icmp_rcv", true)]
    #[case("NO_SOCKET", "icmpv6_rcv", true)]
    #[case("NOT_SPECIFIED", "icmpv6_rcv", true)]
    #[case("NOT_SPECIFIED", "ip6_mc_input", true)]
    #[case("SOCKET_CLOSE", "unix_release_sock", false)]
    #[case("NOT_SPECIFIED", "netlink_broadcast_filtered", false)]
    #[case("NOT_SPECIFIED", "netlink_dump", false)]
    #[case("NOT_SPECIFIED", "?", false)]
    fn ordinary_ends(#[case] reason: &str, #[case] symbol: &str, #[case] has_dev: bool) {
        assert!(!is_loss(reason, symbol, has_dev, true));
    }

    #[rstest]
    #[case("NO_SOCKET", "__udp4_lib_rcv", true)]
    #[case("NO_SOCKET", "udp_rcv", true)]
    #[case("NO_SOCKET", "tcp_v4_rcv", true)]
    #[case("NO_SOCKET", "__udp6_lib_rcv", true)]
    #[case("ICMP_CSUM", "icmpv6_rcv", true)]
    #[case("NOT_SPECIFIED", "?", true)]
    #[case("NOT_SPECIFIED", "ip_error", true)]
    #[case("NOT_SPECIFIED", "neigh_invalidate", true)]
    #[case("NOT_SPECIFIED", "ip_fragment", true)]
    #[case("NOT_SPECIFIED", "__dev_forward_skb2", true)]
    #[case("NOT_SPECIFIED", "net_dev_xmit", true)]
    #[case("NETFILTER_DROP", "nft_do_chain", true)]
    // the output hook runs before the packet has a device
    #[case("NETFILTER_DROP", "nft_do_chain", false)]
    #[case("NOT_SPECIFIED", "nf_hook_slow", false)]
    #[case("IP_OUTNOROUTES", "__ip_queue_xmit", false)]
    #[case("SOCKET_RCVBUFF", "__udp_enqueue_schedule_skb", true)]
    #[case("SOCKET_RCVBUFF", "tcp_data_queue", false)]
    #[case("TCP_LISTEN_OVERFLOW", "tcp_conn_request", false)]
    #[case("QUEUE_PURGE", "neigh_destroy", true)]
    fn losses(#[case] reason: &str, #[case] symbol: &str, #[case] has_dev: bool) {
        assert!(is_loss(reason, symbol, has_dev, true));
    }

    #[test]
    fn what_is_no_ip_is_judged_apart() {
        assert!(!is_loss(
            "UNHANDLED_PROTO",
            "__netif_receive_skb_core",
            true,
            false
        ));
        assert!(is_loss(
            "UNHANDLED_PROTO",
            "__netif_receive_skb_core",
            true,
            true
        ));
        // a queue that drops ARP is why an address does not answer
        assert!(is_loss("QDISC_DROP", "__dev_queue_xmit", true, false));
    }
}
