//! The system's journal: a socket that takes each line as a datagram of fields.
//!
//! ```text
//! PRIORITY=6 <newline> SYSLOG_IDENTIFIER=lodemark <newline> MESSAGE=the line <newline>
//! ```
//!
//! A message that has newlines is written with its length (64 bits, little-endian) instead of the `=`.
//!
//! Source: systemd, "Native Journal Protocol".

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::line::Level;

const SOCKET: &str = "/run/systemd/journal/socket";

/// A connection to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    /// By what name the lines are found.
    identifier: String,
}

impl Journal {
    pub(super) fn connect() -> io::Result<Journal> {
        Journal::connect_to(Path::new(SOCKET), program_name())
    }

    fn connect_to(path: &Path, identifier: String) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Journal { socket, identifier })
    }

    /// Hands a line over.
    ///
    /// # Errors
    /// Those of the socket: a line of more than some 200 KiB does not fit.
    pub(super) fn send(&self, level: Level, line: &str) -> io::Result<()> {
        self.socket.send(&entry(level, &self.identifier, line)).map(drop)
    }
}

fn entry(level: Level, identifier: &str, line: &str) -> Vec<u8> {
    let priority = priority(level);
    let mut entry = format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER={identifier}\n").into_bytes();
    if line.contains('\n') {
        entry.extend_from_slice(b"MESSAGE\n");
        entry.extend_from_slice(&(line.len() as u64).to_le_bytes());
    } else {
        entry.extend_from_slice(b"MESSAGE=");
    }
    entry.extend_from_slice(line.as_bytes());
    entry.push(b'\n');
    entry
}

/// Those of syslog. Source: etcd, `logutil.journalWriter`.
fn priority(level: Level) -> u8 {
    match level {
        Level::Debug => 7,
        Level::Info => 6,
        Level::Warn => 4,
        Level::Error => 3,
        Level::Panic | Level::Fatal => 2,
    }
}

/// What the program was started as.
fn program_name() -> String {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().replace('\n', " "));
    name.unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_with_priority_and_name() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let writer = Journal::connect_to(&path, "etcd".to_owned()).unwrap();
        writer.send(Level::Warn, "{\"level\":\"warn\"}").unwrap();
        let mut read = [0; 256];
        let len = journal.recv(&mut read).unwrap();
        assert_eq!(&read[..len], b"PRIORITY=4\nSYSLOG_IDENTIFIER=etcd\nMESSAGE={\"level\":\"warn\"}\n");
        assert_eq!(
            entry(Level::Panic, "x", "a\nb"),
            b"PRIORITY=2\nSYSLOG_IDENTIFIER=x\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n"
        );
    }
}
