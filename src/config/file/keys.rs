//! The keys of the configuration file: where a flag's value stands there, and in which form.
//!
//! Most keys are the flags' names. TLS, sockets and discovery have blocks of their own, and a few flags have no key.
//! Source: etcd, `server/embed/config.go`, the tags of `configYAML` and `securityConfig`.

use crate::config::flags::{Flag, Kind, all};
use crate::config::value;

/// Flags that the file does not say.
const WITHOUT: &[&str] = &[
    "client-crl-file",
    "config-file",
    "discovery-fallback",
    "peer-crl-file",
    "raft-read-timeout",
    "raft-write-timeout",
];

/// Flags whose keys are not their names: the first part is the block.
const IN_BLOCKS: &[(&str, &str)] = &[
    ("cert-file", "client-transport-security.cert-file"),
    ("key-file", "client-transport-security.key-file"),
    ("client-cert-file", "client-transport-security.client-cert-file"),
    ("client-key-file", "client-transport-security.client-key-file"),
    ("client-cert-auth", "client-transport-security.client-cert-auth"),
    ("client-cert-allowed-hostname", "client-transport-security.allowed-hostname"),
    ("trusted-ca-file", "client-transport-security.trusted-ca-file"),
    ("auto-tls", "client-transport-security.auto-tls"),
    ("peer-cert-file", "peer-transport-security.cert-file"),
    ("peer-key-file", "peer-transport-security.key-file"),
    ("peer-client-cert-file", "peer-transport-security.client-cert-file"),
    ("peer-client-key-file", "peer-transport-security.client-key-file"),
    ("peer-client-cert-auth", "peer-transport-security.client-cert-auth"),
    ("peer-trusted-ca-file", "peer-transport-security.trusted-ca-file"),
    ("peer-auto-tls", "peer-transport-security.auto-tls"),
    ("peer-cert-allowed-cn", "peer-transport-security.allowed-cn"),
    ("peer-cert-allowed-hostname", "peer-transport-security.allowed-hostname"),
    ("peer-skip-client-san-verification", "peer-transport-security.skip-client-san-verification"),
    ("socket-reuse-port", "socket-options.reuse-port"),
    ("socket-reuse-address", "socket-options.reuse-address"),
    ("discovery-token", "discovery-config.token"),
    ("discovery-endpoints", "discovery-config.client.endpoints"),
    ("discovery-dial-timeout", "discovery-config.client.dial-timeout"),
    ("discovery-request-timeout", "discovery-config.client.request-timeout"),
    ("discovery-keepalive-time", "discovery-config.client.keepalive-time"),
    ("discovery-keepalive-timeout", "discovery-config.client.keepalive-timeout"),
    ("discovery-insecure-transport", "discovery-config.client.secure.insecure-transport"),
    ("discovery-insecure-skip-tls-verify", "discovery-config.client.secure.insecure-skip-tls-verify"),
    ("discovery-cert", "discovery-config.client.secure.cert"),
    ("discovery-key", "discovery-config.client.secure.key"),
    ("discovery-cacert", "discovery-config.client.secure.cacert"),
    ("discovery-user", "discovery-config.client.auth.username"),
    ("discovery-password", "discovery-config.client.auth.password"),
];

/// The block within another one that may be left out, and that one: etcd's reference has keys without it, its program with it.
/// Source: etcd, `DiscoveryConfig`.
const MAY_BE_LEFT_OUT: (&str, &str) = ("discovery-config", "client");

/// Comma-separated on the command line, lists in the file.
const LISTS: &[&str] = &[
    "cipher-suites",
    "client-cert-allowed-hostname",
    "discovery-endpoints",
    "log-outputs",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
];

/// Its default is a number, but it may as well be a time.
const TEXT_IN_SPITE_OF_ITS_DEFAULT: &str = "auto-compaction-retention";

/// The form that a value has in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Form {
    Text,
    /// The same, but an empty one means the default.
    TextOrDefault,
    Switch,
    Number,
    /// Whole nanoseconds.
    Time,
    List,
}

impl Form {
    /// In the words of `docs/configuration.md`; nothing for what goes without saying.
    pub(in crate::config) fn name(self) -> &'static str {
        match self {
            Form::Text | Form::TextOrDefault | Form::Switch | Form::Number => "",
            Form::Time => " (nanoseconds)",
            Form::List => " (list)",
        }
    }
}

