//! Space that comes back by itself: the checkpoint's file is written anew when most of it is free pages.
//!
//! redb keeps the pages of what was removed. That is right as long as they are used again soon; a file that was once
//! large and holds little now should not stay large until somebody thinks of it. So after each compaction whose removals
//! have reached the tables it is looked at:
//!
//! | it is written anew if | because |
//! | --- | --- |
//! | more than half of it is free | a copy costs what is left, and gives back more than that |
//! | and a minimum, `--auto-defrag-threshold-megabytes` | less is not worth it |
//! | and twice what the last time has left over | what writing anew cannot give back is not tried again and again |
//! | and the last time was [`PAUSE`] ago | pages that the next minutes use again are not given back |
//! | and there is room on the disk for the second file, and for the log | neither may meet a full disk because of it |
//!
//! One that fails leaves the file as it was, with a warning; the next compaction after the pause tries again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::defragment::{Defragmenter, Space};
use crate::raft::Checkpoints;
use crate::storage::Haste;

/// From one time to the next, at least.
const PAUSE: Duration = Duration::from_secs(600);
/// What must be left on the disk beside the second file, in bytes: for the log, above all.
const ROOM_BYTES: u64 = 64 << 20;

/// The task that looks.
#[derive(Debug)]
pub(super) struct Reclaimer {
    /// Changes when a compaction has visited all keys.
    rounds: watch::Receiver<u64>,
    checkpoints: Arc<Checkpoints>,
    defragmenter: Arc<Defragmenter>,
    /// Less that is free is left alone; `None` leaves everything alone.
    free_bytes_min: Option<u64>,
    /// What was free after the last time.
    left_bytes: u64,
}

/// What a look at the file finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// Too little is free.
    Well,
    /// Too much is free, and there is room to do something about it.
    Wasteful,
    /// Too much is free, and there is no room for a second file.
    NoRoom,
}

impl Reclaimer {
    pub(super) fn new(
        (rounds, checkpoints): (watch::Receiver<u64>, Arc<Checkpoints>),
        defragmenter: Arc<Defragmenter>,
        free_bytes_min: Option<u64>,
    ) -> Reclaimer {
        Reclaimer { rounds, checkpoints, defragmenter, free_bytes_min, left_bytes: 0 }
    }

    /// Looks after each compaction, until `stop`. The first look is after what a restart cut short.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // A rewrite that is under way then ends by itself: see `Node::stop`.
        stop.run_until_cancelled(self.look_after_compactions()).await;
    }

    async fn look_after_compactions(&mut self) {
        if self.free_bytes_min.is_none() {
            return;
        }
        let mut earliest = Instant::now();
        while self.rounds.changed().await.is_ok() && self.checkpoints.settle().await.is_ok() {
            if self.look() == Finding::Well {
                continue;
            }
            // What is free may be in use by then.
            tokio::time::sleep_until(earliest).await;
            if self.reclaim().await != Finding::Well {
                earliest = Instant::now() + PAUSE;
            }
        }
    }

    /// Writes the file anew if that is worth it and possible. Tells what it found.
    async fn reclaim(&mut self) -> Finding {
        let (found, Space { taken, needed }) = (self.look(), self.defragmenter.space());
        match found {
            Finding::Well => return found,
            Finding::NoRoom => {
                let what = "most of the checkpoint's file is free, and there is no room to write it anew";
                tracing::warn!("db-size-bytes" = taken, "db-size-in-use-bytes" = needed, "{what}");
                return found;
            }
            Finding::Wasteful => {
                let what = "most of the checkpoint's file is free: it is written anew";
                tracing::info!("db-size-bytes" = taken, "db-size-in-use-bytes" = needed, "{what}");
            }
        }
        match self.defragmenter.defragment(Haste::Gentle).await {
            Ok(_) => self.left_bytes = self.defragmenter.space().free(),
            Err(why) => tracing::warn!(%why, "the checkpoint's file could not be written anew, and stays as it was"),
        }
        found
    }

    fn look(&self) -> Finding {
        let Some(min) = self.free_bytes_min else { return Finding::Well };
        let min = min.max(self.left_bytes.saturating_mul(2));
        judge(self.defragmenter.space(), min, self.defragmenter.room_bytes())
    }
}

