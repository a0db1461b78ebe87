//! What watchers get on both servers.
//!
//! A stream of each server watches all keys from the beginning: the history. From it follows what every other watcher
//! must get. [`Lane::settle`] waits until both servers have delivered that, and compares; it goes before each request
//! whose effect depends on how far watchers are. A watcher that starts in the past has caught up for certain only when
//! it got something; [`Lane::catch_up`] writes one of its keys if need be.
//!
//! How the events of a catching-up watcher are spread over messages is not fixed, and only the rules are checked: one
//! revision in one message, at most 1000 revisions, a header that is not behind. A watcher that starts in the present
//! gets one message for each revision; those that come otherwise are counted, and the test fails if they are not rare.

use bytes::Bytes;

use super::client::Failure;
use super::compare::{Outcome, first_difference};
use super::inbox::{Batch, WatchStream, revision_of};
use super::lane::Lane;
use super::report::Difference;
use super::request::{Answer, Blur, Request, covers};
use super::rules;
use super::wire::*;

/// Most revisions in one message of a watcher that catches up.
const BATCH_REVISIONS_LEN_MAX: usize = 1_000;
const SIDES: [&str; 2] = ["reference", "subject"];

/// A watcher that both servers accepted.
#[derive(Debug, Clone)]
pub struct Watcher {
    id: i64,
    request: WatchCreate,
    /// The first revision it must get.
    from: i64,
    /// How much of the history is behind it, and how many events it had of that.
    history_at: usize,
    events_len: usize,
    /// It starts in the present or the future, so each revision comes in a message of its own.
    starts_synced: bool,
    /// It has caught up for certain.
    is_synced: bool,
    /// It starts before the compacted revision: the server cancels it.
    is_doomed: bool,
    /// That was seen.
    is_dead: bool,
    /// Its client cancelled it, or it was given up after a difference.
    is_closed: bool,
}

impl Watcher {
    /// Must it get `event`?
    fn wants(&self, event: &Event) -> bool {
        let filter = if event.kind == DELETE { NO_DELETE } else { NO_PUT };
        let key = event.kv.as_ref().map(|kv| &kv.key);
        !self.is_doomed
            && revision_of(event) >= self.from
            && !self.request.filters.contains(&filter)
            && key.is_some_and(|key| covers(&self.key(), &self.request.range_end, key))
    }

    /// The key that the server watches: an empty one is the lowest.
    fn key(&self) -> Bytes {
        if self.request.key.is_empty() { Bytes::from_static(b"\0") } else { self.request.key.clone() }
    }

    /// The first rule on messages with events that `batches` break.
    fn broken_rule(&self, batches: &[Batch]) -> Option<&'static str> {
        let mut last = 0;
        for batch in batches {
            let is_continued = self.request.fragment && batch.first == last;
            if batch.first <= last && !is_continued {
                return Some("a revision in two messages, or out of order");
            }
            if batch.header_revision < batch.last {
                return Some("header.revision below that of an event");
            }
            if batch.revisions_len > BATCH_REVISIONS_LEN_MAX {
                return Some("more than 1000 revisions in a message");
            }
            last = batch.last;
        }
        None
    }

    /// How many of `batches` are not of one revision, which their header has, though it has caught up: a server whose
    /// client takes nothing for a while, on a machine that is busy elsewhere, tells it the rest as history.
    fn late(&self, batches: &[Batch]) -> u64 {
        let is_late = |batch: &&Batch| batch.revisions_len != 1 || batch.header_revision != batch.last;
        if self.starts_synced { batches.iter().filter(is_late).count() as u64 } else { 0 }
    }
}

impl Lane {
    /// Begins the history of both servers.
    pub(super) async fn watch_history(&mut self) {
        let all = Bytes::from_static(b"\0");
        let create = WatchCreate { key: all.clone(), range_end: all, start_revision: 1, ..WatchCreate::default() };
        let request = Request::WatchCreate(0, create.clone());
        for side in &self.sides {
            side.history.send(Some(WatchUnion::Create(create.clone()))).await;
        }
        let [left, right] = &self.sides;
        let (left, right) = tokio::join!(created(&left.history), created(&right.history));
        // Nothing can be told without it.
        self.has_parted = left.is_err() || right.is_err();
        let _ = self.compare(&request, left, right);
    }

