//! What is wrong, and what is said of it: by us and by etcd alike.

use std::fs;
use std::path::Path;

use lodemark::net::CertificateFiles;

use super::run;
use crate::harness::{Authority, own_program, reference};

/// Everything that the program is started with.
#[derive(Debug, Default, Clone, Copy)]
struct Given {
    flags: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    /// A configuration file, if it is not empty.
    file: &'static str,
}

impl Given {
    fn flags(flags: &'static [&'static str]) -> Given {
        Given { flags, ..Given::default() }
    }

    fn variables(variables: &'static [(&'static str, &'static str)]) -> Given {
        Given { variables, ..Given::default() }
    }

    fn file(file: &'static str) -> Given {
        Given { file, ..Given::default() }
    }

    /// Exit status, and everything that was said.
    fn run(self, program: &Path) -> (Option<i32>, String) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("etcd.yml");
        let mut flags: Vec<String> = self.flags.iter().copied().map(String::from).collect();
        if !self.file.is_empty() {
            fs::write(&path, self.file).unwrap();
            flags.push(format!("--config-file={}", path.display()));
        }
        let variables: Vec<_> =
            self.variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (status, stdout, stderr) = run(program, &flags, &variables);
        assert_eq!(stdout, "", "{self:?}");
        (status, stderr)
    }
}

