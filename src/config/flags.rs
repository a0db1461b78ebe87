//! The table of flags: what there is, what it means, and where its value goes.

use std::collections::BTreeSet;

use super::url::Url;
use super::value::{self, SignedDuration};
use super::{ClusterState, LogLevel};

/// One flag.
#[derive(Debug)]
pub(super) struct Flag {
    /// Without dashes.
    pub(super) name: &'static str,
    pub(super) group: Group,
    /// As it would be written on the command line; read through `kind` like any other value.
    pub(super) default: &'static str,
    /// For people who have not used it before: sentences, one a line.
    pub(super) about: &'static str,
    pub(super) kind: Kind,
}

/// Where a flag stands in the help text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Member,
    Cluster,
    Limits,
    Timing,
    Logging,
    General,
}

impl Group {
    /// In the order of the help text, with their headings.
    pub(super) const ALL: [(Group, &'static str); 6] = [
        (Group::Member, "Member"),
        (Group::Cluster, "Cluster (read only when the data folder is new)"),
        (Group::Limits, "Limits"),
        (Group::Timing, "Raft timing and log"),
        (Group::Logging, "Logging"),
        (Group::General, "General"),
    ];
}

/// What a flag does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Takes a value. The error is the reason after `invalid value "x" for flag -y:`.
    Value(fn(&mut Settings, &str) -> Result<(), String>),
    /// A switch: tell the version.
    Version,
    /// Explain the flags.
    Help,
}

/// What was said: the values of all flags, each fine by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// The flags that were on the command line.
    pub(super) given: BTreeSet<&'static str>,
    pub(super) name: String,
    pub(super) data_dir: String,
    pub(super) listen_client_urls: Vec<Url>,
    pub(super) advertise_client_urls: Vec<Url>,
    pub(super) listen_peer_urls: Vec<Url>,
    pub(super) advertise_peer_urls: Vec<Url>,
    pub(super) initial_cluster: String,
    pub(super) initial_cluster_state: ClusterState,
    pub(super) initial_cluster_token: String,
    pub(super) snapshot_count: u64,
    pub(super) snapshot_catchup_entries: u64,
    pub(super) heartbeat_ms: u64,
    pub(super) election_ms: u64,
    pub(super) request_bytes_max: u64,
    pub(super) txn_ops_max: u64,
    pub(super) streams_max: u32,
    pub(super) watch_progress_interval: SignedDuration,
    pub(super) log_level: LogLevel,
}

/// The flag of that name.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    ALL.iter().find(|flag| flag.name == name)
}

/// Tells whether etcd has a flag that this version does not.
pub(super) fn is_of_etcd(name: &str) -> bool {
    STILL_TO_COME.contains(&name)
}

pub(super) const NAME: &str = "name";
pub(super) const DATA_DIR: &str = "data-dir";
pub(super) const LISTEN_CLIENT_URLS: &str = "listen-client-urls";
pub(super) const ADVERTISE_CLIENT_URLS: &str = "advertise-client-urls";
pub(super) const LISTEN_PEER_URLS: &str = "listen-peer-urls";
pub(super) const ADVERTISE_PEER_URLS: &str = "initial-advertise-peer-urls";
pub(super) const HEARTBEAT: &str = "heartbeat-interval";
pub(super) const ELECTION: &str = "election-timeout";
pub(super) const WATCH_PROGRESS: &str = "watch-progress-notify-interval";

