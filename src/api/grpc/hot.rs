//! The calls that most requests are: Range, Put, DeleteRange, Txn.
//!
//! They take the same steps as the ordinary service in `kv` (`decode`, a verb of the node, `encode`), but are run by the
//! task of the connection itself, which keeps many of them on their way without a task for each. A test holds both ways
//! equal.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tonic::Status;

use super::access::Credentials;
use super::decode::{self, TxnCall};
use super::parts::{Parts, pair_bytes};
use super::{Api, PREFIX_BYTES, SENT_MESSAGE_BYTES_MAX, encode, guard, status};
use crate::model::{Range, RangeReply, Reply, Txn};
use crate::node::{Consistency, Node, NodeError, Outcome, Proposal, RangeAnswer};

/// A message of more bytes is encoded as it is sent.
pub(super) const WHOLE_BYTES_MAX: usize = 512 * 1024;

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hot {
    /// `KV/Range`
    Range,
    /// `KV/Put`
    Put,
    /// `KV/DeleteRange`
    DeleteRange,
    /// `KV/Txn`
    Txn,
}

impl Hot {
    /// How many there are.
    pub(super) const COUNT: usize = 4;
    /// All of them, in order.
    pub(super) const ALL: [Hot; Hot::COUNT] = [Hot::Range, Hot::Put, Hot::DeleteRange, Hot::Txn];

    /// The call of a path, if it is a hot one.
    pub(crate) fn of(path: &str) -> Option<Hot> {
        match path.strip_prefix("/etcdserverpb.KV/")? {
            "Range" => Some(Hot::Range),
            "Put" => Some(Hot::Put),
            "DeleteRange" => Some(Hot::DeleteRange),
            "Txn" => Some(Hot::Txn),
            _ => None,
        }
    }
}

/// How a call goes on.
pub(crate) enum Answer {
    /// This is the answer.
    Now(Result<Framed, Status>),
    /// The answer needs time.
    Later(Pin<Box<dyn Future<Output = Result<Framed, Status>> + Send>>),
    /// This is to be proposed; [`finish`] makes the answer of its outcome.
    Propose(Proposal),
    /// This must pass the barrier first; then [`read_for_nobody`] answers it.
    Read(Box<Range>),
}

/// A framed message.
pub(crate) enum Framed {
    /// It is short.
    Whole(Bytes),
    /// It is encoded as it is sent.
    Parts(Box<Parts>),
}

/// Begins a call for whoever shows `credentials`, which are asked for only if callers have to prove who they are.
pub(crate) fn start_by(hot: Hot, message: Bytes, credentials: impl FnOnce() -> Credentials, api: &Api) -> Answer {
    if !api.node.is_auth_enabled() {
        return start(hot, message, api);
    }
    let (credentials, api) = (credentials(), api.clone());
    match decoded(hot, message, &api) {
        Decoded::Answered(answer) => answer,
        Decoded::Read(query) => read_now_by(&query, &credentials, &api)
            .unwrap_or_else(|| Answer::Later(Box::pin(async move { range_by(query, &credentials, &api).await }))),
        Decoded::ReadTxn(txn, consistency) => {
            Answer::Later(Box::pin(async move { read_txn_by(txn, consistency, &credentials, &api).await }))
        }
        // Apply asks whether the caller may.
        Decoded::Write(proposal) => match credentials.session_now(&api.node) {
            Some(Ok(session)) => Answer::Propose(session.signed(proposal)),
            Some(Err(refused)) => Answer::Now(Err(refused)),
            None => Answer::Later(Box::pin(async move {
                let session = credentials.session(&api.node).await?;
                finish(session.propose(proposal).await, &api)
            })),
        },
    }
}

/// A call of somebody who has to prove who it is, as far as that does not matter yet.
enum Decoded {
    /// It is refused as it is, whoever asks.
    Answered(Answer),
    Read(Range),
    ReadTxn(Txn, Consistency),
    Write(Proposal),
}

fn decoded(hot: Hot, message: Bytes, api: &Api) -> Decoded {
    let refused = |status| Decoded::Answered(Answer::Now(Err(status)));
    match hot {
        Hot::Range => {
            let query = decode::range(message);
            let admitted = query.and_then(|query| guard::admit_range(&api.node, &query).map(|()| query));
            admitted.map_or_else(refused, Decoded::Read)
        }
        Hot::Txn => match decode::txn(message.clone(), api.limits.txn_ops_max) {
            Ok(TxnCall::Read(txn, consistency)) => Decoded::ReadTxn(txn, consistency),
            Ok(TxnCall::Write(proposal)) => Decoded::Write(proposal),
            Err(status) => {
                refuse_for_quota(&Proposal::txn(message), api).map_or_else(|| refused(status), Decoded::Answered)
            }
        },
        Hot::Put | Hot::DeleteRange => match start(hot, message, api) {
            Answer::Propose(proposal) => Decoded::Write(proposal),
            answer => Decoded::Answered(answer),
        },
    }
}

