//! Every map and every global, and nothing else; but for what each CPU did last, which is in
//! [`super::last`].

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use tracer_abi::{
    NETNS_FULL, NETNS_MARKS_SIZE, TUNNELS_SIZE,
    counter::{COUNTERS as COUNTER_COUNT, Counter},
    drop::{DropKey, DropValue, IcmpKey, IcmpValue},
    entries,
    filter::FilterProg,
    flow::FlowEntry,
    fragment::{FragmentKey, FragmentValue},
    key::KeyWords,
    nat::WantedKey,
    offset::{OFF_COUNT, Off},
    recent::{Places, Recent},
    route::{CarriedKey, FailKey, FailValue, LookupSlot},
};

use super::{
    packet::Snap,
    work::{Hook, LookupWork, Work},
};

// The tables are hashes, not LRU: an LRU evicts silently. User space ages them.
#[map]
pub(super) static FLOWS: HashMap<u64, FlowEntry> = HashMap::with_max_entries(entries::FLOWS, 0);
#[map]
pub(super) static DROPS: HashMap<DropKey, DropValue> = HashMap::with_max_entries(entries::DROPS, 0);
#[map]
pub(super) static ICMP_ERRORS: HashMap<IcmpKey, IcmpValue> =
    HashMap::with_max_entries(entries::ICMP_ERRORS, 0);
#[map]
pub(super) static ROUTE_FAILS: HashMap<FailKey, FailValue> =
    HashMap::with_max_entries(entries::ROUTE_FAILS, 0);
#[map]
pub(super) static EVENTS: RingBuf = RingBuf::with_byte_size(entries::EVENTS, 0);
/// Tuples of translated connections that the filter wants, with the time of the entry.
#[map]
pub(super) static WANTED: HashMap<WantedKey, u64> = HashMap::with_max_entries(entries::WANTED, 0);
/// Not 0 as soon as `WANTED` has entries: spares everybody else the lookup.
#[map]
static WANTED_EXIST: Array<u32> = Array::with_max_entries(1, 0);
/// First fragments, for microseconds to the time that reassembly waits. The only LRU map: what it
/// forgets is not a count.
#[map]
pub(super) static FRAGMENTS: LruHashMap<FragmentKey, FragmentValue> =
    LruHashMap::with_max_entries(entries::FRAGMENTS, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTER_COUNT, 0);
#[map]
static NETNS: HashMap<u32, u32> = HashMap::with_max_entries(4_096, 0);
#[map]
static NETNS_MARKS: Array<u32> = Array::with_max_entries(NETNS_MARKS_SIZE, 0);
#[map]
static DEVICES: HashMap<u32, u32> = HashMap::with_max_entries(1_024, 0);
#[map]
static FILTER: Array<FilterProg> = Array::with_max_entries(1, 0);
#[map]
static NO_LOSS: HashMap<u64, u32> = HashMap::with_max_entries(1_024, 0);
#[map]
static PENDING: PerCpuHashMap<u32, u32> = PerCpuHashMap::with_max_entries(entries::PENDING, 0);
#[map]
static STARTING: Array<u32> = Array::with_max_entries(1, 0);
#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(Hook::COUNT, 0);
/// One place suffices without a recording; user space gives it one per hook for one.
#[map]
static SNAPS: PerCpuArray<Snap> = PerCpuArray::with_max_entries(1, 0);
/// The last lookups on this CPU, by addresses: a packet leaves on the CPU that routed it, within
/// the same batch (64 packets at most), so that pairs of 512 places lose hardly any.
#[map]
static LOOKUPS: PerCpuArray<LookupSlot> = PerCpuArray::with_max_entries(entries::LOOKUPS, 0);
/// The last lookups of senders on this node, by task and addresses: a task may change the CPU between
/// lookup and packet.
#[map]
static TASK_LOOKUPS: Array<LookupSlot> = Array::with_max_entries(entries::TASK_LOOKUPS, 0);
/// Where the record of a walk that failed is put together: one place for each program, which may
/// interrupt each other but not themselves.
#[map]
static ASKING: PerCpuArray<LookupWork> = PerCpuArray::with_max_entries(4, 0);
/// The lookups that the first of two programs was called for, each on a line of memory of its own.
#[map]
static TOLD: Array<[u64; 8]> = Array::with_max_entries(entries::TOLD, 0);
/// Tunnel keys of packets on their way through this CPU.
#[map]
static CARRIED: PerCpuArray<CarriedKey> = PerCpuArray::with_max_entries(CARRIED_SLOTS, 0);
#[map]
static TUNNELS: Array<u32> = Array::with_max_entries(TUNNELS_SIZE, 0);

