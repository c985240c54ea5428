//! Other people's BPF programs on a device, and what is attached and loaded by the kernel's own
//! account, all by bpf(2): no tool, no object file, no library that tracer uses too.
//! [`redirect`]: programs that send packets past routing. [`xdp`]: programs before
//! the stack. [`held`]: what one process holds. [`cost`]: what programs cost. [`floor`]: programs
//! that do nothing.

pub mod cost;
pub mod floor;
pub mod held;
pub mod redirect;
pub mod xdp;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use crate::Netns;

// commands and constants of linux/bpf.h
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const PROG_GET_NEXT_ID: libc::c_int = 11;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const LINK_CREATE: libc::c_int = 28;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const F_BEFORE: u32 = 1 << 3;
const F_AFTER: u32 = 1 << 4;
/// Programs that one hook of a device can hold (`BPF_MPROG_MAX`).
const MOST: usize = 64;

/// Which tcx hook of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `BPF_TCX_INGRESS`
    Ingress = 46,
    /// `BPF_TCX_EGRESS`
    Egress = 47,
}

/// Where in the chain a program asks to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before all that are there.
    First,
    /// After all that are there.
    Last,
}

/// What a tcx program answers (`enum tcx_action_base`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `TCX_NEXT`: the next program decides.
    Next = -1,
    /// `TCX_PASS`: the packet goes on, and no other program is asked.
    Pass = 0,
    /// `TCX_DROP`
    Drop = 2,
}

/// A foreign tcx program that counts packets of one length and always gives the same answer.
/// Detached when dropped.
#[derive(Debug)]
pub struct Foreign {
    map: OwnedFd,
    program: OwnedFd,
    // detaches when closed
    _link: OwnedFd,
}

/// A program as the kernel names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// Its id, unique while the machine is up.
    pub id: u32,
    /// Its name, cut after 15 bytes.
    pub name: String,
}

impl Foreign {
    /// Attaches a program to `dev` of `ns` that counts packets of `length` bytes (Ethernet header
    /// included).
    pub fn attach(
        ns: &Netns,
        dev: &str,
        (hook, place): (Hook, Place),
        length: i32,
        answer: Answer,
    ) -> Result<Self> {
        let map = create_map().context("cannot make the map of a foreign program")?;
        let program = load("foreign", &counting(map.as_raw_fd(), length, answer as i32))
            .context("cannot load a foreign program")?;
        let link = link(ns, dev, (hook, place), &program)?;
        Ok(Self {
            map,
            program,
            _link: link,
        })
    }

    /// Packets of the length that it counts, since it was attached.
    pub fn packets(&self) -> Result<u64> {
        counted(&self.map)
    }

    /// Its id.
    pub fn id(&self) -> Result<u32> {
        Ok(info(&self.program)?.id)
    }
}

/// Attaches a program to a tcx hook of `dev`, until the link is closed.
fn link(ns: &Netns, dev: &str, (hook, place): (Hook, Place), program: &OwnedFd) -> Result<OwnedFd> {
    let order = match place {
        Place::First => F_BEFORE,
        Place::Last => F_AFTER,
    };
    // {prog_fd, target_ifindex, attach_type, flags} {relative_fd, -, expected_revision}
    let mut attr = [
        program.as_raw_fd() as u32,
        ns.ifindex(dev)?,
        hook as u32,
        order,
        0,
        0,
        0,
        0,
    ];
    ns.run(|| bpf_fd(LINK_CREATE, &mut attr))?
        .with_context(|| format!("cannot attach a foreign tcx program to {dev}"))
}

fn counted(map: &OwnedFd) -> Result<u64> {
    let (key, mut value) = (0_u32, 0_u64);
    // {map_fd, -} key value flags
    let mut attr = [
        u64::from(map.as_raw_fd() as u32),
        &raw const key as u64,
        &raw mut value as u64,
        0,
    ];
    bpf(MAP_LOOKUP_ELEM, &mut attr).context("cannot read the counter of a foreign program")?;
    Ok(value)
}

