//! The list of members that `--initial-cluster` gives, and whether two lists of URLs are the same place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::url::Url;

/// The addresses of host names, as far as they are known. Whoever compares URLs first tries without any.
pub type Addresses = BTreeMap<String, IpAddr>;

/// Who is in the cluster, by name. URLs of a member are sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitialCluster(BTreeMap<String, Vec<Url>>);

impl InitialCluster {
    /// The list of a cluster with one member.
    pub(super) fn of_one(name: &str, urls: &[Url]) -> InitialCluster {
        InitialCluster(BTreeMap::from([(name.to_owned(), urls.to_vec())]))
    }

    /// Reads `name=url,name=url`; a name may come several times.
    ///
    /// # Errors
    /// etcd's words for the first URL that is none.
    pub fn parse(text: &str) -> Result<InitialCluster, String> {
        let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, url) = part.split_once('=').unwrap_or((part, ""));
            members.entry(name.to_owned()).or_default().push(Url::parse(url)?);
        }
        for urls in members.values_mut() {
            urls.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        }
        Ok(InitialCluster(members))
    }

    /// Each member with its URLs, by name.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&str, &[Url])> {
        self.0.iter().map(|(name, urls)| (name.as_str(), urls.as_slice()))
    }

    /// Where a member is; `None` if it is not in the list.
    #[must_use]
    pub fn urls_of(&self, name: &str) -> Option<&[Url]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Where all but one are, sorted.
    #[must_use]
    pub fn urls_without(&self, name: &str) -> Vec<&Url> {
        let others = self.0.iter().filter(|(other, _)| other.as_str() != name);
        let mut urls: Vec<&Url> = others.flat_map(|(_, urls)| urls).collect();
        urls.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        urls
    }

    /// Tells whether a URL comes twice.
    pub(super) fn has_duplicate_url(&self) -> bool {
        let distinct: BTreeSet<&str> = self.0.values().flatten().map(Url::as_str).collect();
        distinct.len() < self.0.values().map(Vec::len).sum()
    }
}

impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, url)) in
            self.0.iter().flat_map(|(name, urls)| urls.iter().map(move |url| (name, url))).enumerate()
        {
            write!(f, "{}{name}={url}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Tells whether two lists of URLs lead to the same places, in whatever order and under whichever names of the hosts.
pub(super) fn is_same_place(a: &[Url], b: &[Url], addresses: &Addresses) -> bool {
    let places = |urls: &[Url]| {
        let mut places: Vec<String> = urls.iter().map(|url| place(url, addresses)).collect();
        places.sort_unstable();
        places
    };
    places(a) == places(b)
}

/// The host names of some URLs whose addresses would have to be known to compare them. `localhost` stays what it is, as
/// for etcd.
pub fn host_names<'a>(urls: impl IntoIterator<Item = &'a Url>) -> BTreeSet<String> {
    let names = urls.into_iter().filter(|url| url.is_tcp() && url.host() != "localhost").map(Url::host);
    names.filter(|host| host.parse::<IpAddr>().is_err()).map(str::to_owned).collect()
}

fn place(url: &Url, addresses: &Addresses) -> String {
    match addresses.get(url.host()).filter(|_| url.is_tcp()) {
        Some(IpAddr::V4(address)) => format!("{}://{address}:{}", url.scheme(), url.port()),
        Some(IpAddr::V6(address)) => format!("{}://[{address}]:{}", url.scheme(), url.port()),
        None => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(text: &str) -> InitialCluster {
        InitialCluster::parse(text).unwrap()
    }

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|text| Url::parse(text).unwrap()).collect()
    }

    #[test]
    fn members_are_listed_by_name_and_urls_are_sorted() {
        let cluster = cluster("b=http://b:2,a=http://a:9,b=http://b:1,");
        assert_eq!(cluster.to_string(), "a=http://a:9,b=http://b:1,b=http://b:2");
        assert_eq!(cluster.members().len(), 2);
        assert_eq!(cluster.urls_of("b").unwrap(), urls(&["http://b:1", "http://b:2"]));
        assert_eq!(cluster.urls_of("c"), None);
        assert_eq!(cluster.urls_without("a"), urls(&["http://b:1", "http://b:2"]).iter().collect::<Vec<_>>());
        assert!(!cluster.has_duplicate_url());
    }

    #[test]
    fn a_url_that_comes_twice_is_noticed_within_a_member_too() {
        assert!(cluster("a=http://a:1,b=http://a:1").has_duplicate_url());
        assert!(cluster("a=http://a:1,a=http://a:1").has_duplicate_url());
    }

    #[test]
    fn places_are_the_same_by_text_or_by_address() {
        let none = Addresses::new();
        let known = Addresses::from([
            ("a.example".to_owned(), IpAddr::from([10, 0, 0, 1])),
            ("b.example".to_owned(), "::2".parse().unwrap()),
        ]);
        assert!(is_same_place(&urls(&["http://a:1", "http://b:1"]), &urls(&["http://b:1", "http://a:1"]), &none));
        let (names, numbers) =
            (urls(&["http://a.example:1", "http://b.example:2"]), urls(&["http://[::2]:2", "http://10.0.0.1:1"]));
        assert!(is_same_place(&names, &numbers, &known));
        assert!(!is_same_place(&names, &numbers, &none));
        assert!(!is_same_place(&names, &numbers[..1], &known));
        for other in ["http://10.0.0.1:2", "https://10.0.0.1:1", "http://10.0.0.2:1", "unix://a.example:1"] {
            assert!(!is_same_place(&urls(&["http://a.example:1"]), &urls(&[other]), &known), "{other}");
        }
    }

    #[test]
    fn only_names_of_the_network_are_looked_up() {
        let urls =
            urls(&["http://a.example:1", "http://localhost:1", "http://[::1]:1", "http://10.0.0.1:1", "unix://f"]);
        assert_eq!(host_names(&urls), BTreeSet::from(["a.example".to_owned()]));
    }
}
