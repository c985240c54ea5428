//! Loading the programs, and attaching those of tracepoints.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    thread,
};

use aya::{
    Btf,
    programs::{BtfTracePoint, Program, ProgramError, SchedClassifier},
};

use super::{
    Probe, ProbeError,
    device::{Device, EGRESS, Tcx},
    program_error,
    settle::SETTLE,
    syscall,
};

/// Program and tracepoint, and whether tracing makes sense without it.
const TRACEPOINTS: [(&str, &str, bool); 8] = [
    ("tracer_receive", "netif_receive_skb", true),
    ("tracer_kfree_skb", "kfree_skb", true),
    ("tracer_fib4", "fib_table_lookup", false),
    ("tracer_fib6", "fib6_table_lookup", false),
    ("tracer_neigh", "neigh_timer_handler", false),
    ("tracer_retransmit", "tcp_retransmit_skb", false),
    ("tracer_send_reset", "tcp_send_reset", false),
    ("tracer_receive_reset", "tcp_receive_reset", false),
];
/// Second programs at tracepoints whose first is missed where tasks are preempted in them.
const AGAIN: [(&str, &str); 2] = [
    ("tracer_fib4_again", "fib_table_lookup"),
    ("tracer_fib6_again", "fib6_table_lookup"),
];
/// The program that stands in for the one at devices while that is being attached, and its tracepoint.
const QUEUE: (&str, &str) = ("tracer_queue", "net_dev_queue");
/// So many devices are always waited for: a quarter of a second on a kernel with tcx.
const FEW: usize = 16;

/// What is not as it should be, and no reason to end.
#[derive(Debug, Default)]
pub struct Missing {
    /// For each optional tracepoint that this kernel does not have.
    pub tracepoints: Vec<String>,
    /// For devices that are not traced.
    pub devices: Vec<String>,
}

/// The name of a program, and the tracepoint that it is for; none for the one at devices and the one that
/// is attached to nothing.
fn tracepoint_of(program: &str) -> Option<(&'static str, Option<&'static str>)> {
    if program == EGRESS {
        return Some((EGRESS, None));
    }
    if program == SETTLE {
        return Some((SETTLE, None));
    }
    if program == QUEUE.0 {
        return Some((QUEUE.0, Some(QUEUE.1)));
    }
    let first = TRACEPOINTS.iter().map(|(name, at, _)| (*name, *at));
    let mut all = first.chain(AGAIN);
    let found = all.find(|(name, _)| *name == program);
    found.map(|(name, tracepoint)| (name, Some(tracepoint)))
}

/// Has the kernel check a program.
fn load(program: &mut Program, tracepoint: Option<&str>, btf: &Btf) -> Result<(), String> {
    let loaded = match (program, tracepoint) {
        (Program::BtfTracePoint(program), Some(name)) => program.load(name, btf),
        (Program::SchedClassifier(program), None) => program.load(),
        (Program::RawTracePoint(program), None) => program.load(),
        _ => return Err("it is of another kind than expected".into()),
    };
    loaded.map_err(|e| program_error(&e))
}

/// The same for the program at devices; the result can be attached while others are being checked.
fn load_egress(program: &mut Program, btf: &Btf) -> Result<OwnedFd, String> {
    load(program, None, btf)?;
    let said = |e: ProgramError| program_error(&e);
    let program: &SchedClassifier = (&*program).try_into().map_err(said)?;
    let fd = program.fd().map_err(said)?;
    let copy = fd.as_fd().try_clone_to_owned();
    copy.map_err(|e: io::Error| e.to_string())
}

/// What the kernel said to each program, and of the first devices.
struct Loaded {
    programs: BTreeMap<&'static str, Result<(), String>>,
    egress: Result<Tcx, String>,
    links: Vec<io::Result<OwnedFd>>,
}

