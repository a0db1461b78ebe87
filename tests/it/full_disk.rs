//! Disks that fill up under load, at many points, and are freed: the process lives, reads answer throughout, puts are
//! refused and deletes are not, everything is over by itself, and nothing acknowledged is lost.
//!
//! The data folder is on an ext4 file system in a file, filled by a file beside it. `LODEMARK_FULL_DISKS=20` for the long
//! run. Needs root and `mkfs.ext4`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{Client, CompactionOptions, Compare, CompareOp, DeleteOptions, Error, GetOptions, Txn, TxnOp};
use lodemark::env::{Random, SeededRandom};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::{Ext4, Member, Program, Site, has_program, number, seed, skip};
use crate::ledger::Load;

/// By default.
const ROUNDS: u64 = 4;
/// The disk is filled after at least this many writes were acknowledged, and at most so many more.
const WRITES_MIN: u64 = 500;
const WRITES_SPREAD: u64 = 3000;
/// Of values while the disk is full: what was made ahead is soon used up.
const VALUE_BYTES: usize = 1024;
/// What happens at least while the disk is full.
const REFUSALS: u64 = 100;
const DELETES: u64 = 50;
const READS: u64 = 50;
/// Revisions that compactions leave.
const HISTORY_KEPT: i64 = 1000;
const IMAGE_BYTES: u64 = 1024 * 1024 * 1024;
/// Where a member fills the disk by itself. It must hold what is made ahead, and what is kept for it.
const SMALL_IMAGE_BYTES: u64 = 256 * 1024 * 1024;
const OWN_VALUE_BYTES: usize = 512 * 1024;
/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// What the member is doing when the disk fills up, besides taking writes.
#[derive(Debug, Clone, Copy)]
enum Beside {
    /// Checkpoints and changes of segments, as they come.
    Nothing,
    Compaction,
    Defragment,
    /// It is killed, and starts on the full disk.
    Start,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disks_refuse_writes_lose_nothing_and_are_over_by_themselves() {
    let Some(folder) = folder_for_disks() else { return };
    let rounds = number("LODEMARK_FULL_DISKS", ROUNDS);
    let (program, seed) = (Program::lodemark(), seed());
    let random = SeededRandom::new(seed);
    let Some(disk) = Ext4::make(folder.path(), IMAGE_BYTES) else { return skip("loop devices that can be mounted") };
    let mut member = Member::start(&program, Site::new(&disk.mounted)).await;
    let mut load = Load::start();
    load.up(member.endpoint());
    let mut reads = 0;
    for round in 1..=rounds {
        let beside = [Beside::Nothing, Beside::Compaction, Beside::Defragment, Beside::Start][(round % 4) as usize];
        let context = format!("LODEMARK_SEED={seed}, full disk {round} of {rounds}, beside {beside:?}");
        println!("{context}");
        let readers = Readers::start(&member.endpoint());
        load.acknowledges(WRITES_MIN + random.next_u64() % WRITES_SPREAD).await;

        let begun = begin(beside, &member, &load);
        load.may_refuse(true);
        load.lengthen(VALUE_BYTES);
        disk.fill();
        load.refuses(REFUSALS).await;
        member = match beside {
            Beside::Start => {
                reads += readers.end().await;
                load.doom();
                let site = member.kill();
                load.down().await;
                let member = Member::start(&program, site).await;
                load.up(member.endpoint());
                load.refuses(REFUSALS).await;
                member
            }
            Beside::Nothing | Beside::Compaction | Beside::Defragment => {
                readers.count_on().await;
                reads += readers.end().await;
                member
            }
        };
        let readers = Readers::start(&member.endpoint());
        asks_on_a_full_disk(&member.client().await, &load).await;
        load.deletes(DELETES).await;
        readers.count_on().await;

        load.lengthen(0);
        disk.free();
        takes_puts(&member, &load).await;
        load.acknowledges(WRITES_MIN).await;
        reads += readers.end().await;
        if let Some(begun) = begun {
            // Done or not: it has an end, and leaves nothing behind.
            let _: Result<(), Error> = timeout(PATIENCE, begun).await.expect(&context).expect("it does not panic");
            let left = disk.mounted.join("data/member/state.redb.rewrite");
            assert!(!left.exists(), "{context}: {}", left.display());
        }
        assert!(member.process().is_running(), "{context}: the member has ended");
        if round % 2 == 0 {
            load.doom();
            let site = member.kill();
            load.down().await;
            member = Member::start(&program, site).await;
            load.check(&member.endpoint(), &context).await;
            load.up(member.endpoint());
        }
        compact(&member.client().await, &load).await;
    }
    load.doom();
    let site = member.kill();
    load.end().await;
    let member = Member::start(&program, site).await;
    load.check(&member.endpoint(), &format!("LODEMARK_SEED={seed}, after {rounds} full disks")).await;
    drop(member);
    let (acknowledged, refused) = (load.count(), load.refused());
    println!("{rounds} full disks, {acknowledged} writes acknowledged, {refused} refused, {reads} reads, seed {seed}");
}

/// A member whose own data fills the disk gets out by what etcd asks of its operators: delete, compact, defragment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_a_member_has_filled_itself_is_freed_by_deletes_compaction_and_defragmentation() {
    let Some(folder) = folder_for_disks() else { return };
    let Some(disk) = Ext4::make(folder.path(), SMALL_IMAGE_BYTES) else {
        return skip("loop devices that can be mounted");
    };
    let mut member = Member::start(&Program::lodemark(), Site::new(&disk.mounted)).await;
    let mut client = member.client().await;
    let value = "v".repeat(OWN_VALUE_BYTES);
    let mut acknowledged = 0;
    loop {
        match client.put(format!("own/{acknowledged:04}"), value.as_str(), None).await {
            Ok(_) => acknowledged += 1,
            Err(error) if error.to_string().contains(NO_SPACE) => break,
            Err(error) => panic!("put {acknowledged}: {error}"),
        }
        assert!(acknowledged * (OWN_VALUE_BYTES as u64) < SMALL_IMAGE_BYTES, "more than there is space for");
    }
    let everything = || Some(GetOptions::new().with_prefix().with_count_only());
    assert_eq!(client.get("own/", everything()).await.unwrap().count() as u64, acknowledged);
    // All but the last.
    let deleted = client
        .delete("own/", Some(DeleteOptions::new().with_range(format!("own/{:04}", acknowledged - 1))))
        .await
        .expect("deletes go on");
    assert_eq!(deleted.deleted() as u64, acknowledged - 1);
    let revision = deleted.header().expect("a header").revision();
    let physical = Some(CompactionOptions::new().with_physical());
    timeout(PATIENCE, client.compact(revision, physical)).await.expect("in time").expect("compactions go on");
    let freed = async {
        while client.defragment().await.is_err() || client.put("after", "it", None).await.is_err() {
            assert!(member.process().is_running(), "the member has ended");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    timeout(PATIENCE, freed).await.expect("puts are taken again");
    let site = member.kill();
    let member = Member::start(&Program::lodemark(), site).await;
    let mut client = member.client().await;
    assert_eq!(client.get("own/", everything()).await.unwrap().count(), 1);
    assert_eq!(client.get("after", None).await.unwrap().kvs().len(), 1);
    println!("{acknowledged} values of {OWN_VALUE_BYTES} bytes filled {SMALL_IMAGE_BYTES} bytes");
}

/// `None`, said plainly, where the tests have to be skipped.
fn folder_for_disks() -> Option<tempfile::TempDir> {
    if !rustix::process::geteuid().is_root() {
        skip("root, to mount a file system");
        return None;
    }
    for needed in ["mkfs.ext4", "mount", "umount"] {
        if !has_program(needed) {
            skip(needed);
            return None;
        }
    }
    Some(tempfile::tempdir().expect("a temporary folder"))
}

/// Begins what is to meet the full disk.
fn begin(beside: Beside, member: &Member, load: &Load) -> Option<JoinHandle<Result<(), Error>>> {
    let endpoint = member.endpoint();
    let revision = old_revision(load);
    match beside {
        Beside::Nothing | Beside::Start => None,
        Beside::Compaction => {
            load.compacts(revision);
            Some(tokio::spawn(async move {
                let mut client = Client::connect([endpoint], None).await?;
                client.compact(revision, Some(CompactionOptions::new().with_physical())).await.map(drop)
            }))
        }
        Beside::Defragment => {
            Some(tokio::spawn(async move { Client::connect([endpoint], None).await?.defragment().await.map(drop) }))
        }
    }
}

/// A revision that may be compacted: the watcher is past it.
fn old_revision(load: &Load) -> i64 {
    (load.observed() - HISTORY_KEPT).max(1)
}

async fn compact(client: &Client, load: &Load) {
    let revision = old_revision(load);
    load.compacts(revision);
    // It may be that far already.
    let _: Result<_, Error> = client.clone().compact(revision, None).await;
}

/// What a full disk refuses, and what it does not, beside what the writers see. Changes nothing, whatever is taken.
async fn asks_on_a_full_disk(client: &Client, load: &Load) {
    let mut client = client.clone();
    let is_there = [Compare::version("x", CompareOp::Greater, 0)];
    // The log is purged, and makes a little room for itself now and then.
    let refused = async {
        while !is_refused(client.txn(Txn::new().when(is_there.clone()).and_then([TxnOp::put("x", "y", None)])).await) {}
        while !is_refused(client.lease_grant(60, None).await) {}
    };
    timeout(PATIENCE, refused).await.expect("what makes the data grow is refused");
    client.txn(Txn::new().and_then([TxnOp::delete("x", None)])).await.expect("deletes go on");
    client.delete("x", None).await.expect("deletes go on");
    compact(&client, load).await;
    client.get("w", Some(GetOptions::new().with_prefix().with_limit(100))).await.expect("reads go on");
    client
        .get("w", Some(GetOptions::new().with_prefix().with_limit(100).with_serializable()))
        .await
        .expect("reads go on");
    client.status().await.expect("it says how it is");
}

/// Whether it was refused, as etcd refuses it, and not taken; nothing else may come of it.
fn is_refused<T: std::fmt::Debug>(outcome: Result<T, Error>) -> bool {
    let Err(Error::GRpcStatus(status)) = outcome else {
        assert!(outcome.is_ok(), "{outcome:?}");
        return false;
    };
    // ResourceExhausted.
    assert_eq!((status.code() as i32, status.message()), (8, NO_SPACE));
    true
}

/// Waits until puts are taken again, and none is refused any more.
async fn takes_puts(member: &Member, load: &Load) {
    let taken = async {
        loop {
            let refused = load.refused();
            load.acknowledges(WRITES_MIN).await;
            if load.refused() == refused {
                return;
            }
        }
    };
    timeout(PATIENCE, taken).await.unwrap_or_else(|_| panic!("{} does not take puts again", member.endpoint()));
    load.may_refuse(false);
}

/// Clients that read all the time. Each of their reads is answered.
struct Readers {
    count: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(endpoint: &str) -> Readers {
        let count = Arc::new(AtomicU64::new(0));
        let linearizable = GetOptions::new().with_prefix().with_limit(10);
        let kinds = [linearizable.clone(), linearizable.with_serializable()];
        let tasks = kinds.map(|options| tokio::spawn(read(endpoint.to_owned(), options, count.clone())));
        Readers { count, tasks: tasks.into() }
    }

    /// Waits until more was read.
    async fn count_on(&self) {
        let target = self.count.load(Ordering::SeqCst) + READS;
        let reached = async {
            while self.count.load(Ordering::SeqCst) < target {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("reads are answered");
    }

    /// Ends them; gives how many reads were answered.
    async fn end(self) -> u64 {
        for task in self.tasks {
            task.abort();
            if let Err(error) = task.await {
                assert!(error.is_cancelled(), "a read was not answered: {error}");
            }
        }
        self.count.load(Ordering::SeqCst)
    }
}

async fn read(endpoint: String, options: GetOptions, count: Arc<AtomicU64>) {
    let mut client = Client::connect([endpoint], None).await.expect("etcd-client connects lazily");
    loop {
        let read = timeout(PATIENCE, client.get("w", Some(options.clone()))).await.expect("in time");
        read.expect("reads are answered on a full disk too");
        count.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
