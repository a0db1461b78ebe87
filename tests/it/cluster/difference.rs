//! A member whose state is not that of the others: stopped, named, and not started again until it is told to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType};
use lodemark::env::RealDisk;
use lodemark::model::{KeyValue, Record, Revision, SubRevision};
use lodemark::storage::{Meta, Storage, TableWrite};

use crate::harness::{Cluster, Program};

const CACHE_BYTES: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

fn open(cluster: &Cluster, member: usize) -> Storage {
    let disk = RealDisk::new(cluster.data_dir(member).join("member"));
    Storage::open(Arc::new(disk), Path::new("state.redb"), CACHE_BYTES).unwrap()
}

/// Makes the checkpoint of a member that is down say that an entry had other effects.
fn falsify(cluster: &Cluster, member: usize) {
    let storage = open(cluster, member);
    let meta = storage.meta().unwrap();
    storage.commit(&[], &Meta { chain: meta.chain ^ 1, ..meta }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_differs_ends_is_named_and_is_replaced() {
    let mut cluster = Cluster::start(&Program::lodemark(), 3).await;
    let wrong = (cluster.leader().await + 1) % 3;
    let others: Vec<usize> = (0..3).filter(|&member| member != wrong).collect();
    let id = cluster.view(wrong).await.unwrap().id;
    cluster.client(wrong).await.put("key", "value", None).await.unwrap();
    assert!(cluster.terminate(wrong).success());
    falsify(&cluster, wrong);

    let differs = format!("member {id:x} differs from the majority");
    cluster.launch(wrong);
    cluster.process(wrong).wait_for_line(&differs, 0);
    assert_eq!(cluster.ended(wrong).code(), Some(1));
    for &member in &others {
        let said = cluster.process(member).wait_for_line("a member differs from the majority", 0);
        assert!(said.contains(&format!("{id:x}")), "{said}");
    }
    // What looks after processes starts it again.
    cluster.launch(wrong);
    cluster.process(wrong).wait_for_line(&differs, 0);
    assert_eq!(cluster.ended(wrong).code(), Some(1));

    // As its message says.
    cluster.empty(wrong);
    cluster.remove(others[0], id).await;
    let (added, _) = cluster.add(others[0], false).await;
    cluster.restart(added).await;
    super::all_write_and_read(&cluster, "of three again").await;
}

/// Gives another value to what a revision wrote, in the checkpoint of a member that is down: with sums that fit, so that
/// only the other members can tell.
fn alter(cluster: &Cluster, member: usize, revision: i64) {
    let storage = open(cluster, member);
    let at = SubRevision::first(Revision(revision));
    let record = storage.records_within(&[at], usize::MAX).unwrap().remove(0).expect("it is in the checkpoint");
    let altered = Record::new(&KeyValue { value: b"altered", ..record.pair() });
    storage.commit(&[TableWrite::Record { at, record: altered }], &storage.meta().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_differ_keep_a_member_from_starting_or_raise_an_alarm_for_it() {
    let checks = ["--feature-gates=CompactHashCheck=true", "--compact-hash-check-time=1s", "--corrupt-check-time=1h"];
    let mut cluster = Cluster::start_with(&Program::lodemark(), 3, &checks).await;
    let wrong = (cluster.leader().await + 1) % 3;
    let other = (wrong + 1) % 3;
    let id = cluster.view(wrong).await.unwrap().id;
    for value in ["1", "2", "3"] {
        cluster.client(wrong).await.put("key", value, None).await.unwrap();
    }
    assert!(cluster.terminate(wrong).success());
    alter(&cluster, wrong, 3);

    cluster.launch_with(wrong, &["--feature-gates=InitialCorruptCheck=true"]);
    cluster.process(wrong).wait_for_line(&format!("{id:x} found data inconsistency with peers"), 0);
    assert_eq!(cluster.ended(wrong).code(), Some(1));

    cluster.restart(wrong).await;
    let mut client = cluster.client(other).await;
    client.compact(4, Some(etcd_client::CompactionOptions::new().with_physical())).await.unwrap();
    let raised = async {
        loop {
            let list = client.alarm(AlarmAction::Get, AlarmType::None, None).await.unwrap();
            if let [alarm] = list.alarms() {
                return (alarm.member_id(), alarm.alarm());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let raised = tokio::time::timeout(PATIENCE, raised).await.expect("the alarm is raised");
    assert_eq!(raised, (id, AlarmType::Corrupt));
    let refused = client.put("key", "4", None).await.unwrap_err().to_string();
    assert!(refused.contains("etcdserver: corrupt cluster"), "{refused}");
}
