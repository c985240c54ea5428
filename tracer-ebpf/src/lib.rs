//! Every byte that the kernel side and user space share, and the packet parser that runs on both.
//!
//! Rules for this crate:
//! - `no_std`, no allocation, nothing that can panic: the same code is compiled for BPF.
//! - Every shared struct is `repr(C)`, without hidden padding (`zerocopy` refuses it), and says of
//!   each field its unit and byte order.
//! - Addresses are in network byte order, IPv4 in the first four bytes and zeros behind it.
//!   Ports are in host byte order. Times are `CLOCK_MONOTONIC` nanoseconds.
//! - A change of any struct here changes both sides at once: there is no second definition.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "BPF programs are verified as one piece: a call costs more than it saves"
)]

pub mod counter;
pub mod drop;
pub mod filter;
pub mod flow;
pub mod fragment;
pub mod glimpse;
pub mod key;
pub mod nat;
pub mod offset;
pub mod packet;
pub mod parse;
pub mod recent;
pub mod record;
pub mod route;

/// Names of the BPF maps, as the object file spells them.
pub mod map {
    /// `HASH`: [`crate::key::digest`] → [`crate::flow::FlowEntry`].
    pub const FLOWS: &str = "FLOWS";
    /// `HASH`: [`crate::drop::DropKey`] → [`crate::drop::DropValue`].
    pub const DROPS: &str = "DROPS";
    /// `HASH`: [`crate::drop::IcmpKey`] → [`crate::drop::IcmpValue`].
    pub const ICMP_ERRORS: &str = "ICMP_ERRORS";
    /// `HASH`: [`crate::route::FailKey`] → [`crate::route::FailValue`].
    pub const ROUTE_FAILS: &str = "ROUTE_FAILS";
    /// `RINGBUF`: [`crate::record`].
    pub const EVENTS: &str = "EVENTS";
    /// `PERCPU_ARRAY`: `u64` for each [`crate::counter::Counter`].
    pub const COUNTERS: &str = "COUNTERS";
    /// `HASH`: netns inode `u32` → [`crate::NETNS_FULL`] or [`crate::NETNS_EDGE`].
    pub const NETNS: &str = "NETNS";
    /// `ARRAY[NETNS_MARKS_SIZE]`: `u32` 1 at the inodes (modulo the size) that `NETNS` has, or had.
    pub const NETNS_MARKS: &str = "NETNS_MARKS";
    /// `HASH`: ifindex `u32` → `u32` 1, used when `-i` narrows the devices.
    pub const DEVICES: &str = "DEVICES";
    /// `ARRAY[1]`: [`crate::filter::FilterProg`].
    pub const FILTER: &str = "FILTER";
    /// `HASH`: [`crate::nat::WantedKey`] → `u64` time (`CLOCK_MONOTONIC` nanoseconds) of the entry:
    /// tuples of translated connections that the filter wants. User space ages it.
    pub const WANTED: &str = "WANTED";
    /// `ARRAY[TUNNELS_SIZE]`: `u32` 1 at the ifindex (modulo the size) of devices on which packets
    /// may carry a tunnel key.
    pub const TUNNELS: &str = "TUNNELS";
    /// `HASH`: return address `u64` → `u32` 1; frees there are no loss and only counted.
    pub const NO_LOSS: &str = "NO_LOSS";
    /// `PERCPU_HASH`: ifindex `u32` → `u32`, devices that the tc program is still being attached to: 1
    /// as soon as this CPU's packets pass it.
    pub const PENDING: &str = "PENDING";
    /// `ARRAY[1]`: `u32`, not 0 while there may be devices in `PENDING`.
    pub const STARTING: &str = "STARTING";
    /// `PERCPU_ARRAY`: where records with packet bytes are put together.
    pub const SNAPS: &str = "SNAPS";
    /// `ARRAY`: [`crate::recent::Recent`], [`crate::entries::RECENT`] for each CPU.
    pub const RECENT: &str = "RECENT";
    /// `PERCPU_ARRAY[1]`: [`crate::recent::Places`].
    pub const PLACES: &str = "PLACES";
}

/// How many entries the tables have. All of their memory is taken when they are made.
pub mod entries {
    /// Of [`super::map::FLOWS`], unless user space asks for others (`--flows`).
    pub const FLOWS: u32 = 131_072;
    /// Of [`super::map::DROPS`].
    pub const DROPS: u32 = 16_384;
    /// Of [`super::map::ICMP_ERRORS`].
    pub const ICMP_ERRORS: u32 = 4_096;
    /// Of [`super::map::ROUTE_FAILS`].
    pub const ROUTE_FAILS: u32 = 4_096;
    /// Of [`super::map::WANTED`].
    pub const WANTED: u32 = 32_768;
    /// Of [`super::map::PENDING`].
    pub const PENDING: u32 = 1_024;
    /// Of the first fragments that are remembered.
    pub const FRAGMENTS: u32 = 4_096;
    /// Of the last lookups, on each CPU.
    pub const LOOKUPS: u32 = 1_024;
    /// Of the last lookups of tasks.
    pub const TASK_LOOKUPS: u32 = 4_096;
    /// Of the flows that each hook has seen moments ago, a power of two; on each CPU there are twice as many.
    pub const RECENT_OF_HOOK: u32 = 1_024;
    /// Of these on each CPU: packets that come in, and packets that leave.
    pub const RECENT: u32 = RECENT_OF_HOOK * 2;
    /// Marks of lookups that a program was called for.
    pub const TOLD: u32 = 512;
    /// Bytes of [`super::map::EVENTS`], unless a recording asks for others.
    pub const EVENTS: u32 = 4 << 20;
}

/// Names of the read-only globals that user space fills before the programs are loaded.
pub mod global {
    /// `[u32; OFF_COUNT]`: byte offset of each [`crate::offset::Off`].
    pub const OFF: &str = "OFF";
    /// `u32`: inode of the network namespace that is traced in full.
    pub const HOME_NETNS: &str = "HOME_NETNS";
    /// `u32`: not 0 when several namespaces are traced in full (`--netns`).
    pub const MULTI_NETNS: &str = "MULTI_NETNS";
    /// `u32`: not 0 when `DEVICES` narrows what is traced.
    pub const ONLY_DEVICES: &str = "ONLY_DEVICES";
    /// `u32`: not 0 when each packet is sent to user space (`--packets`).
    pub const EACH_PACKET: &str = "EACH_PACKET";
    /// `u32`: bytes of each packet that are sent for a recording; 0 for no recording.
    pub const SNAPLEN: &str = "SNAPLEN";
    /// `u32`: not 0 when there are two programs at each lookup.
    pub const LOOKUP_TWICE: &str = "LOOKUP_TWICE";
    /// [`crate::key::KeyWords`]: odd random numbers for [`crate::key::digest`].
    pub const SEEDS: &str = "SEEDS";
}

/// Entries of the `TUNNELS` map, a power of two.
pub const TUNNELS_SIZE: u32 = 4096;
/// Entries of the `NETNS_MARKS` map, a power of two.
pub const NETNS_MARKS_SIZE: u32 = 4096;

/// Value in the `NETNS` map: the node, every hook applies.
pub const NETNS_FULL: u32 = 1;
/// Value in the `NETNS` map: a pod, only drops, local route failures and retransmits.
pub const NETNS_EDGE: u32 = 2;
