//! Who may ask over plain HTTP: which names the server may be called by, and pages of which origins may read answers.
//!
//! A page in a browser can be made to ask a server that only the browser reaches, by a name of the page's own that leads
//! there (DNS rebinding). Whoever lists the names that are right keeps such pages out.
//!
//! Source: etcd, `server/embed/serve.go`, `accessController`.

use std::collections::BTreeSet;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};

use super::error;

/// What plain HTTP is like on the listeners for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whether there is a JSON gateway.
    pub gateway: bool,
    /// The names that the server may be called by where it does not speak TLS.
    pub hosts: Listed,
    /// The origins whose pages may read answers.
    pub origins: Listed,
    /// Whether there is an answer to who asks for profiles.
    pub profiling: Profiling,
}

/// Whether there is something at `/debug/pprof/`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profiling {
    /// Nothing.
    #[default]
    Off,
    /// Where to look instead.
    On,
}

/// Which texts are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// All.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Listed {
    fn has(&self, text: &str) -> bool {
        match self {
            Listed::All => true,
            Listed::Only(texts) => texts.contains(text),
        }
    }
}

impl FromIterator<String> for Listed {
    /// A `*`, or nothing at all, means all.
    fn from_iter<T: IntoIterator<Item = String>>(texts: T) -> Listed {
        let texts = BTreeSet::from_iter(texts);
        if texts.is_empty() || texts.contains("*") { Listed::All } else { Listed::Only(texts) }
    }
}

impl Access {
    /// Lets a request in that did not come over TLS, or refuses it.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<(), Box<Response>> {
        let host = host(request);
        if self.hosts.has(host) {
            return Ok(());
        }
        tracing::warn!(host, "refusing an HTTP request to a host that is not in --host-whitelist");
        Err(Box::new(error(
            StatusCode::MISDIRECTED_REQUEST,
            &format!(
                "\nThis server does not go by the name {host:?}. It refuses names that it was not told of, so that web\n\
                 pages cannot reach it through a name of their own (DNS rebinding, CVE-2018-5702).\n\n\
                 If the name is right, add it to --host-whitelist, or use TLS, where any name is fine."
            ),
        )))
    }

    /// Says in an answer which pages may read it.
    pub(super) fn allow_origin(&self, asked: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let allowed = match &self.origins {
            Listed::All => Some(HeaderValue::from_static("*")),
            Listed::Only(origins) => {
                asked.filter(|origin| origin.to_str().is_ok_and(|origin| origins.contains(origin))).cloned()
            }
        };
        let Some(allowed) = allowed else { return };
        let mut allow = |name, value| headers.insert(name, value);
        allow(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"));
        allow(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        allow(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("accept, content-type, authorization"));
    }
}

/// The name that a request calls the server by, without a port. Source: Go, `net.SplitHostPort`.
fn host<B>(request: &Request<B>) -> &str {
    let of_header = || request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|authority| authority.as_str()).or_else(of_header).unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains([':', '[', ']']) => name,
        Some((name, _)) => {
            let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
            address.filter(|address| !address.contains(['[', ']'])).unwrap_or(host)
        }
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(value: &'static str) -> String {
        host(&Request::builder().header(header::HOST, value).body(()).unwrap()).to_owned()
    }

    #[test]
    fn a_name_stands_before_a_port() {
        for (value, name) in [
            ("example.com", "example.com"),
            ("example.com:2379", "example.com"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:2379", "::1"),
            ("[::1]", "[::1]"),
            ("a:b:c", "a:b:c"),
            ("", ""),
        ] {
            assert_eq!(host_of(value), name, "{value}");
        }
        assert_eq!(host(&Request::builder().uri("http://h:1/x").header(header::HOST, "other").body(()).unwrap()), "h");
    }

    #[test]
    fn a_star_or_nothing_is_everything() {
        let listed = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Listed>();
        assert_eq!((listed(&[]), listed(&["a", "*"])), (Listed::All, Listed::All));
        assert!(listed(&["a", "b"]).has("b") && !listed(&["a"]).has("b") && Listed::All.has("anything"));
    }
}
