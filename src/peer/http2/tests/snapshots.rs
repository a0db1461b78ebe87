//! Snapshots.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::peer::SnapshotSource;
use crate::peer::http2::dial::Dialer;
use crate::peer::http2::messages::{frame, send};
use crate::peer::http2::snapshot::chunk;
use crate::proto::lodemarkpb::{SnapshotPart, snapshot_part::Part};

/// Bytes that are not all the same.
struct Source {
    len: usize,
    written: AtomicUsize,
    fails_at_end: bool,
}

impl Source {
    fn new(len: usize) -> Arc<Source> {
        Arc::new(Source { len, written: AtomicUsize::new(0), fails_at_end: false })
    }

    fn bytes(&self) -> Vec<u8> {
        (0..self.len).map(|at| (at / 3) as u8).collect()
    }

    fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }
}

impl SnapshotSource for Source {
    fn write_to(&self, offset: u64, out: &mut dyn io::Write) -> io::Result<()> {
        for piece in self.bytes()[offset as usize..].chunks(10_000) {
            out.write_all(piece)?;
            self.written.fetch_add(piece.len(), Ordering::Relaxed);
        }
        if self.fails_at_end { Err(io::Error::other("bad sector")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_snapshot_arrives_whole() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    for len in [0, 1, CHUNK_BYTES, 5_000_000] {
        let source = Source::new(len);
        let sum = crc32c::crc32c(&source.bytes());
        let answer = soon(transport.snapshot(envelope(), body("head"), source)).await;
        assert_eq!(answer, Ok(body(&format!("head {len} {sum:x}"))));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_slow_receiver_holds_the_sender_back_and_nobody_else() {
    const LEN: usize = 20_000_000;
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    server.handler.reads_snapshots.send_replace(false);
    let source = Source::new(LEN);
    let sending = tokio::spawn(transport.snapshot(envelope(), body("head"), source.clone()));
    // It goes on until it cannot.
    let mut before = 0;
    soon(async {
        while source.written() == 0 || source.written() > before {
            before = source.written();
            sleep(Duration::from_millis(100)).await;
            assert_eq!(ping(&transport).await, Ok(body("ping")));
        }
    })
    .await;
    // The window and a few chunks.
    assert!(before < STREAM_WINDOW_BYTES as usize + 6 * CHUNK_BYTES, "{before} bytes are under way");
    server.handler.reads_snapshots.send_replace(true);
    let answer = soon(sending).await.unwrap().unwrap();
    assert!(answer.starts_with(format!("head {LEN} ").as_bytes()));
    server.stop().await;
}

#[tokio::test]
async fn a_source_that_fails_breaks_the_transfer_off() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let source = Source { len: 1_000_000, written: AtomicUsize::new(0), fails_at_end: true };
    let outcome = soon(transport.snapshot(envelope(), body("head"), Arc::new(source))).await;
    let Err(PeerError::Broken(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("bad sector"), "{why}");
    let seen = server.handler.until(|seen| !seen.snapshots_broken.is_empty()).await;
    assert!(matches!(seen.snapshots_broken[..], [PeerError::Broken(_)]), "{seen:?}");
    server.stop().await;
}

#[tokio::test]
async fn giving_up_breaks_the_transfer_off_and_ends_the_thread_that_reads() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    server.handler.reads_snapshots.send_replace(false);
    let source = Source::new(20_000_000);
    let sending = transport.snapshot(envelope(), body("head"), source.clone());
    assert!(timeout(Duration::from_millis(300), sending).await.is_err());
    server.handler.reads_snapshots.send_replace(true);
    server.handler.until(|seen| !seen.snapshots_broken.is_empty()).await;
    soon(async {
        while Arc::strong_count(&source) > 1 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(source.written() < 20_000_000);
    server.stop().await;
}

#[tokio::test]
async fn a_damaged_chunk_breaks_the_transfer_off() {
    let server = Server::start().await;
    let dialer = Dialer { tls: no_certificate() };
    let connection = dialer.dial(std::slice::from_ref(&server.url), 0).await.unwrap();
    let requests = connection.requests.clone();
    let running = tokio::spawn(connection.run());
    let (response, mut stream) = request::begin(requests, SNAPSHOT_PATH, envelope()).await.unwrap();
    let Some(Part::Chunk(mut damaged)) = chunk(body("data")).part else { panic!() };
    damaged.data = body("dbta");
    for part in [
        SnapshotPart { part: Some(Part::Head(body("head"))) },
        chunk(body("good")),
        SnapshotPart { part: Some(Part::Chunk(damaged)) },
    ] {
        send(&mut stream, frame(&part)).await.unwrap();
    }
    let outcome = soon(request::answer(response)).await;
    assert!(matches!(outcome, Err(PeerError::Refused(Refusal::Malformed(_)))), "{outcome:?}");
    let broken = server.handler.seen.borrow().snapshots_broken.clone();
    assert_eq!(broken, [PeerError::Broken("a chunk was damaged on its way".into())]);
    running.abort();
    server.stop().await;
}

#[tokio::test]
async fn a_refused_snapshot_is_not_sent_to_its_end() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let source = Source::new(50_000_000);
    let foreign = Envelope { cluster: ClusterId(9), ..envelope() };
    let outcome = soon(transport.snapshot(foreign, body("head"), source.clone())).await;
    assert!(matches!(outcome, Err(PeerError::Refused(Refusal::WrongCluster { .. }))), "{outcome:?}");
    assert!(source.written() < 50_000_000);
    server.stop().await;

    let outcome = soon(transport.snapshot(envelope(), body("head"), source)).await;
    assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
}
