//! Whether a certificate is valid for the address that its owner comes from.
//!
//! A certificate with addresses must have that one, or else a name that leads to it; one with names alone must have such a
//! name. The address is looked up (its names are compared, also with `*.` patterns), then each name is. One that has
//! neither is not checked.
//!
//! Source: etcd, `client/pkg/transport/listener_tls.go`, `checkCertSAN`.

use std::net::IpAddr;

use super::presented::Presented;

/// A certificate that is for somebody else.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongAddress {
    #[error("x509: certificate is valid for {}, not {from}", list(valid))]
    Ip { valid: Vec<IpAddr>, from: IpAddr },
    #[error("tls: \"{from}\" does not match any of DNSNames {names:?}")]
    Name { from: IpAddr, names: Vec<String> },
}

impl Presented {
    /// Checks that its owner may come from `from`.
    pub(super) async fn check_comes_from(&self, from: IpAddr) -> Result<(), WrongAddress> {
        if self.ip_addresses.contains(&from) || (self.ip_addresses.is_empty() && self.dns_names.is_empty()) {
            return Ok(());
        }
        if self.dns_names.is_empty() {
            return Err(WrongAddress::Ip { valid: self.ip_addresses.clone(), from });
        }
        let names = self.dns_names.clone();
        // The system's resolver blocks. A look-up that fails is one that finds nothing.
        let leads_there = tokio::task::spawn_blocking(move || {
            let reverse = dns_lookup::lookup_addr(&from).ok();
            reverse.is_some_and(|name| is_one_of(&name, &names)) || names.iter().any(|name| leads_to(name, from))
        });
        if leads_there.await.unwrap_or(false) {
            return Ok(());
        }
        Err(WrongAddress::Name { from, names: self.dns_names.clone() })
    }
}

/// Whether the name of an address is one of `names`, of which some may begin with `*.`.
fn is_one_of(name: &str, names: &[String]) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    names.iter().any(|allowed| match allowed.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') => name.ends_with(suffix),
        Some(_) | None => name == allowed,
    })
}

fn leads_to(name: &str, address: IpAddr) -> bool {
    !name.starts_with('*')
        && dns_lookup::lookup_host(name).is_ok_and(|mut found| found.any(|found| found.to_canonical() == address))
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    async fn check(ip_addresses: &[&str], dns_names: &[&str]) -> Result<(), String> {
        let presented = Presented {
            ip_addresses: ip_addresses.iter().map(|text| text.parse().unwrap()).collect(),
            dns_names: dns_names.iter().map(|&name| name.to_owned()).collect(),
            ..Presented::default()
        };
        presented.check_comes_from(HERE).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn an_owner_comes_from_an_address_of_its_certificate() {
        for (ip_addresses, dns_names) in [
            (&[][..], &[][..]),
            (&["10.0.0.1", "127.0.0.1"], &[]),
            (&[], &["localhost"]),
            (&["10.0.0.1"], &["localhost"]),
        ] {
            assert_eq!(check(ip_addresses, dns_names).await, Ok(()));
        }
        let why = check(&["10.0.0.1", "::1"], &[]).await.unwrap_err();
        assert_eq!(why, "x509: certificate is valid for 10.0.0.1, ::1, not 127.0.0.1");
        let why = check(&[], &["elsewhere.invalid"]).await.unwrap_err();
        assert_eq!(why, r#"tls: "127.0.0.1" does not match any of DNSNames ["elsewhere.invalid"]"#);
    }

    #[test]
    fn names_match_whole_or_by_their_end() {
        let names = ["a.example.com".to_owned(), "*.svc.local".to_owned()];
        for good in ["a.example.com", "a.example.com.", "m1.svc.local", "m1.etcd.svc.local."] {
            assert!(is_one_of(good, &names), "{good}");
        }
        for bad in ["b.example.com", "svc.local", "xsvc.local", ""] {
            assert!(!is_one_of(bad, &names), "{bad}");
        }
    }
}
