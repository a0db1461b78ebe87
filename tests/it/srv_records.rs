//! Members that DNS names, for each other and for the gateway: processes whose resolver is pointed at a name server of the
//! test's own, a real etcd among them.
//!
//! Each process has a `/etc/resolv.conf` of its own, by a mount that nobody else sees. Both takes root.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use etcd_client::Client;
use serde_json::Value;

use crate::harness::{Authority, NameServer, Process, Program, Record, Zone, free_port, skip};

const DOMAIN: &str = "etcd.test";
/// Where resolvers ask.
const DNS_PORT: u16 = 53;
/// Runs what follows the first argument with that for `/etc/resolv.conf`.
const WITH_RESOLVER: &str = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;

/// A name server, and the command by which programs ask it and nobody else.
struct Names {
    _server: NameServer,
    wrapper: Vec<OsString>,
}

impl Names {
    /// `None`, said plainly, if the test has to be skipped. `number` tells tests of one run apart, `dir` is theirs.
    fn serve(number: u8, zone: Zone, dir: &Path) -> Option<Names> {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, high.max(1), low, number);
        let Ok(server) = NameServer::start((host, DNS_PORT), zone) else {
            skip(&format!("port {DNS_PORT} of {host} cannot be had, which is for root"));
            return None;
        };
        let path = dir.join("resolv.conf");
        std::fs::write(&path, format!("nameserver {host}\noptions timeout:1 attempts:5\n")).unwrap();
        let unshare = ["unshare", "--mount", "--", "sh", "-c", WITH_RESOLVER].map(OsString::from);
        let wrapper: Vec<OsString> = unshare.into_iter().chain([path.into()]).collect();
        let tried = Command::new(&wrapper[0]).args(&wrapper[1..]).arg("true").output();
        if !tried.is_ok_and(|output| output.status.success()) {
            skip("/etc/resolv.conf cannot be mounted over (unshare --mount)");
            return None;
        }
        Some(Names { _server: server, wrapper })
    }

    /// The same program, which trusts those who sign in `authorities`, where it is told of nobody.
    fn around(&self, program: Program, authorities: &Path) -> Program {
        let trusting = ["env".into(), format!("SSL_CERT_FILE={}", authorities.display()).into()];
        program.under(self.wrapper.iter().cloned().chain(trusting))
    }
}

/// This program, and a real etcd if there is one.
fn programs() -> Vec<Program> {
    [Program::lodemark()].into_iter().chain(Program::etcd()).collect()
}

fn host(member: usize) -> String {
    format!("m{member}.{DOMAIN}")
}

/// Hosts of three members, and the domain itself.
fn hosts() -> Zone {
    (0..3).map(host).chain([DOMAIN.to_owned()]).fold(Zone::default(), |zone, host| {
        let name = format!("{host}.");
        zone.host(&name, Ipv4Addr::LOCALHOST)
    })
}

/// Three members that find each other by DNS.
struct Found {
    program: Program,
    flags: Vec<String>,
    ports: Vec<(u16, u16)>,
    processes: Vec<Process>,
    temp: tempfile::TempDir,
}

impl Found {
    fn launch(&mut self) {
        for (member, (client, peer)) in self.ports.iter().enumerate() {
            let fixed = [
                format!("--name=m{member}"),
                format!("--data-dir=m{member}"),
                format!("--listen-client-urls=http://127.0.0.1:{client}"),
                format!("--advertise-client-urls=http://127.0.0.1:{client}"),
                format!("--listen-peer-urls=https://127.0.0.1:{peer}"),
                format!("--initial-advertise-peer-urls=https://{}:{peer}", host(member)),
                format!("--discovery-srv={DOMAIN}"),
            ];
            let arguments = fixed.into_iter().chain(self.flags.iter().cloned()).map(OsString::from);
            self.processes.push(self.program.start(arguments, self.temp.path()));
        }
    }

    async fn write_and_read(&self) {
        let client = async |member: usize| {
            self.processes[member].wait_for_line("ready to serve client requests", 0);
            Client::connect([format!("127.0.0.1:{}", self.ports[member].0)], None).await.unwrap()
        };
        client(0).await.put("key", "value", None).await.unwrap();
        assert_eq!(client(2).await.get("key", None).await.unwrap().kvs()[0].value(), b"value");
    }

