//! Counting a packet in its flow.

use aya_ebpf::bindings::BPF_NOEXIST;
use tracer_abi::{
    counter::Counter,
    drop::{IcmpRecord, IcmpValue},
    flow::{CHANGE_NAT, CHANGE_NEW, CHANGE_OUTER, CHANGE_ROUTE, FlowEntry, FlowRecord, FlowValue},
    key::{DIR_IN, DIR_OUT, FlowKey, PROTO_ICMP, PROTO_ICMPV6, digest},
    nat::Nat,
    record::{KIND_FLOW, KIND_ICMP_ERROR, KIND_PACKET, PacketRecord},
};

use super::{
    conntrack,
    decide::{tracer_decide, tracer_decide_early},
    dst,
    emit::{QUIET, WAKE, emit},
    kmem::{Linear, add},
    last::{flows_are_full, set_clock, set_flows_full},
    lookup::same,
    maps::{FLOWS, ICMP_ERRORS, count, each_packet, seeds},
    recent,
    work::{Hook, Work},
};

/// Dst memory is reused, so a pointer that stayed the same is decoded again after this time.
const DST_RECHECK_NS: u64 = 1_000_000_000;

/// What a hook knows of a packet beside its headers.
pub(super) struct Seen {
    pub(super) netns: u32,
    pub(super) ifindex: u32,
    pub(super) iif: u32,
    pub(super) dir: u8,
    /// Bytes with the link header.
    pub(super) bytes: u32,
    /// Bytes without it.
    pub(super) len: u32,
    pub(super) segs: u32,
    pub(super) mark: u32,
    pub(super) vlan: u32,
    /// `_skb_refdst` without flag bits; outgoing packets only.
    pub(super) dst: u64,
    /// `_nfct`; outgoing packets only.
    pub(super) nfct: u64,
    pub(super) now: u64,
    pub(super) hook: Hook,
}

impl Seen {
    /// Its dst entry is gone, and so is what can be said of the decision.
    #[inline(always)]
    fn early(&self) -> bool {
        matches!(self.hook, Hook::Queue)
    }
}

/// Counts the packet in `w.packet` and tells user space what is new about it.
#[inline(always)]
pub(super) fn account(w: &mut Work, linear: &Linear, s: &Seen) {
    if w.error_only {
        icmp_error(w, linear, s);
        return;
    }
    // `reserved` is zero since the map was made, and nothing else writes to it
    let key = &mut w.entry.key;
    key.tuple = w.packet.tuple;
    key.netns = s.netns;
    key.ifindex = s.ifindex;
    key.iif = s.iif;
    key.dir = s.dir;
    // SAFETY: an entry lies on a multiple of eight, and its key is its beginning.
    w.digest = digest(&unsafe { w.entry.key.words() }, &seeds());
    match FLOWS.get_ptr_mut(&w.digest) {
        // SAFETY: a map value; concurrent CPUs only add to the counters atomically, the rest is
        // descriptive and last-writer-wins.
        Some(e) if is_of(unsafe { &*e }, w) => {
            // SAFETY: as above.
            update(w, unsafe { &mut (*e).value }, s);
            recent::keep(w, s);
        }
        Some(_) => count(Counter::FlowsFull),
        None => insert(w, s),
    }
    if w.packet.tuple.proto == PROTO_ICMP || w.packet.tuple.proto == PROTO_ICMPV6 {
        icmp_error(w, linear, s);
    }
    if each_packet() {
        let (key, packet) = (&w.entry.key, &w.packet);
        emit::<PacketRecord>(KIND_PACKET, 0, |p| {
            // SAFETY: `p` is the reserved payload.
            unsafe {
                (*p).key = *key;
                (*p).len = s.bytes;
                (*p).segs = s.segs;
                (*p).tcp_flags = packet.tcp_flags;
                (*p).ip_id = packet.ip_id;
            }
        });
    }
}

/// The entry is this packet's flow, and not another one with its digest.
#[inline(always)]
pub(super) fn is_of(e: &FlowEntry, w: &Work) -> bool {
    // SAFETY: as above.
    let (a, b) = unsafe { (e.key.words(), w.entry.key.words()) };
    let differs = |i: usize| a[i] ^ b[i];
    let first = differs(0) | differs(1) | differs(2) | differs(3);
    first | differs(4) | differs(5) | differs(6) | differs(7) == 0
}

/// Bytes of one wire packet without the link header.
#[inline(always)]
fn wire_len(s: &Seen) -> u32 {
    if s.segs > 1 { s.len / s.segs } else { s.len }
}

#[inline(always)]
fn add_to(v: &mut FlowValue, s: &Seen) {
    add(&mut v.packets, u64::from(s.segs));
    add(&mut v.bytes, u64::from(s.bytes));
    if s.segs > 1 {
        add(&mut v.joined, u64::from(s.segs - 1));
    }
}

#[inline(always)]
fn update(w: &mut Work, v: &mut FlowValue, s: &Seen) {
    add_to(v, s);
    // another CPU may be ahead by a tick
    if v.last_ns < s.now {
        v.last_ns = s.now;
    }
    v.tcp_flags |= w.packet.tcp_flags;
    let len = wire_len(s);
    if v.max_len < len {
        v.max_len = len;
    }
    w.undecided = s.dir == DIR_IN && v.route.how == 0;
    let mut change = 0;
    let entry = conntrack::entry(s.nfct);
    if s.dir == DIR_OUT
        && !s.early()
        && (v.dst != s.dst || v.nfct != entry || s.now.wrapping_sub(v.dst_ns) > DST_RECHECK_NS)
    {
        decide(w, s);
        v.nfct = entry;
        if !conntrack::equal(&v.nat, &w.nat) {
            v.nat = w.nat;
            change |= CHANGE_NAT;
        }
        v.dst = s.dst;
        v.dst_ns = s.now;
        v.mark = s.mark;
        if dst::replace(&mut v.route, &w.route) {
            v.route_changes += 1;
            v.changed_ns = s.now;
            change |= CHANGE_ROUTE;
        }
    }
    let outer = &w.packet.outer;
    if outer.family != 0
        && !(same(&outer.daddr, &v.outer.daddr) && same(&outer.saddr, &v.outer.saddr))
    {
        v.outer = *outer;
        v.outer_changes += 1;
        change |= CHANGE_OUTER;
    }
    if change != 0 {
        notify(&w.entry.key, v, change);
    }
}

