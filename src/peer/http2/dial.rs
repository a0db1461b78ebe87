//! Connecting to a member.
//!
//! A connection counts only after the other side has answered a ping: whoever accepts and says nothing, or speaks
//! something else, is as good as not there, and the next URL is tried.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::time::timeout;

use super::keepalive::{Heard, Keepalive};
use super::{CONNECTION_WINDOW_BYTES, DIAL_TIMEOUT, HEADERS_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX};
use crate::net::{Address, AddressError, Io, Protocol, Tls};

/// Connects to members.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    /// For the URLs that ask for it.
    pub(super) tls: Tls,
}

/// A connection whose other side has answered.
pub(super) struct Connection {
    /// Begins requests.
    pub(super) requests: SendRequest<Bytes>,
    h2: h2::client::Connection<Heard<Box<dyn Io>>, Bytes>,
    keepalive: Keepalive,
}

impl Dialer {
    /// Connects to the first of `urls` that answers, beginning with that at `first` (modulo their number).
    ///
    /// # Errors
    /// What is wrong with each.
    pub(super) async fn dial(&self, urls: &[String], first: usize) -> Result<Connection, Arc<str>> {
        let mut failures = Vec::new();
        let (before, from) = urls.split_at(first.checked_rem(urls.len()).unwrap_or_default());
        for url in from.iter().chain(before) {
            match timeout(DIAL_TIMEOUT, self.dial_one(url)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => failures.push(format!("{url}: {error}")),
                Err(_) => failures.push(format!("{url}: no answer within {DIAL_TIMEOUT:?}")),
            }
        }
        if failures.is_empty() {
            failures.push("it has no peer URL".to_owned());
        }
        Err(failures.join("; ").into())
    }

    async fn dial_one(&self, url: &str) -> Result<Connection, DialError> {
        let address = Address::parse(url)?;
        let socket = address.connect().await?;
        let io: Box<dyn Io> = match address.is_secure {
            false => Box::new(socket),
            true => Box::new(self.tls.connect(socket, address.server_name(), Protocol::Http2).await?),
        };
        Connection::establish(io).await
    }
}

impl Connection {
    async fn establish(io: Box<dyn Io>) -> Result<Connection, DialError> {
        let heard = Arc::default();
        let (requests, mut h2) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .initial_max_send_streams(STREAMS_MAX as usize)
            .enable_push(false)
            .handshake(Heard::new(io, Arc::clone(&heard)))
            .await?;
        let pings = h2.ping_pong().expect("it is asked for once");
        let mut keepalive = Keepalive::new(pings, heard);
        tokio::select! {
            biased;
            pong = keepalive.ping() => pong?,
            // Driving the connection is what sends the ping.
            ended = &mut h2 => return Err(ended.err().map_or(DialError::Closed, DialError::Http2)),
        }
        Ok(Connection { requests, h2, keepalive })
    }

    /// Drives the connection until it breaks or is silent; tells why. It ends, too, when nobody can begin requests any
    /// more.
    pub(super) async fn run(self) -> Arc<str> {
        drop(self.requests);
        tokio::select! {
            biased;
            ended = self.h2 => match ended {
                Ok(()) => "the connection was closed".into(),
                Err(error) => error.to_string().into(),
            },
            () = self.keepalive.until_silent() => "the member does not answer pings".into(),
        }
    }
}

/// Why a URL leads nowhere.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    #[error("the connection was closed")]
    Closed,
}
