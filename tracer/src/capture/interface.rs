//! Interface blocks: one for each namespace, device and direction.

use super::{
    block::{
        IF_DESCRIPTION, IF_NAME, IF_OS, IF_TSRESOL, INTERFACE, ISB_IFDROP, ISB_IFRECV, OPT_PLACE,
        Put, STATISTICS,
    },
    hash::FastMap,
    options::{Options, u16_at, u32_at},
};
use crate::{
    event::{Dir, Ifindex, NetnsId, PacketPlace, RawPacket},
    inventory::Inventory,
};

/// `LINKTYPE_ETHERNET`. tcpdump opens only files whose interfaces are all of one type, so that
/// packets without a link header get one of zeros.
const ETHERNET: u16 = 1;
/// Nanoseconds, as a power of ten.
const NANOSECONDS: u8 = 9;

/// What happens to the packets of an interface block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// They come in.
    In,
    /// They leave.
    Out,
    /// They end.
    Drop,
}

impl What {
    pub(super) fn of(place: &PacketPlace) -> Self {
        match place {
            PacketPlace::Device(Dir::In) => Self::In,
            PacketPlace::Device(Dir::Out) => Self::Out,
            PacketPlace::Drop(_) => Self::Drop,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Drop => "drop",
        }
    }

    fn from_number(n: u32) -> Option<Self> {
        [Self::In, Self::Out, Self::Drop].get(n as usize).copied()
    }
}

/// Where the packets of an interface block were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interface {
    /// Namespace; 0 when the packets carried none.
    pub netns: NetnsId,
    /// Device; 0 when the packets carried none.
    pub dev: Ifindex,
    /// What happens to them there.
    pub what: What,
}

impl Interface {
    /// `eth0 in`, `pod-a/eth0 drop`.
    pub fn name(&self, inventory: &Inventory) -> String {
        let what = self.what.name();
        let dev = match self.dev {
            Ifindex(0) => "?".to_owned(),
            dev => inventory.dev_name(self.netns, dev),
        };
        if self.netns == inventory.home || self.netns.0 == 0 {
            return format!("{dev} {what}");
        }
        let netns = inventory.netns.get(&self.netns);
        match netns.and_then(|n| n.name.as_deref()) {
            Some(name) => format!("{name}/{dev} {what}"),
            None => format!("{}/{dev} {what}", self.netns.0),
        }
    }

    fn put(&self, out: &mut Vec<u8>, inventory: &Inventory, snaplen: u32) {
        let mut b = Put::begin(out, INTERFACE);
        b.u16(ETHERNET);
        b.u16(0);
        b.u32(snaplen);
        b.option(IF_NAME, self.name(inventory).as_bytes());
        let about = format!(
            "node {}, network namespace {}, ifindex {}, {}",
            inventory.node,
            self.netns.0,
            self.dev.0,
            self.what.name()
        );
        b.option(IF_DESCRIPTION, about.as_bytes());
        b.option(IF_TSRESOL, &[NANOSECONDS]);
        b.option(IF_OS, format!("Linux {}", inventory.kernel).as_bytes());
        let mut place = [0; 12];
        place[..4].copy_from_slice(&self.netns.0.to_le_bytes());
        place[4..8].copy_from_slice(&self.dev.0.to_le_bytes());
        place[8..].copy_from_slice(&(self.what as u32).to_le_bytes());
        b.option(OPT_PLACE, &place);
        b.end_options();
    }

    /// From the body of an interface block; `None` when it is none of tracer's.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        if u16_at(body, 0)? != ETHERNET {
            return None;
        }
        let mut options = Options(body.get(8..)?);
        let (_, place) = options.find(|(code, _)| *code == OPT_PLACE)?;
        Some(Self {
            netns: NetnsId(u32_at(place, 0)?),
            dev: Ifindex(u32_at(place, 4)?),
            what: What::from_number(u32_at(place, 8)?)?,
        })
    }
}

/// The interface blocks of a file, and how many packets each has.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    numbers: FastMap<Interface, u32>,
    packets: Vec<u64>,
}

impl Interfaces {
    /// The number of the packet's interface; its block is written when it is new.
    pub(super) fn number(
        &mut self,
        p: &RawPacket<'_>,
        out: &mut Vec<u8>,
        inventory: &Inventory,
        snaplen: u32,
    ) -> u32 {
        let interface = Interface {
            netns: p.netns.unwrap_or_default(),
            dev: p.dev.unwrap_or_default(),
            what: What::of(&p.place),
        };
        let next = self.packets.len() as u32;
        let number = *self.numbers.entry(interface).or_insert_with(|| {
            interface.put(out, inventory, snaplen);
            next
        });
        if number == next {
            self.packets.push(0);
        }
        self.packets[number as usize] += 1;
        number
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.packets.len()
    }

    /// How many packets each had. `lost` is not known by interface and is said of the first.
    pub(super) fn statistics(&self, out: &mut Vec<u8>, wall_ns: u64, lost: u64) {
        for (number, packets) in self.packets.iter().enumerate() {
            let lost = if number == 0 { lost } else { 0 };
            let mut b = Put::begin(out, STATISTICS);
            b.u32(number as u32);
            b.u32((wall_ns >> 32) as u32);
            b.u32(wall_ns as u32);
            b.option(ISB_IFRECV, &(packets + lost).to_le_bytes());
            b.option(ISB_IFDROP, &lost.to_le_bytes());
            b.end_options();
        }
    }
}
