//! What is said of files at start: which flag, which file, what to do. Nothing is begun then.

use std::fs;

use super::{ASKS, OWN, TRUSTS, issue, launch, refused, some_url};
use crate::harness::own_program;

#[test]
fn files_that_would_fail_every_handshake_are_named_with_their_flag() {
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    fs::write(dir.path().join("empty.pem"), "").unwrap();
    for (flags, expected) in [
        (
            &["--cert-file=none.pem", "--key-file=server.key"][..],
            "none.pem: No such file or directory (os error 2); look at --cert-file\"",
        ),
        (
            &["--cert-file=server.pem", "--key-file=none.key"],
            "none.key: No such file or directory (os error 2); look at --key-file\"",
        ),
        (
            &["--cert-file=server.pem", "--key-file=alice.key"],
            "tls: private key does not match public key: alice.key is not the key of server.pem; look at --cert-file \
             and --key-file\"",
        ),
        (
            &["--cert-file=server.key", "--key-file=server.key"],
            "server.key: there is no certificate in it; look at --cert-file",
        ),
        (&["--cert-file=server.pem", "--key-file=server.pem"], "look at --cert-file and --key-file\""),
        (
            &[OWN[0], OWN[1], "--trusted-ca-file=none.pem"],
            "none.pem: No such file or directory (os error 2); look at --trusted-ca-file\"",
        ),
        (
            &[OWN[0], OWN[1], "--trusted-ca-file=empty.pem"],
            "empty.pem: there is no certificate in it; look at --trusted-ca-file\"",
        ),
        (
            &[OWN[0], OWN[1], TRUSTS, ASKS, "--client-crl-file=ca.pem"],
            "look at --trusted-ca-file and --client-crl-file\"",
        ),
        (
            &[OWN[0], OWN[1], "--client-cert-file=none.pem", "--client-key-file=alice.key"],
            "none.pem: No such file or directory (os error 2); look at --client-cert-file\"",
        ),
    ] {
        let (status, said) = refused(dir.path(), &some_url("https"), "http://127.0.0.1:0", flags);
        assert_eq!(status, Some(1), "{flags:?}: {said}");
        assert!(said.contains("cannot speak TLS with clients: "), "{flags:?}: {said}");
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
    let peers = ["--peer-cert-file=server.pem", "--peer-key-file=server.key", "--peer-trusted-ca-file=none.pem"];
    let (status, said) = refused(dir.path(), &some_url("http"), &some_url("https"), &peers);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("none.pem: No such file or directory (os error 2); look at --peer-trusted-ca-file"),
        "{said}"
    );
    let (status, said) = refused(dir.path(), &some_url("https"), "http://127.0.0.1:0", &[TRUSTS]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("TLS key/cert (--cert-file, --key-file) must be provided for client url"), "{said}");
}

/// A real etcd starts with such certificates, too, and says nothing.
#[test]
fn a_certificate_that_keeps_clients_away_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path());
    for (file, why) in [("future", "it is not valid before "), ("for_clients", "its extended key usage")] {
        let flags = [format!("--cert-file={file}.pem"), format!("--key-file={file}.key")];
        let flags = flags.each_ref().map(String::as_str);
        let url = some_url("https");
        let process = launch(&own_program(), dir.path(), &url, "http://127.0.0.1:0", &flags);
        let line = process.wait_for_line("others will refuse the certificate of this member", 0);
        assert!(line.contains(&format!("{file}.pem: {why}")) && line.contains("\"flag\":\"--cert-file\""), "{line}");
        process.wait_for_line("ready to serve client requests", 0);
    }
}
