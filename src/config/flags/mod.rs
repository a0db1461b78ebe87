//! Flags: what there is (`table`), what it means, and where its value goes.
//!
//! Everything that can be said of a flag follows from its entry in the table: how it is called on the command line
//! (`names`), its variable, its key in the configuration file ([`super::file`]), its place in the help text and in
//! `docs/configuration.md`.

mod names;
mod table;
mod without_effect;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::names::{Called, call, nearest, variable};
pub(super) use self::table::all;
pub(super) use self::without_effect::advice as advice_without_effect;
use super::auth::AuthSettings;
use super::compaction::CompactionSettings;
use super::discovery::DiscoverySettings;
use super::gates::Gates;
use super::handshake::HandshakeSettings;
use super::keepalive::KeepaliveSettings;
use super::logging::LogSettings;
use super::tls::TlsSettings;
use super::url::Url;
use super::value::SignedDuration;
use super::{ClusterState, LogLevel, value};

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
    Discovery,
    Membership,
    ClientTls,
    PeerTls,
    Auth,
    Limits,
    Compaction,
    Timing,
    Logging,
    Metrics,
    Tracing,
    Unsafe,
    General,
    Ignored,
}

impl Group {
    /// In the order of the help text, with their headings.
    pub(super) const ALL: &[(Group, &'static str)] = &[
        (Group::Member, "Member"),
        (Group::Cluster, "Cluster (read only when the data folder is new)"),
        (Group::Discovery, "Members that find each other (read only when the data folder is new)"),
        (Group::Membership, "Members"),
        (Group::ClientTls, "TLS for clients"),
        (Group::PeerTls, "TLS between members"),
        (Group::Auth, "Users and their tokens"),
        (Group::Limits, "Limits"),
        (Group::Compaction, "Compaction of history, and the file"),
        (Group::Timing, "Raft timing and log"),
        (Group::Logging, "Logging"),
        (Group::Metrics, "Metrics and profiles"),
        (Group::Tracing, "Distributed tracing"),
        (Group::Unsafe, "Unsafe"),
        (Group::General, "General"),
        (Group::Ignored, "Without effect, for the sake of old unit files"),
    ];
}

/// What a flag does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Takes a value. The error is the reason after `invalid value "x" for flag -y:`.
    Value(fn(&mut Settings, &str) -> Result<(), String>),
    /// Is true or false; its name alone means true.
    Switch(fn(&mut Settings, bool)),
    /// May have any value, which means nothing; its name alone will do.
    Ignored,
    /// A switch: tell the version.
    Version,
    /// Explain the flags.
    Help,
}

/// What was said: the values of all flags, each fine by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// The flags that were given: on the command line, by a variable, or in the file.
    pub(super) given: BTreeSet<&'static str>,
    /// The file that says everything; empty if there is none.
    pub(super) config_file: String,
    /// What is said comes from that file.
    pub(super) is_of_file: bool,
    /// The flags that were called by a name that etcd has given up.
    pub(super) called_formerly: BTreeSet<&'static str>,
    pub(super) name: String,
    pub(super) data_dir: String,
    pub(super) listen_client_urls: Vec<Url>,
    pub(super) listen_client_http_urls: Vec<Url>,
    pub(super) listen_metrics_urls: Vec<Url>,
    pub(super) shares_ports: bool,
    pub(super) advertise_client_urls: Vec<Url>,
    pub(super) grpc_gateway: bool,
    pub(super) host_whitelist: Vec<String>,
    pub(super) cors: Vec<String>,
    pub(super) listen_peer_urls: Vec<Url>,
    pub(super) advertise_peer_urls: Vec<Url>,
    pub(super) initial_cluster: String,
    pub(super) initial_cluster_state: ClusterState,
    pub(super) initial_cluster_token: String,
    pub(super) strict_reconfig: bool,
    pub(super) learners_max: u64,
    pub(super) agreement_check: bool,
    pub(super) gates: Gates,
    /// Gates that were turned by a flag that etcd has given up, and that flag.
    pub(super) gates_called_formerly: BTreeMap<&'static str, String>,
    pub(super) corrupt_check_time: SignedDuration,
    pub(super) compact_hash_check_time: SignedDuration,
    pub(super) auto_defrag_megabytes: u64,
    pub(super) bootstrap_defrag_megabytes: u64,
    pub(super) compaction: CompactionSettings,
    pub(super) force_new_cluster: bool,
    pub(super) peer_tls: TlsSettings,
    pub(super) client_tls: TlsSettings,
    pub(super) self_signed_years: u64,
    pub(super) handshake: HandshakeSettings,
    pub(super) auth: AuthSettings,
    pub(super) pre_vote: bool,
    pub(super) snapshot_count: u64,
    pub(super) snapshot_catchup_entries: u64,
    pub(super) heartbeat_ms: u64,
    pub(super) election_ms: u64,
    pub(super) quota_bytes: i64,
    pub(super) request_bytes_max: u64,
    pub(super) memory_budget_bytes: u64,
    pub(super) txn_ops_max: u64,
    pub(super) streams_max: u32,
    pub(super) keepalive: KeepaliveSettings,
    pub(super) watch_progress_interval: SignedDuration,
    pub(super) log_level: LogLevel,
    pub(super) unsafe_no_fsync: bool,
    pub(super) memory_mlock: bool,
    pub(super) tick_advance: bool,
    pub(super) raft_read_timeout: SignedDuration,
    pub(super) raft_write_timeout: SignedDuration,
    pub(super) tracing: bool,
    pub(super) tracing_per_million: i64,
    pub(super) log: LogSettings,
    pub(super) wal_dir: String,
    pub(super) discovery: DiscoverySettings,
    pub(super) slow_unary: SignedDuration,
    pub(super) slow_apply: SignedDuration,
    pub(super) metrics: String,
    pub(super) profiling: bool,
}

