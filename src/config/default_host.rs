//! A member that listens everywhere, and says nowhere where it is found: others are told the machine's own address.
//!
//! Source: etcd, `UpdateDefaultClusterFromName` in `server/embed/config.go`.

use std::net::IpAddr;

use super::validate::{DEFAULT_NAME, DEFAULT_URLS_CLIENT, DEFAULT_URLS_PEER};
use super::{Config, InitialCluster, Url};

/// Every IPv4 address of the machine.
const EVERYWHERE: &str = "0.0.0.0";

impl Config {
    /// Tells whether it would make a difference to know the machine's address.
    #[must_use]
    pub fn wants_default_host(&self) -> bool {
        is_everywhere(&self.listen_peer_urls, &self.advertise_peer_urls, DEFAULT_URLS_PEER)
            || is_everywhere(&self.listen_client_urls, &self.advertise_client_urls, DEFAULT_URLS_CLIENT)
    }

    /// Advertises `host`, with the ports that are listened at, in place of defaults that lead nowhere. A cluster that was
    /// given by `--name` alone follows.
    pub fn advertise_default_host(&mut self, host: IpAddr) {
        if is_everywhere(&self.listen_peer_urls, &self.advertise_peer_urls, DEFAULT_URLS_PEER) {
            let by_name = InitialCluster::of_one(&self.name, &self.advertise_peer_urls).to_string();
            self.advertise_peer_urls = vec![at(host, &self.listen_peer_urls[0])];
            if self.name != DEFAULT_NAME && self.initial_cluster == by_name {
                self.initial_cluster = InitialCluster::of_one(&self.name, &self.advertise_peer_urls).to_string();
            }
        }
        if is_everywhere(&self.listen_client_urls, &self.advertise_client_urls, DEFAULT_URLS_CLIENT) {
            self.advertise_client_urls = vec![at(host, &self.listen_client_urls[0])];
        }
    }
}

/// The first URL alone counts, as for etcd.
fn is_everywhere(listened: &[Url], advertised: &[Url], default: &str) -> bool {
    let is_default = matches!(advertised, [only] if only.as_str() == default);
    is_default && listened.first().is_some_and(|url| url.is_tcp() && url.host() == EVERYWHERE)
}

/// The scheme stays that of the default.
fn at(host: IpAddr, listened: &Url) -> Url {
    let host = if host.is_ipv6() { format!("[{host}]") } else { host.to_string() };
    Url::parse(&format!("http://{host}:{}", listened.port())).expect("an address and a port make a URL")
}

#[cfg(test)]
mod tests {
    use super::super::Invocation;
    use super::*;

    fn config(arguments: &[&str]) -> Config {
        match Invocation::from_args(arguments.iter().map(std::ffi::OsString::from)).unwrap() {
            Invocation::Serve(config) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn advertised(arguments: &[&str]) -> (String, String, String) {
        let mut config = config(arguments);
        let wants = config.wants_default_host();
        let before = config.clone();
        config.advertise_default_host([10, 1, 2, 3].into());
        assert_eq!(wants, config != before, "{arguments:?}");
        let text = |urls: &[Url]| urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",");
        (text(&config.advertise_peer_urls), text(&config.advertise_client_urls), config.initial_cluster)
    }

    #[test]
    fn the_address_takes_the_place_of_localhost_where_everybody_is_awaited() {
        let clients = ["--listen-client-urls=http://0.0.0.0:79", "--advertise-client-urls=http://localhost:2379"];
        let peers = ["--name=x", "--listen-peer-urls=http://0.0.0.0:80"];
        let (peer, client, cluster) = advertised(&[clients, peers].concat());
        assert_eq!((peer.as_str(), client.as_str()), ("http://10.1.2.3:80", "http://10.1.2.3:79"));
        assert_eq!(cluster, "x=http://10.1.2.3:80");
    }

    #[test]
    fn what_was_said_stays() {
        for arguments in [
            &[][..],
            &["--listen-peer-urls=http://127.0.0.1:80"],
            &["--listen-peer-urls=http://0.0.0.0:80", "--initial-advertise-peer-urls=http://a:80"],
            &["--listen-client-urls=http://0.0.0.0:79", "--advertise-client-urls=http://a:79"],
        ] {
            assert!(!config(arguments).wants_default_host(), "{arguments:?}");
        }
        let (_, _, cluster) =
            advertised(&["--name=x", "--listen-peer-urls=http://0.0.0.0:80", "--initial-cluster=x=http://a:80"]);
        assert_eq!(cluster, "x=http://a:80");
    }
}
