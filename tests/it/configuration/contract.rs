//! The flags of etcd 3.7.1: names, defaults, keys of the configuration file. Facts, to compare with.

/// The form of a value in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In quotes, or without.
    Text,
    /// `true` or `false`.
    Switch,
    /// Without quotes.
    Number,
    /// A number of nanoseconds.
    Time,
    /// A list of texts.
    List,
}

use Form::{List, Number, Switch, Text, Time};

/// A flag of etcd.
#[derive(Debug)]
pub struct Row {
    pub flag: &'static str,
    pub default: &'static str,
    pub form: Form,
    /// In the configuration file; empty if there is none.
    pub key: &'static str,
    /// A value that means something else than the default.
    pub sample: &'static str,
}

const fn row(flag: &'static str, default: &'static str, form: Form, key: &'static str, sample: &'static str) -> Row {
    Row { flag, default, form, key, sample }
}

/// Flags that have a value and mean something, or did until lately.
pub const FLAGS: &[Row] = &[
    row("name", "default", Text, "name", "m1"),
    row("data-dir", "", Text, "data-dir", "somewhere"),
    row("wal-dir", "", Text, "wal-dir", "elsewhere"),
    row("snapshot-count", "10000", Number, "snapshot-count", "7"),
    row("snapshot-catchup-entries", "5000", Number, "snapshot-catchup-entries", "8"),
    row("max-snapshots", "5", Number, "max-snapshots", "6"),
    row("max-wals", "5", Number, "max-wals", "6"),
    row("heartbeat-interval", "100", Number, "heartbeat-interval", "50"),
    row("election-timeout", "1000", Number, "election-timeout", "2000"),
    row("initial-election-tick-advance", "true", Switch, "initial-election-tick-advance", "false"),
    row("listen-peer-urls", "http://localhost:2380", Text, "listen-peer-urls", "http://127.0.0.1:1"),
    row("listen-client-urls", "http://localhost:2379", Text, "listen-client-urls", "http://127.0.0.1:2"),
    row("listen-client-http-urls", "", Text, "listen-client-http-urls", "http://127.0.0.1:3"),
    row("listen-metrics-urls", "", Text, "listen-metrics-urls", "http://127.0.0.1:4"),
    row("quota-backend-bytes", "0", Number, "quota-backend-bytes", "-1"),
    row("backend-bbolt-freelist-type", "", Text, "backend-bbolt-freelist-type", "array"),
    row("backend-batch-interval", "0s", Time, "backend-batch-interval", "100ms"),
    row("backend-batch-limit", "0", Number, "backend-batch-limit", "100"),
    row("max-txn-ops", "128", Number, "max-txn-ops", "129"),
    row("max-request-bytes", "1572864", Number, "max-request-bytes", "1000000"),
    row("max-concurrent-streams", "4294967295", Number, "max-concurrent-streams", "9"),
    row("grpc-keepalive-min-time", "5s", Time, "grpc-keepalive-min-time", "6s"),
    row("grpc-keepalive-interval", "2h", Time, "grpc-keepalive-interval", "1h"),
    row("grpc-keepalive-timeout", "20s", Time, "grpc-keepalive-timeout", "10s"),
    row("socket-reuse-port", "false", Switch, "socket-options.reuse-port", "true"),
    row("socket-reuse-address", "false", Switch, "socket-options.reuse-address", "true"),
    row("raft-read-timeout", "5s", Time, "", "7s"),
    row("raft-write-timeout", "5s", Time, "", "7s"),
    row("memory-mlock", "false", Switch, "memory-mlock", "true"),
    row("enable-grpc-gateway", "true", Switch, "enable-grpc-gateway", "false"),
    row(
        "initial-advertise-peer-urls",
        "http://localhost:2380",
        Text,
        "initial-advertise-peer-urls",
        "http://127.0.0.1:1",
    ),
    row(
        "initial-cluster",
        "default=http://localhost:2380",
        Text,
        "initial-cluster",
        "default=http://localhost:2380,b=http://b:2380",
    ),
    row("initial-cluster-state", "new", Text, "initial-cluster-state", "existing"),
    row("initial-cluster-token", "etcd-cluster", Text, "initial-cluster-token", "another"),
    row("advertise-client-urls", "http://localhost:2379", Text, "advertise-client-urls", "http://example.com:1"),
    row("strict-reconfig-check", "true", Switch, "strict-reconfig-check", "false"),
    row("pre-vote", "true", Switch, "pre-vote", "false"),
    row("discovery-token", "", Text, "discovery-config.token", "t"),
    row("discovery-endpoints", "", List, "discovery-config.client.endpoints", "127.0.0.1:5"),
    row("discovery-dial-timeout", "2s", Time, "discovery-config.client.dial-timeout", "3s"),
    row("discovery-request-timeout", "5s", Time, "discovery-config.client.request-timeout", "3s"),
    row("discovery-keepalive-time", "2s", Time, "discovery-config.client.keepalive-time", "3s"),
    row("discovery-keepalive-timeout", "6s", Time, "discovery-config.client.keepalive-timeout", "3s"),
    row("discovery-insecure-transport", "true", Switch, "discovery-config.client.secure.insecure-transport", "false"),
    row(
        "discovery-insecure-skip-tls-verify",
        "false",
        Switch,
        "discovery-config.client.secure.insecure-skip-tls-verify",
        "true",
    ),
    row("discovery-cert", "", Text, "discovery-config.client.secure.cert", "c"),
    row("discovery-key", "", Text, "discovery-config.client.secure.key", "k"),
    row("discovery-cacert", "", Text, "discovery-config.client.secure.cacert", "ca"),
    row("discovery-user", "", Text, "discovery-config.client.auth.username", "u"),
    row("discovery-password", "", Text, "discovery-config.client.auth.password", "p"),
    row("discovery-srv", "", Text, "discovery-srv", "example.com"),
    row("discovery-srv-name", "", Text, "discovery-srv-name", "s"),
    row("discovery-fallback", "exit", Text, "", "exit"),
    row("v2-deprecation", "write-only", Text, "v2-deprecation", "gone"),
    row("cert-file", "", Text, "client-transport-security.cert-file", "c"),
    row("key-file", "", Text, "client-transport-security.key-file", "k"),
    row("client-cert-file", "", Text, "client-transport-security.client-cert-file", "cc"),
    row("client-key-file", "", Text, "client-transport-security.client-key-file", "ck"),
    row("client-cert-auth", "false", Switch, "client-transport-security.client-cert-auth", "true"),
    row("client-crl-file", "", Text, "", "crl"),
    row("client-cert-allowed-hostname", "", List, "client-transport-security.allowed-hostname", "a.example,b.example"),
    row("trusted-ca-file", "", Text, "client-transport-security.trusted-ca-file", "ca"),
    row("auto-tls", "false", Switch, "client-transport-security.auto-tls", "true"),
    row("peer-cert-file", "", Text, "peer-transport-security.cert-file", "c"),
    row("peer-key-file", "", Text, "peer-transport-security.key-file", "k"),
    row("peer-client-cert-file", "", Text, "peer-transport-security.client-cert-file", "cc"),
    row("peer-client-key-file", "", Text, "peer-transport-security.client-key-file", "ck"),
    row("peer-client-cert-auth", "false", Switch, "peer-transport-security.client-cert-auth", "true"),
    row("peer-trusted-ca-file", "", Text, "peer-transport-security.trusted-ca-file", "ca"),
    row("peer-auto-tls", "false", Switch, "peer-transport-security.auto-tls", "true"),
    row("peer-crl-file", "", Text, "", "crl"),
    row("peer-cert-allowed-cn", "", List, "peer-transport-security.allowed-cn", "a,b"),
    row("peer-cert-allowed-hostname", "", List, "peer-transport-security.allowed-hostname", "a.example,b.example"),
    row(
        "peer-skip-client-san-verification",
        "false",
        Switch,
        "peer-transport-security.skip-client-san-verification",
        "true",
    ),
    row("self-signed-cert-validity", "1", Number, "self-signed-cert-validity", "2"),
    row("cipher-suites", "", List, "cipher-suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    row("tls-min-version", "TLS1.2", Text, "tls-min-version", "TLS1.3"),
    row("tls-max-version", "", Text, "tls-max-version", "TLS1.2"),
    row("cors", "*", Text, "cors", "http://a:1,http://b:2"),
    row("host-whitelist", "*", Text, "host-whitelist", "a,b"),
    row("auth-token", "simple", Text, "auth-token", "jwt,sign-method=HS256,priv-key=k"),
    row("bcrypt-cost", "10", Number, "bcrypt-cost", "4"),
    row("auth-token-ttl", "300", Number, "auth-token-ttl", "10"),
    row("enable-pprof", "false", Switch, "enable-pprof", "true"),
    row("metrics", "basic", Text, "metrics", "extensive"),
    row("enable-distributed-tracing", "false", Switch, "enable-distributed-tracing", "true"),
    row("distributed-tracing-address", "localhost:4317", Text, "distributed-tracing-address", "127.0.0.1:1"),
    row("distributed-tracing-service-name", "etcd", Text, "distributed-tracing-service-name", "s"),
    row("distributed-tracing-instance-id", "", Text, "distributed-tracing-instance-id", "i"),
    row("distributed-tracing-sampling-rate", "0", Number, "distributed-tracing-sampling-rate", "1"),
    row("logger", "zap", Text, "logger", "zap"),
    row("log-level", "info", Text, "log-level", "debug"),
    row("log-format", "json", Text, "log-format", "console"),
    row("log-outputs", "default", List, "log-outputs", "stdout,stderr"),
    row("enable-log-rotation", "false", Switch, "enable-log-rotation", "true"),
    row(
        "log-rotation-config-json",
        r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
        Text,
        "log-rotation-config-json",
        r#"{"maxsize": 1}"#,
    ),
    row("warning-unary-request-duration", "300ms", Time, "warning-unary-request-duration", "1s"),
    row("warning-apply-duration", "100ms", Time, "warning-apply-duration", "1s"),
    row("auto-compaction-mode", "periodic", Text, "auto-compaction-mode", "revision"),
    row("auto-compaction-retention", "0", Text, "auto-compaction-retention", "1h"),
    row("corrupt-check-time", "0s", Time, "corrupt-check-time", "1h"),
    row("compact-hash-check-time", "1m", Time, "compact-hash-check-time", "0s"),
    row("compaction-batch-limit", "0", Number, "compaction-batch-limit", "10"),
    row("compaction-sleep-interval", "0s", Time, "compaction-sleep-interval", "5ms"),
    row("watch-progress-notify-interval", "0s", Time, "watch-progress-notify-interval", "100ms"),
    row("downgrade-check-time", "5s", Time, "downgrade-check-time", "6s"),
    row("bootstrap-defrag-threshold-megabytes", "0", Number, "bootstrap-defrag-threshold-megabytes", "10"),
    row("max-learners", "1", Number, "max-learners", "2"),
    row("feature-gates", "", Text, "feature-gates", "InitialCorruptCheck=true"),
    row("force-new-cluster", "false", Switch, "force-new-cluster", "true"),
    row("unsafe-no-fsync", "false", Switch, "unsafe-no-fsync", "true"),
];

/// Flags that etcd has given up and still takes, with any value or none.
pub const IGNORED: &[&str] = &[
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
    "test.coverprofile",
    "test.outputdir",
];

/// Keys of files that come with etcd, which mean nothing any more.
pub const DEAD_KEYS: &[&str] = &[
    "discovery:",
    "discovery-fallback: 'proxy'",
    "discovery-proxy:",
    "proxy: 'off'",
    "proxy-failure-wait: 5000",
    "proxy-refresh-interval: 30000",
    "proxy-dial-timeout: 1000",
    "proxy-write-timeout: 5000",
    "proxy-read-timeout: 0",
];

impl Row {
    /// The variable that says the same.
    pub fn variable(&self) -> String {
        format!("ETCD_{}", self.flag.to_uppercase().replace('-', "_"))
    }

    /// The lines of a configuration file that say `value`.
    pub fn in_file(&self, value: &str) -> String {
        let written = match self.form {
            Form::Text => format!("'{value}'"),
            Form::Switch | Form::Number => value.to_owned(),
            Form::Time => nanoseconds(value).to_string(),
            Form::List => format!("[{value}]"),
        };
        let parts: Vec<&str> = self.key.split('.').collect();
        let (name, blocks) = parts.split_last().expect("a key has a name");
        let mut text = String::new();
        for (depth, block) in blocks.iter().enumerate() {
            text.push_str(&format!("{}{block}:\n", "  ".repeat(depth)));
        }
        text.push_str(&format!("{}{name}: {written}\n", "  ".repeat(blocks.len())));
        text
    }
}

/// The times of the table have one unit each.
fn nanoseconds(text: &str) -> u64 {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        other => panic!("{other:?} is no unit"),
    };
    digits.parse::<u64>().unwrap() * unit
}
