//! Where another member is: what its URL says.

use std::io;
use std::path::PathBuf;

use tokio::net::{TcpStream, UnixStream};

use super::Socket;

/// A URL that can be connected to: `http`, `https`, `unix` or `unixs`, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where to connect to.
    pub place: Place,
    /// Whether TLS is spoken there.
    pub is_secure: bool,
}

/// A place to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the network.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// In the file system.
    Unix(PathBuf),
}

/// A text that is no URL to connect to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot connect to {0:?}: it is none of http://host:port, https://host:port, unix://path, unixs://path")]
pub struct AddressError(String);

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`AddressError`] with the text.
    pub fn parse(url: &str) -> Result<Address, AddressError> {
        Address::read(url).ok_or_else(|| AddressError(url.to_owned()))
    }

    fn read(url: &str) -> Option<Address> {
        let (scheme, rest) = url.split_once("://")?;
        let (is_unix, is_secure) = match scheme {
            "http" => (false, false),
            "https" => (false, true),
            "unix" => (true, false),
            "unixs" => (true, true),
            _ => return None,
        };
        if is_unix {
            return (!rest.is_empty()).then(|| Address { place: Place::Unix(rest.into()), is_secure });
        }
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.strip_suffix(']')?,
            None => host,
        };
        let port = port.parse().ok()?;
        (!host.is_empty()).then(|| Address { place: Place::Tcp { host: host.to_owned(), port }, is_secure })
    }

    /// Connects; waits for as long as the system does. A name that stands for several addresses is tried with each.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect(&self) -> io::Result<Socket> {
        match &self.place {
            Place::Tcp { host, port } => Ok(Socket::tcp(TcpStream::connect((host.as_str(), *port)).await?)),
            Place::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        }
    }

    /// The name that the certificate of the other side must be valid for. For sockets in the file system that is what
    /// stands before the first `:` or `/` of the path, as etcd takes the host of the URL, or else `localhost`.
    #[must_use]
    pub fn server_name(&self) -> &str {
        match &self.place {
            Place::Tcp { host, .. } => host,
            Place::Unix(path) => {
                let host = path.to_str().and_then(|path| path.split([':', '/']).next()).unwrap_or_default();
                if host.is_empty() { "localhost" } else { host }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_members_are_read() {
        let tcp = |host: &str, port, is_secure| Address { place: Place::Tcp { host: host.into(), port }, is_secure };
        for (url, expected) in [
            ("http://10.0.0.1:2380", tcp("10.0.0.1", 2380, false)),
            ("https://[::1]:2380", tcp("::1", 2380, true)),
            ("https://m1.example.com:1/", tcp("m1.example.com", 1, true)),
            ("unix:///run/e.sock", Address { place: Place::Unix("/run/e.sock".into()), is_secure: false }),
            ("unixs://localhost:20", Address { place: Place::Unix("localhost:20".into()), is_secure: true }),
        ] {
            assert_eq!(Address::parse(url).unwrap(), expected, "{url}");
        }
        for odd in ["", "http", "ftp://a:1", "http://a", "http://:1", "http://a:70000", "http://[::1:1", "unix://"] {
            assert!(Address::parse(odd).unwrap_err().to_string().contains(&format!("{odd:?}")), "{odd}");
        }
    }

    #[test]
    fn the_certificate_must_be_valid_for_the_host() {
        for (url, name) in [
            ("https://m1:1", "m1"),
            ("https://[::1]:1", "::1"),
            ("unixs://localhost:20", "localhost"),
            ("unixs:///run/e.sock", "localhost"),
        ] {
            assert_eq!(Address::parse(url).unwrap().server_name(), name, "{url}");
        }
    }
}
