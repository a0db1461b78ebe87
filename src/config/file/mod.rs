//! The configuration file: says everything that flags say, in YAML or JSON.
//!
//! ```text
//! bytes ── yaml ──> texts, lists, blocks ── keys: which flag, which form ──> a text as for the flag ──> Settings
//! ```
//!
//! What is not said is as without flags; keys that mean nothing are ignored, so that files of other versions work. The
//! file is read once, by etcd's rules, which are not those of the command line: times are whole nanoseconds, and a number
//! in quotes is no number. A value that some reader of YAML would take for another is refused with the way to write it.
//!
//! Source: etcd, `server/embed/config.go`, `configFromFile`.

mod keys;
mod yaml;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

pub(super) use self::keys::{Form, form, key};
use self::yaml::{Node, Value};
use super::flags::{Flag, SELF_SIGNED_VALIDITY, Settings, find};
use super::notice::Notice;
use super::value;

/// More is no configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A key that no flag has. Source: etcd, `securityConfig.AllowedCNs`.
const CLIENT_ALLOWED_CN: &str = "client-transport-security.allowed-cn";
/// How many keys that mean nothing are named.
const UNKNOWN_KEYS_TOLD: usize = 20;

/// Why a configuration file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The system does not give it.
    #[error(
        "{} {}: {}; --config-file and ETCD_CONFIG_FILE name a file that this user may read",
        if *kind == ErrorKind::IsADirectory { "read" } else { "open" },
        path.display(),
        reason(*kind)
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        kind: ErrorKind,
    },
    /// It is no text.
    #[error("--config-file {}: it is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than any configuration.
    #[error("--config-file {}: it has more than {FILE_BYTES_MAX} bytes, and so is no configuration", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no YAML.
    #[error("--config-file {}: error converting YAML to JSON: yaml: line {line}: {reason}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Why not.
        reason: String,
    },
    /// It is no list of keys.
    #[error("--config-file {}: it is {kind}; write one \"key: value\" a line, such as \"name: m1\"", path.display())]
    NoKeys {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A value has another form than it must have.
    #[error("--config-file {}, line {line}: {key}: {given} is {what}; {remedy}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// The key, with those around it.
        key: String,
        /// The value.
        given: String,
        /// What it is.
        what: &'static str,
        /// How it must be written.
        remedy: String,
    },
    /// A value cannot be read.
    #[error("--config-file {}, line {line}: {key}: invalid value {given:?}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// The key, with those around it.
        key: String,
        /// The value.
        given: String,
        /// Why not.
        reason: String,
    },
}

/// In Go's words, as far as there are any.
fn reason(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound => "no such file or directory".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "is a directory".to_owned(),
        kind => kind.to_string(),
    }
}

/// Reads a file, over the defaults of the table.
///
/// # Errors
/// [`FileError`] for the first thing that is wrong.
pub(super) fn read(path: &Path, notices: &mut Vec<Notice>) -> Result<Settings, FileError> {
    let bytes = bytes_of(path)?;
    read_bytes(path, &bytes, notices)
}