#[test]
fn what_is_wrong_is_refused_as_by_etcd() {
    for (given, status, text) in [
        (Given::flags(&["--nonsense"]), 2, "flag provided but not defined: -nonsense"),
        (Given::flags(&["--name"]), 2, "flag needs an argument: -name"),
        (Given::flags(&["stray"]), 1, r#"\"stray\" is not a valid flag"#),
        (Given::flags(&["--snapshot-count=abc"]), 2, "invalid value \"abc\" for flag -snapshot-count: parse error"),
        (Given::flags(&["--pre-vote=maybe"]), 2, "invalid boolean value \"maybe\" for -pre-vote: parse error"),
        (
            Given::flags(&["--v2-deprecation=not-yet"]),
            2,
            "invalid value \"not-yet\" for flag -v2-deprecation: invalid value \"not-yet\"",
        ),
        (
            Given::flags(&["--feature-gates=Foo=true"]),
            2,
            "invalid value \"Foo=true\" for flag -feature-gates: unrecognized feature gate: Foo",
        ),
        (
            Given::flags(&["--feature-gates=LeaseCheckpointPersist=true"]),
            1,
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
        ),
        (Given::flags(&["--listen-client-urls=nowhere"]), 2, "URL scheme must be http, https, unix, or unixs: nowhere"),
        (Given::flags(&["--corrupt-check-time=5"]), 2, "invalid value \"5\" for flag -corrupt-check-time: parse error"),
        (
            Given::flags(&["--listen-peer-urls=http://example.com:0"]),
            1,
            "expected IP in URL for binding (http://example.com:0)",
        ),
        (
            Given::flags(&["--initial-advertise-peer-urls=http://:1"]),
            1,
            r#"--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" (unexpected empty host (http://:1))"#,
        ),
        (
            Given::flags(&["--listen-client-urls=http://127.0.0.1:0"]),
            1,
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (Given::flags(&["--heartbeat-interval=0"]), 1, "--heartbeat-interval must be >0 (set to 0ms)"),
        (
            Given::flags(&["--election-timeout=400"]),
            1,
            "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (Given::flags(&["--auto-compaction-mode=x"]), 1, r#"unknown auto-compaction-mode \"x\""#),
        (Given::flags(&["--compact-hash-check-time=0s"]), 1, "--compact-hash-check-time must be >0 (set to 0s)"),
        (
            Given::flags(&["--enable-distributed-tracing", "--distributed-tracing-sampling-rate=2000000"]),
            1,
            "distributed tracing configurition is not valid: (tracing sampling rate must be less than 1000000)",
        ),
        (Given::flags(&["--config-file=/no/such/file"]), 1, "open /no/such/file: no such file or directory"),
        (
            Given { flags: &["--name=b"], variables: &[("ETCD_NAME", "a")], file: "" },
            1,
            "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment \
             variable or disable flag))\",\"environment-variable\":\"ETCD_NAME\"",
        ),
        (
            Given::variables(&[("ETCD_SNAPSHOT_COUNT", "abc")]),
            1,
            r#"invalid value \"abc\" for ETCD_SNAPSHOT_COUNT: parse error"#,
        ),
        (
            Given::variables(&[("ETCD_PRE_VOTE", "maybe")]),
            1,
            r#"invalid value \"maybe\" for ETCD_PRE_VOTE: parse error"#,
        ),
        (Given::file("name: [a"), 1, "error converting YAML to JSON: yaml: line "),
        (Given::file("feature-gates: Foo=true\n"), 1, "unrecognized feature gate: Foo"),
        (Given::file("listen-peer-urls: nowhere\n"), 1, "URL scheme must be http, https, unix, or unixs: nowhere"),
        (Given::file("election-timeout: 100\n"), 1, "should be at least as 5 times as --heartbeat-interval[100ms]"),
    ] {
        let (ours, said) = given.run(&own_program());
        assert!(ours == Some(status) && said.contains(text), "{given:?}: {ours:?} {said}");
        if status == 2 {
            assert!(said.contains("Usage:"), "{given:?}: {said}");
        } else {
            let is_json = |line| serde_json::from_str::<serde_json::Value>(line).is_ok();
            assert!(said.lines().all(is_json), "{given:?}: {said}");
        }
        if let Some(reference) = reference() {
            let (theirs, said) = given.run(&reference.join("etcd"));
            assert!(theirs == Some(status) && said.contains(text), "etcd: {given:?}: {theirs:?} {said}");
        }
    }
}

/// etcd names the field of its own structure; we the file, the line, the key and what to write. Both refuse.
#[test]
fn forms_that_a_file_must_not_have_are_refused_with_the_remedy() {
    for (file, text) in [
        ("snapshot-count: abc\n", "line 1: snapshot-count: abc is a text; write a whole number without quotes"),
        ("\nheartbeat-interval: '100'\n", "line 2: heartbeat-interval: "),
        ("pre-vote: 'true'\n", "write true or false, without quotes"),
        ("corrupt-check-time: 5s\n", "whole number of nanoseconds, without quotes: write 5000000000"),
        ("initial-cluster-token: true\n", "put it in quotes: 'true'"),
        ("name: [a]\n", "line 1: name: this is a list; write one text"),
        ("peer-transport-security: foo\n", "write the keys that belong to it below it, indented"),
        ("peer-transport-security:\n  allowed-cn: a\n", "write a list of texts"),
        ("snapshot-count: -1\n", "line 1: snapshot-count: invalid value"),
        ("initial-cluster-state: zz\n", "line 1: initial-cluster-state: invalid value"),
    ] {
        let given = Given::file(file);
        let (status, said) = given.run(&own_program());
        assert!(
            status == Some(1) && said.contains("failed to verify flags") && said.contains(text),
            "{file:?}: {said}"
        );
        if let Some(reference) = reference() {
            let (status, said) = given.run(&reference.join("etcd"));
            assert!(status == Some(1) && said.contains("failed to verify flags"), "etcd: {file:?}: {said}");
        }
    }
}

#[test]
fn a_typo_is_answered_with_what_was_meant() {
    let (status, said) = Given::flags(&["--intial-cluster=x"]).run(&own_program());
    assert!(status == Some(2) && said.contains("did you mean --initial-cluster?"), "{said}");
    let given = Given { flags: &["--election-timeout=1"], variables: &[("ETCD_DATA_DRI", "x")], file: "" };
    let (_, said) = given.run(&own_program());
    assert!(said.contains(r#""did-you-mean":"ETCD_DATA_DIR""#), "{said}");
}

/// Flags of a member that speaks TLS with clients, and with members if `peers` says so.
fn over_tls(temp: &Path, files: &CertificateFiles, peers: bool) -> Vec<String> {
    let (client, peer) = if peers { ("http", "https") } else { ("https", "http") };
    let prefix = if peers { "peer-" } else { "" };
    vec![
        format!("--listen-client-urls={client}://127.0.0.1:0"),
        format!("--advertise-client-urls={client}://127.0.0.1:0"),
        format!("--listen-peer-urls={peer}://127.0.0.1:0"),
        format!("--data-dir={}", temp.join("data").display()),
        format!("--{prefix}cert-file={}", files.cert.display()),
        format!("--{prefix}key-file={}", files.key.display()),
    ]
}

#[test]
fn files_that_cannot_be_used_are_told_by_flag_and_name_before_anything_is_touched() {
    let temp = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca");
    let good = authority.issue(temp.path(), "good", "good", 1, &["127.0.0.1"]);
    let other = authority.issue(temp.path(), "other", "other", 2, &["127.0.0.1"]);
    let ended = authority.issue_ended(temp.path(), "ended", &["127.0.0.1"]);
    let missing = temp.path().join("missing.pem");
    let with = |cert: &Path, key: &Path| CertificateFiles { cert: cert.into(), key: key.into() };
    for peers in [false, true] {
        let flag = if peers { "--peer-cert-file" } else { "--cert-file" };
        let authorities = if peers { "--peer-trusted-ca-file" } else { "--trusted-ca-file" };
        for (files, more, named, remedy) in [
            (with(&missing, &good.key), None, "missing.pem", flag),
            (with(&good.cert, &missing), None, "missing.pem", flag),
            (with(&good.cert, &good.cert), None, "good.pem", flag),
            (with(&good.cert, &other.key), None, "other.key is not the key of ", flag),
            (
                ended.clone(),
                None,
                "ended.pem: the certificate has ended: it was valid until",
                "put a new one in its place",
            ),
            (good.clone(), Some(format!("{authorities}={}", missing.display())), "missing.pem", authorities),
        ] {
            let flags: Vec<String> = over_tls(temp.path(), &files, peers).into_iter().chain(more).collect();
            let (status, _, said) = run(&own_program(), &flags, &[]);
            let text = format!("{flags:?}: {said}");
            assert!(
                status == Some(1) && said.contains(named) && said.contains(flag) && said.contains(remedy),
                "{text}"
            );
            assert!(said.contains(r#""level":"fatal""#), "{text}");
            assert!(!temp.path().join("data").exists(), "nothing is touched: {text}");
        }
    }
}

#[test]
fn keys_of_tokens_that_are_not_there_are_told_before_anything_is_touched() {
    let temp = tempfile::tempdir().unwrap();
    let flags = [
        "--listen-client-urls=http://127.0.0.1:0".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:0".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        format!("--data-dir={}", temp.path().join("data").display()),
        "--auth-token=jwt,sign-method=RS256,priv-key=/no/such/key".to_owned(),
    ];
    let (status, _, said) = run(&own_program(), &flags, &[]);
    assert!(status == Some(1) && said.contains("auth: invalid auth options: /no/such/key: "), "{said}");
    assert!(!temp.path().join("data").exists(), "nothing is touched");
}
