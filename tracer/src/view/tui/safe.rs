//! Text that takes exactly the columns that are counted for it, whatever it is made of.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar as _;

/// Replaces everything of which terminals may disagree how wide it is or where it stands: controls,
/// invisible and combining characters, emoji, scripts that are written from the right or join. With
/// `ascii` everything that is not ASCII.
pub(super) fn safe(text: &str, ascii: bool) -> Cow<'_, str> {
    let good = |c: char| {
        if ascii {
            matches!(c, ' '..='~')
        } else {
            certain(c)
        }
    };
    if text.chars().all(good) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if good(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // these are ours
            '…' => out.push_str("..."),
            '→' => out.push_str("->"),
            c => out.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

/// Every terminal shows this in as many columns as [`columns`] says.
fn certain(c: char) -> bool {
    let narrow = matches!(u32::from(c),
        // Latin, Greek, Cyrillic
        0x20..=0x7E | 0xA1..=0xAC | 0xAE..=0x2FF | 0x370..=0x52F | 0x1E00..=0x1FFF
        // punctuation, arrows, operators, lines and blocks, our marks
        | 0x2010..=0x2027 | 0x2030..=0x205E | 0x2190..=0x22FF | 0x2500..=0x25FF
        | 0x2713 | 0x2717 | 0x27E6 | 0x27E7
    );
    let wide = matches!(u32::from(c),
        // Chinese, Japanese, Korean
        0x2E80..=0x303E | 0x3041..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF
        | 0xFF01..=0xFF60 | 0xFFE0..=0xFFE6 | 0x2_0000..=0x3_FFFD
    );
    match c.width() {
        Some(1) => narrow,
        Some(2) => wide,
        _ => false,
    }
}

/// Columns that safe text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The longest head of safe text that fits.
pub(super) fn head(text: &str, width: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > width {
            return &text[..at];
        }
    }
    text
}

/// Cut in the middle: the end of an address says more than its beginning.
pub(super) fn cut_middle(text: &str, width: usize, more: &str) -> String {
    let have = text.chars().count();
    if have <= width {
        return text.to_owned();
    }
    let left = width.saturating_sub(more.chars().count());
    // in little room all of it
    let front = if left < 12 { 0 } else { left / 3 };
    let begin: String = text.chars().take(front).collect();
    let end: String = text.chars().skip(have - (left - front)).collect();
    format!("{begin}{more}{end}")
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::any, proptest};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("lxc-größe", "lxc-größe")]
    #[case("a\u{1b}[2Jb", r"a\u{1b}[2Jb")]
    #[case("e\u{301}\u{301}", r"e\u{301}\u{301}")]
    #[case("漢字", "漢字")]
    #[case("\u{1f600}", r"\u{1f600}")]
    #[case("\u{1f1e9}\u{1f1ea}", r"\u{1f1e9}\u{1f1ea}")]
    #[case("ﷺ", r"\u{fdfa}")]
    #[case("שלום", r"\u{5e9}\u{5dc}\u{5d5}\u{5dd}")]
    #[case("a\u{200d}b", r"a\u{200d}b")]
    fn only_what_is_certain(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(safe(text, false), shown);
    }

    #[rstest]
    #[case("abcdef", 6, "abcdef")]
    #[case("abcdef", 5, "abcde")]
    #[case("漢字漢字", 5, "漢字")]
    #[case("abc", 0, "")]
    fn heads(#[case] text: &str, #[case] width: usize, #[case] shown: &str) {
        assert_eq!(head(text, width), shown);
    }

    #[test]
    fn keeps_the_end_of_an_address() {
        assert_eq!(cut_middle("2001:db8:44:1::10", 12, "…"), "…b8:44:1::10");
        assert_eq!(cut_middle("2001:db8:44:1::10", 16, "…"), "2001:…8:44:1::10");
        assert_eq!(cut_middle("10.0.0.1", 12, "…"), "10.0.0.1");
    }

    proptest! {
        #[test]
        fn never_wider_than_asked(text in any::<String>(), width in 0_usize..40) {
            let text = safe(&text, false);
            assert!(text.chars().all(certain));
            assert!(columns(head(&text, width)) <= width);
            assert!(cut_middle(&text, width, "…").chars().count() <= width.max(1));
        }
    }
}
