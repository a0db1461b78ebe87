//! One request, one answer.

use super::*;

#[tokio::test]
async fn calls_come_back() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    for len in [0, 1, 100_000, CALL_BYTES_MAX - 64] {
        let large = Bytes::from(vec![7; len]);
        assert_eq!(transport.call(envelope(), Method::HashKv, large.clone(), SOON).await, Ok(large));
    }
    server.stop().await;
}

#[tokio::test]
async fn calls_come_back_over_a_socket_in_the_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), None);
    let transport = transport_to(&[&server.url]);
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    server.stop().await;
}

#[tokio::test]
async fn many_calls_at_once_all_come_back() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let calls = (0..3 * CLIENT_CALLS_MAX).map(|number| {
        let text = body(&number.to_string());
        let call = transport.call(envelope(), Method::ReadIndex, text.clone(), SOON);
        async move { assert_eq!(call.await, Ok(text)) }
    });
    soon(futures_util::future::join_all(calls)).await;
    server.stop().await;
}

#[tokio::test]
async fn calls_of_clients_take_no_places_from_those_of_raft() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let call = |within| transport.call(envelope(), Method::Propose, Bytes::new(), within);
    let waiting: Vec<_> = (0..CLIENT_CALLS_MAX).map(|_| tokio::spawn(call(10 * SOON))).collect();
    server.handler.until(|seen| seen.calls_begun == CLIENT_CALLS_MAX).await;
    let outcome = call(Duration::from_millis(100)).await;
    assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "there is no place: {outcome:?}");
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    drop(transport);
    for call in waiting {
        assert!(matches!(soon(call).await.unwrap(), Err(PeerError::Broken(_))));
    }
    server.stop().await;
}

#[tokio::test]
async fn refusals_come_back_as_they_are() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let refused = |refusal: Refusal| Err(PeerError::Refused(refusal));
    let stopped = transport.call(envelope(), Method::Vote, Bytes::new(), SOON).await;
    assert_eq!(stopped, refused(Refusal::Stopped("tired".into())));

    let foreign = Envelope { cluster: ClusterId(9), ..envelope() };
    let wrong_cluster = Refusal::WrongCluster { expected: CLUSTER, found: ClusterId(9) };
    assert_eq!(transport.call(foreign, Method::Ping, Bytes::new(), SOON).await, refused(wrong_cluster.clone()));
    assert_eq!(transport.append(foreign).await.err(), Some(PeerError::Refused(wrong_cluster)));
    let unknown = Envelope { from: MemberId(77), ..envelope() };
    let stranger = refused(Refusal::Stranger(MemberId(77)));
    assert_eq!(transport.call(unknown, Method::Ping, Bytes::new(), SOON).await, stranger);
    server.stop().await;
}

#[tokio::test]
async fn a_call_without_an_answer_times_out_and_its_handler_is_dropped() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    until_reached(&transport).await;
    let dropped = server.handler.seen.borrow().calls_dropped;
    let within = Duration::from_millis(100);
    let timed_out = transport.call(envelope(), Method::Propose, Bytes::new(), within).await;
    assert_eq!(timed_out, Err(PeerError::Timeout));
    server.handler.until(|seen| seen.calls_dropped == dropped + 1).await;
    // Whoever gives up earlier takes the call back, too.
    let call = transport.call(envelope(), Method::Propose, Bytes::new(), SOON);
    let begun = server.handler.until(|seen| seen.calls_begun == dropped + 2);
    tokio::select! { _ = call => panic!("nobody answers"), _ = begun => {} }
    server.handler.until(|seen| seen.calls_dropped == dropped + 2).await;
    assert_eq!(ping(&transport).await, Ok(body("ping")));
    server.stop().await;
}

#[tokio::test]
async fn a_call_that_was_delivered_before_the_member_died_is_broken_not_unreachable() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let call = tokio::spawn(transport.call(envelope(), Method::Propose, Bytes::new(), SOON));
    server.handler.until(|seen| seen.calls_begun == 1).await;
    server.stop().await;
    let outcome = soon(call).await.unwrap();
    assert!(matches!(outcome, Err(PeerError::Broken(_))), "{outcome:?}");
}

