//! Snapshot: the whole state as a file of etcd's, in parts.
//!
//! A part is made when there is room for it: what a client has not taken is a few parts. A client that goes away takes
//! everything along.
//!
//! Source: etcd API reference, `SnapshotResponse`.

use std::pin::Pin;

use futures_util::stream::{self, Stream};
use tokio::task::JoinSet;
use tonic::Status;

use super::{Api, status};
use crate::api::STORAGE_VERSION;
use crate::node::{SnapshotPart, SnapshotStream};
use crate::proto::etcdserverpb as pb;

/// The parts of one call.
pub(super) type Parts = Pin<Box<dyn Stream<Item = Result<pb::SnapshotResponse, Status>> + Send>>;

/// Makes a snapshot of this moment, until `end` says why not to any more.
///
/// # Errors
/// Why it is not begun.
pub(super) async fn serve(api: &Api, end: impl Future<Output = Status> + Send + 'static) -> Result<Parts, Status> {
    let mut ending = JoinSet::new();
    // It must see the end also while the client takes nothing.
    ending.spawn(end);
    let snapshot = api.node.snapshot().await.map_err(|error| status::of(&error))?;
    tracing::info!("storage-version" = STORAGE_VERSION, "sending database snapshot to client");
    let parts = stream::try_unfold((snapshot, ending), |(mut snapshot, mut ending)| async {
        let part = next(&mut snapshot, &mut ending).await?;
        Ok(part.map(|part| (part, (snapshot, ending))))
    });
    Ok(Box::pin(parts))
}

async fn next(
    snapshot: &mut SnapshotStream,
    ending: &mut JoinSet<Status>,
) -> Result<Option<pb::SnapshotResponse>, Status> {
    let part = tokio::select! {
        biased;
        Some(end) = ending.join_next() => {
            return Err(end.unwrap_or_else(|error| Status::internal(error.to_string())));
        }
        part = snapshot.next() => part,
    };
    match part {
        Some(Ok(SnapshotPart { bytes, remaining })) => {
            if remaining == 0 {
                tracing::info!("checksum-size" = bytes.len(), "sending database sha256 checksum to client");
            }
            let version = STORAGE_VERSION.into();
            Ok(Some(pb::SnapshotResponse { header: None, remaining_bytes: remaining, blob: bytes, version }))
        }
        Some(Err(error)) => Err(status::of(&error)),
        None => {
            tracing::info!("storage-version" = STORAGE_VERSION, "successfully sent database snapshot to client");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use futures_util::StreamExt;
    use tonic::Code;

    use super::*;
    use crate::api::grpc::testing::{soon, started};
    use crate::env::{Disk, File, MemoryDisk};
    use crate::etcd_file::{DigestCheck, SnapshotFile};
    use crate::model::{Command, Compact, LeaseId, Put};
    use crate::node::Proposal;

    async fn put(api: &Api, key: &str, value: Vec<u8>) {
        let put = Put { key: key.to_owned().into(), value: value.into(), ..Put::default() };
        api.node.propose(Proposal::from(&Command::Put(put))).await.unwrap();
    }

    fn opened(bytes: &[u8]) -> SnapshotFile {
        let file = MemoryDisk::new().create(Path::new("file")).unwrap();
        file.write_all_at(0, bytes).unwrap();
        let file: Arc<dyn File> = Arc::from(file);
        SnapshotFile::open(file, DigestCheck::Required, &mut |_| ()).unwrap()
    }

    #[tokio::test]
    async fn parts_count_down_and_the_last_one_is_the_digest_of_one_moment() {
        let api = started().await;
        for n in 0..40 {
            put(&api, &format!("k{n}"), vec![7; 9000]).await;
        }
        api.node.lease_grant(LeaseId(5), 60).await.unwrap();
        let mut parts = serve(&api, std::future::pending()).await.unwrap();
        let (mut bytes, mut remaining) = (Vec::new(), None);
        while let Some(part) = soon(parts.next()).await {
            let pb::SnapshotResponse { header, remaining_bytes, blob, version } = part.unwrap();
            assert_eq!((header, version.as_str()), (None, "3.7.0"));
            assert!(blob.len() <= 32768);
            if let Some(before) = remaining
                && before > 0
            {
                assert_eq!(remaining_bytes, before - blob.len() as u64);
            }
            remaining = Some(remaining_bytes);
            bytes.extend_from_slice(&blob);
            // Of a later moment.
            put(&api, "k1", vec![8; 10]).await;
            api.node.compact(Compact { revision: api.node.revision(), physical: false }).await.unwrap();
        }
        assert_eq!((remaining, bytes.len() % 512), (Some(0), 32));
        let snapshot = opened(&bytes);
        let status = snapshot.status(&mut |_| ()).unwrap();
        assert_eq!((status.revision, status.keys), (41, 40));
        assert_eq!(snapshot.leases().unwrap().len(), 1);
        api.node.stop().await;
    }

    #[tokio::test]
    async fn a_client_that_goes_away_holds_nothing_and_a_stop_ends_the_stream() {
        let api = started().await;
        for n in 0..20 {
            put(&api, "k", vec![n; 900_000]).await;
        }
        // More than are served at a time.
        for _ in 0..10 {
            let mut parts = soon(serve(&api, std::future::pending())).await.unwrap();
            soon(parts.next()).await.unwrap().unwrap();
        }
        let mut parts = serve(&api, std::future::ready(status::STOPPED.into())).await.unwrap();
        let ended = loop {
            tokio::task::yield_now().await;
            if let Err(ended) = soon(parts.next()).await.unwrap() {
                break ended;
            }
        };
        assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "etcdserver: server stopped"));
        drop(parts);
        // What was pinned is freed.
        api.node.compact(Compact { revision: api.node.revision(), physical: true }).await.unwrap();
        api.node.stop().await;
    }
}
