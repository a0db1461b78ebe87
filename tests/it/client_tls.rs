//! Clients that speak TLS, as real programs: etcdctl and curl. What a certificate must be is tested where it is checked, in
//! `net::tls`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Authority, Process, Server, address, has_program, reference, skip};

const SECURE: &str = "serving client traffic securely";
/// A client that waits for longer has failed.
const CLIENT_TIMEOUT: &str = "--command-timeout=5s";

/// Between two looks at something that must come, and how many there are.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOKS: usize = 200;

/// A server for clients, with the files of an authority that signs certificates for both sides.
struct Site {
    dir: tempfile::TempDir,
    authority: Authority,
    process: Process,
}

impl Site {
    /// Starts one that listens at `urls`, with a certificate of its own and `flags`, in which `DIR` is its folder.
    fn start(urls: &str, flags: &[&str]) -> Site {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        issue(&authority, dir.path());
        let certificate = ["--cert-file=DIR/server.pem", "--key-file=DIR/server.key"];
        let process = launch(dir.path(), urls, &[&certificate, flags].concat());
        Site { dir, authority, process }
    }

    fn path(&self, file: &str) -> String {
        in_dir(self.dir.path(), file)
    }

    /// Waits until clients are served over TLS; gives `host:port` or the path.
    fn secure_address(&self) -> String {
        address(&self.process.wait_for_line(SECURE, 0))
    }

    fn etcdctl(&self, endpoint: &str, arguments: &[&str]) -> Result<String, String> {
        etcdctl(self.dir.path(), endpoint, arguments)
    }
}

fn in_dir(dir: &Path, file: &str) -> String {
    dir.join(file).to_str().unwrap().to_owned()
}

/// Writes everything anew that the authority gives out: its own certificate, the server's, and that of the client alice.
fn issue(authority: &Authority, dir: &Path) {
    authority.write(dir);
    authority.issue(dir, "server", "server", 1, &["127.0.0.1", "localhost"]);
    authority.issue(dir, "alice", "alice", 2, &["alice.example"]);
    authority.revoke(&dir.join("crl.der"), &[99]);
}

fn launch(dir: &Path, urls: &str, flags: &[&str]) -> Process {
    let path = dir.to_str().unwrap();
    let mut arguments = vec![
        format!("--listen-client-urls={urls}"),
        format!("--advertise-client-urls={urls}"),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        format!("--data-dir={path}/data"),
    ];
    arguments.extend(flags.iter().map(|flag| flag.replace("DIR", path)));
    let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
    Server::run(&arguments, dir)
}

/// Runs etcdctl; `DIR` in its arguments is the folder. Gives what it says, or what it complains of.
fn etcdctl(dir: &Path, endpoint: &str, arguments: &[&str]) -> Result<String, String> {
    let program = reference().expect("asked before").join("etcdctl");
    let arguments = arguments.iter().map(|argument| argument.replace("DIR", dir.to_str().unwrap()));
    run(Command::new(program).args(["--endpoints", endpoint, CLIENT_TIMEOUT]).args(arguments))
}

fn curl(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("curl").args(["--silent", "--show-error", "--max-time", "5"]).args(arguments))
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    if output.status.success() { Ok(said) } else { Err(complained) }
}

/// Whether the programs that the tests need are there.
fn can_run() -> bool {
    if !has_program("curl") {
        skip("there is no curl");
        return false;
    }
    reference().is_some()
}

const TRUST: &str = "--cacert=DIR/ca.pem";
const ALICE: [&str; 3] = [TRUST, "--cert=DIR/alice.pem", "--key=DIR/alice.key"];

