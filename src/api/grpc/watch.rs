//! Watch: streams of events.
//!
//! A client opens one stream and makes watchers on it, ends them and asks for progress, in any order. What they are
//! told comes back on the same stream.
//!
//! ```text
//!   requests ──> reader task ──> WatchStream ──> Session ──> responses
//!                      └── what each asked for ──┘
//! ```
//!
//! The stream lasts as long as the client's call. That the client sends no more is not its end, and no refusal is: a
//! watcher that is not made is told of by a message.
//!
//! Source: etcd API reference, `WatchRequest` and `WatchResponse`; server/etcdserver/api/v3rpc/watch.go of etcd 3.7.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use parking_lot::Mutex;
use prost::Message;
use tokio::task::JoinSet;
use tonic::{Code, Request, Response, Status, Streaming};

use super::access::Credentials;
use super::encode::header;
use super::{Api, guard, status};
use crate::api::MESSAGE_BYTES_SPARE;
use crate::metrics::Stopwatch;
use crate::model::{KeyRange, Revision, WatchId};
use crate::node::{Node, NodeError, WatchRefusal, WatchSpec, WatchStream, WatchUpdate};
use crate::proto::etcdserverpb::watch_create_request::FilterType;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::watch_server::Watch;
use crate::proto::etcdserverpb::{WatchCreateRequest, WatchRequest};
use crate::proto::{Events, WatchResponse, event_len};

/// The id in a message that is of no watcher: a refusal, or the progress of all.
const NO_WATCHER: i64 = -1;

/// etcd's `etcdserverpb.Watch`.
#[derive(Debug, Clone)]
pub(crate) struct WatchService(pub(crate) Api);

type Responses = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = Responses;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Responses>, Status> {
        let (node, headers) = (self.0.node.clone(), request.metadata().clone().into_headers());
        let credentials = Credentials::of_request(&request);
        let end = async move { guard::stream_end(node, &headers).await };
        Ok(Response::new(serve(&self.0, credentials, request.into_inner(), end)))
    }
}

/// Answers one call, until `end` says why not to any more. Dropping the responses ends the call and all its watchers.
fn serve(
    api: &Api,
    credentials: Credentials,
    requests: impl Stream<Item = Result<WatchRequest, Status>> + Send + 'static,
    end: impl Future<Output = Status> + Send + 'static,
) -> Responses {
    let session = Session::start(api, credentials, requests, end);
    // The session is gone after an error: that is the last thing the client hears.
    Box::pin(stream::unfold(Some(session), |session| async {
        let mut session = session?;
        let response = session.next().await;
        let session = response.is_ok().then_some(session);
        Some((response, session))
    }))
}

/// What the reader and the session of one call share.
#[derive(Debug)]
struct Call {
    stream: WatchStream,
    /// For each watcher that is being made, what it asked of its messages; in the order of the requests, in which the
    /// stream tells of them. No more than there are: the stream takes a request when it has room for its answer.
    creating: Mutex<VecDeque<Asked>>,
}

/// What a watcher asked of its messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Asked {
    /// Large messages may come in parts.
    fragment: bool,
    /// Why the caller may not have it.
    denied: Option<&'static str>,
}

/// One client's call: makes messages of what its watchers are told.
struct Session {
    node: Node,
    call: Arc<Call>,
    /// The task that reads requests, until the client sends no more; ends with the session.
    reader: JoinSet<Result<(), Status>>,
    /// What ends the call from outside.
    end: Pin<Box<dyn Future<Output = Status> + Send>>,
    /// Watchers that asked for something.
    asked: HashMap<WatchId, Asked>,
    /// From how many bytes on a message is large.
    fragment_bytes: usize,
    /// What is left of a large message.
    parts: VecDeque<WatchResponse>,
    /// What the last message was, since it was made.
    sending: Option<(Said, Stopwatch)>,
}

/// What a message is, for those who measure how long it takes to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// So many events.
    Events(u32),
    Answer,
    Progress,
}

