//! One sequence on one pair of servers.
//!
//! The sequence is strict: a request is sent to both servers, and the next one when both have answered. What watchers
//! get is compared in `watchers`.

use super::compare::{Leniency, Outcome, first_difference, same};
use super::generate::{Generator, STREAMS_LEN};
use super::report::{Difference, Report};
use super::request::{Answer, Blur, LEASE_NAME_FIRST, Request};
use super::rules::{self, Reached};
use super::side::Side;
use super::watchers::Watcher;
use super::wire::*;

/// So many differences are told of one sequence; then it ends.
const DIFFERENCES_LEN_MAX: u64 = 200;
/// Watchers are compared at least this often, so that no server's queue of a stream (128 messages in etcd) runs full.
const SETTLE_EVERY: u64 = 16;

pub struct Lane {
    /// The reference, and the subject.
    pub sides: [Side; 2],
    /// Those on each stream, in order of creation.
    pub(super) watchers: Vec<Vec<Watcher>>,
    /// All events so far.
    pub(super) history: Vec<Event>,
    pub(super) revision: i64,
    pub(super) compacted: i64,
    /// Revisions of revokes, until the history has them.
    pub(super) revoked: Vec<i64>,
    /// Leases whose id the servers chose.
    named: i64,
    /// Without it no stream is opened.
    pub watches: bool,
    /// The states differ, so what follows cannot be compared.
    pub(super) has_parted: bool,
    pub report: Report,
    pub reached: Reached,
    pub leniency: Leniency,
    /// The command that leads to the present request again, but for its number.
    replay: String,
    number: u64,
}

impl Lane {
    pub fn new(endpoints: [&str; 2], replay: String) -> Lane {
        Lane {
            sides: endpoints.map(Side::new),
            watchers: vec![Vec::new(); STREAMS_LEN],
            history: Vec::new(),
            revision: 1,
            compacted: -1,
            revoked: Vec::new(),
            named: 0,
            watches: true,
            has_parted: false,
            report: Report::default(),
            reached: Reached::default(),
            leniency: Leniency::default(),
            replay,
            number: 0,
        }
    }

    /// Runs `requests_len` requests, or fewer if the servers part for good. Returns how many.
    pub async fn run(&mut self, seed: u64, requests_len: u64) -> u64 {
        let mut generator = Generator::new(seed);
        if self.watches {
            self.watch_history().await;
        }
        while self.number < requests_len {
            self.number += 1;
            let request = tame(generator.next(), self.revision);
            let outcome = self.step(&request).await;
            generator.learn(&request, &outcome);
            if self.number.is_multiple_of(SETTLE_EVERY) {
                self.settle_all().await;
            }
            if self.has_parted || self.report.len() >= DIFFERENCES_LEN_MAX {
                let left_out = requests_len - self.number;
                self.differ(Difference { kind: "parted".into(), text: format!("left out: {left_out} requests") });
                return self.number;
            }
        }
        for stream in 0..STREAMS_LEN {
            let _ = self.step(&Request::WatchReopen(stream)).await;
        }
        if self.sides[0].chunked > 0 {
            self.reached.hit(rules::STREAM_IN_CHUNKS);
        }
        self.number
    }

    /// Makes one exchange with all that must come before it; returns the reference's outcome.
    async fn step(&mut self, request: &Request) -> Outcome {
        match request {
            Request::Compact(_) => {
                for stream in 0..STREAMS_LEN {
                    self.catch_up(stream).await;
                }
                self.exchange(request).await
            }
            Request::WatchCreate(..)
            | Request::WatchCancel(..)
            | Request::WatchProgress(_)
            | Request::WatchReopen(_)
                if !self.watches =>
            {
                Ok(Answer::Watch(None))
            }
            Request::WatchCreate(stream, create) => self.create_watcher(*stream, create, request).await,
            Request::WatchCancel(stream, cancel) => self.cancel_watcher(*stream, cancel, request).await,
            Request::WatchProgress(stream) => self.ask_progress(*stream, request).await,
            Request::WatchNothing(stream) => {
                for side in &self.sides {
                    side.streams[*stream].send(None).await;
                }
                Ok(Answer::Watch(None))
            }
            Request::WatchReopen(stream) => {
                self.reopen(*stream).await;
                Ok(Answer::Watch(None))
            }
            _ => self.exchange(request).await,
        }
    }

