//! Where a client finds a member: an endpoint as etcd's clients take it, with a scheme or without one.
//!
//! ```text
//! http://10.0.0.1:2379    never TLS           10.0.0.1:2379, unix:/run/x    TLS if anything is said of it
//! https://10.0.0.1:2379   always TLS          unixs:/run/x                  always TLS
//! ```
//!
//! Source: etcd, `client/v3/internal/endpoint`.

use std::fmt;

use crate::net::{Address, AddressError, Place};

/// Whether TLS is spoken at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsWish {
    /// Its scheme says so.
    Always,
    /// Its scheme says not.
    Never,
    /// Whoever connects decides.
    Either,
}

/// Somewhere to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As it was given.
    text: String,
    pub(super) address: Address,
    /// What its scheme says of TLS.
    pub wish: TlsWish,
}

impl Endpoint {
    /// Reads one. Of a URL only host and port count.
    ///
    /// # Errors
    /// [`AddressError`]: nobody could connect there.
    pub fn parse(text: &str) -> Result<Endpoint, AddressError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => match text.split_once(':') {
                Some((scheme @ ("unix" | "unixs"), rest)) => (scheme, rest),
                _ => ("", text),
            },
        };
        let (url, wish) = match scheme {
            "http" | "https" => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                (format!("{scheme}://{host}"), if scheme == "http" { TlsWish::Never } else { TlsWish::Always })
            }
            "unix" => (format!("unix://{rest}"), TlsWish::Either),
            "unixs" => (format!("unixs://{rest}"), TlsWish::Always),
            "" => (format!("http://{rest}"), TlsWish::Either),
            // A scheme that nobody knows.
            _ => (text.to_owned(), TlsWish::Either),
        };
        Ok(Endpoint { text: text.to_owned(), address: Address::parse(&url)?, wish })
    }

    /// Host and port as HTTP/2 wants to have them told.
    pub(super) fn authority(&self) -> String {
        match &self.address.place {
            Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port } => format!("{host}:{port}"),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcds_clients_read_them() {
        for (text, authority, wish) in [
            ("10.0.0.1:2379", "10.0.0.1:2379", TlsWish::Either),
            ("http://m1:2379", "m1:2379", TlsWish::Never),
            ("https://m1:2379/ignored?too", "m1:2379", TlsWish::Always),
            ("[::1]:1", "[::1]:1", TlsWish::Either),
            ("unix:run/x", "localhost", TlsWish::Either),
            ("unix:///run/x", "localhost", TlsWish::Either),
            ("unixs:///run/x", "localhost", TlsWish::Always),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.authority().as_str(), endpoint.wish), (authority, wish), "{text}");
            assert_eq!(endpoint.to_string(), text);
        }
        for odd in ["", "m1", "http://m1", "ftp://m1:1", ":1", "unix:", "m1:70000", "a:1:b"] {
            assert!(Endpoint::parse(odd).is_err(), "{odd}");
        }
    }
}
