//! Where clients, and those who watch over a member, are awaited: gRPC and plain HTTP apart, metrics alone, sockets in the
//! file system, shared ports, every interface; beside a real etcd where it has the same.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::{Authority, Process, free_port, has_program, own_program, reference, skip};

const READY: &str = "ready to serve client requests";
const INSECURE: &str = "serving client traffic insecurely; this is strongly discouraged!";
const SECURE: &str = "serving client traffic securely";
/// How long an answer is waited for that has to come.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one that should not come is waited for; it would come at once.
const NO_ANSWER: Duration = Duration::from_millis(300);

/// The two programs: etcd, and this one.
fn programs() -> Option<[PathBuf; 2]> {
    let etcd = reference()?.join("etcd");
    if !has_program("curl") {
        skip("there is no curl");
        return None;
    }
    Some([etcd, own_program()])
}

fn launch(program: &Path, dir: &Path, flags: &[String]) -> Process {
    let name = program.file_name().expect("a program").to_string_lossy();
    let fixed = ["--listen-peer-urls=http://127.0.0.1:0".to_owned(), format!("--data-dir={name}-data-{}", free_port())];
    let arguments: Vec<OsString> = fixed.iter().chain(flags).map(OsString::from).collect();
    Process::start(program, &arguments, dir)
}

/// The status of an answer and the version of HTTP that it came in, `000 0` if there was none.
fn curl(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--max-time", "10", "--cacert", "ca.pem", "--output", "/dev/null"]);
    command.args(["--write-out", "%{http_code} %{http_version}"]).args(arguments);
    let output = command.current_dir(dir).stdin(Stdio::null()).output().expect("curl runs");
    String::from_utf8(output.stdout).expect("what it writes is text")
}

fn etcdctl(dir: &Path, endpoint: &str) -> bool {
    let program = reference().expect("asked before").join("etcdctl");
    let mut command = Command::new(program);
    command.args(["--endpoints", endpoint, "--command-timeout=3s", "put", "k", "v"]);
    if endpoint.starts_with("https") || endpoint.starts_with("unixs") {
        command.arg("--cacert=ca.pem");
    }
    command.current_dir(dir).stdin(Stdio::null()).output().expect("etcdctl runs").status.success()
}

/// Writes an authority, and a certificate for a server here.
fn issue(dir: &Path) {
    let authority = Authority::new("ca");
    authority.write(dir);
    authority.issue(dir, "server", "server", 1, &["127.0.0.1", "localhost"]);
}

const OWN: [&str; 2] = ["--cert-file=server.pem", "--key-file=server.key"];

/// What a program says of where it serves clients: whether with TLS, what, and where; sorted.
fn served(process: &Process, lines: usize) -> Vec<(bool, String, String)> {
    process.wait_for_line("serving client traffic", lines - 1);
    let lines = process.lines().into_iter().filter(|line| line.contains("serving client traffic"));
    let mut served: Vec<_> = lines
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
            let is_secure = text("msg") == SECURE;
            assert!(is_secure || text("msg") == INSECURE, "{line}");
            (is_secure, text("traffic"), text("address"))
        })
        .collect();
    served.sort();
    served
}