    /// Waits until the history has all that was written.
    async fn follow_history(&mut self) {
        let revision = self.revision;
        if self.history.last().map_or(1, revision_of) >= revision || self.has_parted || !self.watches {
            return;
        }
        let [left, right] = &self.sides;
        let (left, right) =
            tokio::join!(history_until(&left.history, revision), history_until(&right.history, revision));
        let [mut left, mut right] = [left, right];
        left.blur(&self.sides[0].names);
        right.blur(&self.sides[1].names);
        if left != right || left.last().map_or(0, revision_of) < revision {
            let kind = format!("history: {}", first_difference(&left, &right));
            self.differ(Difference::new(kind, &format!("all events up to {revision}"), &left, &right));
            self.has_parted = true;
        }
        for revision in std::mem::take(&mut self.revoked) {
            if left.iter().filter(|event| revision_of(event) == revision).count() > 1 {
                self.reached.hit(rules::REVOKE_DELETES);
            }
        }
        self.history.extend(left);
    }

    pub(super) async fn create_watcher(&mut self, stream: usize, create: &WatchCreate, request: &Request) -> Outcome {
        self.follow_history().await;
        self.send(stream, WatchUnion::Create(create.clone())).await;
        let [left, right] = &self.sides;
        let (left, right) = tokio::join!(created(&left.streams[stream]), created(&right.streams[stream]));
        let accepted = |outcome: &Outcome| match outcome {
            Ok(Answer::Watch(Some(answer))) if !answer.canceled => Some(answer.watch_id),
            _ => None,
        };
        match (accepted(&left), accepted(&right)) {
            (Some(id), Some(other)) if id == other => {
                let watcher = self.new_watcher(id, create);
                if watcher.request.start_revision == self.compacted {
                    let first = self.history.iter().find(|event| watcher.wants(event));
                    if first.is_some_and(|event| event.kind == DELETE && revision_of(event) == self.compacted) {
                        self.reached.hit(rules::START_AT_COMPACTED);
                    }
                }
                self.watchers[stream].push(watcher);
            }
            (None, None) => {}
            // From here on the streams are not alike.
            _ => self.has_parted = true,
        }
        self.compare(request, left, right)
    }

    fn new_watcher(&self, id: i64, request: &WatchCreate) -> Watcher {
        let start = request.start_revision;
        let starts_synced = start == 0 || start > self.revision;
        Watcher {
            id,
            request: request.clone(),
            from: if start == 0 { self.revision + 1 } else { start },
            history_at: 0,
            events_len: 0,
            starts_synced,
            is_synced: starts_synced,
            is_doomed: !starts_synced && start < self.compacted,
            is_dead: false,
            is_closed: false,
        }
    }

    pub(super) async fn cancel_watcher(&mut self, stream: usize, cancel: &WatchCancel, request: &Request) -> Outcome {
        // Events that a cancel overtakes may be lost.
        self.settle(stream).await;
        self.send(stream, WatchUnion::Cancel(cancel.clone())).await;
        let known = self.watchers[stream].iter_mut().find(|w| w.id == cancel.watch_id && !w.is_closed);
        let Some(watcher) = known else {
            self.reached.note(request, &Ok(Answer::Watch(None)), self.revision);
            return Ok(Answer::Watch(None));
        };
        watcher.is_closed = true;
        if watcher.is_dead {
            self.reached.hit(rules::CANCEL_DEAD);
        }
        let [left, right] = &self.sides;
        let (left, right) = tokio::join!(canceled(&left.streams[stream]), canceled(&right.streams[stream]));
        self.compare(request, left, right)
    }

