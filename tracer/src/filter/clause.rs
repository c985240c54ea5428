//! One clause of the kernel's filter: at most one test for each field.

use std::net::IpAddr;

use tracer_abi::filter::{
    Clause, TEST_DADDR, TEST_DPORT, TEST_FAMILY, TEST_PROTO, TEST_SADDR, TEST_SPORT, TEST_VNI,
};

use crate::inventory::Prefix;

/// What a test compares. The flag tells the destination from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Family(u8),
    Proto(u8),
    Net(bool, Prefix),
    Port(bool, u16, u16),
    Vni(u32),
}

/// A test on one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// Number of the primitive that it comes from.
    pub(super) atom: usize,
    /// On the outer header.
    pub(super) outer: bool,
    /// Must not hold.
    pub(super) not: bool,
    pub(super) field: Field,
}

/// All of them hold.
pub(super) type Conj = Vec<Test>;

/// Index of a field's slot and its bit in the ABI.
const FIELDS: [u32; 7] = [
    TEST_FAMILY,
    TEST_PROTO,
    TEST_SADDR,
    TEST_DADDR,
    TEST_SPORT,
    TEST_DPORT,
    TEST_VNI,
];

impl Field {
    fn slot(self) -> usize {
        match self {
            Self::Family(_) => 0,
            Self::Proto(_) => 1,
            Self::Net(dst, _) => 2 + usize::from(dst),
            Self::Port(dst, ..) => 4 + usize::from(dst),
            Self::Vni(_) => 6,
        }
    }

    /// Whatever fits `self` fits `other`.
    fn within(self, other: Self) -> bool {
        match (self, other) {
            (Self::Net(a, x), Self::Net(b, y)) => a == b && x.len >= y.len && y.contains(x.address),
            (Self::Port(a, x0, x1), Self::Port(b, y0, y1)) => a == b && x0 >= y0 && x1 <= y1,
            (a, b) => a == b,
        }
    }

    /// Nothing fits both.
    fn apart(self, other: Self) -> bool {
        match (self, other) {
            (Self::Port(_, x0, x1), Self::Port(_, y0, y1)) => x1 < y0 || y1 < x0,
            (a, b) => !a.within(b) && !b.within(a),
        }
    }

    /// Source and destination exchanged.
    fn reversed(self) -> Self {
        match self {
            Self::Net(dst, net) => Self::Net(!dst, net),
            Self::Port(dst, first, last) => Self::Port(!dst, first, last),
            f => f,
        }
    }
}

impl Test {
    pub(super) fn not(self) -> Self {
        match self.field {
            // a packet is IPv4 or IPv6
            Field::Family(f) => Self {
                field: Field::Family(10 - f),
                ..self
            },
            _ => Self {
                not: !self.not,
                ..self
            },
        }
    }

    /// Whatever passes `self` passes `other`.
    fn implies(&self, other: &Self) -> bool {
        let same_place = self.outer == other.outer && self.field.slot() == other.field.slot();
        same_place
            && match (self.not, other.not) {
                (false, false) => self.field.within(other.field),
                (true, true) => other.field.within(self.field),
                (false, true) => self.field.apart(other.field),
                (true, false) => false,
            }
    }

    /// How few packets pass: the better of two tests that cannot both be kept.
    fn strictness(&self) -> u32 {
        let bits = match self.field {
            Field::Net(_, net) => u32::from(net.len),
            Field::Port(_, first, last) => 16 - u32::from(last - first).max(1).ilog2(),
            Field::Family(_) => 1,
            Field::Proto(_) | Field::Vni(_) => 8,
        };
        if self.not { 0 } else { bits + 1 }
    }
}

/// What becomes of two tests in one slot.
enum Joined {
    /// This test says both.
    One(Test),
    /// Both at once is impossible.
    Never,
    /// The slot keeps the first; the second is left to user space.
    Lossy(Test, Test),
}

fn join(a: Test, b: Test) -> Joined {
    if a.implies(&b) {
        return Joined::One(a);
    }
    if b.implies(&a) {
        return Joined::One(b);
    }
    if a.outer == b.outer {
        match (a.not, b.not) {
            (false, false) if a.field.apart(b.field) => return Joined::Never,
            (false, true) if a.field.within(b.field) => return Joined::Never,
            (true, false) if b.field.within(a.field) => return Joined::Never,
            _ => {}
        }
        if let (Field::Port(dst, a0, a1), Field::Port(_, b0, b1)) = (a.field, b.field)
            && !a.not
            && !b.not
        {
            return Joined::One(Test {
                field: Field::Port(dst, a0.max(b0), a1.min(b1)),
                ..a
            });
        }
    }
    if b.strictness() > a.strictness() {
        Joined::Lossy(b, a)
    } else {
        Joined::Lossy(a, b)
    }
}