/// Every flag, in the order of the help text.
pub(super) const ALL: &[Flag] = &[
    Flag {
        name: NAME,
        group: Group::Member,
        default: super::validate::DEFAULT_NAME,
        about: "Name of this member, for people and for --initial-cluster.",
        kind: Kind::Value(|settings, value| {
            settings.name = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: DATA_DIR,
        group: Group::Member,
        default: "",
        about: "Folder that everything is kept in; made if it is not there. Give each member its own.\n\
                Empty means <name>.etcd in the working directory.",
        kind: Kind::Value(|settings, value| {
            settings.data_dir = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: LISTEN_CLIENT_URLS,
        group: Group::Member,
        default: "http://localhost:2379",
        about: "Where to wait for clients, comma-separated: http://<IP or localhost>:<port> or unix://<path>.\n\
                http://0.0.0.0:2379 is every interface, port 0 any free port (the log tells which).",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.listen_client_urls)),
    },
    Flag {
        name: ADVERTISE_CLIENT_URLS,
        group: Group::Member,
        default: "http://localhost:2379",
        about: "Where clients are told to find this member; host names are fine here.\n\
                Has to be given when --listen-client-urls is.",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.advertise_client_urls)),
    },
    Flag {
        name: LISTEN_PEER_URLS,
        group: Group::Member,
        default: "http://localhost:2380",
        about: "Where to wait for other members. With one member only /version and /members are answered there.",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.listen_peer_urls)),
    },
    Flag {
        name: ADVERTISE_PEER_URLS,
        group: Group::Cluster,
        default: "http://localhost:2380",
        about: "Where other members are told to find this one. Has to agree with --initial-cluster.",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.advertise_peer_urls)),
    },
    Flag {
        name: "initial-cluster",
        group: Group::Cluster,
        default: super::validate::DEFAULT_CLUSTER,
        about: "The founding members, as <name>=<peer URL>, comma-separated. This version runs one member.\n\
                With --name alone it is <name>=<--initial-advertise-peer-urls>.",
        kind: Kind::Value(|settings, value| {
            settings.initial_cluster = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "initial-cluster-state",
        group: Group::Cluster,
        default: "new",
        about: "'new' to found a cluster, 'existing' to join one (not in this version).",
        kind: Kind::Value(|settings, value| {
            settings.initial_cluster_state = match value {
                "new" => ClusterState::New,
                "existing" => ClusterState::Existing,
                _ => return Err("invalid value".to_owned()),
            };
            Ok(())
        }),
    },
    Flag {
        name: "initial-cluster-token",
        group: Group::Cluster,
        default: "etcd-cluster",
        about: "Any text of the cluster's own: clusters with the same URLs get different ids by it.",
        kind: Kind::Value(|settings, value| {
            settings.initial_cluster_token = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "max-request-bytes",
        group: Group::Limits,
        default: "1572864",
        about: "Size of the largest request that changes something, in bytes.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.request_bytes_max)),
    },
    Flag {
        name: "max-txn-ops",
        group: Group::Limits,
        default: "128",
        about: "Number of operations that one transaction may have.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.txn_ops_max)),
    },
    Flag {
        name: "max-concurrent-streams",
        group: Group::Limits,
        default: "4294967295",
        about: "Number of calls that one client connection may have open at a time.",
        kind: Kind::Value(|settings, value| {
            // etcd reads this one by itself, and its texts differ.
            let read = value::number(value, u64::from(u32::MAX)).map_err(|why| {
                let why = if why == "parse error" { "invalid syntax" } else { why };
                format!("strconv.ParseUint: parsing {value:?}: {why}")
            })?;
            settings.streams_max = u32::try_from(read).expect("the limit was given");
            Ok(())
        }),
    },
    Flag {
        name: WATCH_PROGRESS,
        group: Group::Limits,
        default: "0s",
        about: "How often a watch that asks for progress hears of it while nothing happens, such as 30s or 10m.\n\
                0 means 10m.",
        kind: Kind::Value(|settings, value| {
            settings.watch_progress_interval = value::duration(value)?;
            Ok(())
        }),
    },
    Flag {
        name: HEARTBEAT,
        group: Group::Timing,
        default: "100",
        about: "Milliseconds between two signs of life of a leader: about one round trip between members.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.heartbeat_ms)),
    },
    Flag {
        name: ELECTION,
        group: Group::Timing,
        default: "1000",
        about: "Milliseconds without one until a member stands for election: 5 heartbeats at least, 50000 at most.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.election_ms)),
    },
    Flag {
        name: "snapshot-count",
        group: Group::Timing,
        default: "10000",
        about: "Log entries from one snapshot to the next. Fewer keep the log shorter. 0 means 10000.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.snapshot_count)),
    },
    Flag {
        name: "snapshot-catchup-entries",
        group: Group::Timing,
        default: "5000",
        about: "Log entries that stay after a snapshot, for members that are a little behind.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.snapshot_catchup_entries)),
    },
    Flag {
        name: "log-level",
        group: Group::Logging,
        default: "info",
        about: "The lowest level that is logged: debug, info, warn, error, panic or fatal.\n\
                The log goes to stderr, one JSON object a line.",
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
];

fn urls(value: &str, into: &mut Vec<Url>) -> Result<(), String> {
    *into = Url::parse_list(value)?;
    Ok(())
}

fn number(value: &str, into: &mut u64) -> Result<(), String> {
    *into = value::number(value, u64::MAX)?;
    Ok(())
}

/// The flags of etcd 3.7 that are not in [`ALL`]: a name here is answered with "not yet" instead of "unknown".
const STILL_TO_COME: &[&str] = &[
    "auth-token",
    "auth-token-ttl",
    "auto-compaction-mode",
    "auto-compaction-retention",
    "auto-tls",
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "bcrypt-cost",
    "bootstrap-defrag-threshold-megabytes",
    "cert-file",
    "cipher-suites",
    "client-cert-allowed-hostname",
    "client-cert-auth",
    "client-cert-file",
    "client-crl-file",
    "client-key-file",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "config-file",
    "corrupt-check-time",
    "cors",
    "discovery-cacert",
    "discovery-cert",
    "discovery-dial-timeout",
    "discovery-endpoints",
    "discovery-fallback",
    "discovery-insecure-skip-tls-verify",
    "discovery-insecure-transport",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-key",
    "discovery-password",
    "discovery-request-timeout",
    "discovery-srv",
    "discovery-srv-name",
    "discovery-token",
    "discovery-user",
    "distributed-tracing-address",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "distributed-tracing-service-name",
    "downgrade-check-time",
    "enable-distributed-tracing",
    "enable-grpc-gateway",
    "enable-log-rotation",
    "enable-pprof",
    "feature-gates",
    "force-new-cluster",
    "grpc-keepalive-interval",
    "grpc-keepalive-min-time",
    "grpc-keepalive-timeout",
    "host-whitelist",
    "initial-election-tick-advance",
    "key-file",
    "listen-client-http-urls",
    "listen-metrics-urls",
    "log-format",
    "log-outputs",
    "log-rotation-config-json",
    "logger",
    "max-learners",
    "max-snapshots",
    "max-wals",
    "memory-mlock",
    "metrics",
    "peer-auto-tls",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
    "peer-cert-file",
    "peer-client-cert-auth",
    "peer-client-cert-file",
    "peer-client-key-file",
    "peer-crl-file",
    "peer-key-file",
    "peer-skip-client-san-verification",
    "peer-trusted-ca-file",
    "pre-vote",
    "quota-backend-bytes",
    "raft-read-timeout",
    "raft-write-timeout",
    "self-signed-cert-validity",
    "socket-reuse-address",
    "socket-reuse-port",
    "strict-reconfig-check",
    "tls-max-version",
    "tls-min-version",
    "trusted-ca-file",
    "unsafe-no-fsync",
    "v2-deprecation",
    "wal-dir",
    "warning-apply-duration",
    "warning-unary-request-duration",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_can_be_read() {
        let mut settings = Settings::default();
        for flag in ALL {
            if let Kind::Value(set) = flag.kind {
                assert_eq!(set(&mut settings, flag.default), Ok(()), "{}", flag.name);
            }
        }
    }

    #[test]
    fn a_flag_is_here_or_still_to_come_not_both() {
        let mut names: Vec<&str> = ALL.iter().map(|flag| flag.name).chain(STILL_TO_COME.iter().copied()).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
