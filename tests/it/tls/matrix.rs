//! Set-ups and clients: who is let in by a real etcd is let in here, and nobody else.
//!
//! Each set-up is started as both programs, and each client comes as etcdctl and as curl. The table of outcomes is printed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::{ASKS, OWN, TRUSTS, issue, launch, some_url};
use crate::harness::{Process, free_port, has_program, own_program, reference, skip};

/// How long etcdctl tries, which does not take no for an answer.
const PATIENCE: &str = "--command-timeout=5s";
/// The line that all set-ups come to.
const READY: &str = "ready to serve client requests";

/// How a server is started.
struct Setup {
    name: &'static str,
    scheme: &'static str,
    flags: Vec<&'static str>,
    /// Clients that have to be let in, for the table not to say the same of everybody.
    lets_in: &'static str,
}

/// Who comes.
#[derive(Clone, Copy)]
struct Caller {
    name: &'static str,
    /// The file of its certificate, without an ending.
    certificate: Option<&'static str>,
    trust: Trust,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The authority of the tests.
    Ours,
    /// That of the system.
    System,
    /// Anybody.
    Any,
    /// It speaks no TLS.
    Plain,
}

const CALLERS: [Caller; 12] = [
    Caller { name: "plain", certificate: None, trust: Trust::Plain },
    Caller { name: "nobody", certificate: None, trust: Trust::Ours },
    Caller { name: "trusts others", certificate: None, trust: Trust::System },
    Caller { name: "looks away", certificate: None, trust: Trust::Any },
    Caller { name: "alice", certificate: Some("alice"), trust: Trust::Ours },
    Caller { name: "here", certificate: Some("here"), trust: Trust::Ours },
    Caller { name: "elsewhere", certificate: Some("elsewhere"), trust: Trust::Ours },
    Caller { name: "stranger", certificate: Some("stranger"), trust: Trust::Ours },
    Caller { name: "expired", certificate: Some("expired"), trust: Trust::Ours },
    Caller { name: "future", certificate: Some("future"), trust: Trust::Ours },
    Caller { name: "for servers", certificate: Some("for_servers"), trust: Trust::Ours },
    Caller { name: "revoked", certificate: Some("revoked"), trust: Trust::Ours },
];

fn setups() -> Vec<Setup> {
    let https =
        |name, lets_in, flags: &[&[&'static str]]| Setup { name, scheme: "https", flags: flags.concat(), lets_in };
    let asks = &[TRUSTS, ASKS][..];
    vec![
        Setup { name: "no TLS", scheme: "http", flags: vec![], lets_in: "plain" },
        https("a certificate", "nobody", &[&OWN]),
        https("an authority", "alice", &[&OWN, &[TRUSTS]]),
        https("clients have to show one", "alice", &[&OWN, asks]),
        https("a list of revoked ones", "alice", &[&OWN, asks, &["--client-crl-file=crl.der"]]),
        https("an allowed host", "alice", &[&OWN, asks, &["--client-cert-allowed-hostname=alice.invalid"]]),
        https("its own certificate", "looks away", &[&["--auto-tls"]]),
        https("one of the future", "looks away", &[&["--cert-file=future.pem", "--key-file=future.key"]]),
        https("one for clients", "looks away", &[&["--cert-file=for_clients.pem", "--key-file=for_clients.key"]]),
        https("one for elsewhere", "looks away", &[&["--cert-file=elsewhere.pem", "--key-file=elsewhere.key"]]),
    ]
}

/// The two programs: etcd, and this one.
fn programs() -> Option<[PathBuf; 2]> {
    let etcd = reference()?.join("etcd");
    if !has_program("curl") {
        skip("there is no curl");
        return None;
    }
    Some([etcd, own_program()])
}

fn curl(dir: &Path, address: &str, path: &str, caller: Caller, more: &[&str]) -> bool {
    let scheme = if caller.trust == Trust::Plain { "http" } else { "https" };
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--max-time", "10", "--output", "/dev/null"]).args(more);
    match caller.trust {
        Trust::Ours => drop(command.args(["--cacert", "ca.pem"])),
        Trust::Any => drop(command.arg("--insecure")),
        Trust::System | Trust::Plain => {}
    }
    if let Some(file) = caller.certificate {
        command.args(["--cert", &format!("{file}.pem"), "--key", &format!("{file}.key")]);
    }
    let status = command.arg(format!("{scheme}://{address}{path}")).current_dir(dir).stdin(Stdio::null()).status();
    status.expect("curl runs").success()
}

fn etcdctl(dir: &Path, address: &str, caller: Caller) -> bool {
    let scheme = if caller.trust == Trust::Plain { "http" } else { "https" };
    let mut command = Command::new(reference().expect("asked before").join("etcdctl"));
    command.args([&format!("--endpoints={scheme}://{address}"), PATIENCE]);
    match caller.trust {
        Trust::Ours => drop(command.arg("--cacert=ca.pem")),
        Trust::Any => drop(command.args(["--insecure-skip-tls-verify", "--insecure-transport=false"])),
        Trust::System => drop(command.arg("--insecure-transport=false")),
        Trust::Plain => {}
    }
    if let Some(file) = caller.certificate {
        command.args([format!("--cert={file}.pem"), format!("--key={file}.key")]);
    }
    let output = command.args(["put", "k", "v"]).current_dir(dir).stdin(Stdio::null()).output();
    output.expect("etcdctl runs").status.success()
}

/// Lets all callers come at a time; gives who was let in.
fn let_in(attempts: impl Fn(Caller) -> bool + Sync) -> Vec<bool> {
    thread::scope(|scope| {
        let attempts = &attempts;
        let coming: Vec<_> = CALLERS.iter().map(|&caller| scope.spawn(move || attempts(caller))).collect();
        coming.into_iter().map(|attempt| attempt.join().expect("an attempt does not panic")).collect()
    })
}

fn names(let_in: &[bool]) -> Vec<&'static str> {
    CALLERS.iter().zip(let_in).filter(|(_, is_in)| **is_in).map(|(caller, _)| caller.name).collect()
}

/// Compares who is let in by etcd and by this program; `lets_in` has to be, and not everybody.
fn compare(setup: &str, by: &str, outcomes: [Vec<bool>; 2], lets_in: &str) {
    let [theirs, ours] = outcomes.map(|outcome| names(&outcome));
    println!("{setup}: {by}: {}", ours.join(", "));
    assert_eq!(ours, theirs, "{setup}: {by}: let in here, and by etcd");
    assert!(ours.contains(&lets_in) && ours.len() < CALLERS.len(), "{setup}: {by}: {ours:?}");
}

#[test]
fn clients_are_let_in_where_etcd_lets_them_in() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    for Setup { name, scheme, flags, lets_in } in setups() {
        let servers = programs.each_ref().map(|program| {
            let url = some_url(scheme);
            let process = launch(program, dir.path(), &url, "http://127.0.0.1:0", &flags);
            process.wait_for_line(READY, 0);
            (process, url.rsplit('/').next().unwrap().to_owned())
        });
        let curl = servers.each_ref().map(|(_, at)| let_in(|caller| curl(dir.path(), at, "/health", caller, &[])));
        compare(name, "curl", curl, lets_in);
        // etcdctl waits for long if it is refused: for both servers at a time.
        let ctl = thread::scope(|scope| {
            let both =
                servers.each_ref().map(|(_, at)| scope.spawn(|| let_in(|caller| etcdctl(dir.path(), at, caller))));
            both.map(|outcome| outcome.join().unwrap())
        });
        compare(name, "etcdctl", ctl, lets_in);
        tells_of_the_refused(name, &servers[1].0, scheme);
    }
}

