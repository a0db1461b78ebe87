//! Compaction: by itself, and in which steps.

use std::time::Duration;

use super::Error;
use super::value::{self, SignedDuration};
use crate::model::Retention;

const PERIODIC: &str = "periodic";
const REVISION: &str = "revision";
const HOUR_SECONDS: u64 = 60 * 60;

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CompactionSettings {
    pub(super) mode: String,
    pub(super) retention: String,
    pub(super) batch_limit: i64,
    pub(super) sleep_interval: SignedDuration,
}

/// How history is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionConfig {
    /// What stays when the leader compacts by itself; `None` if it does not.
    pub retention: Option<Retention>,
    /// Keys that one step visits; `None` for the default.
    pub step_keys: Option<usize>,
    /// The rest after each step; `None` for the default.
    pub rest: Option<Duration>,
}

/// Checks what was said.
///
/// # Errors
/// A mode that nobody knows, or a retention that cannot be read.
pub(super) fn validate(settings: &CompactionSettings) -> Result<CompactionConfig, Error> {
    let retention = match settings.mode.as_str() {
        PERIODIC => time(&settings.retention)?,
        REVISION => revisions(&settings.retention)?,
        "" => return Err(Error::NoCompactionMode),
        mode => return Err(Error::UnknownCompactionMode { mode: mode.to_owned() }),
    };
    Ok(CompactionConfig {
        retention,
        // A limit below 0 is none.
        step_keys: usize::try_from(settings.batch_limit).ok().filter(|&keys| keys > 0),
        rest: settings.sleep_interval.positive(),
    })
}

/// Whole hours, or a duration.
fn time(text: &str) -> Result<Option<Retention>, Error> {
    let period = match whole_number(text) {
        Some(hours) => Duration::from_secs(hours.saturating_mul(HOUR_SECONDS)),
        None => duration(text)?,
    };
    Ok((!period.is_zero()).then_some(Retention::Time(period)))
}

/// A number of revisions. Source: etcd, `parseCompactionRetention`, reads a duration too, and takes its nanoseconds for
/// revisions.
fn revisions(text: &str) -> Result<Option<Retention>, Error> {
    let revisions = match whole_number(text) {
        Some(revisions) => u128::from(revisions),
        None => duration(text)?.as_nanos(),
    };
    let revisions = i64::try_from(revisions).unwrap_or(i64::MAX);
    Ok((revisions > 0).then_some(Retention::Revisions(revisions)))
}

/// Digits alone; no text at all is 0.
fn whole_number(text: &str) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&number| i64::try_from(number).is_ok())
}

fn duration(text: &str) -> Result<Duration, Error> {
    let unreadable = || Error::CompactionRetention { given: text.to_owned() };
    let SignedDuration { is_negative, length } = value::duration(text).map_err(|_| unreadable())?;
    if is_negative { Err(unreadable()) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retention(mode: &str, retention: &str) -> Result<Option<Retention>, Error> {
        let settings = CompactionSettings {
            mode: mode.to_owned(),
            retention: retention.to_owned(),
            ..CompactionSettings::default()
        };
        validate(&settings).map(|config| config.retention)
    }

    #[test]
    fn a_retention_is_read_as_its_mode_says() {
        let hours = |hours| Some(Retention::Time(Duration::from_secs(hours * HOUR_SECONDS)));
        for (mode, text, expected) in [
            (PERIODIC, "0", None),
            (PERIODIC, "", None),
            (PERIODIC, "1", hours(1)),
            (PERIODIC, "024", hours(24)),
            (PERIODIC, "+2", hours(2)),
            (PERIODIC, "72h", hours(72)),
            (PERIODIC, "0s", None),
            (PERIODIC, "5m", Some(Retention::Time(Duration::from_secs(300)))),
            (PERIODIC, "1h30m", Some(Retention::Time(Duration::from_secs(5400)))),
            (REVISION, "0", None),
            (REVISION, "1000", Some(Retention::Revisions(1000))),
            (REVISION, "2us", Some(Retention::Revisions(2000))),
        ] {
            assert_eq!(retention(mode, text), Ok(expected), "{mode} {text:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_the_words_of_etcd() {
        for (mode, text, why) in [
            ("", "1", "undefined auto-compaction-mode"),
            ("zz", "0", "unknown auto-compaction-mode \"zz\""),
            (PERIODIC, "xx", "error parsing CompactionRetention: time: invalid duration \"xx\""),
            (REVISION, "-5", "error parsing CompactionRetention: time: invalid duration \"-5\""),
            (PERIODIC, "-1h", "error parsing CompactionRetention: time: invalid duration \"-1h\""),
            (
                PERIODIC,
                "99999999999999999999",
                "error parsing CompactionRetention: time: invalid duration \"99999999999999999999\"",
            ),
        ] {
            assert_eq!(retention(mode, text).unwrap_err().to_string(), why, "{mode} {text:?}");
        }
    }

    #[test]
    fn steps_are_those_of_the_program_unless_somebody_asks_for_others() {
        let steps = |batch_limit, sleep_interval| {
            let sleep_interval = value::duration(sleep_interval).unwrap();
            let settings =
                CompactionSettings { mode: PERIODIC.to_owned(), batch_limit, sleep_interval, ..Default::default() };
            let config = validate(&settings).unwrap();
            (config.step_keys, config.rest)
        };
        assert_eq!(steps(0, "0s"), (None, None));
        assert_eq!(steps(-3, "-1s"), (None, None));
        assert_eq!(steps(10, "1h"), (Some(10), Some(Duration::from_secs(HOUR_SECONDS))));
    }
}
