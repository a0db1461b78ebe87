//! Requests of the workload as calls of a real client, and its answers as outcomes.

use bytes::Bytes;
use etcd_client::{
    Client, CompactionOptions, CompareOp, DeleteOptions, DeleteResponse, Error, GetOptions, GetResponse, PutOptions,
    PutResponse, ResponseHeader, TxnOpResponse, TxnResponse,
};
use lodemark::machine::Rejection;
use lodemark::model::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, DeleteReply, GrantReply, KeyRange, KeyValue, LeaseId,
    OpReply, Put, PutReply, Range, RangeEnd, RangeReply, Record, Reply, Revision, SortOrder, SortTarget, Txn, TxnOp,
    TxnReply,
};

use super::checks::history::{Outcome, Request};

/// Asks; says what came of it, and whether the connection can be used on.
pub async fn serve(client: &mut Client, request: &Request) -> (Outcome, bool) {
    match ask(client, request).await {
        Ok(outcome) => (outcome, true),
        Err(error) => (refusal(request, &error), !is_broken(&error)),
    }
}

/// Whether a call has failed because of the connection, so that a new one is needed.
pub fn is_broken(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => !is_from_server(status.message()),
        _ => true,
    }
}

async fn ask(client: &mut Client, request: &Request) -> Result<Outcome, Error> {
    let outcome = match request {
        Request::Command(command) => Outcome::Changed(change(client, command).await?),
        Request::Range(range) => {
            let mut reply = range_reply(&client.get(range.keys.start.to_vec(), Some(get_options(range))).await?);
            order_equals(range, &mut reply.kvs);
            Outcome::Read(reply)
        }
        Request::KeepAlive(lease) => keep_alive(client, *lease).await?,
        Request::TimeToLive(lease) => {
            let left = client.lease_time_to_live(lease.0, None).await?;
            // A lease that is not there is answered with no time granted.
            Outcome::Granted(Some(left.granted_ttl()).filter(|&granted| granted > 0))
        }
    };
    Ok(outcome)
}

async fn change(client: &mut Client, command: &Command) -> Result<Reply, Error> {
    let reply = match command {
        Command::Put(put) => {
            let (key, value) = (put.key.to_vec(), put.value.to_vec());
            Reply::Put(put_reply(&client.put(key, value, Some(put_options(put))).await?))
        }
        Command::DeleteRange(delete) => {
            let key = delete.keys.start.to_vec();
            Reply::DeleteRange(delete_reply(&client.delete(key, Some(delete_options(delete))).await?))
        }
        Command::Txn(txn) => Reply::Txn(txn_reply(&client.txn(txn_request(txn)).await?)),
        Command::Compact(compact) => {
            let mut options = CompactionOptions::new();
            if compact.physical {
                options = options.with_physical();
            }
            let response = client.compact(compact.revision.0, Some(options)).await?;
            Reply::Compact { revision: revision(response.header()) }
        }
        Command::LeaseGrant(grant) => {
            let response = client.lease_grant(grant.ttl, None).await?;
            let (revision, id, ttl) = (revision(response.header()), LeaseId(response.id()), response.ttl());
            Reply::LeaseGrant(GrantReply { revision, id, ttl })
        }
        Command::LeaseRevoke(revoke) => {
            let response = client.lease_revoke(revoke.id.0).await?;
            Reply::LeaseRevoke { revision: revision(response.header()) }
        }
        other => unreachable!("no client asks for {other:?}"),
    };
    Ok(reply)
}

/// Renews a lease twice over one stream: the client shows the time only of the second answer.
async fn keep_alive(client: &mut Client, lease: LeaseId) -> Result<Outcome, Error> {
    let (mut keeper, mut answers) = match client.lease_keep_alive(lease.0).await {
        Ok(both) => both,
        Err(Error::LeaseKeepAliveError(_)) => return Ok(Outcome::KeptAlive(0)),
        Err(error) => return Err(error),
    };
    keeper.keep_alive().await?;
    match answers.message().await? {
        Some(answer) => Ok(Outcome::KeptAlive(answer.ttl().max(0))),
        None => Ok(Outcome::Unknown),
    }
}

