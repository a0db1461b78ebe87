//! Both ends of a handshake, over loopback.

use std::fs;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use rustls::version;

use super::*;
use crate::net::testing::{Authority, Usage, Wanted};

const HERE: &[&str] = &["127.0.0.1", "localhost"];

/// A member whose certificate is signed by `authority`, which it trusts.
fn options(authority: &Authority, dir: &Path, name: &str, serial: u64) -> TlsOptions {
    TlsOptions {
        certificate: Some(authority.issue(dir, name, name, serial, HERE)),
        trusted_ca_file: Some(authority.write(dir)),
        client_cert_auth: true,
        checks_client_address: true,
        ..TlsOptions::default()
    }
}

fn tls(options: &TlsOptions) -> Tls {
    Tls::new(options.clone()).unwrap()
}

/// What the server says of the handshake, and the common name that the client sees: after it has got a byte, for with
/// TLS 1.3 the client is done before it is refused.
async fn meet(server: &Tls, client: &Tls, server_name: &str) -> (Result<(), Box<Rejected>>, Result<String, String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = server.accept(Socket::tcp(socket)).await?;
        stream.write_all(b"x").await.unwrap();
        stream.shutdown().await.unwrap();
        Ok(())
    };
    let connecting = async {
        let socket = Socket::tcp(TcpStream::connect(address).await.unwrap());
        let mut stream =
            client.connect(socket, server_name, Protocol::Http2).await.map_err(|error| error.to_string())?;
        stream.read_u8().await.map_err(|error| error.to_string())?;
        let (_, connection) = stream.get_ref();
        Ok(Presented::read(&connection.peer_certificates().unwrap()[0]).unwrap().common_name)
    };
    tokio::join!(accepting, connecting)
}

#[tokio::test]
async fn members_of_one_authority_meet() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let (one, two) = (tls(&options(&authority, dir.path(), "one", 1)), tls(&options(&authority, dir.path(), "two", 2)));
    for server_name in HERE {
        let (accepted, seen) = meet(&one, &two, server_name).await;
        assert!(accepted.is_ok());
        assert_eq!(seen, Ok("one".to_owned()));
    }
    let (_, seen) = meet(&one, &two, "elsewhere.invalid").await;
    assert!(seen.unwrap_err().contains("not valid for name"));
}

#[tokio::test]
async fn those_of_another_authority_are_rejected_and_told_about() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let server = tls(&options(&authority, ours.path(), "one", 1));
    let mut stranger = options(&other, theirs.path(), "stranger", 2);
    // The stranger would accept us.
    stranger.trusted_ca_file = Some(authority.write(theirs.path()));
    let (accepted, seen) = meet(&server, &tls(&stranger), "localhost").await;
    assert!(seen.is_err());
    let rejected = accepted.unwrap_err();
    assert!(rejected.error.contains("invalid peer certificate"), "{rejected:?}");
    assert_eq!(rejected.server_name, "localhost");
    assert_eq!(rejected.dns_names, ["localhost"]);
    assert_eq!(rejected.ip_addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);

    // And the other way round: a server of another authority is not believed.
    let (accepted, seen) = meet(&tls(&stranger), &server, "localhost").await;
    assert!(accepted.is_err() && seen.unwrap_err().contains("invalid peer certificate"));
}

