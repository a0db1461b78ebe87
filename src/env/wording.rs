//! Quantities in words, as etcd's log lines have them: durations as Go writes them, sizes in powers of ten.

use std::time::Duration;

/// Writes a duration as Go does: `300ms`, `1.5s`, `1h0m0s`.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.is_zero() => "0s".to_owned(),
        // Up to here Rust writes the same.
        0..60 => format!("{duration:?}"),
        _ => {
            let rest = Duration::new(seconds % 60, duration.subsec_nanos());
            // In seconds, however few.
            let rest = if rest.as_secs() == 0 {
                let text = format!("{:?}", rest + Duration::from_secs(1));
                text.replacen('1', "0", 1)
            } else {
                format!("{rest:?}")
            };
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            if hours > 0 { format!("{hours}h{minutes}m{rest}") } else { format!("{minutes}m{rest}") }
        }
    }
}

/// Writes a size for people: `20 kB`, `2.1 GB`.
///
/// Source: the Go library humanize, `Bytes`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut unit, mut scale) = (0, 1_u128);
    while u128::from(bytes) >= scale * 1000 {
        scale *= 1000;
        unit += 1;
    }
    // In tenths, rounded to the nearest.
    let tenths = (u128::from(bytes) * 10 + scale / 2) / scale;
    let (whole, tenth, unit) = (tenths / 10, tenths % 10, UNITS[unit]);
    if tenths < 100 {
        return format!("{whole}.{tenth} {unit}");
    }
    // Go rounds what lies in the middle to the even side.
    let is_up = tenth > 5 || (tenth == 5 && whole % 2 == 1);
    format!("{} {unit}", whole + u128::from(is_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (duration, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(1_526_970), "1.52697ms"),
            (Duration::from_micros(796), "796µs"),
            (Duration::from_millis(1500), "1.5s"),
            (Duration::from_secs(60), "1m0s"),
            (Duration::from_millis(60_500), "1m0.5s"),
            (Duration::from_secs(5400), "1h30m0s"),
            (Duration::from_millis(3_611_250), "1h0m11.25s"),
        ] {
            assert_eq!(go_duration(duration), text);
        }
    }

    #[test]
    fn sizes_are_written_as_humanize_writes_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (20_480, "20 kB"),
            (2_147_483_648, "2.1 GB"),
            (8_589_934_592, "8.6 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
