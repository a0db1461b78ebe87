//! A message of a watch stream.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType, message, skip_field};
use prost::{DecodeError, Message};

use super::etcdserverpb::ResponseHeader;
use super::mvccpb;
use crate::model::{Event, EventKind};

const TAG_HEADER: u32 = 1;
const TAG_WATCH_ID: u32 = 2;
const TAG_CREATED: u32 = 3;
const TAG_CANCELED: u32 = 4;
const TAG_COMPACT_REVISION: u32 = 5;
const TAG_CANCEL_REASON: u32 = 6;
const TAG_FRAGMENT: u32 = 7;
const TAG_EVENTS: u32 = 11;

const TAG_EVENT_TYPE: u32 = 1;
const TAG_EVENT_KV: u32 = 2;
const TAG_EVENT_PREV_KV: u32 = 3;

/// `etcdserverpb.WatchResponse`: shares its events with all watchers that hear the same, and writes their stored bytes.
///
/// Decoding it is for tests, tools and the small client; each event that is read copies those before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchResponse {
    /// Who answers, and the revision of what is told.
    pub header: Option<ResponseHeader>,
    /// Which watcher.
    pub watch_id: i64,
    /// Answers a request for a watcher.
    pub created: bool,
    /// The watcher has ended, or was not made.
    pub canceled: bool,
    /// Set if the watch asked for compacted history.
    pub compact_revision: i64,
    /// Why the watcher was not made.
    pub cancel_reason: String,
    /// More pieces of this answer follow.
    pub fragment: bool,
    /// What happened.
    pub events: Events,
}

/// Some of a shared run of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    run: Arc<[Event]>,
    part: Range<usize>,
}

impl Events {
    /// Those of `part`, which counts within these.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn part(&self, part: Range<usize>) -> Events {
        assert!(part.start <= part.end && part.end <= self.len(), "a part lies within the whole");
        let at = self.part.start;
        Events { run: self.run.clone(), part: at + part.start..at + part.end }
    }
}

impl std::ops::Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.run[self.part.clone()]
    }
}

impl From<Arc<[Event]>> for Events {
    fn from(run: Arc<[Event]>) -> Events {
        let part = 0..run.len();
        Events { run, part }
    }
}

/// What one event takes in a response, in bytes.
#[must_use]
pub fn event_len(event: &Event) -> usize {
    field_len(TAG_EVENTS, body_len(event))
}

fn body_len(event: &Event) -> usize {
    let pairs = pairs(event).map(|(tag, bytes)| field_len(tag, bytes.len()));
    encoding_len_of_kind(event.kind) + pairs.sum::<usize>()
}

/// A put is zero and left out.
fn encoding_len_of_kind(kind: EventKind) -> usize {
    match kind {
        EventKind::Put => 0,
        EventKind::Delete => encoding::int32::encoded_len(TAG_EVENT_TYPE, &wire_kind(kind)),
    }
}

fn wire_kind(kind: EventKind) -> i32 {
    match kind {
        EventKind::Put => mvccpb::event::EventType::Put.into(),
        EventKind::Delete => mvccpb::event::EventType::Delete.into(),
    }
}

/// The pairs of an event with their tags, in order.
fn pairs(event: &Event) -> impl Iterator<Item = (u32, &[u8])> {
    let prev = event.prev.as_ref().map(|prev| (TAG_EVENT_PREV_KV, prev.as_bytes()));
    std::iter::once((TAG_EVENT_KV, event.record.as_bytes())).chain(prev)
}

fn field_len(tag: u32, len: usize) -> usize {
    encoding::key_len(tag) + encoding::encoded_len_varint(len as u64) + len
}

fn put_len(tag: u32, len: usize, buf: &mut impl BufMut) {
    encoding::encode_key(tag, WireType::LengthDelimited, buf);
    encoding::encode_varint(len as u64, buf);
}

fn put_event(event: &Event, buf: &mut impl BufMut) {
    put_len(TAG_EVENTS, body_len(event), buf);
    if event.kind == EventKind::Delete {
        encoding::int32::encode(TAG_EVENT_TYPE, &wire_kind(event.kind), buf);
    }
    for (tag, bytes) in pairs(event) {
        put_len(tag, bytes.len(), buf);
        buf.put_slice(bytes);
    }
}

/// `None` for an event without a pair: nothing is known of it.
fn event_of(event: &mvccpb::Event) -> Option<Event> {
    let kind = match event.r#type() {
        mvccpb::event::EventType::Put => EventKind::Put,
        mvccpb::event::EventType::Delete => EventKind::Delete,
    };
    let record = event.kv.as_ref()?.record()?.clone();
    Some(Event { kind, record, prev: event.prev_kv.as_ref().and_then(|prev| prev.record().cloned()) })
}

