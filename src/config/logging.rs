//! Where the log goes, and in which form. Source: etcd, `server/embed/config_logging.go`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// The only logger that etcd has left.
const ZAP: &str = "zap";
/// Stderr, and alone.
const DEFAULT_OUTPUT: &str = "default";
const JOURNAL: &str = "systemd/journal";
const MEGABYTE: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(86_400);
/// What 0 means. Source: lumberjack.
const DEFAULT_MEGABYTES: i64 = 100;

/// Where the log goes, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// Where they go; at least one place, each once.
    pub outputs: Vec<LogOutput>,
    /// What becomes of a file that is full; `None` if it only grows.
    pub rotation: Option<LogRotation>,
}

impl Default for LogConfig {
    /// JSON to stderr.
    fn default() -> LogConfig {
        LogConfig { format: LogFormat::Json, outputs: vec![LogOutput::Stderr], rotation: None }
    }
}

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object each.
    #[default]
    Json,
    /// Parts between tabs, for people.
    Console,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOutput {
    /// The standard error output.
    Stderr,
    /// The standard output.
    Stdout,
    /// The journal of systemd.
    Journal,
    /// A file, which is appended to.
    File(PathBuf),
}

/// When a log file is put aside, and how long it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRotation {
    /// How large it may become.
    pub bytes_max: u64,
    /// How long it stays; `None` is for ever.
    pub age_max: Option<Duration>,
    /// How many stay; `None` is any number.
    pub backups_max: Option<usize>,
    /// Compress what was put aside.
    pub compress: bool,
}

/// Why there can be no such log. The texts are etcd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoggingError {
    /// The other one is gone.
    #[error("--logger=capnslog is removed in v3.5")]
    Capnslog,
    /// Nobody knows it.
    #[error("unknown logger option {given:?}")]
    UnknownLogger {
        /// As given.
        given: String,
    },
    /// Nobody knows it.
    #[error("unknown log format: {given}, supported values json, console")]
    UnknownFormat {
        /// As given.
        given: String,
    },
    /// It does not say where lines go besides.
    #[error("multi logoutput for \"default\" is not supported yet")]
    DefaultAndOthers,
    /// The journal has them all.
    #[error(
        "running with systemd/journal but other '--log-outputs' values ({}) are configured with 'default'; override \
         'default' value with something else",
        super::error::go_list(outputs)
    )]
    JournalAndOthers {
        /// All that were given.
        outputs: Vec<String>,
    },
    /// What is to be put aside is a file.
    #[error("--log-outputs requires a single file path when --log-rotate-config-json is defined")]
    RotatesNoFile,
    /// It is no JSON.
    #[error("improperly formatted log rotation config: {why}")]
    RotationSyntax {
        /// What is wrong.
        why: String,
    },
    /// A value is of another kind, or makes no sense.
    #[error("invalid log rotation config: {why}")]
    RotationValue {
        /// What is wrong.
        why: String,
    },
}

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogSettings {
    pub(super) logger: String,
    pub(super) format: String,
    /// Sorted.
    pub(super) outputs: BTreeSet<String>,
    pub(super) rotates: bool,
    pub(super) rotation: String,
}

/// The settings of lumberjack by its names; a number below zero is refused. Other names mean nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RotationJson {
    maxsize: i64,
    maxage: i64,
    maxbackups: i64,
    localtime: bool,
    compress: bool,
}

/// Checks what was said; gives advice as well.
///
/// # Errors
/// [`LoggingError`].
pub(super) fn validate(settings: &LogSettings) -> Result<(LogConfig, Vec<String>), LoggingError> {
    match settings.logger.as_str() {
        "" | ZAP => {}
        "capnslog" => return Err(LoggingError::Capnslog),
        other => return Err(LoggingError::UnknownLogger { given: other.to_owned() }),
    }
    let outputs = &settings.outputs;
    if outputs.len() > 1 && outputs.contains(DEFAULT_OUTPUT) {
        return Err(LoggingError::DefaultAndOthers);
    }
    if outputs.len() > 1 && outputs.contains(JOURNAL) {
        return Err(LoggingError::JournalAndOthers { outputs: outputs.iter().cloned().collect() });
    }
    let format = match settings.format.as_str() {
        "" | "json" => LogFormat::Json,
        "console" => LogFormat::Console,
        other => return Err(LoggingError::UnknownFormat { given: other.to_owned() }),
    };
    let mut advice = Vec::new();
    let mut config = LogConfig { format, outputs: outputs.iter().map(|name| output(name)).collect(), rotation: None };
    // A file has an empty value for the default.
    if config.outputs.is_empty() {
        config.outputs = LogConfig::default().outputs;
    }
    // The same place by two names gets each line once.
    config.outputs.dedup();
    if settings.rotates {
        let files = config.outputs.iter().filter(|output| matches!(output, LogOutput::File(_))).count();
        if files != 1 {
            return Err(LoggingError::RotatesNoFile);
        }
        let (rotation, is_local) = rotation(&settings.rotation)?;
        config.rotation = Some(rotation);
        if is_local {
            advice.push("localtime of --log-rotation-config-json has no effect: moments are in UTC".to_owned());
        }
    }
    Ok((config, advice))
}