    fn kill(&mut self) {
        self.processes.drain(..).for_each(|mut process| process.kill());
    }
}

/// Whether `line` says that a certificate for the domain alone is not one for the host of a member.
fn refuses_host(line: &str) -> bool {
    line.contains("certificate is valid for etcd.test, not m") || line.contains(r#"certificate not valid for name \"m"#)
}

/// Members whose certificates are for the domain, and for nothing else, found a cluster if nobody is named who signs them;
/// hosts are checked if somebody is, and once the cluster is there. As etcd does it.
#[tokio::test]
async fn certificates_of_members_are_for_the_domain_if_nobody_is_named_who_signs_them() {
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let zone = ports.iter().enumerate().fold(hosts(), |zone, (member, (_, peer))| {
        zone.service("_etcd-server-ssl._tcp.etcd.test.", Record::of(&format!("{}.", host(member)), *peer))
    });
    let files = tempfile::tempdir().unwrap();
    let Some(names) = Names::serve(1, zone, files.path()) else { return };
    let authority = Authority::new("ours");
    let (ca, own) = (authority.write(files.path()), authority.issue(files.path(), "member", "member", 1, &[DOMAIN]));
    for program in programs() {
        let flags = vec![
            format!("--peer-cert-file={}", own.cert.display()),
            format!("--peer-key-file={}", own.key.display()),
            "--peer-client-cert-auth".to_owned(),
        ];
        let program = names.around(program, &ca);
        let temp = tempfile::tempdir().unwrap();
        let mut found = Found { program, flags, ports: ports.clone(), processes: Vec::new(), temp };
        found.launch();
        found.write_and_read().await;
        assert!(found.processes.iter().all(|process| !process.lines().iter().any(|line| refuses_host(line))));

        found.kill();
        found.launch();
        let refusal = |process: &Process| {
            let text =
                if found.program.is_lodemark() { "certificate not valid for name" } else { "certificate is valid" };
            refuses_host(&process.wait_for_line(text, 0))
        };
        assert!(found.processes.iter().all(refusal), "hosts are checked once the folder is there");

        found.kill();
        found.temp = tempfile::tempdir().unwrap();
        found.flags.push(format!("--peer-trusted-ca-file={}", ca.display()));
        found.launch();
        let text = if found.program.is_lodemark() { "certificate not valid for name" } else { "certificate is valid" };
        assert!(found.processes.iter().all(|process| refuses_host(&process.wait_for_line(text, 0))));
    }
}

/// Somebody who tells each that connects who it is.
fn member(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // The gateway looks whether somebody is there, and goes.
            let _ = stream.write_all(name.as_bytes());
        }
    });
    port
}

struct Gateway {
    process: Process,
    listen: String,
    _temp: tempfile::TempDir,
}

impl Gateway {
    fn start(program: &Program, listen_port: u16, flags: &[&str]) -> Gateway {
        let (temp, listen) = (tempfile::tempdir().unwrap(), format!("127.0.0.1:{listen_port}"));
        let listen_addr = format!("--listen-addr={listen}");
        let fixed = ["gateway", "start", "--discovery-srv=etcd.test", &listen_addr];
        let arguments = fixed.iter().chain(flags).map(OsString::from);
        Gateway { process: program.start(arguments, temp.path()), listen, _temp: temp }
    }

    /// The endpoints in a line of the log, in the order of the alphabet, for a resolver may mix those of one priority.
    fn endpoints(&self, text: &str) -> Vec<String> {
        let line: Value = serde_json::from_str(&self.process.wait_for_line(text, 0)).unwrap();
        let endpoints = line["endpoints"].as_array().unwrap().iter();
        let mut endpoints: Vec<String> = endpoints.map(|endpoint| endpoint.as_str().unwrap().to_owned()).collect();
        endpoints.sort();
        endpoints
    }

    /// Who is met through it.
    fn meets(&self) -> String {
        let mut who = String::new();
        TcpStream::connect(&self.listen).unwrap().read_to_string(&mut who).unwrap();
        who
    }
}

