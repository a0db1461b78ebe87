//! Flags, variables and the configuration file: what an operator says, checked once.
//!
//! The names, defaults and error texts are etcd's, so that launchers need not know which of the two they start. One
//! table (`flags`) drives the reading of arguments, variables and files, the defaults, the help text and
//! `docs/configuration.md`; `args` knows Go's syntax of flags, `environment` the variables, `file` the YAML; `validate` turns
//! what was said into a [`Config`], which the rest of the program trusts:
//!
//! ```text
//! arguments ── args ────────┐
//! variables ── environment ─┼──> Settings ── validate ──> Config ─┬─ founding ──> members and ids of a new cluster
//! or a file ── file ────────┘ flags: the table                    └─ joining  ──> this member among those of a running one
//! ```
//!
//! A flag beside its variable is an error; a file takes the place of all others. What is wrong with a single argument ends
//! the program with status 2, everything else with 1, as in etcd. Nothing has been touched then. Source: etcd, `server/etcdmain/config.go` and `server/embed/config.go`.

mod advertise;
pub mod any_bytes;
mod args;
mod auth;
mod compaction;
mod discovery;
mod document;
mod environment;
mod error;
mod file;
mod flags;
mod founding;
mod gates;
mod handshake;
mod help;
mod initial_cluster;
mod joining;
mod keepalive;
mod logging;
mod notice;
mod secret;
mod tls;
mod url;
mod validate;
mod value;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use self::environment::Variables;

pub use self::auth::{AuthConfig, JwtFiles, TokenConfig};
pub use self::compaction::CompactionConfig;
pub use self::discovery::{DiscoveryService, Password, SrvDiscovery};
pub use self::document::document;
pub use self::error::Error;
pub use self::file::FileError;
pub use self::founding::{Founding, FoundingError};
pub use self::handshake::HandshakeConfig;
pub use self::help::{flag_names, help, usage};
pub use self::initial_cluster::{Addresses, InitialCluster, host_names};
pub use self::joining::{JoiningError, find_own, urls_of};
pub use self::keepalive::KeepaliveConfig;
pub use self::logging::{LogConfig, LogFormat, LogOutput, LogRotation, LoggingError};
pub use self::notice::Notice;
pub use self::secret::shown_arguments;
pub use self::tls::{Certificate, KeyPair, TlsConfig};
pub use self::url::{Scheme, Url};
pub use self::value::unsigned_duration;
use crate::metrics::{Detail, Feature};

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Run a server.
    Serve(Box<Config>),
    /// Explain the flags.
    Help,
    /// Tell the version.
    Version,
}

/// What was read, and what is to be said of it once there is a log.
#[derive(Debug)]
pub struct Reading {
    /// What is asked for, or the first thing that is wrong.
    pub outcome: Result<Invocation, Error>,
    /// In the order in which it came up, whatever the outcome is.
    pub notices: Vec<Notice>,
}

impl Invocation {
    /// Reads the arguments that follow the program's name, and with them the variables of its environment or the file that
    /// either names.
    pub fn read(
        arguments: impl IntoIterator<Item = OsString>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Reading {
        let mut notices = Vec::new();
        let outcome = read(arguments, variables, &mut notices);
        Reading { outcome, notices }
    }

    /// Reads the arguments alone.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn from_args(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Error> {
        Invocation::read(arguments, []).outcome
    }
}

fn read(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    notices: &mut Vec<Notice>,
) -> Result<Invocation, Error> {
    let mut settings = match args::parse(arguments)? {
        args::Parsed::Help => return Ok(Invocation::Help),
        args::Parsed::Version => return Ok(Invocation::Version),
        args::Parsed::Settings(settings) => settings,
    };
    let variables = Variables::of(variables);
    let path = if settings.config_file.is_empty() {
        variables.config_file()
    } else {
        Some(PathBuf::from(&settings.config_file))
    };
    match path {
        Some(path) => *settings = file::read(&path, notices)?,
        None => variables.apply(&mut settings, notices)?,
    }
    validate::validate(*settings).map(Box::new).map(Invocation::Serve)
}

