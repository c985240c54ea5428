//! Attaching to tracepoints and devices, and nothing left behind.

use std::{collections::BTreeMap, thread};

use aya::{
    Btf,
    programs::{
        BtfTracePoint, LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType,
        tc::{NlOptions, SchedClassifierLinkId, TcAttachOptions, TcHandle, qdisc_add_clsact},
    },
};

use super::{Probe, ProbeError, program_error};
use crate::event::Ifindex;

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
const EGRESS: &str = "tracer_egress";
/// Lowest number that tc allows: first in the chain of a clsact device.
const CLSACT_PRIORITY: u16 = 1;
/// The handle of a filter is this with the process id, which has 22 bits at most.
const OWN_HANDLE: u32 = 0x7400_0000;

/// How the devices are attached, and to which.
#[derive(Default)]
pub struct Attachment {
    devices: BTreeMap<Ifindex, SchedClassifierLinkId>,
    /// Once tcx was refused, clsact is used for all.
    clsact: bool,
    /// Why the kernel did not take the program for devices.
    refused: Option<String>,
}

/// The name of a program, and the tracepoint that it is for; none for the one at devices.
fn tracepoint_of(program: &str) -> Option<(&'static str, Option<&'static str>)> {
    if program == EGRESS {
        return Some((EGRESS, None));
    }
    let mut all = TRACEPOINTS.iter();
    let found = all.find(|(name, ..)| *name == program);
    found.map(|(name, tracepoint, _)| (*name, Some(*tracepoint)))
}

/// Has the kernel check a program.
fn load(program: &mut Program, tracepoint: Option<&str>, btf: &Btf) -> Result<(), String> {
    let loaded = match (program, tracepoint) {
        (Program::BtfTracePoint(program), Some(name)) => program.load(name, btf),
        (Program::SchedClassifier(program), None) => program.load(),
        _ => return Err("it is of another kind than expected".into()),
    };
    loaded.map_err(|e| program_error(&e))
}