/// What an error says of the request. What the wire does not tell is taken so that it accuses nobody.
fn refusal(request: &Request, error: &Error) -> Outcome {
    let Error::GRpcStatus(status) = error else { return Outcome::Unknown };
    let text = status.message();
    match text {
        "etcdserver: key not found" => Outcome::Rejected(Rejection::KeyNotFound),
        "etcdserver: requested lease not found" => Outcome::Rejected(Rejection::LeaseNotFound),
        "etcdserver: lease already exists" => Outcome::Rejected(Rejection::LeaseExists),
        "etcdserver: mvcc: required revision has been compacted" => {
            let (requested, compacted) = match request {
                Request::Command(Command::Compact(compact)) => (compact.revision, compact.revision),
                Request::Range(range) => (Revision(range.revision), Revision(range.revision).next()),
                _ => return Outcome::Unknown,
            };
            Outcome::Rejected(Rejection::Compacted { requested, compacted })
        }
        "etcdserver: mvcc: required revision is a future revision" => {
            let requested = match request {
                Request::Command(Command::Compact(compact)) => compact.revision,
                Request::Range(range) => Revision(range.revision),
                _ => return Outcome::Unknown,
            };
            Outcome::Rejected(Rejection::FutureRevision { requested, current: requested.previous() })
        }
        "etcdserver: too many requests"
        | "etcdserver: request is too large"
        | "etcdserver: mvcc: database space exceeded" => Outcome::NotDone,
        // There was no connection to send it by.
        "tcp connect error" => Outcome::NotDone,
        _ => match request {
            Request::Range(_) | Request::TimeToLive(_) => Outcome::NotDone,
            Request::Command(_) | Request::KeepAlive(_) => Outcome::Unknown,
        },
    }
}

fn is_from_server(text: &str) -> bool {
    text.starts_with("etcdserver: ")
}

fn revision(header: Option<&ResponseHeader>) -> Revision {
    Revision(header.expect("every answer has a header").revision())
}

/// A pair as it came.
pub fn record(pair: &etcd_client::KeyValue) -> Record {
    Record::new(&KeyValue {
        key: pair.key(),
        value: pair.value(),
        create_revision: Revision(pair.create_revision()),
        mod_revision: Revision(pair.mod_revision()),
        version: pair.version(),
        lease: LeaseId(pair.lease()),
    })
}

/// The end of a range as etcd's clients send it; `None` for a single key.
pub fn range_end(keys: &KeyRange) -> Option<Vec<u8>> {
    match &keys.end {
        RangeEnd::Single => None,
        RangeEnd::Before(end) => Some(end.to_vec()),
        RangeEnd::Unbounded => Some(vec![0]),
    }
}

/// Every key.
pub fn everything() -> KeyRange {
    KeyRange { start: Bytes::from_static(&[0]), end: RangeEnd::Unbounded }
}

fn put_options(put: &Put) -> PutOptions {
    let mut options = PutOptions::new().with_lease(put.lease.0);
    if put.prev_kv {
        options = options.with_prev_key();
    }
    if put.ignore_value {
        options = options.with_ignore_value();
    }
    if put.ignore_lease {
        options = options.with_ignore_lease();
    }
    options
}

fn delete_options(delete: &DeleteRange) -> DeleteOptions {
    let mut options = DeleteOptions::new();
    if let Some(end) = range_end(&delete.keys) {
        options = options.with_range(end);
    }
    if delete.prev_kv {
        options = options.with_prev_key();
    }
    options
}

fn get_options(range: &Range) -> GetOptions {
    let order = match range.sort_order {
        SortOrder::None => etcd_client::SortOrder::None,
        SortOrder::Ascend => etcd_client::SortOrder::Ascend,
        SortOrder::Descend => etcd_client::SortOrder::Descend,
    };
    let target = match range.sort_target {
        SortTarget::Key => etcd_client::SortTarget::Key,
        SortTarget::Version => etcd_client::SortTarget::Version,
        SortTarget::Create => etcd_client::SortTarget::Create,
        SortTarget::Mod => etcd_client::SortTarget::Mod,
        SortTarget::Value => etcd_client::SortTarget::Value,
    };
    let mut options = GetOptions::new().with_limit(range.limit).with_revision(range.revision).with_sort(target, order);
    if let Some(end) = range_end(&range.keys) {
        options = options.with_range(end);
    }
    if range.serializable {
        options = options.with_serializable();
    }
    if range.keys_only {
        options = options.with_keys_only();
    }
    if range.count_only {
        options = options.with_count_only();
    }
    options
}

