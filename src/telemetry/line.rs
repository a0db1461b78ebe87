//! One line: what it says, and the two forms that it is written in.
//!
//! ```text
//! json      {"level":"info","ts":"2026-01-02T15:04:05.000000Z","logger":"raft","caller":"raft/elections.rs:42","msg":"m","a":1}
//! console   2026-01-02T15:04:05.000000Z <tab> info <tab> raft <tab> raft/elections.rs:42 <tab> m <tab> {"a": 1}
//! ```
//!
//! Source: the encoders of zap, as etcd sets them up.

use std::fmt::Write as _;
use std::time::Duration;

use tracing::field::{Field, Visit};

use super::json;
use crate::config::LogFormat;
use crate::env::timestamp;

/// The ending of names whose values are JSON already.
const JSON_SUFFIX: &str = ".json";

/// How grave a line is, by zap's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
    Panic,
    Fatal,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Panic => "panic",
            Level::Fatal => "fatal",
        }
    }
}

/// What a line says.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) at: Duration,
    /// The part of the program that speaks, if that is not the server as such.
    pub(super) logger: Option<String>,
    pub(super) caller: String,
    pub(super) fields: Fields,
}

impl Line {
    /// The line with its end.
    pub(super) fn text(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Json => self.json(),
            LogFormat::Console => self.console(),
        }
    }

    fn json(&self) -> String {
        let mut line = String::with_capacity(256);
        line.push_str("{\"level\":");
        line.push_str(&json(self.level.name()));
        push(&mut line, "ts", &timestamp(self.at));
        if let Some(logger) = &self.logger {
            push(&mut line, "logger", logger);
        }
        push(&mut line, "caller", &self.caller);
        push(&mut line, "msg", &self.fields.message);
        line.push_str(&self.fields.rest);
        line.push_str("}\n");
        line
    }

    fn console(&self) -> String {
        let mut line = timestamp(self.at);
        let logger = self.logger.as_deref();
        let parts = [Some(self.level.name()), logger, Some(&self.caller), Some(&self.fields.message)];
        for part in parts.into_iter().flatten() {
            line.push('\t');
            line.push_str(part);
        }
        if let Some(rest) = self.fields.rest.strip_prefix(',') {
            line.push_str("\t{");
            line.push_str(&spaced(rest));
            line.push('}');
        }
        line.push('\n');
        line
    }
}

/// The fields of an event: the message, and the others as `,"name":value` each.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    rest: String,
}

impl Fields {
    pub(super) fn of_message(message: &str) -> Fields {
        Fields { message: message.to_owned(), rest: String::new() }
    }

    /// Adds a text.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        push(&mut self.rest, name, value);
    }

    fn raw(&mut self, name: &str, value: impl std::fmt::Display) {
        push_name(&mut self.rest, name);
        // Writing into a string cannot fail.
        let _ = write!(self.rest, "{value}");
    }

    fn any_text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else if let Some(name) = field.name().strip_suffix(JSON_SUFFIX) {
            self.raw(name, value);
        } else {
            self.push(field.name(), value);
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
        self.raw(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity.
        if value.is_finite() { self.raw(field.name(), value) } else { self.any_text(field, &value.to_string()) }
    }
}

fn push(line: &mut String, name: &str, value: &str) {
    push_name(line, name);
    line.push_str(&json(value));
}

fn push_name(line: &mut String, name: &str) {
    line.push(',');
    line.push_str(&json(name));
    line.push(':');
}

/// Puts a blank behind each comma and colon of JSON that has none, as people like to read it.
fn spaced(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 8);
    let (mut is_text, mut is_escaped) = (false, false);
    for c in json.chars() {
        out.push(c);
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' => is_text = !is_text,
            ',' | ':' if !is_text => out.push(' '),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let mut fields = Fields::of_message("quote \" and\nline");
        fields.raw("n", 1);
        fields.raw("urls", r#"["a:1,b","c"]"#);
        fields.push("text", "x\\\",: y");
        Line {
            level: Level::Warn,
            at: Duration::ZERO,
            logger: Some("raft".to_owned()),
            caller: "a/b.rs:7".to_owned(),
            fields,
        }
    }

    #[test]
    fn lines_are_json_with_keys_in_order_whatever_is_in_them() {
        let text = line().text(LogFormat::Json);
        assert!(text.starts_with(r#"{"level":"warn","ts":"1970-01-01T00:00:00.000000Z","logger":"raft","caller":"#));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["msg"], "quote \" and\nline");
        assert_eq!((&value["n"], &value["urls"][1], &value["text"]), (&1.into(), &"c".into(), &"x\\\",: y".into()));
    }

    #[test]
    fn lines_for_the_console_are_parts_between_tabs() {
        let mut line = line();
        line.fields.message = "said".to_owned();
        let expected = concat!(
            "1970-01-01T00:00:00.000000Z\twarn\traft\ta/b.rs:7\tsaid\t",
            r#"{"n": 1, "urls": ["a:1,b", "c"], "text": "x\\\",: y"}"#,
            "\n"
        );
        assert_eq!(line.text(LogFormat::Console), expected);
        let bare = Line { logger: None, fields: Fields::of_message("said"), ..line };
        assert_eq!(bare.text(LogFormat::Console), "1970-01-01T00:00:00.000000Z\twarn\ta/b.rs:7\tsaid\n");
    }
}
