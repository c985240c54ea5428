//! BPF programs that others attached to devices, by tcx and by clsact filters.

use std::collections::{BTreeMap, BTreeSet};

use aya::programs::{ProgramError, SchedClassifier, TcAttachType};

use super::{
    NetError,
    guard::guarded,
    socket::{Connection, request},
    wire::{Attrs, Defects, push_attr, u32_at},
};
use crate::{
    event::Ifindex,
    inventory::{Link, LinkKind, TcHook, TcProgram},
};

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
/// Size of `struct tcmsg`.
const TCMSG: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and `…_EGRESS` of `linux/pkt_sched.h`.
const PARENTS: [(u32, TcHook); 2] = [
    (0xffff_fff2, TcHook::Ingress),
    (0xffff_fff3, TcHook::Egress),
];
/// The program of tracer itself, of this one and of others that run beside it.
const OURS: &str = "tracer_egress";

/// The programs of others at the tc hooks of `links`. What may not be read is left out.
pub(super) fn programs(
    connection: &mut Connection,
    links: &BTreeMap<Ifindex, Link>,
    defects: &Defects,
) -> Result<BTreeMap<Ifindex, Vec<TcProgram>>, NetError> {
    let mut found: BTreeMap<Ifindex, Vec<TcProgram>> = BTreeMap::new();
    // the query waits for rtnl as netlink does
    connection.progress().asking("tc programs");
    for link in links.values().filter(|l| l.kind != LinkKind::Loopback) {
        match tcx(&link.name) {
            Ok(programs) if programs.is_empty() => {}
            Ok(programs) => found.entry(link.ifindex).or_default().extend(programs),
            // before 6.6 there is no tcx; without CAP_NET_ADMIN nobody may ask
            Err(libc::EINVAL | libc::EPERM) => break,
            // nothing was ever attached, or the device is gone
            Err(_) => {}
        }
        connection.progress().asking("tc programs");
    }
    connection.progress().answered();
    for dev in if_allowed(clsact(connection, defects))? {
        for at in PARENTS {
            let filters = if_allowed(filters(connection, dev, at, defects))?;
            let others = filters.into_iter().map(|f| f.program);
            let programs: Vec<_> = others.filter(|p| p.name != OURS).collect();
            if !programs.is_empty() {
                found.entry(dev).or_default().extend(programs);
            }
        }
    }
    Ok(found)
}

/// Nothing where the kernel refuses: it has no traffic control, or the device is gone meanwhile.
fn if_allowed<T: Default>(answer: Result<T, NetError>) -> Result<T, NetError> {
    match answer {
        Err(NetError::Refused { .. }) => Ok(T::default()),
        answer => answer,
    }
}

/// What tcx runs at a device, in its order; the errno when it may not be asked.
fn tcx(name: &str) -> Result<Vec<TcProgram>, i32> {
    let hooks = [
        (TcAttachType::Ingress, TcHook::Ingress),
        (TcAttachType::Egress, TcHook::Egress),
    ];
    let mut found = Vec::new();
    for (attach_type, hook) in hooks {
        match SchedClassifier::query_tcx(name, attach_type) {
            Ok((_, programs)) => found.extend(programs.iter().map(|p| TcProgram {
                hook,
                id: Some(p.id()),
                name: String::from_utf8_lossy(p.name()).into_owned(),
            })),
            // CAP_SYS_ADMIN is needed to look at a program; that there is one is known
            Err(ProgramError::SyscallError(e))
                if e.call == "bpf_prog_get_fd_by_id"
                    && e.io_error.raw_os_error() == Some(libc::EPERM) =>
            {
                found.push(TcProgram {
                    hook,
                    id: None,
                    name: String::new(),
                });
            }
            Err(ProgramError::SyscallError(e)) => match e.io_error.raw_os_error() {
                // nothing was ever attached, or a program went while it was asked for
                Some(libc::ENOENT) => {}
                errno => return Err(errno.unwrap_or(libc::EIO)),
            },
            Err(_) => return Err(libc::ENODEV),
        }
    }
    found.retain(|p| p.name != OURS);
    Ok(found)
}

/// Devices with a qdisc that holds filters for what comes in (and goes out).
fn clsact(connection: &mut Connection, defects: &Defects) -> Result<BTreeSet<Ifindex>, NetError> {
    let body = request(0, TCMSG);
    let devices = connection.dump("qdiscs", (RTM_GETQDISC, &body), |m| {
        if m.kind != RTM_NEWQDISC {
            return None;
        }
        let dev = Ifindex(u32_at(m.body, 4)?);
        let mut attrs = Attrs::new(m.body.get(TCMSG..)?, defects);
        let kind = attrs.find(|a| a.kind == TCA_KIND)?.text();
        matches!(kind.as_str(), "clsact" | "ingress").then_some(dev)
    })?;
    Ok(devices.into_iter().collect())
}

