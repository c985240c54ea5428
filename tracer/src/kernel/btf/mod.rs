//! Reader of BTF, the kernel's own type information (`Documentation/bpf/btf.rst`).
//!
//! Only what tracer asks is answered: offsets of members, sizes, enum values, argument counts of
//! tracepoints. The bytes may be anything: every read is checked, every walk is bounded.

mod query;
mod raw;

#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hasher as _};

pub use query::{EnumValue, LookupError};
use raw::{TypeHeader, u16_at, u32_at};

/// `BTF_MAGIC`, little-endian.
const MAGIC: u16 = 0xEB9F;
/// Longest name that is read, bytes (`KSYM_NAME_LEN`).
const NAME_MAX: usize = 512;
/// Most types that are read: ids are below `BTF_MAX_TYPE` in the kernel's own blobs.
const TYPES_MAX: usize = 1 << 24;

/// Why a blob is no BTF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The header is missing, or of another byte order or version.
    #[error("not a BTF blob of this byte order (magic or version differ)")]
    Magic,
    /// A section lies outside of the blob.
    #[error("BTF header names a section outside of the blob")]
    Section,
    /// The last type is cut off.
    #[error("BTF type {id} is cut off")]
    Truncated {
        /// Its id.
        id: usize,
    },
    /// A kind that this reader does not know, so that the length of the type is unknown.
    #[error("BTF type {id} is of unknown kind {kind}")]
    Kind {
        /// Its id.
        id: usize,
        /// The kind number.
        kind: u8,
    },
    /// More types than any kernel has.
    #[error("BTF blob has too many types")]
    TooMany,
}

/// Id of a type; 0 is `void`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TypeId(pub u32);

/// Parsed type information.
#[derive(Clone, Debug, Default)]
pub struct Btf {
    /// Type section; a module's is appended to the kernel's.
    types: Vec<u8>,
    /// String section; a module's is appended to the kernel's, which is how its offsets count.
    strings: Vec<u8>,
    /// Start of each type in `types`; the first is type 1.
    starts: Vec<u32>,
    /// Hash of the name and id of each struct, union, enum and typedef, ascending.
    index: Vec<(u64, u32)>,
}

impl Btf {
    /// Parses the kernel's blob (`/sys/kernel/btf/vmlinux`).
    pub fn parse(blob: &[u8]) -> Result<Self, BtfError> {
        let mut btf = Self::default();
        btf.append(blob)?;
        Ok(btf)
    }

    /// The same with the types of one module (`/sys/kernel/btf/MODULE`), whose ids and string
    /// offsets go on where the kernel's end.
    pub fn with_module(&self, blob: &[u8]) -> Result<Self, BtfError> {
        let mut btf = self.clone();
        btf.append(blob)?;
        Ok(btf)
    }

    /// Number of types, `void` not counted.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// No type at all.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn append(&mut self, blob: &[u8]) -> Result<(), BtfError> {
        let (types, strings) = sections(blob)?;
        let base = self.types.len();
        self.types.extend_from_slice(types);
        self.strings.extend_from_slice(strings);
        let mut at = base;
        while at < self.types.len() {
            let id = self.starts.len() + 1;
            let header = TypeHeader::read(&self.types, at).ok_or(BtfError::Truncated { id })?;
            let Some(kind) = header.kind() else {
                return Err(BtfError::Kind {
                    id,
                    kind: header.kind_number(),
                });
            };
            let end = at + TypeHeader::SIZE + kind.tail_len(header.vlen());
            if end > self.types.len() {
                return Err(BtfError::Truncated { id });
            }
            if id >= TYPES_MAX {
                return Err(BtfError::TooMany);
            }
            self.starts
                .push(u32::try_from(at).map_err(|_e| BtfError::TooMany)?);
            if kind.is_looked_up()
                && let Some(name) = self.string(header.name_off)
                && !name.is_empty()
            {
                self.index.push((hash(name), id as u32));
            }
            at = end;
        }
        self.index.sort_unstable();
        Ok(())
    }

    /// The string at an offset of the string section, without its NUL.
    fn string(&self, off: u32) -> Option<&[u8]> {
        let rest = self.strings.get(off as usize..)?;
        let rest = rest.get(..NAME_MAX).unwrap_or(rest);
        rest.iter()
            .position(|b| *b == 0)
            .and_then(|n| rest.get(..n))
    }

    /// Header of a type and where its tail begins.
    fn header(&self, id: TypeId) -> Option<(TypeHeader, usize)> {
        let at = *self.starts.get((id.0 as usize).checked_sub(1)?)? as usize;
        Some((TypeHeader::read(&self.types, at)?, at + TypeHeader::SIZE))
    }

    /// Ids of the structs, unions, enums and typedefs of this name, ascending.
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (TypeId, TypeHeader)> + 'a {
        let wanted = hash(name.as_bytes());
        let from = self.index.partition_point(|(h, _)| *h < wanted);
        self.index
            .iter()
            .skip(from)
            .take_while(move |(h, _)| *h == wanted)
            .filter_map(|(_, id)| Some((TypeId(*id), self.header(TypeId(*id))?.0)))
            .filter(move |(_, header)| self.string(header.name_off) == Some(name.as_bytes()))
    }

    /// `id` without typedef, const, volatile, restrict and type tag.
    fn strip(&self, id: TypeId) -> Option<(TypeId, TypeHeader, usize)> {
        let mut id = id;
        for _ in 0..raw::CHAIN_MAX {
            let (header, tail) = self.header(id)?;
            if !header.kind()?.is_modifier() {
                return Some((id, header, tail));
            }
            id = TypeId(header.size_or_type);
        }
        None
    }
}

/// Type and string section of a blob.
fn sections(blob: &[u8]) -> Result<(&[u8], &[u8]), BtfError> {
    if u16_at(blob, 0) != Some(MAGIC) || blob.get(2) != Some(&1) {
        return Err(BtfError::Magic);
    }
    let field = |at| {
        u32_at(blob, at)
            .map(|v| v as usize)
            .ok_or(BtfError::Section)
    };
    let body = blob.get(field(4)?..).ok_or(BtfError::Section)?;
    let section = |off: usize, len: usize| {
        off.checked_add(len)
            .and_then(|end| body.get(off..end))
            .ok_or(BtfError::Section)
    };
    Ok((
        section(field(8)?, field(12)?)?,
        section(field(16)?, field(20)?)?,
    ))
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}