    pub(super) async fn ask_progress(&mut self, stream: usize, request: &Request) -> Outcome {
        if self.watchers[stream].iter().any(|watcher| !watcher.is_closed && !watcher.is_synced) {
            self.catch_up(stream).await;
        }
        self.follow_history().await;
        self.send(stream, WatchUnion::Progress(Nothing {})).await;
        let open: Vec<&Watcher> = self.watchers[stream].iter().filter(|watcher| !watcher.is_closed).collect();
        let is_ready = |watcher: &&Watcher| watcher.is_synced && watcher.request.start_revision <= self.revision;
        if open.is_empty() || !open.iter().all(is_ready) {
            // An answer nevertheless is found when the stream is closed. The refusal shows that the request was read,
            // before the next one changes what it depends on.
            let refused = WatchCreate { start_revision: -1, ..WatchCreate::default() };
            let is_open = !open.is_empty();
            let request_after = Request::WatchCreate(stream, refused.clone());
            let _ = self.create_watcher(stream, &refused, &request_after).await;
            let nothing = Ok(Answer::Watch(None));
            if is_open {
                self.reached.note(request, &nothing, self.revision);
            }
            return nothing;
        }
        let [left, right] = &self.sides;
        let (left, right) = tokio::join!(progress(&left.streams[stream]), progress(&right.streams[stream]));
        let ([left, right], [left_had, right_had]) = {
            let ((left, left_had), (right, right_had)) = (left, right);
            ([left, right], [left_had, right_had])
        };
        for (index, watcher) in self.watchers[stream].clone().iter().enumerate().filter(|(_, w)| !w.is_closed) {
            let due = watcher.events_len + self.due(watcher).len();
            let (left, right) = (left_had.get(index), right_had.get(index));
            if left.is_some_and(|had| *had != due) || right.is_some_and(|had| *had != due) {
                let kind = "Watch progress: not after all events".to_owned();
                self.differ(Difference::new(kind, &(watcher, due), &left, &right));
            }
        }
        self.compare(request, left, right)
    }

    /// Half-closes a stream, shows that it still delivers, and puts a new one in its place.
    pub(super) async fn reopen(&mut self, stream: usize) {
        self.settle(stream).await;
        for side in &mut self.sides {
            side.streams[stream].half_close();
        }
        let delivers = |watcher: &&Watcher| {
            let is_open = !watcher.is_closed && !watcher.is_doomed;
            is_open && watcher.from <= self.revision + 1 && !watcher.request.filters.contains(&NO_PUT)
        };
        if let Some(key) = self.watchers[stream].iter().find(delivers).map(Watcher::key) {
            let _ = self.exchange(&write_of(key)).await;
            self.settle(stream).await;
            self.reached.hit(rules::HALF_CLOSE);
        }
        let left_over = |side: usize, lane: &Lane| {
            lane.sides[side].streams[stream].received(|received| {
                let answers = [&received.created, &received.canceled].map(|queue| format!("{queue:?}"));
                (answers, format!("{:?}", received.progress), received.end.clone())
            })
        };
        let (left, right) = (left_over(0, self), left_over(1, self));
        let empty = (["[]".to_owned(), "[]".to_owned()], "[]".to_owned(), None);
        if left != empty || right != empty {
            let kind = "Watch stream: answers that nobody asked for, or an end".to_owned();
            self.differ(Difference::new(kind, &stream, &left, &right));
        }
        for side in &mut self.sides {
            side.streams[stream] = WatchStream::open(&side.client);
        }
        self.watchers[stream].clear();
    }

    pub(super) async fn settle_all(&mut self) {
        for stream in 0..self.watchers.len() {
            self.settle(stream).await;
        }
    }

    /// Settles, and makes sure that every watcher of `stream` has caught up.
    pub(super) async fn catch_up(&mut self, stream: usize) {
        self.settle(stream).await;
        let is_behind = |watcher: &Watcher| !watcher.is_closed && !watcher.is_synced && !watcher.is_doomed;
        for watcher in self.watchers[stream].clone().into_iter().filter(is_behind) {
            let _ = self.exchange(&write_of(watcher.key())).await;
            if watcher.request.filters.contains(&NO_PUT) {
                let delete = DeleteRangeRequest { key: watcher.key(), ..DeleteRangeRequest::default() };
                let _ = self.exchange(&Request::DeleteRange(delete)).await;
            }
        }
        self.settle(stream).await;
    }