#[test]
fn plain_http_may_have_places_of_its_own() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    let outcomes = programs.map(|program| {
        let [grpc, grpc_tls, http, http_tls] = [(); 4].map(|()| format!("127.0.0.1:{}", free_port()));
        let flags = [
            format!("--listen-client-urls=http://{grpc},https://{grpc_tls}"),
            format!("--advertise-client-urls=http://{grpc}"),
            format!("--listen-client-http-urls=http://{http},https://{http_tls}"),
            OWN[0].to_owned(),
            OWN[1].to_owned(),
        ];
        let process = launch(&program, dir.path(), &flags);
        let told = served(&process, 4);
        let expected =
            [(false, "grpc", &grpc), (false, "http", &http), (true, "grpc", &grpc_tls), (true, "http", &http_tls)];
        assert_eq!(told, expected.map(|(secure, traffic, at)| (secure, traffic.to_owned(), at.clone())));
        let url = |scheme: &str, at: &str, path: &str| format!("{scheme}://{at}{path}");
        let mut outcomes = Vec::new();
        for (scheme, at) in [("http", &grpc), ("https", &grpc_tls), ("http", &http), ("https", &http_tls)] {
            for (path, more) in [
                ("/version", &["--http1.1"][..]),
                ("/health", &["--http1.1"]),
                ("/metrics", &["--http1.1"]),
                ("/v3/kv/range", &["--http1.1", "-d", r#"{"key":"aw=="}"#]),
                ("/nowhere", &["--http1.1"]),
            ] {
                outcomes.push(curl(dir.path(), &[more, &[&url(scheme, at, path)]].concat()));
            }
            outcomes.push(etcdctl(dir.path(), &format!("{scheme}://{at}")).to_string());
        }
        // Over TLS the handshake leads to HTTP/2, for a page as for a call.
        outcomes.push(curl(dir.path(), &["--http2", &url("https", &http_tls, "/version")]));
        outcomes.push(curl(dir.path(), &["--http2", &url("https", &http_tls, "/v3/kv/range"), "-d", "{}"]));
        outcomes.push(curl(dir.path(), &["--http2", &url("https", &http_tls, "/nowhere")]));
        outcomes.push(curl(
            dir.path(),
            &[
                "--http2",
                "-H",
                "content-type: application/grpc",
                "-d",
                "",
                &url("https", &http_tls, "/etcdserverpb.KV/Put"),
            ],
        ));
        outcomes
    });
    let [theirs, ours] = outcomes;
    assert_eq!(ours, theirs);
    // Not all the same.
    assert_eq!(
        (ours[0].as_str(), ours[5].as_str(), ours[12].as_str(), ours[17].as_str()),
        ("000 0", "true", "200 1.1", "false")
    );
}

#[test]
fn one_place_is_for_calls_or_for_plain_http() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    for program in programs {
        let at = format!("127.0.0.1:{}", free_port());
        let flags = [
            format!("--listen-client-urls=http://{at}"),
            format!("--advertise-client-urls=http://{at}"),
            format!("--listen-client-http-urls=http://{at}"),
        ];
        let (status, _, said) = launch(&program, dir.path(), &flags).output();
        assert_eq!(status, Some(1), "{said}");
        let expected =
            format!("cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://{at}");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn metrics_may_have_places_of_their_own() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    let outcomes = programs.map(|program| {
        let [client, plain, secure] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let flags = [
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
            format!("--listen-metrics-urls=http://{plain},https://{secure}"),
            "--host-whitelist=named.example".to_owned(),
            OWN[0].to_owned(),
            OWN[1].to_owned(),
        ];
        let process = launch(&program, dir.path(), &flags);
        process.wait_for_line(READY, 0);
        for url in [format!("http://{plain}"), format!("https://{secure}")] {
            let line = process
                .lines()
                .into_iter()
                .find(|line| line.contains("\"serving metrics\"") && line.contains(&format!("\"address\":\"{url}\"")));
            assert!(line.is_some(), "{url} {:?}", process.lines());
        }
        let mut outcomes = Vec::new();
        for (base, more) in [
            (format!("http://{plain}"), &[][..]),
            (format!("https://{secure}"), &["--http1.1"]),
            (format!("https://{secure}"), &["--http2"]),
        ] {
            for path in [
                "/metrics",
                "/health",
                "/livez",
                "/readyz",
                "/livez/serializable_read",
                "/version",
                "/v3/kv/range",
                "/",
            ] {
                outcomes.push(curl(dir.path(), &[more, &[&format!("{base}{path}")]].concat()));
            }
            outcomes.push(curl(dir.path(), &[more, &["-X", "POST", &format!("{base}/health")]].concat()));
            outcomes.push(curl(dir.path(), &[more, &["-X", "OPTIONS", &format!("{base}/health")]].concat()));
        }
        // No name of the server is wrong there, as it is elsewhere.
        outcomes.push(curl(dir.path(), &["-H", "Host: other.example", &format!("http://{plain}/health")]));
        outcomes.push(curl(dir.path(), &["-H", "Host: other.example", &format!("http://{client}/health")]));
        outcomes
    });
    let [theirs, ours] = outcomes;
    assert_eq!(ours, theirs);
    assert_eq!(
        (ours[1].as_str(), ours[5].as_str(), ours.last().map(String::as_str)),
        ("200 1.1", "404 1.1", Some("421 1.1"))
    );
}

/// Whoever watches over a member may ask before it serves: here it waits for another member that never comes.
#[test]
fn metrics_are_told_before_clients_are_served() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    for program in programs {
        let [client, metrics, peer, absent] = [(); 4].map(|()| format!("127.0.0.1:{}", free_port()));
        let flags = [
            "--name=m1".to_owned(),
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
            format!("--listen-metrics-urls=http://{metrics}"),
            format!("--listen-peer-urls=http://{peer}"),
            format!("--initial-advertise-peer-urls=http://{peer}"),
            format!("--initial-cluster=m1=http://{peer},m2=http://{absent}"),
        ];
        let process = launch(&program, dir.path(), &flags);
        process.wait_for_line("serving metrics", 0);
        assert_eq!(curl(dir.path(), &[&format!("http://{metrics}/livez")]), "200 1.1");
        assert_eq!(curl(dir.path(), &[&format!("http://{metrics}/health")]), "503 1.1");
        assert!(!process.lines().iter().any(|line| line.contains(READY)));
    }
}

