//! Whole numbers as JSON may write them: `17`, `1.70e1`, `170e-1`, each also as a text.
//!
//! Source: protobuf's JSON mapping as Go reads it, `protobuf-go/internal/encoding/json/decode_number.go`.

/// More digits than any number of 64 bits has.
const DIGITS_MAX: usize = 20;

/// The number that a JSON number is, if it is a whole one that 64 bits may hold.
pub(super) fn whole(number: &str) -> Option<i128> {
    let (parts, rest) = Parts::split(number)?;
    if rest.is_empty() { parts.whole() } else { None }
}

/// The same of the content of a JSON text. What follows a number and a delimiter does not count, as in Go.
pub(super) fn whole_in_text(text: &str) -> Option<i128> {
    if text.trim() != text {
        return None;
    }
    let (parts, rest) = Parts::split(text)?;
    let goes_on = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_');
    if rest.starts_with(goes_on) { None } else { parts.whole() }
}

/// A number in decimal digits.
struct Parts<'a> {
    is_negative: bool,
    digits: &'a str,
    fraction: &'a str,
    exponent: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes a number from the front of a text; gives what follows it, too.
    fn split(text: &'a str) -> Option<(Parts<'a>, &'a str)> {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (digits, mut text) = split_digits(text);
        if digits.is_empty() || (digits.starts_with('0') && digits.len() > 1) {
            return None;
        }
        let mut fraction = "";
        if let Some(rest) = text.strip_prefix('.') {
            (fraction, text) = split_digits(rest);
            if fraction.is_empty() {
                return None;
            }
        }
        let mut exponent = "";
        if let Some(rest) = text.strip_prefix(['e', 'E']) {
            let sign = usize::from(rest.starts_with(['+', '-']));
            let (digits, after) = split_digits(&rest[sign..]);
            if digits.is_empty() {
                return None;
            }
            exponent = &rest[..sign + digits.len()];
            text = after;
        }
        // What does not count: a zero before the point, zeros behind the last digit.
        let digits = if digits == "0" { "" } else { digits };
        Some((Parts { is_negative, digits, fraction: fraction.trim_end_matches('0'), exponent }, text))
    }

    fn whole(&self) -> Option<i128> {
        if self.digits.is_empty() && self.fraction.is_empty() {
            return Some(0);
        }
        let exponent: i32 = if self.exponent.is_empty() { 0 } else { self.exponent.parse().ok()? };
        let shift = usize::try_from(exponent.unsigned_abs()).ok()?;
        let magnitude: i128 = if exponent >= 0 {
            let zeros = shift.checked_sub(self.fraction.len())?;
            if self.digits.len() + shift > DIGITS_MAX {
                return None;
            }
            format!("{}{}{}", self.digits, self.fraction, "0".repeat(zeros)).parse().ok()?
        } else {
            let (whole, cut_off) = self.digits.split_at_checked(self.digits.len().checked_sub(shift)?)?;
            if !self.fraction.is_empty() || whole.len() > DIGITS_MAX || cut_off.bytes().any(|digit| digit != b'0') {
                return None;
            }
            if whole.is_empty() { 0 } else { whole.parse().ok()? }
        };
        Some(if self.is_negative { -magnitude } else { magnitude })
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_have_a_fraction_and_an_exponent_if_it_is_whole() {
        for (text, number) in [
            ("0", 0),
            ("-0", 0),
            ("0.0", 0),
            ("17", 17),
            ("-17.00", -17),
            ("1e3", 1000),
            ("1.5e1", 15),
            ("1.50E+2", 150),
            ("1700e-2", 17),
            ("0.5e1", 5),
            ("18446744073709551615", i128::from(u64::MAX)),
            ("-9223372036854775808", i128::from(i64::MIN)),
        ] {
            assert_eq!((whole(text), whole_in_text(text)), (Some(number), Some(number)), "{text}");
        }
        for text in
            ["", "-", "1.5", "1e-1", "15e-2", "1.5e0", "1e20", "1e99999999999", "01", "1.", "1e", "x", "+1", "1x"]
        {
            assert_eq!((whole(text), whole_in_text(text)), (None, None), "{text}");
        }
    }

    #[test]
    fn a_number_in_a_text_ends_at_a_delimiter() {
        assert_eq!((whole_in_text("1 2"), whole_in_text("1,x"), whole_in_text("1/")), (Some(1), Some(1), Some(1)));
        assert_eq!(
            (whole_in_text(" 1"), whole_in_text("1\n"), whole_in_text("1_0"), whole_in_text("null")),
            (None, None, None, None)
        );
    }
}