/// The same for what is in the file at `path`.
pub(super) fn read_bytes(path: &Path, bytes: &[u8], notices: &mut Vec<Notice>) -> Result<Settings, FileError> {
    let text = std::str::from_utf8(bytes).map_err(|_| FileError::NotText { path: path.to_owned() })?;
    let root = yaml::read(text).map_err(|error| FileError::Yaml {
        path: path.to_owned(),
        line: error.line,
        reason: error.reason,
    })?;
    let mut reader = Reader { path, settings: Settings::defaults(), unknown: Vec::new() };
    reader.settings.is_of_file = true;
    match root.map(|node| node.value) {
        None => {}
        Some(Value::Block(block)) => reader.block("", &block)?,
        Some(other) => return Err(FileError::NoKeys { path: path.to_owned(), kind: other.kind() }),
    }
    notices.push(Notice::LoadedFile { path: path.to_owned() });
    if !reader.unknown.is_empty() {
        notices.push(Notice::UnknownKeys { keys: reader.unknown });
    }
    let mut settings = reader.settings;
    if settings.self_signed_years == 0 {
        let validity = find(SELF_SIGNED_VALIDITY).expect("it is in the table");
        validity.read(validity.default, &mut settings).expect("a test reads the defaults of the table");
    }
    Ok(settings)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, FileError> {
    let unreadable = |error: std::io::Error| FileError::Unreadable { path: path.to_owned(), kind: error.kind() };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Takes a file's values over.
struct Reader<'a> {
    path: &'a Path,
    settings: Settings,
    /// Keys that mean nothing.
    unknown: Vec<String>,
}

impl Reader<'_> {
    fn block(&mut self, above: &str, block: &[(String, Node)]) -> Result<(), FileError> {
        for (name, node) in block {
            let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            if node.value.is_nothing() {
                // Nothing said.
                continue;
            }
            if let Some(flag) = keys::flag_at(&key) {
                self.set(flag, &key, node)?;
            } else if keys::is_block(&key) {
                match &node.value {
                    Value::Block(inner) => self.block(&key, inner)?,
                    _ => {
                        return Err(self.wrong_form(&key, node, "write the keys that belong to it below it, indented"));
                    }
                }
            } else if key.eq_ignore_ascii_case(CLIENT_ALLOWED_CN) {
                self.settings.client_tls.allowed_common_names = self.list(&key, node)?;
            } else if self.unknown.len() < UNKNOWN_KEYS_TOLD {
                self.unknown.push(key);
            }
        }
        Ok(())
    }

    /// Sets what a flag would set.
    fn set(&mut self, flag: &'static Flag, key: &str, node: &Node) -> Result<(), FileError> {
        let form = form(flag);
        let text = match form {
            Form::Text | Form::TextOrDefault => self.text(key, node)?,
            Form::Switch => self.switch(key, node)?,
            Form::Number => self.number(flag, key, node)?,
            Form::Time => self.time(key, node)?,
            Form::List => self.joined(key, node)?,
        };
        if text.is_empty() && matches!(form, Form::TextOrDefault | Form::List) {
            return Ok(());
        }
        flag.read(&text, &mut self.settings).map_err(|reason| FileError::Value {
            path: self.path.to_owned(),
            line: node.line,
            key: key.to_owned(),
            given: text,
            reason,
        })?;
        self.settings.given.insert(flag.name);
        Ok(())
    }

    fn text(&self, key: &str, node: &Node) -> Result<String, FileError> {
        match &node.value {
            Value::Text { text, is_quoted } if *is_quoted || is_plainly_a_text(text) => Ok(text.clone()),
            Value::Text { text, .. } => {
                Err(self.wrong_form(key, node, format!("put it in quotes: '{}'", text.replace('\'', "''"))))
            }
            Value::List(_) | Value::Block(_) => Err(self.wrong_form(key, node, "write one text; commas divide it")),
        }
    }

    fn switch(&self, key: &str, node: &Node) -> Result<String, FileError> {
        let value = match &node.value {
            Value::Text { text, is_quoted: false } => switch(text),
            _ => None,
        };
        let value = value.ok_or_else(|| self.wrong_form(key, node, "write true or false, without quotes"))?;
        Ok(value.to_string())
    }

    fn number(&self, flag: &Flag, key: &str, node: &Node) -> Result<String, FileError> {
        let remedy = || format!("write a whole number without quotes, such as {}", flag.default);
        match &node.value {
            Value::Text { text, is_quoted: false } if looks_like_number(text) => Ok(text.clone()),
            _ => Err(self.wrong_form(key, node, remedy())),
        }
    }

    fn time(&self, key: &str, node: &Node) -> Result<String, FileError> {
        let (nanos, as_flag) = match &node.value {
            Value::Text { text, is_quoted } => {
                (value::signed_number(text).ok().filter(|_| !is_quoted), value::duration(text).ok())
            }
            _ => (None, None),
        };
        if let Some(nanos) = nanos {
            return Ok(format!("{nanos}ns"));
        }
        let example = match as_flag.and_then(value::SignedDuration::positive) {
            Some(meant) => format!("write {}", meant.as_nanos()),
            None => "write 5000000000 for 5s".to_owned(),
        };
        Err(self.wrong_form(key, node, format!("a time is a whole number of nanoseconds, without quotes: {example}")))
    }

    fn list(&self, key: &str, node: &Node) -> Result<Vec<String>, FileError> {
        let remedy = "write a list of texts: [first, second]";
        let Value::List(list) = &node.value else { return Err(self.wrong_form(key, node, remedy)) };
        list.iter().map(|item| self.text(key, item)).collect()
    }

    /// A list as on the command line, which cannot have commas within its texts.
    fn joined(&self, key: &str, node: &Node) -> Result<String, FileError> {
        let list = self.list(key, node)?;
        match list.iter().find(|text| text.contains(',')) {
            Some(text) => Err(FileError::Value {
                path: self.path.to_owned(),
                line: node.line,
                key: key.to_owned(),
                given: text.clone(),
                reason: "it has a comma; write two texts of the list if that is meant".to_owned(),
            }),
            None => Ok(list.join(",")),
        }
    }

    fn wrong_form(&self, key: &str, node: &Node, remedy: impl Into<String>) -> FileError {
        let (given, what) = match &node.value {
            Value::Text { text, is_quoted: true } => (format!("{text:?}"), "a text in quotes"),
            Value::Text { text, is_quoted: false } if looks_like_number(text) => (text.clone(), "a number"),
            Value::Text { text, is_quoted: false } if switch(text).is_some() => (text.clone(), "true or false"),
            Value::Text { text, is_quoted: false } => (text.clone(), "a text"),
            other => ("this".to_owned(), other.kind()),
        };
        let (path, key, remedy) = (self.path.to_owned(), key.to_owned(), remedy.into());
        FileError::Form { path, line: node.line, key, given, what, remedy }
    }
}

