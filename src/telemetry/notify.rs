//! Telling the program that started this one (systemd) that it serves, and later that it is about to end.
//!
//! The socket is named by the environment; without it there is nobody to tell, and the lines are logged all the same, as etcd
//! does. A name that begins with `@` is of Linux's abstract kind: no file, the rest after a zero byte.
//!
//! Source: systemd, `sd_notify(3)`; etcd, `server/etcdmain/main.go`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

const VARIABLE: &str = "NOTIFY_SOCKET";

/// Says that this program serves.
pub(crate) fn ready() {
    tracing::info!("notifying init daemon");
    match tell("READY=1") {
        Ok(()) => tracing::info!("successfully notified init daemon"),
        Err(error) => tracing::warn!(%error, "failed to notify systemd for readiness"),
    }
}

/// Says that it is about to end.
pub(crate) fn stopping() {
    if let Err(error) = tell("STOPPING=1") {
        tracing::debug!(%error, "failed to notify systemd of the end");
    }
}

fn tell(state: &str) -> io::Result<()> {
    match std::env::var_os(VARIABLE) {
        Some(name) if !name.is_empty() => send(&name, state),
        _ => Ok(()),
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes() {
        [b'@', name @ ..] => send_to_abstract(&socket, name, state),
        _ => socket.send_to(state.as_bytes(), Path::new(name)).map(drop),
    }
}

#[cfg(target_os = "linux")]
fn send_to_abstract(socket: &UnixDatagram, name: &[u8], state: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn send_to_abstract(_socket: &UnixDatagram, _name: &[u8], _state: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reaches_a_socket_of_either_kind() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("notify");
        let received = |socket: &UnixDatagram| {
            let mut bytes = [0; 32];
            let len = socket.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..len].to_vec()).unwrap()
        };
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(received(&socket), "READY=1");
        assert!(send(OsStr::new("/nowhere/at/all"), "READY=1").is_err());

        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            let name = format!("lodemark-notify-{}", std::process::id());
            let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
            let socket = UnixDatagram::bind_addr(&address).unwrap();
            send(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
            assert_eq!(received(&socket), "STOPPING=1");
        }
    }
}
