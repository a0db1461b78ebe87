//! Members that speak TLS. What a certificate must be is tested where it is checked, in `net::tls`.

use std::path::Path;

use super::*;
use crate::net::testing::Authority;
use crate::net::{SelfSigned, TlsOptions};

fn options(authority: &Authority, dir: &Path, name: &str) -> TlsOptions {
    TlsOptions {
        certificate: Some(authority.issue(dir, name, name, 1, &["127.0.0.1", "localhost"])),
        trusted_ca_file: Some(authority.write(dir)),
        client_cert_auth: true,
        checks_client_address: true,
        ..TlsOptions::default()
    }
}

fn transport_with(tls: Tls, url: &str) -> Arc<Http2Transport> {
    let transport = Http2Transport::new(Http2Options { runtime: Handle::current(), tls });
    move_to(&transport, &[url]);
    transport
}

#[tokio::test]
async fn everything_works_over_tls() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let tls = |name| Tls::new(options(&authority, dir.path(), name)).unwrap();
    for server in [
        Server::start_at("127.0.0.1:0".parse().unwrap(), Some(tls("one"))),
        Server::start_in(dir.path(), Some(tls("one"))),
    ] {
        let transport = transport_with(tls("two"), &server.url);
        assert_eq!(ping(&transport).await, Ok(body("ping")));
        let mut pipe = transport.append(envelope()).await.unwrap();
        pipe.requests.send(vec![1; 3_000_000].into()).await.unwrap();
        assert_eq!(soon(pipe.answers.next()).await.unwrap().unwrap().len(), 3_000_000);
        server.stop().await;
    }
}

#[tokio::test]
async fn members_with_certificates_of_their_own_making_reach_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let tls = |name: &str| {
        let self_signed =
            SelfSigned { dir: dir.path().join(name), hosts: vec!["127.0.0.1".to_owned()], validity_years: 1 };
        Tls::new(TlsOptions { self_signed: Some(self_signed), ..TlsOptions::default() }).unwrap()
    };
    let server = Server::start_at("127.0.0.1:0".parse().unwrap(), Some(tls("one")));
    assert_eq!(ping(&transport_with(tls("two"), &server.url)).await, Ok(body("ping")));
    server.stop().await;
}

/// It is shown a certificate, and shows none.
#[tokio::test]
async fn a_member_without_a_certificate_reaches_those_that_ask_for_none() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let asks = options(&authority, dir.path(), "one");
    let asks_nobody = TlsOptions { trusted_ca_file: None, client_cert_auth: false, ..asks.clone() };
    let server = Server::start_at("127.0.0.1:0".parse().unwrap(), Some(Tls::new(asks_nobody).unwrap()));
    let trusting = Tls::without_certificate(asks.trusted_ca_file).unwrap();
    assert_eq!(ping(&transport_with(trusting, &server.url)).await, Ok(body("ping")));
    // The system does not know who has signed it.
    assert!(matches!(ping(&transport_to(&[&server.url])).await, Err(PeerError::Unreachable(_))));
    server.stop().await;
}

#[tokio::test]
async fn those_who_are_not_let_in_reach_nobody() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let ours = options(&authority, dir.path(), "one");
    let strict = TlsOptions { allowed_cn: vec!["one".to_owned()], ..ours.clone() };
    let server = Server::start_at("127.0.0.1:0".parse().unwrap(), Some(Tls::new(strict).unwrap()));
    let other_dir = tempfile::tempdir().unwrap();
    let mut foreign = options(&Authority::new("other"), other_dir.path(), "one");
    foreign.trusted_ca_file = ours.trusted_ca_file.clone();
    for options in [foreign, options(&authority, dir.path(), "two")] {
        let outcome = ping(&transport_with(Tls::new(options).unwrap(), &server.url)).await;
        assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
    }
    // Without TLS nobody understands anybody.
    let plain = transport_to(&[&server.url.replace("https", "http")]);
    let Err(PeerError::Unreachable(_)) = ping(&plain).await else { panic!("it was reached") };
    // Without a certificate nobody is let in who is asked for one.
    let anonymous = Tls::without_certificate(ours.trusted_ca_file.clone()).unwrap();
    let outcome = ping(&transport_with(anonymous, &server.url)).await;
    assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
    assert_eq!(ping(&transport_with(Tls::new(ours).unwrap(), &server.url)).await, Ok(body("ping")));
    server.stop().await;
}

#[tokio::test]
async fn a_renewed_authority_needs_no_restart() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let tls = |name| Tls::new(options(&authority, dir.path(), name)).unwrap();
    let (one, two) = (tls("one"), tls("two"));
    let server = Server::start_at("127.0.0.1:0".parse().unwrap(), Some(one));
    let transport = transport_with(two, &server.url);
    assert_eq!(ping(&transport).await, Ok(body("ping")));

    let renewed = Authority::new("renewed");
    options(&renewed, dir.path(), "one");
    options(&renewed, dir.path(), "two");
    // What is connected stays connected.
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    transport.set_addresses(BTreeMap::new());
    move_to(&transport, &[&server.url]);
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    server.stop().await;
}