/// A BPF filter, with what names it to the kernel.
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    /// `tcm_handle`.
    handle: u32,
    /// `tcm_info`: priority and protocol.
    info: u32,
    program: TcProgram,
}

/// A filter of a tracer at the egress of a device: of this one, or of another one that runs or was
/// killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFilter {
    /// Device.
    pub dev: Ifindex,
    /// Number of its program.
    pub id: u32,
    handle: u32,
    info: u32,
}

/// The clsact filters of tracers at the devices of the caller's namespace.
pub fn own_filters() -> Result<Vec<OwnFilter>, NetError> {
    guarded(|progress| {
        let mut connection = Connection::open(progress)?;
        let defects = Defects::default();
        let (egress, mut found) = (PARENTS[1], Vec::new());
        for dev in if_allowed(clsact(&mut connection, &defects))? {
            let filters = if_allowed(filters(&mut connection, dev, egress, &defects))?;
            let ours = filters.into_iter().filter(|f| f.program.name == OURS);
            found.extend(ours.filter_map(|f| {
                Some(OwnFilter {
                    dev,
                    id: f.program.id?,
                    handle: f.handle,
                    info: f.info,
                })
            }));
        }
        Ok(found)
    })
}

/// Removes a filter that [`own_filters`] found.
pub fn remove_filter(filter: &OwnFilter) -> Result<(), NetError> {
    let mut body = request(0, TCMSG);
    let numbers = [filter.dev.0, filter.handle, PARENTS[1].0, filter.info];
    for (at, value) in [4, 8, 12, 16].into_iter().zip(numbers) {
        if let Some(bytes) = body.get_mut(at..at + 4) {
            bytes.copy_from_slice(&value.to_ne_bytes());
        }
    }
    push_attr(&mut body, TCA_KIND, b"bpf\0");
    guarded(move |progress| {
        // one that went meanwhile is refused, and nothing is left of it either
        Connection::open(progress)?.ask("filters", RTM_DELTFILTER, &body)
    })
    .map(drop)
}

/// The BPF filters of one hook of a device.
fn filters(
    connection: &mut Connection,
    dev: Ifindex,
    (parent, hook): (u32, TcHook),
    defects: &Defects,
) -> Result<Vec<Filter>, NetError> {
    let mut body = request(0, TCMSG);
    for (at, value) in [(4, dev.0), (12, parent)] {
        if let Some(bytes) = body.get_mut(at..at + 4) {
            bytes.copy_from_slice(&value.to_ne_bytes());
        }
    }
    connection.dump("filters", (RTM_GETTFILTER, &body), |m| {
        (m.kind == RTM_NEWTFILTER)
            .then(|| filter(m.body, hook, defects))
            .flatten()
    })
}

/// `None` for filters of other kinds, and for the headline that each chain has.
fn filter(body: &[u8], hook: TcHook, defects: &Defects) -> Option<Filter> {
    let (mut kind, mut options) = (String::new(), None);
    for attr in Attrs::new(body.get(TCMSG..)?, defects) {
        match attr.kind {
            TCA_KIND => kind = attr.text(),
            TCA_OPTIONS => options = Some(attr.nested()),
            _ => {}
        }
    }
    if kind != "bpf" {
        return None;
    }
    let (mut name, mut id) = (String::new(), None);
    for attr in options? {
        match attr.kind {
            TCA_BPF_NAME => name = attr.text(),
            TCA_BPF_ID => id = attr.u32(),
            _ => {}
        }
    }
    Some(Filter {
        handle: u32_at(body, 8)?,
        info: u32_at(body, 16)?,
        program: TcProgram { hook, id, name },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &[u8], options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut nested = Vec::new();
        for (kind, data) in options {
            push_attr(&mut nested, *kind, data);
        }
        let mut body = request(0, TCMSG);
        push_attr(&mut body, TCA_KIND, kind);
        push_attr(&mut body, TCA_OPTIONS, &nested);
        body
    }

    #[test]
    fn a_bpf_filter_has_name_and_number() {
        let options: [(u16, &[u8]); 2] = [
            (TCA_BPF_NAME, b"cil_from_netdev-eth0\0"),
            (TCA_BPF_ID, &412u32.to_ne_bytes()),
        ];
        let defects = Defects::default();
        let found = filter(&message(b"bpf\0", &options), TcHook::Ingress, &defects);
        let found = found.map(|f| f.program);
        let wanted = TcProgram {
            hook: TcHook::Ingress,
            id: Some(412),
            name: "cil_from_netdev-eth0".into(),
        };
        assert_eq!(found, Some(wanted));
        assert_eq!(defects.count(), 0);
    }

    #[test]
    fn other_kinds_are_left_out() {
        let defects = Defects::default();
        for body in [message(b"flower\0", &[]), request(0, TCMSG), Vec::new()] {
            assert_eq!(filter(&body, TcHook::Egress, &defects), None);
        }
    }
}
