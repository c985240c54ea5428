//! Devices that are attached while tracing goes on already.
//!
//! Attaching to a device has the kernel wait for a grace period under the lock of the network
//! configuration. Nobody needs to wait for all of them: until the program is at a device,
//! `tracer_queue` counts what leaves there. On each CPU the first packet that passes the one takes the
//! device from the other (`PENDING`); when attaching is through, nothing is on its way any more that
//! did not pass it, and the device is taken from it on all CPUs.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, mpsc},
    thread,
};

use aya::{
    maps::{MapData, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use tracer_abi::map;

use super::{
    Probe, ProbeError,
    device::{Device, Tcx},
    syscall,
};
use crate::event::Ifindex;

/// A device, and what attaching to it gave.
type Answer = (Ifindex, io::Result<OwnedFd>);

/// The devices to which the program is not attached yet.
pub(super) struct Rest {
    left: BTreeMap<Ifindex, Device>,
    /// In the order in which they are to be attached, before that was begun.
    order: Vec<Ifindex>,
    answers: Option<mpsc::Receiver<Answer>>,
}

impl Rest {
    /// Those that are left.
    pub(super) fn left(&self) -> impl Iterator<Item = Ifindex> {
        self.left.keys().copied()
    }
}

/// `PENDING`, and how many values each entry has.
pub(super) struct Pending {
    map: PerCpuHashMap<MapData, u32, u32>,
    cpus: usize,
}

impl Pending {
    /// Wraps the map.
    pub(super) fn new(map: PerCpuHashMap<MapData, u32, u32>) -> Result<Self, ProbeError> {
        match nr_cpus() {
            Ok(cpus) => Ok(Self { map, cpus }),
            Err((_, source)) => Err(failed("read", source)),
        }
    }

    /// Whether packets pass the program at the device, on all CPUs.
    fn set(&mut self, ifindex: Ifindex, served: bool) -> Result<(), ProbeError> {
        let values = PerCpuValues::try_from(vec![u32::from(served); self.cpus])
            .map_err(|e| failed("update", e))?;
        self.map
            .insert(ifindex.0, values, 0)
            .map_err(|e| ProbeError::Map {
                name: map::PENDING,
                source: Box::new(e),
            })
    }

    fn remove(&mut self, ifindex: Ifindex) {
        // an error: it is not there
        let _gone = self.map.remove(&ifindex.0);
    }
}

fn failed(operation: &'static str, source: io::Error) -> ProbeError {
    ProbeError::Table {
        operation,
        name: map::PENDING,
        source,
    }
}

/// What became of devices that were attached meanwhile.
#[derive(Debug, Default)]
pub struct Attached {
    /// Those that refused.
    pub errors: Vec<ProbeError>,
    /// A device was gone: another one may have come.
    pub gone: bool,
}

impl Probe {
    /// Has the other program count what leaves by these devices.
    pub(super) fn stand_in(&mut self, devices: &[Device]) -> Result<(), ProbeError> {
        for device in devices {
            self.pending.set(device.ifindex, false)?;
        }
        self.starting.insert(&0, &1)?;
        self.attach_queue()?;
        let left = devices.iter().map(|d| (d.ifindex, d.clone()));
        self.attachment.rest = Some(Rest {
            left: left.collect(),
            order: devices.iter().map(|d| d.ifindex).collect(),
            answers: None,
        });
        Ok(())
    }

    /// Begins to attach to the devices that are left. The thread has the capabilities of the one that
    /// calls this.
    pub fn attach_rest(&mut self) {
        let Some(Tcx::Program(program)) = &self.attachment.tcx else {
            return;
        };
        let Some(rest) = &mut self.attachment.rest else {
            return;
        };
        let (answer, answers) = mpsc::channel();
        rest.answers = Some(answers);
        let order = std::mem::take(&mut rest.order);
        let program = Arc::clone(program);
        thread::spawn(move || {
            for ifindex in order {
                let link = syscall::tcx_egress(program.as_fd(), ifindex.0);
                // nobody listens any more when the session ended
                if answer.send((ifindex, link)).is_err() {
                    return;
                }
            }
        });
    }

    /// Takes the devices over that were attached meanwhile.
    pub fn take_attached(&mut self) -> Attached {
        let mut attached = Attached::default();
        let rest = self.attachment.rest.as_ref();
        let answers: Vec<Answer> = rest
            .and_then(|r| r.answers.as_ref())
            .map(|answers| answers.try_iter().collect())
            .unwrap_or_default();
        for (ifindex, link) in answers {
            let rest = self.attachment.rest.as_mut();
            // forgotten meanwhile
            let Some(device) = rest.and_then(|r| r.left.remove(&ifindex)) else {
                continue;
            };
            match self.keep_link(&device, link) {
                Ok(true) => attached
                    .errors
                    .extend(self.pending.set(ifindex, true).err()),
                Ok(false) => {
                    attached.gone = true;
                    self.pending.remove(ifindex);
                }
                Err(e) => {
                    attached.errors.push(e);
                    self.pending.remove(ifindex);
                }
            }
        }
        if self
            .attachment
            .rest
            .as_ref()
            .is_some_and(|r| r.left.is_empty())
        {
            self.end_stand_in();
        }
        attached
    }

    /// A device that is gone.
    pub(super) fn forget_rest(&mut self, ifindex: Ifindex) {
        let rest = self.attachment.rest.as_mut();
        if rest.is_some_and(|r| r.left.remove(&ifindex).is_some()) {
            self.pending.remove(ifindex);
        }
    }

    /// Takes the other program away.
    pub(super) fn end_stand_in(&mut self) {
        self.attachment.rest = None;
        self.unload_queue();
        // only now: until then packets that pass the one must say so to the other
        if let Err(e) = self.starting.insert(&0, &0) {
            tracing::debug!("{e}");
        }
    }
}
