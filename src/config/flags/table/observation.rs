//! Flags of what is told: the log, traces, metrics.

use super::duration;
use crate::config::flags::{Flag, Group, Kind};
use crate::config::{LogLevel, value};

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "log-level",
        group: Group::Logging,
        default: "info",
        about: "The lowest level that is logged: debug, info, warn, error, panic or fatal.",
        kind: Kind::Value(|settings, value| {
            settings.log_level = match value {
                "debug" | "DEBUG" => LogLevel::Debug,
                "info" | "INFO" | "" => LogLevel::Info,
                "warn" | "WARN" => LogLevel::Warn,
                "error" | "ERROR" => LogLevel::Error,
                "dpanic" | "DPANIC" | "panic" | "PANIC" => LogLevel::Panic,
                "fatal" | "FATAL" => LogLevel::Fatal,
                _ => return Err(format!("unrecognized level: {value:?}")),
            };
            Ok(())
        }),
    },
    Flag {
        name: "log-format",
        group: Group::Logging,
        default: "json",
        about: "'json' for one object a line, 'console' for people.",
        kind: Kind::Value(|settings, value| {
            settings.log.format = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "log-outputs",
        group: Group::Logging,
        default: "default",
        about: "Where the log goes, comma-separated: stderr, stdout, systemd/journal, or files, which are appended to.\n\
                'default' is stderr; it and the journal stand alone.",
        kind: Kind::Value(|settings, value| {
            settings.log.outputs = value.split(',').map(str::to_owned).collect();
            Ok(())
        }),
    },
    Flag {
        name: "enable-log-rotation",
        group: Group::Logging,
        default: "false",
        about: "Put the one file of --log-outputs aside when it is full.",
        kind: Kind::Switch(|settings, value| settings.log.rotates = value),
    },
    Flag {
        name: "log-rotation-config-json",
        group: Group::Logging,
        default: r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
        about: "When it is full (MB), how long what was put aside stays (days), how many such files (0 is no limit), and\n\
                whether they are compressed.",
        kind: Kind::Value(|settings, value| {
            settings.log.rotation = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "logger",
        group: Group::Logging,
        default: "zap",
        about: "Taken for etcd's sake: there is one kind.",
        kind: Kind::Value(|settings, value| {
            settings.log.logger = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "warning-unary-request-duration",
        group: Group::Logging,
        default: "300ms",
        about: "A request that takes longer is logged with what it asked for, without values.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.slow_unary)),
    },
    Flag {
        name: "warning-apply-duration",
        group: Group::Logging,
        default: "100ms",
        about: "A read, or the execution of a write, that takes longer is logged as well.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.slow_apply)),
    },
    Flag {
        name: "enable-distributed-tracing",
        group: Group::Tracing,
        default: "false",
        about: "Taken for etcd's sake: this version sends no traces.",
        kind: Kind::Switch(|settings, value| settings.tracing = value),
    },
    Flag {
        name: "distributed-tracing-address",
        group: Group::Tracing,
        default: "localhost:4317",
        about: "Where etcd would send traces.",
        kind: Kind::Value(|_, _| Ok(())),
    },
    Flag {
        name: "distributed-tracing-service-name",
        group: Group::Tracing,
        default: "etcd",
        about: "What etcd would call the cluster in them.",
        kind: Kind::Value(|_, _| Ok(())),
    },
    Flag {
        name: "distributed-tracing-instance-id",
        group: Group::Tracing,
        default: "",
        about: "What etcd would call the member in them.",
        kind: Kind::Value(|_, _| Ok(())),
    },
    Flag {
        name: "distributed-tracing-sampling-rate",
        group: Group::Tracing,
        default: "0",
        about: "How many of a million requests etcd would trace.",
        kind: Kind::Value(|settings, value| {
            settings.tracing_per_million = value::signed_number(value)?;
            Ok(())
        }),
    },
    Flag {
        name: "metrics",
        group: Group::Metrics,
        default: "basic",
        about: "How much is measured: 'extensive' adds how long each call takes, by method.",
        kind: Kind::Value(|settings, value| {
            settings.metrics = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "enable-pprof",
        group: Group::Metrics,
        default: "false",
        about: "Answer who asks for profiles at /debug/pprof/: where else to look, for there are none of Go here.\n\
                So does --log-level=debug.",
        kind: Kind::Switch(|settings, value| settings.profiling = value),
    },
];