#[test]
fn clients_check_the_server() {
    if !can_run() {
        return;
    }
    let site = Site::start("https://127.0.0.1:0", &[]);
    let address = site.secure_address();
    let secure = format!("https://{address}");
    assert_eq!(site.etcdctl(&secure, &[TRUST, "put", "k", "v"]), Ok("OK\n".to_owned()));
    assert_eq!(site.etcdctl(&secure, &[TRUST, "get", "k"]), Ok("k\nv\n".to_owned()));
    // A long answer takes many records of TLS.
    let long = "x".repeat(1 << 20);
    fs::write(site.path("long"), &long).unwrap();
    let program = reference().unwrap().join("etcdctl");
    let put = fs::File::open(site.path("long")).unwrap();
    let mut command = Command::new(program);
    command.args(["--endpoints", &secure, "--cacert", &site.path("ca.pem"), "put", "long"]).stdin(put);
    assert!(command.output().unwrap().status.success());
    let read = site.etcdctl(&secure, &[TRUST, "get", "--print-value-only", "long"]).unwrap();
    assert_eq!(read.trim_end(), long);

    assert!(site.etcdctl(&secure, &["get", "k"]).is_err(), "the authority is unknown");
    assert!(site.etcdctl(&format!("http://{address}"), &["get", "k"]).is_err(), "nothing is told without TLS");
    assert!(curl(&[&format!("http://{address}/health")]).is_err());
    // Our own command shows no certificate either.
    let (saved, authority) = (site.path("saved.db"), site.path("ca.pem"));
    let save = |trust: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lodemark"));
        run(command.args(["snapshot", "save", &saved, "--endpoints", &secure]).args(trust))
    };
    save(&["--cacert", &authority]).unwrap();
    assert!(fs::metadata(&saved).unwrap().len() > long.len() as u64);
    assert!(save(&[]).is_err(), "the authority is unknown");

    for version in ["--http1.1", "--http2"] {
        let health = curl(&[version, "--cacert", &site.path("ca.pem"), &format!("{secure}/health")]);
        assert_eq!(health.as_deref(), Ok(r#"{"health":"true","reason":""}"#), "{version}");
    }
    let missing =
        curl(&["--cacert", &site.path("ca.pem"), "-o", "/dev/null", "-w", "%{http_code}", &format!("{secure}/x")]);
    assert_eq!(missing.as_deref(), Ok("404"));
}

#[test]
fn the_server_checks_clients() {
    if !can_run() {
        return;
    }
    let flags = [
        "--trusted-ca-file=DIR/ca.pem",
        "--client-cert-auth",
        "--client-crl-file=DIR/crl.der",
        "--client-cert-allowed-hostname=alice.example",
    ];
    let site = Site::start("https://127.0.0.1:0", &flags);
    let secure = format!("https://{}", site.secure_address());
    let put = |by: &[&str]| site.etcdctl(&secure, &[by, &["put", "k", "v"]].concat());
    assert_eq!(put(&ALICE), Ok("OK\n".to_owned()));
    let health = [
        "--cacert",
        &site.path("ca.pem"),
        "--cert",
        &site.path("alice.pem"),
        "--key",
        &site.path("alice.key"),
        &format!("{secure}/health"),
    ];
    assert_eq!(curl(&health).as_deref(), Ok(r#"{"health":"true","reason":""}"#));

    assert!(put(&[TRUST]).is_err(), "nobody");
    assert!(put(&[TRUST, "--cert=DIR/server.pem", "--key=DIR/server.key"]).is_err(), "of another host");
    let strangers = tempfile::tempdir().unwrap();
    Authority::new("theirs").issue(strangers.path(), "alice", "alice", 2, &["alice.example"]);
    let (cert, key) = (in_dir(strangers.path(), "alice.pem"), in_dir(strangers.path(), "alice.key"));
    assert!(put(&[TRUST, &format!("--cert={cert}"), &format!("--key={key}")]).is_err(), "of another authority");
    site.process.wait_for_line("rejected connection on client endpoint", 2);

    site.authority.revoke(&site.dir.path().join("crl.der"), &[2]);
    assert!(put(&ALICE).is_err(), "revoked");
    site.process.wait_for_line("transport: certificate serial 02 revoked", 0);
}

#[test]
fn renewed_certificates_need_no_restart() {
    if !can_run() {
        return;
    }
    let site = Site::start("https://127.0.0.1:0", &["--trusted-ca-file=DIR/ca.pem"]);
    let secure = format!("https://{}", site.secure_address());
    let put = || site.etcdctl(&secure, &[&ALICE[..], &["put", "k", "v"]].concat());
    assert_eq!(put(), Ok("OK\n".to_owned()));
    // A file that is gone fails only those who come meanwhile.
    fs::remove_file(site.path("server.pem")).unwrap();
    assert!(put().is_err());
    issue(&Authority::new("new"), site.dir.path());
    assert_eq!(put(), Ok("OK\n".to_owned()));
}

#[test]
fn one_port_with_and_without_tls() {
    if !can_run() {
        return;
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let socket = in_dir(dir.path(), "etcd.sock");
    let site = Site::start(&format!("http://{free},https://{free},unixs://{socket}"), &[]);
    site.process.wait_for_line(SECURE, 1);
    assert_eq!(site.etcdctl(&format!("http://{free}"), &["put", "k", "v"]), Ok("OK\n".to_owned()));
    assert_eq!(site.etcdctl(&format!("https://{free}"), &[TRUST, "get", "k"]), Ok("k\nv\n".to_owned()));
    assert!(curl(&[&format!("http://{free}/health")]).is_ok());
    let health = ["--cacert", &site.path("ca.pem"), "--unix-socket", &socket, "https://localhost/health"];
    assert!(curl(&health).is_ok());
}

#[test]
fn a_server_makes_its_own_certificate() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let process = launch(dir.path(), "https://127.0.0.1:0", &["--auto-tls"]);
    let secure = format!("https://{}", address(&process.wait_for_line(SECURE, 0)));
    let any = ["--insecure-skip-tls-verify", "--insecure-transport=false"];
    assert_eq!(etcdctl(dir.path(), &secure, &[&any[..], &["put", "k", "v"]].concat()), Ok("OK\n".to_owned()));
    let made: PathBuf = dir.path().join("data/fixtures/client/cert.pem");
    assert!(made.is_file());
    assert!(curl(&["--cacert", made.to_str().unwrap(), &format!("{secure}/health")]).is_ok());
}

#[test]
fn a_mirror_speaks_tls_with_both_of_its_servers() {
    if !can_run() {
        return;
    }
    let flags = ["--trusted-ca-file=DIR/ca.pem", "--client-cert-auth"];
    let [source, destination] = [(); 2].map(|()| Site::start("https://127.0.0.1:0", &flags));
    let [from, to] = [&source, &destination].map(|site| format!("https://{}", site.secure_address()));
    assert_eq!(source.etcdctl(&from, &[&ALICE[..], &["put", "k", "v"]].concat()), Ok("OK\n".to_owned()));
    let arguments =
        ["--dest-cacert", "--dest-cert", "--dest-key"].into_iter().zip(["ca.pem", "alice.pem", "alice.key"]);
    let arguments = arguments.map(|(flag, file)| format!("{flag}={}", destination.path(file)));
    let source_flags = ALICE.map(|flag| flag.replace("DIR", source.dir.path().to_str().unwrap()));
    let rest = ["make-mirror".to_owned(), to.clone(), "--dest-insecure-transport=false".to_owned()];
    let arguments: Vec<OsString> = [format!("--endpoints={from}")]
        .into_iter()
        .chain(source_flags)
        .chain(rest)
        .chain(arguments)
        .map(OsString::from)
        .collect();
    let mirror = Process::start(&reference().unwrap().join("etcdctl"), &arguments, source.dir.path());
    let read = || destination.etcdctl(&to, &[&ALICE[..], &["get", "k"]].concat()).unwrap();
    let is_copied = (0..LOOKS).any(|_| {
        std::thread::sleep(LOOK_AGAIN);
        read() == "k\nv\n"
    });
    assert!(is_copied, "{:?}", mirror.lines());
}

#[test]
fn files_that_are_not_there_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = launch(dir.path(), "https://127.0.0.1:0", &["--cert-file=none.pem", "--key-file=none.key"]);
    process.wait_for_line("cannot speak TLS with clients: none.pem: ", 0);
    assert_eq!(process.wait().code(), Some(1));
}
