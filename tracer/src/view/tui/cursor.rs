//! The selected row of a list that changes under it.

/// Follows the selected row by its key. Without a key it stays on the first row, so that whatever is
/// worst is what is shown until the user chooses.
#[derive(Clone, Debug)]
pub(super) struct Cursor<K> {
    key: Option<K>,
    at: usize,
    offset: usize,
}

impl<K> Default for Cursor<K> {
    fn default() -> Self {
        Self {
            key: None,
            at: 0,
            offset: 0,
        }
    }
}

impl<K: PartialEq> Cursor<K> {
    /// Row of the selection.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// First row on the screen.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The rows are other ones now: goes where the selected one is, or stays at the place where it
    /// was.
    pub(super) fn follow(&mut self, len: usize, height: usize, key_at: impl Fn(usize) -> K) {
        if let Some(key) = &self.key {
            // most often it did not move
            let here = self.at < len && key_at(self.at) == *key;
            if !here {
                if let Some(at) = (0..len).find(|i| key_at(*i) == *key) {
                    self.at = at;
                } else {
                    self.at = self.at.min(len.saturating_sub(1));
                    self.key = (self.at < len).then(|| key_at(self.at));
                }
            }
        } else {
            self.at = 0;
        }
        self.scroll(len, height);
    }

    /// Selects a row.
    pub(super) fn go(&mut self, at: usize, len: usize, height: usize, key_at: impl Fn(usize) -> K) {
        if len == 0 {
            return;
        }
        self.at = at.min(len - 1);
        self.key = Some(key_at(self.at));
        self.scroll(len, height);
    }

    /// The first row, whatever it will be.
    pub(super) fn top(&mut self) {
        *self = Self::default();
    }

    fn scroll(&mut self, len: usize, height: usize) {
        let height = height.max(1);
        self.offset = self.offset.min(len.saturating_sub(height));
        if self.at < self.offset {
            self.offset = self.at;
        } else if self.at >= self.offset + height {
            self.offset = self.at + 1 - height;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(keys: &[u32]) -> impl Fn(usize) -> u32 + '_ {
        |i| keys[i]
    }

    #[test]
    fn stays_on_the_first_row_until_it_is_moved() {
        let mut c = Cursor::default();
        c.follow(3, 2, at(&[1, 2, 3]));
        c.follow(3, 2, at(&[9, 1, 2]));
        assert_eq!(c.at(), 0);
        c.go(1, 3, 2, at(&[9, 1, 2]));
        c.follow(4, 2, at(&[8, 9, 7, 1]));
        assert_eq!((c.at(), c.offset()), (3, 2));
        c.follow(2, 2, at(&[8, 9]));
        assert_eq!((c.at(), c.offset()), (1, 0));
        c.top();
        c.follow(2, 2, at(&[5, 9]));
        assert_eq!(c.at(), 0);
    }

    #[test]
    fn nothing_to_select() {
        let mut c: Cursor<u32> = Cursor::default();
        c.go(5, 0, 3, |_| 0);
        c.follow(0, 0, |_| 0);
        assert_eq!((c.at(), c.offset()), (0, 0));
    }
}
