//! The program that is run as something says: under the name of etcd, from a file, from variables, with what only a running
//! process shows.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::contract::DEAD_KEYS;
use crate::harness::{Options, Process, Server, own_program};

/// Places that disturb nobody.
const ANYWHERE: &str = "listen-client-urls: http://127.0.0.1:0\nlisten-peer-urls: http://127.0.0.1:0\n";
const READY: &str = "ready to serve client requests";

/// The program under the name of etcd, as packages install it.
fn as_etcd(folder: &Path) -> PathBuf {
    let path = folder.join("etcd");
    std::os::unix::fs::symlink(own_program(), &path).unwrap();
    path
}

fn started(file: &str, variables: &[(String, String)]) -> (Process, tempfile::TempDir) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("etcd.conf.yml");
    fs::write(&path, file).unwrap();
    let arguments: Vec<OsString> = vec!["--config-file".into(), path.into()];
    let process = Process::start_with(&own_program(), &arguments, temp.path(), variables);
    process.wait_for_line(READY, 0);
    (process, temp)
}

fn line_of(process: &Process, text: &str) -> serde_json::Value {
    serde_json::from_str(&process.wait_for_line(text, 0)).unwrap()
}

#[test]
fn under_the_name_of_etcd_it_is_etcd() {
    let temp = tempfile::tempdir().unwrap();
    let etcd = as_etcd(temp.path());
    let run = |arguments: &[&str]| {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Process::start(&etcd, &arguments, temp.path()).output()
    };
    let (status, stdout, _) = run(&["--version"]);
    assert_eq!((status, stdout.lines().next()), (Some(0), Some("etcd Version: 3.7.1")));
    let (status, stdout, _) = run(&["--help"]);
    assert!(status == Some(0) && stdout.contains("\n  etcd [flags]\n") && !stdout.contains("  lodemark "), "{stdout}");
    let (status, _, stderr) = run(&["--nonsense"]);
    assert!(status == Some(2) && stderr.contains("\n  etcd [flags]\n"), "{stderr}");
    let (status, _, stderr) = run(&["grpc-proxy", "start", "--endpoints=127.0.0.1:1"]);
    assert!(status == Some(1) && stderr.starts_with("etcd grpc-proxy: Lodemark has no gRPC proxy"), "{stderr}");
}

#[test]
fn the_file_that_comes_with_etcd_starts_a_server() {
    // Its keys and values, but for the ports.
    let file = format!(
        "name: 'default'\ndata-dir:\nwal-dir:\nsnapshot-count: 10000\nheartbeat-interval: 100\nelection-timeout: 1000\n\
         quota-backend-bytes: 0\n{ANYWHERE}max-snapshots: 5\nmax-wals: 5\ncors:\n\
         initial-advertise-peer-urls: http://localhost:2380\nadvertise-client-urls: http://localhost:2379\n\
         {}\ndiscovery-srv:\ninitial-cluster:\ninitial-cluster-token: 'etcd-cluster'\ninitial-cluster-state: 'new'\n\
         strict-reconfig-check: false\nenable-pprof: true\n\
         client-transport-security:\n  cert-file:\n  key-file:\n  client-cert-auth: false\n  trusted-ca-file:\n  \
         auto-tls: false\n\
         peer-transport-security:\n  cert-file:\n  key-file:\n  client-cert-auth: false\n  trusted-ca-file:\n  \
         auto-tls: false\n\
         self-signed-cert-validity: 1\nlog-level: debug\nlogger: zap\nlog-outputs: [stderr]\nforce-new-cluster: false\n\
         auto-compaction-mode: periodic\nauto-compaction-retention: \"1\"\n\
         cipher-suites: [\n  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\n  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n]\n\
         tls-min-version: 'TLS1.2'\ntls-max-version: 'TLS1.3'\n",
        DEAD_KEYS.join("\n")
    );
    let (process, temp) = started(&file, &[]);
    let loaded = line_of(&process, "loaded server configuration, other configuration command line flags");
    assert!(loaded["path"].as_str().unwrap().ends_with("etcd.conf.yml"), "{loaded}");
    let started = line_of(&process, "starting an etcd server");
    assert_eq!(started["strict-reconfig-check"], false);
    assert_eq!(started["v2-deprecation"], "write-only");
    process.wait_for_line("--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8", 0);
    assert!(temp.path().join("default.etcd/member").is_dir());
}