/// Answers a read on the spot, if the caller is known at once and so is the answer.
fn read_now_by(query: &Range, credentials: &Credentials, api: &Api) -> Option<Answer> {
    let session = credentials.session_now(&api.node)?;
    let reply = api.node.range_now(query)?;
    // Asked after the read: it is refused too if users or roles have changed since the session was made.
    let allowed = session.and_then(|session| session.authorize(query).map_err(|error| status::of(&error)));
    Some(Answer::Now(allowed.and_then(|()| range_answer(reply, &api.node))))
}

async fn read_txn_by(
    txn: Txn,
    consistency: Consistency,
    credentials: &Credentials,
    api: &Api,
) -> Result<Framed, Status> {
    let session = credentials.session(&api.node).await?;
    let reply = session.read_txn(&txn, consistency).await.map_err(|error| status::of(&error))?;
    short_or(encode::txn(reply, api.node.header()), Parts::txn)
}

/// The barrier comes before the question who asks, as in etcd.
async fn range_by(query: Range, credentials: &Credentials, api: &Api) -> Result<Framed, Status> {
    let node = &api.node;
    if !query.serializable {
        node.pass_barrier_now().await.map_err(|error| status::of(&error))?;
    }
    let session = credentials.session(node).await?;
    session.authorize(&query).map_err(|error| status::of(&error))?;
    let answer = match read(query, api) {
        Answer::Later(answer) => answer.await,
        Answer::Now(answer) => answer,
        Answer::Propose(_) | Answer::Read(_) => Err(Status::internal("a read was taken for something else")),
    };
    // What is sent in windows is one state, and it was this one.
    session.check_unchanged().map_err(|error| status::of(&error))?;
    answer
}

/// Begins a call that nobody has to prove anything for.
fn start(hot: Hot, message: Bytes, api: &Api) -> Answer {
    let checked = match hot {
        Hot::Range => range(message, api),
        Hot::Put => decode::put(message.clone())
            .map(Answer::Propose)
            .or_else(|refused| refuse_for_quota(&Proposal::put(message), api).ok_or(refused)),
        Hot::DeleteRange => decode::delete_range(message).map(Answer::Propose),
        Hot::Txn => {
            txn(message.clone(), api).or_else(|refused| refuse_for_quota(&Proposal::txn(message), api).ok_or(refused))
        }
    };
    checked.unwrap_or_else(|status| Answer::Now(Err(status)))
}

/// The quota comes before all other checks: a request that is refused for one of them hears of the quota, if that has no
/// room for it either. One that passes them meets the quota when it is proposed.
fn refuse_for_quota(refused: &Proposal, api: &Api) -> Option<Answer> {
    let node = api.node.clone();
    node.is_over_quota(refused.cost())
        .then(|| Answer::Later(Box::pin(async move { Err(status::of(&node.refuse_for_quota().await)) })))
}

fn range(message: Bytes, api: &Api) -> Result<Answer, Status> {
    let query = decode::range(message)?;
    guard::admit_range(&api.node, &query)?;
    if let Some(reply) = api.node.range_now(&query) {
        return Ok(Answer::Now(range_answer(reply, &api.node)));
    }
    Ok(if query.serializable { read_long(query, api) } else { Answer::Read(Box::new(query)) })
}

/// Answers a read that has passed the barrier, and for which nobody had to prove anything when it came. Only now does this
/// member surely know of an enabling that was answered before: then it is refused, and the client asks again with a token.
pub(crate) fn read_for_nobody(query: Range, api: &Api) -> Answer {
    if api.node.is_auth_enabled()
        && let Err(refused) = api.node.nobody().authorize(&query)
    {
        return Answer::Now(Err(status::of(&refused)));
    }
    read(query, api)
}

/// Answers a read that has passed the barrier.
fn read(query: Range, api: &Api) -> Answer {
    match api.node.range_now_behind_barrier(&query) {
        Some(reply) => Answer::Now(range_answer(reply, &api.node)),
        None => read_long(query, api),
    }
}

fn read_long(query: Range, api: &Api) -> Answer {
    let node = api.node.clone();
    Answer::Later(Box::pin(async move {
        let answer = node.range_bounded(&query, pair_bytes).await.map_err(|error| status::of(&error))?;
        let header = node.header();
        match answer {
            RangeAnswer::Short(reply) => whole(&encode::range(reply, header)),
            RangeAnswer::Long(windows) => {
                in_parts(Parts::windows(encode::range(windows.reply().clone(), header), windows))
            }
            RangeAnswer::Sorted(reply, room) => in_parts(Parts::range(encode::range(reply, header), Some(room))),
        }
    }))
}

