//! How much memory the kernel side takes: all of it when tracing starts, whatever there is to trace.

use tracer_abi::{
    drop::{DropKey, DropValue, IcmpKey, IcmpValue},
    entries,
    flow::FlowEntry,
    fragment::{FragmentKey, FragmentValue},
    nat::WantedKey,
    recent::Recent,
    route::{FailKey, FailValue, LookupSlot},
};

/// What the kernel adds to each entry of a hash table (`struct htab_elem`, and its share of the
/// buckets); measured on Linux 6.18.
const ENTRY: usize = 64;

/// One table of the kernel side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMemory {
    /// What it is for.
    pub holds: &'static str,
    /// How many of them it can hold; bytes for the ring buffer.
    pub entries: u32,
    /// What it takes, bytes.
    pub bytes: u64,
}

/// The tables that take more than a few pages, for so many flows at devices; `None` for the usual
/// number.
pub fn tables(flows: Option<u32>) -> Vec<TableMemory> {
    let hash = |holds, entries: u32, key: usize, value: usize| TableMemory {
        holds,
        entries,
        bytes: u64::from(entries)
            * (key.next_multiple_of(8) + value.next_multiple_of(8) + ENTRY) as u64,
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    vec![
        hash(
            "flows at devices",
            flows.unwrap_or(entries::FLOWS),
            size_of::<u64>(),
            size_of::<FlowEntry>(),
        ),
        hash(
            "drops",
            entries::DROPS,
            size_of::<DropKey>(),
            size_of::<DropValue>(),
        ),
        hash(
            "translated connections",
            entries::WANTED,
            size_of::<WantedKey>(),
            size_of::<u64>(),
        ),
        TableMemory {
            holds: "events (ring buffer)",
            entries: entries::EVENTS,
            bytes: u64::from(entries::EVENTS),
        },
        hash(
            "ICMP errors",
            entries::ICMP_ERRORS,
            size_of::<IcmpKey>(),
            size_of::<IcmpValue>(),
        ),
        hash(
            "failed lookups",
            entries::ROUTE_FAILS,
            size_of::<FailKey>(),
            size_of::<FailValue>(),
        ),
        hash(
            "first fragments",
            entries::FRAGMENTS,
            size_of::<FragmentKey>(),
            size_of::<FragmentValue>(),
        ),
        hash(
            "devices that are being attached",
            entries::PENDING,
            size_of::<u32>(),
            size_of::<u64>() * cpus as usize,
        ),
        TableMemory {
            holds: "last flows, of each CPU",
            entries: entries::RECENT,
            bytes: u64::from(entries::RECENT) * size_of::<Recent>() as u64 * cpus,
        },
        TableMemory {
            holds: "last lookups, of each CPU",
            entries: entries::LOOKUPS,
            bytes: u64::from(entries::LOOKUPS) * size_of::<LookupSlot>() as u64 * cpus,
        },
        TableMemory {
            holds: "last lookups, of tasks",
            entries: entries::TASK_LOOKUPS,
            bytes: u64::from(entries::TASK_LOOKUPS) * size_of::<LookupSlot>() as u64,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_take_what_was_asked_for() {
        let bytes = |flows| {
            let tables = tables(flows);
            tables.iter().map(|t| t.bytes).sum::<u64>()
        };
        let (usual, more) = (bytes(None), bytes(Some(entries::FLOWS * 2)));
        let one = size_of::<FlowEntry>() as u64;
        assert!(more - usual > u64::from(entries::FLOWS) * one);
        // a node has other things to do with its memory
        assert!(usual < 128 << 20, "{usual} bytes");
    }
}