#[tokio::test]
async fn an_oversized_call_is_refused_and_its_connection_lives_on() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let mut pipe = transport.append(envelope()).await.unwrap();
    let outcome = transport.call(envelope(), Method::Ping, vec![0; CALL_BYTES_MAX + 1].into(), SOON).await;
    let Err(PeerError::Refused(Refusal::Malformed(why))) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("the limit is 16777216"), "{why}");
    assert_eq!(server.handler.seen.borrow().calls_begun, 0);
    pipe.requests.send(body("still there")).await.unwrap();
    assert_eq!(soon(pipe.answers.next()).await, Some(Ok(body("still there"))));
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_known_of_members_without_an_address() {
    let transport = transport_to(&[]);
    let elsewhere = Envelope { to: MemberId(9), ..envelope() };
    for envelope in [envelope(), elsewhere] {
        let outcome = soon(transport.call(envelope, Method::Ping, Bytes::new(), SOON)).await;
        assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
        assert!(matches!(soon(transport.append(envelope)).await.err(), Some(PeerError::Unreachable(_))));
    }
}

#[test]
fn calls_work_from_any_runtime() {
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (raft, clients) = (build(), build());
    let (server, transport) = raft.block_on(async {
        let server = Server::start().await;
        let transport = transport_to(&[&server.url]);
        (server, transport)
    });
    clients.block_on(async {
        assert_eq!(ping(&transport).await, Ok(body("ping")));
        let mut pipe = transport.append(envelope()).await.unwrap();
        pipe.requests.send(body("a")).await.unwrap();
        assert_eq!(pipe.answers.next().await, Some(Ok(body("a"))));
    });
    raft.block_on(server.stop());
}

/// What happens to a call with a large body if the other side treats its stream in this way.
async fn call_to(treat: fn(http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>)) -> PeerError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = transport_to(&[&format!("http://{}", listener.local_addr().unwrap())]);
    let (socket, _) = listener.accept().await.unwrap();
    let other_side = tokio::spawn(async move {
        let mut h2 = h2::server::handshake(socket).await.unwrap();
        let stream = h2.accept().await.unwrap().unwrap();
        let driving = async { while h2.accept().await.is_some() {} };
        let _ = timeout(Duration::from_millis(200), driving).await;
        treat(stream.0, stream.1);
        let driving = async { while h2.accept().await.is_some() {} };
        let _ = timeout(Duration::from_millis(200), driving).await;
    });
    let outcome = transport.call(envelope(), Method::Ping, vec![1; 1_000_000].into(), SOON).await;
    other_side.await.unwrap();
    outcome.unwrap_err()
}

#[tokio::test]
async fn a_call_that_did_not_leave_whole_was_surely_not_delivered() {
    for treat in [
        // It is let fall, cancelled, or nothing happens until the connection is closed.
        (|_, _| {}) as fn(_, _),
        |_, mut respond: h2::server::SendResponse<Bytes>| respond.send_reset(h2::Reason::CANCEL),
        |request, respond| std::mem::forget((request, respond)),
    ] {
        let error = call_to(treat).await;
        assert!(matches!(error, PeerError::Unreachable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn only_a_stream_that_the_other_side_did_not_look_at_counts_as_not_delivered() {
    for (reason, is_unreachable) in [(h2::Reason::REFUSED_STREAM, true), (h2::Reason::CANCEL, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let transport = transport_to(&[&format!("http://{}", listener.local_addr().unwrap())]);
        let (socket, _) = listener.accept().await.unwrap();
        let other_side = tokio::spawn(async move {
            let mut h2 = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((mut request, mut respond))) = h2.accept().await {
                tokio::spawn(async move {
                    while request.body_mut().data().await.is_some() {}
                    respond.send_reset(reason);
                });
            }
        });
        let error = ping(&transport).await.unwrap_err();
        assert_eq!(matches!(error, PeerError::Unreachable(_)), is_unreachable, "{error:?}");
        assert_eq!(matches!(error, PeerError::Broken(_)), !is_unreachable, "{error:?}");
        drop(transport);
        other_side.await.unwrap();
    }
}