impl Probe {
    /// Loads all programs, each on a thread of its own: checking the large ones takes the kernel some
    /// tenths of a second each. Attaches those of tracepoints, and the one at devices to the first of
    /// `devices` meanwhile. What of them is left when the programs are loaded is traced by another
    /// program until [`Probe::attach_rest`] is through with them.
    pub fn attach(&mut self, btf: &Btf, devices: &[Device]) -> Result<Missing, ProbeError> {
        let mut loaded = self.load_programs(btf, devices);
        let mut taken = |program| match loaded.programs.remove(program) {
            Some(Ok(())) => Ok(()),
            Some(Err(reason)) => Err(ProbeError::Load { program, reason }),
            None => Err(ProbeError::Missing(program)),
        };
        let mut missing = Missing::default();
        for (name, tracepoint, needed) in TRACEPOINTS {
            match taken(name).and_then(|()| self.attach_tracepoint(name, tracepoint)) {
                Err(e) if needed => return Err(e),
                Err(e) => missing.tracepoints.push(format!("not traced: {e}")),
                Ok(()) => {}
            }
        }
        if self.lookup_twice {
            for (name, tracepoint) in AGAIN {
                // without it what is missed is counted
                if let Err(e) = taken(name).and_then(|()| self.attach_tracepoint(name, tracepoint))
                {
                    tracing::debug!("lookups have one program: {e}");
                }
            }
        }
        // without it packets take the long way, each of them
        if let Err(e) = taken(SETTLE) {
            tracing::debug!("nothing is counted beside the table of flows: {e}");
        }
        let queue = taken(QUEUE.0);
        match loaded.egress {
            Ok(tcx) => self.attachment.tcx = Some(tcx),
            Err(reason) => self.attachment.refused = Some(reason),
        }
        let mut left = devices.iter();
        for (device, link) in devices.iter().zip(loaded.links) {
            left.next();
            if let Err(e) = self.keep_link(device, link) {
                missing.devices.push(e.to_string());
            }
        }
        let left: Vec<Device> = left.cloned().collect();
        let stands_in = left.len() > 1
            && matches!(self.attachment.tcx, Some(Tcx::Program(_)))
            && queue
                .and_then(|()| self.stand_in(&left))
                .inspect_err(|e| tracing::debug!("devices are attached one by one: {e}"))
                .is_ok();
        if !stands_in {
            self.end_stand_in();
            for device in &left {
                if let Err(e) = self.attach_device(device) {
                    missing.devices.push(e.to_string());
                }
            }
        }
        Ok(missing)
    }

    fn load_programs(&mut self, btf: &Btf, devices: &[Device]) -> Loaded {
        let (many, twice) = (devices.len() > FEW, self.lookup_twice);
        let unused = |name| name == QUEUE.0 && !many || AGAIN.iter().any(|a| a.0 == name) && !twice;
        thread::scope(|scope| {
            let (mut threads, mut egress) = (Vec::new(), None);
            for (name, program) in self.ebpf.programs_mut() {
                match tracepoint_of(name) {
                    Some((EGRESS, _)) => egress = Some(scope.spawn(|| load_egress(program, btf))),
                    Some((name, _)) if unused(name) => {}
                    Some((name, tracepoint)) => {
                        let load = scope.spawn(move || load(program, tracepoint, btf));
                        threads.push((name, load));
                    }
                    None => {}
                }
            }
            let ended = || "a thread ended".to_owned();
            let egress = egress.map_or_else(
                || Err("it is not there".to_owned()),
                |thread| thread.join().unwrap_or_else(|_| Err(ended())),
            );
            let mut links = Vec::new();
            let egress = egress.map(|program| {
                for device in devices {
                    let waiting = threads.iter().any(|(_, thread)| !thread.is_finished());
                    if links.len() >= FEW && !waiting {
                        break;
                    }
                    let link = syscall::tcx_egress(program.as_fd(), device.ifindex.0);
                    // before 6.6 the kernel does not know the attach type
                    let unknown = syscall::is(&link, libc::EINVAL);
                    if unknown {
                        return Tcx::Unknown;
                    }
                    links.push(link);
                }
                Tcx::Program(program.into())
            });
            let programs = threads
                .into_iter()
                .map(|(name, thread)| (name, thread.join().unwrap_or_else(|_| Err(ended()))))
                .collect();
            Loaded {
                programs,
                egress,
                links,
            }
        })
    }

    /// Attaches the program that stands in for the one at devices.
    pub(super) fn attach_queue(&mut self) -> Result<(), ProbeError> {
        self.attach_tracepoint(QUEUE.0, QUEUE.1)
    }

    /// Takes it away for good.
    pub(super) fn unload_queue(&mut self) {
        let program: Option<&mut BtfTracePoint> = self
            .ebpf
            .program_mut(QUEUE.0)
            .and_then(|p| p.try_into().ok());
        // an error: it was not loaded
        let _gone = program.map(BtfTracePoint::unload);
    }

    fn attach_tracepoint(
        &mut self,
        name: &'static str,
        tracepoint: &str,
    ) -> Result<(), ProbeError> {
        let program: &mut BtfTracePoint = self
            .ebpf
            .program_mut(name)
            .and_then(|p| p.try_into().ok())
            .ok_or(ProbeError::Missing(name))?;
        program.attach().map_err(|e| ProbeError::Attach {
            program: name,
            target: format!("tracepoint {tracepoint}"),
            reason: program_error(&e),
        })?;
        Ok(())
    }
}
