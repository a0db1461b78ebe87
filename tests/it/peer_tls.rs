//! Members that speak TLS with each other, as real processes. What a certificate must be is tested where it is checked, in
//! `net::tls`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::harness::{Authority, Cluster, Place, Program, free_port};

/// How long an answer that should not come is waited for; it would come at once.
const NO_ANSWER: Duration = Duration::from_millis(500);

/// Writes the certificates that all members of a cluster share into `folder`, or replaces them; gives the flags.
fn certificates(authority: &Authority, folder: &Path) -> Vec<String> {
    let files = authority.issue(folder, "member", "member", 1, &["127.0.0.1"]);
    vec![
        format!("--peer-cert-file={}", files.cert.display()),
        format!("--peer-key-file={}", files.key.display()),
        format!("--peer-trusted-ca-file={}", authority.write(folder).display()),
        "--peer-client-cert-auth".to_owned(),
    ]
}

fn borrowed(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

/// Writes through one member and reads through all that run.
async fn writes_and_reads(cluster: &Cluster, value: &str) {
    let running = cluster.running();
    cluster.client(running[0]).await.put("key", value, None).await.unwrap();
    for member in running {
        let read = cluster.client(member).await.get("key", None).await.unwrap();
        assert_eq!(read.kvs()[0].value(), value.as_bytes(), "member {member}");
    }
}

#[tokio::test]
async fn members_make_their_own_certificates_and_keep_them() {
    let mut cluster = Cluster::start_over_tls(&Program::lodemark(), 3, &["--peer-auto-tls"]).await;
    writes_and_reads(&cluster, "one").await;

    let address = cluster.peer_url(0).replace("https://", "");
    let mut plain = TcpStream::connect(address).unwrap();
    plain.set_read_timeout(Some(NO_ANSWER)).unwrap();
    plain.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    let certificate = cluster.data_dir(0).join("fixtures/peer/cert.pem");
    let made = fs::read(&certificate).unwrap();
    cluster.kill(0);
    writes_and_reads(&cluster, "two").await;
    cluster.restart(0).await;
    writes_and_reads(&cluster, "three").await;
    assert_eq!(fs::read(&certificate).unwrap(), made);
}

#[tokio::test]
async fn a_stranger_of_another_authority_is_not_let_in() {
    let (temp, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let flags = certificates(&Authority::new("ours"), temp.path());
    let mut cluster = Cluster::start_over_tls(&Program::lodemark(), 3, &borrowed(&flags)).await;
    let (stranger, _) = cluster.add(0, false).await;

    // It trusts us, so that what is refused is its own certificate.
    let mut flags = certificates(&Authority::new("foreign"), foreign.path());
    flags.push(format!("--peer-trusted-ca-file={}", temp.path().join("ca.pem").display()));
    cluster.launch_with(stranger, &borrowed(&flags));
    cluster.process(stranger).wait_for_line("could not retrieve cluster information from the given URLs", 0);
    assert_eq!(cluster.ended(stranger).code(), Some(1));
    cluster.process(0).wait_for_line("rejected connection on peer endpoint", 0);
    writes_and_reads(&cluster, "undisturbed").await;

    cluster.restart(stranger).await;
    writes_and_reads(&cluster, "with a member more").await;
}

/// Everything is replaced, the authority too: members that went on and one that was started again meet anew.
#[tokio::test]
async fn renewed_certificates_need_no_restart() {
    let temp = tempfile::tempdir().unwrap();
    let flags = certificates(&Authority::new("first"), temp.path());
    let mut cluster = Cluster::start_over_tls(&Program::lodemark(), 3, &borrowed(&flags)).await;
    writes_and_reads(&cluster, "one").await;

    assert_eq!(certificates(&Authority::new("second"), temp.path()), flags);
    cluster.kill(0);
    cluster.restart(0).await;
    // Now both are needed: one that has seen only the second authority, and one that began with the first.
    cluster.kill(1);
    cluster.wait_until_it_serves(2).await;
    writes_and_reads(&cluster, "two").await;
}

/// As while a cluster changes from one scheme to the other, or behind something that speaks TLS for it. A real etcd does the
/// same.
async fn a_member_without_a_certificate_is_one_of_two(program: &Program) {
    let (temp, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let files = authority.issue(temp.path(), "member", "member", 1, &["127.0.0.1"]);
    let place = |peer_scheme| Place {
        program: program.clone(),
        host: "127.0.0.1".to_owned(),
        client_port: free_port(),
        peer_port: free_port(),
        peer_scheme,
        data_dir: None,
    };
    let mut cluster = Cluster::placed(vec![place("http"), place("https")], &[]);
    cluster.launch_with(0, &[&format!("--peer-trusted-ca-file={}", authority.write(temp.path()).display())]);
    let [cert, key] =
        [("cert", files.cert), ("key", files.key)].map(|(what, path)| format!("--peer-{what}-file={}", path.display()));
    cluster.launch_with(1, &[&cert, &key]);
    for member in 0..2 {
        cluster.wait_until_it_serves(member).await;
    }
    writes_and_reads(&cluster, "by both").await;
}

#[tokio::test]
async fn who_has_no_certificate_connects_without() {
    for program in [Program::lodemark()].into_iter().chain(Program::etcd()) {
        a_member_without_a_certificate_is_one_of_two(&program).await;
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let flags = ["--peer-cert-file=none.pem", "--peer-key-file=none.key"];
    let mut cluster = Cluster::planned(&Program::lodemark(), 1, &flags);
    cluster.launch(0);
    let said = cluster.process(0).wait_for_line("cannot speak TLS with other members: none.pem: ", 0);
    assert!(said.contains("look at --peer-cert-file"), "{said}");
    assert_eq!(cluster.ended(0).code(), Some(1));
}
