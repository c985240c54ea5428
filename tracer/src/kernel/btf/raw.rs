//! The encoding of BTF types (`linux/btf.h`).

/// Longest chain of typedefs, qualifiers and tags that is followed.
pub(super) const CHAIN_MAX: usize = 32;

/// A little-endian `u16`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_le_bytes(*b))
}

/// A little-endian `u32`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_le_bytes(*b))
}

/// `BTF_KIND_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    DataSec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Kind {
    /// Bytes behind the header of a type with `vlen` entries.
    pub(super) fn tail_len(self, vlen: usize) -> usize {
        match self {
            Self::Int | Self::Var | Self::DeclTag => 4,
            Self::Array => 12,
            Self::Struct | Self::Union | Self::DataSec | Self::Enum64 => 12 * vlen,
            Self::Enum | Self::FuncProto => 8 * vlen,
            _ => 0,
        }
    }

    /// A typedef or qualifier that stands for the type it refers to.
    pub(super) fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }

    /// A struct or union.
    pub(super) fn is_composite(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }

    /// Kinds that are looked up by name.
    pub(super) fn is_looked_up(self) -> bool {
        self.is_composite() || matches!(self, Self::Enum | Self::Enum64 | Self::Typedef)
    }
}

/// `struct btf_type`.
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeHeader {
    /// Offset of the name in the string section; 0 for none.
    pub(super) name_off: u32,
    info: u32,
    /// Size in bytes, or the type it refers to.
    pub(super) size_or_type: u32,
}

impl TypeHeader {
    /// Bytes of the header.
    pub(super) const SIZE: usize = 12;

    pub(super) fn read(types: &[u8], at: usize) -> Option<Self> {
        Some(Self {
            name_off: u32_at(types, at)?,
            info: u32_at(types, at + 4)?,
            size_or_type: u32_at(types, at + 8)?,
        })
    }

    pub(super) fn kind_number(self) -> u8 {
        (self.info >> 24 & 0x1f) as u8
    }

    pub(super) fn kind(self) -> Option<Kind> {
        Some(match self.kind_number() {
            1 => Kind::Int,
            2 => Kind::Ptr,
            3 => Kind::Array,
            4 => Kind::Struct,
            5 => Kind::Union,
            6 => Kind::Enum,
            7 => Kind::Fwd,
            8 => Kind::Typedef,
            9 => Kind::Volatile,
            10 => Kind::Const,
            11 => Kind::Restrict,
            12 => Kind::Func,
            13 => Kind::FuncProto,
            14 => Kind::Var,
            15 => Kind::DataSec,
            16 => Kind::Float,
            17 => Kind::DeclTag,
            18 => Kind::TypeTag,
            19 => Kind::Enum64,
            _ => return None,
        })
    }

    /// Number of members, values or parameters.
    pub(super) fn vlen(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Members carry a bitfield size in the upper byte of their offset; enums are signed.
    pub(super) fn kflag(self) -> bool {
        self.info >> 31 != 0
    }
}

/// `struct btf_member`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) name_off: u32,
    pub(super) type_id: u32,
    /// Offset in its struct, bits.
    pub(super) bit_offset: u32,
    /// Width of a bitfield, bits; 0 for none.
    pub(super) bit_size: u32,
}

impl Member {
    const SIZE: usize = 12;

    /// Member `n` of the struct whose tail begins at `tail`.
    pub(super) fn read(types: &[u8], tail: usize, n: usize, kflag: bool) -> Option<Self> {
        let at = tail + n * Self::SIZE;
        let offset = u32_at(types, at + 8)?;
        let (bit_offset, bit_size) = if kflag {
            (offset & 0x00ff_ffff, offset >> 24)
        } else {
            (offset, 0)
        };
        Some(Self {
            name_off: u32_at(types, at)?,
            type_id: u32_at(types, at + 4)?,
            bit_offset,
            bit_size,
        })
    }
}
