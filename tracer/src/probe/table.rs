//! BPF maps by `bpf(2)`, in batches and with the shared types.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
};

use aya::maps::{Map, MapData};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ProbeError, syscall::bpf};

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
/// Entries per batch call: 16 Ki entries of a flow are 4 MiB.
const BATCH: u32 = 16_384;

/// `union bpf_attr` of the single-element calls (`linux/bpf.h`).
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct ElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` of the batch calls.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// How often the kernel skipped a program because it was already running on that CPU
/// (`bpf_prog_info.recursion_misses`, from Linux 5.12 on; 0 before).
pub(super) fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    /// Place of `recursion_misses` in `struct bpf_prog_info`, in words; part of the kernel's ABI.
    const MISSES: usize = 26;
    #[repr(C)]
    #[derive(IntoBytes, Immutable)]
    struct InfoAttr {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = [0u64; MISSES + 1];
    let mut attr = InfoAttr {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // the kernel fills as much of `info` as both sides know and leaves the rest zero
    bpf(
        BPF_OBJ_GET_INFO_BY_FD,
        (&raw mut attr).cast(),
        size_of::<InfoAttr>(),
    )?;
    Ok(info[MISSES])
}

/// A hash or array map with the shared types of its keys and values.
pub struct Table<K, V> {
    name: &'static str,
    map: MapData,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V>
where
    K: FromBytes + IntoBytes + Immutable + KnownLayout + Copy,
    V: FromBytes + IntoBytes + Immutable + KnownLayout + Copy,
{
    /// Wraps a map of the loaded object.
    pub(super) fn new(name: &'static str, map: Map) -> Result<Self, ProbeError> {
        match map {
            Map::HashMap(map) | Map::Array(map) => Ok(Self {
                name,
                map,
                types: PhantomData,
            }),
            _ => Err(ProbeError::Missing(name)),
        }
    }

    fn fd(&self) -> u32 {
        self.map.fd().as_fd().as_raw_fd() as u32
    }

    fn error(&self, operation: &'static str, source: io::Error) -> ProbeError {
        ProbeError::Table {
            operation,
            name: self.name,
            source,
        }
    }

    fn element(&self, cmd: libc::c_int, key: &K, value: *mut V) -> io::Result<()> {
        let mut attr = ElemAttr {
            map_fd: self.fd(),
            pad: 0,
            key: std::ptr::from_ref(key) as u64,
            value: value as u64,
            flags: 0,
        };
        // key and value are live for the call and have the sizes that the object declares
        bpf(cmd, (&raw mut attr).cast(), size_of::<ElemAttr>()).map(drop)
    }

    /// The value of `key`; `None` when it is not there.
    pub fn get(&self, key: &K) -> Result<Option<V>, ProbeError> {
        let mut value = V::new_zeroed();
        match self.element(BPF_MAP_LOOKUP_ELEM, key, &raw mut value) {
            Ok(()) => Ok(Some(value)),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(e) => Err(self.error("lookup", e)),
        }
    }

    /// Sets `key` to `value`.
    pub fn insert(&self, key: &K, value: &V) -> Result<(), ProbeError> {
        let mut value = *value;
        self.element(BPF_MAP_UPDATE_ELEM, key, &raw mut value)
            .map_err(|e| self.error("update", e))
    }

    /// Removes `key`; nothing happens when it is not there.
    pub fn remove(&self, key: &K) -> Result<(), ProbeError> {
        match self.element(BPF_MAP_DELETE_ELEM, key, std::ptr::null_mut()) {
            Err(e) if e.raw_os_error() != Some(libc::ENOENT) => Err(self.error("delete", e)),
            _ => Ok(()),
        }
    }

    /// Removes `key` and returns its last value. In one step from Linux 5.14 on; before, what is
    /// counted between the two steps is lost (a few packets of a flow that was idle).
    pub fn take(&self, key: &K) -> Result<Option<V>, ProbeError> {
        let mut value = V::new_zeroed();
        match self.element(BPF_MAP_LOOKUP_AND_DELETE_ELEM, key, &raw mut value) {
            Ok(()) => Ok(Some(value)),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(_) => {
                let value = self.get(key)?;
                self.remove(key)?;
                Ok(value)
            }
        }
    }

    /// Calls `each` with every entry.
    pub fn scan(&self, mut each: impl FnMut(&K, &V)) -> Result<(), ProbeError> {
        let (mut keys, mut values) = (Vec::<K>::new(), Vec::<V>::new());
        // capacity without initialisation would be quicker, but a first small batch is enough for
        // most nodes and keeps the buffers cheap
        let mut room = 512;
        let (mut token, mut next) = ([0u32; 4], [0u32; 4]);
        let mut first = true;
        loop {
            keys.resize(room as usize, K::new_zeroed());
            values.resize(room as usize, V::new_zeroed());
            let mut attr = BatchAttr {
                in_batch: if first { 0 } else { token.as_mut_ptr() as u64 },
                out_batch: next.as_mut_ptr() as u64,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: room,
                map_fd: self.fd(),
                elem_flags: 0,
                flags: 0,
            };
            // both buffers hold `room` elements, the tokens 16 bytes (the kernel uses four)
            let done = match bpf(
                BPF_MAP_LOOKUP_BATCH,
                (&raw mut attr).cast(),
                size_of::<BatchAttr>(),
            ) {
                Ok(_) => false,
                Err(e) => match e.raw_os_error() {
                    // the end; attr.count entries came with it
                    Some(libc::ENOENT) => true,
                    // one bucket has more than `room` entries
                    Some(libc::ENOSPC) if room < 1 << 20 => {
                        room *= 4;
                        continue;
                    }
                    Some(libc::EINTR) => continue,
                    _ => return Err(self.error("scan", e)),
                },
            };
            let n = attr.count as usize;
            for (k, v) in keys.iter().zip(&values).take(n) {
                each(k, v);
            }
            if done {
                return Ok(());
            }
            first = false;
            token = next;
            room = room.max(BATCH);
        }
    }
}