#[tokio::test]
async fn only_allowed_names_are_let_in() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let client = tls(&options(&authority, dir.path(), "two", 2));
    for (allowed_cn, allowed_hostname, is_let_in) in [
        (&["one", "two"][..], &[][..], true),
        (&["one", "tw"], &[], false),
        (&[], &["localhost"], true),
        (&[], &["127.0.0.1"], true),
        (&[], &["elsewhere"], false),
    ] {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let server = TlsOptions {
            allowed_cn: owned(allowed_cn),
            allowed_hostname: owned(allowed_hostname),
            ..options(&authority, dir.path(), "one", 1)
        };
        let (accepted, seen) = meet(&tls(&server), &client, "localhost").await;
        assert_eq!((accepted.is_ok(), seen.is_ok()), (is_let_in, is_let_in), "{allowed_cn:?} {allowed_hostname:?}");
        if let Err(rejected) = accepted {
            assert!(rejected.error.contains("client certificate authentication failed"), "{rejected:?}");
        }
        // The one who connects has the same rule for whom it meets.
        let (_, seen) = meet(&client, &tls(&server), "localhost").await;
        assert_eq!(seen.is_ok(), is_let_in, "{allowed_cn:?} {allowed_hostname:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_for_the_address_that_its_owner_comes_from() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let mut server = options(&authority, dir.path(), "one", 1);
    let mut client = options(&authority, dir.path(), "two", 2);
    client.certificate = Some(authority.issue(dir.path(), "two", "two", 2, &["10.0.0.1"]));
    let (accepted, _) = meet(&tls(&server), &tls(&client), "localhost").await;
    assert!(accepted.unwrap_err().error.contains("x509: certificate is valid for 10.0.0.1, not 127.0.0.1"));
    server.checks_client_address = false;
    assert!(meet(&tls(&server), &tls(&client), "localhost").await.0.is_ok());
}

#[tokio::test]
async fn replaced_files_count_from_the_next_handshake_on() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let (server, client) =
        (tls(&options(&authority, dir.path(), "one", 1)), tls(&options(&authority, dir.path(), "two", 2)));
    assert_eq!(meet(&server, &client, "localhost").await.1, Ok("one".to_owned()));
    authority.issue(dir.path(), "one", "renewed", 3, HERE);
    assert_eq!(meet(&server, &client, "localhost").await.1, Ok("renewed".to_owned()));

    // Half of a pair is a failed handshake, not a stopped server.
    let key = fs::read(dir.path().join("one.key")).unwrap();
    fs::remove_file(dir.path().join("one.key")).unwrap();
    let (accepted, _) = meet(&server, &client, "localhost").await;
    assert!(accepted.unwrap_err().error.contains("one.key"));
    fs::write(dir.path().join("one.key"), key).unwrap();
    assert!(meet(&server, &client, "localhost").await.1.is_ok());

    // All of it by another authority.
    let other = Authority::new("other");
    other.write(dir.path());
    other.issue(dir.path(), "one", "one", 4, HERE);
    assert!(meet(&server, &client, "localhost").await.0.is_err(), "the client's is of the old one");
    other.issue(dir.path(), "two", "two", 5, HERE);
    assert!(meet(&server, &client, "localhost").await.0.is_ok());

    // Two may be trusted at a time, while one takes the place of the other.
    fs::write(dir.path().join("ca.pem"), format!("{}{}", authority.pem(), other.pem())).unwrap();
    authority.issue(dir.path(), "two", "two", 6, HERE);
    assert!(meet(&server, &client, "localhost").await.0.is_ok());
}

#[tokio::test]
async fn revoked_certificates_are_rejected_from_the_next_handshake_on() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let list = dir.path().join("crl.der");
    authority.revoke(&list, &[7]);
    let server = TlsOptions { crl_file: Some(list.clone()), ..options(&authority, dir.path(), "one", 1) };
    let (server, client) = (tls(&server), tls(&options(&authority, dir.path(), "two", 0xff02)));
    assert!(meet(&server, &client, "localhost").await.0.is_ok());
    authority.revoke(&list, &[7, 0xff02]);
    let (accepted, seen) = meet(&server, &client, "localhost").await;
    assert!(accepted.unwrap_err().error.contains("transport: certificate serial ff02 revoked"));
    assert!(seen.is_err());
    fs::write(&list, "no list").unwrap();
    assert!(meet(&server, &client, "localhost").await.0.is_err(), "without a list nobody is let in");
}