impl Session {
    fn start(
        api: &Api,
        credentials: Credentials,
        requests: impl Stream<Item = Result<WatchRequest, Status>> + Send + 'static,
        end: impl Future<Output = Status> + Send + 'static,
    ) -> Session {
        let call = Arc::new(Call { stream: api.node.watch(), creating: Mutex::default() });
        let mut reader = JoinSet::new();
        reader.spawn(read(requests, call.clone(), (api.node.clone(), credentials)));
        Session {
            node: api.node.clone(),
            call,
            reader,
            end: Box::pin(end),
            asked: HashMap::new(),
            fragment_bytes: api.limits.request_bytes_max + MESSAGE_BYTES_SPARE,
            parts: VecDeque::new(),
            sending: None,
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// Why the call ends: the node stops, the leader that the client asked for is lost, or the client's requests cannot
    /// be read any more.
    async fn next(&mut self) -> Result<WatchResponse, Status> {
        // Asked for once the last one is on its way.
        self.measure_last();
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Ok(part);
            }
            tokio::select! {
                // Updates first: they are many, and a broken request has time until they have been told.
                biased;
                update = self.call.stream.next() => {
                    let update = update.ok_or_else(|| status::of(&NodeError::Stopped))?;
                    self.count(&update);
                    return Ok(self.respond(update));
                }
                // Not asked any more after the client has sent its last request.
                Some(read) = self.reader.join_next() => {
                    let read = read.map_err(|error| Status::internal(error.to_string()))?;
                    read.inspect_err(|error| guard::count_broken(&self.node, "watch", error))?;
                }
                end = &mut self.end => return Err(end),
            }
        }
    }

    /// Counts what is about to be said.
    fn count(&mut self, update: &WatchUpdate) {
        let said = match update {
            WatchUpdate::Events { events, .. } => {
                self.node.metrics().watch.events.inc_by(events.len() as u64);
                Said::Events(u32::try_from(events.len()).unwrap_or(u32::MAX))
            }
            WatchUpdate::Progress { .. } => Said::Progress,
            WatchUpdate::Created { .. }
            | WatchUpdate::Refused { .. }
            | WatchUpdate::Canceled { .. }
            | WatchUpdate::Compacted { .. } => Said::Answer,
        };
        self.sending = Some((said, Stopwatch::start()));
    }

    fn measure_last(&mut self) {
        let Some((said, watch)) = self.sending.take() else { return };
        let (metrics, seconds) = (&self.node.metrics().watch, watch.seconds());
        match said {
            Said::Events(count) => {
                metrics.events_sent.observe(seconds);
                metrics.event_sent.observe(seconds / f64::from(count.max(1)));
            }
            Said::Answer => metrics.answer_sent.observe(seconds),
            Said::Progress => metrics.progress_sent.observe(seconds),
        }
    }

    fn respond(&mut self, update: WatchUpdate) -> WatchResponse {
        match update {
            WatchUpdate::Created { id, revision } => {
                self.created(id);
                WatchResponse { created: true, ..self.response(id.0, revision) }
            }
            WatchUpdate::Refused { refusal, revision } => {
                let asked = self.call.creating.lock().pop_front().unwrap_or_default();
                WatchResponse {
                    created: true,
                    canceled: true,
                    cancel_reason: reason(refusal, asked).to_owned(),
                    ..self.response(NO_WATCHER, revision)
                }
            }
            WatchUpdate::Events { id, revision, events } => {
                // Shared, not copied: their bytes are written when the message is.
                let response = WatchResponse { events: events.into(), ..self.response(id.0, revision) };
                let is_large = || response.events.len() > 1 && response.encoded_len() >= self.fragment_bytes;
                if self.asked.get(&id).is_some_and(|asked| asked.fragment) && is_large() {
                    return self.first_part(response);
                }
                response
            }
            WatchUpdate::Progress { id, revision } => self.response(id.map_or(NO_WATCHER, |id| id.0), revision),
            WatchUpdate::Canceled { id, revision } => {
                self.asked.remove(&id);
                WatchResponse { canceled: true, ..self.response(id.0, revision) }
            }
            WatchUpdate::Compacted { id, compacted } => {
                self.asked.remove(&id);
                // Clients know it by the compacted revision; header revision and reason stay empty, as in etcd.
                WatchResponse {
                    canceled: true,
                    compact_revision: compacted.0,
                    ..self.response(id.0, Revision::default())
                }
            }
        }
    }

