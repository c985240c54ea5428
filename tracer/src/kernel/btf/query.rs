//! What is asked of type information.

use super::{
    Btf, TypeId,
    raw::{Kind, Member, TypeHeader, u32_at},
};

/// Members that one lookup may visit: more than the largest kernel struct has by far.
const VISITS_MAX: u32 = 200_000;
/// Deepest nesting of anonymous structs and unions that is searched.
const DEPTH_MAX: u32 = 16;

/// Why a name was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No type of that name.
    #[error("no such type")]
    NoType,
    /// The type has no such member.
    #[error("no such member")]
    NoMember,
    /// The member is a bitfield: it has no byte offset.
    #[error("is a bitfield")]
    Bitfield,
    /// The type information contradicts itself.
    #[error("its type information is damaged")]
    Damaged,
}

/// One value of an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnumValue<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value; negative ones sign-extended.
    pub value: u64,
}

/// A member that was found: offset in bits from the start of the outermost struct.
#[derive(Clone, Copy)]
struct Found {
    bit_offset: u64,
    bitfield: bool,
    type_id: TypeId,
}

impl Btf {
    /// Byte offset of `struct.member[.member…]`. Anonymous structs and unions, typedefs and
    /// arrays (their first element) are looked through, pointers are not.
    ///
    /// When several structs have the name, the first one that has the whole path is taken.
    pub fn member_offset(&self, path: &str) -> Result<u32, LookupError> {
        let (name, members) = path.split_once('.').ok_or(LookupError::NoMember)?;
        let mut result = Err(LookupError::NoType);
        for (id, _) in self.named(name) {
            match self.walk(id, members) {
                Ok(offset) => return Ok(offset),
                Err(error) if result.is_err_and(|e| e == LookupError::NoType) => {
                    result = Err(error);
                }
                Err(_) => {}
            }
        }
        result
    }

    /// Size in bytes of a struct or union.
    pub fn size_of(&self, name: &str) -> Result<u32, LookupError> {
        self.named(name)
            .filter_map(|(id, _)| self.strip(id))
            .find(|(_, header, _)| header.kind().is_some_and(Kind::is_composite))
            .map(|(_, header, _)| header.size_or_type)
            .ok_or(LookupError::NoType)
    }

    /// Number of arguments that a program attached to tracepoint `name` gets (`tp_btf`), from
    /// the type `btf_trace_NAME`; `None` when the kernel has no such tracepoint.
    pub fn tracepoint_args(&self, name: &str) -> Option<u32> {
        let typedef = format!("btf_trace_{name}");
        self.named(&typedef).find_map(|(id, _)| {
            let (_, pointer, _) = self.strip(id)?;
            let (_, proto, _) = self.strip(TypeId(pointer.size_or_type))?;
            let is_pointer = pointer.kind() == Some(Kind::Ptr);
            // the first parameter is the `void *` that the tracepoint was registered with
            (is_pointer && proto.kind() == Some(Kind::FuncProto))
                .then(|| (proto.vlen() as u32).saturating_sub(1))
        })
    }

    /// The values of enum `name`, in order; empty when there is no such enum.
    pub fn enum_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = EnumValue<'a>> + 'a {
        self.named(name)
            .filter_map(|(id, _)| self.header(id))
            .find(|(header, _)| matches!(header.kind(), Some(Kind::Enum | Kind::Enum64)))
            .into_iter()
            .flat_map(move |(header, tail)| {
                (0..header.vlen()).filter_map(move |n| self.enum_value(header, tail, n))
            })
    }

    /// The value that enum `name` gives to `value`.
    pub fn enum_value_named(&self, name: &str, value: &str) -> Option<u64> {
        self.enum_values(name)
            .find(|v| v.name == value)
            .map(|v| v.value)
    }

    fn enum_value(&self, header: TypeHeader, tail: usize, n: usize) -> Option<EnumValue<'_>> {
        let wide = header.kind() == Some(Kind::Enum64);
        let at = tail + n * if wide { 12 } else { 8 };
        let name = str::from_utf8(self.string(u32_at(&self.types, at)?)?).ok()?;
        let low = u32_at(&self.types, at + 4)?;
        let value = match (wide, header.kflag()) {
            (true, _) => u64::from(low) | u64::from(u32_at(&self.types, at + 8)?) << 32,
            (false, true) => i64::from(low.cast_signed()).cast_unsigned(),
            (false, false) => u64::from(low),
        };
        Some(EnumValue { name, value })
    }

    /// Byte offset of a dotted member path in one struct.
    fn walk(&self, id: TypeId, members: &str) -> Result<u32, LookupError> {
        let mut visits = VISITS_MAX;
        let mut at = Found {
            bit_offset: 0,
            bitfield: false,
            type_id: id,
        };
        for name in members.split('.') {
            if name.is_empty() {
                return Err(LookupError::NoMember);
            }
            let found = self
                .find(at.type_id, name.as_bytes(), DEPTH_MAX, &mut visits)?
                .ok_or(LookupError::NoMember)?;
            at = Found {
                bit_offset: at.bit_offset + found.bit_offset,
                ..found
            };
        }
        if at.bitfield || !at.bit_offset.is_multiple_of(8) {
            return Err(LookupError::Bitfield);
        }
        u32::try_from(at.bit_offset / 8).map_err(|_e| LookupError::Damaged)
    }

    /// A member by name in a struct, its anonymous members included.
    fn find(
        &self,
        id: TypeId,
        name: &[u8],
        depth: u32,
        visits: &mut u32,
    ) -> Result<Option<Found>, LookupError> {
        let Some((header, tail)) = self.composite(id) else {
            return Ok(None);
        };
        let kflag = header.kflag();
        for n in 0..header.vlen() {
            *visits = visits.checked_sub(1).ok_or(LookupError::Damaged)?;
            let member = Member::read(&self.types, tail, n, kflag).ok_or(LookupError::Damaged)?;
            let bit_offset = u64::from(member.bit_offset);
            let type_id = TypeId(member.type_id);
            match self.string(member.name_off).ok_or(LookupError::Damaged)? {
                [] if depth > 0 => {
                    if let Some(inner) = self.find(type_id, name, depth - 1, visits)? {
                        let bit_offset = bit_offset + inner.bit_offset;
                        return Ok(Some(Found {
                            bit_offset,
                            ..inner
                        }));
                    }
                }
                found if found == name => {
                    let bitfield = member.bit_size != 0 || self.is_old_bitfield(type_id);
                    return Ok(Some(Found {
                        bit_offset,
                        bitfield,
                        type_id,
                    }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The struct or union behind typedefs, qualifiers and arrays.
    fn composite(&self, id: TypeId) -> Option<(TypeHeader, usize)> {
        let mut id = id;
        for _ in 0..DEPTH_MAX {
            let (_, header, tail) = self.strip(id)?;
            match header.kind()? {
                Kind::Struct | Kind::Union => return Some((header, tail)),
                Kind::Array => id = TypeId(u32_at(&self.types, tail)?),
                _ => return None,
            }
        }
        None
    }

    /// Before `kflag` a bitfield was a member whose integer type is narrower than its size.
    fn is_old_bitfield(&self, id: TypeId) -> bool {
        let Some((_, header, tail)) = self.strip(id) else {
            return false;
        };
        header.kind() == Some(Kind::Int)
            && u32_at(&self.types, tail).is_some_and(|encoding| {
                let (offset, bits) = (encoding >> 16 & 0xff, encoding & 0xff);
                offset != 0 || u64::from(bits) != u64::from(header.size_or_type) * 8
            })
    }
}