#[tokio::test]
async fn self_signed_members_meet_and_keep_their_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let options = |name: &str| {
        let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let self_signed = SelfSigned { dir: dir.path().join(name).join("fixtures/peer"), hosts, validity_years: 1 };
        TlsOptions { self_signed: Some(self_signed), checks_client_address: true, ..TlsOptions::default() }
    };
    let (one, two) = (tls(&options("one")), tls(&options("two")));
    assert!(meet(&one, &two, "localhost").await.1.is_ok());
    let path = dir.path().join("one/fixtures/peer/cert.pem");
    let certificate = fs::read(&path).unwrap();
    tls(&options("one"));
    assert_eq!(fs::read(&path).unwrap(), certificate);
    // A crash between the two files leaves one of them.
    fs::remove_file(&path).unwrap();
    assert!(meet(&tls(&options("one")), &two, "localhost").await.1.is_ok());
    assert_ne!(fs::read(&path).unwrap(), certificate);
}

#[tokio::test]
async fn whoever_has_no_certificate_is_rejected() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let with_ca_alone = TlsOptions { client_cert_auth: false, ..options(&authority, dir.path(), "one", 1) };
    let server = tls(&with_ca_alone);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let state = &server.0;
    let anonymous = ClientConfig::builder_with_provider(state.provider.clone())
        .with_protocol_versions(&[&version::TLS12])
        .unwrap()
        .with_root_certificates(state.authorities().unwrap())
        .with_no_client_auth();
    let connecting =
        TlsConnector::from(Arc::new(anonymous)).connect(ServerName::try_from("localhost").unwrap(), socket);
    let accepting = async { server.accept(Socket::tcp(listener.accept().await.unwrap().0)).await };
    let (connected, accepted) = tokio::join!(connecting, accepting);
    assert!(connected.is_err());
    assert!(accepted.unwrap_err().error.contains("no certificates"));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_a_deadline_and_garbage_none_at_all() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let server = tls(&options(&authority, dir.path(), "one", 1));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (said, why) in [("", "no handshake within 10s"), ("GET / HTTP/1.1\r\n\r\n", "corrupt message")] {
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        let rejected = server.accept(Socket::tcp(listener.accept().await.unwrap().0)).await.unwrap_err();
        assert!(rejected.error.contains(why), "{rejected:?}");
    }
    let probe = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    drop(probe);
    let rejected = server.accept(Socket::tcp(listener.accept().await.unwrap().0)).await.unwrap_err();
    assert!(rejected.is_eof, "{rejected:?}");
}

#[test]
fn what_would_fail_every_handshake_fails_the_start() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let good = options(&authority, dir.path(), "one", 1);
    let other = authority.issue(dir.path(), "other", "other", 2, HERE);
    let certificate = good.certificate.clone().unwrap();
    for (odd, why) in [
        (TlsOptions::default(), "must both be given"),
        (
            TlsOptions { allowed_cn: vec!["a".into()], allowed_hostname: vec!["b".into()], ..good.clone() },
            "mutually exclusive",
        ),
        (
            TlsOptions {
                certificate: Some(CertificateFiles { key: other.key.clone(), ..certificate.clone() }),
                ..good.clone()
            },
            "tls: private key does not match public key: ",
        ),
        (
            TlsOptions {
                client_certificate: Some(CertificateFiles { key: "/nowhere".into(), ..certificate.clone() }),
                ..good.clone()
            },
            "/nowhere",
        ),
        (TlsOptions { trusted_ca_file: Some(other.key.clone()), ..good.clone() }, "no certificate in it"),
        (TlsOptions { crl_file: Some(other.key), ..good }, "other.key"),
    ] {
        let error = Tls::new(odd).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn who_shows_no_certificate_meets_only_servers_that_ask_for_none() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let asks = options(&authority, dir.path(), "one", 1);
    let asks_nobody = TlsOptions { trusted_ca_file: None, client_cert_auth: false, ..asks.clone() };
    let client = Tls::without_certificate(Some(authority.write(dir.path()))).unwrap();
    let (accepted, seen) = meet(&tls(&asks_nobody), &client, "localhost").await;
    assert!(accepted.is_ok());
    assert_eq!(seen, Ok("one".to_owned()));
    let (accepted, seen) = meet(&tls(&asks), &client, "localhost").await;
    assert!(accepted.is_err() && seen.is_err());
    // A server of another authority is not believed.
    let others = tempfile::tempdir().unwrap();
    let client = Tls::without_certificate(Some(Authority::new("other").write(others.path()))).unwrap();
    let (_, seen) = meet(&tls(&asks_nobody), &client, "localhost").await;
    assert!(seen.unwrap_err().contains("invalid peer certificate"));
}