/// The tests of one clause by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots([Option<Test>; 7]);

impl Slots {
    /// The clause for `conj` with the numbers of the primitives that it does not test fully;
    /// `None` when nothing passes all tests.
    pub(super) fn new(conj: &[Test]) -> Option<(Self, Vec<usize>)> {
        let (mut slots, mut lost) = (Self::default(), vec![]);
        for test in conj {
            let slot = slots.0.get_mut(test.field.slot())?;
            *slot = Some(match *slot {
                None => *test,
                Some(old) => match join(old, *test) {
                    Joined::One(t) => t,
                    Joined::Never => return None,
                    Joined::Lossy(kept, other) => {
                        lost.push(other.atom);
                        kept
                    }
                },
            });
        }
        slots.possible().then_some((slots, lost))
    }

    /// The families that the tests on one header ask for are the same.
    fn possible(&self) -> bool {
        [false, true].into_iter().all(|outer| {
            let mut families = self.0.iter().flatten().filter_map(|t| match t.field {
                Field::Family(f) if t.outer == outer => Some(f),
                Field::Net(_, net) if t.outer == outer && !t.not => Some(family(net.address)),
                _ => None,
            });
            let first = families.next();
            families.all(|f| Some(f) == first)
        })
    }

    /// Accepts everything.
    pub(super) fn is_true(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Accepts whatever `other` accepts, in the same direction or the other way round.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.covers_directed(other) || self.reversed().covers_directed(other)
    }

    fn covers_directed(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .all(|(mine, theirs)| match (mine, theirs) {
                (None, _) => true,
                (Some(mine), Some(theirs)) => theirs.implies(mine),
                (Some(_), None) => false,
            })
    }

    fn reversed(&self) -> Self {
        let mut all = Self::default();
        for t in self.0.iter().flatten() {
            let field = t.field.reversed();
            if let Some(slot) = all.0.get_mut(field.slot()) {
                *slot = Some(Test { field, ..*t });
            }
        }
        all
    }

    /// For the kernel.
    pub(super) fn clause(&self) -> Clause {
        let mut c = Clause::default();
        for t in self.0.iter().flatten() {
            let bit = FIELDS.get(t.field.slot()).copied().unwrap_or(0);
            c.test |= bit;
            c.not |= if t.not { bit } else { 0 };
            // the kernel knows the VNI without looking at the outer header
            c.outer |= if t.outer && bit != TEST_VNI { bit } else { 0 };
            match t.field {
                Field::Family(f) => c.family = f,
                Field::Proto(p) => c.proto = p,
                Field::Net(false, net) => {
                    (c.saddr, c.smask, c.sfamily) = words(net);
                }
                Field::Net(true, net) => {
                    (c.daddr, c.dmask, c.dfamily) = words(net);
                }
                Field::Port(false, first, last) => c.sport = [first, last],
                Field::Port(true, first, last) => c.dport = [first, last],
                Field::Vni(n) => c.vni = n,
            }
        }
        c
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv6() { 6 } else { 4 }
}

/// Network address and mask as words in memory order, and the family.
fn words(net: Prefix) -> ([u32; 4], [u32; 4], u8) {
    let family = family(net.address);
    let ones = IpAddr::from([0xff; 16]);
    let (address, mask) = match net.address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(net.len)).unwrap_or(0);
            (spread(a.octets()), spread(mask.to_be_bytes()))
        }
        IpAddr::V6(a) => match Prefix::new(ones, net.len).address {
            IpAddr::V6(mask) => (a.octets(), mask.octets()),
            IpAddr::V4(_) => (a.octets(), [0xff; 16]),
        },
    };
    (in_words(address), in_words(mask), family)
}

/// IPv4 in the first four bytes.
fn spread(octets: [u8; 4]) -> [u8; 16] {
    let mut all = [0; 16];
    for (to, from) in all.iter_mut().zip(octets) {
        *to = from;
    }
    all
}

fn in_words(bytes: [u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = chunk.try_into().map_or(0, u32::from_ne_bytes);
    }
    words
}
