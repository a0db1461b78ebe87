//! A full disk: told once when it begins and once when it is over, and relieved as far as this member can.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::raft::{Consensus, Space};

/// How often it is looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// Looks from one attempt to shorten the log to the next.
const LOOKS_PER_PURGE: u32 = 4;

/// The task.
pub(super) struct SpaceWatch {
    pub(super) space: Space,
    pub(super) consensus: Consensus,
}

impl SpaceWatch {
    /// Watches until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        let mut looks_short = 0;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if !self.space.is_short() {
                if looks_short > 0 {
                    tracing::info!("there is space on the disk again: everything is taken");
                }
                looks_short = 0;
                continue;
            }
            if looks_short == 0 {
                tracing::warn!(
                    "the disk of the data folder is full: puts, txns with puts and lease grants are refused, reads, deletes \
                     and compactions go on; make room on it, or compact and delete; it is over by itself"
                );
            }
            if looks_short % LOOKS_PER_PURGE == 0 {
                // What a checkpoint holds is not needed twice, though a member that is behind then needs a snapshot.
                self.consensus.purge().await;
            }
            looks_short += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use crate::env::{Image, SeededRandom, SimDisk, SystemClock};
    use crate::model::{
        ClusterId, Command, Compact, DeleteRange, KeyRange, LeaseGrant, LeaseId, MemberId, Put, Range, Revision, Txn,
        TxnOp,
    };
    use crate::node::{Identity, Node, NodeError, NodeOptions, Outcome, Proposal};

    /// What a test writes until the disk is full: far more than is ever made ahead.
    const PUTS_MAX: usize = 2000;
    const VALUE_BYTES: usize = 10_000;
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

    fn options(disk: &SimDisk) -> NodeOptions {
        let identity = Identity { cluster: ClusterId(1), member: MemberId(2) };
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SeededRandom::new(1)));
        NodeOptions { segment_bytes: 1 << 20, ..NodeOptions::new(Arc::new(disk.clone()), clock, random, identity) }
    }

    async fn start(disk: &SimDisk) -> Node {
        let options = options(disk);
        let node = Node::start(options.clone()).await.unwrap();
        node.ready(&options).await.unwrap();
        node
    }

    fn key(n: usize) -> Bytes {
        format!("key{n}").into()
    }

    fn put_of(n: usize) -> Put {
        Put { key: key(n), value: vec![b'v'; VALUE_BYTES].into(), ..Put::default() }
    }

    async fn ask(node: &Node, command: Command) -> Outcome {
        tokio::time::timeout(PATIENCE, node.propose(Proposal::from(&command))).await.expect("there is an answer")
    }

    async fn reads(node: &Node, n: usize) -> bool {
        let reply = tokio::time::timeout(PATIENCE, node.range(&Range::of(KeyRange::single(key(n))))).await;
        !reply.expect("there is an answer").unwrap().kvs.is_empty()
    }

    /// Puts until the disk has no space for more; gives how many were acknowledged.
    async fn fill(node: &Node, from: usize) -> usize {
        for n in from..from + PUTS_MAX {
            match ask(node, Command::Put(put_of(n))).await {
                Ok(_) => {}
                Err(NodeError::NoSpace) => return n,
                Err(error) => panic!("put {n}: {error}"),
            }
        }
        panic!("the disk is never full");
    }

    /// Asks until it is refused: what is small may fit where something larger did not, and the log frees some room itself.
    async fn refuses(node: &Node, command: impl Fn(i64) -> Command) {
        for n in 0..PUTS_MAX as i64 {
            match ask(node, command(n)).await {
                Ok(_) => {}
                Err(error) => return assert_eq!(error, NodeError::NoSpace),
            }
        }
        panic!("it is never refused");
    }

    /// Puts until one is taken.
    async fn recovers(node: &Node, n: usize) {
        let taken = async {
            while let Err(error) = node.propose(Proposal::from(&Command::Put(put_of(n)))).await {
                assert_eq!(error, NodeError::NoSpace);
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, taken).await.expect("it is over by itself");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_disk_refuses_what_grows_and_nothing_else_until_there_is_space() {
        let disk = SimDisk::new();
        let node = start(&disk).await;
        for n in 0..3 {
            ask(&node, Command::Put(put_of(n))).await.unwrap();
        }
        disk.set_full(true);
        let acknowledged = fill(&node, 3).await;

        let delete = |n| DeleteRange { keys: KeyRange::single(key(n)), prev_kv: false };
        let txn = |then| Txn { compare: Vec::new(), success: vec![then], failure: Vec::new() };
        refuses(&node, |n| Command::LeaseGrant(LeaseGrant { id: LeaseId(1 + n), ttl: 60 })).await;
        refuses(&node, |_| Command::Txn(txn(TxnOp::Put(put_of(0))))).await;
        for freeing in [Command::DeleteRange(delete(0)), Command::Txn(txn(TxnOp::DeleteRange(delete(1))))] {
            ask(&node, freeing).await.unwrap();
        }
        node.compact(Compact { revision: Revision(3), physical: false }).await.unwrap();
        assert!(reads(&node, 2).await && reads(&node, acknowledged - 1).await && !reads(&node, 0).await);
        assert!(!reads(&node, acknowledged).await, "what was refused was not done");

        disk.set_full(false);
        recovers(&node, acknowledged).await;
        node.stop().await;
        let node = start(&disk).await;
        for n in 2..=acknowledged {
            assert!(reads(&node, n).await, "key {n} was acknowledged");
        }
        assert!(!reads(&node, 0).await && !reads(&node, 1).await);
        node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_member_starts_on_a_full_disk_and_takes_writes_once_there_is_space() {
        let disk = SimDisk::new();
        let node = start(&disk).await;
        ask(&node, Command::Put(put_of(0))).await.unwrap();
        disk.set_full(true);
        let acknowledged = fill(&node, 1).await;
        node.halt();
        let _: Option<Arc<str>> = node.stopped().await;
        // As after a kill: only what was synced is there, and what is free is gone.
        let disk = disk.crash_image(Image::Nothing, 1);
        disk.set_full(true);
        let node = start(&disk).await;
        for n in 0..acknowledged {
            assert!(reads(&node, n).await, "key {n} was acknowledged");
        }
        fill(&node, acknowledged).await;
        let delete = DeleteRange { keys: KeyRange::single(key(0)), prev_kv: false };
        ask(&node, Command::DeleteRange(delete)).await.unwrap();
        disk.set_full(false);
        recovers(&node, 0).await;
        node.stop().await;
    }
}