/// Flows that this CPU has seen moments ago, by hook and CPU. Not a map per CPU, so that another CPU can
/// empty the places of one that is offline; user space has as many made as there are CPUs.
#[map]
static RECENT: Array<Recent> = Array::with_max_entries(entries::RECENT, BPF_F_MMAPABLE);
#[map]
static PLACES: PerCpuArray<Places> = PerCpuArray::with_max_entries(1, 0);

const CARRIED_SLOTS: u32 = 256;

#[unsafe(no_mangle)]
static OFF: [u32; OFF_COUNT] = [0; OFF_COUNT];
#[unsafe(no_mangle)]
static HOME_NETNS: u32 = 0;
#[unsafe(no_mangle)]
static MULTI_NETNS: u32 = 0;
#[unsafe(no_mangle)]
static ONLY_DEVICES: u32 = 0;
#[unsafe(no_mangle)]
static EACH_PACKET: u32 = 0;
#[unsafe(no_mangle)]
static SNAPLEN: u32 = 0;
#[unsafe(no_mangle)]
static LOOKUP_TWICE: u32 = 0;
#[unsafe(no_mangle)]
static SEEDS: KeyWords = [0; 8];

/// Byte offset of a kernel struct member: a constant for the verifier.
#[inline(always)]
pub(super) fn off(o: Off) -> usize {
    // SAFETY: `o` is an index into OFF by construction; volatile, because user space fills it.
    unsafe { core::ptr::read_volatile((&raw const OFF).cast::<u32>().add(o as usize)) as usize }
}

#[inline(always)]
fn global(p: *const u32) -> u32 {
    // SAFETY: only called with addresses of the globals above.
    unsafe { core::ptr::read_volatile(p) }
}

/// For the digests of flows.
#[inline(always)]
pub(super) fn seeds() -> KeyWords {
    // SAFETY: volatile, because user space fills it.
    unsafe {
        let p = (&raw const SEEDS).cast::<u64>();
        let at = |i| p.add(i).read_volatile();
        [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)]
    }
}

/// Namespace that is traced in full.
#[inline(always)]
pub(super) fn home_netns() -> u32 {
    global(&raw const HOME_NETNS)
}

/// Several namespaces are traced in full.
#[inline(always)]
pub(super) fn multi_netns() -> bool {
    global(&raw const MULTI_NETNS) != 0
}

/// Each packet is sent to user space.
#[inline(always)]
pub(super) fn each_packet() -> bool {
    global(&raw const EACH_PACKET) != 0
}

/// Bytes of each packet that a recording wants; 0 without one.
#[inline(always)]
pub(super) fn snaplen() -> u32 {
    global(&raw const SNAPLEN)
}

/// Where this hook puts a record with packet bytes together.
#[inline(always)]
pub(super) fn snap(hook: Hook) -> Option<*mut Snap> {
    SNAPS.get_ptr_mut(hook as u32)
}

/// The ring buffer, for the helper that takes records of any length.
#[inline(always)]
pub(super) fn events() -> *mut c_void {
    (&raw const EVENTS).cast_mut().cast()
}

/// What is traced of a namespace: `NETNS_FULL`, `NETNS_EDGE`, or 0 for nothing.
#[inline(always)]
pub(super) fn netns_scope(netns: u32) -> u32 {
    if netns == home_netns() {
        return NETNS_FULL;
    }
    // most namespaces are none of ours, and an array is quicker asked than a hash
    match NETNS_MARKS.get(netns & (NETNS_MARKS_SIZE - 1)) {
        Some(0) | None => return 0,
        Some(_) => {}
    }
    // SAFETY: the value is a plain u32 that only user space writes.
    unsafe { NETNS.get(&netns) }.copied().unwrap_or(0)
}

/// The namespace is traced in full. Without `--netns` this is one comparison.
#[inline(always)]
pub(super) fn netns_full(netns: u32) -> bool {
    netns == home_netns() || (multi_netns() && netns_scope(netns) == NETNS_FULL)
}

/// The device is traced. Without `-i` this is nothing.
#[inline(always)]
pub(super) fn device_wanted(ifindex: u32) -> bool {
    global(&raw const ONLY_DEVICES) == 0 || DEVICES.get_ptr(&ifindex).is_some()
}

/// From here on, packets that leave by the device on this CPU pass the program at it.
#[inline(always)]
pub(super) fn serve(ifindex: u32) {
    if STARTING.get(0).is_none_or(|on| *on == 0) {
        return;
    }
    if let Some(p) = PENDING.get_ptr_mut(&ifindex) {
        // SAFETY: this CPU's own value.
        unsafe { *p = 1 };
    }
}

