//! How far two clocks are apart, and how long packets took.

/// The difference of two nodes' clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// What to add to a time of A for one of B, nanoseconds.
    pub offset_ns: i64,
    /// Packets of both directions were seen on both. Otherwise the fastest packet is taken to have
    /// needed no time.
    pub both_ways: bool,
}

impl Clocks {
    /// From the shortest time that a packet took in each direction, by two clocks. When the fastest
    /// packets of both directions needed the same time, the result is exact; it is wrong by at most
    /// half of what both needed together.
    pub(super) fn estimate(a_to_b: Option<i64>, b_to_a: Option<i64>) -> Option<Self> {
        match (a_to_b, b_to_a) {
            (Some(ab), Some(ba)) => Some(Self {
                // rounded down on both sides of zero, so that a clock that is put forward by so much
                // moves the result by just that
                offset_ns: (i128::from(ab) - i128::from(ba)).div_euclid(2) as i64,
                both_ways: true,
            }),
            (Some(ab), None) => Some(Self {
                offset_ns: ab,
                both_ways: false,
            }),
            (None, Some(ba)) => Some(Self {
                offset_ns: ba.checked_neg()?,
                both_ways: false,
            }),
            (None, None) => None,
        }
    }
}

/// How long packets took, by clocks that were put right. Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// The fastest.
    pub min: i64,
    /// Half took no longer.
    pub p50: i64,
    /// 95 of 100 took no longer.
    pub p95: i64,
    /// The slowest.
    pub max: i64,
}

impl Delays {
    /// `None` for no packets.
    pub(super) fn of(mut delays: Vec<i64>) -> Option<Self> {
        delays.sort_unstable();
        let at = |part: usize| -> Option<i64> {
            let last = delays.len().checked_sub(1)?;
            delays.get(last * part / 100).copied()
        };
        Some(Self {
            min: at(0)?,
            p50: at(50)?,
            p95: at(95)?,
            max: at(100)?,
        })
    }
}