fn output(name: &str) -> LogOutput {
    match name {
        DEFAULT_OUTPUT | "stderr" => LogOutput::Stderr,
        "stdout" => LogOutput::Stdout,
        JOURNAL => LogOutput::Journal,
        path => LogOutput::File(path.into()),
    }
}

fn rotation(text: &str) -> Result<(LogRotation, bool), LoggingError> {
    let read: RotationJson = serde_json::from_str(text).map_err(|error| {
        let why = error.to_string();
        if error.is_data() { LoggingError::RotationValue { why } } else { LoggingError::RotationSyntax { why } }
    })?;
    let amount = |name: &str, value: i64| {
        u64::try_from(value).map_err(|_| LoggingError::RotationValue { why: format!("{name} must not be negative") })
    };
    let megabytes = amount("maxsize", if read.maxsize == 0 { DEFAULT_MEGABYTES } else { read.maxsize })?;
    let (days, backups) = (amount("maxage", read.maxage)?, amount("maxbackups", read.maxbackups)?);
    let rotation = LogRotation {
        bytes_max: megabytes.saturating_mul(MEGABYTE),
        // More than can be counted is for ever.
        age_max: u32::try_from(days).ok().filter(|&days| days > 0).map(|days| DAY * days),
        backups_max: usize::try_from(backups).ok().filter(|&backups| backups > 0),
        compress: read.compress,
    };
    Ok((rotation, read.localtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(outputs: &[&str]) -> LogSettings {
        LogSettings { outputs: outputs.iter().copied().map(str::to_owned).collect(), ..LogSettings::default() }
    }

    fn refused(settings: &LogSettings) -> String {
        validate(settings).unwrap_err().to_string()
    }

    #[test]
    fn places_are_told_from_files() {
        let (config, _) = validate(&settings(&["stdout", "stderr", "a.log", "/dev/null"])).unwrap();
        let file = |path: &str| LogOutput::File(path.into());
        assert_eq!(config.outputs, [file("/dev/null"), file("a.log"), LogOutput::Stderr, LogOutput::Stdout]);
        assert_eq!(validate(&settings(&["default"])).unwrap().0, LogConfig::default());
        assert_eq!(validate(&settings(&["systemd/journal"])).unwrap().0.outputs, [LogOutput::Journal]);
        assert_eq!(validate(&settings(&["systemd/journald"])).unwrap().0.outputs, [file("systemd/journald")]);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_the_words_of_etcd() {
        assert_eq!(refused(&settings(&["default", "x"])), "multi logoutput for \"default\" is not supported yet");
        assert_eq!(
            refused(&settings(&["systemd/journal", "stderr"])),
            "running with systemd/journal but other '--log-outputs' values ([\"stderr\" \"systemd/journal\"]) are configured \
             with 'default'; override 'default' value with something else"
        );
        let logger = |logger: &str| LogSettings { logger: logger.to_owned(), ..settings(&["default"]) };
        assert_eq!(refused(&logger("capnslog")), "--logger=capnslog is removed in v3.5");
        assert_eq!(refused(&logger("x")), "unknown logger option \"x\"");
        let text = LogSettings { format: "text".to_owned(), ..settings(&["default"]) };
        assert_eq!(refused(&text), "unknown log format: text, supported values json, console");
        for outputs in [&["default"][..], &["stdout"], &["a", "b"]] {
            let rotates = LogSettings { rotates: true, rotation: "{}".to_owned(), ..settings(outputs) };
            assert_eq!(refused(&rotates), LoggingError::RotatesNoFile.to_string());
        }
    }

    #[test]
    fn rotation_is_read_as_lumberjack_reads_it() {
        let read = |text: &str| {
            let settings = LogSettings { rotates: true, rotation: text.to_owned(), ..settings(&["a", "stdout"]) };
            validate(&settings).map(|(config, _)| config.rotation.unwrap())
        };
        let default = LogRotation { bytes_max: 100 << 20, age_max: None, backups_max: None, compress: false };
        assert_eq!(read("{}"), Ok(default));
        assert_eq!(
            read(r#"{"maxsize":1,"maxage":2,"maxbackups":3,"localtime":true,"compress":true,"other":[]}"#),
            Ok(LogRotation { bytes_max: 1 << 20, age_max: Some(DAY * 2), backups_max: Some(3), compress: true })
        );
        for (text, start) in [
            ("{bad", "improperly formatted log rotation config: "),
            ("", "improperly formatted log rotation config: "),
            (r#"{"maxsize":"1"}"#, "invalid log rotation config: "),
            (r#"{"maxage":-1}"#, "invalid log rotation config: maxage must not be negative"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }
}
