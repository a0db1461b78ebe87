//! A resolver beside a name server of our own.

use std::net::Ipv4Addr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::*;

impl Dns {
    /// A resolver that asks a server which knows `zone`.
    pub(crate) fn knowing(zone: Zone) -> (Dns, NameServer) {
        let server = NameServer::start((Ipv4Addr::LOCALHOST, 0), zone).unwrap();
        let address = server.address();
        let mut connection = ConnectionConfig::udp();
        connection.port = address.port();
        let config = NameServerConfig::new(address.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
        (Dns(resolver), server)
    }
}

#[tokio::test]
async fn services_come_in_the_order_of_their_priority_with_their_weight() {
    let record = |priority, weight, host: &str| Record { priority, weight, host: host.to_owned(), port: 2379 };
    let zone = Zone::default()
        .service("_etcd-client._tcp.example.com.", record(20, 1, "a.example.com."))
        .service("_etcd-client._tcp.example.com.", record(10, 0, "c.example.com."))
        .service("_etcd-client._tcp.example.com.", record(10, 7, "b.example.com."))
        .service("_none._tcp.example.com.", record(0, 0, "."))
        .host("b.example.com.", Ipv4Addr::new(10, 0, 0, 2));
    let (dns, _server) = Dns::knowing(zone);
    let found = dns.services("_etcd-client._tcp.example.com").await.unwrap();
    let told: Vec<_> = found.iter().map(|target| (target.to_string(), target.priority, target.weight)).collect();
    let expected = [("b.example.com.:2379", 10, 7), ("c.example.com.:2379", 10, 0), ("a.example.com.:2379", 20, 1)];
    assert_eq!(told, expected.map(|(place, priority, weight)| (place.to_owned(), priority, weight)));
    assert_eq!(dns.address("b.example.com.").await, Ok(IpAddr::from([10, 0, 0, 2])));
    for missing in ["_none._tcp.example.com", "_other._tcp.example.com"] {
        assert_eq!(dns.services(missing).await, Err(format!("lookup {missing}: no such host")));
    }
}

#[test]
fn clusters_of_one_domain_have_services_of_their_own() {
    assert_eq!(service("etcd-client-ssl", ""), "etcd-client-ssl");
    assert_eq!(service("etcd-client-ssl", "blue"), "etcd-client-ssl-blue");
}
