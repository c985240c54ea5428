//! The verdict.

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
}

/// The judgement with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Pass, fail or inconclusive.
    pub outcome: Judgement,
    /// One sentence each, what decided first. Never empty.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// 0 pass, 3 fail, 4 inconclusive.
    pub fn exit_code(&self) -> u8 {
        match self.outcome {
            Judgement::Pass => 0,
            Judgement::Fail => 3,
            Judgement::Inconclusive => 4,
        }
    }
}
