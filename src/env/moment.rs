//! Moments, as dates in UTC.

use std::time::Duration;

/// Writes a moment as etcd's log lines have it.
#[must_use]
pub fn timestamp(since_epoch: Duration) -> String {
    let (year, month, day) = civil_date(days(since_epoch));
    let (hour, minute, second) = time_of_day(since_epoch);
    let micros = since_epoch.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Writes a moment so that it can be part of a file's name, and names sort as moments do.
#[must_use]
pub fn timestamp_for_file_name(since_epoch: Duration) -> String {
    let (year, month, day) = civil_date(days(since_epoch));
    let (hour, minute, second) = time_of_day(since_epoch);
    let millis = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}.{millis:03}")
}

fn days(since_epoch: Duration) -> u64 {
    since_epoch.as_secs() / 86_400
}

fn time_of_day(since_epoch: Duration) -> (u64, u64, u64) {
    let seconds = since_epoch.as_secs();
    (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// The Gregorian date of a day, counted from 1970-01-01.
///
/// Years begin in March here, so that the leap day is a year's last: then the days before a month follow a formula.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil_date(days: u64) -> (u64, u64, u64) {
    /// Days of 400 years.
    const ERA_DAYS: u64 = 146_097;
    /// From 0000-03-01 to 1970-01-01.
    const EPOCH_DAYS: u64 = 719_468;
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(timestamp(Duration::from_secs(seconds)), text);
        }
        assert_eq!(timestamp(Duration::new(1, 5_999)), "1970-01-01T00:00:01.000005Z");
        assert_eq!(timestamp_for_file_name(Duration::new(1_767_225_599, 7_900_000)), "2025-12-31T23-59-59.007");
    }
}
