//! A network of members in one process.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::model::MemberId;
use crate::peer::{
    APPEND_QUEUE_LEN, AppendPipe, BoxFuture, BoxStream, Envelope, Handler, Method, PeerError, SnapshotSource, Transport,
};

const CHUNK_BYTES: usize = 4096;

/// Who can be reached.
#[derive(Default)]
pub(super) struct LocalNetwork {
    members: Mutex<BTreeMap<MemberId, Arc<dyn Handler>>>,
    snapshots: Mutex<Snapshots>,
}

/// How snapshots travel.
#[derive(Debug, Default, Clone)]
pub(super) struct Snapshots {
    /// So many more sendings break off halfway.
    pub(super) breaks: usize,
    /// Sendings that there were, in their order.
    pub(super) sendings: Vec<Sending>,
}

/// One attempt to send a snapshot, or the rest of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    /// What was to be sent, in bytes.
    pub(super) bytes: usize,
    /// What arrived of it.
    pub(super) arrived: usize,
}

impl std::fmt::Debug for LocalNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalNetwork").finish_non_exhaustive()
    }
}

impl LocalNetwork {
    pub(super) fn new() -> Arc<LocalNetwork> {
        Arc::default()
    }

    pub(super) fn join(&self, id: MemberId, handler: Arc<dyn Handler>) {
        self.members.lock().insert(id, handler);
    }

    /// Lets so many sendings of snapshots break off from now on; counts anew.
    pub(super) fn break_snapshots(&self, breaks: usize) {
        *self.snapshots.lock() = Snapshots { breaks, ..Snapshots::default() };
    }

    pub(super) fn snapshots(&self) -> Snapshots {
        self.snapshots.lock().clone()
    }

    /// How much of a sending of so many bytes arrives; `true` if it then breaks off.
    fn fare(&self, bytes: usize) -> (usize, bool) {
        let mut snapshots = self.snapshots.lock();
        let is_broken = snapshots.breaks > 0;
        snapshots.breaks = snapshots.breaks.saturating_sub(1);
        let arrived = if is_broken { bytes / 2 } else { bytes };
        snapshots.sendings.push(Sending { bytes, arrived });
        (arrived, is_broken)
    }

    pub(super) fn leave(&self, id: MemberId) {
        self.members.lock().remove(&id);
    }

    fn find(&self, id: MemberId) -> Result<Arc<dyn Handler>, PeerError> {
        let found = self.members.lock().get(&id).cloned();
        found.ok_or_else(|| PeerError::Unreachable("it is not there".into()))
    }
}

impl Transport for LocalNetwork {
    fn set_addresses(&self, _addresses: BTreeMap<MemberId, Vec<String>>) {}

    fn call(
        &self,
        envelope: Envelope,
        method: Method,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<Result<Bytes, PeerError>> {
        let handler = self.find(envelope.to);
        Box::pin(async move {
            let answer = tokio::time::timeout(within, handler?.call(envelope, method, body)).await;
            Ok(answer.map_err(|_| PeerError::Timeout)??)
        })
    }

    fn append(&self, envelope: Envelope) -> BoxFuture<Result<AppendPipe, PeerError>> {
        let handler = self.find(envelope.to);
        Box::pin(async move {
            let (requests, requests_rx) = mpsc::channel(APPEND_QUEUE_LEN);
            let requests_rx = Box::pin(ReceiverStream::new(requests_rx).map(Ok));
            let answers = handler?.append(envelope, requests_rx)?;
            let answers: BoxStream<_> = Box::pin(answers.map(|answer| answer.map_err(PeerError::from)));
            Ok(AppendPipe { requests, answers })
        })
    }

    fn snapshot(
        &self,
        envelope: Envelope,
        head: Bytes,
        source: Arc<dyn SnapshotSource>,
    ) -> BoxFuture<Result<Bytes, PeerError>> {
        let handler = self.find(envelope.to);
        let mut bytes = Vec::new();
        let written: io::Result<()> = source.write_to(0, &mut bytes);
        let (arriving, is_broken) = self.fare(bytes.len());
        Box::pin(async move {
            let broken = |why: String| PeerError::Broken(why.into());
            written.map_err(|error| broken(error.to_string()))?;
            let arriving = bytes[..arriving].chunks(CHUNK_BYTES).map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
            let end = is_broken.then(|| Err(broken("the connection is gone".to_owned())));
            let chunks: Vec<_> = arriving.chain(end).collect();
            let answer = handler?.snapshot(envelope, head, Box::pin(futures_util::stream::iter(chunks))).await;
            if is_broken { Err(broken("the connection is gone".to_owned())) } else { Ok(answer?) }
        })
    }
}
