//! Flags of the program, those that nobody should need, and those that mean nothing any more.

use crate::config::flags::{CONFIG_FILE, DOWNGRADE_CHECK, Flag, Group, Kind};
use crate::config::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "unsafe-no-fsync",
        group: Group::Unsafe,
        default: "false",
        about: "Never wait for the disk (no fsync): faster, for tests. A machine that loses power loses what was acknowledged,\n\
                and may not start again with its data.",
        kind: Kind::Switch(|settings, value| settings.unsafe_no_fsync = value),
    },
    Flag {
        name: CONFIG_FILE,
        group: Group::General,
        default: "",
        about: "File that says everything instead, as YAML or JSON: other flags and all variables are ignored then.\n\
                docs/configuration.md has its keys. Times in it are whole numbers of nanoseconds.",
        kind: Kind::Value(|settings, value| {
            settings.config_file = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: DOWNGRADE_CHECK,
        group: Group::General,
        default: "5s",
        about: "Taken for etcd's sake: a downgrade is over when all members run the earlier version, which none can here.",
        kind: Kind::Value(|_, value| value::duration(value).map(drop).map_err(str::to_owned)),
    },
    Flag {
        name: "version",
        group: Group::General,
        default: "false",
        about: "Print the version and exit.",
        kind: Kind::Version,
    },
    Flag {
        name: "help",
        group: Group::General,
        default: "false",
        about: "Print this text and exit; -h is the same.",
        kind: Kind::Help,
    },
    Flag {
        name: "v2-deprecation",
        group: Group::Ignored,
        default: "write-only",
        about: "Taken for etcd's sake: there is no v2 store. write-only, write-only-skip-check, write-only-drop-data or gone.",
        kind: Kind::Value(|_, value| {
            let is_stage = |stage: &&str| !V2_STAGES.contains(stage);
            match value.split(',').find(is_stage) {
                Some(odd) => Err(format!("invalid value {odd:?}")),
                None => Ok(()),
            }
        }),
    },
    ignored("enable-v2"),
    ignored("cluster-active-size"),
    ignored("cluster-remove-delay"),
    ignored("cluster-sync-interval"),
    ignored("config"),
    ignored("force"),
    ignored("max-result-buffer"),
    ignored("max-retry-attempts"),
    ignored("peer-heartbeat-interval"),
    ignored("peer-election-timeout"),
    ignored("retry-interval"),
    ignored("snapshot"),
    ignored("v"),
    ignored("vv"),
    ignored("test.coverprofile"),
    ignored("test.outputdir"),
];

/// What `--v2-deprecation` may be, with the one that it is.
const V2_STAGES: [&str; 4] = ["write-only", "write-only-skip-check", "write-only-drop-data", "gone"];

/// A flag that meant something to an etcd of long ago.
const fn ignored(name: &'static str) -> Flag {
    Flag {
        name,
        group: Group::Ignored,
        default: "",
        about: "Taken for the sake of old unit files.",
        kind: Kind::Ignored,
    }
}
