//! Numbers that look random and come again with the same seed.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Seeded by `TRACER_SEED`, or by chance. The seed is returned, so that it can be printed.
    pub fn seeded() -> (Self, u64) {
        let given = std::env::var("TRACER_SEED").ok();
        let seed = given
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| RandomState::new().hash_one(0));
        (Self(seed), seed)
    }

    /// With this seed.
    pub fn with(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// A time below `end`, in microseconds.
    pub fn time(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.below(end.as_micros().max(1) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut one, mut two) = (Random::with(1), Random::with(1));
        // the first value of the reference implementation for seed 1
        assert_eq!(one.number(), 0x910a_2dec_8902_5cc1);
        assert_eq!(two.number(), 0x910a_2dec_8902_5cc1);
        assert_ne!(one.number(), one.number());
    }
}
