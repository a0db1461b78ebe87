//! URLs of flags: a scheme and a place to bind or to connect to.

use std::fmt;
use std::net::IpAddr;

/// How to talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TCP.
    Http,
    /// TLS over TCP.
    Https,
    /// A socket in the file system.
    Unix,
    /// TLS over one.
    Unixs,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        })
    }
}

/// A checked URL of a flag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    text: String,
    scheme: Scheme,
    /// Of the network: without brackets. In the file system: the path.
    host: String,
    /// Zero in the file system.
    port: u16,
}

impl Url {
    /// How to talk.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host name or address, without brackets; may be empty. For sockets in the file system their path: what
    /// follows `://`, so that `unix://localhost:1` is a file in the working directory.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; zero lets the system choose.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether it is one of the network, not of the file system.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        matches!(self.scheme, Scheme::Http | Scheme::Https)
    }

    /// Tells whether it needs TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Unixs)
    }

    /// Tells whether a socket can be bound there without asking what a name means: an IP address, `localhost`, or a place
    /// in the file system.
    #[must_use]
    pub fn is_bindable(&self) -> bool {
        !self.is_tcp() || self.host == "localhost" || self.host.parse::<IpAddr>().is_ok()
    }

    /// Reads one URL.
    ///
    /// # Errors
    /// etcd's words for what is wrong. Source: etcd, `client/pkg/types/urls.go`.
    pub fn parse(text: &str) -> Result<Url, String> {
        let text = text.trim();
        let unknown_scheme = || format!("URL scheme must be http, https, unix, or unixs: {text}");
        let (name, rest) = text.split_once("://").ok_or_else(unknown_scheme)?;
        let scheme = match name.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(unknown_scheme()),
        };
        let text = format!("{}://{rest}", name.to_ascii_lowercase());
        if matches!(scheme, Scheme::Unix | Scheme::Unixs) {
            return Ok(Url { scheme, host: rest.to_owned(), port: 0, text });
        }
        let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_len);
        let (host, port) = split_host_port(authority)
            .ok_or_else(|| format!("URL address does not have the form \"host:port\": {text}"))?;
        let port = port.parse().map_err(|_| format!("parse {text:?}: invalid port \":{port}\" after host"))?;
        if !path.is_empty() {
            return Err(format!("URL must not contain a path: {text}"));
        }
        Ok(Url { scheme, host: host.to_owned(), port, text })
    }

    /// Reads a comma-separated list; the result is sorted and has no duplicates. Nothing is an empty list.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub(super) fn parse_list(text: &str) -> Result<Vec<Url>, String> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let mut urls = text.split(',').map(Url::parse).collect::<Result<Vec<_>, _>>()?;
        urls.sort_by(|a, b| a.text.cmp(&b.text));
        urls.dedup();
        Ok(urls)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Takes `host:port` or `[host]:port` apart. A host with colons needs its brackets.
fn split_host_port(authority: &str) -> Option<(&str, &str)> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']')?;
        return Some((host, port.strip_prefix(':')?));
    }
    let (host, port) = authority.rsplit_once(':')?;
    (!host.contains([':', '@', '[', ']'])).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_without_duplicates() {
        let urls = Url::parse_list("http://b:2, http://a:1,http://b:2").unwrap();
        assert_eq!(urls.iter().map(Url::as_str).collect::<Vec<_>>(), ["http://a:1", "http://b:2"]);
        assert!(Url::parse_list("").unwrap().is_empty());
    }

    #[test]
    fn parts_are_taken_apart() {
        let url = Url::parse("HTTP://[::1]:2379").unwrap();
        assert_eq!((url.as_str(), url.host(), url.port(), url.is_tcp()), ("http://[::1]:2379", "::1", 2379, true));
        let url = Url::parse("unix:///run/e.sock").unwrap();
        assert_eq!((url.host(), url.is_tcp()), ("/run/e.sock", false));
        assert_eq!(Url::parse("unix://localhost:20").unwrap().host(), "localhost:20");
    }

    #[test]
    fn bad_urls_are_refused_in_the_words_of_etcd() {
        let why = |text| Url::parse(text).unwrap_err();
        assert_eq!(why("ftp://a:1"), "URL scheme must be http, https, unix, or unixs: ftp://a:1");
        assert_eq!(why(""), "URL scheme must be http, https, unix, or unixs: ");
        for text in ["http://127.0.0.1", "http://::1:1", "http://u@h:1", "http://[::1]", "http://"] {
            assert_eq!(why(text), format!("URL address does not have the form \"host:port\": {text}"));
        }
        assert_eq!(why("http://a:1/p"), "URL must not contain a path: http://a:1/p");
        assert_eq!(why("http://a:x"), "parse \"http://a:x\": invalid port \":x\" after host");
        assert_eq!(why("http://a:65536"), "parse \"http://a:65536\": invalid port \":65536\" after host");
    }
}
