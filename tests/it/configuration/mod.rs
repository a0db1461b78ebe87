//! Everything that can be said by flags, variables and the configuration file, compared with the table of etcd's contract
//! (`contract`) and with a real etcd.

mod bad_input;
mod contract;
mod gateway;
mod program;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use lodemark::config::{Config, Error, Invocation};

use self::contract::{FLAGS, Form, IGNORED, Row};
use crate::harness::{Process, own_program, reference};

/// With the value 1 the document is written instead of being compared.
const WRITE: &str = "LODEMARK_WRITE_DOCS";
const DOCUMENT: &str = "docs/configuration.md";

fn run(program: &Path, arguments: &[String], variables: &[(String, String)]) -> (Option<i32>, String, String) {
    let temp = tempfile::tempdir().unwrap();
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    Process::start_with(program, &arguments, temp.path(), variables).output()
}

#[test]
fn help_has_every_flag_with_its_default() {
    let (status, help, _) = run(&own_program(), &["--help".into()], &[]);
    assert_eq!(status, Some(0));
    for row in FLAGS {
        let line = format!("\n  --{} '{}'\n", row.flag, row.default);
        assert!(help.contains(&line), "{line:?} is missing in:\n{help}");
    }
    for flag in IGNORED.iter().chain(&["config-file", "version", "help"]) {
        assert!(help.contains(&format!("\n  --{flag}")), "--{flag} is missing");
    }
}

#[test]
fn the_document_is_what_the_table_gives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let document = lodemark::config::document();
    if std::env::var(WRITE).as_deref() == Ok("1") {
        return fs::write(path, document).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == document,
        "{DOCUMENT} is not what the table of flags gives; write it anew with\n  \
         {WRITE}=1 cargo test --test it the_document_is_what_the_table_gives"
    );
}

#[test]
fn the_document_has_names_variables_keys_and_defaults_of_etcd() {
    let document = lodemark::config::document();
    for row in FLAGS {
        let form = match row.form {
            Form::Time => " (nanoseconds)",
            Form::List => " (list)",
            Form::Text | Form::Switch | Form::Number => "",
        };
        let key = if row.key.is_empty() { String::new() } else { format!("`{}`{form}", row.key) };
        let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
        let line = format!("\n| `--{}` | `{}` | {key} | {default} | ", row.flag, row.variable());
        assert!(document.contains(&line), "{line}");
    }
}

