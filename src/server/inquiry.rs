//! Questions to other members over plain HTTP, before this one is a member or has a data folder.
//!
//! One request, one answer, one connection each.

use std::io;
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::api::http::{MemberList, MemberListError};
use crate::config::Url;
use crate::net::{Address, Io, Protocol, Tls};

/// The longest answer that is read: thousands of members.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Connects to other members, with TLS where their URL asks for it.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    /// What this member shows there, and demands.
    pub(super) tls: Tls,
}

impl Connector {
    /// The same, for members whose certificates are for `name` instead of their hosts.
    pub(super) fn expecting(&self, name: &str) -> Connector {
        Connector { tls: self.tls.expecting(name) }
    }

    async fn connect(&self, url: &Url) -> io::Result<Box<dyn Io>> {
        let address = Address::parse(url.as_str()).map_err(io::Error::other)?;
        let socket = address.connect().await?;
        if !address.is_secure {
            return Ok(Box::new(socket));
        }
        Ok(Box::new(self.tls.connect(socket, address.server_name(), Protocol::Http1).await?))
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum InquiryError {
    /// Nobody is there.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke, or something that is no HTTP came.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The answer is too long, or broke off.
    #[error("cannot read the answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// It refused to answer.
    #[error("the status is {0}")]
    Status(StatusCode),
    /// It is no list of members.
    #[error(transparent)]
    MemberList(#[from] MemberListError),
    /// It is no version.
    #[error("the body tells no version: {0}")]
    Version(#[source] serde_json::Error),
    /// It did not come in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Asks a member who is in its cluster.
pub(super) async fn members(connector: &Connector, url: &Url, within: Duration) -> Result<MemberList, InquiryError> {
    let (headers, body) = get(connector, url, "/members", within).await?;
    Ok(MemberList::read(&headers, &body)?)
}

/// Asks a member which version its cluster has agreed on, such as `3.7.0`.
pub(super) async fn cluster_version(
    connector: &Connector,
    url: &Url,
    within: Duration,
) -> Result<String, InquiryError> {
    #[derive(Deserialize)]
    struct Versions {
        etcdcluster: String,
    }
    let (_, body) = get(connector, url, "/version", within).await?;
    let versions: Versions = serde_json::from_slice(&body).map_err(InquiryError::Version)?;
    Ok(versions.etcdcluster)
}

async fn get(
    connector: &Connector,
    url: &Url,
    path: &str,
    within: Duration,
) -> Result<(http::HeaderMap, Bytes), InquiryError> {
    let exchange = exchange(connector, url, path);
    tokio::time::timeout(within, exchange).await.unwrap_or(Err(InquiryError::Timeout(within)))
}

async fn exchange(connector: &Connector, url: &Url, path: &str) -> Result<(http::HeaderMap, Bytes), InquiryError> {
    let stream = connector.connect(url).await.map_err(InquiryError::Connect)?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The connection has to be driven while the answer comes; it ends with this set.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let host = match url.is_tcp() {
        true => url.as_str().split_once("://").map_or("", |(_, authority)| authority),
        false => "localhost",
    };
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new());
    let request = request.expect("a path of ours and the authority of a checked URL make a request");
    let (head, body) = requests.send_request(request).await?.into_parts();
    if head.status != StatusCode::OK {
        return Err(InquiryError::Status(head.status));
    }
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(InquiryError::Body)?;
    Ok((head.headers, body.to_bytes()))
}
