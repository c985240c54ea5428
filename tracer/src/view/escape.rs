//! Names from outside (devices, namespaces, processes) made harmless for a terminal.

use std::borrow::Cow;

/// Replaces what could move the cursor, reorder or hide text: control characters, bidirectional
/// and invisible formatting, line separators, private use. The backslash is doubled, so that the
/// result can be read back.
pub fn escape(s: &str) -> Cow<'_, str> {
    replace(s, |c| c == '\\' || harmful(c))
}

/// As [`escape`], and everything that is not ASCII, for terminals that cannot show it.
pub fn escape_ascii(s: &str) -> Cow<'_, str> {
    replace(s, |c| c == '\\' || !c.is_ascii() || harmful(c))
}

/// As [`escape`] for whole sentences that we composed around names: a backslash stays, because it
/// may come from a name that is escaped already.
pub fn sentence(s: &str, ascii: bool) -> Cow<'_, str> {
    replace(s, |c| harmful(c) || (ascii && !c.is_ascii()))
}

fn replace(s: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !s.chars().any(&bad) {
        return Cow::Borrowed(s);
    }
    let mut out = String::with_capacity(s.len() + 8);
    for c in s.chars() {
        match c {
            c if !bad(c) => out.push(c),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => out.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            // soft hyphen, combining joiner, Arabic letter mark, Hangul and Khmer fillers
            0xAD | 0x34F | 0x61C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x3164 | 0xFFA0
            // Mongolian selectors; zero width, marks, separators, embeddings, isolates
            | 0x180B..=0x180F | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F
            // variation selectors, byte order mark, annotations, private use, tags
            | 0xFE00..=0xFE0F | 0xFEFF | 0xFFF9..=0xFFFB | 0xE000..=0xF8FF
            | 0xE0000..=0xE0FFF | 0xF_0000..=0x10_FFFF
        )
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::any, proptest};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("lxc-p1", "lxc-p1")]
    #[case("größe", "größe")]
    #[case("a\u{1b}[31mb", r"a\u{1b}[31mb")]
    #[case("a\u{9b}31m", r"a\u{9b}31m")]
    #[case("eth0\u{202e}0hte", r"eth0\u{202e}0hte")]
    #[case("a\nb\tc\rd", r"a\nb\tc\u{d}d")]
    #[case(r"a\n", r"a\\n")]
    #[case("a\u{200b}b\u{feff}", r"a\u{200b}b\u{feff}")]
    #[case("\u{e0041}", r"\u{e0041}")]
    fn escapes(#[case] name: &str, #[case] shown: &str) {
        assert_eq!(escape(name), shown);
    }

    #[test]
    fn ascii_only_when_asked() {
        assert_eq!(escape_ascii("größe"), r"gr\u{f6}\u{df}e");
        assert_eq!(sentence("→ a", true), r"\u{2192} a");
        assert_eq!(sentence("a\\n\u{7}", false), "a\\n\\u{7}");
    }

    proptest! {
        #[test]
        fn nothing_harmful_remains(s in any::<String>()) {
            assert!(!escape(&s).chars().any(harmful));
            assert!(escape_ascii(&s).chars().all(|c| c.is_ascii_graphic() || c == ' '));
        }
    }
}
