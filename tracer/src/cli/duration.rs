//! Durations as people type them.

use std::time::Duration;

/// Parses `30s`, `500ms`, `2m`, `1h`, `1.5s`; a bare number is in seconds, as `sleep` and
/// `timeout` have it.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a time such as 30s, 500ms or 2m".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_e| "expected a time such as 30s, 500ms or 2m".to_owned())?;
    match Duration::try_from_secs_f64(number * factor) {
        Ok(d) if d.is_zero() => Err("the time must be longer than 0".to_owned()),
        Ok(d) => Ok(d),
        Err(_too_long) => Err("the time is too long".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("30s", 30_000)]
    #[case("500ms", 500)]
    #[case("2m", 120_000)]
    #[case("1h", 3_600_000)]
    #[case("1.5s", 1_500)]
    #[case("30", 30_000)]
    fn good(#[case] text: &str, #[case] ms: u64) {
        assert_eq!(parse(text), Ok(Duration::from_millis(ms)));
    }

    #[rstest]
    #[case("")]
    #[case("s")]
    #[case("10 s")]
    #[case("10x")]
    #[case("-1s")]
    #[case("1.2.3s")]
    #[case("0s")]
    #[case("99999999999999999999999h")]
    #[case("10ß")]
    fn bad(#[case] text: &str) {
        assert!(parse(text).is_err(), "{text}");
    }
}
