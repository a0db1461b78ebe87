//! Clients that take turns at a lock of the lock service.
//!
//! The service writes and deletes keys for its client, which is not told at which revisions. So the key's making and its
//! deletion stand in the history as changes of which nobody knows what became of them; the check finds their places.

use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Error, LockOptions};
use lodemark::model::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, LeaseGrant, LeaseId, LeaseRevoke, Put,
    Reply, Revision, Txn, TxnOp,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::checks::history::{Hold, Outcome, Request};
use super::connections::Connections;
use super::wire;
use super::workers::{draw, pause};

const NAME: &str = "s";
/// Seconds: short, so that the lock changes hands when its holder is cut off.
const TTL: i64 = 3;
/// How long it is held, in milliseconds.
const HOLD_MS: std::ops::Range<u64> = 50..1500;

/// Takes turns until it is over.
pub async fn lock(mut connections: Connections, seed: u64, over: CancellationToken) {
    let mut random = StdRng::seed_from_u64(seed);
    while !over.is_cancelled() {
        take_one_turn(&mut connections, &mut random).await;
        pause(&mut random).await;
    }
}

async fn take_one_turn(connections: &mut Connections, random: &mut StdRng) {
    let grant = Request::Command(Command::LeaseGrant(LeaseGrant { id: LeaseId::NONE, ttl: TTL }));
    let (member, patience) = draw(random, connections.members());
    let Outcome::Changed(Reply::LeaseGrant(reply)) = connections.ask(member, &grant, patience).await else { return };
    let lease = reply.id;
    let key = Bytes::from(format!("{NAME}/{:x}", lease.0));

    let (member, patience) = draw(random, connections.members());
    let journal = connections.journal().clone();
    let place = journal.begin(connections.client, member, Request::Command(Command::Txn(make(&key, lease))));
    let options = LockOptions::new().with_lease(lease.0);
    let locked = timeout(patience, connections.client(member).await.lock(NAME, Some(options))).await;
    journal.end(place, Outcome::Unknown);
    let is_held = match &locked {
        Ok(Ok(response)) => {
            assert_eq!(response.key(), key, "the key of a lock is made of its name and the lease");
            let acquired = Revision(response.header().expect("every answer has a header").revision());
            let lock = format!("{NAME}/").into_bytes();
            journal.hold(Hold { client: connections.client, lock, key: key.to_vec(), acquired });
            true
        }
        Ok(Err(error)) => {
            forget_if_broken(connections, member, error);
            false
        }
        Err(_) => false,
    };
    if !is_held {
        // The service deletes the key of a client that has gone away.
        let place = journal.begin(connections.client, member, delete(&key));
        journal.end(place, Outcome::Unknown);
        return;
    }

    sleep(Duration::from_millis(random.random_range(HOLD_MS))).await;
    let (member, patience) = draw(random, connections.members());
    match random.random_range(0..10) {
        // It just goes away, and the lock is free when the lease ends.
        0..2 => {}
        2..4 => {
            let revoke = Request::Command(Command::LeaseRevoke(LeaseRevoke { id: lease }));
            connections.ask(member, &revoke, patience).await;
        }
        _ => {
            let place = journal.begin(connections.client, member, delete(&key));
            let unlocked = timeout(patience, connections.client(member).await.unlock(key.to_vec())).await;
            journal.end(place, Outcome::Unknown);
            if let Ok(Err(error)) = &unlocked {
                forget_if_broken(connections, member, error);
            }
        }
    }
}

fn forget_if_broken(connections: &mut Connections, member: usize, error: &Error) {
    if wire::is_broken(error) {
        connections.give_up(member);
    }
}

/// What the service does to contend: a key of its own, unless it is there.
fn make(key: &Bytes, lease: LeaseId) -> Txn {
    let keys = KeyRange::single(key.clone());
    let absent = Compare { keys, result: CompareResult::Equal, target: CompareTarget::Create(0) };
    let put = Put { key: key.clone(), lease, ..Put::default() };
    Txn { compare: vec![absent], success: vec![TxnOp::Put(put)], failure: Vec::new() }
}

fn delete(key: &Bytes) -> Request {
    Request::Command(Command::DeleteRange(DeleteRange { keys: KeyRange::single(key.clone()), prev_kv: false }))
}
