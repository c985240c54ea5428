//! The loaded object: its globals, programs and maps.

use std::hash::{BuildHasher as _, RandomState};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Map, MapData, MapError, PerCpuArray, PerCpuHashMap, RingBuf},
    util::{KernelVersion, nr_cpus},
};
use nix::{
    errno::Errno,
    sys::{
        resource::{RLIM_INFINITY, Resource, getrlimit},
        utsname::uname,
    },
};
use tracer_abi::{
    NETNS_EDGE, NETNS_FULL, NETNS_MARKS_SIZE, TUNNELS_SIZE,
    drop::{DropKey, DropValue, IcmpKey, IcmpValue},
    entries,
    filter::{FilterProg, TEST_FAMILY},
    flow::FlowEntry,
    global,
    key::KeyWords,
    map,
    nat::WantedKey,
    offset::{ABSENT, OFF_COUNT, Off, PATHS},
    packet::SNAP_MAX,
    route::{FailKey, FailValue},
};

use super::{
    Attachment, Batch, KernelCounters, ProbeError, Ring, Skipped, Table, rest::Pending,
    settle::Recent,
};
use crate::event::{Ifindex, NetnsId};

/// Bytes behind `_skb_refdst` that the tc program reads in one go (`SKB_TAIL` of the kernel side).
const SKB_TAIL: usize = 136;

/// At least as many as there are hooks that send packet bytes.
const SNAP_HOOKS: u32 = 8;

/// What to trace.
pub struct ProbeConfig<'a> {
    /// Offsets for this kernel, in the order of [`Off`].
    pub offsets: [u32; OFF_COUNT],
    /// This kernel's BTF, for the tracepoints.
    pub btf: &'a Btf,
    /// The namespace that is traced in full.
    pub home: NetnsId,
    /// Further namespaces that are traced in full (`--netns`).
    pub full: Vec<NetnsId>,
    /// Namespaces of pods: drops, route failures and retransmissions only.
    pub edge: Vec<NetnsId>,
    /// Devices (`-i`); `None` for all.
    pub devices: Option<Vec<Ifindex>>,
    /// Send each packet (`--packets`).
    pub each_packet: bool,
    /// Send the first bytes of each packet, for a recording.
    pub recording: Option<Recording>,
    /// Entries of the table of flows at devices; `None` for the usual number.
    pub flows: Option<u32>,
}

/// What a recording needs of the kernel side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Bytes of each packet; at most [`SNAP_MAX`].
    pub snaplen: u32,
    /// Bytes of the ring buffer; rounded up to a power of two.
    pub buffer: u32,
}

/// The kernel side, loaded. Everything is detached when it is dropped, or when the process ends.
pub struct Probe {
    pub(super) ebpf: Ebpf,
    pub(super) attachment: Attachment,
    /// There are two programs at each lookup.
    pub(super) lookup_twice: bool,
    /// Flows at devices.
    pub flows: Table<u64, FlowEntry>,
    /// Drops.
    pub drops: Table<DropKey, DropValue>,
    /// ICMP errors.
    pub icmp: Table<IcmpKey, IcmpValue>,
    /// Failed lookups of local senders.
    pub route_fails: Table<FailKey, FailValue>,
    /// Tuples of translated connections that the filter wants.
    pub wanted: Table<WantedKey, u64>,
    netns: Table<u32, u32>,
    netns_marks: Table<u32, u32>,
    no_loss: Table<u64, u32>,
    tunnels: Table<u32, u32>,
    /// Kept open: programs that are loaded later refer to the map by its descriptor.
    _devices: Table<u32, u32>,
    filter: Table<u32, FilterProg>,
    pub(super) pending: Pending,
    pub(super) starting: Table<u32, u32>,
    counters: PerCpuArray<MapData, u64>,
    pub(super) recent: Recent,
    ring: Option<RingBuf<MapData>>,
}

