//! Append streams: many requests, an answer to each.
//!
//! A task on the transport's runtime takes requests from the pipe and sends them, so that they flow whether or not
//! anybody waits for answers. It belongs to the pipe's answers and ends with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use h2::SendStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::link::Link;
use super::messages::{self, Messages, frame};
use super::{APPEND_BYTES_MAX, APPEND_PATH, OPEN_TIMEOUT, request};
use crate::peer::{APPEND_QUEUE_LEN, AppendPipe, BoxStream, Envelope, PeerError};
use crate::proto::lodemarkpb::{AppendReply, AppendRequest};

/// Opens a stream: waits until the other side has agreed to it.
///
/// # Errors
/// Its refusal, or [`PeerError::Unreachable`]: no request has been sent.
pub(super) async fn open(link: &Link, envelope: Envelope, runtime: &Handle) -> Result<AppendPipe, PeerError> {
    let opening = async {
        let (response, stream) = request::begin(link.requests().await?, APPEND_PATH, envelope).await?;
        Ok((request::answer(response).await?, stream))
    };
    let (answers, stream) = match timeout(OPEN_TIMEOUT, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(PeerError::Broken(why))) => return Err(PeerError::Unreachable(why)),
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(PeerError::Unreachable(format!("no stream was opened within {OPEN_TIMEOUT:?}").into())),
    };
    let (requests_tx, requests_rx) = mpsc::channel(APPEND_QUEUE_LEN);
    let is_finished = Arc::new(AtomicBool::new(false));
    let sender = runtime.spawn(send(requests_rx, stream, is_finished.clone()));
    let answers = Answers {
        messages: Messages::new(answers, APPEND_BYTES_MAX),
        is_finished,
        _sender: AbortOnDropHandle::new(sender),
    };
    Ok(AppendPipe { requests: requests_tx, answers: answers.into_stream() })
}

/// Sends requests until there will be no more, or the stream ends.
async fn send(mut requests: mpsc::Receiver<Bytes>, mut stream: SendStream<Bytes>, is_finished: Arc<AtomicBool>) {
    loop {
        let body = tokio::select! {
            biased;
            // Whatever it is: the answers tell.
            _ = std::future::poll_fn(|cx| stream.poll_reset(cx)) => return,
            body = requests.recv() => body,
        };
        let Some(body) = body else { break };
        if messages::send(&mut stream, frame(&AppendRequest { body })).await.is_err() {
            return;
        }
    }
    // Before the end is on its way, so that whoever sees the other side's end sees this, too.
    is_finished.store(true, Ordering::Release);
    // An error: the answers tell.
    let _ = stream.send_data(Bytes::new(), true);
}

/// What comes back.
struct Answers {
    messages: Messages<AppendReply>,
    /// Everything was sent.
    is_finished: Arc<AtomicBool>,
    _sender: AbortOnDropHandle<()>,
}

impl Answers {
    fn into_stream(self) -> BoxStream<Result<Bytes, PeerError>> {
        Box::pin(futures_util::stream::unfold(Some(self), |answers| async move {
            let mut answers = answers?;
            match answers.next().await {
                Ok(None) => None,
                Ok(Some(answer)) => Some((Ok(answer), Some(answers))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        if let Some(reply) = self.messages.next().await? {
            return Ok(Some(reply.body));
        }
        request::ended(&mut self.messages).await?;
        if !self.is_finished.load(Ordering::Acquire) {
            return Err(PeerError::Broken("the member ended the stream".into()));
        }
        Ok(None)
    }
}