    /// Waits until every watcher of `stream` has what it must have, and compares.
    pub(super) async fn settle(&mut self, stream: usize) {
        self.follow_history().await;
        for index in 0..self.watchers[stream].len() {
            if self.has_parted {
                return;
            }
            let watcher = &self.watchers[stream][index];
            if !watcher.is_closed && !watcher.is_dead {
                self.settle_watcher(stream, index).await;
            }
        }
        for (side, name) in SIDES.iter().enumerate() {
            let faults = self.sides[side].streams[stream].received(|received| std::mem::take(&mut received.faults));
            for text in faults {
                self.differ(Difference { kind: format!("Watch stream of the {name}"), text });
            }
        }
    }

    /// What `watcher` must still get.
    fn due(&self, watcher: &Watcher) -> Vec<Event> {
        self.history[watcher.history_at..].iter().filter(|event| watcher.wants(event)).cloned().collect()
    }

    async fn settle_watcher(&mut self, stream: usize, index: usize) {
        let watcher = self.watchers[stream][index].clone();
        let due = self.due(&watcher);
        let [left, right] = &self.sides;
        let wait = |of| delivered(of, index, due.len(), watcher.is_doomed);
        let (mut left, mut right) = tokio::join!(wait(&left.streams[stream]), wait(&right.streams[stream]));
        for (side, taken) in self.sides.iter_mut().zip([&mut left, &mut right]) {
            taken.events.blur(&side.names);
            taken.canceled.blur(&side.names);
            if let Some(tamper) = side.tamper_events {
                tamper(&mut taken.events);
            }
        }
        let mut kinds = Vec::new();
        if left.events != right.events {
            kinds.push(format!("Watch events: {}", first_difference(&left.events, &right.events)));
        } else if !are_those_of_history(&left.events, &due) {
            kinds.push("Watch events: not those of the history".to_owned());
        }
        if left.canceled != right.canceled || left.canceled.is_some() != watcher.is_doomed {
            kinds.push(format!("Watch cancel by the server: {}", first_difference(&left.canceled, &right.canceled)));
        }
        for (taken, side) in [(&left, SIDES[0]), (&right, SIDES[1])] {
            kinds.extend(watcher.broken_rule(&taken.batches).map(|rule| format!("Watch events of the {side}: {rule}")));
            self.leniency.late += watcher.late(&taken.batches);
            self.leniency.messages += taken.batches.len() as u64;
        }
        for kind in &kinds {
            self.differ(Difference::new(kind.clone(), &(&watcher, &due), &left, &right));
        }
        self.note_delivered(&watcher, &left);

        let history_len = self.history.len();
        let watcher = &mut self.watchers[stream][index];
        watcher.history_at = history_len;
        watcher.events_len += due.len();
        watcher.is_synced |= !due.is_empty();
        watcher.is_dead = left.canceled.is_some();
        // One difference of a watcher is told once.
        watcher.is_closed |= !kinds.is_empty();
    }

    fn note_delivered(&mut self, watcher: &Watcher, taken: &Taken) {
        let is_bare = |event: &Event| {
            let kv = event.kv.as_ref();
            event.kind == DELETE && kv.is_some_and(|kv| kv.create_revision == 0 && kv.value.is_empty())
        };
        if taken.events.iter().any(is_bare) {
            self.reached.hit(rules::DELETE_EVENT);
        }
        if taken.events.iter().any(|event| event.prev_kv.is_some()) {
            self.reached.hit(rules::PREV_KV);
        }
        let revisions_len = taken.batches.iter().map(|batch| batch.revisions_len).sum::<usize>();
        if !watcher.is_synced && revisions_len > BATCH_REVISIONS_LEN_MAX && taken.batches.len() > 1 {
            self.reached.hit(rules::LONG_CATCH_UP);
        }
        let is_bare = |canceled: &WatchResponse| {
            let revision = canceled.header.as_ref().map_or(0, |header| header.revision);
            canceled.compact_revision != 0 && revision == 0 && canceled.cancel_reason.is_empty()
        };
        if taken.canceled.as_ref().is_some_and(is_bare) {
            self.reached.hit(rules::WATCH_COMPACTED);
        }
    }