impl Probe {
    /// Loads maps and programs; nothing is attached yet, and nothing is recorded before
    /// [`Probe::set_filter`]: a packet that one hook sees and the next one, not yet attached, does
    /// not, would look lost.
    pub fn load(config: &ProbeConfig<'_>) -> Result<Self, ProbeError> {
        check_layout(&config.offsets)?;
        let multi = u32::from(!config.full.is_empty());
        let only = u32::from(config.devices.is_some());
        let each = u32::from(config.each_packet);
        let snaplen = config.recording.map_or(0, |r| r.snaplen.clamp(1, SNAP_MAX));
        let twice = u32::from(preempts_in_tracepoints());
        let seeds = seeds();
        let mut loader = EbpfLoader::new();
        if let Some(recording) = config.recording {
            let page = 4096;
            let buffer = recording.buffer.clamp(page, 1 << 30).next_power_of_two();
            loader
                .map_max_entries(map::EVENTS, buffer)
                .map_max_entries(map::SNAPS, SNAP_HOOKS);
        }
        if let Some(flows) = config.flows {
            loader.map_max_entries(map::FLOWS, flows);
        }
        let cpus = nr_cpus().map_or(1, |n| n as u32);
        loader.map_max_entries(map::RECENT, cpus * entries::RECENT);
        let mut ebpf = loader
            .btf(Some(config.btf))
            .verifier_log_level(VerifierLogLevel::DEBUG)
            .override_global(global::OFF, &config.offsets[..], true)
            .override_global(global::HOME_NETNS, &config.home.0, true)
            .override_global(global::MULTI_NETNS, &multi, true)
            .override_global(global::ONLY_DEVICES, &only, true)
            .override_global(global::EACH_PACKET, &each, true)
            .override_global(global::SNAPLEN, &snaplen, true)
            .override_global(global::LOOKUP_TWICE, &twice, true)
            .override_global(global::SEEDS, &seeds[..], true)
            .load(aya::include_bytes_aligned!(concat!(
                env!("OUT_DIR"),
                "/tracer-bpf"
            )))
            .map_err(refused)?;
        #[cfg(feature = "bpf-log")]
        if let Err(e) = aya_log::EbpfLogger::init(&mut ebpf) {
            tracing::warn!("kernel-side log lines are not shown: {e}");
        }
        let devices: Table<u32, u32> = table(&mut ebpf, map::DEVICES)?;
        for dev in config.devices.iter().flatten() {
            devices.insert(&dev.0, &1)?;
        }
        let probe = Self {
            flows: table(&mut ebpf, map::FLOWS)?,
            drops: table(&mut ebpf, map::DROPS)?,
            icmp: table(&mut ebpf, map::ICMP_ERRORS)?,
            route_fails: table(&mut ebpf, map::ROUTE_FAILS)?,
            wanted: table(&mut ebpf, map::WANTED)?,
            netns: table(&mut ebpf, map::NETNS)?,
            netns_marks: table(&mut ebpf, map::NETNS_MARKS)?,
            no_loss: table(&mut ebpf, map::NO_LOSS)?,
            tunnels: table(&mut ebpf, map::TUNNELS)?,
            filter: table(&mut ebpf, map::FILTER)?,
            pending: Pending::new(per_cpu_hash(&mut ebpf, map::PENDING)?)?,
            starting: table(&mut ebpf, map::STARTING)?,
            counters: per_cpu(&mut ebpf, map::COUNTERS)?,
            recent: Recent::new(per_cpu(&mut ebpf, map::PLACES)?),
            ring: Some(
                RingBuf::try_from(take(&mut ebpf, map::EVENTS)?).map_err(|e| ProbeError::Map {
                    name: map::EVENTS,
                    source: Box::new(e),
                })?,
            ),
            _devices: devices,
            attachment: Attachment::default(),
            lookup_twice: twice != 0,
            ebpf,
        };
        for id in &config.full {
            probe.add_netns(*id, NETNS_FULL)?;
        }
        for id in &config.edge {
            probe.add_edge(*id)?;
        }
        probe.set_filter(&nothing())?;
        Ok(probe)
    }

    /// Takes a pod's namespace in.
    pub fn add_edge(&self, id: NetnsId) -> Result<(), ProbeError> {
        self.add_netns(id, NETNS_EDGE)
    }

    fn add_netns(&self, id: NetnsId, scope: u32) -> Result<(), ProbeError> {
        // the mark stays when the namespace goes: it only says where to look
        self.netns_marks
            .insert(&(id.0 & (NETNS_MARKS_SIZE - 1)), &1)?;
        self.netns.insert(&id.0, &scope)
    }

    /// Leaves a pod's namespace out: it is gone.
    pub fn remove_edge(&self, id: NetnsId) -> Result<(), ProbeError> {
        self.netns.remove(&id.0)
    }

    /// Packets on this device of the home namespace may carry a tunnel key: it has no VNI of its
    /// own. Once said it is true for as long as the session: at a device that has the number later
    /// it costs a look and finds nothing.
    pub fn mark_tunnel(&self, ifindex: Ifindex) -> Result<(), ProbeError> {
        self.tunnels.insert(&(ifindex.0 & (TUNNELS_SIZE - 1)), &1)
    }

    /// Replaces the kernel's part of the filter; it applies from the next packet on.
    pub fn set_filter(&self, filter: &FilterProg) -> Result<(), ProbeError> {
        self.filter.insert(&0, filter)?;
        // what CPUs remember of flows is what the last one said
        self.settle()
    }

    /// From now on no packet is counted or sent.
    pub fn record_nothing(&self) -> Result<(), ProbeError> {
        self.set_filter(&nothing())
    }

