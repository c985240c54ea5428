//! What this kernel and these privileges allow.

use super::{Style, Tone};

/// One thing that tracer uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is, with what it is for.
    pub what: String,
    /// It is usable.
    pub ok: bool,
    /// What to do when it is not; empty when nothing is to be done.
    pub remedy: String,
}

/// One line for each, and one for its remedy.
pub fn features(style: Style, list: &[Feature]) -> String {
    let mut out = String::new();
    for f in list {
        let mark = if f.ok {
            style.paint(Tone::Good, "ok     ")
        } else {
            style.paint(Tone::Bad, "MISSING")
        };
        out.extend([&mark, "  ", &style.sentence(&f.what), "\n"]);
        if !f.ok && !f.remedy.is_empty() {
            out.extend(["         ", &style.sentence(&f.remedy), "\n"]);
        }
    }
    let missing = list.iter().filter(|f| !f.ok).count();
    let missing = match missing {
        0 => "Everything that tracer uses is there.\n".to_owned(),
        n => format!("{n} of {} missing.\n", list.len()),
    };
    out + &missing
}
