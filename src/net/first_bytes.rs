//! What a connection speaks, told from its first bytes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::Rewound;

/// What an HTTP/2 connection begins with; four bytes tell it from every method of HTTP/1.1.
const PREFACE_START: &[u8] = b"PRI ";

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, or something that HTTP/1.1 will refuse.
    Http1,
    /// HTTP/2 from the first byte.
    Http2,
}

/// Reads until the bytes tell what the other side speaks; gives them back with the socket. Waits for as long as it takes.
///
/// # Errors
/// Those of the socket; `UnexpectedEof` if it ends before it can be told.
pub async fn first_bytes<T: AsyncRead + Unpin>(mut io: T) -> io::Result<(Protocol, Rewound<T>)> {
    let mut read = Vec::with_capacity(PREFACE_START.len());
    while read.len() < PREFACE_START.len() && PREFACE_START.starts_with(&read) {
        let mut rest = (&mut io).take((PREFACE_START.len() - read.len()) as u64);
        if rest.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let protocol = if read == PREFACE_START { Protocol::Http2 } else { Protocol::Http1 };
    Ok((protocol, Rewound::new(read, io)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn four_bytes_tell_the_protocol_and_come_again() {
        for (bytes, expected) in
            [("PRI * HTTP/2.0", Protocol::Http2), ("GET / HTTP/1.1", Protocol::Http1), ("POST /", Protocol::Http1)]
        {
            let (protocol, mut io) = first_bytes(bytes.as_bytes()).await.unwrap();
            let mut all = String::new();
            io.read_to_string(&mut all).await.unwrap();
            assert_eq!((protocol, all.as_str()), (expected, bytes));
        }
        assert_eq!(first_bytes(&b"PR"[..]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