/// The program is being attached to the device, and packets on this CPU do not pass it yet.
#[inline(always)]
pub(super) fn is_pending(ifindex: u32) -> bool {
    // SAFETY: this CPU's own value.
    PENDING
        .get_ptr(&ifindex)
        .is_some_and(|p| unsafe { *p } == 0)
}

/// Frees at this return address are no loss.
#[inline(always)]
pub(super) fn no_loss(location: u64) -> bool {
    NO_LOSS.get_ptr(&location).is_some()
}

#[inline(always)]
pub(super) fn filter() -> Option<&'static FilterProg> {
    FILTER.get(0)
}

#[inline(always)]
pub(super) fn count(c: Counter) {
    if let Some(p) = COUNTERS.get_ptr_mut(c as u32) {
        // SAFETY: the element is this CPU's own; an interrupt between load and store can lose one
        // increment only on kernels that preempt BPF programs.
        unsafe { *p += 1 };
    }
}

/// The same for several.
#[inline(always)]
pub(super) fn count_many(c: Counter, n: u64) {
    if let Some(p) = COUNTERS.get_ptr_mut(c as u32) {
        // SAFETY: as above.
        unsafe { *p += n };
    }
}

#[inline(always)]
pub(super) fn work(hook: Hook) -> Option<&'static mut Work> {
    work_of(hook as u32)
}

/// The same by the number of the hook, for functions that are verified on their own.
#[inline(always)]
pub(super) fn work_of(hook: u32) -> Option<&'static mut Work> {
    // SAFETY: each hook has its own element per CPU and the kernel does not re-enter a program on
    // one CPU (it counts a recursion miss instead), so the reference is unique.
    WORK.get_ptr_mut(hook).map(|p| unsafe { &mut *p })
}

/// Working memory of a program at lookups: IPv4, IPv6, and the second of each.
#[inline(always)]
pub(super) fn lookup_work(program: u32) -> Option<&'static mut LookupWork> {
    // SAFETY: as in `work`.
    ASKING.get_ptr_mut(program).map(|p| unsafe { &mut *p })
}

/// There are two programs at each lookup.
#[inline(always)]
pub(super) fn lookup_twice() -> bool {
    global(&raw const LOOKUP_TWICE) != 0
}

/// Where the first of two programs says that it was called.
#[inline(always)]
pub(super) fn told(i: u32) -> Option<*mut u64> {
    TOLD.get_ptr_mut(i).map(<*mut [u64; 8]>::cast)
}

/// A place for a lookup: of a task, or of this CPU.
#[inline(always)]
pub(super) fn lookup_slot(of_task: bool, i: u32) -> Option<*mut LookupSlot> {
    if of_task {
        TASK_LOOKUPS.get_ptr_mut(i & (entries::TASK_LOOKUPS - 1))
    } else {
        LOOKUPS.get_ptr_mut(i & (entries::LOOKUPS - 1))
    }
}

/// The place for the tunnel key of the packet at this address.
#[inline(always)]
pub(super) fn carried(skb: u64) -> Option<*mut CarriedKey> {
    // an sk_buff is some 256 bytes long
    CARRIED.get_ptr_mut((skb >> 8) as u32 & (CARRIED_SLOTS - 1))
}

/// A place for a flow that was seen moments ago.
#[inline(always)]
pub(super) fn recent(i: u32) -> Option<&'static mut Recent> {
    // SAFETY: only the hook that a place belongs to and, when that does not run, who empties it, use it.
    RECENT.get_ptr_mut(i).map(|p| unsafe { &mut *p })
}

/// What this CPU says of its places.
#[inline(always)]
pub(super) fn places() -> Option<&'static mut Places> {
    // SAFETY: this CPU's own element.
    PLACES.get_ptr_mut(0).map(|p| unsafe { &mut *p })
}

/// Packets on the device may carry a tunnel key.
#[inline(always)]
pub(super) fn is_tunnel(ifindex: u32) -> bool {
    TUNNELS
        .get(ifindex & (TUNNELS_SIZE - 1))
        .is_some_and(|on| *on != 0)
}

/// There are entries in `WANTED`, or there were.
#[inline(always)]
pub(super) fn wanted_exist() -> bool {
    WANTED_EXIST.get(0).is_some_and(|n| *n != 0)
}

#[inline(always)]
pub(super) fn note_wanted() {
    if let Some(p) = WANTED_EXIST.get_ptr_mut(0) {
        // SAFETY: a map value that is only ever set to 1.
        unsafe { *p = 1 };
    }
}