    fn created(&mut self, id: WatchId) {
        let asked = self.call.creating.lock().pop_front().unwrap_or_default();
        if asked == Asked::default() {
            self.asked.remove(&id);
        } else {
            self.asked.insert(id, asked);
        }
    }

    fn response(&self, watch_id: i64, revision: Revision) -> WatchResponse {
        WatchResponse { header: Some(header(self.node.header(), revision)), watch_id, ..WatchResponse::default() }
    }

    /// Splits a large message; the parts after the first come next.
    fn first_part(&mut self, response: WatchResponse) -> WatchResponse {
        self.parts = split(response, self.fragment_bytes);
        self.parts.pop_front().expect("a message has a part at least")
    }
}

/// Hands requests to the stream, until the client sends no more.
async fn read(
    requests: impl Stream<Item = Result<WatchRequest, Status>> + Send + 'static,
    call: Arc<Call>,
    (node, credentials): (Node, Credentials),
) -> Result<(), Status> {
    let mut requests = std::pin::pin!(requests);
    while let Some(request) = requests.next().await {
        match request?.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                let mut spec = spec(&create);
                let denied = denial(&node, &credentials, &spec).await;
                spec.is_denied = denied.is_some();
                call.creating.lock().push_back(Asked { fragment: create.fragment, denied });
                call.stream.create(spec).await;
            }
            Some(RequestUnion::CancelRequest(cancel)) => call.stream.cancel(WatchId(cancel.watch_id)).await,
            Some(RequestUnion::ProgressRequest(_)) => call.stream.request_progress().await,
            // Of a later version, or nothing: passed over.
            None => {}
        }
    }
    Ok(())
}

/// What a request asks to watch. Keys are copied: they stay as long as the watcher, the buffer of the connection that
/// they came in must not.
pub(super) fn spec(request: &WatchCreateRequest) -> WatchSpec {
    let key: &[u8] = if request.key.is_empty() { &[0] } else { &request.key };
    let has = |filter: FilterType| request.filters.contains(&filter.into());
    WatchSpec {
        keys: KeyRange::new(Bytes::copy_from_slice(key), Bytes::copy_from_slice(&request.range_end)),
        start_revision: request.start_revision,
        id: (request.watch_id != 0).then_some(WatchId(request.watch_id)),
        prev_kv: request.prev_kv,
        progress_notify: request.progress_notify,
        no_put: has(FilterType::Noput),
        no_delete: has(FilterType::Nodelete),
        is_denied: false,
    }
}

/// What etcd calls it if a caller may not watch: here the whole error stands in the message.
const PERMISSION_DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

/// Why the caller may not read the keys of a watcher. Asked anew for each: users and roles may change while the stream is
/// open. What a watcher gets that was made is not asked any more.
async fn denial(node: &Node, credentials: &Credentials, spec: &WatchSpec) -> Option<&'static str> {
    if !node.is_auth_enabled() {
        return None;
    }
    let checked = match credentials.session(node).await {
        Ok(session) => session.authorize(&spec.keys).map_err(|error| status::of(&error)),
        Err(refused) => Err(refused),
    };
    let refused = checked.err()?;
    Some(match refused.code() {
        Code::Unauthenticated => "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        Code::InvalidArgument if refused.message() == "etcdserver: revision of auth store is old" => {
            "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"
        }
        Code::InvalidArgument => "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
        _ => PERMISSION_DENIED,
    })
}

