//! Discovery against a name server of our own.

use std::net::Ipv4Addr;

use super::*;
use crate::config::TlsConfig;
use crate::dns::{Dns, Record, Zone};

fn config(name: &str, advertised: &str) -> Config {
    Config { name: name.to_owned(), advertise_peer_urls: vec![Url::parse(advertised).unwrap()], ..Config::default() }
}

fn srv(service_name: &str) -> SrvDiscovery {
    SrvDiscovery { domain: "example.com".to_owned(), service_name: service_name.to_owned() }
}

fn zone() -> Zone {
    Zone::default()
        .service("_etcd-server-ssl._tcp.example.com.", Record::of("m1.example.com.", 2380))
        .service("_etcd-server-ssl._tcp.example.com.", Record::of("m2.example.com.", 2480))
        .service("_etcd-server._tcp.example.com.", Record::of("m3.example.com.", 2380))
        .service("_etcd-server-blue._tcp.example.com.", Record::of("m1.example.com.", 2380))
        .host("m1.example.com.", Ipv4Addr::new(10, 0, 0, 1))
        .host("m2.example.com.", Ipv4Addr::new(10, 0, 0, 2))
        .host("m3.example.com.", Ipv4Addr::new(10, 0, 0, 3))
}

#[tokio::test]
async fn records_become_a_list_in_which_this_member_has_its_name() {
    let (dns, _server) = Dns::knowing(zone());
    let found = initial_cluster(&config("a", "https://10.0.0.2:2480"), &srv(""), &dns).await;
    let list = "0=https://m1.example.com:2380,a=https://m2.example.com:2480,0=http://m3.example.com:2380";
    assert_eq!(found.as_deref(), Ok(list));
    let by_name = initial_cluster(&config("a", "https://m2.example.com:2480"), &srv(""), &dns).await;
    assert_eq!(by_name.as_deref(), Ok(list));
    let blue = initial_cluster(&config("a", "http://m1.example.com:2380"), &srv("blue"), &dns).await;
    assert_eq!(blue.as_deref(), Ok("a=http://m1.example.com:2380"));
}

#[tokio::test]
async fn what_is_not_found_is_told() {
    let (dns, _server) = Dns::knowing(zone());
    let other = initial_cluster(&config("a", "https://10.0.0.9:2380"), &srv(""), &dns).await.unwrap_err();
    assert_eq!(other, DnsError::NotListed { name: "a".to_owned() });
    let none = initial_cluster(&config("a", "http://10.0.0.1:2380"), &srv("green"), &dns).await.unwrap_err();
    assert_eq!(
        none.to_string(),
        "error setting up initial cluster: error querying DNS SRV records for _etcd-server-ssl-green lookup \
         _etcd-server-ssl-green._tcp.example.com: no such host\nerror querying DNS SRV records for _etcd-server-green lookup \
         _etcd-server-green._tcp.example.com: no such host"
    );
    // Of the only member the scheme is another one.
    let blue = initial_cluster(&config("a", "https://m1.example.com:2380"), &srv("blue"), &dns).await.unwrap_err();
    let mismatch = "bootstrap at http://m1.example.com:2380 from DNS for etcd-server-blue has scheme mismatch with expected peer \
                    https://m1.example.com:2380";
    assert!(blue.to_string().ends_with(mismatch), "{blue}");
}

#[test]
fn certificates_are_for_the_domain_if_flags_name_nobody_who_signs_them() {
    let named = |trusted_ca_file: Option<&str>, list: &str| {
        let peer_tls = TlsConfig { trusted_ca_file: trusted_ca_file.map(Into::into), ..TlsConfig::default() };
        let config = Config { peer_tls, ..Config::default() };
        name_of_certificates(&config, &srv(""), list).map(str::to_owned)
    };
    let (secure, plain) =
        ("0=https://m1.example.com:2380,a=http://m2.example.com:2380", "a=http://m2.example.com:2380");
    assert_eq!(named(None, secure).as_deref(), Some("example.com"));
    assert_eq!(named(Some("ca.pem"), secure), None);
    assert_eq!(named(None, plain), None);
}
