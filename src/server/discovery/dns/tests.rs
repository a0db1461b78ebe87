//! Discovery against a name server of our own on the loopback interface, over UDP, as a resolver speaks to it.

use std::net::Ipv4Addr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::*;

/// What the name server knows: services with hosts and ports, and addresses of hosts.
#[derive(Clone, Default)]
struct Zone {
    services: Vec<(&'static str, &'static str, u16)>,
    hosts: Vec<(&'static str, Ipv4Addr)>,
}

const TYPE_A: u16 = 1;
const TYPE_SRV: u16 = 33;

/// A name as DNS has it: lengths and labels, and an empty one at the end.
fn encoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// The answer to a question.
fn answer(zone: &Zone, question: &[u8]) -> Vec<u8> {
    let (mut name, mut at) = (String::new(), 12);
    while question[at] > 0 {
        let len = usize::from(question[at]);
        name.push_str(std::str::from_utf8(&question[at + 1..=at + len]).unwrap());
        name.push('.');
        at += len + 1;
    }
    let asked = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let record = |kind: u16, data: &[u8]| {
        let mut record = encoded(&name);
        record.extend_from_slice(&kind.to_be_bytes());
        record.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        record.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        record.extend_from_slice(data);
        record
    };
    let mut records = Vec::new();
    if asked == TYPE_SRV {
        for (_, host, port) in zone.services.iter().filter(|(service, ..)| name.eq_ignore_ascii_case(service)) {
            let mut data = vec![0, 0, 0, 0];
            data.extend_from_slice(&port.to_be_bytes());
            data.extend_from_slice(&encoded(host));
            records.push(record(TYPE_SRV, &data));
        }
    }
    if asked == TYPE_A {
        let hosts = zone.hosts.iter().filter(|(host, _)| name.eq_ignore_ascii_case(host));
        records.extend(hosts.map(|(_, address)| record(TYPE_A, &address.octets())));
    }
    let is_known = zone.services.iter().any(|(service, ..)| name.eq_ignore_ascii_case(service))
        || zone.hosts.iter().any(|(host, _)| name.eq_ignore_ascii_case(host));
    let mut out = question[..2].to_vec();
    // An answer with authority; a name that is not there is an error.
    out.extend_from_slice(&[0x85, if is_known { 0x80 } else { 0x83 }, 0, 1, 0]);
    out.push(u8::try_from(records.len()).unwrap());
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(&question[12..at + 5]);
    records.into_iter().for_each(|record| out.extend(record));
    out
}

/// A resolver that asks a server which knows `zone`.
async fn dns(zone: Zone) -> (Dns, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut question).await {
            socket.send_to(&answer(&zone, &question[..len]), from).await.unwrap();
        }
    });
    let mut connection = ConnectionConfig::udp();
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
    (Dns(resolver), serving)
}

fn config(name: &str, advertised: &str) -> Config {
    Config { name: name.to_owned(), advertise_peer_urls: vec![Url::parse(advertised).unwrap()], ..Config::default() }
}

fn srv(service_name: &str) -> SrvDiscovery {
    SrvDiscovery { domain: "example.com".to_owned(), service_name: service_name.to_owned() }
}

fn zone() -> Zone {
    Zone {
        services: vec![
            ("_etcd-server-ssl._tcp.example.com.", "m1.example.com.", 2380),
            ("_etcd-server-ssl._tcp.example.com.", "m2.example.com.", 2480),
            ("_etcd-server._tcp.example.com.", "m3.example.com.", 2380),
            ("_etcd-server-blue._tcp.example.com.", "m1.example.com.", 2380),
        ],
        hosts: vec![
            ("m1.example.com.", Ipv4Addr::new(10, 0, 0, 1)),
            ("m2.example.com.", Ipv4Addr::new(10, 0, 0, 2)),
            ("m3.example.com.", Ipv4Addr::new(10, 0, 0, 3)),
        ],
    }
}

#[tokio::test]
async fn records_become_a_list_in_which_this_member_has_its_name() {
    let (dns, serving) = dns(zone()).await;
    let found = initial_cluster(&config("a", "https://10.0.0.2:2480"), &srv(""), &dns).await;
    let list = "0=https://m1.example.com:2380,a=https://m2.example.com:2480,0=http://m3.example.com:2380";
    assert_eq!(found.as_deref(), Ok(list));
    let by_name = initial_cluster(&config("a", "https://m2.example.com:2480"), &srv(""), &dns).await;
    assert_eq!(by_name.as_deref(), Ok(list));
    let blue = initial_cluster(&config("a", "http://m1.example.com:2380"), &srv("blue"), &dns).await;
    assert_eq!(blue.as_deref(), Ok("a=http://m1.example.com:2380"));
    serving.abort();
}

#[tokio::test]
async fn what_is_not_found_is_told() {
    let (dns, serving) = dns(zone()).await;
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
    serving.abort();
}
