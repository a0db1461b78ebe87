//! Sockets: where members and clients are met, before any protocol is spoken.
//!
//! ```text
//!   Listener ── accept ──> Lobby: Socket ── tls, if the URL says so ──> first bytes: HTTP/2 or HTTP/1.1?
//!   Address  ── connect ─> Socket ── tls, if the URL says so
//! ```
//!
//! A socket is one of the network or of the file system; nothing above cares which. What a listener speaks is known from
//! its first bytes, so one port serves gRPC and plain HTTP.

mod address;
mod first_bytes;
mod listener;
mod lobby;
mod rewound;
mod security;
mod socket;
#[cfg(test)]
pub(crate) mod testing;
mod tls;

use tokio::io::{AsyncRead, AsyncWrite};

pub use self::address::{Address, AddressError, Place};
pub use self::first_bytes::{Protocol, first_bytes};
pub use self::listener::Listener;
pub use self::lobby::{Lobby, Place as LobbyPlace};
pub use self::rewound::Rewound;
pub use self::security::{Admitted, SecurePeer, Security};
pub use self::socket::Socket;
pub use self::tls::{CertificateFiles, Offer, Rejected, SelfSigned, Tls, TlsError, TlsOptions};

/// Bytes to and from another program, with TLS or without.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}