    /// Asks both servers and compares. Not for watch requests.
    pub(super) async fn exchange(&mut self, request: &Request) -> Outcome {
        let [reference, subject] = &mut self.sides;
        let (left, right) = tokio::join!(reference.ask(request), subject.ask(request));
        if let (Request::Grant(LeaseGrantRequest { id: 0, .. }), Ok(Answer::Grant(left)), Ok(Answer::Grant(right))) =
            (request, &left, &right)
        {
            let name = LEASE_NAME_FIRST + self.named;
            self.named += 1;
            self.sides[0].names.insert(name, left.id);
            self.sides[1].names.insert(name, right.id);
        }
        if let (Request::Compact(compact), Ok(_)) = (request, &left) {
            self.compacted = compact.revision;
        }
        self.compare(request, left, right)
    }

    /// Compares two outcomes; returns the reference's.
    pub(super) fn compare(&mut self, request: &Request, mut left: Outcome, mut right: Outcome) -> Outcome {
        for (side, outcome) in self.sides.iter().zip([&mut left, &mut right]) {
            if let Ok(answer) = outcome {
                answer.blur(&side.names);
            }
        }
        for (outcome, side) in [(&left, "reference"), (&right, "subject")] {
            if let Err(failure) = outcome
                && failure.is_silence
            {
                self.has_parted = true;
                let text = format!("{failure:?}\nrequest:   {request:?}");
                self.differ(Difference { kind: format!("the {side} does not answer"), text });
            }
        }
        if !same(request, &mut left, &mut right, &mut self.leniency) {
            let kind = format!("{}: {}", request.kind(), first_difference(&left, &right));
            self.differ(Difference::new(kind, request, &left, &right));
            self.has_parted |= match (&left, &right) {
                (Ok(left), Ok(right)) => left.header().map(|h| h.revision) != right.header().map(|h| h.revision),
                (Err(_), Err(_)) => false,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => request.is_write(),
            };
        }
        self.reached.note(request, &left, self.revision);
        if let Some(header) = left.as_ref().ok().and_then(Answer::header) {
            if matches!(request, Request::Revoke(_)) && header.revision > self.revision {
                self.revoked.push(header.revision);
            }
            self.revision = self.revision.max(header.revision);
        }
        left
    }

    pub(super) fn differ(&mut self, difference: Difference) {
        let replay = self.replay.replace("{number}", &self.number.to_string());
        self.report.add(difference, &replay);
    }
}

/// Takes out what cannot be compared.
///
/// * A watcher that filters everything away never shows that it has caught up; it starts in the present.
/// * etcd 3.7.1 panics if a txn deletes a key and then puts it with `ignore_value` or `ignore_lease`
///   (`server/etcdserver/txn/put.go`, `rr.KVs[0]`). Its check for duplicates lets that through if the delete is from-key
///   or nested. See `what_stops_etcd_is_answered`.
fn tame(mut request: Request, revision: i64) -> Request {
    match &mut request {
        Request::WatchCreate(_, create) => {
            let filters_all = create.filters.contains(&NO_PUT) && create.filters.contains(&NO_DELETE);
            if filters_all && (1..=revision).contains(&create.start_revision) {
                create.start_revision = 0;
            }
        }
        Request::Txn(txn) if txn.deletes() => ignore_nothing(txn),
        _ => {}
    }
    request
}

fn ignore_nothing(txn: &mut TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Op::Put(put)) => (put.ignore_value, put.ignore_lease) = (false, false),
            Some(Op::Txn(nested)) => ignore_nothing(nested),
            Some(Op::Range(_) | Op::DeleteRange(_)) | None => {}
        }
    }
}
