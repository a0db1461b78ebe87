//! A store as clients see it.

use std::collections::BTreeMap;

use etcd_client::{
    Client, CompactionOptions, DeleteOptions, EventType, GetOptions, LeaseTimeToLiveOptions, PutOptions, Txn, TxnOp,
    WatchOptions,
};

/// Puts of one txn.
const TXN_PUTS: u64 = 100;
/// Pairs of one page of a listing.
const PAGE: i64 = 1000;
/// Revisions whose hash is compared.
const HASHES: i64 = 12;

/// Writes keys in several revisions, among them deleted ones and leased ones, with a compaction in between.
pub async fn fill(client: &mut Client, keys: u64) {
    let mut leases = Vec::new();
    for _ in 0..5 {
        leases.push(client.lease_grant(10_000, None).await.expect("it is granted").id());
    }
    for round in 0..3u64 {
        let first = round * keys / 4;
        for from in (first..first + keys / 2).step_by(TXN_PUTS as usize) {
            let puts = (from..from + TXN_PUTS.min(first + keys / 2 - from)).map(|n| {
                let options =
                    (n % 10 == 0).then(|| PutOptions::new().with_lease(leases[n as usize / 10 % leases.len()]));
                TxnOp::put(format!("k/{n:08}"), vec![b'a' + n as u8 % 26; 10 + n as usize % 400], options)
            });
            client.txn(Txn::new().and_then(puts.collect::<Vec<_>>())).await.expect("it is written");
        }
        for n in (first..first + keys / 2).step_by(97) {
            client.delete(format!("k/{n:08}"), None).await.expect("it is deleted");
        }
        client.put("large", vec![round as u8; 1_400_000], None).await.expect("it is written");
        let some = DeleteOptions::new().with_range(format!("k/{:08}", first + 20));
        client.delete(format!("k/{:08}", first + 10), Some(some)).await.expect("they are deleted");
        if round == 1 {
            let at = client.put("last before", "", None).await.expect("it is written");
            let at = at.header().expect("it has a header").revision() * 2 / 3;
            let physically = CompactionOptions::new().with_physical();
            client.compact(at, Some(physically)).await.expect("it is compacted");
        }
    }
    // A lease without keys, and keys whose lease has ended.
    client.lease_grant(20_000, None).await.expect("it is granted");
    client.lease_revoke(leases[4]).await.expect("it ends");
    // A revision with one change: a history that has it is whole.
    client.put("last", "", None).await.expect("it is written");
}

/// Key, value, created, modified, version, lease.
type Pair = (Vec<u8>, Vec<u8>, i64, i64, i64, i64);
/// Whether it is a deletion, and the pair.
type Change = (bool, Pair);

/// All that a store tells.
#[derive(Debug)]
pub struct State {
    pub revision: i64,
    pub pairs: Vec<Pair>,
    /// Granted seconds and keys of each.
    pub leases: BTreeMap<i64, (i64, Vec<Vec<u8>>)>,
    compacted: i64,
    /// At some revisions.
    hashes: Vec<(i64, u32)>,
    /// What a watcher of everything is told from the compacted revision on.
    history: Vec<Change>,
}

impl State {
    /// Asks for all of it.
    pub async fn of(client: &mut Client) -> State {
        let mut state = State::of_newest(client).await;
        let revision = state.revision;
        state.compacted = hash(client, 0).await.1;
        let from = state.compacted.max(1);
        let step = ((revision - from) / HASHES).max(1);
        // etcd remembers another hash of the compacted revision itself.
        let places: Vec<i64> = (from + 1..revision).step_by(step as usize).chain([revision]).collect();
        for at in places {
            state.hashes.push((at, hash(client, at).await.0));
        }
        let options = WatchOptions::new().with_start_revision(from).with_all_keys().with_fragment();
        let mut watch = client.watch("\0", Some(options)).await.expect("it can be watched");
        while state.history.last().is_none_or(|(_, pair)| pair.3 < revision) {
            let told = watch.message().await.expect("it is answered").expect("it does not end");
            assert!(!told.canceled(), "{told:?}");
            for event in told.events() {
                let kv = event.kv().expect("it has a pair");
                state.history.push((event.event_type() == EventType::Delete, pair(kv)));
            }
        }
        state
    }

    /// Asks for what is there now.
    pub async fn of_newest(client: &mut Client) -> State {
        let (mut pairs, mut from, mut revision) = (Vec::new(), b"\0".to_vec(), 0);
        loop {
            let options = GetOptions::new().with_from_key().with_limit(PAGE).with_revision(revision);
            let page = client.get(from.clone(), Some(options)).await.expect("it can be listed");
            revision = if revision == 0 { page.header().expect("it has a header").revision() } else { revision };
            pairs.extend(page.kvs().iter().map(pair));
            if !page.more() {
                break;
            }
            from = [&pairs.last().expect("there are more").0[..], b"\0"].concat();
        }
        let mut leases = BTreeMap::new();
        for lease in client.leases().await.expect("they are listed").leases() {
            let options = LeaseTimeToLiveOptions::new().with_keys();
            let found = client.lease_time_to_live(lease.id(), Some(options)).await.expect("it lives");
            let mut keys: Vec<_> = found.keys().to_vec();
            keys.sort();
            assert!(found.ttl() > found.granted_ttl() / 2, "it has nearly all of its time: {found:?}");
            leases.insert(lease.id(), (found.granted_ttl(), keys));
        }
        State { revision, pairs, leases, compacted: -1, hashes: Vec::new(), history: Vec::new() }
    }

    /// Compares, and says what differs without printing all of it.
    pub fn assert_eq(&self, other: &State) {
        assert_eq!((self.revision, self.compacted), (other.revision, other.compacted));
        assert_eq!(self.pairs.len(), other.pairs.len());
        for (a, b) in self.pairs.iter().zip(&other.pairs) {
            assert!(a == b, "{} differs", a.0.escape_ascii());
        }
        assert_eq!(self.leases, other.leases);
        assert_eq!(self.history.len(), other.history.len());
        for (n, (a, b)) in self.history.iter().zip(&other.history).enumerate() {
            assert!(a == b, "change {n} differs, of {} at {}", a.1.0.escape_ascii(), a.1.3);
        }
        assert_eq!(self.hashes, other.hashes);
        println!(
            "{} keys, {} leases, {} changes from {} to {}, {} hashes are the same",
            self.pairs.len(),
            self.leases.len(),
            self.history.len(),
            self.compacted,
            self.revision,
            self.hashes.len()
        );
    }
}

fn pair(kv: &etcd_client::KeyValue) -> Pair {
    (kv.key().to_vec(), kv.value().to_vec(), kv.create_revision(), kv.mod_revision(), kv.version(), kv.lease())
}

/// The hash at a revision, and the compacted revision.
async fn hash(client: &mut Client, at: i64) -> (u32, i64) {
    let found = client.hash_kv(at).await.expect("it is hashed");
    (found.hash(), found.compact_version())
}