    async fn send(&self, stream: usize, union: WatchUnion) {
        for side in &self.sides {
            side.streams[stream].send(Some(union.clone())).await;
        }
    }
}

/// What came for one watcher since the last time.
#[derive(Debug, Clone, PartialEq)]
struct Taken {
    events: Vec<Event>,
    batches: Vec<Batch>,
    canceled: Option<WatchResponse>,
}

/// Waits for `due_len` events, or for the server's cancel of a doomed watcher, and takes what there is.
async fn delivered(stream: &WatchStream, index: usize, due_len: usize, is_doomed: bool) -> Taken {
    let _ = stream
        .wait(|received| {
            let delivered = received.watchers.get(index)?;
            let is_complete = delivered.events.len() >= due_len && !is_doomed;
            (is_complete || delivered.canceled.is_some()).then_some(())
        })
        .await;
    stream.received(|received| match received.watchers.get_mut(index) {
        Some(delivered) => Taken {
            events: std::mem::take(&mut delivered.events),
            batches: std::mem::take(&mut delivered.batches),
            canceled: delivered.canceled.clone(),
        },
        None => Taken { events: Vec::new(), batches: Vec::new(), canceled: None },
    })
}

async fn history_until(stream: &WatchStream, revision: i64) -> Vec<Event> {
    let _ = stream
        .wait(|received| {
            let last = received.watchers.first()?.events.last()?;
            (revision_of(last) >= revision).then_some(())
        })
        .await;
    stream.received(|received| received.watchers.first_mut().map(|w| std::mem::take(&mut w.events)).unwrap_or_default())
}

async fn created(stream: &WatchStream) -> Outcome {
    answered(stream, stream.wait(|received| received.created.pop_front()).await)
}

async fn canceled(stream: &WatchStream) -> Outcome {
    answered(stream, stream.wait(|received| received.canceled.pop_front()).await)
}

async fn progress(stream: &WatchStream) -> (Outcome, Vec<usize>) {
    let (answer, had) = stream.wait(|received| received.progress.pop_front()).await.unzip();
    (answered(stream, answer), had.unwrap_or_default())
}

fn answered(stream: &WatchStream, answer: Option<WatchResponse>) -> Outcome {
    let missing = || {
        let end = stream.received(|received| received.end.clone());
        Failure::silence(format!("no answer on the watch stream; its end: {end:?}"))
    };
    answer.map(|answer| Answer::Watch(Some(answer))).ok_or_else(missing)
}

fn are_those_of_history(events: &[Event], due: &[Event]) -> bool {
    events.len() == due.len() && events.iter().zip(due).all(|(event, due)| event.kind == due.kind && event.kv == due.kv)
}

fn write_of(key: Bytes) -> Request {
    Request::Put(PutRequest { key, value: Bytes::from_static(b"caught up"), ..PutRequest::default() })
}

#[test]
fn messages_that_are_late_are_counted_for_those_who_had_caught_up() {
    let watcher = |starts_synced| Watcher {
        id: 0,
        request: WatchCreate::default(),
        from: 1,
        history_at: 0,
        events_len: 0,
        starts_synced,
        is_synced: starts_synced,
        is_doomed: false,
        is_dead: false,
        is_closed: false,
    };
    let batch = |header_revision, first, last, revisions_len| Batch {
        header_revision,
        first,
        last,
        revisions_len,
        fragment: false,
    };
    let batches = [batch(2, 2, 2, 1), batch(5, 3, 4, 2), batch(6, 5, 5, 1)];
    assert_eq!((watcher(true).late(&batches), watcher(false).late(&batches)), (2, 0));
}