impl Settings {
    /// The defaults of the table.
    pub(super) fn defaults() -> Settings {
        let mut settings = Settings::default();
        for flag in all().filter(|flag| flag.is_setting()) {
            flag.read(flag.default, &mut settings).expect("a test reads the defaults of the table");
        }
        settings
    }
}

impl Flag {
    /// Tells whether it has a value that matters.
    pub(super) fn is_setting(&self) -> bool {
        matches!(self.kind, Kind::Value(_) | Kind::Switch(_))
    }

    /// Reads a value from a text.
    ///
    /// # Errors
    /// Go's or etcd's words for what is wrong.
    pub(super) fn read(&self, text: &str, settings: &mut Settings) -> Result<(), String> {
        match self.kind {
            Kind::Value(set) => set(settings, text),
            Kind::Switch(set) => {
                set(settings, value::switch(text).ok_or(value::NOT_A_VALUE)?);
                Ok(())
            }
            Kind::Version | Kind::Help => value::switch(text).map(drop).ok_or_else(|| value::NOT_A_VALUE.to_owned()),
            Kind::Ignored => Ok(()),
        }
    }
}

/// The flag of that name.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

pub(super) const BOOTSTRAP_DEFRAG: &str = "bootstrap-defrag-threshold-megabytes";
pub(super) const CONFIG_FILE: &str = "config-file";
pub(super) const NAME: &str = "name";
pub(super) const CIPHER_SUITES: &str = "cipher-suites";
pub(super) const DATA_DIR: &str = "data-dir";
pub(super) const LISTEN_CLIENT_URLS: &str = "listen-client-urls";
pub(super) const ADVERTISE_CLIENT_URLS: &str = "advertise-client-urls";
pub(super) const LISTEN_PEER_URLS: &str = "listen-peer-urls";
pub(super) const ADVERTISE_PEER_URLS: &str = "initial-advertise-peer-urls";
pub(super) const INITIAL_CLUSTER: &str = "initial-cluster";
pub(super) const DISCOVERY_ENDPOINTS: &str = "discovery-endpoints";
pub(super) const DISCOVERY_USER: &str = "discovery-user";
pub(super) const DISCOVERY_PASSWORD: &str = "discovery-password";
pub(super) const HEARTBEAT: &str = "heartbeat-interval";
pub(super) const ELECTION: &str = "election-timeout";
pub(super) const SELF_SIGNED_VALIDITY: &str = "self-signed-cert-validity";
pub(super) const COMPACT_HASH_CHECK_TIME: &str = "compact-hash-check-time";
pub(super) const DOWNGRADE_CHECK: &str = "downgrade-check-time";
pub(super) const RAFT_READ_TIMEOUT: &str = "raft-read-timeout";
pub(super) const RAFT_WRITE_TIMEOUT: &str = "raft-write-timeout";
pub(super) const WATCH_PROGRESS: &str = "watch-progress-notify-interval";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_can_be_read() {
        let mut settings = Settings::default();
        for flag in all() {
            assert_eq!(flag.read(flag.default, &mut settings), Ok(()), "{}", flag.name);
        }
    }

    #[test]
    fn no_flag_is_there_twice() {
        let mut names: Vec<&str> = all().map(|flag| flag.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
