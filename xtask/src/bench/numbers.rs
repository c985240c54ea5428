//! Medians with their spread.

use serde_json::{Value, json};

/// The middle of some measurements, the lowest and the highest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

impl Spread {
    /// Of no measurements it is 0.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        Self {
            low: at(0),
            median: f64::midpoint(at(last / 2), at(values.len() / 2)),
            high: at(last),
        }
    }

    pub(super) fn json(self) -> Value {
        json!({"median": self.median, "low": self.low, "high": self.high})
    }

    /// `0.91 (0.88–0.93)`, with so many places behind the point.
    pub(super) fn show(self, places: usize) -> String {
        let (low, median, high) = (self.low, self.median, self.high);
        format!("{median:.places$} ({low:.places$}–{high:.places$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 2.5, 4.0));
        let odd = Spread::of([7.0, 5.0, 6.0]);
        assert_eq!((odd.low, odd.median, odd.high), (5.0, 6.0, 7.0));
        assert_eq!(Spread::of([]), Spread::default());
    }
}
