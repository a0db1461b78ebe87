//! One of the two servers of a sequence.

use tokio::sync::mpsc;

use super::client::{Answers, Client, Failure, collect};
use super::compare::Outcome;
use super::generate::STREAMS_LEN;
use super::inbox::WatchStream;
use super::request::{Answer, LeaseNames, Request};
use super::wire::*;

type KeepAlive = (mpsc::Sender<LeaseRequest>, Answers<LeaseKeepAliveResponse>);

/// Changes the outcome of a request.
pub type Tamper = fn(&Request, &mut Outcome);

pub struct Side {
    pub client: Client,
    pub names: LeaseNames,
    keep_alive: Option<KeepAlive>,
    pub streams: Vec<WatchStream>,
    /// Watches all keys from the beginning.
    pub history: WatchStream,
    /// Changes answers before they are compared, to show that a difference is found.
    pub tamper: Option<Tamper>,
    pub tamper_events: Option<fn(&mut Vec<Event>)>,
    /// Answers to `RangeStream` that came in more than one chunk.
    pub chunked: u64,
}

impl Side {
    pub fn new(endpoint: &str) -> Side {
        let client = Client::new(endpoint);
        let streams = (0..STREAMS_LEN).map(|_| WatchStream::open(&client)).collect();
        let history = WatchStream::open(&client);
        Side {
            client,
            names: LeaseNames::default(),
            keep_alive: None,
            streams,
            history,
            tamper: None,
            tamper_events: None,
            chunked: 0,
        }
    }

    /// Asks anything but a watch request.
    pub async fn ask(&mut self, request: &Request) -> Outcome {
        let mut outcome = self.ask_untouched(request).await;
        if let Some(tamper) = self.tamper {
            tamper(request, &mut outcome);
        }
        outcome
    }

    async fn ask_untouched(&mut self, request: &Request) -> Outcome {
        let mut request = request.clone();
        request.map_leases(&|name| self.names.id_of(name));
        let client = &self.client;
        Ok(match request {
            Request::Range(range) => Answer::Range(client.unary("/etcdserverpb.KV/Range", range).await?),
            Request::RangeStream(range) => Answer::Range(self.range_stream(range).await?),
            Request::Put(put) => Answer::Put(client.unary("/etcdserverpb.KV/Put", put).await?),
            Request::DeleteRange(delete) => {
                Answer::DeleteRange(client.unary("/etcdserverpb.KV/DeleteRange", delete).await?)
            }
            Request::Txn(txn) => Answer::Txn(client.unary("/etcdserverpb.KV/Txn", txn).await?),
            Request::Compact(compact) => Answer::OnlyHeader(client.unary("/etcdserverpb.KV/Compact", compact).await?),
            Request::Grant(grant) => Answer::Grant(client.unary("/etcdserverpb.Lease/LeaseGrant", grant).await?),
            Request::Revoke(lease) => Answer::OnlyHeader(client.unary("/etcdserverpb.Lease/LeaseRevoke", lease).await?),
            Request::TimeToLive(lease) => {
                Answer::TimeToLive(client.unary("/etcdserverpb.Lease/LeaseTimeToLive", lease).await?)
            }
            Request::Leases(nothing) => Answer::Leases(client.unary("/etcdserverpb.Lease/LeaseLeases", nothing).await?),
            Request::KeepAlive(lease) => Answer::KeepAlive(self.keep_alive(lease).await?),
            Request::WatchCreate(..)
            | Request::WatchCancel(..)
            | Request::WatchProgress(_)
            | Request::WatchNothing(_)
            | Request::WatchReopen(_) => unreachable!("streams are asked through their inbox"),
        })
    }

    /// The chunks as one answer. Only the last may have more than pairs.
    async fn range_stream(&mut self, range: RangeRequest) -> Result<RangeResponse, Failure> {
        let stream = self.client.server_streaming("/etcdserverpb.KV/RangeStream", range).await?;
        let chunks: Vec<RangeStreamResponse> = collect(stream).await?;
        self.chunked += u64::from(chunks.len() > 1);
        let mut merged = RangeResponse::default();
        for chunk in chunks.into_iter().filter_map(|chunk| chunk.range_response) {
            if merged.header.is_some() {
                return Err(Failure::silence(format!("a chunk after the last: {chunk:?}")));
            }
            merged.kvs.extend(chunk.kvs);
            (merged.header, merged.more, merged.count) = (chunk.header, chunk.more, chunk.count);
        }
        Ok(merged)
    }

    async fn keep_alive(&mut self, lease: LeaseRequest) -> Result<LeaseKeepAliveResponse, Failure> {
        let client = &self.client;
        let (request_tx, answers) =
            self.keep_alive.get_or_insert_with(|| client.bidirectional("/etcdserverpb.Lease/LeaseKeepAlive"));
        // A stream that ended says so instead of the answer.
        let _ = request_tx.send(lease).await;
        let answer = answers.next_in_time().await;
        if answer.is_err() {
            self.keep_alive = None;
        }
        answer
    }
}