/// Judges a file of which at least `free_bytes_min` should be free, on a disk with room for `room` more bytes, if that is
/// known.
fn judge(space: Space, free_bytes_min: u64, room: Option<u64>) -> Finding {
    if space.free() <= space.needed || space.free() < free_bytes_min {
        return Finding::Well;
    }
    // The need is an estimate, and grows while the file is written.
    let wanted = space.needed + space.needed / 8 + ROOM_BYTES;
    if room.is_some_and(|room| room < wanted) { Finding::NoRoom } else { Finding::Wasteful }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::env::{ManualClock, SeededRandom, SimDisk};
    use crate::model::{ClusterId, Command, Compact, DeleteRange, KeyRange, MemberId, Put};
    use crate::node::{Node, NodeOptions};
    use crate::raft::Proposal;
    use crate::storage::Identity;

    const KEYS: usize = 300;
    const KEPT: usize = 20;
    const VALUE_BYTES: usize = 4000;
    const MIN_BYTES: u64 = 256 << 10;

    async fn start(disk: &SimDisk, reclaim_bytes_min: Option<u64>) -> Node {
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
        let options = NodeOptions::new(Arc::new(disk.clone()), clock, random, identity);
        let options = NodeOptions { segment_bytes: 1 << 20, reclaim_bytes_min, ..options };
        let node = Node::start(options.clone()).await.unwrap();
        node.ready(&options).await.unwrap();
        node
    }

    fn key(number: usize) -> Bytes {
        format!("{number:04}").into()
    }

    async fn propose(node: &Node, command: Command) {
        node.propose(Proposal::from(&command)).await.unwrap();
    }

    async fn fill(node: &Node) {
        for number in 0..KEYS {
            let put = Put { key: key(number), value: vec![b'v'; VALUE_BYTES].into(), ..Put::default() };
            propose(node, Command::Put(put)).await;
        }
    }

    /// Deletes most of the keys. The last ones stay: redb cuts free pages off the end of its file by itself.
    async fn delete(node: &Node) {
        let keys = KeyRange::new(key(0), key(KEYS - KEPT));
        propose(node, Command::DeleteRange(DeleteRange { keys, prev_kv: false })).await;
    }

    async fn compact(node: &Node) {
        let revision = node.revision();
        node.compact(Compact { revision, physical: true }).await.unwrap();
    }

    /// Leaves a file that is mostly free.
    async fn waste(node: &Node) {
        fill(node).await;
        compact(node).await;
        delete(node).await;
        compact(node).await;
    }

    fn reclaimer(node: &Node) -> Reclaimer {
        let source = (node.compactor.rounds(), node.defragmenter.checkpoints.clone());
        Reclaimer::new(source, node.defragmenter.clone(), Some(MIN_BYTES))
    }

    fn live_keys(node: &Node) -> usize {
        node.shared.machine.read().kv.live_keys()
    }

    #[test]
    fn what_is_worth_it_and_possible() {
        let mib = |mib: u64| mib << 20;
        let judge = |taken, needed, min, room: Option<u64>| {
            judge(Space { taken: mib(taken), needed: mib(needed) }, mib(min), room.map(mib))
        };
        assert_eq!(judge(1000, 600, 64, None), Finding::Well);
        assert_eq!(judge(1000, 500, 64, None), Finding::Well);
        assert_eq!(judge(1000, 499, 64, None), Finding::Wasteful);
        assert_eq!(judge(65, 2, 64, None), Finding::Well);
        assert_eq!(judge(1000, 400, 64, Some(513)), Finding::NoRoom);
        assert_eq!(judge(1000, 400, 64, Some(514)), Finding::Wasteful);
        assert_eq!(judge(100, 400, 0, None), Finding::Well, "an estimate may be too high");
    }

    #[tokio::test]
    async fn after_a_compaction_the_file_becomes_small_by_itself() {
        let disk = SimDisk::new();
        let node = start(&disk, Some(MIN_BYTES)).await;
        waste(&node).await;
        while node.defragmenter.space().free() >= MIN_BYTES {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = node.status();
        assert!(status.db_bytes_in_use > (KEPT * VALUE_BYTES) as u64 && status.db_bytes_in_use <= status.db_bytes);
        node.stop().await;
        let node = start(&disk, None).await;
        assert_eq!(live_keys(&node), KEPT);
        node.stop().await;
    }

    #[tokio::test]
    async fn at_a_start_the_file_becomes_small_if_enough_of_it_is_free() {
        let disk = SimDisk::new();
        let node = start(&disk, None).await;
        waste(&node).await;
        node.stop().await;
        let node = start(&disk, None).await;
        let before = node.defragmenter.space();
        node.defragment_if_free(before.free() + 1).await;
        assert_eq!(node.defragmenter.space(), before);
        node.defragment_if_free(before.free()).await;
        assert!(node.defragmenter.space().taken < before.taken, "{before:?}");
        assert_eq!(live_keys(&node), KEPT);
        node.stop().await;
    }

    #[tokio::test]
    async fn it_is_left_alone_if_little_is_free_or_nobody_wants_it() {
        let disk = SimDisk::new();
        let node = start(&disk, None).await;
        fill(&node).await;
        compact(&node).await;
        let full = node.defragmenter.space();
        assert_eq!(reclaimer(&node).reclaim().await, Finding::Well);
        assert_eq!(node.defragmenter.space(), full);

        delete(&node).await;
        compact(&node).await;
        let mut unwanted = Reclaimer { free_bytes_min: None, ..reclaimer(&node) };
        assert_eq!(unwanted.reclaim().await, Finding::Well);
        assert!(node.defragmenter.space().free() > full.needed / 2, "nobody did anything");
        // What the last time has left over is not worth another one.
        let mut satisfied = Reclaimer { left_bytes: full.taken, ..reclaimer(&node) };
        assert_eq!(satisfied.reclaim().await, Finding::Well);
        let mut reclaimer = reclaimer(&node);
        assert_eq!(reclaimer.reclaim().await, Finding::Wasteful);
        assert_eq!(reclaimer.reclaim().await, Finding::Well);
        node.stop().await;
    }

    #[tokio::test]
    async fn one_that_fails_leaves_everything_as_it_was() {
        let disk = SimDisk::new();
        let node = start(&disk, None).await;
        waste(&node).await;
        let before = node.defragmenter.space();
        let mut reclaimer = reclaimer(&node);
        disk.set_full(true);
        assert_eq!(reclaimer.reclaim().await, Finding::Wasteful);
        assert_eq!((node.defragmenter.space(), live_keys(&node)), (before, KEPT));
        disk.set_full(false);
        assert_eq!(reclaimer.reclaim().await, Finding::Wasteful);
        assert!(node.defragmenter.space().taken < before.taken);
        node.stop().await;
        assert_eq!(live_keys(&start(&disk, None).await), KEPT);
    }
}
