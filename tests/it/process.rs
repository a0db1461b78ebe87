//! The program as a process: its arguments, its folder, its sockets, its end.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use lodemark::env::{Random, SeededRandom};

use crate::harness::{Etcd, Options, Process, Server, reference};

/// Looks at whether etcd has settled, and the time from one to the next.
const SETTLING_LOOKS_MAX: u32 = 200;
const SETTLING_PAUSE: Duration = Duration::from_millis(50);
/// How long an answer over HTTP may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Runs the program until it ends by itself; gives its exit status, stdout and stderr.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let temp = tempfile::tempdir().unwrap();
    run_in(temp.path(), arguments)
}

fn run_in(working_dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    Server::run(&arguments, working_dir).output()
}

/// Flags of a server that disturbs nobody.
fn anywhere(data_dir: &Path) -> Vec<String> {
    vec![
        "--listen-client-urls=http://127.0.0.1:0".into(),
        "--advertise-client-urls=http://127.0.0.1:0".into(),
        "--listen-peer-urls=http://127.0.0.1:0".into(),
        format!("--data-dir={}", data_dir.display()),
    ]
}

/// Starts a server that must not start; gives what it said.
fn refused(flags: &[String]) -> String {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (status, stdout, stderr) = run(&flags);
    assert_eq!((status, stdout.as_str()), (Some(1), ""), "{flags:?}: {stderr}");
    for line in stderr.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "not JSON: {line}");
    }
    assert!(stderr.contains(r#""level":"fatal""#) || stderr.contains("failed to verify flags"), "{stderr}");
    stderr
}

/// One request over HTTP/1.1; gives everything that came back.
pub fn http(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// An answer without what differs between two servers: the date, and the order and case of headers.
fn comparable(answer: &str) -> (String, Vec<String>, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default().to_owned();
    let mut headers: Vec<String> =
        lines.map(str::to_ascii_lowercase).filter(|line| !line.starts_with("date:")).collect();
    headers.sort();
    (status, headers, body.to_owned())
}

#[test]
fn a_wrong_argument_ends_with_status_2_and_the_usage() {
    for (argument, text) in [
        ("--no-such-flag", "flag provided but not defined: -no-such-flag"),
        ("--metrics=extensive", "that this version of Lodemark does not have yet"),
        ("--name", "flag needs an argument: -name"),
        ("--snapshot-count=many", "invalid value \"many\" for flag -snapshot-count: parse error"),
        ("--listen-client-urls=nowhere", "URL scheme must be http, https, unix, or unixs: nowhere"),
        ("--log-level=loud", "invalid value \"loud\" for flag -log-level"),
    ] {
        let (status, stdout, stderr) = run(&[argument]);
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{argument}");
        assert!(stderr.contains(text) && stderr.contains("Usage:"), "{argument}: {stderr}");
    }
}

#[test]
fn arguments_that_do_not_fit_end_with_status_1_and_a_log_line() {
    for (arguments, text) in [
        (&["stray"][..], r#"\"stray\" is not a valid flag"#),
        (&["--listen-client-urls=http://127.0.0.1:0"], "--advertise-client-urls is required"),
        (&["--listen-peer-urls=http://example.com:0"], "expected IP in URL for binding"),
        (
            &["--listen-client-urls=https://127.0.0.1:0", "--advertise-client-urls=https://127.0.0.1:0"],
            "must be provided for client url",
        ),
        (&["--listen-peer-urls=https://127.0.0.1:0"], "KeyFile and CertFile are not presented"),
        (&["--peer-cert-file=cert.pem"], "KeyFile and CertFile must both be present[key: , cert: cert.pem]"),
        (&["--auto-compaction-mode=x"], r#"unknown auto-compaction-mode \"x\""#),
        (&["--auto-compaction-retention=x"], r#"error parsing CompactionRetention: time: invalid duration \"x\""#),
        (&["--compact-hash-check-time=0s"], "--compact-hash-check-time must be >0 (set to 0s)"),
        (&["--election-timeout=400"], "should be at least as 5 times as --heartbeat-interval[100ms]"),
    ] {
        let arguments: Vec<String> = arguments.iter().copied().map(String::from).collect();
        let said = refused(&arguments);
        assert!(said.contains("failed to verify flags") && said.contains(text), "{arguments:?}: {said}");
    }
}

/// The field `error` of the line that ended the program, with its status.
fn last_words((status, _, stderr): (Option<i32>, String, String)) -> (Option<i32>, String) {
    let mut lines = stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let last = lines.rfind(|line| line["level"] == "fatal").unwrap_or_else(|| panic!("no last words: {stderr}"));
    assert_eq!(last["msg"], "discovery failed", "{last}");
    (status, last["error"].as_str().unwrap().to_owned())
}

/// Runs this program, and etcd if there is one, with flags of a new member that cannot begin; both must say the same, and
/// ours may add what to do.
fn refused_like_etcd(flags: &[&str], text: &str) {
    let temp = tempfile::tempdir().unwrap();
    let all: Vec<String> =
        anywhere(Path::new("data")).into_iter().chain(flags.iter().copied().map(String::from)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (status, ours) = last_words(run_in(temp.path(), &all));
    assert_eq!(status, Some(1));
    assert!(ours.contains(text), "{flags:?}: {ours}");
    let Some(reference) = reference() else { return };
    let temp = tempfile::tempdir().unwrap();
    let arguments: Vec<OsString> = all.iter().map(OsString::from).collect();
    let (status, theirs) = last_words(Process::start(&reference.join("etcd"), &arguments, temp.path()).output());
    assert_eq!(status, Some(1));
    assert!(theirs.contains(text), "{flags:?}: {theirs}");
}

#[test]
fn flags_that_found_no_cluster_are_refused_in_the_words_of_etcd() {
    for (flags, text) in [
        (
            &["--name=c", "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2"][..],
            "couldn't find local name \"c\" in the initial cluster configuration",
        ),
        (
            &["--name=a", "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2"],
            "--initial-cluster has a=http://127.0.0.1:1 but missing from --initial-advertise-peer-urls=http://localhost:2380",
        ),
        (
            &["--initial-cluster=default=http://localhost:2380,b=http://localhost:2380"],
            "initial cluster b=http://localhost:2380,default=http://localhost:2380 has duplicate url",
        ),
        (
            &["--initial-cluster-state=existing", "--initial-cluster=default=http://127.0.0.1:1,b=http://127.0.0.1:2"],
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs",
        ),
        (
            &["--initial-cluster-state=existing"],
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs",
        ),
    ] {
        refused_like_etcd(flags, text);
    }
}

/// Starts a new member that asks `other`, which is a cluster of its own, and must refuse to begin.
fn refused_beside(other: &Server, name: &str, cluster: &str, flags: &[&str]) -> String {
    let temp = tempfile::tempdir().unwrap();
    let mut all = anywhere(&temp.path().join("data"));
    all.push(format!("--name={name}"));
    all.push(format!("--initial-cluster={}", cluster.replace("OTHER", other.peer_address())));
    all.extend(flags.iter().copied().map(String::from));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (status, error) = last_words(run(&all));
    assert_eq!(status, Some(1));
    // It may try again, as the same or as another.
    assert!(!temp.path().join("data/member/state.redb").exists());
    error
}

#[test]
fn a_member_that_was_started_before_does_not_found_its_cluster_again() {
    let server = Server::start(&Options::default());
    let error = refused_beside(&server, "default", "default=http://localhost:2380,other=http://OTHER", &[]);
    assert!(error.starts_with("member 8e9e05c52164694d has already been bootstrapped"), "{error}");
}

#[test]
fn a_member_does_not_join_a_cluster_that_does_not_know_it() {
    let server = Server::start(&Options::default());
    let join = &["--initial-cluster-state=existing"];
    let error = refused_beside(&server, "b", "a=http://OTHER,b=http://127.0.0.1:1", join);
    assert!(error.starts_with("error validating peerURLs ") && error.ends_with(": member count is unequal"), "{error}");
}

#[test]
fn a_member_of_lodemark_does_not_join_a_cluster_of_etcd() {
    let Some(reference) = reference() else { return };
    let mut etcd = Etcd::start(&reference, &[]);
    let peers = crate::harness::address(&etcd.process().wait_for_line("serving peer traffic", 0));
    let temp = tempfile::tempdir().unwrap();
    let mut flags = anywhere(&temp.path().join("data"));
    flags.push(format!("--initial-cluster=default=http://localhost:2380,other=http://{peers}"));
    flags.push("--initial-cluster-state=existing".into());
    let said = refused(&flags);
    assert!(said.contains("run etcd: Lodemark cannot be a member of their cluster"), "{said}");
}

#[test]
fn a_member_that_waits_for_answers_ends_at_sigterm() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let temp = tempfile::tempdir().unwrap();
    let mut flags = anywhere(&temp.path().join("data"));
    flags.push(format!("--initial-cluster=default=http://localhost:2380,b=http://{}", silent.local_addr().unwrap()));
    flags.push("--initial-cluster-state=existing".into());
    let arguments: Vec<OsString> = flags.iter().map(OsString::from).collect();
    let mut process = Server::run(&arguments, temp.path());
    process.wait_for_line("starting an etcd server", 0);
    let _asked = silent.accept().unwrap();
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn odd_flags_about_discovery_are_refused_in_the_words_of_etcd() {
    let temp = tempfile::tempdir().unwrap();
    for (flags, text) in [
        (
            &["--name=a", "--discovery-srv=example.com", "--initial-cluster=a=http://127.0.0.1:1"][..],
            r#"multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\""#,
        ),
        (
            &["--discovery-fallback=proxy"],
            r#"v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\""#,
        ),
    ] {
        let mut all = anywhere(&temp.path().join("data"));
        all.extend(flags.iter().copied().map(String::from));
        let said = refused(&all);
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn version_is_told_in_the_lines_that_tools_of_etcd_read() {
    let (status, stdout, stderr) = run(&["--version"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let keys: Vec<&str> = stdout.lines().filter_map(|line| line.split_once(": ").map(|(key, _)| key)).collect();
    assert_eq!(keys, ["etcd Version", "Git SHA", "Go Version", "Go OS/Arch"]);
    assert!(stdout.starts_with("etcd Version: 3.7.1\n"), "{stdout}");
}

#[test]
fn help_explains_every_flag() {
    let (status, stdout, stderr) = run(&["--help"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    for flag in [
        "name",
        "data-dir",
        "listen-client-urls",
        "advertise-client-urls",
        "listen-peer-urls",
        "initial-advertise-peer-urls",
        "initial-cluster",
        "initial-cluster-state",
        "initial-cluster-token",
        "strict-reconfig-check",
        "max-learners",
        "memory-budget-bytes",
        "agreement-check",
        "auto-defrag-threshold-megabytes",
        "auto-compaction-mode",
        "auto-compaction-retention",
        "compaction-batch-limit",
        "compaction-sleep-interval",
        "downgrade-check-time",
        "grpc-keepalive-min-time",
        "grpc-keepalive-interval",
        "grpc-keepalive-timeout",
        "force-new-cluster",
        "peer-cert-file",
        "peer-key-file",
        "peer-client-cert-file",
        "peer-client-key-file",
        "peer-trusted-ca-file",
        "peer-client-cert-auth",
        "peer-cert-allowed-cn",
        "peer-cert-allowed-hostname",
        "peer-crl-file",
        "peer-skip-client-san-verification",
        "peer-auto-tls",
        "self-signed-cert-validity",
        "heartbeat-interval",
        "election-timeout",
        "pre-vote",
        "snapshot-count",
        "snapshot-catchup-entries",
        "log-level",
        "log-format",
        "log-outputs",
        "enable-log-rotation",
        "log-rotation-config-json",
        "logger",
        "warning-unary-request-duration",
        "warning-apply-duration",
        "wal-dir",
        "discovery-srv",
        "discovery-srv-name",
        "discovery-fallback",
        "version",
        "help",
    ] {
        assert!(stdout.contains(&format!("\n  --{flag}")), "--{flag} is missing: {stdout}");
    }
    assert_eq!(run(&["-h"]).1, stdout);
}

#[test]
fn a_file_in_place_of_the_data_folder_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "x").unwrap();
    let said = refused(&anywhere(&file));
    assert!(said.contains("is not a folder; choose another"), "{said}");
    let said = refused(&anywhere(&file.join("below")));
    assert!(said.contains("a part of the path is a file"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let data_dir = temp.path().join("data");
    for flag in ["listen-client-urls", "listen-peer-urls"] {
        let mut flags = anywhere(&data_dir);
        flags.push(format!("--{flag}=http://{address}"));
        let said = refused(&flags);
        assert!(said.contains(&format!("listen tcp {address}: bind: Address already in use")), "{said}");
        assert!(said.contains("listen elsewhere"), "{said}");
    }
    assert!(!data_dir.exists(), "nothing is made before the sockets are there");
}

#[test]
fn a_second_process_on_one_folder_is_refused_and_the_first_goes_on() {
    let mut server = Server::start(&Options::default());
    let said = refused(&anywhere(&server.data_dir()));
    assert!(said.contains("is in use by another process"), "{said}");
    assert!(server.process().is_running());
    assert!(http(server.peer_address(), "GET", "/version").contains("200 OK"));
}

#[test]
fn folders_of_etcd_are_refused_and_left_alone() {
    for file in ["member/snap/db", "member/wal/0000000000000000-0000000000000000.wal"] {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "etcd's").unwrap();
        let before = files(temp.path());
        let said = refused(&anywhere(temp.path()));
        assert!(said.contains("holds a member of etcd") && said.contains("choose another --data-dir"), "{said}");
        assert_eq!(files(temp.path()), before);
    }
}

#[test]
fn a_folder_of_a_real_etcd_is_refused_and_left_alone() {
    let Some(reference) = reference() else { return };
    let mut etcd = Etcd::start(&reference, &[]);
    etcd.process().kill();
    let before = files(&etcd.data_dir());
    assert!(before.len() > 2, "{before:?}");
    let said = refused(&anywhere(&etcd.data_dir()));
    assert!(said.contains("holds a member of etcd"), "{said}");
    assert_eq!(files(&etcd.data_dir()), before);
}

#[test]
fn ids_are_those_that_etcd_gives_for_the_same_flags() {
    let Some(reference) = reference() else { return };
    for flags in [
        &[][..],
        &["--name=m1"],
        &["--initial-cluster-token=other"],
        &[
            "--name=m1",
            "--initial-advertise-peer-urls=http://127.0.0.1:24381,http://127.0.0.1:24380",
            "--initial-cluster=m1=http://127.0.0.1:24380,m1=http://127.0.0.1:24381",
        ],
    ] {
        let mut etcd = Etcd::start(&reference, flags);
        let flags: Vec<String> = flags.iter().copied().map(String::from).collect();
        let mut server = Server::start(&Options { flags: flags.clone(), ..Options::default() });
        let ids = |line: String| {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            (line["local-member-id"].clone(), line["cluster-id"].clone())
        };
        let expected = ids(etcd.process().wait_for_line("starting local member", 0));
        assert_eq!(ids(server.process().wait_for_line("starting local member", 0)), expected, "{flags:?}");
    }
}

#[test]
fn a_member_keeps_its_ids_whatever_the_founding_flags_say_later() {
    let temp = tempfile::tempdir().unwrap();
    let options = |flags: &[&str]| Options {
        flags: flags.iter().copied().map(String::from).collect(),
        data_dir: Some(temp.path().join("data")),
    };
    let cluster = |server: &Server| {
        let answer = http(server.peer_address(), "GET", "/members").to_ascii_lowercase();
        answer.lines().find(|line| line.starts_with("x-etcd-cluster-id")).unwrap().to_owned()
    };
    let mut first = Server::start(&options(&["--initial-cluster-token=one"]));
    let founded = cluster(&first);
    assert_eq!(first.terminate(), Some(0));
    let mut second =
        Server::start(&options(&["--initial-cluster-token=two", "--initial-cluster=nobody", "--name=renamed"]));
    assert_eq!(cluster(&second), founded);
    assert!(http(second.peer_address(), "GET", "/members").contains(r#""name":"renamed""#));
    second.kill();
}

#[test]
fn sigterm_ends_in_order() {
    let mut server = Server::start(&Options { flags: vec!["--log-level=debug".into()], ..Options::default() });
    assert_eq!(server.terminate(), Some(0));
    let lines = server.process().lines();
    let position = |text: &str| {
        lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("nobody said {text:?}"))
    };
    let order = [
        "Running: ",
        "starting an etcd server",
        "published local member to cluster through raft",
        "ready to serve client requests",
        "received signal; shutting down",
        "closing etcd server",
        "closed etcd server",
    ];
    assert!(order.map(position).is_sorted(), "{lines:#?}");
    for line in &lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        for key in ["level", "ts", "caller", "msg"] {
            assert!(line[key].is_string(), "no {key} in {line}");
        }
        assert!(!["error", "panic", "fatal"].contains(&line["level"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn sigkill_and_sigterm_leave_a_folder_that_starts_again_on_the_same_port() {
    let mut server = Server::start(&Options::default());
    let endpoint = server.endpoint();
    server.kill();
    let mut server = server.restart();
    assert_eq!(server.endpoint(), endpoint);
    assert_eq!(server.terminate(), Some(0));
    let server = server.restart();
    assert_eq!(server.endpoint(), endpoint);
}

#[test]
fn peers_are_answered_as_etcd_answers_them() {
    let Some(reference) = reference() else { return };
    let mut etcd = Etcd::start(&reference, &[]);
    let etcd_peers = crate::harness::address(&etcd.process().wait_for_line("serving peer traffic", 0));
    // etcd begins with an older version of its storage and says the newer one a moment later.
    let is_settled = || http(&etcd_peers, "GET", "/version").contains(r#""storage":"3.7.0""#);
    for _ in 0..SETTLING_LOOKS_MAX {
        if is_settled() {
            break;
        }
        std::thread::sleep(SETTLING_PAUSE);
    }
    let server = Server::start(&Options::default());
    for path in ["/version", "/nowhere"] {
        let (ours, theirs) = (http(server.peer_address(), "GET", path), http(&etcd_peers, "GET", path));
        assert_eq!(comparable(&ours), comparable(&theirs), "{path}");
    }
    let members = http(server.peer_address(), "GET", "/members");
    assert!(members.contains(r#"[{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"#), "{members}");
}

#[test]
fn clients_are_answered_over_plain_http_as_etcd_answers_them() {
    let Some(reference) = reference() else { return };
    let (etcd, server) = (Etcd::start(&reference, &[]), Server::start(&Options::default()));
    for (method, path) in [
        ("GET", "/version"),
        ("GET", "/health"),
        ("GET", "/health?serializable=true&exclude=NOSPACE"),
        ("GET", "/livez"),
        ("GET", "/livez?verbose"),
        ("GET", "/readyz"),
        ("GET", "/readyz/non_learner?verbose"),
        ("GET", "/readyz/nothing"),
        ("GET", "/"),
        ("POST", "/version"),
        ("POST", "/health"),
        ("HEAD", "/livez"),
        ("OPTIONS", "/version"),
        ("OPTIONS", "/nowhere"),
    ] {
        let ours = http(server.client_address(), method, path);
        let theirs = http(etcd.client_address(), method, path);
        assert_eq!(comparable(&ours), comparable(&theirs), "{method} {path}");
    }
}

/// Bytes of no protocol, of a protocol that breaks off, and of one that lies.
#[test]
fn garbage_on_the_sockets_does_not_disturb_others() {
    const SEED: u64 = 20_261_124;
    println!("seed {SEED}");
    let random = SeededRandom::new(SEED);
    let noise = (0..20).map(|round| (0..round * 50).map(|_| random.next_u64().to_le_bytes()[0]).collect::<Vec<u8>>());
    let written = [
        &b"GET / HT"[..],
        b"GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
        b"GET /version HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x04\0\0\0\0\0garbage in place of frames",
        b"PRI * HTTP/2.0\r\n\r\nXX",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a client that speaks TLS",
    ];
    let mut server = Server::start(&Options::default());
    for garbage in noise.chain(written.map(<[u8]>::to_vec)) {
        for address in [server.client_address(), server.peer_address()] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(ANSWER_TIME_MAX)).unwrap();
            // It may hang up before it has read everything.
            let _ = stream.write_all(&garbage);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    assert!(server.process().is_running());
    assert!(http(server.client_address(), "GET", "/health").contains(r#"{"health":"true","reason":""}"#));
    assert!(http(server.peer_address(), "GET", "/version").contains("200 OK"));
    assert_eq!(server.terminate(), Some(0));
    let lines = server.process().lines();
    let is_bad = |line: &&String| [r#""level":"error""#, r#""level":"panic""#].iter().any(|bad| line.contains(bad));
    assert_eq!(lines.iter().find(is_bad), None);
}

/// All files below a folder, with their contents.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((path.display().to_string(), fs::read(&path).unwrap())),
            }
        }
    }
    found.sort();
    found
}
