//! Numbers and times in few columns.

/// At most five columns: `9999`, `12.3k`, `123k`, `4.5M`.
pub(super) fn short(n: u64) -> String {
    if n < 10_000 {
        return n.to_string();
    }
    let (mut value, mut unit) = (n as f64, "");
    for next in ["k", "M", "G", "T", "P", "E"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if value < 99.95 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

/// A rate per second; below 10 with a decimal.
pub(super) fn rate(per_second: f64) -> String {
    if per_second <= 0.0 {
        "0".to_owned()
    } else if per_second < 0.1 {
        "<0.1".to_owned()
    } else if per_second < 9.95 {
        format!("{per_second:.1}")
    } else {
        short(per_second.round() as u64)
    }
}

/// A mean rate after `seconds` in which it was `now`: of about the last two seconds, so that traffic
/// in bursts can be read. Little is nothing.
pub(super) fn smooth(before: f64, now: f64, seconds: f64) -> f64 {
    const MEMORY: f64 = 2.0;
    let new = before + (now - before) * (1.0 - (-seconds / MEMORY).exp());
    if new < 0.05 { 0.0 } else { new }
}

/// Bits per second in few columns: `1.2Mb`.
pub(super) fn bits(bytes_per_second: f64) -> String {
    format!("{}b", rate(bytes_per_second * 8.0))
}

/// Bytes in few columns: `1.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// How long ago, in at most four columns: `3s`, `12m`, `5h`, `9d`.
pub(super) fn age(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    match s {
        0..100 => format!("{s}s"),
        100..6000 => format!("{}m", s / 60),
        6000..360_000 => format!("{}h", s / 3600),
        _ => format!("{}d", s / 86_400),
    }
}

/// `00:01:02` since the start.
pub(super) fn elapsed(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0")]
    #[case(9_999, "9999")]
    #[case(12_345, "12.3k")]
    #[case(999_600, "1.0M")]
    #[case(123_456_789, "123M")]
    #[case(u64::MAX, "18.4E")]
    fn counts(#[case] n: u64, #[case] shown: &str) {
        assert_eq!(short(n), shown);
    }

    #[rstest]
    #[case(0.0, "0")]
    #[case(0.01, "<0.1")]
    #[case(3.21, "3.2")]
    #[case(99.6, "100")]
    #[case(f64::INFINITY, "18.4E")]
    fn rates(#[case] n: f64, #[case] shown: &str) {
        assert_eq!(rate(n), shown);
    }

    #[rstest]
    #[case(99, "99s")]
    #[case(125, "2m")]
    #[case(7200, "2h")]
    #[case(864_000, "10d")]
    fn ages(#[case] seconds: u64, #[case] shown: &str) {
        assert_eq!(age(seconds * 1_000_000_000), shown);
    }
}