fn range_answer(reply: Result<RangeReply, NodeError>, node: &Node) -> Result<Framed, Status> {
    let reply = reply.map_err(|error| status::of(&error))?;
    whole(&encode::range(reply, node.header()))
}

fn txn(message: Bytes, api: &Api) -> Result<Answer, Status> {
    let (txn, consistency) = match decode::txn(message, api.limits.txn_ops_max)? {
        TxnCall::Write(proposal) => return Ok(Answer::Propose(proposal)),
        TxnCall::Read(txn, consistency) => (txn, consistency),
    };
    // Asked again behind the barrier, as in `read_for_nobody`.
    let node = api.node.nobody();
    Ok(Answer::Later(Box::pin(async move {
        let reply = node.read_txn(&txn, consistency).await.map_err(|error| status::of(&error))?;
        short_or(encode::txn(reply, node.header()), Parts::txn)
    })))
}

/// Makes the answer of an outcome.
pub(crate) fn finish(outcome: Outcome, api: &Api) -> Result<Framed, Status> {
    let header = api.node.header();
    match outcome.map_err(|error| status::of(&error))? {
        Reply::Put(reply) => whole(&encode::put(reply, header)),
        Reply::DeleteRange(reply) => short_or(encode::delete_range(reply, header), Parts::delete_range),
        Reply::Txn(reply) => short_or(encode::txn(reply, header), Parts::txn),
        reply @ (Reply::Compact { .. }
        | Reply::LeaseGrant(_)
        | Reply::LeaseRevoke { .. }
        | Reply::Alarm { .. }
        | Reply::Authenticate { .. }
        | Reply::Done { .. }) => Err(Status::internal(format!("a call was answered with {reply:?}"))),
    }
}

fn short_or<M: Message>(message: M, parts: impl FnOnce(M) -> Result<Parts, Status>) -> Result<Framed, Status> {
    if message.encoded_len() <= WHOLE_BYTES_MAX { whole(&message) } else { in_parts(parts(message)) }
}

fn whole(message: &impl Message) -> Result<Framed, Status> {
    frame(message).map(Framed::Whole)
}

fn in_parts(parts: Result<Parts, Status>) -> Result<Framed, Status> {
    parts.map(|parts| Framed::Parts(Box::new(parts)))
}

