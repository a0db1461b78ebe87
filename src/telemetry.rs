//! The log: one JSON object a line on stderr, in the shape that etcd's (zap's) lines have.
//!
//! ```json
//! {"level":"info","ts":"2026-01-02T15:04:05.000000Z","caller":"server/mod.rs:42","msg":"ready","key":"value"}
//! ```
//!
//! The program says what happens through `tracing`; [`init`] makes lines of it. Two names of fields are special:
//!
//! - a name that ends in `.json` holds JSON text: it is written as it is, under the name without the ending (lists);
//! - lines of the target [`FATAL`] have level `fatal`: the last words of a program that cannot go on.
//!
//! Panics become lines of level `panic`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::PanicHookInfo;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::config::LogLevel;
use crate::env;

/// The target of lines that end the program.
pub const FATAL: &str = "lodemark::fatal";

/// Ours; lines of other crates say where they come from.
const OWN_TARGET: &str = env!("CARGO_CRATE_NAME");
/// The ending of names whose values are JSON already.
const JSON_SUFFIX: &str = ".json";

/// Writes lines from `level` on to stderr, for the rest of the program's life. Does nothing the second time.
pub fn init(level: LogLevel) {
    let subscriber = tracing_subscriber::registry().with(ZapLines.with_filter(filter(level)));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(write_panic));
    }
}

/// The libraries below tell of every frame and message: their warnings are enough.
fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Panic | LogLevel::Fatal => LevelFilter::OFF,
    };
    let foreign = own.min(LevelFilter::WARN);
    Targets::new().with_default(foreign).with_target(OWN_TARGET, own).with_target(FATAL, LevelFilter::ERROR)
}

/// Makes a line of every event.
struct ZapLines;

impl<S: Subscriber> Layer<S> for ZapLines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        let mut line = Line::new(level_name(meta), env::unix_time());
        if meta.target().split("::").next() != Some(OWN_TARGET) {
            line.text("logger", meta.target().split("::").next().unwrap_or_default());
        }
        line.text("caller", &caller(meta.file(), meta.line(), meta.target()));
        line.text("msg", &fields.message);
        line.0.push_str(&fields.rest);
        line.write();
    }
}

fn level_name(meta: &Metadata<'_>) -> &'static str {
    if meta.target() == FATAL {
        return "fatal";
    }
    match *meta.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// Folder, file and line; never empty.
fn caller(file: Option<&str>, line: Option<u32>, target: &str) -> String {
    let Some(file) = file else { return target.to_owned() };
    let start = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{}", &file[start..], line.unwrap_or(0))
}

fn write_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let what = payload.downcast_ref::<&str>().copied();
    let what =
        what.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a value that is no text");
    let location = info.location();
    let mut line = Line::new("panic", env::unix_time());
    line.text("caller", &caller(location.map(std::panic::Location::file), location.map(|at| at.line()), "unknown"));
    line.text("msg", "a thread panicked; this is a bug");
    line.text("error", what);
    line.text("thread", std::thread::current().name().unwrap_or("unnamed"));
    let trace = std::backtrace::Backtrace::capture();
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        line.text("stacktrace", &trace.to_string());
    }
    line.write();
}

/// A line in the making: an object that is not closed yet.
struct Line(String);

impl Line {
    fn new(level: &str, since_epoch: std::time::Duration) -> Line {
        let mut line = Line(String::with_capacity(256));
        line.0.push_str("{\"level\":");
        push_text(&mut line.0, level);
        line.text("ts", &timestamp(since_epoch));
        line
    }

    fn text(&mut self, name: &str, value: &str) {
        push_name(&mut self.0, name);
        push_text(&mut self.0, value);
    }

    /// Writes the line in one piece, so that those of several threads do not mix.
    fn write(mut self) {
        self.0.push_str("}\n");
        // Nowhere to complain if stderr is gone.
        let _ = std::io::stderr().lock().write_all(self.0.as_bytes());
    }
}

/// The fields of an event: the message, and the others as `,"name":value` each.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn raw(&mut self, field: &Field, value: impl std::fmt::Display) {
        push_name(&mut self.rest, field.name());
        // Writing into a string cannot fail.
        let _ = write!(self.rest, "{value}");
    }

    fn any_text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else if let Some(name) = field.name().strip_suffix(JSON_SUFFIX) {
            push_name(&mut self.rest, name);
            self.rest.push_str(value);
        } else {
            push_name(&mut self.rest, field.name());
            push_text(&mut self.rest, value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.any_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.any_text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity.
        if value.is_finite() { self.raw(field, value) } else { self.any_text(field, &value.to_string()) }
    }
}

fn push_name(line: &mut String, name: &str) {
    line.push(',');
    push_text(line, name);
    line.push(':');
}

/// Writes `value` as JSON: a text, a list of texts.
fn push_text(line: &mut String, value: &str) {
    line.push_str(&json(value));
}

/// Writes `value` as JSON, for fields whose name ends in `.json`.
#[must_use]
pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and lists of texts have a JSON form")
}

/// Writes a moment as etcd does, in UTC.
fn timestamp(since_epoch: std::time::Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let micros = since_epoch.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
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
    use std::time::Duration;

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
    }

    #[test]
    fn callers_are_short() {
        assert_eq!(caller(Some("src/node/start.rs"), Some(7), "t"), "node/start.rs:7");
        assert_eq!(caller(Some("src/main.rs"), Some(7), "t"), "src/main.rs:7");
        assert_eq!(caller(Some("main.rs"), None, "t"), "main.rs:0");
        assert_eq!(caller(None, None, "t"), "t");
    }

    #[test]
    fn lines_are_json_whatever_is_in_them() {
        let mut line = Line::new("info", Duration::ZERO);
        line.text("msg", "quote \" and\nline");
        line.0.push_str(",\"n\":1}");
        let value: serde_json::Value = serde_json::from_str(&line.0).unwrap();
        assert_eq!(value["msg"], "quote \" and\nline");
    }
}
