//! A member of which a record was changed behind its back: its chain is that of the others, its records are not.

use std::path::Path;

use super::*;
use crate::model::{Alarm, AlarmChange, AlarmKind, Compact, KeyValue, Record, Revision, SubRevision};
use crate::node::open::STATE_FILE;
use crate::node::{CorruptionChecks, InitialCheckError};
use crate::storage::{Storage, TableWrite};

const CACHE_BYTES: usize = 1 << 20;
const OFTEN: Duration = Duration::from_millis(50);

impl Cluster {
    /// Gives another value to what a revision wrote, in the checkpoint of a member that is down.
    fn alter(&self, index: usize, revision: Revision) {
        let storage = Storage::open(Arc::new(self.disks[index].clone()), Path::new(STATE_FILE), CACHE_BYTES).unwrap();
        let at = SubRevision::first(revision);
        let record = storage.records_within(&[at], usize::MAX).unwrap().remove(0).expect("it is there");
        let pair = record.pair();
        let altered = Record::new(&KeyValue { value: b"altered", ..pair });
        storage.commit(&[TableWrite::Record { at, record: altered }], &storage.meta().unwrap()).unwrap();
    }

    /// Restarts all members with these checks.
    async fn restart_with(&mut self, checks: CorruptionChecks) {
        for index in 0..self.nodes.len() {
            self.stop(index).await;
        }
        for index in 0..self.nodes.len() {
            let options = NodeOptions { corruption_checks: checks, ..self.options(index) };
            let node = Node::start(options).await.expect("the member starts");
            self.network.join(id(index), Arc::new(node.clone()));
            self.nodes[index] = Some(node);
        }
        for index in 0..self.nodes.len() {
            self.ready(index).await;
        }
    }

    async fn corrupt(&self, member: u64) {
        let expected = [Alarm { member: MemberId(member), kind: AlarmKind::Corrupt }];
        let leader = self.leader().await;
        until("an alarm is raised", || !self.node(leader).alarms_now().is_empty()).await;
        // Whatever is looked at again changes nothing.
        tokio::time::sleep(OFTEN * 4).await;
        assert_eq!(self.node(leader).alarms_now(), expected);
        assert_eq!(self.node(leader).propose(put("k", "x")).await, Err(NodeError::Rejected(Rejection::Corrupt)));
    }
}

/// Three members, of which one that does not lead holds another value at the revision of the second put.
async fn altered() -> (Cluster, usize) {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for value in ["1", "2", "3"] {
        cluster.node(leader).propose(put("k", value)).await.unwrap();
    }
    let wrong = (leader + 1) % 3;
    let revision = cluster.node(leader).revision();
    until("all have it", || cluster.nodes.iter().flatten().all(|node| node.revision() == revision)).await;
    cluster.stop(wrong).await;
    cluster.alter(wrong, Revision(3));
    cluster.boot(wrong).await;
    cluster.ready(wrong).await;
    (cluster, wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_other_records_does_not_start_if_it_is_to_look_first() {
    let (mut cluster, wrong) = altered().await;
    assert_eq!(cluster.node(wrong).check_initially().await, Err(InitialCheckError::Differs { member: id(wrong) }));
    for other in [(wrong + 1) % 3, (wrong + 2) % 3] {
        // It cannot be told who is right: each of both finds that it differs from somebody.
        assert_eq!(cluster.node(other).check_initially().await, Err(InitialCheckError::Differs { member: id(other) }));
    }
    cluster.stop(wrong).await;
    let other = (wrong + 1) % 3;
    assert_eq!(cluster.node(other).check_initially().await, Ok(()), "who is down is passed over");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_raises_an_alarm_for_a_member_with_other_records() {
    let (mut cluster, wrong) = altered().await;
    cluster.restart_with(CorruptionChecks { periodic: Some(OFTEN), ..CorruptionChecks::default() }).await;
    let leader = cluster.leader().await;
    // Against the leader nobody's word counts: all who have not its records are named, one at a time.
    if leader != wrong {
        cluster.corrupt(id(wrong).0).await;
    } else {
        until("an alarm is raised", || !cluster.node(leader).alarms_now().is_empty()).await;
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_compactions_found_names_the_member_that_differs_whoever_leads() {
    let (mut cluster, wrong) = altered().await;
    cluster.restart_with(CorruptionChecks { compactions: Some(OFTEN), ..CorruptionChecks::default() }).await;
    let leader = cluster.leader().await;
    let compact = |at| Compact { revision: Revision(at), physical: true };
    cluster.node(leader).compact(compact(2)).await.unwrap();
    tokio::time::sleep(OFTEN * 4).await;
    assert_eq!(cluster.node(leader).alarms_now(), [], "before the difference all is well");
    cluster.node(leader).compact(compact(4)).await.unwrap();
    cluster.corrupt(id(wrong).0).await;
    // What was found stays so, though the record that differed is gone.
    let alarm = Alarm { member: id(wrong), kind: AlarmKind::Corrupt };
    cluster.node(leader).change_alarm(AlarmChange::Lower(alarm)).await.unwrap();
    cluster.corrupt(id(wrong).0).await;
    cluster.stop_all().await;
}