/// A foreign program for a clsact filter: counts packets of one length and gives all the same
/// answer. `tc` takes it from its path. (Filters of tc's own that count are not in every
/// kernel; `cls_bpf` is wherever tracer runs.)
#[derive(Debug)]
pub struct Pinned {
    counter: OwnedFd,
    pin: Pin,
}

/// A program in a BPF file system of its own, where `tc` finds it.
#[derive(Debug)]
struct Pin {
    dir: PathBuf,
}

impl Pinned {
    /// Loads the program and pins it in a BPF file system of its own.
    pub fn new(name: &str, length: i32) -> Result<Self> {
        Self::answering(name, length, Answer::Pass)
    }

    /// The same with another answer.
    pub fn answering(name: &str, length: i32, answer: Answer) -> Result<Self> {
        let counter = create_map().context("cannot make the map of a foreign filter")?;
        let program = load(
            "foreign",
            &counting(counter.as_raw_fd(), length, answer as i32),
        )
        .context("cannot load a foreign filter")?;
        let pin = Pin::new(name, &program)?;
        Ok(Self { counter, pin })
    }

    /// Where `tc filter add … bpf da object-pinned` finds it.
    pub fn path(&self) -> String {
        self.pin.path()
    }

    /// Packets of the length that it counts.
    pub fn packets(&self) -> Result<u64> {
        counted(&self.counter)
    }
}

impl Pin {
    fn new(name: &str, program: &OwnedFd) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        crate::command::run(
            &["mount", "-t", "bpf", "bpf", &dir.display().to_string()],
            "",
        )?;
        let pinned = Self { dir };
        let path = CString::new(pinned.path())?;
        // {pathname} {bpf_fd, file_flags}
        let mut attr = [path.as_ptr() as u64, u64::from(program.as_raw_fd() as u32)];
        bpf(OBJ_PIN, &mut attr).context("cannot pin a foreign filter")?;
        Ok(pinned)
    }

    fn path(&self) -> String {
        self.dir.join("filter").display().to_string()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let dir = self.dir.display().to_string();
        // the directory stays when something still uses it, and says so by its name
        drop(crate::command::run(&["umount", &dir], ""));
        drop(std::fs::remove_dir(&self.dir));
    }
}

/// The programs on a tcx hook of a device, in the order in which they run. An error on a
/// kernel without tcx (before 6.6).
pub fn attached(ns: &Netns, dev: &str, hook: Hook) -> Result<Vec<Program>> {
    let ifindex = ns.ifindex(dev)?;
    let mut ids = [0_u32; MOST];
    // {target_ifindex, attach_type} {query_flags, attach_flags} prog_ids {count, -}
    // prog_attach_flags link_ids link_attach_flags revision
    let mut attr = [
        u64::from(ifindex) | (hook as u64) << 32,
        0,
        ids.as_mut_ptr() as u64,
        MOST as u64,
        0,
        0,
        0,
        0,
    ];
    match ns.run(|| bpf(PROG_QUERY, &mut attr))? {
        Ok(_) => {}
        // nothing was ever attached there
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot query tcx of {dev}")),
    }
    let count = attr[3] as u32 as usize;
    ids.iter().take(count).map(|id| named(*id)).collect()
}

/// Whether this kernel has tcx (from 6.6 on).
pub fn has_tcx(ns: &Netns) -> Result<bool> {
    // lo is everywhere, and the kernel refuses an attach type that it does not know
    Ok(attached(ns, "lo", Hook::Egress).is_ok())
}

/// All programs that are loaded on this machine, of all containers and users.
pub fn programs() -> Result<Vec<Program>> {
    let mut found = Vec::new();
    let mut last = 0;
    loop {
        // start_id next_id open_flags
        let mut attr = [last, 0_u32, 0];
        match bpf(PROG_GET_NEXT_ID, &mut attr) {
            Ok(_) => last = attr[1],
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            Err(error) => return Err(error).context("cannot list programs"),
        }
        // one that went away meanwhile is none
        if let Ok(program) = named(last) {
            found.push(program);
        }
    }
}

fn named(id: u32) -> Result<Program> {
    let mut attr = [id, 0, 0];
    let fd = bpf_fd(PROG_GET_FD_BY_ID, &mut attr).with_context(|| format!("program {id}"))?;
    info(&fd)
}