/// Reads the decision and the translation of an outgoing packet into `w.route` and `w.nat`.
#[inline(always)]
fn decide(w: &mut Work, s: &Seen) {
    (w.now, w.mark) = (set_clock(), s.mark);
    w.nat = Nat::default();
    let hook = s.hook as u32;
    // called from here and not from there: the frames of nested calls add up to 512 bytes at most
    if w.packet.outer.family == 0 && s.nfct != 0 {
        conntrack::tracer_translation(hook, s.nfct, s.netns);
    }
    if s.early() {
        tracer_decide_early(hook, s.ifindex, s.netns, s.iif);
    } else {
        tracer_decide(hook, s.dst, s.netns, s.iif);
    }
}

#[inline(always)]
fn insert(w: &mut Work, s: &Seen) {
    if flows_are_full() {
        w.undecided = false;
        count(Counter::FlowsFull);
        return;
    }
    let now = set_clock();
    let mut dst_ns = 0;
    if s.dir == DIR_OUT {
        decide(w, s);
        dst_ns = now;
    } else {
        w.route = tracer_abi::route::Route::default();
        w.nat = Nat::default();
        w.undecided = true;
    }
    w.entry.value = FlowValue {
        packets: u64::from(s.segs),
        bytes: u64::from(s.bytes),
        joined: u64::from(s.segs) - 1,
        first_ns: now,
        last_ns: now,
        dst: s.dst,
        dst_ns,
        changed_ns: 0,
        nfct: conntrack::entry(s.nfct),
        route: w.route,
        outer: w.packet.outer,
        nat: w.nat,
        route_changes: 0,
        outer_changes: 0,
        mark: s.mark,
        max_len: wire_len(s),
        tcp_flags: w.packet.tcp_flags,
        vlan: s.vlan,
    };
    if w.packet.outer.family == 0 {
        w.entry.value.outer = tracer_abi::flow::Outer::default();
    }
    if FLOWS
        .insert(&w.digest, &w.entry, u64::from(BPF_NOEXIST))
        .is_ok()
    {
        notify(&w.entry.key, &w.entry.value, CHANGE_NEW);
        return;
    }
    // another CPU was first, or the table is full
    match FLOWS.get_ptr_mut(&w.digest) {
        // SAFETY: as in `account`.
        Some(e) if is_of(unsafe { &*e }, w) => add_to(unsafe { &mut (*e).value }, s),
        Some(_) => count(Counter::FlowsFull),
        None => {
            set_flows_full();
            count(Counter::FlowsFull);
        }
    }
}

#[inline(always)]
fn notify(key: &FlowKey, v: &FlowValue, change: u32) {
    emit::<FlowRecord>(KIND_FLOW, QUIET, |p| {
        // SAFETY: `p` is the reserved payload; the map value is copied as it is.
        unsafe {
            (*p).key = *key;
            (*p).change = change;
            core::ptr::copy_nonoverlapping(v, &raw mut (*p).value, 1);
        }
    });
}

/// Counts an ICMP error under the flow that it complains about.
#[inline(always)]
fn icmp_error(w: &mut Work, linear: &Linear, s: &Seen) {
    if w.packet.outer.family != 0 {
        return;
    }
    w.linear = *linear;
    if conntrack::tracer_icmp_error(s.hook as u32) == 0 {
        return;
    }
    let now = set_clock();
    let (icmp_type, code, mtu) = w.error;
    let k = &mut w.icmp_key;
    k.about = w.about.tuple;
    k.from = w.packet.tuple.saddr;
    k.netns = s.netns;
    k.ifindex = s.ifindex;
    k.dir = s.dir;
    k.icmp_type = icmp_type;
    k.code = code;
    k.local = u8::from(s.dir == DIR_OUT && s.iif == 0);
    if let Some(v) = ICMP_ERRORS.get_ptr_mut(&w.icmp_key) {
        // SAFETY: as in `account`.
        let v = unsafe { &mut *v };
        add(&mut v.count, 1);
        v.last_ns = now;
        return;
    }
    w.icmp = IcmpValue {
        count: 1,
        first_ns: now,
        last_ns: now,
        mtu,
        reserved: 0,
    };
    let new = ICMP_ERRORS.insert(&w.icmp_key, &w.icmp, u64::from(BPF_NOEXIST));
    if new.is_err() {
        // another CPU was first, or the table is full
        match ICMP_ERRORS.get_ptr_mut(&w.icmp_key) {
            // SAFETY: as in `account`.
            Some(v) => add(unsafe { &mut (*v).count }, 1),
            None => count(Counter::IcmpFull),
        }
        return;
    }
    let (key, value) = (&w.icmp_key, &w.icmp);
    emit::<IcmpRecord>(KIND_ICMP_ERROR, WAKE, |p| {
        // SAFETY: `p` is the reserved payload.
        unsafe {
            (*p).key = *key;
            (*p).value = *value;
        }
    });
}
