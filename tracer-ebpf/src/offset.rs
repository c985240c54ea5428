//! Which kernel struct members the BPF programs read.
//!
//! Rust emits no CO-RE relocations, so user space resolves each path in the running kernel's BTF
//! and hands the byte offsets over in the read-only global `OFF`, where the verifier sees them as
//! constants and checks each access against BTF.

/// Offset of a member that this kernel does not have (only for paths that start with `?`).
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident = $path:literal,)*) => {
        /// Index into the global `OFF`.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Off {
            $($(#[$doc])* $name,)*
        }

        /// For each [`Off`], in order: `struct.member[.member…]`; a leading `?` marks a member
        /// that may be missing (its offset is then [`ABSENT`]); `args:NAME` is the number of arguments of tracepoint `NAME`
        /// (0 when the kernel has no such tracepoint), `sizeof:NAME` the size of a struct in bytes.
        pub const PATHS: [&str; OFF_COUNT] = [$($path,)*];

        /// Number of offsets.
        pub const OFF_COUNT: usize = [$(Off::$name,)*].len();
    };
}

offsets! {
    SkbDev = "sk_buff.dev",
    SkbSk = "sk_buff.sk",
    /// `dst_entry *` with flag bits in the lowest bits.
    SkbRefdst = "sk_buff._skb_refdst",
    /// `nf_conn *` with `enum ip_conntrack_info` in the lowest three bits.
    SkbNfct = "?sk_buff._nfct",
    SkbLen = "sk_buff.len",
    SkbDataLen = "sk_buff.data_len",
    SkbIif = "sk_buff.skb_iif",
    SkbMark = "sk_buff.mark",
    SkbProtocol = "sk_buff.protocol",
    SkbVlanTci = "sk_buff.vlan_tci",
    SkbNetworkHeader = "sk_buff.network_header",
    SkbTransportHeader = "sk_buff.transport_header",
    SkbMacHeader = "sk_buff.mac_header",
    SkbTail = "sk_buff.tail",
    SkbEnd = "sk_buff.end",
    SkbHead = "sk_buff.head",
    SkbData = "sk_buff.data",
    SharedGsoSize = "skb_shared_info.gso_size",
    SharedGsoSegs = "skb_shared_info.gso_segs",
    DevIfindex = "net_device.ifindex",
    DevNet = "net_device.nd_net.net",
    DevMtu = "net_device.mtu",
    DevHardHeaderLen = "net_device.hard_header_len",
    NetInum = "net.ns.inum",
    DstDev = "dst_entry.dev",
    DstOps = "dst_entry.ops",
    DstFlags = "dst_entry.flags",
    DstError = "dst_entry.error",
    DstLwtstate = "dst_entry.lwtstate",
    DstOpsFamily = "dst_ops.family",
    RtType = "rtable.rt_type",
    RtGwFamily = "rtable.rt_gw_family",
    RtGw = "rtable.rt_gw4",
    Rt6From = "rt6_info.from",
    Rt6Gateway = "rt6_info.rt6i_gateway",
    Rt6Flags = "rt6_info.rt6i_flags",
    F6iTable = "fib6_info.fib6_table",
    F6iDstPlen = "fib6_info.fib6_dst.plen",
    F6iMetric = "fib6_info.fib6_metric",
    F6iType = "fib6_info.fib6_type",
    Table6Id = "fib6_table.tb6_id",
    Res6Nh = "fib6_result.nh",
    Res6F6i = "fib6_result.f6i",
    Res6Type = "fib6_result.fib6_type",
    Nh6Oif = "fib6_nh.nh_common.nhc_oif",
    Nh6GwFamily = "fib6_nh.nh_common.nhc_gw_family",
    Nh6Gw = "fib6_nh.nh_common.nhc_gw",
    F6iSiblings = "fib6_info.fib6_nsiblings",
    F6iNh = "fib6_info.nh",
    NhcFamily = "fib_nh_common.nhc_family",
    NhcDev = "fib_nh_common.nhc_dev",
    NhcOif = "fib_nh_common.nhc_oif",
    NhcScope = "fib_nh_common.nhc_scope",
    NhcGwFamily = "fib_nh_common.nhc_gw_family",
    NhcGw = "fib_nh_common.nhc_gw",
    FlowOif = "flowi_common.flowic_oif",
    FlowIif = "flowi_common.flowic_iif",
    FlowFlags = "flowi_common.flowic_flags",
    /// Since 6.0; before, `flowic_iif` was the VRF itself.
    FlowL3mdev = "?flowi_common.flowic_l3mdev",
    FlowMark = "flowi_common.flowic_mark",
    FlowProto = "flowi_common.flowic_proto",
    FlowUid = "flowi_common.flowic_uid.val",
    /// Up to 6.17; the same byte afterwards as [`Off::FlowDscp`].
    FlowTos = "?flowi_common.flowic_tos",
    FlowDscp = "?flowi_common.flowic_dscp",
    FibNhParent = "fib_nh.nh_parent",
    FibInfoNhs = "fib_info.fib_nhs",
    FibInfoTable = "fib_info.fib_tb_id",
    Flow4Saddr = "flowi4.saddr",
    Flow4Daddr = "flowi4.daddr",
    Flow4Uli = "flowi4.uli",
    Flow6Saddr = "flowi6.saddr",
    Flow6Daddr = "flowi6.daddr",
    Flow6Uli = "flowi6.uli",
    Flow6Label = "flowi6.flowlabel",
    LwtType = "lwtunnel_state.type",
    LwtData = "lwtunnel_state.data",
    TunInfoKeyId = "ip_tunnel_info.key.tun_id",
    MetadataType = "metadata_dst.type",
    MetadataKeyId = "metadata_dst.u.tun_info.key.tun_id",
    NeighState = "neighbour.nud_state",
    NeighDev = "neighbour.dev",
    NeighTable = "neighbour.tbl",
    NeighKey = "neighbour.primary_key",
    NeighQueueLen = "neighbour.arp_queue.qlen",
    NeighTableFamily = "neigh_table.family",
    SockNet = "sock.__sk_common.skc_net.net",
    SockFamily = "sock.__sk_common.skc_family",
    SockState = "sock.__sk_common.skc_state",
    SockNum = "sock.__sk_common.skc_num",
    SockDport = "sock.__sk_common.skc_dport",
    SockSaddr = "sock.__sk_common.skc_rcv_saddr",
    SockDaddr = "sock.__sk_common.skc_daddr",
    SockV6Saddr = "sock.__sk_common.skc_v6_rcv_saddr",
    SockV6Daddr = "sock.__sk_common.skc_v6_daddr",
    /// `IPS_*` bits (`linux/netfilter/nf_conntrack_common.h`).
    CtStatus = "?nf_conn.status",
    /// Both tuples of a connection, as it was opened and as it is answered.
    CtTuplehash = "?nf_conn.tuplehash",
    CtTuplehashSize = "?sizeof:nf_conntrack_tuple_hash",
    CtTuple = "?nf_conntrack_tuple_hash.tuple",
    CtSrcPort = "?nf_conntrack_tuple.src.u",
    CtDst = "?nf_conntrack_tuple.dst.u3",
    CtDstPort = "?nf_conntrack_tuple.dst.u",
    TaskNsproxy = "task_struct.nsproxy",
    NsproxyNet = "nsproxy.net_ns",
    /// 2 before 5.17, 3 with the reason, 4 with the receiving socket.
    KfreeArgs = "args:kfree_skb",
}
