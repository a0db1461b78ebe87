//! Hashes of what this member holds, to be compared with those of others.
//!
//! Three of them, from cheap to whole: the chain is kept up to date by apply and says whether two members that have
//! applied the same entries did the same (`Machine::chain`); the hash of the key space goes over the records themselves,
//! at a revision; the hash of the state takes leases and members in as well.

use std::sync::Arc;

use bytes::Bytes;

use super::Node;
use super::error::NodeError;
use crate::metrics::Stopwatch;
use crate::model::{MemberId, Revision};
use crate::mvcc::{KvHash, ReadError};
use crate::peer::member_calls::{HashKvAnswer, decode_hash_kv, encode_hash_kv};
use crate::peer::{Method, Refusal};

use super::proposer::REQUEST_TIMEOUT;

impl Node {
    /// Hashes the key space as of `at`; zero is the newest revision. Local: it needs no quorum.
    ///
    /// # Errors
    /// [`NodeError::Compacted`], [`NodeError::FutureRevision`]; [`NodeError::Fault`] if records cannot be read.
    pub async fn hash_kv(&self, at: Revision) -> Result<KvHash, NodeError> {
        let (shared, watch) = (self.shared.clone(), Stopwatch::start());
        let hashed = self.hash_with(move || shared.hash_kv(at)).await;
        self.metrics.mvcc.hash_kv.observe(watch.seconds());
        hashed
    }

    /// Hashes the whole state: key space, leases, members. Gives the store's revision with it.
    ///
    /// # Errors
    /// [`NodeError::Fault`] if records cannot be read.
    pub async fn hash(&self) -> Result<(u32, Revision), NodeError> {
        let (shared, watch) = (self.shared.clone(), Stopwatch::start());
        let hashed = self.hash_with(move || shared.hash()).await;
        self.metrics.mvcc.hash.observe(watch.seconds());
        hashed
    }

    /// Answers another member's question for a hash of the key space.
    ///
    /// # Errors
    /// [`Refusal`] if the question cannot be read or the node has stopped.
    pub async fn answer_hash_kv(&self, body: Bytes) -> Result<Bytes, Refusal> {
        let answer = match self.hash_kv(decode_hash_kv(body)?).await {
            Ok(KvHash { hash, at, compacted, revision }) => HashKvAnswer::Hashed { hash, at, compacted, revision },
            Err(NodeError::Compacted { requested, compacted }) => HashKvAnswer::Compacted { requested, compacted },
            Err(NodeError::FutureRevision { requested, current }) => HashKvAnswer::Future { requested, current },
            Err(NodeError::Stopped) => return Err(Refusal::Stopped(Arc::from("it is stopping"))),
            Err(error) => HashKvAnswer::Failed(error.to_string()),
        };
        Ok(answer.encode())
    }

    /// Asks another member for the hash of its key space.
    ///
    /// # Errors
    /// As [`Node::hash_kv`] there; [`NodeError::Fault`] in words if it could not be asked.
    pub async fn hash_kv_of(&self, member: MemberId, at: Revision) -> Result<KvHash, NodeError> {
        let fault = |error: &dyn std::fmt::Display| NodeError::Fault(error.to_string().into());
        let call = self.peers.ask(member, Method::HashKv, encode_hash_kv(at), REQUEST_TIMEOUT);
        let body = call.await.map_err(|error| fault(&error))?;
        match HashKvAnswer::decode(body).map_err(|error| fault(&error))? {
            HashKvAnswer::Hashed { hash, at, compacted, revision } => Ok(KvHash { hash, at, compacted, revision }),
            HashKvAnswer::Compacted { requested, compacted } => Err(NodeError::Compacted { requested, compacted }),
            HashKvAnswer::Future { requested, current } => Err(NodeError::FutureRevision { requested, current }),
            HashKvAnswer::Failed(why) => Err(NodeError::Fault(why.into())),
        }
    }

    /// Long, and in need of the disk: not on an async worker.
    async fn hash_with<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, NodeError> {
        self.barrier.check_running()?;
        let hashed = self.threading.blocking(hash).await.map_err(|_| NodeError::Stopped)?;
        hashed.map_err(|error| self.unread(error))
    }
}