#[tokio::test]
async fn a_pair_that_is_replaced_one_half_after_the_other_fails_no_handshake() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let (server, client) =
        (tls(&options(&authority, dir.path(), "one", 1)), tls(&options(&authority, dir.path(), "two", 2)));
    let renewed = tempfile::tempdir().unwrap();
    let files = authority.issue(renewed.path(), "one", "renewed", 3, HERE);
    fs::rename(&files.cert, dir.path().join("one.pem")).unwrap();
    let replacing = async {
        sleep(READING_PAUSE * 2).await;
        fs::rename(&files.key, dir.path().join("one.key")).unwrap();
    };
    let ((accepted, seen), ()) = tokio::join!(meet(&server, &client, "localhost"), replacing);
    assert!(accepted.is_ok(), "{accepted:?}");
    assert_eq!(seen, Ok("renewed".to_owned()));
}

#[tokio::test]
async fn those_who_show_the_wrong_certificate_are_rejected() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let good = options(&authority, dir.path(), "one", 1);
    let wanted = Wanted::new("odd", 9, HERE);
    for (wanted, as_client, as_server, oddities) in [
        (wanted, true, true, 0),
        (Wanted { years: (2019, 2020), ..wanted }, false, false, 1),
        (Wanted { years: (2100, 2101), ..wanted }, false, false, 1),
        (Wanted { usage: Usage::Server, ..wanted }, false, true, 0),
        (Wanted { usage: Usage::Client, ..wanted }, true, false, 1),
    ] {
        let odd = TlsOptions { certificate: Some(authority.issue_wanted(dir.path(), "odd", wanted)), ..good.clone() };
        let (odd, good) = (tls(&odd), tls(&good));
        assert_eq!(meet(&good, &odd, "localhost").await.0.is_ok(), as_client, "{wanted:?}");
        assert_eq!(meet(&odd, &good, "localhost").await.1.is_ok(), as_server, "{wanted:?}");
        let told = odd.oddities();
        assert!(told.len() == oddities && told.iter().all(|odd| odd.contains("odd.pem: it")), "{told:?}");
    }
}

#[tokio::test]
async fn what_is_not_offered_is_not_spoken() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let good = options(&authority, dir.path(), "one", 1);
    let with = |offer: Offer| tls(&TlsOptions { offer, ..good.clone() });
    let (old, new) = (Offer { tls13: false, ..Offer::default() }, Offer { tls12: false, ..Offer::default() });
    // For keys of elliptic curves, as those of tests are, and for keys of RSA.
    let (ecdsa, rsa) = (0xc02c, 0xc030);
    let suites = |suite: u16| Offer { tls13: false, cipher_suites: vec![suite], ..Offer::default() };
    for (server, client, is_spoken) in [
        (Offer::default(), old.clone(), true),
        (Offer::default(), new.clone(), true),
        (old.clone(), new.clone(), false),
        (new, old.clone(), false),
        (suites(ecdsa), old.clone(), true),
        (suites(rsa), old.clone(), false),
        (suites(ecdsa), suites(0xc02b), false),
        // Those of TLS 1.3 are there whatever is said.
        (Offer { cipher_suites: vec![rsa], ..Offer::default() }, Offer::default(), true),
    ] {
        let (accepted, seen) = meet(&with(server.clone()), &with(client.clone()), "localhost").await;
        assert_eq!((accepted.is_ok(), seen.is_ok()), (is_spoken, is_spoken), "{server:?} {client:?}");
    }
}

