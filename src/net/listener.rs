//! Sockets that others connect to.

use std::io;

use tokio::net::{TcpListener, UnixListener};

use super::Socket;

/// A bound socket that waits for connections.
#[derive(Debug)]
pub enum Listener {
    /// Of the network.
    Tcp(TcpListener),
    /// In the file system.
    Unix(UnixListener),
}

impl Listener {
    /// Waits for the next connection. Cancel safe: none is lost.
    ///
    /// # Errors
    /// What the system says, most likely that there are no more file descriptors; try again a little later.
    pub async fn accept(&self) -> io::Result<Socket> {
        match self {
            Listener::Tcp(listener) => Ok(Socket::tcp(listener.accept().await?.0)),
            Listener::Unix(listener) => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }
}
