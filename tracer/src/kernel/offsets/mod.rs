//! Offsets of the kernel struct members that the BPF programs read.

use tracer_abi::offset::{ABSENT, OFF_COUNT, PATHS};

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
        Ok(offsets)
    } else {
        Err(OffsetsError { missing })
    }
}

/// One path in the notation of [`PATHS`].
pub fn resolve_path(btf: &Btf, path: &str) -> Result<u32, LookupError> {
    if let Some(tracepoint) = path.strip_prefix("args:") {
        return Ok(btf.tracepoint_args(tracepoint).unwrap_or(0));
    }
    if let Some(name) = path.strip_prefix("sizeof:") {
        return btf.size_of(name);
    }
    match path.strip_prefix('?') {
        Some(optional) => match btf.member_offset(optional) {
            Err(LookupError::NoType | LookupError::NoMember) => Ok(ABSENT),
            other => other,
        },
        None => btf.member_offset(path),
    }
}