#[test]
fn the_gateway_takes_the_members_that_dns_names() {
    let (up, down, plain, own) = (member("a"), free_port(), member("c"), free_port());
    let record = |member, port| Record::of(&format!("{}.", host(member)), port);
    let zone = hosts()
        .service("_etcd-client-ssl._tcp.etcd.test.", record(0, up))
        .service("_etcd-client-ssl._tcp.etcd.test.", record(1, down))
        .service("_etcd-client._tcp.etcd.test.", Record { priority: 1, ..record(2, plain) })
        .service("_etcd-client-blue._tcp.etcd.test.", record(2, plain))
        .service("_etcd-client-ssl-own._tcp.etcd.test.", record(1, own));
    let files = tempfile::tempdir().unwrap();
    let Some(names) = Names::serve(2, zone, files.path()) else { return };
    for program in programs() {
        let program = names.around(program, Path::new("/nowhere"));
        let start = |flags: &[&str]| Gateway::start(&program, free_port(), flags);
        let (a, b, c) =
            (format!("m0.etcd.test.:{up}"), format!("m1.etcd.test.:{down}"), format!("m2.etcd.test.:{plain}"));
        let urls = [format!("http://{c}"), format!("https://{a}"), format!("https://{b}")];

        let gateway = start(&[]);
        assert_eq!(gateway.endpoints("ready to proxy client requests"), [a.as_str()]);
        assert_eq!(gateway.endpoints("discovered cluster from SRV"), urls);
        assert_eq!(gateway.endpoints("validating discovered SRV endpoints"), urls);
        let warning = gateway.process.wait_for_line("failed to validate discovered endpoints", 0);
        let warning: Value = serde_json::from_str(&warning).unwrap();
        assert_eq!((&warning["level"], &warning["srv-server"]), (&"warn".into(), &DOMAIN.into()));
        assert_eq!(warning["endpoints"], serde_json::json!([urls[1]]));
        let error = warning["error"].as_str().unwrap();
        assert!(error.contains(&format!("{:?} is insecure", urls[0])), "{error}");
        assert!(error.contains(&format!("{:?} failed to dial (", urls[2])), "{error}");
        assert_eq!([gateway.meets(), gateway.meets()], ["a", "a"]);

        // The second priority is for when nobody of the first is there.
        let gateway = start(&["--insecure-discovery"]);
        assert_eq!(gateway.endpoints("ready to proxy client requests"), [a.as_str(), &b, &c]);
        if program.is_lodemark() {
            assert!((0..4).all(|_| gateway.meets() == "a"), "etcd takes turns with them all the same");
        }

        // Whoever cannot use anybody has what flags name.
        let given = format!("--endpoints=127.0.0.1:{up}");
        let gateway = start(&["--discovery-srv-name=blue", &given]);
        assert_eq!(gateway.endpoints("ready to proxy client requests"), [format!("127.0.0.1:{up}")]);
        gateway.process.wait_for_line("failed to validate discovered endpoints", 0);
        let gateway = start(&["--discovery-srv-name=blue", "--insecure-discovery", &given]);
        assert_eq!(gateway.endpoints("ready to proxy client requests"), [c]);

        let (status, stdout, stderr) = start(&["--discovery-srv-name=none"]).process.output();
        let said = stdout + &stderr;
        let asked =
            ["etcd-client-ssl-none", "etcd-client-none"].map(|service| format!("lookup _{service}._tcp.etcd.test"));
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(&format!("dns lookup errors: {}", asked[0])) && said.contains(&asked[1]), "{said}");

        let itself = Gateway::start(&program, own, &["--discovery-srv-name=own", "--insecure-discovery"]);
        let (status, stdout, stderr) = itself.process.output();
        let expected = format!(
            "SRV or endpoint (m1.etcd.test.:{own}->127.0.0.1:{own}) should not resolve to the gateway listen addr \
             (127.0.0.1:{own})"
        );
        assert!(status == Some(1) && (stdout.clone() + &stderr).contains(&expected), "{stdout}{stderr}");
    }
}
