//! Where others are told to find this member, if nobody said so.
//!
//! Whoever listens on every interface and leaves the advertised URL at its default means a machine, not its loopback: the
//! address by which the machine reaches the world stands in for `localhost`. Source: etcd, `UpdateDefaultClusterFromName`.

use std::net::IpAddr;

use super::flags::Settings;
use super::url::Url;

pub(super) const DEFAULT_URLS_CLIENT: &str = "http://localhost:2379";
pub(super) const DEFAULT_URLS_PEER: &str = "http://localhost:2380";
/// Every interface. Its twin of IPv6 is not looked at, as by etcd.
const ANYWHERE: &str = "0.0.0.0";

/// Replaces advertised URLs that nobody chose; gives the host if it was of use. `default_host` is asked at most once.
pub(super) fn fill(settings: &mut Settings, default_host: impl FnOnce() -> Option<IpAddr>) -> Option<IpAddr> {
    let Settings { listen_peer_urls, advertise_peer_urls, listen_client_urls, advertise_client_urls, .. } = settings;
    let is_open = |listened: &[Url], advertised: &[Url], default: &str| {
        listened.first().is_some_and(|url| url.host() == ANYWHERE)
            && matches!(advertised, [only] if only.as_str() == default)
    };
    let peers = is_open(listen_peer_urls, advertise_peer_urls, DEFAULT_URLS_PEER);
    let clients = is_open(listen_client_urls, advertise_client_urls, DEFAULT_URLS_CLIENT);
    if !peers && !clients {
        return None;
    }
    let host = default_host()?;
    let replace = |advertised: &mut Vec<Url>, listened: &[Url]| {
        let text = format!("http://{}", std::net::SocketAddr::new(host, listened[0].port()));
        *advertised = vec![Url::parse(&text).expect("an address and a port make a URL")];
    };
    if peers {
        replace(advertise_peer_urls, listen_peer_urls);
    }
    if clients {
        replace(advertise_client_urls, listen_client_urls);
    }
    Some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The advertised URLs for peers and for clients.
    fn filled(change: impl FnOnce(&mut Settings), host: Option<&str>) -> (String, String, bool) {
        let mut settings = Settings::defaults();
        change(&mut settings);
        let used = fill(&mut settings, || host.map(|host| host.parse().unwrap())).is_some();
        let only = |urls: &[Url]| urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",");
        (only(&settings.advertise_peer_urls), only(&settings.advertise_client_urls), used)
    }

    #[test]
    fn a_default_gives_way_to_the_hosts_address() {
        let open = |port| Url::parse_list(&format!("http://0.0.0.0:{port}")).unwrap();
        let (peer, client) = (DEFAULT_URLS_PEER.to_owned(), DEFAULT_URLS_CLIENT.to_owned());
        assert_eq!(filled(|_| {}, Some("10.0.0.7")), (peer.clone(), client.clone(), false));
        let clients = |settings: &mut Settings| settings.listen_client_urls = open(22379);
        assert_eq!(filled(clients, Some("10.0.0.7")), (peer.clone(), "http://10.0.0.7:22379".to_owned(), true));
        assert_eq!(filled(clients, Some("fd00::7")), (peer.clone(), "http://[fd00::7]:22379".to_owned(), true));
        assert_eq!(filled(clients, None), (peer, client.clone(), false));
        let peers = |settings: &mut Settings| settings.listen_peer_urls = open(2380);
        assert_eq!(filled(peers, Some("10.0.0.7")), ("http://10.0.0.7:2380".to_owned(), client, true));
    }

    #[test]
    fn what_was_chosen_stays() {
        let chosen = |settings: &mut Settings| {
            settings.listen_client_urls = Url::parse_list("http://0.0.0.0:2379").unwrap();
            settings.advertise_client_urls = Url::parse_list("http://a.example:2379").unwrap();
        };
        assert_eq!(filled(chosen, Some("10.0.0.7")).1, "http://a.example:2379");
        let of_ipv6 = |settings: &mut Settings| {
            settings.listen_client_urls = Url::parse_list("http://[::]:2379").unwrap();
        };
        assert_eq!(filled(of_ipv6, Some("10.0.0.7")).1, DEFAULT_URLS_CLIENT);
    }
}
