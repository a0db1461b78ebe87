//! What goes over a connection, as far as its owner has to know and `h2` does not tell: when something last came, pings
//! and resets that the client sent, and whether it was sent anything of an answer since.
//!
//! The frames are found by their heads alone; what is in them is `h2`'s business.

use tokio::time::Instant;

/// What stands before the payload of a frame. Source: RFC 9113, section 4.1.
const HEAD_BYTES: usize = 9;
/// What a client says before its first frame. Source: RFC 9113, section 3.4.
const PREFACE_BYTES: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Of a ping: it answers one.
const ACK: u8 = 1;

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Traffic {
    incoming: Frames,
    outgoing: Frames,
    /// When something last came.
    heard_at: Instant,
    /// Pings of the client that nobody has taken yet.
    pings: u32,
    /// Calls that the client took back, and nobody has counted yet.
    resets: u32,
    /// Whether anything of an answer was sent since the last ping that was taken.
    has_answered: bool,
    /// The newest stream that the client has opened.
    last_stream: u32,
}

/// Pings that came in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pings {
    /// How many, at least one.
    pub(super) count: u32,
    /// Whether anything of an answer was sent between the first of them and the one before.
    pub(super) follow_answer: bool,
}

impl Traffic {
    /// Of a connection whose preface has not come.
    pub(super) fn new() -> Traffic {
        Traffic {
            incoming: Frames { rest: PREFACE_BYTES, ..Frames::default() },
            outgoing: Frames::default(),
            heard_at: Instant::now(),
            pings: 0,
            resets: 0,
            has_answered: false,
            last_stream: 0,
        }
    }

    /// The client sent this.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.heard_at = Instant::now();
        let (pings, resets, last_stream) = (&mut self.pings, &mut self.resets, &mut self.last_stream);
        self.incoming.pass(bytes, |head| match head.kind {
            PING if head.flags & ACK == 0 => *pings = pings.saturating_add(1),
            RST_STREAM => *resets = resets.saturating_add(1),
            HEADERS => *last_stream = head.stream.max(*last_stream),
            _ => {}
        });
    }

    /// The client is sent this.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        let has_answered = &mut self.has_answered;
        self.outgoing.pass(bytes, |head| *has_answered |= matches!(head.kind, DATA | HEADERS));
    }

    /// When something last came.
    pub(super) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// The pings that have come since this was last asked; `None` if none did.
    pub(super) fn take_pings(&mut self) -> Option<Pings> {
        let count = std::mem::take(&mut self.pings);
        (count > 0).then(|| Pings { count, follow_answer: std::mem::take(&mut self.has_answered) })
    }

    /// How many calls were taken back since this was last asked.
    pub(super) fn take_resets(&mut self) -> u32 {
        std::mem::take(&mut self.resets)
    }

    /// The frame that ends the connection for a reason; `None` while half a frame is on its way.
    pub(super) fn goaway(&self, reason: h2::Reason, debug: &str) -> Option<Vec<u8>> {
        if !self.outgoing.is_between_frames() {
            return None;
        }
        let mut payload = self.last_stream.to_be_bytes().to_vec();
        payload.extend(u32::from(reason).to_be_bytes());
        payload.extend(debug.as_bytes());
        let [_, length @ ..] = u32::try_from(payload.len()).expect("debug data is a word or two").to_be_bytes();
        Some([&length[..], &[GOAWAY, 0, 0, 0, 0, 0], &payload].concat())
    }
}

/// The frames of one direction, however the bytes are cut.
#[derive(Debug, Default)]
struct Frames {
    /// What has come of a head, at the beginning.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// What is still to come of a payload.
    rest: usize,
}

/// What a frame says of itself.
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frames {
    /// Passes bytes on; calls `each` for every head that they complete.
    fn pass(&mut self, mut bytes: &[u8], mut each: impl FnMut(Head)) {
        loop {
            let payload = self.rest.min(bytes.len());
            self.rest -= payload;
            bytes = &bytes[payload..];
            if bytes.is_empty() {
                return;
            }
            let more = (HEAD_BYTES - self.head_bytes).min(bytes.len());
            self.head[self.head_bytes..self.head_bytes + more].copy_from_slice(&bytes[..more]);
            self.head_bytes += more;
            bytes = &bytes[more..];
            if self.head_bytes < HEAD_BYTES {
                return;
            }
            let [a, b, c, kind, flags, stream @ ..] = self.head;
            // A u32 fits the address space of all we run on.
            self.rest = u32::from_be_bytes([0, a, b, c]) as usize;
            self.head_bytes = 0;
            each(Head { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff });
        }
    }

    fn is_between_frames(&self) -> bool {
        self.rest == 0 && self.head_bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// A preface, settings, a call with data that looks like a ping, two pings and the answer to one, a reset.
    fn sent() -> Vec<u8> {
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[]),
            frame(HEADERS, 4, 5, b"abc"),
            frame(DATA, 1, 5, &frame(PING, 0, 0, &[0; 8])),
            frame(PING, 0, 0, &[1; 8]),
            frame(PING, ACK, 0, &[2; 8]),
            frame(PING, 0, 0, &[3; 8]),
            frame(RST_STREAM, 0, 5, &[0; 4]),
        ]
        .concat()
    }

    #[tokio::test]
    async fn pings_are_found_however_the_bytes_are_cut() {
        for piece_bytes in 1..sent().len() {
            let mut traffic = Traffic::new();
            sent().chunks(piece_bytes).for_each(|piece| traffic.hear(piece));
            assert_eq!(traffic.take_pings(), Some(Pings { count: 2, follow_answer: false }), "{piece_bytes}");
            assert_eq!((traffic.take_resets(), traffic.last_stream), (1, 5));
            assert_eq!((traffic.take_pings(), traffic.take_resets()), (None, 0));
        }
    }

    #[tokio::test]
    async fn what_is_sent_of_an_answer_counts_for_the_next_ping_alone() {
        let mut traffic = Traffic::new();
        traffic.say(&frame(4, 0, 0, &[]));
        traffic.say(&frame(PING, ACK, 0, &[0; 8]));
        traffic.hear(&sent());
        assert_eq!(traffic.take_pings(), Some(Pings { count: 2, follow_answer: false }));
        traffic.say(&frame(HEADERS, 4, 5, b"abc"));
        traffic.hear(&frame(PING, 0, 0, &[1; 8]));
        assert_eq!(traffic.take_pings(), Some(Pings { count: 1, follow_answer: true }));
        traffic.hear(&frame(PING, 0, 0, &[1; 8]));
        assert_eq!(traffic.take_pings(), Some(Pings { count: 1, follow_answer: false }));
    }

    #[tokio::test]
    async fn the_last_frame_names_the_newest_stream_and_cuts_no_other() {
        let mut traffic = Traffic::new();
        traffic.hear(&sent());
        let last = traffic.goaway(h2::Reason::ENHANCE_YOUR_CALM, "why").unwrap();
        assert_eq!(last, frame(GOAWAY, 0, 0, b"\0\0\0\x05\0\0\0\x0bwhy"));
        traffic.say(&frame(DATA, 0, 5, &[0; 100])[..50]);
        assert_eq!(traffic.goaway(h2::Reason::ENHANCE_YOUR_CALM, "why"), None);
    }
}