fn txn_request(txn: &Txn) -> etcd_client::Txn {
    let compares: Vec<_> = txn.compare.iter().map(compare).collect();
    let ops = |ops: &[TxnOp]| ops.iter().map(txn_op).collect::<Vec<_>>();
    etcd_client::Txn::new().when(compares).and_then(ops(&txn.success)).or_else(ops(&txn.failure))
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    let key = compare.keys.start.to_vec();
    let how = match compare.result {
        CompareResult::Equal => CompareOp::Equal,
        CompareResult::Greater => CompareOp::Greater,
        CompareResult::Less => CompareOp::Less,
        CompareResult::NotEqual => CompareOp::NotEqual,
        CompareResult::Unknown => unreachable!("no client compares so"),
    };
    match &compare.target {
        CompareTarget::Version(version) => etcd_client::Compare::version(key, how, *version),
        CompareTarget::Create(revision) => etcd_client::Compare::create_revision(key, how, *revision),
        CompareTarget::Mod(revision) => etcd_client::Compare::mod_revision(key, how, *revision),
        CompareTarget::Value(value) => etcd_client::Compare::value(key, how, value.to_vec()),
        CompareTarget::Lease(lease) => etcd_client::Compare::lease(key, how, *lease),
        CompareTarget::Unknown => unreachable!("no client compares that"),
    }
}

fn txn_op(op: &TxnOp) -> etcd_client::TxnOp {
    match op {
        TxnOp::Range(range) => etcd_client::TxnOp::get(range.keys.start.to_vec(), Some(get_options(range))),
        TxnOp::Put(put) => etcd_client::TxnOp::put(put.key.to_vec(), put.value.to_vec(), Some(put_options(put))),
        TxnOp::DeleteRange(delete) => {
            etcd_client::TxnOp::delete(delete.keys.start.to_vec(), Some(delete_options(delete)))
        }
        TxnOp::Txn(nested) => etcd_client::TxnOp::txn(txn_request(nested)),
    }
}

fn put_reply(response: &PutResponse) -> PutReply {
    PutReply { revision: revision(response.header()), prev: response.prev_key().map(record) }
}

fn delete_reply(response: &DeleteResponse) -> DeleteReply {
    let prev = response.prev_kvs().iter().map(record).collect();
    DeleteReply { revision: revision(response.header()), deleted: response.deleted(), prev }
}

fn range_reply(response: &GetResponse) -> RangeReply {
    let kvs = response.kvs().iter().map(record).collect();
    RangeReply { revision: revision(response.header()), kvs, more: response.more(), count: response.count() }
}

/// Puts those in order of key that are equal in what the range is sorted by: etcd leaves that to its way of sorting.
fn order_equals(range: &Range, pairs: &mut [Record]) {
    let same = |a: &Record, b: &Record| {
        let (a, b) = (a.pair(), b.pair());
        match range.sort_target {
            SortTarget::Key => a.key == b.key,
            SortTarget::Version => a.version == b.version,
            SortTarget::Create => a.create_revision == b.create_revision,
            SortTarget::Mod => a.mod_revision == b.mod_revision,
            SortTarget::Value => a.value == b.value,
        }
    };
    for equals in pairs.chunk_by_mut(same) {
        equals.sort_by(|a, b| a.key().cmp(b.key()));
    }
}

fn txn_reply(response: &TxnResponse) -> TxnReply {
    nested_reply(response, revision(response.header()))
}

fn nested_reply(response: &TxnResponse, revision: Revision) -> TxnReply {
    let op = |response| match response {
        TxnOpResponse::Put(put) => OpReply::Put(put_reply(&put)),
        TxnOpResponse::Get(get) => OpReply::Range(range_reply(&get)),
        TxnOpResponse::Delete(delete) => OpReply::DeleteRange(delete_reply(&delete)),
        // The workload's nested txns are such that the revision after them is that of the whole; the wire does not tell.
        TxnOpResponse::Txn(nested) => OpReply::Txn(nested_reply(&nested, revision)),
    };
    let responses = response.op_responses().into_iter().map(op).collect();
    TxnReply { revision, succeeded: response.succeeded(), responses }
}
