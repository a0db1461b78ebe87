//! Whether TLS is spoken at a listener.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::{Rejected, Socket, Tls};

/// What a connection with TLS begins with: a handshake record. Source: RFC 8446, section 5.1.
const HANDSHAKE_RECORD: u8 = 22;
/// How long whoever may speak TLS or not may take to begin.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether TLS is spoken at a listener. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Security {
    /// Never.
    Plain,
    /// Always.
    Tls(Tls),
    /// By whoever begins with it: one port is both `http` and `https`, one path both `unix` and `unixs`.
    Either(Tls),
}

/// A connection on which a protocol may begin.
#[derive(Debug)]
pub enum Admitted {
    /// Without TLS.
    Plain(Socket),
    /// With TLS; and what is known of the other side.
    Tls(Box<TlsStream<Socket>>, SecurePeer),
}

/// What TLS tells of the other side. Each request that comes over TLS has it among its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurePeer {
    /// The common name of its certificate, if certificates tell who clients are (`--client-cert-auth`) and it has shown one
    /// that was verified. Empty if the certificate has no common name.
    pub common_name: Option<Arc<str>>,
}

impl Security {
    /// Does the handshake, if there is to be one.
    ///
    /// # Errors
    /// Who was not let in, and why; `None` if whoever connected left without a word.
    pub async fn admit(&self, socket: Socket) -> Result<Admitted, Option<Box<Rejected>>> {
        let tls = match self {
            Security::Plain => return Ok(Admitted::Plain(socket)),
            Security::Tls(tls) => tls,
            Security::Either(tls) => match timeout(FIRST_BYTE_TIMEOUT, begins_with_tls(&socket)).await {
                Ok(Ok(true)) => tls,
                Ok(Ok(false)) => return Ok(Admitted::Plain(socket)),
                Ok(Err(_)) | Err(_) => return Err(None),
            },
        };
        let stream = tls.accept(socket).await?;
        let peer = SecurePeer { common_name: tls.common_name(&stream) };
        Ok(Admitted::Tls(Box::new(stream), peer))
    }
}

async fn begins_with_tls(socket: &Socket) -> io::Result<bool> {
    Ok(socket.peek().await? == Some(HANDSHAKE_RECORD))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::testing::Authority;
    use crate::net::{Protocol, TlsOptions};

    /// TLS of a server that demands certificates, and of the client `alice`, who has one.
    fn both(client_cert_auth: bool) -> (Tls, Tls, tempfile::TempDir) {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
        let options = |name| TlsOptions {
            certificate: Some(authority.issue(dir.path(), name, name, 1, &["localhost"])),
            trusted_ca_file: Some(authority.write(dir.path())),
            client_cert_auth,
            ..TlsOptions::default()
        };
        (Tls::new(options("server")).unwrap(), Tls::new(options("alice")).unwrap(), dir)
    }

    /// How whoever connects is admitted; with TLS or without.
    async fn admitted(security: &Security, client: Option<&Tls>) -> Result<Admitted, Option<Box<Rejected>>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connecting = async {
            let mut socket = Socket::tcp(TcpStream::connect(address).await.unwrap());
            match client {
                Some(client) => drop(client.connect(socket, "localhost", Protocol::Http2).await),
                None => drop(socket.write_all(b"PRI * HTTP/2.0").await),
            }
        };
        let accepting = async { security.admit(Socket::tcp(listener.accept().await.unwrap().0)).await };
        tokio::join!(connecting, accepting).1
    }

    #[tokio::test]
    async fn certificates_tell_who_clients_are_if_they_are_to() {
        for (client_cert_auth, expected) in [(true, Some("alice")), (false, None)] {
            let (server, client, _dir) = both(client_cert_auth);
            for security in [Security::Tls(server.clone()), Security::Either(server)] {
                match admitted(&security, Some(&client)).await {
                    Ok(Admitted::Tls(_, peer)) => assert_eq!(peer.common_name.as_deref(), expected),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn tls_is_told_from_other_bytes() {
        let (server, client, _dir) = both(true);
        let either = admitted(&Security::Either(server.clone()), None).await;
        assert!(matches!(either, Ok(Admitted::Plain(_))), "{either:?}");
        let secure = admitted(&Security::Tls(server), None).await;
        assert!(matches!(secure, Err(Some(_))), "{secure:?}");
        let plain = admitted(&Security::Plain, Some(&client));
        let plain = tokio::time::timeout(Duration::from_secs(1), plain).await;
        assert!(plain.is_err() || matches!(plain, Ok(Ok(Admitted::Plain(_)))));
    }
}
