//! The log: lines in the shape that etcd's (zap's) have, to wherever the operator wants them.
//!
//! ```text
//! tracing event ── Lines ──> Line ── json | console ──> Outputs ─┬─ stderr, stdout
//!                                                                ├─ a file, perhaps one that is rotated
//!                                                                └─ the system's journal
//! ```
//!
//! The program says what happens through `tracing`; [`init`] makes lines of it. Two kinds of names are special:
//!
//! - a field whose name ends in `.json` holds JSON text: it is written as it is, under the name without the ending (lists);
//! - lines of the target [`FATAL`] have level `fatal`: the last words of a program that cannot go on.
//!
//! A target that is not a module of ours is the line's `logger`: `raft` for what etcd's Raft would say. Panics become lines
//! of level `panic`. Nothing that clients store is ever in a line.

mod journal;
mod line;
pub(crate) mod notify;
mod outputs;
mod rotation;
mod sampling;

use std::panic::PanicHookInfo;
use std::sync::Arc;

use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use self::line::{Fields, Level, Line};
pub use self::outputs::OutputError;
use self::outputs::Outputs;
use self::sampling::Sampler;
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::env;

/// The target of lines that end the program.
pub const FATAL: &str = "lodemark::fatal";

/// Ours: the library and the program; lines of other crates say where they come from.
const OWN_TARGETS: [&str; 2] = [env!("CARGO_CRATE_NAME"), "etcd"];
/// The target of what etcd's Raft would say.
const RAFT_TARGET: &str = "raft";

/// Writes lines from `level` on to where `config` says, for the rest of the program's life. Does nothing the second time.
///
/// # Errors
/// [`OutputError`]; nothing is written anywhere then.
pub fn init(level: LogLevel, config: &LogConfig) -> Result<(), OutputError> {
    let writer = Arc::new(Writer { format: config.format, outputs: Outputs::open(config)? });
    let subscriber = tracing_subscriber::registry()
        .with(Lines { writer: writer.clone(), sampler: Sampler::default() }.with_filter(filter(level)));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(move |info| writer.write(&panic_line(info))));
    }
    Ok(())
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
    let ours = OWN_TARGETS.into_iter().chain([RAFT_TARGET]);
    let targets = ours.fold(Targets::new().with_default(foreign), |targets, name| targets.with_target(name, own));
    targets.with_target(FATAL, LevelFilter::ERROR)
}

/// Writes lines of one form.
struct Writer {
    format: LogFormat,
    outputs: Outputs,
}

impl Writer {
    fn write(&self, line: &Line) {
        self.outputs.write(line.level, &line.text(self.format));
    }
}

/// Makes a line of every event.
struct Lines {
    writer: Arc<Writer>,
    sampler: Sampler,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let (meta, at) = (event.metadata(), env::unix_time());
        // Last words are said once.
        if meta.target() != FATAL && !self.sampler.admits(meta.callsite(), at.as_secs()) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let origin = origin(meta.target());
        self.writer.write(&Line {
            level: level(meta),
            at,
            logger: (!OWN_TARGETS.contains(&origin)).then(|| origin.to_owned()),
            caller: caller(meta.file(), meta.line(), meta.target()),
            fields,
        });
    }
}

fn level(meta: &Metadata<'_>) -> Level {
    if meta.target() == FATAL {
        return Level::Fatal;
    }
    match *meta.level() {
        // What it means to this member is told by this member: openraft calls it an error that a message comes after its end.
        tracing::Level::ERROR if !is_ours(meta.target()) => Level::Warn,
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
    }
}

fn is_ours(target: &str) -> bool {
    let origin = origin(target);
    OWN_TARGETS.contains(&origin) || origin == RAFT_TARGET
}

/// The crate that speaks, or the logger.
fn origin(target: &str) -> &str {
    target.split("::").next().unwrap_or_default()
}

/// Folder, file and line; never empty.
fn caller(file: Option<&str>, line: Option<u32>, target: &str) -> String {
    let Some(file) = file else { return target.to_owned() };
    let start = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{}", &file[start..], line.unwrap_or(0))
}

fn panic_line(info: &PanicHookInfo<'_>) -> Line {
    let payload = info.payload();
    let what = payload.downcast_ref::<&str>().copied();
    let what =
        what.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a value that is no text");
    let location = info.location();
    let mut fields = Fields::of_message("a thread panicked; this is a bug");
    fields.push("error", what);
    fields.push("thread", std::thread::current().name().unwrap_or("unnamed"));
    let trace = std::backtrace::Backtrace::capture();
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        fields.push("stacktrace", &trace.to_string());
    }
    let caller = caller(location.map(std::panic::Location::file), location.map(|at| at.line()), "unknown");
    Line { level: Level::Panic, at: env::unix_time(), logger: None, caller, fields }
}

/// Writes `value` as JSON, for fields whose name ends in `.json`.
#[must_use]
pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and lists of texts have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_short() {
        assert_eq!(caller(Some("src/node/start.rs"), Some(7), "t"), "node/start.rs:7");
        assert_eq!(caller(Some("src/main.rs"), Some(7), "t"), "src/main.rs:7");
        assert_eq!(caller(Some("main.rs"), None, "t"), "main.rs:0");
        assert_eq!(caller(None, None, "t"), "t");
    }
}
