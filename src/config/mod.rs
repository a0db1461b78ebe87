//! Flags: what an operator says, checked once.
//!
//! The names, defaults and error texts are etcd's, so that launchers need not know which of the two they start. One
//! table (`flags`) drives the reading of arguments, their defaults and the help text; `args` knows Go's syntax of
//! flags; `validate` turns what was said into a [`Config`], which the rest of the program trusts:
//!
//! ```text
//! arguments ── args ──> Settings ── validate ──> Config ─┬─ founding ──> members and ids of a new cluster
//!                 └ flags: the table                     └─ joining  ──> this member among those of a running one
//! ```
//!
//! What is wrong with a single value ends the program with status 2, what is wrong with their combination with 1, as in
//! etcd. Source: etcd, `server/etcdmain/config.go` and `server/embed/config.go`.

mod args;
mod auth;
mod compaction;
mod error;
mod flags;
mod founding;
mod gates;
mod help;
mod initial_cluster;
mod joining;
mod keepalive;
mod tls;
mod url;
mod validate;
mod value;

use std::path::PathBuf;
use std::time::Duration;

pub use self::auth::{AuthConfig, JwtFiles, TokenConfig};
pub use self::compaction::CompactionConfig;
pub use self::error::Error;
pub use self::founding::{Founding, FoundingError};
pub use self::help::{USAGE, help};
pub use self::initial_cluster::{Addresses, InitialCluster, host_names};
pub use self::joining::{JoiningError, find_own, urls_of};
pub use self::keepalive::KeepaliveConfig;
pub use self::tls::{Certificate, KeyPair, TlsConfig};
pub use self::url::{Scheme, Url};
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

impl Invocation {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn from_args(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Invocation, Error> {
        match args::parse(arguments)? {
            args::Parsed::Help => Ok(Invocation::Help),
            args::Parsed::Version => Ok(Invocation::Version),
            args::Parsed::Settings(settings) => Ok(Invocation::Serve(Box::new(validate::validate(*settings)?))),
        }
    }
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
    /// Make this member the only one of its cluster. Means nothing for a data folder that is new.
    pub force_new_cluster: bool,
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
        validate::validate(args::defaults()).expect("the defaults fit together, as a test shows")
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
