//! Binding sockets, and listening on them.
//!
//! Binding keeps the address for this process. Whoever connects before it listens is refused at once; from then on they
//! wait in the system's queue until they are accepted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpSocket, UnixSocket};

use super::Error;
use crate::config::{Config, Url};
use crate::net::Listener;

/// Connections that the system keeps for a listener until they are accepted; it may allow fewer.
const BACKLOG: u32 = 4096;

/// A socket that has its address.
#[derive(Debug)]
pub(super) struct Bound {
    place: Place,
    speaks: Speaks,
}

/// Whether TLS is spoken at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Plain,
    Tls,
    /// One address came with both schemes.
    Either,
}

impl Speaks {
    /// Whether TLS may be spoken.
    pub(super) fn is_secure(self) -> bool {
        self != Speaks::Plain
    }
}

#[derive(Debug)]
enum Place {
    /// Of the network.
    Tcp(TcpSocket, SocketAddr),
    /// In the file system.
    Unix(UnixSocket, String),
}

/// A socket that others can connect to.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: Listener,
    /// Where it really is: with the port that the system chose.
    pub(super) address: String,
    pub(super) speaks: Speaks,
}

impl Socket {
    /// Where clients can connect to it.
    pub(super) fn url(&self) -> Url {
        let scheme = match (&self.listener, self.speaks.is_secure()) {
            (Listener::Tcp(_), false) => "http",
            (Listener::Tcp(_), true) => "https",
            (Listener::Unix(_), false) => "unix",
            (Listener::Unix(_), true) => "unixs",
        };
        Url::parse(&format!("{scheme}://{}", self.address)).expect("the address of a socket makes a URL")
    }
}

/// Who may listen on a port at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ports {
    /// One process.
    Alone,
    /// All that ask for it; the system shares connections out.
    Shared,
}

impl Ports {
    pub(super) fn of(config: &Config) -> Ports {
        if config.shares_ports { Ports::Shared } else { Ports::Alone }
    }
}

/// Binds all of `urls`.
pub(super) fn bind_all(urls: &[Url], ports: Ports) -> Result<Vec<Bound>, Error> {
    let speaks = |url: &Url| if url.is_secure() { Speaks::Tls } else { Speaks::Plain };
    urls.iter().map(|url| bind(url, speaks(url), ports)).collect()
}

/// The same, but two for one place, of which one asks for TLS, share a socket.
pub(super) fn bind_shared(urls: &[Url], ports: Ports) -> Result<Vec<Bound>, Error> {
    let is_one_place = |a: &Url, b: &Url| match (a.is_tcp(), b.is_tcp()) {
        (true, true) => (ip(a.host()), a.port()) == (ip(b.host()), b.port()),
        (false, false) => a.host() == b.host(),
        (true, false) | (false, true) => false,
    };
    let is_twin = |a: &Url, b: &Url| is_one_place(a, b) && a.is_secure() != b.is_secure();
    let mut bound = Vec::new();
    for (place, url) in urls.iter().enumerate() {
        if urls[..place].iter().any(|before| is_twin(before, url)) {
            continue;
        }
        let speaks = match (url.is_secure(), urls[place + 1..].iter().any(|later| is_twin(later, url))) {
            (_, true) => Speaks::Either,
            (true, false) => Speaks::Tls,
            (false, false) => Speaks::Plain,
        };
        bound.push(bind(url, speaks, ports)?);
    }
    Ok(bound)
}

/// Listens on all of `sockets`.
pub(super) fn listen_all(sockets: Vec<Bound>) -> Result<Vec<Socket>, Error> {
    sockets.into_iter().map(Bound::listen).collect()
}

/// Removes the names of sockets in the file system, after their listeners are closed.
pub(super) fn unlink_all(urls: &[Url]) {
    for url in urls.iter().filter(|url| !url.is_tcp()) {
        // One that stays is taken for stale at the next start.
        let _ = std::fs::remove_file(url.host());
    }
}

impl Bound {
    fn listen(self) -> Result<Socket, Error> {
        let (listener, address) = match self.place {
            Place::Tcp(socket, address) => {
                listen_tcp(socket).map_err(|source| refused("tcp", address.to_string(), source))?
            }
            Place::Unix(socket, path) => match socket.listen(BACKLOG) {
                Ok(listener) => (Listener::Unix(listener), path),
                Err(source) => return Err(refused("unix", path, source)),
            },
        };
        Ok(Socket { listener, address, speaks: self.speaks })
    }
}

fn bind(url: &Url, speaks: Speaks, ports: Ports) -> Result<Bound, Error> {
    let place = if url.is_tcp() {
        let address = SocketAddr::new(ip(url.host()), url.port());
        let bound = bind_tcp(address, ports).map_err(|source| refused("tcp", address.to_string(), source));
        Place::Tcp(bound?, address)
    } else {
        let bound = bind_unix(url.host()).map_err(|source| refused("unix", url.host().to_owned(), source));
        Place::Unix(bound?, url.host().to_owned())
    };
    Ok(Bound { place, speaks })
}

/// `localhost` is the IPv4 address alone, as for etcd.
fn ip(host: &str) -> IpAddr {
    host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Every interface means those of IPv6 too, where the system has it, whichever of the two zeros was said. Source: Go, package
/// `net`.
fn bind_tcp(address: SocketAddr, ports: Ports) -> io::Result<TcpSocket> {
    if address.ip().is_unspecified()
        && let Ok(socket) = TcpSocket::new_v6()
        && set_ipv6_v6only(&socket, false).is_ok()
    {
        return bind_socket(socket, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port()), ports);
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    bind_socket(socket, address, ports)
}

fn bind_socket(socket: TcpSocket, address: SocketAddr, ports: Ports) -> io::Result<TcpSocket> {
    // Connections of the last run that are still closing do not keep the port.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(ports == Ports::Shared)?;
    // Accepted sockets inherit it: small answers leave at once.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen_tcp(socket: TcpSocket) -> io::Result<(Listener, String)> {
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?.to_string();
    Ok((Listener::Tcp(listener), address))
}

fn bind_unix(path: &str) -> io::Result<UnixSocket> {
    remove_stale(Path::new(path))?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    Ok(socket)
}

/// Removes the socket of a program that has ended. One that somebody still listens on stays, and so does any other file.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(_) => std::fs::remove_file(path)?,
        }
    }
    Ok(())
}

fn refused(network: &'static str, address: String, source: io::Error) -> Error {
    let advice = match source.kind() {
        io::ErrorKind::AddrInUse => "another program uses it: stop that, or listen elsewhere",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address: 0.0.0.0 is all that it has",
        io::ErrorKind::PermissionDenied => "choose a port above 1023 or a folder that can be written to",
        io::ErrorKind::NotFound => "the folder of the socket must be there",
        _ => "choose another with --listen-client-urls or --listen-peer-urls",
    };
    Error::Listen { network, address, source, advice }
}