#[test]
fn a_file_takes_the_place_of_flags_and_variables() {
    let variables = [("ETCD_NAME".to_owned(), "v".to_owned()), ("ETCD_PRE_VOTE".to_owned(), "nonsense".to_owned())];
    let (process, _temp) = started(&format!("name: f\n{ANYWHERE}"), &variables);
    assert_eq!(line_of(&process, "starting an etcd server")["name"], "f");
    assert!(process.lines().iter().all(|line| !line.contains("environment variable\"")));
}

#[test]
fn variables_alone_start_a_server() {
    let temp = tempfile::tempdir().unwrap();
    let variables = [
        ("ETCD_NAME", "v1"),
        ("ETCD_DATA_DIR", "data"),
        ("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:0"),
        ("ETCD_ADVERTISE_CLIENT_URLS", "http://127.0.0.1:0"),
        ("ETCD_LISTEN_PEER_URLS", "http://127.0.0.1:0"),
        ("ETCD_UNSUPPORTED_ARCH", "arm64"),
        ("ETCD_VERSION", "3.5.0"),
        ("ETCD_SNAPSHOT_COUNT", ""),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let process = Process::start_with(&own_program(), &[], temp.path(), &variables);
    process.wait_for_line(READY, 0);
    assert_eq!(line_of(&process, "cannot set special environment variable")["key"], "ETCD_VERSION");
    assert!(process.lines().iter().all(|line| !line.contains("unrecognized")), "{:?}", process.lines());
    assert!(temp.path().join("data/member").is_dir());
}

#[test]
fn who_listens_everywhere_and_advertises_nothing_is_found_by_the_machine_s_address() {
    let flags = ["--name=x", "--initial-cluster-token=t", "--listen-peer-urls=http://0.0.0.0:0"];
    let temp = tempfile::tempdir().unwrap();
    let arguments = flags.iter().copied().chain(["--listen-client-urls=http://127.0.0.1:0"]);
    let arguments: Vec<OsString> =
        arguments.chain(["--advertise-client-urls=http://localhost:2379"]).map(OsString::from).collect();
    let process = Server::run(&arguments, temp.path());
    process.wait_for_line(READY, 0);
    // A machine without any way out has no such address.
    if process.lines().iter().any(|line| line.contains("failed to detect default host")) {
        return;
    }
    let host = line_of(&process, "detected default host for advertise")["host"].as_str().unwrap().to_owned();
    let started = line_of(&process, "starting an etcd server");
    assert_eq!(started["initial-advertise-peer-urls"][0], format!("http://{host}:0"));
    assert_eq!(started["initial-cluster"], format!("x=http://{host}:0"));
}

#[test]
fn memory_is_kept_from_being_swapped_out_or_the_server_does_not_start() {
    let temp = tempfile::tempdir().unwrap();
    let flags = ["--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:0"];
    let flags = flags.iter().chain(&["--listen-peer-urls=http://127.0.0.1:0", "--name=a", "--memory-mlock"]);
    let arguments: Vec<OsString> = flags.map(OsString::from).collect();
    let mut process = Server::run(&arguments, temp.path());
    while !process.lines().iter().any(|line| line.contains(READY)) {
        if !process.is_running() {
            process.wait();
            process.wait_for_line("raise the limit of locked memory (LimitMEMLOCK=infinity in a unit file", 0);
            assert!(!temp.path().join("a.etcd").exists(), "nothing is touched");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap().trim().to_owned();
    assert_ne!(locked, "0 kB");
}

#[test]
fn space_is_given_back_before_a_member_serves_if_enough_of_it_is_free() {
    let options = Options { flags: vec!["--bootstrap-defrag-threshold-megabytes=100".into()], ..Options::default() };
    let mut server = Server::start(&options);
    let skipped = line_of(server.process(), "Skipping defragmentation");
    assert_eq!(skipped["bootstrap-defrag-threshold-bytes"], 100 << 20);
}
