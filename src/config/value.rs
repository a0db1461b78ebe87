//! Values of flags, as Go's `strconv` and `time` read them.

use std::time::Duration;

/// Go's word for a text that is no such value.
pub(super) const NOT_A_VALUE: &str = "parse error";
const OUT_OF_RANGE: &str = "value out of range";

/// As [`number`], with a sign or without one.
///
/// # Errors
/// Go's word for what is wrong.
pub(super) fn signed_number(text: &str) -> Result<i64, &'static str> {
    match text.strip_prefix('-') {
        Some(digits) => number(digits, i64::MAX.cast_unsigned()).map(|value| -value.cast_signed()),
        None => number(text.strip_prefix('+').unwrap_or(text), i64::MAX.cast_unsigned()).map(u64::cast_signed),
    }
}

/// Reads a non-negative number of at most `max`; `0x`, `0o`, `0b`, a leading `0` (octal) and `_` between digits work.
///
/// # Errors
/// Go's word for what is wrong.
pub(super) fn number(text: &str, max: u64) -> Result<u64, &'static str> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    // A mark between two digits, or between the prefix and one.
    let prefixed = digits.len() < lower.len();
    let starts_well = !digits.starts_with('_') || prefixed;
    if !starts_well || digits.ends_with('_') || digits.contains("__") {
        return Err(NOT_A_VALUE);
    }
    let digits = digits.replace('_', "");
    // `from_str_radix` would take a sign.
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(NOT_A_VALUE);
    }
    u64::from_str_radix(&digits, radix).ok().filter(|number| *number <= max).ok_or(OUT_OF_RANGE)
}

/// Reads a truth value.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A duration that may lie in the past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SignedDuration {
    pub(super) is_negative: bool,
    pub(super) length: Duration,
}

impl SignedDuration {
    /// What it is if it is some time at all; flags often take what is none or lies in the past for nothing said.
    pub(super) fn positive(self) -> Option<Duration> {
        (!self.is_negative && !self.length.is_zero()).then_some(self.length)
    }
}

/// Reads a duration such as `300ms` or `1h30m`.
///
/// # Errors
/// Go's word for what is wrong.
pub(super) fn duration(text: &str) -> Result<SignedDuration, &'static str> {
    let (is_negative, mut rest) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::default());
    }
    if rest.is_empty() {
        return Err(NOT_A_VALUE);
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (part, after) = one_part(rest).ok_or(NOT_A_VALUE)?;
        nanos = nanos.checked_add(part).ok_or(NOT_A_VALUE)?;
        rest = after;
    }
    // Go counts them in 63 bits.
    if nanos > i64::MAX as u128 {
        return Err(NOT_A_VALUE);
    }
    let nanos = u64::try_from(nanos).map_err(|_| NOT_A_VALUE)?;
    Ok(SignedDuration { is_negative: is_negative && nanos > 0, length: Duration::from_nanos(nanos) })
}

/// Reads a duration that does not lie in the past, as Go writes it: `300ms`, `1h30m`.
#[must_use]
pub fn unsigned_duration(text: &str) -> Option<Duration> {
    duration(text).ok().filter(|read| !read.is_negative).map(|read| read.length)
}

/// Reads one number with its unit; gives nanoseconds and what follows.
fn one_part(text: &str) -> Option<(u128, &str)> {
    let number_len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(number_len);
    let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_len);
    let unit_nanos: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(unit_nanos)?;
    let mut scale = unit_nanos;
    for digit in fraction.chars() {
        scale /= 10;
        nanos += u128::from(digit.to_digit(10)?) * scale;
    }
    Some((nanos, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_numbers_may_be_below_zero() {
        for (text, value) in [("0", 0), ("-1", -1), ("+7", 7), ("-0x10", -16), ("9223372036854775807", i64::MAX)] {
            assert_eq!(signed_number(text), Ok(value), "{text}");
        }
        for text in ["", "-", "--1", "-+1", "+-1", "- 1"] {
            assert_eq!(signed_number(text), Err(NOT_A_VALUE), "{text:?}");
        }
        assert_eq!(signed_number("9223372036854775808"), Err(OUT_OF_RANGE));
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [("0", 0), ("10000", 10000), ("0x10", 16), ("0b11", 3), ("0o17", 15), ("017", 15)] {
            assert_eq!(number(text, u64::MAX), Ok(value), "{text}");
        }
        assert_eq!(number("1_000", u64::MAX), Ok(1000));
        assert_eq!(number("0x_ff", u64::MAX), Ok(255));
        for text in ["", "-1", "+1", "abc", "1s", " 1", "0x", "_1", "1_", "1__0", "09"] {
            assert_eq!(number(text, u64::MAX), Err(NOT_A_VALUE), "{text:?}");
        }
        assert_eq!(number("99999999999999999999", u64::MAX), Err(OUT_OF_RANGE));
        assert_eq!(number("4294967296", u64::from(u32::MAX)), Err(OUT_OF_RANGE));
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let millis = |text: &str| duration(text).map(|read| read.length.as_millis());
        for (text, value) in [("0", 0), ("0s", 0), ("300ms", 300), ("1h30m", 5_400_000), ("1.5s", 1500), (".5s", 500)] {
            assert_eq!(millis(text), Ok(value), "{text}");
        }
        assert_eq!(millis("+2s"), Ok(2000));
        assert!(duration("-1s").unwrap().is_negative);
        assert!(!duration("-0s").unwrap().is_negative);
        for text in ["", "5", "s", "-", "1d", "1.2.3s", ".s", "1s1", "é", "9999999h9999999h", "1e3s"] {
            assert_eq!(duration(text), Err(NOT_A_VALUE), "{text:?}");
        }
    }
}
