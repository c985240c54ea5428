//! Sizes as people type them.

/// Parses `64K`, `100M`, `2G` (powers of 1024, as tcpdump has them); a bare number is in units of
/// `unit` bytes.
fn parse(text: &str, unit: u64) -> Result<u64, String> {
    let expected = || "expected a size such as 100M or 2G".to_owned();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let factor = match suffix.to_ascii_lowercase().as_str() {
        "" => unit,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_e| expected())?;
    match number.checked_mul(factor) {
        Some(0) => Err("the size must be more than 0".to_owned()),
        Some(size) => Ok(size),
        None => Err("the size is too large".to_owned()),
    }
}

/// A bare number is in bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    parse(text, 1)
}

/// A bare number is in millions of bytes, as in `tcpdump -C`.
pub(super) fn millions(text: &str) -> Result<u64, String> {
    parse(text, 1_000_000)
}

/// A bare number is in KiB, as in `tcpdump -B`; at most 1 GiB, the largest ring buffer.
pub(super) fn buffer(text: &str) -> Result<u32, String> {
    let size = parse(text, 1 << 10)?;
    match u32::try_from(size) {
        Ok(size) if size <= 1 << 30 => Ok(size),
        _ => Err("the largest buffer is 1G".to_owned()),
    }
}

/// `1.5 MiB`.
pub(super) fn text(bytes: u64) -> String {
    let (mut n, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if n < 1024.0 {
            break;
        }
        (n, unit) = (n / 1024.0, next);
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{n:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1", Ok(1))]
    #[case("64k", Ok(65_536))]
    #[case("100M", Ok(100 << 20))]
    #[case("2GiB", Ok(2 << 30))]
    #[case("0", Err(()))]
    #[case("1.5M", Err(()))]
    #[case("M", Err(()))]
    #[case("99999999999G", Err(()))]
    fn sizes(#[case] typed: &str, #[case] size: Result<u64, ()>) {
        assert_eq!(bytes(typed).map_err(drop), size);
    }

    #[test]
    fn a_bare_number_is_what_tcpdump_makes_of_it() {
        assert_eq!(millions("3"), Ok(3_000_000));
        assert_eq!(buffer("4096"), Ok(4 << 20));
        assert!(buffer("2G").is_err());
    }

    #[test]
    fn shown() {
        assert_eq!(text(900), "900 B");
        assert_eq!(text(1_572_864), "1.5 MiB");
    }
}
