//! How connections are kept, lost and found again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn a_member_that_comes_back_is_reached_again() {
    let server = Server::start().await;
    let (url, address) = (server.url.clone(), server.address);
    let transport = transport_to(&[&url]);
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    server.stop().await;
    soon(async {
        while ping(&transport).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let outcome = ping(&transport).await;
    assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");

    let server = Server::start_at(address, None);
    until_reached(&transport).await;
    server.stop().await;
}

#[tokio::test]
async fn failed_attempts_are_bounded_and_calls_between_them_fail_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = transport_to(&[&format!("http://{}", listener.local_addr().unwrap())]);
    let attempts = Arc::new(AtomicUsize::new(0));
    let closing = {
        let attempts = attempts.clone();
        tokio::spawn(async move {
            loop {
                drop(listener.accept().await.unwrap());
                attempts.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(1) {
        let at = Instant::now();
        let outcome = ping(&transport).await;
        assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
        longest = longest.max(at.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    // After 0, 50, 150, 350 and 750 ms.
    let attempts = attempts.load(Ordering::Relaxed);
    assert!((3..=5).contains(&attempts), "{attempts} attempts in a second");
    assert!(longest < Duration::from_millis(250), "a call took {longest:?}");
    closing.abort();
}

#[tokio::test]
async fn a_member_that_accepts_and_says_nothing_is_unreachable_within_the_time_of_the_call() {
    let (url, hole) = black_hole().await;
    let transport = transport_to(&[&url]);
    let (at, within) = (Instant::now(), Duration::from_millis(200));
    let outcome = transport.call(envelope(), Method::Ping, body("x"), within).await;
    assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
    assert!(at.elapsed() < 2 * within);
    let outcome = ping(&transport).await;
    assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
    assert!(at.elapsed() < DIAL_TIMEOUT + Duration::from_secs(1));
    hole.abort();
}

#[tokio::test]
async fn a_connection_that_goes_silent_is_given_up() {
    let server = Server::start().await;
    let (url, is_open) = pausable(server.address).await;
    let transport = transport_to(&[&url]);
    let mut pipe = transport.append(envelope()).await.unwrap();
    let call = tokio::spawn(transport.call(envelope(), Method::Propose, Bytes::new(), 10 * SOON));
    server.handler.until(|seen| seen.calls_begun == 1).await;
    is_open.store(false, Ordering::Relaxed);
    let at = Instant::now();
    let outcome = soon(pipe.answers.next()).await;
    assert!(matches!(outcome, Some(Err(PeerError::Broken(_)))), "{outcome:?}");
    let outcome = soon(call).await.unwrap();
    assert!(matches!(outcome, Err(PeerError::Broken(_))), "{outcome:?}");
    assert!(at.elapsed() < PING_AFTER + PONG_TIMEOUT + Duration::from_secs(1), "{:?}", at.elapsed());
    // The other side gives up as well.
    server.handler.until(|seen| seen.streams_ended.len() == 1 && seen.calls_dropped == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn the_first_url_that_answers_is_taken() {
    let server = Server::start().await;
    let (hole_url, hole) = black_hole().await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let transport = transport_to(&["nonsense", &closed, "https://127.0.0.1:1", &server.url]);
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    let transport = transport_to(&[&hole_url, &server.url]);
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    hole.abort();
    server.stop().await;
}

#[tokio::test]
async fn a_member_that_moved_is_reached_at_once_and_no_more_where_it_was() {
    let (old, new) = (Server::start().await, Server::start().await);
    let transport = transport_to(&[&old.url]);
    let mut pipe = transport.append(envelope()).await.unwrap();
    // The same again changes nothing.
    move_to(&transport, &[&old.url]);
    pipe.requests.send(body("a")).await.unwrap();
    assert_eq!(soon(pipe.answers.next()).await, Some(Ok(body("a"))));

    move_to(&transport, &[&new.url]);
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    assert_eq!(new.handler.seen.borrow().calls_begun, 1);
    assert!(matches!(soon(pipe.answers.next()).await, Some(Err(PeerError::Broken(_)))));
    old.handler.until(|seen| seen.streams_ended.len() == 1).await;

    transport.set_addresses(BTreeMap::new());
    assert!(matches!(ping(&transport).await, Err(PeerError::Unreachable(_))));
    old.stop().await;
    new.stop().await;
}

#[tokio::test]
async fn new_addresses_end_a_pause() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let transport = transport_to(&[&closed]);
    // By now it pauses for a second.
    sleep(Duration::from_millis(800)).await;
    let server = Server::start().await;
    move_to(&transport, &[&closed, &server.url]);
    let at = Instant::now();
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    assert!(at.elapsed() < Duration::from_millis(200));
    server.stop().await;
}

#[tokio::test]
async fn dropping_the_transport_closes_its_connections() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let pipe = transport.append(envelope()).await.unwrap();
    drop(transport);
    server.handler.until(|seen| seen.streams_ended.len() == 1).await;
    soon(pipe.requests.closed()).await;
    server.stop().await;
}

/// A way to `address` that can be cut without a farewell.
async fn pausable(address: SocketAddr) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let is_open = Arc::new(AtomicBool::new(true));
    let gate = is_open.clone();
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(address).await.unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(forward(near_in, far_out, gate.clone()));
            tokio::spawn(forward(far_in, near_out, gate.clone()));
        }
    });
    (url, is_open)
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    is_open: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        if is_open.load(Ordering::Relaxed) && to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
    // The halves stay open while the gate is closed: no farewell.
    while !is_open.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(50)).await;
    }
}
