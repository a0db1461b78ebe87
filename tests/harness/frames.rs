//! HTTP/2 as frames: what no client library would send, and when what comes back comes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::time::Instant;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long whatever must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
        Frame { kind, flags, stream, payload: payload.to_vec() }
    }

    /// A ping with that number.
    pub fn ping(number: u64) -> Frame {
        Frame::new(PING, 0, 0, &number.to_be_bytes())
    }

    /// The answer to a ping.
    pub fn pong(&self) -> Frame {
        Frame { flags: ACK, ..self.clone() }
    }

    /// The head of a call to `path`.
    pub fn call(stream: u32, path: &str) -> Frame {
        let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
        // POST, http, and literals that are not indexed: RFC 7541, section 6 and appendix A.
        let mut block = vec![0x83, 0x86];
        for (name, value) in [(4, path), (1, "localhost")] {
            block.push(name);
            block.extend(text(value));
        }
        block.push(0);
        block.extend([text("content-type"), text("application/grpc")].concat());
        Frame::new(HEADERS, END_HEADERS, stream, &block)
    }

    /// The call is taken back.
    pub fn reset(stream: u32) -> Frame {
        const CANCEL: u32 = 8;
        Frame::new(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a frame is short").to_be_bytes();
        let stream = self.stream.to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &stream, &self.payload].concat()
    }
}

/// One connection.
#[derive(Debug)]
pub struct Frames {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Frames {
    /// Connects and says what a client says first.
    pub fn connect(address: &str) -> Frames {
        let mut socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_nodelay(true).expect("it is a socket");
        socket.write_all(PREFACE).expect("the server reads");
        let mut frames = Frames { socket, read: Vec::new() };
        frames.send(&[Frame::new(SETTINGS, 0, 0, &[])]);
        frames
    }

    /// Sends these at once. That the server does not read any more is seen by what it says.
    pub fn send(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        let _ = self.socket.write_all(&bytes);
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        self.next_before(Instant::now() + PATIENCE).unwrap_or_else(|()| panic!("nothing comes in {PATIENCE:?}"))
    }

    /// The next frame of one of these kinds that answers nothing of ours but pings; `None` at the end of the connection.
    pub fn next_of(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            let is_ack = frame.kind == SETTINGS && frame.flags == ACK;
            if kinds.contains(&frame.kind) && !is_ack {
                return Some(frame);
            }
        }
    }

    /// Waits until the server has read everything up to here.
    pub fn settle(&mut self) -> Result<(), Option<Frame>> {
        self.send(&[Frame::new(SETTINGS, 0, 0, &[])]);
        loop {
            match self.next() {
                Some(Frame { kind: SETTINGS, flags: ACK, .. }) => return Ok(()),
                Some(Frame { kind, .. }) if kind != GOAWAY => {}
                end => return Err(end),
            }
        }
    }

    /// The next frame if it comes before `time`.
    ///
    /// # Errors
    /// If none does.
    pub fn next_before(&mut self, time: Instant) -> Result<Option<Frame>, ()> {
        loop {
            if let Some((&[a, b, c, kind, flags, s0, s1, s2, s3], rest)) = self.read.split_first_chunk() {
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                if rest.len() >= length {
                    let payload = rest[..length].to_vec();
                    self.read.drain(..9 + length);
                    return Ok(Some(Frame { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]), payload }));
                }
            }
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(());
            }
            self.socket.set_read_timeout(Some(left)).expect("it is a socket");
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(len) => self.read.extend_from_slice(&bytes[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // A connection that was closed under what we still said.
                Err(_) => return Ok(None),
            }
        }
    }
}
