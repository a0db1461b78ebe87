//! Clients of other languages do the main job, each by a small program in `tests/clients/`: it registers a service under a
//! lease that it keeps, finds it, watches it, takes a lock, wins an election, compares and swaps, and as a user it is
//! refused what it may not do. The Rust etcd-client brings tests of its own, and those run, too.
//!
//! Each runs on this server, and on a real etcd where there is one: that keeps the programs themselves honest.
//! `tests/clients/prepare` gets their packages before; without them a test is skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Etcd, Options, Server, free_port, has_program, reference, run, skip};

/// How long a program may take, in seconds, to be sure; they end by themselves sooner.
const PATIENCE: &str = "90";
/// How long all tests of the etcd-client may take, in seconds: they wait for tokens to end, one after the other.
const SUITE_PATIENCE: &str = "240";

/// The user that the etcd-client's tests expect to be there.
const ROOT: [(&str, &str); 2] =
    [("user/add", r#"{"name":"root","password":"rootpwd"}"#), ("user/grant", r#"{"user":"root","role":"root"}"#)];
/// What they expect of the server besides: tokens that end soon, and streams in chunks that are not the usual ones.
const SUITE_FLAGS: [&str; 2] = ["--auth-token-ttl=2", "--max-request-bytes=10240"];
/// Those that need a cluster and other programs, and one that counts calls in `/metrics`, which we do not have yet.
const LEFT_OUT: [&str; 2] = ["test_cluster", "test_auth_refresh_token_once_for_concurrent_calls"];

#[test]
fn go() {
    if !has_program("go") {
        return skip("this machine has no go");
    }
    let folder = tempfile::tempdir().unwrap();
    let client = folder.path().join("client");
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-buildvcs=false", "-o"]).arg(&client).arg(".");
    // What is not there is not fetched by a test.
    build.current_dir(sources("go")).env("GOPROXY", "off");
    if let Err(why) = run(&mut build) {
        return skip(&format!("tests/clients/prepare gets its packages: {why}"));
    }
    on_both_servers(|address| {
        let mut command = timeout(PATIENCE, &client);
        command.arg(address);
        command
    });
}

#[test]
fn python_over_grpc() {
    python("over_grpc.py");
}

#[test]
fn python_over_the_gateway() {
    python("over_gateway.py");
}

fn python(program: &str) {
    let Some(folder) = prepared("python", "bin/python") else { return };
    on_both_servers(|address| {
        let mut command = timeout(PATIENCE, &folder.join("bin/python"));
        command.arg(sources("python").join(program)).arg(address);
        command
    });
}

#[test]
fn javascript() {
    if !has_program("node") {
        return skip("this machine has no node");
    }
    let Some(folder) = prepared("javascript", "node_modules") else { return };
    on_both_servers(|address| {
        let mut command = timeout(PATIENCE, Path::new("node"));
        command.arg(sources("javascript").join("main.js")).arg(address).env("NODE_PATH", folder.join("node_modules"));
        command
    });
}

#[test]
fn java() {
    if !has_program("java") {
        return skip("this machine has no java");
    }
    let Some(folder) = prepared("java", "made-from") else { return };
    on_both_servers(|address| {
        let mut command = timeout(PATIENCE, Path::new("java"));
        command.arg("-cp").arg(folder.join("*")).arg(sources("java").join("Main.java")).arg(address);
        command
    });
}

#[test]
fn own_tests_of_the_rust_client() {
    let Some(folder) = prepared("etcd-client", "client") else { return };
    let flags = SUITE_FLAGS.map(str::to_owned).to_vec();
    let server = Server::start(&Options { flags, ..Options::default() });
    for (path, body) in ROOT {
        let answer = crate::gateway::http::ask(
            server.client_address(),
            "POST",
            &format!("/v3/auth/{path}"),
            &[],
            body.as_bytes(),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for tests in ["client", "namespace"] {
        let mut command = timeout(SUITE_PATIENCE, &folder.join(tests));
        command.arg("--include-ignored").env("LODEMARK_ENDPOINT", server.client_address());
        for name in LEFT_OUT {
            command.args(["--skip", name]);
        }
        passes(&mut command);
    }
}

/// Runs a program on a fresh server of ours, and on a fresh etcd.
fn on_both_servers(program: impl Fn(&str) -> Command) {
    let own = Server::start(&Options::default());
    passes(&mut program(own.client_address()));
    let Some(reference) = reference() else { return };
    // The gateway of etcd calls the port that the flag names, which must not be any.
    let etcd = Etcd::start(&reference, &[&format!("--listen-client-urls=http://127.0.0.1:{}", free_port())]);
    passes(&mut program(etcd.client_address()));
}

/// Runs a program, which says what is wrong if something is.
fn passes(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complained}", output.status);
}

fn timeout(seconds: &str, program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg(seconds).arg(program);
    command
}

fn sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(language)
}

/// The folder that `tests/clients/prepare` has made for a language, if `content` is in it.
fn prepared(language: &str, content: &str) -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("LODEMARK_CLIENTS").or_else(|| {
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        Some(cache?.join("lodemark-clients"))
    });
    let cache = cache.expect("there is a home");
    let folder = cache.join(language);
    if !folder.join(content).exists() {
        skip(&format!("{} is not there: tests/clients/prepare {language} makes it", folder.display()));
        return None;
    }
    Some(folder)
}
