//! Offsets of the kernel struct members that the BPF programs read.

use tracer_abi::offset::{ABSENT, OFF_COUNT, Off, PATHS};

use super::btf::{Btf, LookupError};

#[cfg(test)]
mod tests;

/// Struct members that this kernel lacks or has in a form that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this kernel's BTF lacks what tracer reads: {}", list(.missing))]
pub struct OffsetsError {
    /// Path and why.
    pub missing: Vec<(&'static str, LookupError)>,
}

fn list(missing: &[(&'static str, LookupError)]) -> String {
    let parts: Vec<String> = missing.iter().map(|(p, e)| format!("{p} ({e})")).collect();
    parts.join(", ")
}

/// Resolves every path of [`PATHS`], in its order; all that is missing is reported at once.
pub fn resolve(btf: &Btf) -> Result<[u32; OFF_COUNT], OffsetsError> {
    let mut offsets = [ABSENT; OFF_COUNT];
    let mut missing = Vec::new();
    for (slot, path) in offsets.iter_mut().zip(PATHS) {
        match resolve_path(btf, path) {
            Ok(offset) => *slot = offset,
            Err(error) => missing.push((path, error)),
        }
    }
    if missing.is_empty() {
        if !has_conntrack(&offsets) {
            for member in CONNTRACK {
                offsets[member as usize] = ABSENT;
            }
        }
        Ok(offsets)
    } else {
        Err(OffsetsError { missing })
    }
}

/// What the BPF programs read of connection tracking; of it all or nothing.
const CONNTRACK: [Off; 7] = [
    Off::CtStatus,
    Off::CtTuplehash,
    Off::CtTuplehashSize,
    Off::CtTuple,
    Off::CtSrcPort,
    Off::CtDst,
    Off::CtDstPort,
];

/// Bytes that both tuples of a connection take (`CT_BYTES` of the kernel side).
const CT_BYTES: u32 = 112;

/// Connection tracking can be read: everything is there, words lie where words may lie, and both
/// tuples are within the bytes that are read.
pub fn has_conntrack(offsets: &[u32; OFF_COUNT]) -> bool {
    let at = |o: Off| offsets[o as usize];
    let second = at(Off::CtTuplehashSize).saturating_add(at(Off::CtTuple));
    let within = |member: Off, size: u32| {
        let end = second.saturating_add(at(member)).saturating_add(size);
        at(member) != ABSENT && end <= CT_BYTES
    };
    at(Off::SkbNfct) != ABSENT
        && at(Off::CtStatus) != ABSENT
        && at(Off::CtTuplehash) != ABSENT
        && second.is_multiple_of(8)
        && at(Off::CtTuple).is_multiple_of(8)
        && at(Off::CtDst).is_multiple_of(4)
        && within(Off::CtDst, 16)
        && within(Off::CtSrcPort, 2)
        && within(Off::CtDstPort, 2)
}

/// One path in the notation of [`PATHS`].
pub fn resolve_path(btf: &Btf, path: &str) -> Result<u32, LookupError> {
    if let Some(tracepoint) = path.strip_prefix("args:") {
        return Ok(btf.tracepoint_args(tracepoint).unwrap_or(0));
    }
    if let Some(optional) = path.strip_prefix('?') {
        return match resolve_path(btf, optional) {
            Err(LookupError::NoType | LookupError::NoMember) => Ok(ABSENT),
            other => other,
        };
    }
    match path.strip_prefix("sizeof:") {
        Some(name) => btf.size_of(name),
        None => btf.member_offset(path),
    }
}