impl Message for WatchResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some(header) = &self.header {
            message::encode(TAG_HEADER, header, buf);
        }
        for (tag, number) in self.numbers() {
            if number != 0 {
                encoding::int64::encode(tag, &number, buf);
            }
        }
        if !self.cancel_reason.is_empty() {
            encoding::string::encode(TAG_CANCEL_REASON, &self.cancel_reason, buf);
        }
        if self.fragment {
            encoding::bool::encode(TAG_FRAGMENT, &true, buf);
        }
        for event in self.events.iter() {
            put_event(event, buf);
        }
    }

    fn encoded_len(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |header| message::encoded_len(TAG_HEADER, header));
        let numbers = self.numbers().into_iter().filter(|(_, number)| *number != 0);
        let numbers: usize = numbers.map(|(tag, number)| encoding::int64::encoded_len(tag, &number)).sum();
        let reason = &self.cancel_reason;
        let reason = if reason.is_empty() { 0 } else { encoding::string::encoded_len(TAG_CANCEL_REASON, reason) };
        let fragment = if self.fragment { encoding::bool::encoded_len(TAG_FRAGMENT, &true) } else { 0 };
        header + numbers + reason + fragment + self.events.iter().map(event_len).sum::<usize>()
    }

    fn clear(&mut self) {
        *self = WatchResponse::default();
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            TAG_HEADER => message::merge(wire_type, self.header.get_or_insert_default(), buf, context),
            TAG_WATCH_ID => encoding::int64::merge(wire_type, &mut self.watch_id, buf, context),
            TAG_CREATED => encoding::bool::merge(wire_type, &mut self.created, buf, context),
            TAG_CANCELED => encoding::bool::merge(wire_type, &mut self.canceled, buf, context),
            TAG_COMPACT_REVISION => encoding::int64::merge(wire_type, &mut self.compact_revision, buf, context),
            TAG_CANCEL_REASON => encoding::string::merge(wire_type, &mut self.cancel_reason, buf, context),
            TAG_FRAGMENT => encoding::bool::merge(wire_type, &mut self.fragment, buf, context),
            TAG_EVENTS => {
                let mut event = mvccpb::Event::default();
                message::merge(wire_type, &mut event, buf, context)?;
                self.events = self.events.iter().cloned().chain(event_of(&event)).collect::<Arc<[_]>>().into();
                Ok(())
            }
            _ => skip_field(wire_type, tag, buf, context),
        }
    }
}

impl WatchResponse {
    /// The fields from 2 to 5; a true one is written as the number one.
    fn numbers(&self) -> [(u32, i64); 4] {
        [
            (TAG_WATCH_ID, self.watch_id),
            (TAG_CREATED, self.created.into()),
            (TAG_CANCELED, self.canceled.into()),
            (TAG_COMPACT_REVISION, self.compact_revision),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyValue, LeaseId, Record, Revision};

    /// The same message as a generator would write it.
    #[derive(Clone, PartialEq, Message)]
    struct Plain {
        #[prost(message, optional, tag = "1")]
        header: Option<ResponseHeader>,
        #[prost(int64, tag = "2")]
        watch_id: i64,
        #[prost(bool, tag = "3")]
        created: bool,
        #[prost(bool, tag = "4")]
        canceled: bool,
        #[prost(int64, tag = "5")]
        compact_revision: i64,
        #[prost(string, tag = "6")]
        cancel_reason: String,
        #[prost(bool, tag = "7")]
        fragment: bool,
        #[prost(message, repeated, tag = "11")]
        events: Vec<mvccpb::Event>,
    }

    fn events() -> Arc<[Event]> {
        let record = |value: &[u8]| {
            Record::new(&KeyValue {
                key: b"k",
                value,
                create_revision: Revision(3),
                mod_revision: Revision(300),
                version: 2,
                lease: LeaseId(-1),
            })
        };
        [
            Event { kind: EventKind::Put, record: record(&[7; 300]), prev: None },
            Event { kind: EventKind::Delete, record: Record::tombstone(b"k", Revision(301)), prev: None },
            Event { kind: EventKind::Put, record: record(b""), prev: Some(record(b"before")) },
            Event { kind: EventKind::Delete, record: Record::tombstone(b"j", Revision(1)), prev: Some(record(b"b")) },
        ]
        .into()
    }

    fn messages() -> Vec<WatchResponse> {
        let header = Some(ResponseHeader { cluster_id: 1, member_id: u64::MAX, revision: 300, raft_term: 2 });
        let whole = WatchResponse { header, watch_id: 5, events: events().into(), ..WatchResponse::default() };
        vec![
            WatchResponse::default(),
            WatchResponse { events: whole.events.part(1..3), fragment: true, ..whole.clone() },
            WatchResponse { events: whole.events.part(1..4).part(1..3), ..whole.clone() },
            WatchResponse { events: whole.events.part(2..2), ..whole.clone() },
            WatchResponse { header, watch_id: -1, created: true, ..WatchResponse::default() },
            WatchResponse {
                canceled: true,
                compact_revision: 70_000,
                cancel_reason: "why".into(),
                header: Some(ResponseHeader::default()),
                ..WatchResponse::default()
            },
            whole,
        ]
    }

    fn plain(response: &WatchResponse) -> Plain {
        let event = |event: &Event| mvccpb::Event {
            r#type: wire_kind(event.kind),
            kv: Some(event.record.clone().into()),
            prev_kv: event.prev.clone().map(Into::into),
        };
        let events = response.events.iter().map(event).collect();
        let WatchResponse { header, watch_id, created, canceled, compact_revision, cancel_reason, fragment, .. } =
            response.clone();
        Plain { header, watch_id, created, canceled, compact_revision, cancel_reason, fragment, events }
    }

    #[test]
    fn has_the_bytes_of_the_plain_message() {
        for response in messages() {
            let plain = plain(&response);
            assert_eq!(response.encoded_len(), plain.encoded_len());
            assert_eq!(response.encode_to_vec(), plain.encode_to_vec());
        }
    }

    #[test]
    fn reads_back() {
        for response in messages() {
            let read = WatchResponse::decode(response.encode_to_vec().as_slice()).unwrap();
            assert_eq!(plain(&read), plain(&response));
        }
    }

    #[test]
    fn an_event_takes_what_it_adds() {
        let whole = Events::from(events());
        for i in 0..whole.len() {
            let with = |part| WatchResponse { events: whole.part(part), ..WatchResponse::default() }.encoded_len();
            assert_eq!(with(0..i + 1) - with(0..i), event_len(&whole[i]));
        }
    }
}