fn info(program: &OwnedFd) -> Result<Program> {
    // the start of struct bpf_prog_info: `id` is at byte 4, `name` at 64
    let mut bytes = [0_u8; 80];
    let length = (bytes.len() as u64) << 32;
    let mut attr = [
        u64::from(program.as_raw_fd() as u32) | length,
        bytes.as_mut_ptr() as u64,
    ];
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).context("cannot read about a program")?;
    let (head, name) = bytes.split_at(64);
    let id = head.get(4..8).and_then(|id| id.try_into().ok());
    Ok(Program {
        id: id.map(u32::from_ne_bytes).context("no id")?,
        name: CStr::from_bytes_until_nul(name)?
            .to_string_lossy()
            .into_owned(),
    })
}

fn create_map() -> io::Result<OwnedFd> {
    // before Linux 5.11 a map counts as locked memory; where that may not be raised, making the map says so
    let _refused = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    // type, key and value size, entries, flags
    bpf_fd(MAP_CREATE, &mut [MAP_TYPE_ARRAY, 4, 8, 1, 0])
}

/// Loads a program for tc under a name of at most 15 bytes.
fn load(name: &str, instructions: &[u64]) -> Result<OwnedFd> {
    load_as(PROG_TYPE_SCHED_CLS, name, instructions)
}

/// Loads a program of a type that needs no more than its instructions.
fn load_as(kind: u32, name: &str, instructions: &[u64]) -> Result<OwnedFd> {
    let (license, mut log) = (c"GPL", vec![0_u8; 1 << 16]);
    let mut named = [0_u8; 16];
    for (to, from) in named.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    let [first, second] = [0, 8].map(|at| {
        let half = named.get(at..at + 8).and_then(|half| half.try_into().ok());
        half.map_or(0, u64::from_ne_bytes)
    });
    let mut attr = [
        u64::from(kind) | (instructions.len() as u64) << 32,
        instructions.as_ptr() as u64,
        license.as_ptr() as u64,
        1 | (log.len() as u64) << 32,
        log.as_mut_ptr() as u64,
        0,
        first,
        second,
        0,
    ];
    bpf_fd(PROG_LOAD, &mut attr).with_context(|| {
        let log = CStr::from_bytes_until_nul(&log).unwrap_or_default();
        format!("the verifier says: {}", log.to_string_lossy())
    })
}

/// `struct bpf_insn`: opcode, destination and source register, offset, immediate.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    u64::from(code)
        | u64::from(dst | src << 4) << 8
        | u64::from(off as u16) << 16
        | u64::from(imm as u32) << 32
}

/// `if (skb->len == LENGTH) counter += 1; return ANSWER;`
fn counting(map: i32, length: i32, answer: i32) -> Vec<u64> {
    vec![
        insn(0x61, 6, 1, 0, 0),      // r6 = skb->len
        insn(0x55, 6, 0, 9, length), // if r6 != length goto out
        insn(0x62, 10, 0, -4, 0),    // *(u32 *)(fp - 4) = 0
        insn(0xbf, 2, 10, 0, 0),     // r2 = fp
        insn(0x07, 2, 0, 0, -4),     // r2 -= 4
        insn(0x18, 1, 1, 0, map),    // r1 = map, two slots
        insn(0, 0, 0, 0, 0),
        insn(0x85, 0, 0, 0, 1),      // r0 = bpf_map_lookup_elem(r1, r2)
        insn(0x15, 0, 0, 2, 0),      // if r0 == 0 goto out
        insn(0xb7, 1, 0, 0, 1),      // r1 = 1
        insn(0xdb, 0, 1, 0, 0),      // lock *(u64 *)r0 += r1
        insn(0xb7, 0, 0, 0, answer), // out: r0 = answer
        insn(0x95, 0, 0, 0, 0),      // exit
    ]
}

fn bpf_fd<T>(command: libc::c_int, attr: &mut [T]) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the commands that this is called for return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_int, attr: &mut [T]) -> io::Result<i32> {
    let size = size_of_val(attr);
    // SAFETY: the kernel reads and writes `size` bytes of `attr`; the callers keep what its
    // pointers point to alive, with the sizes that they declare.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as i32)
}