    /// Frees at this return address are no loss: from now on they are only counted.
    pub fn mark_no_loss(&self, location: u64) -> Result<(), ProbeError> {
        self.no_loss.insert(&location, &1)
    }

    /// The kernel side's counters.
    pub fn counters(&self) -> Result<KernelCounters, ProbeError> {
        KernelCounters::read(&self.counters)
    }

    /// How often a program was skipped, because a packet or another task interrupted it on the same CPU:
    /// what it would have counted is missing.
    pub fn skipped(&self) -> Skipped {
        Skipped::read(&self.ebpf)
    }

    /// Starts reading the ring buffer; only once.
    pub fn read_ring(
        &mut self,
        each: impl FnMut(Batch) -> bool + Send + 'static,
    ) -> Result<Ring, ProbeError> {
        let ring = self.ring.take().ok_or(ProbeError::Missing(map::EVENTS))?;
        Ring::start(ring, each).map_err(|source| ProbeError::Table {
            operation: "read",
            name: map::EVENTS,
            source,
        })
    }
}

/// A task can be preempted while a program at a tracepoint runs for it: from Linux 7.0 on, where
/// tracepoints are guarded by SRCU (`__DO_TRACE_CALL()`, `include/linux/tracepoint.h`) and not by
/// disabling preemption, if the kernel is built to preempt at all.
fn preempts_in_tracepoints() -> bool {
    let new = KernelVersion::current().is_ok_and(|v| v >= KernelVersion::new(7, 0, 0));
    let built = uname().is_ok_and(|name| name.version().to_string_lossy().contains("PREEMPT"));
    new && built
}

/// Why the object was refused. Before Linux 5.11 tables count as locked memory of the user, whose limit
/// aya raises when it may.
fn refused(error: EbpfError) -> ProbeError {
    if let EbpfError::MapError(MapError::CreateError { io_error, .. }) = &error
        && io_error.raw_os_error() == Some(Errno::EPERM as i32)
        && KernelVersion::current().is_ok_and(|v| v < KernelVersion::new(5, 11, 0))
        && let Ok((limit, _)) = getrlimit(Resource::RLIMIT_MEMLOCK)
        && limit != RLIM_INFINITY
    {
        let kib = limit / 1024;
        return ProbeError::LockedMemory { kib };
    }
    ProbeError::Object(Box::new(error))
}

/// Numbers that nobody can guess, so that nobody can make flows that share a place in the table.
fn seeds() -> KeyWords {
    let random = RandomState::new();
    std::array::from_fn(|i| random.hash_one(i) | 1)
}

/// A filter that no packet passes.
fn nothing() -> FilterProg {
    let mut filter = FilterProg {
        len: 1,
        ..FilterProg::default()
    };
    filter.clauses[0].test = TEST_FAMILY;
    filter.clauses[0].family = u8::MAX;
    filter
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, ProbeError> {
    ebpf.take_map(name).ok_or(ProbeError::Missing(name))
}

fn per_cpu(ebpf: &mut Ebpf, name: &'static str) -> Result<PerCpuArray<MapData, u64>, ProbeError> {
    PerCpuArray::try_from(take(ebpf, name)?).map_err(|e| ProbeError::Map {
        name,
        source: Box::new(e),
    })
}

fn per_cpu_hash(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<PerCpuHashMap<MapData, u32, u32>, ProbeError> {
    PerCpuHashMap::try_from(take(ebpf, name)?).map_err(|e| ProbeError::Map {
        name,
        source: Box::new(e),
    })
}

fn table<K, V>(ebpf: &mut Ebpf, name: &'static str) -> Result<Table<K, V>, ProbeError>
where
    K: zerocopy::FromBytes
        + zerocopy::IntoBytes
        + zerocopy::Immutable
        + zerocopy::KnownLayout
        + Copy,
    V: zerocopy::FromBytes
        + zerocopy::IntoBytes
        + zerocopy::Immutable
        + zerocopy::KnownLayout
        + Copy,
{
    Table::new(name, take(ebpf, name)?)
}

/// The tc program reads these members in one go; they must lie within it.
fn check_layout(offsets: &[u32; OFF_COUNT]) -> Result<(), ProbeError> {
    let base = offsets[Off::SkbRefdst as usize] as usize;
    for (member, size) in [
        (Off::SkbNetworkHeader, 2),
        (Off::SkbMacHeader, 2),
        (Off::SkbTail, 4),
        (Off::SkbHead, 8),
        (Off::SkbData, 8),
        (Off::SkbNfct, 8),
    ] {
        let at = offsets[member as usize] as usize;
        if offsets[member as usize] == ABSENT {
            continue;
        }
        if at < base || at + size > base + SKB_TAIL {
            return Err(ProbeError::Layout(PATHS[member as usize], SKB_TAIL));
        }
    }
    Ok(())
}
