//! A connection of the network or of the file system.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// An open connection, without TLS.
#[derive(Debug)]
pub enum Socket {
    /// Of the network.
    Tcp(TcpStream),
    /// Of the file system.
    Unix(UnixStream),
}

impl Socket {
    /// A connection of the network that sends small messages at once.
    #[must_use]
    pub fn tcp(stream: TcpStream) -> Socket {
        // An error only means that small messages may wait for company.
        let _ = stream.set_nodelay(true);
        Socket::Tcp(stream)
    }

    /// Waits for the first byte and leaves it there; `None` if the other side has gone.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn peek(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let read = match self {
            Socket::Tcp(stream) => stream.peek(&mut first).await?,
            Socket::Unix(stream) => {
                let peek = || Ok(rustix::net::recv(stream, &mut first, RecvFlags::PEEK)?.0);
                stream.async_io(Interest::READABLE, peek).await?
            }
        };
        Ok((read == 1).then_some(first[0]))
    }

    /// The address of the other side, if it has one.
    #[must_use]
    pub fn remote_ip(&self) -> Option<IpAddr> {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().ok().map(|address| address.ip().to_canonical()),
            Socket::Unix(_) => None,
        }
    }

    /// The other side for people who read logs: address and port, or `@` for one of this machine.
    #[must_use]
    pub fn remote(&self) -> String {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().map(|address| canonical(address).to_string()).unwrap_or_default(),
            Socket::Unix(_) => "@".to_owned(),
        }
    }
}

/// A listener of every interface sees IPv4 addresses within those of IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, out),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Tcp(stream) => stream.is_write_vectored(),
            Socket::Unix(stream) => stream.is_write_vectored(),
        }
    }
}
