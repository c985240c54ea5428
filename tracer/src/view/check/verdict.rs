//! The verdict.

use super::Run;

/// The kinds of verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// Everything is as expected, and the view was complete.
    Pass,
    /// Something is not as expected.
    Fail,
    /// Cannot be told.
    Inconclusive,
}

impl Judgement {
    /// The name in machine output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// 0 pass, 3 fail, 4 inconclusive.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 3,
            Self::Inconclusive => 4,
        }
    }
}

/// The judgement with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Pass, fail or inconclusive.
    pub outcome: Judgement,
    /// One sentence each, what decided first. Never empty.
    pub reasons: Vec<String>,
    /// How it was come by.
    pub run: Run,
}

impl Verdict {
    /// 0 pass, 3 fail, 4 inconclusive.
    pub fn exit_code(&self) -> u8 {
        self.outcome.exit_code()
    }
}

/// How many verdicts of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// As expected.
    pub pass: usize,
    /// Not as expected.
    pub fail: usize,
    /// Cannot be told.
    pub inconclusive: usize,
}

impl Tally {
    /// Counts.
    pub fn of(verdicts: impl IntoIterator<Item = Judgement>) -> Self {
        let mut tally = Self::default();
        for v in verdicts {
            match v {
                Judgement::Pass => tally.pass += 1,
                Judgement::Fail => tally.fail += 1,
                Judgement::Inconclusive => tally.inconclusive += 1,
            }
        }
        tally
    }

    /// One failure fails all; a pass of all needs a pass of each, and at least one.
    pub fn worst(&self) -> Judgement {
        match self {
            Self { fail: 1.., .. } => Judgement::Fail,
            Self {
                pass: 1..,
                inconclusive: 0,
                ..
            } => Judgement::Pass,
            _ => Judgement::Inconclusive,
        }
    }
}
