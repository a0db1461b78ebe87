//! One HTTP/2 connection of another member: a task for each of its streams.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer;
use super::keepalive::{Heard, Keepalive};
use super::server::{FIRST_BYTES_TIMEOUT, Shared};
use super::{CONNECTION_WINDOW_BYTES, HEADERS_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX};
use crate::net::Io;

/// Serves a connection until it breaks or is silent, and waits for the ends of its streams, which hear of it.
pub(super) async fn serve(io: impl Io, remote: String, shared: Shared) -> Result<(), Box<dyn Error + Send + Sync>> {
    let heard = Arc::default();
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .handshake::<_, Bytes>(Heard::new(io, Arc::clone(&heard)));
    let mut h2 = timeout(FIRST_BYTES_TIMEOUT, handshake).await??;
    let keepalive = Keepalive::new(h2.ping_pong().expect("it is asked for once"), heard);

    let remote: Arc<str> = remote.into();
    let mut streams = JoinSet::new();
    let serving = async {
        loop {
            tokio::select! {
                biased;
                // Ended streams are let go of as they end.
                Some(_) = streams.join_next() => {}
                // Waiting for streams is also what reads and writes frames.
                accepted = h2.accept() => match accepted {
                    Some(Ok((request, respond))) => {
                        let answer = answer::answer(request, respond, remote.clone(), shared.clone());
                        streams.spawn(shared.answers.track_future(answer));
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => return Ok(()),
                },
            }
        }
    };
    let ended = tokio::select! {
        biased;
        ended = serving => ended,
        () = keepalive.until_silent() => Err("the other side does not answer pings".into()),
    };
    // This is how they hear of it.
    drop(h2);
    while streams.join_next().await.is_some() {}
    ended
}
