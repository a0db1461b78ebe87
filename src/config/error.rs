//! What is wrong with the arguments, with variables, or with the configuration file.

use super::file::FileError;

/// What is wrong with what was said. The texts are those of etcd and of Go's flag package: launchers match on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody knows this flag.
    #[error("flag provided but not defined: -{name}{}", near.map(|near| format!("\ndid you mean --{near}?")).unwrap_or_default())]
    UnknownFlag {
        /// As given, without dashes.
        name: String,
        /// A flag of which that may be a misspelling.
        near: Option<&'static str>,
    },
    /// Dashes and nothing that could be a flag.
    #[error("bad flag syntax: {argument}")]
    Syntax {
        /// As given.
        argument: String,
    },
    /// The arguments end where the value should be.
    #[error("flag needs an argument: -{name}")]
    NoValue {
        /// The flag.
        name: &'static str,
    },
    /// The value cannot be read.
    #[error("invalid value {value:?} for flag -{name}: {reason}")]
    BadValue {
        /// The flag.
        name: &'static str,
        /// As given.
        value: String,
        /// Why not.
        reason: String,
    },
    /// The value of a switch is neither true nor false.
    #[error("invalid boolean value {value:?} for -{name}: parse error")]
    BadSwitch {
        /// The flag, as it was called.
        name: String,
        /// As given.
        value: String,
    },
    /// Less memory than can be worked with.
    #[error("--memory-budget-bytes {given} is too small: it needs at least {min}, and 0 means half of the memory")]
    MemoryBudgetTooSmall {
        /// As given.
        given: u64,
        /// The least that is taken.
        min: u64,
    },
    /// An argument is not UTF-8.
    #[error("argument {argument:?} is not UTF-8 text")]
    NotText {
        /// With replacement characters.
        argument: String,
    },
    /// An argument that is no flag.
    #[error("{argument:?} is not a valid flag")]
    Stray {
        /// As given.
        argument: String,
    },
    /// The value of a variable cannot be read.
    #[error("invalid value {value:?} for {variable}: {reason}")]
    BadVariable {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// The same thing is said twice, and nobody knows which is meant.
    #[error(
        "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment \
         variable or disable flag))"
    )]
    Shadowed {
        /// The variable.
        variable: String,
    },
    /// The configuration file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Sockets are bound to addresses, not to names.
    #[error("expected IP in URL for binding ({url})")]
    BindsName {
        /// The URL.
        url: String,
    },
    /// Nobody could connect to that.
    #[error("--{flag} {given:?} must be {form} (unexpected empty host ({url}))")]
    EmptyHost {
        /// The flag.
        flag: &'static str,
        /// What would do.
        form: &'static str,
        /// All of its URLs.
        given: String,
        /// The first such URL.
        url: String,
    },
    /// Others cannot connect to a listener for TLS without a certificate.
    #[error("cannot listen on TLS for {address}: KeyFile and CertFile are not presented")]
    NoCertificate {
        /// Host and port, or path, of the first such URL.
        address: String,
    },
    /// The same, for clients.
    #[error("TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme")]
    NoClientCertificate {
        /// The first such URL.
        url: String,
    },
    /// The same, for whoever reads metrics.
    #[error("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url")]
    NoMetricsCertificate,
    /// A place is for one of the two.
    #[error("cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {url}")]
    GrpcAndHttpAtOneUrl {
        /// The URL in the second list.
        url: String,
    },
    /// There is no such version.
    #[error("unexpected TLS version {given:?} (must be one of: TLS1.2, TLS1.3)")]
    UnknownTlsVersion {
        /// As given.
        given: String,
    },
    /// Nothing lies between the two.
    #[error("min version ({min}) is greater than max version ({max})")]
    TlsVersionsCrossed {
        /// Given.
        min: String,
        /// Given.
        max: String,
    },
    /// Only suites of TLS 1.2 can be chosen.
    #[error("cipher suites cannot be configured when only TLS1.3 is enabled")]
    CipherSuitesOfTls13,
    /// Nobody knows this one.
    #[error("unexpected TLS cipher suite {name:?}")]
    UnknownCipherSuite {
        /// As given.
        name: String,
    },
    /// Nothing that was named can be spoken.
    #[error(
        "--cipher-suites {given:?} leaves nothing for TLS 1.2 that Lodemark speaks: add \
         TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 and TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, or leave the flag out"
    )]
    NoCipherSuite {
        /// As given.
        given: Vec<String>,
    },
    /// A certificate is of no use without its key.
    #[error("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]")]
    HalfKeyPair {
        /// As given; may be empty.
        key: String,
        /// As given; may be empty.
        cert: String,
    },
    /// The same, for connections that this member opens.
    #[error("ClientKeyFile and ClientCertFile must both be present or both absent: key: {key}, cert: {cert}]")]
    HalfClientKeyPair {
        /// As given; may be empty.
        key: String,
        /// As given; may be empty.
        cert: String,
    },
    /// A certificate is known by its common name or by its host names.
    #[error(
        "AllowedCNs and AllowedHostnames are mutually exclusive (cns={}, hostnames={})",
        go_list(common_names),
        go_list(hostnames)
    )]
    TwoKindsOfNames {
        /// As given.
        common_names: Vec<String>,
        /// As given.
        hostnames: Vec<String>,
    },
    /// A certificate that nobody could use.
    #[error("selfSignedCertValidity is invalid,it should be greater than 0")]
    NeverValid,
    /// `--auth-token` cannot be read.
    #[error("auth: invalid auth options: {0}")]
    AuthToken(#[from] super::auth::TokenOptionError),
    /// There can be no such log.
    #[error(transparent)]
    Logging(#[from] super::logging::LoggingError),
    /// It is not clear who founds the cluster.
    #[error(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" or \
         \"discovery-srv\""
    )]
    TwoWaysToFound,
    /// A service without a place in it, or a place without a service.
    #[error("both --discovery-token and --discovery-endpoints must be set")]
    HalfDiscovery,
    /// A list with a comma too many.
    #[error("--discovery-endpoints must not contain empty endpoints")]
    EmptyEndpoint,
    /// Nobody can be one any more.
    #[error("v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"")]
    ProxyFallback,
    /// A time of zero.
    #[error("--{flag} must be >0 (set to 0ms)")]
    ZeroTime {
        /// The flag.
        flag: &'static str,
    },
    /// Followers would not wait long enough.
    #[error(
        "--election-timeout[{election_ms}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat_ms}ms]"
    )]
    ElectionTooShort {
        /// Given.
        election_ms: u64,
        /// Given.
        heartbeat_ms: u64,
    },
    /// A cluster without a leader would stay so for too long.
    #[error("--election-timeout[{election_ms}ms] is too long, and should be set less than {max_ms}ms")]
    ElectionTooLong {
        /// Given.
        election_ms: u64,
        /// The limit.
        max_ms: u64,
    },
    /// Nothing says what is counted.
    #[error("undefined auto-compaction-mode")]
    NoCompactionMode,
    /// Neither time nor revisions are to be counted.
    #[error("unknown auto-compaction-mode {mode:?}")]
    UnknownCompactionMode {
        /// As given.
        mode: String,
    },
    /// Neither a number nor a time.
    #[error("error parsing CompactionRetention: time: invalid duration {given:?}")]
    CompactionRetention {
        /// As given.
        given: String,
    },
    /// A time that lies in the past.
    #[error("--{flag} must not be negative")]
    NegativeTime {
        /// The flag.
        flag: &'static str,
    },
    /// A gate that needs another one.
    #[error("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint")]
    CheckpointsPersistAlone,
    /// More or fewer traces than there can be.
    #[error("distributed tracing configurition is not valid: (tracing sampling rate must be {bound})")]
    SamplingRate {
        /// What it must be.
        bound: &'static str,
    },
    /// A time that must be some time.
    #[error("--{flag} must be >0 (set to {given})")]
    NoTime {
        /// The flag.
        flag: &'static str,
        /// What was given, in one unit.
        given: String,
    },
    /// Clients would be sent to the default address.
    #[error("--advertise-client-urls is required when --listen-client-urls is set explicitly")]
    NoAdvertisedUrls,
}

impl Error {
    /// Tells whether the usage should follow the message, and the program end with status 2: a single argument is wrong.
    /// Otherwise they do not fit together, which is logged, with status 1.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Error::UnknownFlag { .. }
                | Error::Syntax { .. }
                | Error::NoValue { .. }
                | Error::BadValue { .. }
                | Error::BadSwitch { .. }
                | Error::NotText { .. }
        )
    }
}

/// A list of texts as Go's `%q` writes it.
pub(super) fn go_list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", quoted.join(" "))
}
