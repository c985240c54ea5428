//! One copy of what most flows have alike.

use std::{
    hash::{BuildHasher as _, Hash},
    sync::Arc,
};

use foldhash::fast::FixedState;

/// Values that are told apart; more are not shared as well as they could be.
const PLACES: u64 = 1024;

/// Keeps the last value at each place, and gives that one to everybody who has an equal one: most
/// of 100,000 flows take one of a few decisions.
#[derive(Debug)]
pub(super) struct Shared<T> {
    hasher: FixedState,
    /// None until the first value.
    places: Vec<Option<Arc<T>>>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            hasher: FixedState::default(),
            places: Vec::new(),
        }
    }
}

impl<T: Hash + PartialEq> Shared<T> {
    /// The value, without a second copy of it where one is there.
    pub(super) fn share(&mut self, value: T) -> Arc<T> {
        if self.places.is_empty() {
            self.places.resize(PLACES as usize, None);
        }
        let place = (self.hasher.hash_one(&value) % PLACES) as usize;
        match &mut self.places[place] {
            Some(known) if **known == value => known.clone(),
            other => other.insert(Arc::new(value)).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one() {
        let mut shared = Shared::default();
        let [a, b] = ["default via fe80::1", "10.244.2.0/24"].map(String::from);
        let first = shared.share(a.clone());
        let other = shared.share(b.clone());
        assert_eq!((&*first, &*other), (&a, &b));
        assert!(Arc::ptr_eq(&other, &shared.share(b)));
    }

    #[test]
    fn one_that_takes_the_place_of_another_is_itself() {
        let mut shared = Shared::default();
        for n in 0..10 * PLACES {
            assert_eq!(*shared.share(n), n);
        }
    }
}