#[test]
fn sockets_in_the_file_system_serve_all_that_ports_do() {
    let Some([_, program]) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (both, http, metrics) = (path("both.sock"), path("http.sock"), path("metrics.sock"));
    // What an earlier process has left.
    drop(std::os::unix::net::UnixListener::bind(&both).unwrap());
    let flags = [
        // One path as both, and a path below the working folder, as etcd reads it.
        format!("--listen-client-urls=unix://{both},unixs://{both},unix://localhost:20000"),
        format!("--advertise-client-urls=unix://{both}"),
        format!("--listen-client-http-urls=unix://{http}"),
        format!("--listen-metrics-urls=unix://{metrics},unixs://{metrics}"),
        OWN[0].to_owned(),
        OWN[1].to_owned(),
    ];
    let mut process = launch(&program, dir.path(), &flags);
    let told = served(&process, 4);
    assert_eq!(told.iter().filter(|(_, traffic, at)| traffic == "grpc" && *at == both).count(), 2, "{told:?}");
    assert!(dir.path().join("localhost:20000").metadata().unwrap().file_type().is_socket());
    for endpoint in [format!("unix://{both}"), "unix://localhost:20000".to_owned()] {
        assert!(etcdctl(dir.path(), &endpoint), "{endpoint}");
    }
    // Whoever asks for a page there hears that it is for calls.
    assert_eq!(curl(dir.path(), &["--http2", "--unix-socket", &both, "-d", "", "https://localhost/version"]), "415 2");
    let ask = |socket: &str, url: &str| curl(dir.path(), &["--http1.1", "--unix-socket", socket, url]);
    assert_eq!(ask(&http, "http://localhost/version"), "200 1.1");
    assert_eq!(ask(&metrics, "http://localhost/health"), "200 1.1");
    assert_eq!(ask(&metrics, "https://localhost/health"), "200 1.1");
    assert_eq!(ask(&metrics, "http://localhost/version"), "404 1.1");
    process.terminate();
    process.wait();
    for socket in [both, http, metrics, path("localhost:20000")] {
        assert!(!Path::new(&socket).exists(), "{socket}");
    }
}

#[test]
fn processes_share_a_port_if_all_of_them_ask_for_it() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    for program in programs {
        for (flag, is_shared) in [("--socket-reuse-port", true), ("--socket-reuse-address", false)] {
            let at = format!("127.0.0.1:{}", free_port());
            let flags = [
                format!("--listen-client-urls=http://{at}"),
                format!("--advertise-client-urls=http://{at}"),
                flag.to_owned(),
            ];
            let first = launch(&program, dir.path(), &flags);
            first.wait_for_line(READY, 0);
            let second = launch(&program, dir.path(), &flags);
            if is_shared {
                second.wait_for_line(READY, 0);
                for _ in 0..8 {
                    assert_eq!(curl(dir.path(), &[&format!("http://{at}/health")]), "200 1.1");
                }
            } else {
                let (status, _, said) = second.output();
                assert_eq!(status, Some(1), "{said}");
                assert!(said.contains(&format!("listen tcp {at}: bind: ")), "{said}");
                assert!(said.to_lowercase().contains("address already in use"), "{said}");
            }
        }
    }
}