/// Made by openssl, for etcd's own certificates have such keys.
#[tokio::test]
async fn keys_of_p521_are_used_and_believed() {
    let dir = tempfile::tempdir().unwrap();
    let files = CertificateFiles { cert: dir.path().join("p521.pem"), key: dir.path().join("p521.key") };
    fs::write(&files.cert, include_bytes!("testdata/p521.pem")).unwrap();
    fs::write(&files.key, include_bytes!("testdata/p521.key")).unwrap();
    // It has signed itself, so it is its own authority.
    for tls13 in [true, false] {
        let options = TlsOptions {
            certificate: Some(files.clone()),
            trusted_ca_file: Some(files.cert.clone()),
            client_cert_auth: true,
            offer: Offer { tls13, ..Offer::default() },
            ..TlsOptions::default()
        };
        let (accepted, seen) = meet(&tls(&options), &tls(&options), "localhost").await;
        assert!(accepted.is_ok(), "{accepted:?}");
        assert_eq!(seen, Ok("p521".to_owned()));
    }
    // It is not the key of another one.
    let other = Authority::new("ca").issue(dir.path(), "one", "one", 1, HERE);
    let mixed = TlsOptions {
        certificate: Some(CertificateFiles { cert: other.cert, key: files.key }),
        ..TlsOptions::default()
    };
    assert!(matches!(Tls::new(mixed), Err(TlsError::NoPair { .. })));
}

/// As members do that DNS has named.
#[tokio::test]
async fn a_certificate_may_be_for_another_name_than_the_host() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let mut of_domain = options(&authority, dir.path(), "one", 1);
    of_domain.certificate = Some(authority.issue(dir.path(), "domain", "domain", 3, &["example.com"]));
    of_domain.checks_client_address = false;
    let (of_domain, of_host) = (tls(&of_domain), tls(&options(&authority, dir.path(), "two", 2)));
    for (server, client, is_believed) in [
        (&of_domain, &of_host, false),
        (&of_domain, &of_host.expecting("example.com"), true),
        (&of_domain, &of_host.expecting("example.com."), true),
        (&of_domain, &of_host.expecting("example.org"), false),
        // A host that is no domain is none, even if it is where the connection leads.
        (&of_host, &of_host.expecting("example.com"), false),
        (&of_host, &of_host, true),
    ] {
        let (_, seen) = meet(server, client, "localhost").await;
        assert_eq!(seen.is_ok(), is_believed, "{seen:?}");
    }
    // Whoever is connected to hears the domain.
    let mut strict = options(&authority, dir.path(), "three", 4);
    strict.allowed_cn = vec!["nobody".to_owned()];
    let (accepted, _) = meet(&tls(&strict), &of_host.expecting("example.com"), "localhost").await;
    assert_eq!(accepted.unwrap_err().server_name, "example.com");
}

#[tokio::test]
async fn a_server_is_verified_by_who_has_no_certificate() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let others = tempfile::tempdir().unwrap();
    let stranger = Tls::without_certificate(Some(Authority::new("other").write(others.path()))).unwrap();
    let friend = Tls::without_certificate(Some(authority.write(dir.path()))).unwrap();
    let good = options(&authority, dir.path(), "one", 1);
    for offer in [Offer { tls13: false, ..Offer::default() }, Offer { tls12: false, ..Offer::default() }] {
        for client_cert_auth in [true, false] {
            let trusted_ca_file = good.trusted_ca_file.clone().filter(|_| client_cert_auth);
            let server = tls(&TlsOptions { client_cert_auth, trusted_ca_file, offer: offer.clone(), ..good.clone() });
            for (client, name, is_good) in
                [(&friend, "localhost", true), (&friend, "elsewhere.invalid", false), (&stranger, "localhost", false)]
            {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let socket = Socket::tcp(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
                let accepting = async { drop(server.accept(Socket::tcp(listener.accept().await.unwrap().0)).await) };
                let (verified, ()) = tokio::join!(client.verify(socket, name), accepting);
                assert_eq!(verified.is_ok(), is_good, "{offer:?} {client_cert_auth} {name}: {verified:?}");
            }
        }
    }
}