/// What etcd calls a refusal in a message. No gRPC errors: the stream goes on.
fn reason(refusal: WatchRefusal, asked: Asked) -> &'static str {
    match refusal {
        WatchRefusal::Denied => asked.denied.unwrap_or(PERMISSION_DENIED),
        WatchRefusal::NegativeStart => "etcdserver: mvcc: required revision has been compacted",
        WatchRefusal::EmptyRange => "mvcc: watcher range is empty",
        WatchRefusal::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
        // etcd has no such bound.
        WatchRefusal::TooMany => "etcdserver: too many requests",
    }
}

/// Splits a message between events, so that each part is below `bytes_max` unless a single event is not. All parts but
/// the last say that more follow.
fn split(response: WatchResponse, bytes_max: usize) -> VecDeque<WatchResponse> {
    let WatchResponse { events, .. } = response;
    let empty = WatchResponse { events: Events::default(), fragment: true, ..response };
    let bytes_empty = empty.encoded_len();

    let mut parts = VecDeque::new();
    let (mut start, mut bytes) = (0, bytes_empty);
    for (at, event) in events.iter().enumerate() {
        let event_bytes = event_len(event);
        if at > start && bytes + event_bytes >= bytes_max {
            parts.push_back(WatchResponse { events: events.part(start..at), ..empty.clone() });
            (start, bytes) = (at, bytes_empty);
        }
        bytes += event_bytes;
    }
    parts.push_back(WatchResponse { events: events.part(start..events.len()), fragment: false, ..empty });
    parts
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;
    use crate::api::grpc::testing::{CLUSTER, MEMBER, api, soon};
    use crate::model::{Command, Compact, DeleteRange, Event, EventKind, KeyValue, LeaseId, Put, Record, Txn, TxnOp};
    use crate::node::Proposal;
    use crate::proto::etcdserverpb::{WatchCancelRequest, WatchProgressRequest};

    /// One client with one stream.
    struct Client {
        api: Api,
        requests: Option<mpsc::Sender<Result<WatchRequest, Status>>>,
        responses: Responses,
    }

    impl Client {
        async fn new() -> Client {
            Client::of(soon(api()).await)
        }

        fn of(api: Api) -> Client {
            let (requests, rx) = mpsc::channel(16);
            let responses = serve(&api, Credentials::default(), ReceiverStream::new(rx), std::future::pending());
            Client { api, requests: Some(requests), responses }
        }

        async fn send(&self, request_union: Option<RequestUnion>) {
            self.requests.as_ref().unwrap().send(Ok(WatchRequest { request_union })).await.unwrap();
        }

        async fn create(&self, request: WatchCreateRequest) {
            self.send(Some(RequestUnion::CreateRequest(request))).await;
        }

        async fn cancel(&self, watch_id: i64) {
            self.send(Some(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))).await;
        }

        async fn next(&mut self) -> WatchResponse {
            soon(self.responses.next()).await.expect("the stream goes on").unwrap()
        }

        async fn propose(&self, command: &Command) -> i64 {
            self.api.node.propose(Proposal::from(command)).await.unwrap().revision().0
        }

        async fn put(&self, key: &'static str, value: &'static str) -> i64 {
            self.propose(&Command::Put(Put { key: key.into(), value: value.into(), ..Put::default() })).await
        }

        async fn delete(&self, key: &'static str) -> i64 {
            let keys = KeyRange::single(key.into());
            self.propose(&Command::DeleteRange(DeleteRange { keys, prev_kv: false })).await
        }

        async fn compact(&self, revision: i64) {
            let compact = Compact { revision: Revision(revision), physical: false };
            self.api.node.compact(compact).await.unwrap();
        }

        async fn stop(self) {
            self.api.node.stop().await;
        }
    }

    fn on(key: &'static str) -> WatchCreateRequest {
        WatchCreateRequest { key: key.into(), ..WatchCreateRequest::default() }
    }

    fn on_all() -> WatchCreateRequest {
        WatchCreateRequest { range_end: Bytes::from_static(&[0]), ..WatchCreateRequest::default() }
    }

    fn revision(response: &WatchResponse) -> i64 {
        response.header.as_ref().unwrap().revision
    }

    /// What the events say, with the value before if there is one.
    fn told(response: &WatchResponse) -> Vec<String> {
        let value = |record: &Record| record.value().escape_ascii().to_string();
        let tell = |event: &Event| {
            let prev = event.prev.as_ref().map_or(String::new(), |prev| format!(" was {}", value(prev)));
            let (kind, key, at) = (event.kind, event.key().escape_ascii(), event.revision());
            format!("{kind:?} {key}={}@{at}{prev}", value(&event.record))
        };
        response.events.iter().map(tell).collect()
    }

    #[test]
    fn an_empty_key_is_the_smallest_and_the_open_end_means_all() {
        let spec = spec(&on_all());
        assert!(spec.keys.contains(b"\0") && spec.keys.contains(b"\xff\xff"));
        let single = super::spec(&WatchCreateRequest::default());
        assert_eq!(single.keys, KeyRange::single(Bytes::from_static(&[0])));
        assert_eq!(single.id, None);
    }

    #[test]
    fn unknown_filters_are_passed_over() {
        let spec = |filters: Vec<i32>| spec(&WatchCreateRequest { filters, ..on("k") });
        assert_eq!(spec(vec![7, 0]), WatchSpec { no_put: true, ..spec(vec![]) });
        assert_eq!(spec(vec![1, -1]), WatchSpec { no_delete: true, ..spec(vec![]) });
    }

    fn large(events: usize, value_bytes: usize) -> WatchResponse {
        let event = |i: usize| {
            let record = Record::new(&KeyValue {
                key: format!("k{i}").as_bytes(),
                value: &vec![7; value_bytes],
                mod_revision: Revision(9),
                create_revision: Revision(9),
                version: 1,
                lease: LeaseId::NONE,
            });
            Event { kind: EventKind::Put, record, prev: None }
        };
        let events: Arc<[Event]> = (0..events).map(event).collect();
        WatchResponse { watch_id: 5, events: events.into(), ..WatchResponse::default() }
    }

    #[test]
    fn a_split_message_keeps_its_events_and_their_order() {
        let whole = large(10, 100);
        for bytes_max in [1, 130, 131, 132, 250, 500, 10_000] {
            let parts = Vec::from(split(whole.clone(), bytes_max));
            let events: Vec<_> = parts.iter().flat_map(|part| part.events.to_vec()).collect();
            assert_eq!(events[..], whole.events[..]);
            let (last, others) = parts.split_last().unwrap();
            assert!(!last.fragment && others.iter().all(|part| part.fragment));
            for part in &parts {
                assert_eq!(part.watch_id, 5);
                assert!(part.encoded_len() < bytes_max || part.events.len() == 1, "{bytes_max}");
            }
            // As full as can be: the next event would not have fitted.
            for (part, next) in parts.iter().zip(parts.iter().skip(1)) {
                assert!(part.encoded_len() + event_len(&next.events[0]) >= bytes_max);
            }
        }
    }

    #[tokio::test]
    async fn a_watcher_hears_puts_and_deletes_of_its_key() {
        let mut client = Client::new().await;
        client.create(on("k")).await;
        let created = client.next().await;
        assert_eq!((created.watch_id, created.created, created.canceled), (0, true, false));
        let header = created.header.unwrap();
        assert_eq!((header.cluster_id, header.member_id, header.revision), (CLUSTER.0, MEMBER.0, 1));
        assert!(header.raft_term > 0);

        client.put("other", "x").await;
        client.put("k", "a").await;
        let response = client.next().await;
        assert_eq!((told(&response), revision(&response)), (vec!["Put k=a@3".to_owned()], 3));
        client.delete("k").await;
        let response = client.next().await;
        assert_eq!((told(&response), revision(&response)), (vec!["Delete k=@4".to_owned()], 4));
        client.stop().await;
    }

    #[tokio::test]
    async fn a_txn_comes_in_one_message() {
        let mut client = Client::new().await;
        client.create(on_all()).await;
        client.next().await;
        let put = |key: &'static str| TxnOp::Put(Put { key: key.into(), ..Put::default() });
        client.propose(&Command::Txn(Txn { success: vec![put("b"), put("a")], ..Txn::default() })).await;
        assert_eq!(told(&client.next().await), ["Put b=@2", "Put a=@2"]);
        client.stop().await;
    }

    #[tokio::test]
    async fn the_pair_before_is_told_to_those_who_ask() {
        let mut client = Client::new().await;
        client.create(WatchCreateRequest { prev_kv: true, watch_id: 1, ..on("k") }).await;
        client.next().await;
        client.put("k", "a").await;
        assert_eq!(told(&client.next().await), ["Put k=a@2"]);
        client.put("k", "b").await;
        assert_eq!(told(&client.next().await), ["Put k=b@3 was a"]);
        client.cancel(1).await;
        client.next().await;

        client.create(on("k")).await;
        client.next().await;
        client.put("k", "c").await;
        assert_eq!(told(&client.next().await), ["Put k=c@4"]);
        client.stop().await;
    }

    #[tokio::test]
    async fn history_is_replayed_from_the_start_revision() {
        let mut client = Client::new().await;
        for value in ["a", "b", "c"] {
            client.put("k", value).await;
        }
        client.create(WatchCreateRequest { start_revision: 3, ..on("k") }).await;
        assert!(client.next().await.created);
        let response = client.next().await;
        assert_eq!((told(&response), revision(&response)), (vec!["Put k=b@3".into(), "Put k=c@4".into()], 4));
        client.stop().await;
    }

    #[tokio::test]
    async fn refusals_are_messages_and_the_stream_goes_on() {
        let mut client = Client::new().await;
        client.put("k", "a").await;
        client.create(WatchCreateRequest { start_revision: -1, ..on("k") }).await;
        client.create(WatchCreateRequest { range_end: "a".into(), ..on("b") }).await;
        client.create(WatchCreateRequest { watch_id: 4, ..on("k") }).await;
        client.create(WatchCreateRequest { watch_id: 4, ..on("k") }).await;
        client.send(None).await;
        client.create(on("k")).await;
        let refused = |response: WatchResponse| {
            assert!(response.created && response.canceled);
            assert_eq!((response.watch_id, response.compact_revision, revision(&response)), (-1, 0, 2));
            response.cancel_reason
        };
        assert_eq!(refused(client.next().await), "etcdserver: mvcc: required revision has been compacted");
        assert_eq!(refused(client.next().await), "mvcc: watcher range is empty");
        assert_eq!(client.next().await.watch_id, 4);
        assert_eq!(refused(client.next().await), "mvcc: duplicate watch ID provided on the WatchStream");
        let created = client.next().await;
        assert_eq!((created.watch_id, created.created, created.canceled), (0, true, false));
        client.stop().await;
    }

    #[tokio::test]
    async fn a_cancel_is_confirmed_and_an_unknown_id_is_not() {
        let mut client = Client::new().await;
        client.create(WatchCreateRequest { watch_id: 4, ..on("k") }).await;
        client.next().await;
        client.cancel(9).await;
        client.cancel(4).await;
        let canceled = client.next().await;
        assert_eq!((canceled.watch_id, canceled.canceled, canceled.created), (4, true, false));
        assert_eq!((canceled.cancel_reason.as_str(), canceled.compact_revision, revision(&canceled)), ("", 0, 1));
        client.stop().await;
    }

    #[tokio::test]
    async fn a_watcher_of_compacted_history_is_created_and_then_cancelled() {
        let mut client = Client::new().await;
        for value in ["a", "b", "c"] {
            client.put("k", value).await;
        }
        client.compact(4).await;
        client.create(WatchCreateRequest { start_revision: 2, ..on("k") }).await;
        assert!(client.next().await.created);
        let canceled = client.next().await;
        assert_eq!((canceled.watch_id, canceled.canceled, canceled.created), (0, true, false));
        assert_eq!((canceled.compact_revision, canceled.cancel_reason.as_str()), (4, ""));
        let header = canceled.header.unwrap();
        assert_eq!((header.revision, header.cluster_id, header.member_id), (0, CLUSTER.0, MEMBER.0));
        client.stop().await;
    }

    #[tokio::test]
    async fn progress_of_all_has_no_watcher() {
        let mut client = Client::new().await;
        client.create(on("k")).await;
        client.next().await;
        client.put("other", "x").await;
        client.send(Some(RequestUnion::ProgressRequest(WatchProgressRequest {}))).await;
        let progress = client.next().await;
        assert_eq!((progress.watch_id, progress.events.len(), revision(&progress)), (-1, 0, 2));
        assert!(!progress.created && !progress.canceled);
        client.stop().await;
    }

    #[tokio::test]
    async fn only_who_asked_for_parts_gets_parts() {
        let mut api = soon(api()).await;
        api.limits.request_bytes_max = 1000;
        let mut client = Client::of(api);
        let value: Bytes = vec![b'x'; MESSAGE_BYTES_SPARE / 2 + 1000].into();
        let put = |key: &'static str| TxnOp::Put(Put { key: key.into(), value: value.clone(), ..Put::default() });
        let txn = Txn { success: vec![put("a"), put("b"), put("c")], ..Txn::default() };
        let txn = Command::Txn(txn);

        client.create(WatchCreateRequest { fragment: true, ..on_all() }).await;
        client.next().await;
        client.propose(&txn).await;
        for (key, fragment) in [("a", true), ("b", true), ("c", false)] {
            let part = client.next().await;
            let keys: Vec<_> = part.events.iter().map(Event::key).collect();
            assert_eq!((part.watch_id, keys, part.fragment), (0, vec![key.as_bytes()], fragment));
            assert_eq!(revision(&part), 2);
        }
        client.cancel(0).await;
        client.next().await;

        client.create(on_all()).await;
        client.next().await;
        client.propose(&txn).await;
        let whole = client.next().await;
        assert_eq!((whole.events.len(), whole.fragment), (3, false));
        client.stop().await;
    }

    #[tokio::test]
    async fn events_go_on_after_the_last_request() {
        let mut client = Client::new().await;
        client.create(on("k")).await;
        client.next().await;
        client.requests = None;
        client.put("k", "a").await;
        assert_eq!(told(&client.next().await), ["Put k=a@2"]);
        client.stop().await;
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_read_ends_the_stream_with_its_error() {
        let mut client = Client::new().await;
        client.requests.as_ref().unwrap().send(Err(Status::internal("broken"))).await.unwrap();
        let status = soon(client.responses.next()).await.unwrap().unwrap_err();
        assert_eq!(status.message(), "broken");
        assert!(soon(client.responses.next()).await.is_none());
        client.stop().await;
    }

    #[tokio::test]
    async fn a_client_that_goes_away_takes_its_reader_along() {
        let client = Client::new().await;
        client.create(on("k")).await;
        let Client { api, requests, responses } = client;
        drop(responses);
        soon(requests.unwrap().closed()).await;
        api.node.stop().await;
    }

    #[tokio::test]
    async fn the_stream_ends_when_the_node_stops() {
        let mut client = Client::new().await;
        client.create(on("k")).await;
        client.next().await;
        client.api.node.stop().await;
        let status = soon(client.responses.next()).await.unwrap().unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Unavailable, "etcdserver: server stopped"));
        assert!(soon(client.responses.next()).await.is_none());
    }
}
