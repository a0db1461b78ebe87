//! `gateway start` as a process.

use std::ffi::OsString;

use crate::harness::{Options, Process, Server, own_program, reference};
use crate::process::http;

fn start(arguments: &[&str]) -> (Process, tempfile::TempDir) {
    let temp = tempfile::tempdir().unwrap();
    let arguments: Vec<OsString> = ["gateway"].iter().chain(arguments).map(OsString::from).collect();
    (Process::start(&own_program(), &arguments, temp.path()), temp)
}

#[test]
fn clients_reach_a_member_through_it() {
    let server = Server::start(&Options::default());
    // Nobody is at the first.
    let endpoints = format!("--endpoints=127.0.0.1:1,http://{}", server.client_address());
    let (process, _temp) = start(&["start", &endpoints, "--listen-addr=127.0.0.1:0"]);
    let ready: serde_json::Value =
        serde_json::from_str(&process.wait_for_line("ready to proxy client requests", 0)).unwrap();
    assert_eq!(ready["endpoints"][0], "127.0.0.1:1");
    let address = ready["address"].as_str().unwrap();
    for _ in 0..3 {
        assert!(http(address, "GET", "/version").contains("\"etcdserver\":\"3.7.1\""));
    }
    process.wait_for_line("deactivated endpoint", 0);
}

#[test]
fn what_cannot_be_forwarded_is_refused_in_the_words_of_etcd() {
    for (arguments, text) in [
        (&["start", "--foo"][..], "unknown flag: --foo"),
        (&["start", "--retry-delay=zz"], "invalid argument \"zz\" for \"--retry-delay\" flag"),
        (&["start", "--listen-addr=foo"], "failed to validate listen address: foo"),
        (&["start", "--endpoints=127.0.0.1:23790"], "should not resolve to the gateway listen addr (127.0.0.1:23790)"),
    ] {
        let (status, stdout, stderr) = start(arguments).0.output();
        assert!(status == Some(1) && stderr.contains(text), "{arguments:?}: {stdout}{stderr}");
        let Some(reference) = reference() else { continue };
        let temp = tempfile::tempdir().unwrap();
        let all: Vec<OsString> = ["gateway"].iter().chain(arguments).map(OsString::from).collect();
        let (status, stdout, stderr) = Process::start(&reference.join("etcd"), &all, temp.path()).output();
        assert!(
            status == Some(1) && (stdout.clone() + &stderr).contains(text),
            "etcd: {arguments:?}: {stdout}{stderr}"
        );
    }
    let (status, stdout, _) = start(&[]).0.output();
    assert!(status == Some(0) && stdout.contains("lodemark gateway start [flags]"), "{stdout}");
}