/// What a server is run with. Values fit together; [`Config::founding`] and [`Config::joining`] have the checks that only a
/// new member needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The member's name for people.
    pub name: String,
    /// The data folder.
    pub data_dir: PathBuf,
    /// Where clients are awaited; at least one.
    pub listen_client_urls: Vec<Url>,
    /// Where clients are awaited that speak plain HTTP. If there is any such place, they are awaited there alone.
    pub listen_client_http_urls: Vec<Url>,
    /// Where metrics and health are told besides.
    pub listen_metrics_urls: Vec<Url>,
    /// Let other processes listen on the same ports.
    pub shares_ports: bool,
    /// Where clients are told to go.
    pub advertise_client_urls: Vec<Url>,
    /// Answer JSON as well as gRPC.
    pub grpc_gateway: bool,
    /// The names by which clients may call this member over plain HTTP; `*` is all.
    pub host_whitelist: Vec<String>,
    /// The origins whose web pages may read answers; `*` is all.
    pub cors: Vec<String>,
    /// Where other members are awaited; at least one.
    pub listen_peer_urls: Vec<Url>,
    /// Where other members are told to go.
    pub advertise_peer_urls: Vec<Url>,
    /// Who founds the cluster, as it was given: `name=url,name=url`. Read only when the data folder is new.
    pub initial_cluster: String,
    /// Where DNS says who founds it instead.
    pub discovery_srv: Option<SrvDiscovery>,
    /// Where members register who found it, if there is such a place. `initial_cluster` names this member alone then.
    pub discovery_service: DiscoveryService,
    /// Whether the cluster is there already. Read only when the data folder is new.
    pub initial_cluster_state: ClusterState,
    /// Makes the ids of clusters with the same URLs differ.
    pub initial_cluster_token: String,
    /// Refuse changes of members that would cost the cluster its quorum.
    pub strict_reconfig: bool,
    /// Members without a vote that the cluster may have.
    pub learners_max: usize,
    /// Compare states with other members, and stop if most have another one.
    pub agreement_check: bool,
    /// The feature gates that were turned, for the log.
    pub feature_gates: String,
    /// Compare the records with those of other members before clients are served.
    pub initial_corrupt_check: bool,
    /// How often the leader compares the records of all members; `None` if never.
    pub corrupt_check_interval: Option<Duration>,
    /// How often the leader compares what compactions found; `None` if never.
    pub compact_hash_check_interval: Option<Duration>,
    /// How history is compacted.
    pub compaction: CompactionConfig,
    /// Free bytes in the checkpoint's file from which on it is written anew if they are most of it; `None` if never.
    pub reclaim_bytes_min: Option<u64>,
    /// Free bytes in the checkpoint's file from which on it is written anew before the member serves; `None` if never.
    pub bootstrap_defrag_bytes: Option<u64>,
    /// Make this member the only one of its cluster. Means nothing for a data folder that is new.
    pub force_new_cluster: bool,
    /// The address of the machine, if it stands in advertised URLs that nobody chose.
    pub detected_host: Option<IpAddr>,
    /// Which versions and cipher suites TLS is spoken by, everywhere.
    pub handshake: HandshakeConfig,
    /// How members talk over TLS.
    pub peer_tls: TlsConfig,
    /// How clients are served over TLS.
    pub client_tls: TlsConfig,
    /// How clients prove who they are.
    pub auth: AuthConfig,
    /// Ask whether an election can be won before it is begun.
    pub pre_vote: bool,
    /// Applied entries from one snapshot to the next, at least 1.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot.
    pub catchup_entries: u64,
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// How long a follower waits for it; at least five heartbeats.
    pub election_timeout: Duration,
    /// How large the data may become, in bytes; `None` is any size.
    pub quota_bytes: Option<u64>,
    /// The largest command in bytes.
    pub request_bytes_max: usize,
    /// Memory for values, caches and what waits for the disk, in bytes; `None`: half of what there is.
    pub memory_budget_bytes: Option<usize>,
    /// Operations on one level of a txn.
    pub txn_ops_max: usize,
    /// Streams of one client connection at a time.
    pub streams_max: u32,
    /// Pings between clients and this member.
    pub keepalive: KeepaliveConfig,
    /// How often idle watchers that ask for it hear of progress.
    pub watch_progress_interval: Duration,
    /// Which log lines are written.
    pub log_level: LogLevel,
    /// Never wait for the disk.
    pub unsafe_no_fsync: bool,
    /// Keep memory from being swapped out.
    pub memory_mlock: bool,
    /// Where they go, and in which form.
    pub log: LogConfig,
    /// The folder of the Raft log, if it is not in the data folder.
    pub wal_dir: Option<PathBuf>,
    /// A unary request that takes longer is logged.
    pub slow_unary: Duration,
    /// A read, or the execution of a command, that takes longer is logged.
    pub slow_apply: Duration,
    /// How much is measured.
    pub metrics: Detail,
    /// Tell who asks for profiles where else to look.
    pub profiling: bool,
    /// Feature gates, as they are turned.
    pub features: Vec<Feature>,
    /// What is legal and probably not meant, to be logged as warnings.
    pub advice: Vec<String>,
}

impl Default for Config {
    /// What no flags mean.
    fn default() -> Config {
        validate::validate(flags::Settings::defaults()).expect("the defaults fit together, as a test shows")
    }
}

/// Whether a new member founds its cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClusterState {
    /// It does.
    #[default]
    New,
    /// It joins one that is there.
    Existing,
}

/// The lowest level of log lines that are written; zap's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For those who look for a fault in the program.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What should be looked at.
    Warn,
    /// What failed.
    Error,
    /// What ends the program: a bug.
    Panic,
    /// What ends the program: everything else.
    Fatal,
}
