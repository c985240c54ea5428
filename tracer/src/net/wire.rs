//! Netlink attributes: bytes to numbers and addresses, never beyond the message.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// `NLA_F_NESTED | NLA_F_NET_BYTEORDER`: flags in the attribute's type.
const TYPE_MASK: u16 = 0x3fff;
/// Size of `struct nlattr`.
const ATTR_HEADER: usize = 4;

/// Messages and attributes that could not be decoded.
#[derive(Debug, Default)]
pub(super) struct Defects(Cell<u32>);

impl Defects {
    /// Counts one.
    pub(super) fn add(&self) {
        self.0.set(self.0.get().saturating_add(1));
    }

    /// How many there were.
    pub(super) fn count(&self) -> u32 {
        self.0.get()
    }
}

/// Rounds up to netlink's alignment of 4.
pub(super) fn align(n: usize) -> usize {
    n.saturating_add(3) & !3
}

/// `N` bytes at `at`.
pub(super) fn bytes_at<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A native-endian `u16` at `at`.
pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    bytes_at(data, at).map(u16::from_ne_bytes)
}

/// A native-endian `u32` at `at`.
pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    bytes_at(data, at).map(u32::from_ne_bytes)
}

/// An address of 4 or 16 bytes.
pub(super) fn ip(data: &[u8]) -> Option<IpAddr> {
    match data.len() {
        4 => Some(Ipv4Addr::from(bytes_at::<4>(data, 0)?).into()),
        16 => Some(Ipv6Addr::from(bytes_at::<16>(data, 0)?).into()),
        _ => None,
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attr<'a> {
    /// Type without flags.
    pub(super) kind: u16,
    /// Payload.
    pub(super) data: &'a [u8],
    defects: &'a Defects,
}

impl<'a> Attr<'a> {
    /// Counts a value that could not be read.
    fn checked<T>(&self, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.defects.add();
        }
        value
    }

    /// A number of one byte.
    pub(super) fn u8(&self) -> Option<u8> {
        self.checked(self.data.first().copied())
    }

    /// A native-endian number of two bytes.
    pub(super) fn u16(&self) -> Option<u16> {
        self.checked(u16_at(self.data, 0))
    }

    /// A big-endian number of two bytes (ports).
    pub(super) fn be16(&self) -> Option<u16> {
        self.checked(bytes_at(self.data, 0).map(u16::from_be_bytes))
    }

    /// A native-endian number of four bytes.
    pub(super) fn u32(&self) -> Option<u32> {
        self.checked(u32_at(self.data, 0))
    }

    /// A big-endian number of eight bytes (tunnel ids).
    pub(super) fn be64(&self) -> Option<u64> {
        self.checked(bytes_at(self.data, 0).map(u64::from_be_bytes))
    }

    /// An address.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.checked(ip(self.data))
    }

    /// An address; `None` also for the unspecified one.
    pub(super) fn some_ip(&self) -> Option<IpAddr> {
        self.ip().filter(|a| !a.is_unspecified())
    }

    /// A string without its final NUL. Bytes that are no UTF-8 (device names may hold any) are
    /// replaced.
    pub(super) fn text(&self) -> String {
        let end = self
            .data
            .iter()
            .position(|b| *b == 0)
            .unwrap_or(self.data.len());
        String::from_utf8_lossy(&self.data[..end]).into_owned()
    }

    /// The attributes inside this one.
    pub(super) fn nested(&self) -> Attrs<'a> {
        Attrs::new(self.data, self.defects)
    }
}

/// Attributes in the order of the message. Ends at the first one whose length is impossible.
#[derive(Clone, Debug)]
pub(super) struct Attrs<'a> {
    rest: &'a [u8],
    defects: &'a Defects,
}

impl<'a> Attrs<'a> {
    /// Attributes in `data`.
    pub(super) fn new(data: &'a [u8], defects: &'a Defects) -> Self {
        Self {
            rest: data,
            defects,
        }
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        if self.rest.len() < ATTR_HEADER {
            return None;
        }
        let len = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & TYPE_MASK;
        let Some(data) = self.rest.get(ATTR_HEADER..len) else {
            self.defects.add();
            self.rest = &[];
            return None;
        };
        self.rest = self.rest.get(align(len)..).unwrap_or(&[]);
        Some(Attr {
            kind,
            data,
            defects: self.defects,
        })
    }
}

/// Appends an attribute to a request.
pub(super) fn push_attr(request: &mut Vec<u8>, kind: u16, data: &[u8]) {
    let len = u16::try_from(ATTR_HEADER + data.len()).unwrap_or(u16::MAX);
    request.extend_from_slice(&len.to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(data);
    request.resize(align(request.len()), 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_read_in_order_with_padding() {
        let mut bytes = Vec::new();
        push_attr(&mut bytes, 3, b"eth0\0");
        push_attr(&mut bytes, 4 | 0x8000, &1500u32.to_ne_bytes());
        let defects = Defects::default();
        let attrs: Vec<_> = Attrs::new(&bytes, &defects).collect();
        assert_eq!(attrs[0].text(), "eth0");
        assert_eq!((attrs[1].kind, attrs[1].u32()), (4, Some(1500)));
        assert_eq!(defects.count(), 0);
    }

    #[test]
    fn a_short_attribute_costs_itself_only() {
        let mut bytes = Vec::new();
        push_attr(&mut bytes, 1, &[1, 2]);
        push_attr(&mut bytes, 2, &7u32.to_ne_bytes());
        let defects = Defects::default();
        let values: Vec<_> = Attrs::new(&bytes, &defects).map(|a| a.u32()).collect();
        assert_eq!(values, [None, Some(7)]);
        assert_eq!(defects.count(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let defects = Defects::default();
            let mut n = 0;
            for attr in Attrs::new(&bytes, &defects) {
                n += 1;
                prop_assert!(attr.nested().count() <= attr.data.len() / ATTR_HEADER);
            }
            prop_assert!(n <= bytes.len() / ATTR_HEADER);
        }
    }
}
