//! What there is to see of each flow, found out once for all rules.

use std::{collections::HashMap, ops::BitOr};

use foldhash::fast::RandomState;

use super::{
    Context,
    trace::{RST, Trace},
    tunnel_in_native_mode::is_overlay,
};
use crate::{
    event::{Dir, Ifindex, NetnsId},
    inventory::Role,
    model::{Flow, Hop, Outcome},
};

/// Something that rules look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Packets of it ended on this node.
    Dropped = 1,
    /// A sender of it found no route.
    Failed = 2,
    /// ICMP errors are about it.
    Error = 4,
    /// Something of it is not answered, or a handshake does not end.
    Unheard = 8,
    /// It passed a tunnel device, or was encapsulated where it was seen.
    Tunnelled = 16,
    /// Its answers leave by an uplink.
    AnswersOut = 32,
    /// A TCP connection was reset.
    Reset = 64,
    /// Some of it was dropped, or what became of it is that it was lost or not answered.
    Trouble = 128,
}

/// Several of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs(u8);

impl From<Sign> for Signs {
    fn from(sign: Sign) -> Self {
        Self(sign as u8)
    }
}

impl BitOr for Sign {
    type Output = Signs;

    fn bitor(self, other: Self) -> Signs {
        Signs(self as u8 | other as u8)
    }
}

impl BitOr<Sign> for Signs {
    type Output = Self;

    fn bitor(self, other: Sign) -> Self {
        Self(self.0 | other as u8)
    }
}

/// Devices by what they are for.
#[derive(Default)]
struct Devices {
    overlays: HashMap<(NetnsId, Ifindex), bool, RandomState>,
    uplinks: HashMap<(NetnsId, Ifindex), bool, RandomState>,
}

impl Signs {
    pub(super) const fn or(a: Sign, b: Sign) -> Self {
        Self(a as u8 | b as u8)
    }

    /// One of `any` is among these.
    pub(super) fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    /// Of all flows, in their order.
    pub(super) fn of_all(ctx: &Context<'_>) -> Vec<Self> {
        let mut devices = Devices::default();
        let flows = ctx.snapshot.flows.iter();
        flows.map(|f| Self::of(ctx, f, &mut devices)).collect()
    }

    fn of(ctx: &Context<'_>, flow: &Flow, devices: &mut Devices) -> Self {
        let [way, back] = [false, true].map(|is_reply| Trace { flow, is_reply });
        let ways = [way, back];
        let mut signs = Self::default();
        let mut see = |sign: Sign, seen: bool| {
            if seen {
                signs = signs | sign;
            }
        };
        see(Sign::Failed, !flow.route_failures.is_empty());
        for trace in ways {
            let d = trace.dir();
            see(Sign::Dropped, !d.drops.is_empty());
            see(Sign::Error, !d.icmp.is_empty());
            let lost = matches!(
                d.outcome,
                Some(Outcome::Dropped(_) | Outcome::Unanswered(_))
            );
            see(Sign::Trouble, lost || !d.drops.is_empty());
            see(Sign::Reset, d.resets > 0 || d.tcp_flags & RST != 0);
            see(
                Sign::Unheard,
                trace.is_silent(ctx).is_some() || trace.is_handshake_stuck(ctx),
            );
            let tunnelled = trace
                .hops()
                .any(|h| h.encap.is_some() || h.dir == Dir::Out && devices.is_overlay(ctx, h));
            see(Sign::Tunnelled, tunnelled);
        }
        let out = back.exit().filter(|_| way.dir().packets > 0);
        see(
            Sign::AnswersOut,
            out.is_some_and(|h| devices.is_uplink(ctx, h)),
        );
        signs
    }
}

impl Devices {
    fn is_overlay(&mut self, ctx: &Context<'_>, h: &Hop) -> bool {
        let link = || {
            ctx.link(h.netns, h.dev)
                .is_some_and(|l| is_overlay(&l.kind))
        };
        *self.overlays.entry((h.netns, h.dev)).or_insert_with(link)
    }

    fn is_uplink(&mut self, ctx: &Context<'_>, h: &Hop) -> bool {
        let role = || ctx.role(h.netns, h.dev) == Some(Role::Uplink);
        *self.uplinks.entry((h.netns, h.dev)).or_insert_with(role)
    }
}
