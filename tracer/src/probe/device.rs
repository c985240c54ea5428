//! The program at devices: attached once to each, and nothing left behind.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    tc::{NlOptions, SchedClassifierLinkId, TcAttachOptions, TcHandle, qdisc_add_clsact},
};

use super::{Probe, ProbeError, program_error, rest::Rest, syscall};
use crate::event::Ifindex;

/// The program.
pub(super) const EGRESS: &str = "tracer_egress";
/// Lowest number that tc allows: first in the chain of a clsact device.
const CLSACT_PRIORITY: u16 = 1;
/// The handle of a filter is this with the process id, which has 22 bits at most.
const OWN_HANDLE: u32 = 0x7400_0000;

/// A device of the home namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub ifindex: Ifindex,
    /// Its name.
    pub name: String,
}

/// How the devices are attached, and to which.
#[derive(Default)]
pub struct Attachment {
    devices: BTreeMap<Ifindex, Held>,
    pub(super) rest: Option<Rest>,
    pub(super) tcx: Option<Tcx>,
    /// Why the kernel did not take the program for devices.
    pub(super) refused: Option<String>,
}

/// Whether this kernel has tcx.
pub(super) enum Tcx {
    /// It does, and this is the program.
    Program(Arc<OwnedFd>),
    /// Once it was refused, clsact is used for all.
    Unknown,
}

/// What holds the program at a device.
enum Held {
    /// Closing it detaches.
    Tcx {
        #[expect(dead_code, reason = "it is held")]
        link: OwnedFd,
    },
    Clsact(SchedClassifierLinkId),
}

impl Probe {
    /// Attaches to the egress of a device of the home namespace, first in its chain. A device that
    /// is gone meanwhile is no error: it answers `Ok(false)`.
    pub fn attach_device(&mut self, device: &Device) -> Result<bool, ProbeError> {
        if self.traced().any(|d| d == device.ifindex) {
            return Ok(true);
        }
        let attachment = &mut self.attachment;
        if let Some(reason) = &attachment.refused {
            return Err(ProbeError::Load {
                program: EGRESS,
                reason: reason.clone(),
            });
        }
        if let Some(Tcx::Program(program)) = &attachment.tcx {
            let link = syscall::tcx_egress(program.as_fd(), device.ifindex.0);
            if !syscall::is(&link, libc::EINVAL) {
                return self.keep_link(device, link);
            }
            attachment.tcx = Some(Tcx::Unknown);
        }
        let program: &mut SchedClassifier = self
            .ebpf
            .program_mut(EGRESS)
            .and_then(|p| p.try_into().ok())
            .ok_or(ProbeError::Missing(EGRESS))?;
        match clsact(program, &device.name) {
            Ok(link) => {
                let devices = &mut self.attachment.devices;
                devices.insert(device.ifindex, Held::Clsact(link));
                Ok(true)
            }
            Err(e) if errno(&e).is_some_and(is_gone) => Ok(false),
            Err(e) => Err(refused(device, program_error(&e))),
        }
    }

    /// Keeps what attaching to a device gave; `Ok(false)` when it was gone.
    pub(super) fn keep_link(
        &mut self,
        device: &Device,
        link: io::Result<OwnedFd>,
    ) -> Result<bool, ProbeError> {
        match link {
            Ok(link) => {
                let devices = &mut self.attachment.devices;
                devices.insert(device.ifindex, Held::Tcx { link });
                Ok(true)
            }
            Err(e) if e.raw_os_error().is_some_and(is_gone) => Ok(false),
            Err(e) => Err(refused(device, e.to_string())),
        }
    }

    /// Forgets a device that is gone, or at which the program is not any more.
    pub fn forget_device(&mut self, ifindex: Ifindex) {
        self.forget_rest(ifindex);
        let Some(Held::Clsact(link)) = self.attachment.devices.remove(&ifindex) else {
            return;
        };
        let program: Option<&mut SchedClassifier> = self
            .ebpf
            .program_mut(EGRESS)
            .and_then(|p| p.try_into().ok());
        let Some(Ok(link)) = program.map(|p| p.take_link(link)) else {
            return;
        };
        // the filter went with the device or its qdisc. Detaching names it by device, priority
        // and handle, and those may be another device's or somebody else's filter by now
        std::mem::forget(link);
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

    /// The same, and those that another program stands in for.
    pub fn traced(&self) -> impl Iterator<Item = Ifindex> {
        let rest = self.attachment.rest.iter();
        self.attached().chain(rest.flat_map(Rest::left))
    }

    /// True when the devices are attached by clsact filters, because the kernel has no tcx.
    pub fn uses_clsact(&self) -> bool {
        matches!(self.attachment.tcx, Some(Tcx::Unknown))
    }
}

/// The kernel did not attach the program.
fn refused(device: &Device, reason: String) -> ProbeError {
    ProbeError::Attach {
        program: EGRESS,
        target: format!("device {}", device.name),
        reason,
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
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        source = e.source();
    }
    None
}