#[test]
fn every_interface_is_those_of_both_kinds() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    let outcomes = programs.map(|program| {
        let mut outcomes = Vec::new();
        for host in ["0.0.0.0", "[::]", "localhost", "[::1]"] {
            let port = free_port();
            let flags = [
                format!("--listen-client-urls=http://{host}:{port}"),
                format!("--advertise-client-urls=http://{host}:{port}"),
            ];
            let process = launch(&program, dir.path(), &flags);
            let address = served(&process, 1).remove(0).2.replace(&port.to_string(), "PORT");
            let asked = ["127.0.0.1", "[::1]"].map(|at| curl(dir.path(), &[&format!("http://{at}:{port}/health")]));
            outcomes.push((host, address, asked));
        }
        outcomes
    });
    let [theirs, ours] = outcomes;
    assert_eq!(ours, theirs);
}

/// Nobody could connect to `localhost` from elsewhere.
#[test]
fn an_advertised_url_that_nobody_chose_names_the_machine() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    let hosts = programs.map(|program| {
        let port = free_port();
        let flags = [
            "--name=m1".to_owned(),
            format!("--listen-client-urls=http://0.0.0.0:{port}"),
            "--advertise-client-urls=http://localhost:2379".to_owned(),
        ];
        let process = launch(&program, dir.path(), &flags);
        process.wait_for_line(READY, 0);
        let line = process.lines().into_iter().find(|line| line.contains("detected default host for advertise"))?;
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let host = line["host"].as_str().expect("it tells the host").to_owned();
        let advertised = format!("\"advertise-client-urls\":[\"http://{host}:{port}\"]");
        assert!(process.lines().iter().any(|line| line.contains(&advertised)), "{host}");
        Some(host)
    });
    assert_eq!(hosts[0], hosts[1]);
}

/// Starts a program that may have so many open files.
fn with_files(program: &Path, dir: &Path, files: u32, flags: &[String]) -> Process {
    let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
    let mut arguments: Vec<OsString> = ["-c".into(), script.into(), program.into()].to_vec();
    arguments
        .extend(["--listen-peer-urls=http://127.0.0.1:0".into(), format!("--data-dir=data-{}", free_port()).into()]);
    arguments.extend(flags.iter().map(OsString::from));
    Process::start(Path::new("/bin/sh"), &arguments, dir)
}

#[test]
fn without_files_for_clients_nothing_starts() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    for program in programs {
        let at = format!("http://127.0.0.1:{}", free_port());
        let flags = [format!("--listen-client-urls={at}"), format!("--advertise-client-urls={at}")];
        let (status, _, said) = with_files(&program, dir.path(), 140, &flags).output();
        assert_eq!(status, Some(1), "{said}");
        let line = said.lines().find(|line| line.contains("\"fatal\"")).expect("a last word");
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["msg"], "file descriptor limit of etcd process is too low; please set higher");
        assert_eq!((&line["limit"], &line["recommended-limit"]), (&140.into(), &150.into()));
    }
}

/// Files that are not for clients.
const RESERVED: u32 = 150;

/// A client over one connection, which stays.
struct Visitor(TcpStream);

impl Visitor {
    fn come(at: &str) -> Visitor {
        Visitor(TcpStream::connect(at).expect("the system has the port"))
    }

    /// Asks, and tells whether there is an answer within `time`.
    fn ask(&mut self, time: Duration) -> bool {
        self.0.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").expect("the connection is there");
        self.hears(time)
    }

