//! Append streams.

use super::*;
use crate::peer::APPEND_QUEUE_LEN;

#[tokio::test]
async fn answers_come_in_order_while_requests_are_sent_on() {
    const REQUESTS: usize = 1000;
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let mut pipe = transport.append(envelope()).await.unwrap();
    let requests = pipe.requests;
    let sender = tokio::spawn(async move {
        for number in 0..REQUESTS {
            requests.send(body(&number.to_string())).await.unwrap();
        }
    });
    for number in 0..REQUESTS {
        assert_eq!(soon(pipe.answers.next()).await, Some(Ok(body(&number.to_string()))));
    }
    sender.await.unwrap();
    // The sender has gone, everything is answered: the end, in order.
    assert_eq!(soon(pipe.answers.next()).await, None);
    let seen = server.handler.until(|seen| !seen.streams_ended.is_empty()).await;
    assert_eq!(seen.appends, REQUESTS);
    server.stop().await;
}

#[tokio::test]
async fn requests_flow_though_nobody_waits_for_answers() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let pipe = transport.append(envelope()).await.unwrap();
    for _ in 0..4 * APPEND_QUEUE_LEN {
        soon(pipe.requests.send(body("x"))).await.unwrap();
    }
    server.handler.until(|seen| seen.appends == 4 * APPEND_QUEUE_LEN).await;
    server.stop().await;
}

#[tokio::test]
async fn large_requests_come_through() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let mut pipe = transport.append(envelope()).await.unwrap();
    let large = Bytes::from(vec![3; APPEND_BYTES_MAX - 64]);
    pipe.requests.send(large.clone()).await.unwrap();
    // Heartbeats and votes pass it on the way.
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    let answer = timeout(6 * SOON, pipe.answers.next()).await.unwrap().unwrap().unwrap();
    assert!(answer == large);
    server.stop().await;
}

#[tokio::test]
async fn dropping_a_pipe_ends_the_other_sides_stream_at_once() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let pipe = transport.append(envelope()).await.unwrap();
    pipe.requests.send(body("a")).await.unwrap();
    server.handler.until(|seen| seen.appends == 1).await;
    // A copy of the sender does not keep the pipe alive.
    let requests = pipe.requests.clone();
    let at = Instant::now();
    drop(pipe);
    server.handler.until(|seen| seen.streams_ended.len() == 1).await;
    assert!(at.elapsed() < Duration::from_millis(500));
    soon(requests.closed()).await;
    // The connection was not hurt.
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    server.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_refusal_of_a_request_after_the_answers_before() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let mut pipe = transport.append(envelope()).await.unwrap();
    for text in ["a", "refuse", "b"] {
        pipe.requests.send(body(text)).await.unwrap();
    }
    assert_eq!(soon(pipe.answers.next()).await, Some(Ok(body("a"))));
    let refusal = Refusal::Stopped("no more".into());
    assert_eq!(soon(pipe.answers.next()).await, Some(Err(PeerError::Refused(refusal))));
    assert_eq!(soon(pipe.answers.next()).await, None);
    soon(pipe.requests.closed()).await;
    server.stop().await;
}

#[tokio::test]
async fn an_oversized_request_ends_its_stream_and_no_other() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let mut other = transport.append(envelope()).await.unwrap();
    let mut pipe = transport.append(envelope()).await.unwrap();
    pipe.requests.send(body("a")).await.unwrap();
    pipe.requests.send(vec![0; APPEND_BYTES_MAX + 1].into()).await.unwrap();
    assert_eq!(soon(pipe.answers.next()).await, Some(Ok(body("a"))));
    let outcome = soon(pipe.answers.next()).await;
    let Some(Err(PeerError::Refused(Refusal::Malformed(why)))) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("the limit is 67108864"), "{why}");
    other.requests.send(body("b")).await.unwrap();
    assert_eq!(soon(other.answers.next()).await, Some(Ok(body("b"))));
    let seen = server.handler.until(|seen| !seen.streams_ended.is_empty()).await;
    assert!(seen.streams_ended[0].contains("the limit is"), "{seen:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_pipe_breaks_when_the_member_stops() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let mut pipe = transport.append(envelope()).await.unwrap();
    let handler = server.handler.clone();
    server.stop().await;
    assert_eq!(handler.seen.borrow().streams_ended, ["dropped"], "nothing of the handler is left");
    let outcome = soon(pipe.answers.next()).await;
    assert!(matches!(outcome, Some(Err(PeerError::Broken(_)))), "{outcome:?}");
    assert_eq!(soon(pipe.answers.next()).await, None);
    soon(pipe.requests.closed()).await;
}