impl Probe {
    /// Loads all programs, each on a thread of its own: checking the large ones takes the kernel some
    /// tenths of a second each. Attaches those of tracepoints; returns a note for each optional one that
    /// this kernel does not have.
    pub fn attach_tracepoints(&mut self, btf: &Btf) -> Result<Vec<String>, ProbeError> {
        let mut loaded = thread::scope(|scope| {
            let programs = self.ebpf.programs_mut();
            let threads: Vec<_> = programs
                .filter_map(|(name, program)| {
                    let (name, tracepoint) = tracepoint_of(name)?;
                    Some((name, scope.spawn(move || load(program, tracepoint, btf))))
                })
                .collect();
            threads
                .into_iter()
                .map(|(name, thread)| (name, thread.join().unwrap_or(Err("a thread ended".into()))))
                .collect::<BTreeMap<&str, Result<(), String>>>()
        });
        let mut taken = |program| match loaded.remove(program) {
            Some(Ok(())) => Ok(()),
            Some(Err(reason)) => Err(ProbeError::Load { program, reason }),
            None => Err(ProbeError::Missing(program)),
        };
        if let Err(ProbeError::Load { reason, .. }) = taken(EGRESS) {
            self.attachment.refused = Some(reason);
        }
        let mut notes = Vec::new();
        for (name, tracepoint, needed) in TRACEPOINTS {
            match taken(name).and_then(|()| self.attach_tracepoint(name, tracepoint)) {
                Err(e) if needed => return Err(e),
                Err(e) => notes.push(format!("not traced: {e}")),
                Ok(()) => {}
            }
        }
        Ok(notes)
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

    /// Attaches to the egress of a device of the home namespace, first in its chain. A device that
    /// is gone meanwhile is no error: it answers `Ok(false)`.
    pub fn attach_device(&mut self, ifindex: Ifindex, name: &str) -> Result<bool, ProbeError> {
        if self.attachment.devices.contains_key(&ifindex) {
            return Ok(true);
        }
        let attachment = &mut self.attachment;
        if let Some(reason) = &attachment.refused {
            return Err(ProbeError::Load {
                program: EGRESS,
                reason: reason.clone(),
            });
        }
        let program: &mut SchedClassifier = self
            .ebpf
            .program_mut(EGRESS)
            .and_then(|p| p.try_into().ok())
            .ok_or(ProbeError::Missing(EGRESS))?;
        let mut result = Err(None);
        if !attachment.clsact {
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            result = program
                .attach_with_options(name, TcAttachType::Egress, options)
                .map_err(Some);
            // before 6.6 the kernel does not know the attach type
            attachment.clsact = matches!(&result, Err(Some(e)) if errno(e) == Some(libc::EINVAL));
        }
        if attachment.clsact {
            result = clsact(program, name).map_err(Some);
        }
        match result {
            Ok(link) => {
                attachment.devices.insert(ifindex, link);
                Ok(true)
            }
            Err(e) if e.as_ref().and_then(errno).is_some_and(is_gone) => Ok(false),
            Err(e) => Err(ProbeError::Attach {
                program: EGRESS,
                target: format!("device {name}"),
                reason: e.as_ref().map_or_else(String::new, program_error),
            }),
        }
    }

    /// Forgets a device that is gone, or at which the program is not any more.
    pub fn forget_device(&mut self, ifindex: Ifindex) {
        let Some(link) = self.attachment.devices.remove(&ifindex) else {
            return;
        };
        let clsact = self.attachment.clsact;
        let program: Option<&mut SchedClassifier> = self
            .ebpf
            .program_mut(EGRESS)
            .and_then(|p| p.try_into().ok());
        let Some(Ok(link)) = program.map(|p| p.take_link(link)) else {
            return;
        };
        if clsact {
            // the filter went with the device or its qdisc. Detaching names it by device, priority
            // and handle, and those may be another device's or somebody else's filter by now
            std::mem::forget(link);
        }
    }

    /// The number of the program at the devices; `None` before it is loaded.
    pub fn egress_id(&self) -> Option<u32> {
        let program: &SchedClassifier = self.ebpf.program(EGRESS)?.try_into().ok()?;
        program.info().ok().map(|info| info.id())
    }

    /// Whether the program is still at the device that has this name, as far as the kernel tells.
    /// Only where it has tcx.
    pub fn is_at(&self, name: &str) -> bool {
        match SchedClassifier::query_tcx(name, TcAttachType::Egress) {
            Ok((_, programs)) => {
                let id = self.egress_id();
                programs.iter().any(|p| Some(p.id()) == id)
            }
            // nothing is attached there
            Err(ProgramError::SyscallError(e)) => {
                e.io_error.raw_os_error() != Some(libc::ENOENT) || e.call != "bpf_prog_query"
            }
            Err(_) => true,
        }
    }

    /// Devices that are attached.
    pub fn attached(&self) -> impl Iterator<Item = Ifindex> {
        self.attachment.devices.keys().copied()
    }

    /// True when the devices are attached by clsact filters, because the kernel has no tcx.
    pub fn uses_clsact(&self) -> bool {
        self.attachment.clsact
    }
}

fn clsact(
    program: &mut SchedClassifier,
    name: &str,
) -> Result<SchedClassifierLinkId, ProgramError> {
    // exists already, ours or somebody's: both are fine. A real failure shows when attaching.
    let _added = qdisc_add_clsact(name);
    // others replace the filter with the handle that the kernel gives first (Cilium: priority 1,
    // handle 1). One of our own stays, and removing it removes nothing of theirs
    let own = TcHandle::from(OWN_HANDLE | std::process::id());
    let mut attach = |handle| {
        let options = NlOptions {
            priority: CLSACT_PRIORITY,
            handle,
            ..NlOptions::default()
        };
        let options = TcAttachOptions::Netlink(options);
        program.attach_with_options(name, TcAttachType::Egress, options)
    };
    match attach(own) {
        // a tracer in another pid namespace has the same number
        Err(e) if errno(&e) == Some(libc::EEXIST) => attach(TcHandle::AUTO_ASSIGN),
        result => result,
    }
}

/// The device vanished between the list and the call.
fn is_gone(errno: i32) -> bool {
    matches!(errno, libc::ENODEV | libc::ENXIO | libc::ENOENT)
}

/// The errno at the bottom of an error chain.
fn errno(e: &ProgramError) -> Option<i32> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(e) = source {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            return io.raw_os_error();
        }
        source = e.source();
    }
    None
}