/// Reads a switch, as YAML 1.1 reads it.
fn switch(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Whether YAML may take a text without quotes for a number.
fn looks_like_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let begins = digits.strip_prefix('.').unwrap_or(digits).starts_with(|letter: char| letter.is_ascii_digit());
    let plain = text.replace('_', "");
    begins && (value::signed_number(&plain).is_ok() || plain.parse::<f64>().is_ok())
}

/// Whether every reader of YAML takes a text without quotes for that text, or for a number that is written like that.
fn is_plainly_a_text(text: &str) -> bool {
    if looks_like_number(text) {
        return text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
            || text.parse::<f64>().is_ok_and(|number| number.to_string() == text);
    }
    switch(text).is_none()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Certificate, Config, Error, Invocation, KeyPair, Reading};
    use super::*;

    fn reading(text: &str) -> Reading {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("etcd.yml");
        fs::write(&path, text).unwrap();
        Invocation::read([format!("--config-file={}", path.display()).into()], [])
    }

    fn config(text: &str) -> Config {
        match reading(text).outcome {
            Ok(Invocation::Serve(config)) => *config,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// The message without the name of the file.
    fn refused(text: &str) -> String {
        let error = reading(text).outcome.unwrap_err();
        assert!(!error.is_usage());
        let text = error.to_string();
        text.split_once("etcd.yml").map_or(text.clone(), |(_, rest)| rest.to_owned())
    }

    #[test]
    fn an_empty_file_says_what_no_flags_say() {
        for text in ["", "# nothing\n", "name:\nlisten-client-urls: ''\n"] {
            assert_eq!(config(text), Config::default(), "{text:?}");
        }
    }

    #[test]
    fn values_of_every_form_are_taken_over() {
        let config = config(
            "name: m1\ndata-dir: '/tmp/x y'\nsnapshot-count: 7\npre-vote: no\nquota-backend-bytes: -1\n\
             corrupt-check-time: 5000000000\nauto-compaction-retention: \"1h\"\ncors: http://a:1,http://b:2\n\
             listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2\nInitial-Cluster-Token: 12\n\
             feature-gates: InitialCorruptCheck=true\nself-signed-cert-validity: 0\n",
        );
        assert_eq!((config.name.as_str(), config.data_dir.to_str()), ("m1", Some("/tmp/x y")));
        assert_eq!((config.snapshot_entries, config.pre_vote, config.quota_bytes), (7, false, None));
        assert_eq!(config.corrupt_check_interval.map(|time| time.as_secs()), Some(5));
        assert_eq!(config.cors, ["http://a:1", "http://b:2"]);
        assert_eq!(config.listen_client_urls.len(), 2);
        assert_eq!(config.advertise_client_urls[0].as_str(), "http://localhost:2379", "the default stands");
        assert_eq!((config.initial_cluster_token.as_str(), config.initial_corrupt_check), ("12", true));
    }

    #[test]
    fn tls_has_blocks_of_its_own() {
        let config = config(
            "listen-client-urls: https://127.0.0.1:1\n\
             client-transport-security:\n  cert-file: c\n  key-file: k\n  client-cert-auth: true\n  allowed-cn: [a, 'b,c']\n\
             listen-peer-urls: https://127.0.0.1:2\n\
             peer-transport-security:\n  cert-file: pc\n  key-file: pk\n  allowed-hostname: [a.example, b.example]\n  \
             skip-client-san-verification: true\n",
        );
        let pair = |cert: &str, key: &str| KeyPair { cert_file: cert.into(), key_file: key.into() };
        assert_eq!(config.client_tls.certificate, Certificate::Files(pair("c", "k")));
        assert!(config.client_tls.client_cert_auth);
        assert_eq!(config.client_tls.allowed_common_names, ["a", "b,c"]);
        assert_eq!(config.peer_tls.certificate, Certificate::Files(pair("pc", "pk")));
        assert_eq!(config.peer_tls.allowed_hostnames, ["a.example", "b.example"]);
        assert!(config.peer_tls.skip_client_san_verification);
    }

    #[test]
    fn json_works_as_well() {
        let config = config("{\"name\": \"j\", \"heartbeat-interval\": 50, \"pre-vote\": false}");
        assert_eq!((config.name.as_str(), config.heartbeat.as_millis(), config.pre_vote), ("j", 50, false));
    }

    #[test]
    fn keys_that_mean_nothing_are_ignored_with_a_word_about_it() {
        let notices = reading("proxy: 'off'\nname: a\npeer-transport-security:\n  x: 1\nhelp: true\n").notices;
        let Notice::UnknownKeys { keys } = &notices[1] else { panic!("{notices:?}") };
        assert_eq!(keys, &["proxy", "peer-transport-security.x", "help"]);
        assert!(matches!(notices[0], Notice::LoadedFile { .. }));
    }

    #[test]
    fn flags_and_variables_are_ignored_beside_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("c.yml");
        fs::write(&path, "name: f\n").unwrap();
        let variables =
            [("ETCD_CONFIG_FILE", path.to_str().unwrap()), ("ETCD_NAME", "v"), ("ETCD_PRE_VOTE", "nonsense")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let Reading { outcome, notices } =
            Invocation::read(["--name=a".into(), "--snapshot-count=3".into()], variables);
        let Ok(Invocation::Serve(config)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((config.name.as_str(), config.snapshot_entries), ("f", 10_000));
        assert_eq!(notices, [Notice::LoadedFile { path }]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_the_remedy() {
        for (text, said) in [
            (
                "name: [a",
                ": error converting YAML to JSON: yaml: line 2: while parsing a flow sequence, expected ',' or ']'",
            ),
            ("- a\n- b\n", ": it is a list; write one \"key: value\" a line, such as \"name: m1\""),
            ("name: [a]\n", ", line 1: name: this is a list; write one text; commas divide it"),
            ("\nname: true\n", ", line 2: name: true is true or false; put it in quotes: 'true'"),
            (
                "initial-cluster-token: 0123\n",
                ", line 1: initial-cluster-token: 0123 is a number; put it in quotes: '0123'",
            ),
            (
                "snapshot-count: abc\n",
                ", line 1: snapshot-count: abc is a text; write a whole number without quotes, such as 10000",
            ),
            (
                "snapshot-count: '10'\n",
                ", line 1: snapshot-count: \"10\" is a text in quotes; write a whole number without quotes, such as 10000",
            ),
            ("snapshot-count: -1\n", ", line 1: snapshot-count: invalid value \"-1\": parse error"),
            ("snapshot-count: 10.5\n", ", line 1: snapshot-count: invalid value \"10.5\": parse error"),
            (
                "pre-vote: 'true'\n",
                ", line 1: pre-vote: \"true\" is a text in quotes; write true or false, without quotes",
            ),
            (
                "corrupt-check-time: 5s\n",
                ", line 1: corrupt-check-time: 5s is a text; a time is a whole number of nanoseconds, without quotes: \
                 write 5000000000",
            ),
            (
                "peer-transport-security: x\n",
                ", line 1: peer-transport-security: x is a text; write the keys that belong to it below it, indented",
            ),
            (
                "peer-transport-security:\n  allowed-cn: a\n",
                ", line 2: peer-transport-security.allowed-cn: a is a text; write a list of texts: [first, second]",
            ),
            (
                "listen-peer-urls: http://a\n",
                ", line 1: listen-peer-urls: invalid value \"http://a\": URL address does not have the form \"host:port\": \
                 http://a",
            ),
            (
                "feature-gates: Foo=true\n",
                ", line 1: feature-gates: invalid value \"Foo=true\": unrecognized feature gate: Foo",
            ),
        ] {
            let message = refused(text);
            assert!(message.starts_with(said), "{text:?}: {message}");
        }
    }

    #[test]
    fn values_that_do_not_fit_together_are_refused_as_on_the_command_line() {
        assert!(matches!(
            reading("election-timeout: 100\n").outcome,
            Err(Error::ElectionTooShort { election_ms: 100, heartbeat_ms: 100 })
        ));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_by_its_name() {
        let temp = tempfile::tempdir().unwrap();
        let refused = |path: &Path| {
            let argument = format!("--config-file={}", path.display());
            Invocation::from_args([argument.into()]).unwrap_err().to_string()
        };
        let missing = temp.path().join("none.yml");
        assert!(refused(&missing).starts_with(&format!("open {}: no such file or directory", missing.display())));
        assert!(refused(temp.path()).starts_with(&format!("read {}: is a directory", temp.path().display())));
        let file = temp.path().join("c.yml");
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(refused(&file).ends_with("it is not UTF-8 text"));
        fs::write(&file, " ".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1)).unwrap();
        assert!(refused(&file).contains("more than 1048576 bytes"));
    }

    #[test]
    fn texts_that_others_take_for_something_else_need_quotes() {
        for text in ["12", "-3", "1.5", "m1", "1a", "http://a:1", "10.0.0.1", "1h30m", "a b"] {
            assert!(is_plainly_a_text(text), "{text}");
        }
        for text in ["0123", "0x10", "1_000", "1e3", "+5", "1.50", "yes", "Off", "TRUE", "n"] {
            assert!(!is_plainly_a_text(text), "{text}");
        }
    }
}