/// All flags of the table at once, each written by `write`, with a stray argument behind them: whoever complains of that has
/// taken the flags.
fn all_taken(program: &Path, rows: &[&Row], write: impl Fn(&Row) -> Vec<String>) {
    let mut arguments: Vec<String> = rows.iter().flat_map(|row| write(row)).collect();
    arguments.push("stray".into());
    let (status, _, stderr) = run(program, &arguments, &[]);
    assert!(status == Some(1) && stderr.contains(r#"\"stray\" is not a valid flag"#), "{status:?}: {stderr}");
}

#[test]
fn every_flag_is_taken_in_every_way_to_write_it() {
    let rows: Vec<&Row> = FLAGS.iter().collect();
    for program in [own_program()].into_iter().chain(reference().map(|etcd| etcd.join("etcd"))) {
        for dashes in ["-", "--"] {
            let inline = |row: &Row| vec![format!("{dashes}{}={}", row.flag, row.sample)];
            all_taken(&program, &rows, inline);
            // The value of a switch cannot stand by itself.
            all_taken(&program, &rows, |row| match row.form {
                Form::Switch => vec![format!("{dashes}{}", row.flag)],
                _ => vec![format!("{dashes}{}", row.flag), row.sample.to_owned()],
            });
        }
        for ignored in [|flag: &&str| format!("--{flag}=x"), |flag: &&str| format!("-{flag}")] {
            let arguments: Vec<String> = IGNORED.iter().map(ignored).chain(["stray".to_owned()]).collect();
            let (status, _, stderr) = run(&program, &arguments, &[]);
            assert!(status == Some(1) && stderr.contains("is not a valid flag"), "{stderr}");
        }
    }
}

#[test]
fn every_variable_is_used_and_told() {
    /// Of more lines with one text within a second some are left out, as by etcd.
    const AT_ONCE: usize = 50;
    let rows: Vec<&Row> = FLAGS.iter().filter(|row| !APART.contains(&row.flag)).collect();
    for rows in rows.chunks(AT_ONCE) {
        let mut variables: BTreeMap<String, String> =
            rows.iter().map(|row| (row.variable(), row.sample.to_owned())).collect();
        // So that it ends.
        variables.insert("ETCD_ELECTION_TIMEOUT".into(), "60000".into());
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        let (status, _, stderr) = run(&own_program(), &[], &variables);
        assert!(status == Some(1) && stderr.contains("is too long, and should be set less than 50000ms"), "{stderr}");
        for (name, value) in &variables {
            let value = if name == HIDDEN.0 { HIDDEN.1 } else { value };
            let fields = [("variable-name", name.as_str()), ("variable-value", value)];
            let is_told = |line: &serde_json::Value| {
                line["msg"] == "recognized and used environment variable"
                    && fields.iter().all(|(field, text)| line[*field] == *text)
            };
            let lines = stderr.lines().filter_map(|line| serde_json::from_str(line).ok());
            assert_eq!(lines.filter(is_told).count(), 1, "{name}: {stderr}");
        }
        assert!(!stderr.contains("unrecognized environment variable"), "{stderr}");
    }
}

/// What would end the others' test: samples that contradict those of other flags, and what changes the log that is read.
const APART: &[&str] = &[
    "log-level",
    "log-format",
    "log-outputs",
    "enable-log-rotation",
    "tls-min-version",
    "discovery-srv",
    "discovery-srv-name",
    "discovery-endpoints",
    "discovery-token",
];
/// What is told of a variable instead of its value.
const HIDDEN: (&str, &str) = ("ETCD_DISCOVERY_PASSWORD", "<hidden>");
/// Means nothing without `--enable-distributed-tracing`; nor does that mean anything.
const TRACING: &str = "distributed-tracing-";
/// Go sets the option of every listener by itself, and so do we.
const ALWAYS_SO: &str = "socket-reuse-address";
/// Clients are served over TLS.
const CLIENTS_OVER_TLS: &[(&str, &str)] = &[
    ("listen-client-urls", "https://127.0.0.1:1"),
    ("advertise-client-urls", "https://127.0.0.1:1"),
    ("cert-file", "c.pem"),
    ("key-file", "k.pem"),
];

/// What must be said as well for a flag to mean something.
fn companions(flag: &str) -> &'static [(&'static str, &'static str)] {
    match flag {
        "listen-client-urls" => &[("advertise-client-urls", "http://127.0.0.1:1")],
        "auto-compaction-mode" => &[("auto-compaction-retention", "1h")],
        "enable-log-rotation" => &[("log-outputs", "x.log")],
        "log-rotation-config-json" => &[("log-outputs", "x.log"), ("enable-log-rotation", "true")],
        "discovery-srv-name" => &[("discovery-srv", "example.com")],
        "discovery-token" => &[("discovery-endpoints", "127.0.0.1:5")],
        "discovery-endpoints" => &[("discovery-token", "t")],
        "auto-tls" => &CLIENTS_OVER_TLS[..2],
        "self-signed-cert-validity" => &[("peer-auto-tls", "true")],
        "peer-client-cert-file" | "peer-client-key-file" => &[("peer-cert-file", "c.pem"), ("peer-key-file", "k.pem")],
        "cert-file" | "key-file" | "trusted-ca-file" | "client-crl-file" => CLIENTS_OVER_TLS,
        client if client.starts_with("client-cert-") || client.starts_with("client-key-") => CLIENTS_OVER_TLS,
        _ => &[],
    }
}

/// What the three ways make of some values; of the file nothing if one of them has no key.
fn outcomes(said: &[(&Row, &str)]) -> [Option<Result<Config, Error>>; 3] {
    let config = |outcome: Result<Invocation, Error>| match outcome {
        Ok(Invocation::Serve(config)) => Ok(*config),
        Ok(other) => panic!("{said:?}: {other:?}"),
        Err(error) => Err(error),
    };
    let flags = said.iter().map(|(row, value)| format!("--{}={value}", row.flag).into());
    let variables = said.iter().map(|(row, value)| (row.variable().into(), value.into()));
    let file = said.iter().all(|(row, _)| !row.key.is_empty()).then(|| {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("etcd.yml");
        fs::write(&path, said.iter().map(|(row, value)| row.in_file(value)).collect::<String>()).unwrap();
        Invocation::from_args([format!("--config-file={}", path.display()).into()])
    });
    let (flags, variables) = (Invocation::from_args(flags), Invocation::read([], variables).outcome);
    [Some(flags), Some(variables), file].map(|outcome| outcome.map(config))
}

#[test]
fn a_flag_its_variable_and_its_key_say_the_same() {
    let find = |flag: &str| FLAGS.iter().find(|row| row.flag == flag).unwrap();
    let mut idle = Vec::new();
    for row in FLAGS {
        let companions = companions(row.flag).iter().filter(|(flag, _)| *flag != row.flag);
        let without: Vec<(&Row, &str)> = companions.map(|(flag, value)| (find(flag), *value)).collect();
        let with: Vec<(&Row, &str)> = without.iter().copied().chain([(row, row.sample)]).collect();
        let [flag, variable, file] = outcomes(&with);
        assert_eq!(flag, variable, "--{}", row.flag);
        assert!(file.is_none() == row.key.is_empty() && (file.is_none() || flag == file), "--{}: {file:?}", row.flag);
        if !row.flag.starts_with(TRACING)
            && row.flag != ALWAYS_SO
            && row.sample != row.default
            && flag == outcomes(&without)[0]
        {
            idle.push(row.flag);
        }
    }
    assert!(idle.is_empty(), "these change nothing: {idle:?}");
}