/// Where the value of a flag stands: its key, with those of the blocks around it before it.
pub(in crate::config) fn key(flag: &Flag) -> Option<&'static str> {
    if !flag.is_setting() || WITHOUT.contains(&flag.name) {
        return None;
    }
    let in_block = IN_BLOCKS.iter().find(|(name, _)| *name == flag.name);
    Some(in_block.map_or(flag.name, |(_, key)| key))
}

/// The flag whose value stands there. Keys may be written in capitals, as etcd reads them.
pub(super) fn flag_at(path: &str) -> Option<&'static Flag> {
    let find = |path: &str| all().find(|flag| key(flag).is_some_and(|key| key.eq_ignore_ascii_case(path)));
    find(path).or_else(|| find(&completed(path)?))
}

/// A path with the block that it leaves out.
fn completed(path: &str) -> Option<String> {
    let (outer, inner) = MAY_BE_LEFT_OUT;
    let (first, rest) = path.split_once('.')?;
    first.eq_ignore_ascii_case(outer).then(|| format!("{outer}.{inner}.{rest}"))
}

/// Tells whether that is a block of keys that mean something.
pub(super) fn is_block(path: &str) -> bool {
    let is_above = |path: &str, key: &str| {
        let (above, below) = key.split_at_checked(path.len()).unwrap_or_default();
        above.eq_ignore_ascii_case(path) && below.starts_with('.')
    };
    let is_block = |path: &str| IN_BLOCKS.iter().any(|(_, key)| is_above(path, key));
    is_block(path) || completed(path).is_some_and(|path| is_block(&path))
}

/// The form of a flag's value, which follows from its default.
pub(in crate::config) fn form(flag: &Flag) -> Form {
    if let Kind::Switch(_) = flag.kind {
        return Form::Switch;
    }
    if LISTS.contains(&flag.name) {
        return Form::List;
    }
    if flag.name == TEXT_IN_SPITE_OF_ITS_DEFAULT {
        return Form::Text;
    }
    if value::number(flag.default, u64::MAX).is_ok() {
        return Form::Number;
    }
    if value::duration(flag.default).is_ok() {
        return Form::Time;
    }
    let is_comma_list = flag.name.ends_with("-urls") || flag.default == "*";
    if is_comma_list || matches!(flag.name, "initial-cluster-state" | "feature-gates") {
        return Form::TextOrDefault;
    }
    Form::Text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::flags::find;

    #[test]
    fn keys_are_the_names_but_for_those_in_blocks() {
        let key_of = |name: &str| key(find(name).unwrap());
        assert_eq!(key_of("name"), Some("name"));
        assert_eq!(key_of("peer-cert-file"), Some("peer-transport-security.cert-file"));
        assert_eq!(key_of("client-cert-auth"), Some("client-transport-security.client-cert-auth"));
        for name in ["config-file", "version", "help", "peer-crl-file", "vv"] {
            assert_eq!(key_of(name), None, "{name}");
        }
    }

    #[test]
    fn no_two_flags_have_one_key() {
        let mut keys: Vec<&str> = all().filter_map(key).collect();
        let before = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), before);
    }

    #[test]
    fn flags_are_found_by_their_keys() {
        let found = |path: &str| flag_at(path).map(|flag| flag.name);
        assert_eq!(found("Data-Dir"), Some("data-dir"));
        assert_eq!(found("client-transport-security.cert-file"), Some("cert-file"));
        assert_eq!(found("cert-file"), None);
        assert!(is_block("peer-transport-security") && is_block("discovery-config.client.secure") && !is_block("peer"));
        assert!(!is_block("name"));
    }

    #[test]
    fn forms_follow_from_defaults() {
        for (name, expected) in [
            ("name", Form::Text),
            ("data-dir", Form::Text),
            ("listen-peer-urls", Form::TextOrDefault),
            ("cors", Form::TextOrDefault),
            ("pre-vote", Form::Switch),
            ("heartbeat-interval", Form::Number),
            ("quota-backend-bytes", Form::Number),
            ("grpc-keepalive-interval", Form::Time),
            ("corrupt-check-time", Form::Time),
            ("auto-compaction-retention", Form::Text),
            ("peer-cert-allowed-cn", Form::List),
            ("feature-gates", Form::TextOrDefault),
        ] {
            assert_eq!(form(find(name).unwrap()), expected, "{name}");
        }
    }
}
