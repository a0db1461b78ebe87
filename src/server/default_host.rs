//! The address that this machine is reached at, as far as it can tell.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// An address that nobody has (RFC 5737), so that the way to it is the default one. Nothing is sent there.
const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 9);

/// The address by which the machine would speak to the rest of the world.
///
/// # Errors
/// There is no way there.
pub fn default_host() -> io::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Of this kind of socket it only chooses the way.
    socket.connect(ANYWHERE)?;
    Ok(socket.local_addr()?.ip())
}