    fn hears(&mut self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).unwrap();
        let mut answer = [0; 1024];
        matches!(self.0.read(&mut answer), Ok(read) if answer[..read].starts_with(b"HTTP/1.1 200"))
    }

    /// Tells whether the server lets go of the connection within `time`.
    fn is_let_go(&mut self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).unwrap();
        match self.0.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// The next client waits in the system's queue until one goes. As with a real etcd.
#[test]
fn clients_have_as_many_connections_as_there_are_files() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    for program in programs {
        let at = format!("127.0.0.1:{}", free_port());
        let flags = [format!("--listen-client-urls=http://{at}"), format!("--advertise-client-urls=http://{at}")];
        let process = with_files(&program, dir.path(), 170, &flags);
        process.wait_for_line(READY, 0);
        let mut visitors = Vec::new();
        for _ in 0..170 - RESERVED {
            let mut visitor = Visitor::come(&at);
            assert!(visitor.ask(ANSWER_TIMEOUT), "{}", program.display());
            visitors.push(visitor);
        }
        let mut next = Visitor::come(&at);
        assert!(!next.ask(NO_ANSWER), "{}", program.display());
        drop(visitors.pop());
        assert!(next.hears(ANSWER_TIMEOUT), "{}", program.display());
    }
}

/// Raises the number of files that this process may have; tells whether that is enough.
fn may_have_files(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.is_none_or(|current| current >= count)
}

/// More of them come than may wait. Whoever came first has to go, long before its time is over, and others are served.
#[test]
fn those_who_say_nothing_keep_nobody_out() {
    const SILENT: usize = 1200;
    if !has_program("curl") {
        return skip("there is no curl");
    }
    if !may_have_files(2 * SILENT as u64) {
        return skip("this process may not have enough open files");
    }
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    let (client, peer) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let flags = [
        format!("--listen-client-urls=https://{client}"),
        format!("--advertise-client-urls=https://{client}"),
        format!("--listen-peer-urls=https://{peer}"),
        "--peer-auto-tls".to_owned(),
        OWN[0].to_owned(),
        OWN[1].to_owned(),
    ];
    let process = launch(&own_program(), dir.path(), &flags);
    process.wait_for_line(READY, 0);
    // What one end of a handshake may take. Those who came last are there for less.
    let patience = Duration::from_secs(5);
    for (at, silent) in [(&client, SILENT), (&peer, 300)] {
        let mut visitors: Vec<Visitor> = (0..silent).map(|_| Visitor::come(at)).collect();
        assert!(visitors[0].is_let_go(patience), "{at}");
        assert!(!visitors.last_mut().expect("there are many").is_let_go(NO_ANSWER), "{at}");
        assert_eq!(curl(dir.path(), &["--insecure", "--http1.1", &format!("https://{at}/version")]), "200 1.1", "{at}");
    }
}

/// A client that comes before the member is ready is not refused: it waits. Here for another member.
#[test]
fn clients_that_come_early_wait() {
    let Some(programs) = programs() else { return };
    let dir = tempfile::tempdir().unwrap();
    for program in programs {
        let [first_client, first, second_client, second] = [(); 4].map(|()| format!("127.0.0.1:{}", free_port()));
        let cluster = format!("--initial-cluster=m1=http://{first},m2=http://{second}");
        let start = |name: &str, client: &str, peer: &str| {
            let flags = [
                format!("--name={name}"),
                format!("--data-dir={name}-{client}"),
                format!("--listen-client-urls=http://{client}"),
                format!("--advertise-client-urls=http://{client}"),
                format!("--listen-peer-urls=http://{peer}"),
                format!("--initial-advertise-peer-urls=http://{peer}"),
                cluster.clone(),
            ];
            let arguments: Vec<OsString> = flags.iter().map(OsString::from).collect();
            Process::start(&program, &arguments, dir.path())
        };
        let waiting = start("m1", &first_client, &first);
        waiting.wait_for_line("serving peer traffic", 0);
        let mut visitor = Visitor::come(&first_client);
        assert!(!visitor.ask(NO_ANSWER), "{}", program.display());
        let _other = start("m2", &second_client, &second);
        assert!(visitor.hears(ANSWER_TIMEOUT), "{}", program.display());
    }
}