/// Who is refused while the handshake is looked at leaves a line; etcd's fields are there.
fn tells_of_the_refused(setup: &str, process: &Process, scheme: &str) {
    if scheme == "http" {
        return;
    }
    let line = process.wait_for_line("rejected connection on client endpoint", 0);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "warn", "{setup}");
    for field in ["remote-addr", "server-name", "ip-addresses", "dns-names", "error"] {
        assert!(line.get(field).is_some(), "{setup}: {field} is missing in {line}");
    }
}

#[test]
fn versions_and_suites_are_those_that_flags_say() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    let nobody = CALLERS[1];
    let suite = "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let old: &[&str] = &["--tls-max", "1.2"];
    let new: &[&str] = &["--tlsv1.3"];
    let other: &[&str] = &["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"];
    let same: &[&str] = &["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"];
    let weak: &[&str] = &["--tls-max", "1.2", "--ciphers", "AES128-SHA:@SECLEVEL=0"];
    for (flags, expected) in [
        (&[][..], [true, true, true, true, false]),
        (&["--tls-min-version=TLS1.3"], [false, true, false, false, false]),
        (&["--tls-max-version=TLS1.2"], [true, false, true, true, false]),
        (&[suite], [true, true, false, true, false]),
    ] {
        for program in &programs {
            let url = some_url("https");
            let process = launch(program, dir.path(), &url, "http://127.0.0.1:0", &[&OWN, flags].concat());
            process.wait_for_line(READY, 0);
            let at = url.trim_start_matches("https://");
            let spoken = [old, new, other, same, weak].map(|more| curl(dir.path(), at, "/health", nobody, more));
            assert_eq!(spoken, expected, "{flags:?} {}", program.display());
        }
    }
}

#[test]
fn members_are_let_in_where_etcd_lets_them_in() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    let common: &[&str] =
        &["--peer-cert-file=server.pem", "--peer-key-file=server.key", "--peer-trusted-ca-file=ca.pem"];
    for (name, lets_in, flags) in [
        ("an authority", "here", &[][..]),
        ("an allowed name", "here", &["--peer-client-cert-auth", "--peer-cert-allowed-cn=here,elsewhere"]),
        ("an allowed host", "here", &["--peer-client-cert-auth", "--peer-cert-allowed-hostname=localhost"]),
        ("a list of revoked ones", "here", &["--peer-client-cert-auth", "--peer-crl-file=crl.der"]),
        ("addresses do not count", "elsewhere", &["--peer-client-cert-auth", "--peer-skip-client-san-verification"]),
    ] {
        let outcomes = programs.each_ref().map(|program| {
            let (client_url, peer_url) = (some_url("http"), some_url("https"));
            let process = launch(program, dir.path(), &client_url, &peer_url, &[common, flags].concat());
            process.wait_for_line(READY, 0);
            let at = peer_url.trim_start_matches("https://");
            // A real etcd answers pages there by HTTP/1.1 alone.
            let outcome = let_in(|caller| curl(dir.path(), at, "/version", caller, &["--http1.1"]));
            process.wait_for_line("rejected connection on peer endpoint", 0);
            outcome
        });
        compare(name, "peer", outcomes, lets_in);
    }
}

#[test]
fn metrics_are_told_to_whom_etcd_tells_them() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    let metrics = format!("127.0.0.1:{}", free_port());
    let flag = format!("--listen-metrics-urls=https://{metrics}");
    let outcomes = programs.each_ref().map(|program| {
        let flags = [&OWN[..], &[TRUSTS, ASKS, &flag]].concat();
        let process = launch(program, dir.path(), &some_url("http"), "http://127.0.0.1:0", &flags);
        process.wait_for_line(READY, 0);
        let_in(|caller| curl(dir.path(), &metrics, "/health", caller, &[]))
    });
    compare("metrics", "curl", outcomes, "here");
}
