//! A caller may be who its certificate says, but not through the gateway.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Authority, Process, free_port, has_program, own_program, reference, skip};

/// A client that waits for longer has failed.
const PATIENCE: &str = "5";

/// A server that asks clients for certificates, and its folder.
struct Secured<'s> {
    dir: &'s Path,
    url: String,
    _process: Process,
}

impl<'s> Secured<'s> {
    fn start(program: &Path, dir: &'s Path, name: &str) -> Secured<'s> {
        let url = format!("https://127.0.0.1:{}", free_port());
        let peer = format!("http://127.0.0.1:{}", free_port());
        let arguments = [
            "--name=m1".to_owned(),
            format!("--data-dir={name}"),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=m1={peer}"),
            "--cert-file=server.pem".to_owned(),
            "--key-file=server.key".to_owned(),
            "--trusted-ca-file=ca.pem".to_owned(),
            "--client-cert-auth".to_owned(),
            super::CHEAP.to_owned(),
        ];
        let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        let process = Process::start(program, &arguments, dir);
        process.wait_for_line("serving client traffic securely", 0);
        Secured { dir, url, _process: process }
    }

    /// Runs etcdctl with the certificate of `who`; gives what it says, or the last line of its complaint.
    fn etcdctl(&self, who: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(reference().expect("asked before").join("etcdctl"));
        command.args(["--endpoints", &self.url, "--cacert=ca.pem", &format!("--command-timeout={PATIENCE}s")]);
        command.args([format!("--cert={who}.pem"), format!("--key={who}.key")]).args(arguments);
        run(command.current_dir(self.dir))
    }

    fn curl(&self, who: &str, path: &str, header: &str, body: &str) -> Result<String, String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", PATIENCE, "--cacert", "ca.pem", "-w", " %{http_code}"]);
        command.args(["--cert", &format!("{who}.pem"), "--key", &format!("{who}.key"), "-H", header, "-d", body]);
        run(command.arg(format!("{}{path}", self.url)).current_dir(self.dir))
    }
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    if output.status.success() { Ok(said) } else { Err(complained.lines().last().unwrap_or_default().to_owned()) }
}

#[test]
fn a_certificate_names_its_caller() {
    let Some(folder) = reference() else { return };
    if !has_program("curl") {
        return skip("there is no curl");
    }
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    authority.write(dir.path());
    authority.issue(dir.path(), "server", "", 1, &["127.0.0.1", "localhost"]);
    for (serial, name) in (2..).zip(["root", "alice", "stranger"]) {
        authority.issue(dir.path(), name, name, serial, &[]);
    }
    authority.issue(dir.path(), "nameless", "", 9, &[]);
    let own = Secured::start(&own_program(), dir.path(), "own");
    let etcd = Secured::start(&folder.join("etcd"), dir.path(), "etcd");

    let both = |who: &str, arguments: &[&str]| {
        let [own, etcd] = [&own, &etcd].map(|server| server.etcdctl(who, arguments));
        assert_eq!(own, etcd, "{who}: {arguments:?}");
        own
    };
    for made in [
        &["user", "add", "root", "--no-password"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "alice:pw"],
        &["role", "add", "part"],
        &["role", "grant-permission", "part", "readwrite", "app/", "--prefix"],
        &["user", "grant-role", "alice", "part"],
        &["auth", "enable"],
    ] {
        both("root", made).unwrap();
    }
    for who in ["root", "alice", "stranger", "nameless"] {
        for call in [
            &["put", "app/1", "x"][..],
            &["get", "app/", "--prefix"],
            &["put", "other", "x"],
            &["get", "other"],
            &["user", "list"],
            &["user", "get", "alice"],
            &["role", "get", "part"],
            &["member", "remove", "1234567890abcde"],
            &["lease", "list"],
            &["alarm", "list"],
            &["compaction", "1"],
        ] {
            let _ = both(who, call);
        }
    }
    // A token goes before the certificate, even one that is none.
    assert!(both("root", &["--user=alice:pw", "get", "other"]).is_err());
    assert_eq!(both("stranger", &["--user=alice:pw", "put", "app/2", "y"]).as_deref(), Ok("OK\n"));
    assert!(both("root", &["--auth-jwt-token=garbage", "get", "other"]).is_err());
    // Without a password there is no token.
    assert!(both("alice", &["--user=root:pw", "get", "other"]).is_err());

    let posted = |who: &str, path: &str, header: &str, body: &str| {
        let [own, etcd] =
            [&own, &etcd].map(|server| server.curl(who, path, header, body).map(|said| said.replace(", ", ",")));
        assert_eq!(own, etcd, "{who}: {path}");
        own.unwrap()
    };
    let get = r#"{"key":"YXBwLzE="}"#;
    let refused = "CommonName of client sending a request against gateway will be ignored and not used as expected";
    let answer = posted("root", "/v3/kv/range", "X-No: thing", get);
    assert!(answer.contains(refused) && answer.ends_with(" 400"), "{answer}");
    // Nobody's certificate may use the gateway, and shows nothing there.
    let answer = posted("nameless", "/v3/kv/range", "X-No: thing", get);
    assert!(answer.contains("user name is empty"), "{answer}");
    let token = |server: &Secured<'_>| {
        let answer =
            server.curl("nameless", "/v3/auth/authenticate", "X-No: thing", r#"{"name":"alice","password":"pw"}"#);
        let answer = answer.unwrap();
        let (answer, _) = answer.rsplit_once(' ').unwrap();
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    };
    for server in [&own, &etcd] {
        let header = format!("Authorization: {}", token(server));
        let answer = server.curl("nameless", "/v3/kv/range", &header, get).unwrap();
        assert!(answer.contains("\"count\":\"1\"") && answer.ends_with(" 200"), "{answer}");
    }
}