/// A message as it travels: not compressed, length, bytes. One allocation.
pub(super) fn frame(message: &impl Message) -> Result<Bytes, Status> {
    let len = message.encoded_len();
    let length = u32::try_from(len).ok().filter(|_| len <= SENT_MESSAGE_BYTES_MAX);
    let length = length.ok_or_else(|| status::sent_too_large(len, SENT_MESSAGE_BYTES_MAX))?;
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + len);
    out.put_u8(0);
    out.put_u32(length);
    message.encode_raw(&mut out);
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::grpc::testing::{api, soon};
    use crate::model::{
        Command, Compact, DeleteRange, KeyRange, LeaseId, Put, RangeEnd, Revision, SortOrder, SortTarget, Txn, TxnOp,
    };
    use crate::proto::etcdserverpb as pb;

    /// Pairs of the store of a test; all of them are more than is answered whole.
    const KEYS: i64 = 200;
    const VALUE_BYTES: usize = 8 * 1024;

    fn put(key: i64) -> Put {
        let lease = if key % 3 == 0 { LeaseId(1) } else { LeaseId::NONE };
        let value = vec![b'a' + (key % 7) as u8; VALUE_BYTES + key as usize];
        Put { key: name(key), value: value.into(), lease, ..Put::default() }
    }

    fn name(key: i64) -> Bytes {
        format!("{key:04}").into()
    }

    fn all() -> KeyRange {
        KeyRange { start: Bytes::from_static(&[0]), end: RangeEnd::Unbounded }
    }

    async fn filled() -> Api {
        let api = soon(api()).await;
        api.node.lease_grant(LeaseId(1), 600).await.unwrap();
        for key in (0..KEYS).chain(50..70) {
            api.node.propose(Proposal::from(&Command::Put(put(key)))).await.unwrap();
        }
        api
    }

    /// The bytes that are sent, and whether they were encoded as they were sent.
    async fn sent(answer: Result<Framed, Status>) -> (Vec<u8>, bool) {
        match answer.unwrap() {
            Framed::Whole(bytes) => (bytes.to_vec(), false),
            Framed::Parts(mut parts) => {
                let mut bytes = Vec::new();
                while let Some(piece) = soon(parts.next()).await.unwrap() {
                    bytes.extend_from_slice(&piece);
                }
                (bytes, true)
            }
        }
    }

    #[tokio::test]
    async fn ranges_of_all_sizes_are_answered_alike() {
        let api = filled().await;
        let orders = [
            (SortOrder::None, SortTarget::Key),
            (SortOrder::Descend, SortTarget::Key),
            (SortOrder::Ascend, SortTarget::Value),
            (SortOrder::None, SortTarget::Mod),
        ];
        let mut in_parts = 0;
        for (sort_order, sort_target) in orders {
            for (limit, revision, keys_only, min_mod_revision) in [
                (0, 0, false, 0),
                (1, 0, false, 0),
                (150, 0, false, 0),
                (KEYS, 0, false, 100),
                (0, 0, true, 0),
                (120, KEYS / 2 + 60, false, 0),
                (0, KEYS + 5, false, 40),
            ] {
                let query = Range { limit, revision, keys_only, min_mod_revision, ..Range::of(all()) };
                let query = Range { sort_order, sort_target, ..query };
                let reply = api.node.range(&query).await.unwrap();
                let expected = frame(&encode::range(reply, api.node.header())).unwrap();
                let Answer::Later(answer) = read_long(query.clone(), &api) else { panic!("it takes time: {query:?}") };
                let (bytes, was_in_parts) = sent(soon(answer).await).await;
                assert!(bytes == expected, "{query:?}");
                in_parts += u32::from(was_in_parts);
            }
        }
        assert!(in_parts >= 4 * 4, "{in_parts}");
        api.node.stop().await;
    }

    #[tokio::test]
    async fn what_is_large_is_not_answered_on_the_spot() {
        let api = filled().await;
        let range = |range_end: &'static [u8], keys_only| {
            let (key, range_end) = (Bytes::from_static(b"0"), Bytes::from_static(range_end));
            let request = pb::RangeRequest { key, range_end, keys_only, ..Default::default() };
            Bytes::from(request.encode_to_vec())
        };
        assert!(matches!(start(Hot::Range, range(b"0003", false), &api), Answer::Now(Ok(Framed::Whole(_)))));
        assert!(matches!(start(Hot::Range, range(b"1", true), &api), Answer::Now(Ok(Framed::Whole(_)))));
        assert!(matches!(start(Hot::Range, range(b"1", false), &api), Answer::Read(_)));
        api.node.stop().await;
    }

    #[tokio::test]
    async fn large_answers_to_writes_are_sent_in_parts() {
        let api = filled().await;
        let delete = DeleteRange { keys: all(), prev_kv: true };
        let read = TxnOp::Range(Range::of(all()));
        let txn = Txn { success: vec![read.clone(), TxnOp::Put(put(1)), read], ..Txn::default() };
        for command in [Command::Txn(txn), Command::DeleteRange(delete)] {
            let reply = api.node.propose(Proposal::from(&command)).await.unwrap();
            let header = api.node.header();
            let expected = match reply.clone() {
                Reply::Txn(reply) => frame(&encode::txn(reply, header)),
                Reply::DeleteRange(reply) => frame(&encode::delete_range(reply, header)),
                other => panic!("another answer: {other:?}"),
            };
            let (bytes, was_in_parts) = sent(finish(Ok(reply), &api)).await;
            assert!(was_in_parts && bytes == expected.unwrap());
        }
        api.node.stop().await;
    }

    #[tokio::test]
    async fn a_compaction_does_not_disturb_an_answer_under_way_unless_it_took_too_long() {
        let api = filled().await;
        let begin = async || {
            let Answer::Later(answer) = read_long(Range::of(all()), &api) else { panic!("it takes time") };
            let Ok(Framed::Parts(parts)) = soon(answer).await else { panic!("it is large") };
            parts
        };
        let expected = sent(Ok(Framed::Parts(begin().await))).await;
        let (patient, mut impatient) = (begin().await, begin().await);
        impatient.next().await.unwrap();
        impatient.run_out().unwrap();

        for key in 0..KEYS {
            api.node.propose(Proposal::from(&Command::Put(Put { value: Bytes::new(), ..put(key) }))).await.unwrap();
        }
        let revision = Revision(api.node.range(&Range::of(KeyRange::single(name(0)))).await.unwrap().revision.0);
        soon(api.node.compact(Compact { revision, physical: false })).await.unwrap();
        let broken_off = async {
            while impatient.next().await?.is_some() {}
            Ok::<_, Status>(())
        };
        let status = soon(broken_off).await.unwrap_err();
        assert_eq!(status.message(), "etcdserver: mvcc: required revision has been compacted");
        assert!(sent(Ok(Framed::Parts(patient))).await == expected);
        api.node.stop().await;
    }
}
