//! The reference model against a real etcd, which decides what the model must say.
//!
//! It speaks the JSON gateway, the plainest of etcd's doors: commands go in as JSON, and what comes back must be the
//! model's reply, its refusal, or at the end its events. `SEED=n` chooses another sequence, `LONG=1` a longer one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use lodemark::machine::Rejection;
use lodemark::model::{
    Alarm, AlarmChange, AlarmKind, Command, Compare, CompareResult, CompareTarget, DeleteRange, DeleteReply, Event,
    EventKind, GrantReply, KeyRange, KeyValue, LeaseId, OpReply, Put, PutReply, Range, RangeEnd, RangeReply, Record,
    Reply, Revision, SortOrder, SortTarget, Txn, TxnOp, TxnReply,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use crate::generate::{REVISION_MAX, command, range};
use crate::harness::{Member, Program, Site};
use crate::model::Model;

const STEPS: usize = 1500;
const STEPS_LONG: usize = 10_000;
/// How far above the newest revision the generated ones reach, after they are moved there.
const FUTURE: i64 = 4;

/// What the door refuses by the form of the request alone; the model sees only what passed it.
const REFUSED_AT_THE_DOOR: &[&str] = &["etcdserver: duplicate key given in txn request"];

#[test]
fn the_model_says_what_etcd_says() {
    let Some(program) = Program::etcd() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let member = runtime.block_on(Member::start(&program, Site::new(folder.path())));
    let etcd = Etcd { address: member.endpoint().trim_start_matches("http://").to_owned() };
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"));
    let steps = if std::env::var("LONG").is_ok() { STEPS_LONG } else { STEPS };
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() });
    let (commands, ranges) = (command(), range());
    let mut model = Model::new();
    let (mut carried_out, mut refused, mut read, mut at_the_door, mut events) = (0, 0, 0, 0, 0);

    for step in 0..steps {
        let query = near(ranges.new_tree(&mut runner).unwrap().current(), &model);
        let found = etcd.call("kv/range", &range_json(&query)).map(|reply| range_reply(&reply));
        let promised = model.range(&query).map_err(|rejection| text(&rejection).to_owned());
        assert_eq!(found, promised, "SEED={seed} step {step}: {query:?}");
        read += 1;

        let command = near_command(commands.new_tree(&mut runner).unwrap().current(), &model);
        let Some((path, body)) = command_json(&command) else { continue };
        if matches!(command, Command::Compact(_)) {
            // Before the history is gone.
            events += compare_events(&etcd, &model);
        }
        let found = etcd.call(path, &body).map(|reply| reply_of(&command, &reply));
        if found.as_ref().is_err_and(|error| REFUSED_AT_THE_DOOR.contains(&error.as_str())) {
            at_the_door += 1;
            continue;
        }
        let promised = model.apply(&command).map(shown).map_err(|rejection| text(&rejection).to_owned());
        assert_eq!(found, promised, "SEED={seed} step {step}: {command:?}");
        *(if found.is_ok() { &mut carried_out } else { &mut refused }) += 1;
    }

    events += compare_events(&etcd, &model);
    println!(
        "{read} ranges, {carried_out} commands carried out, {refused} refused, {at_the_door} stopped at the door, \
         {events} events, revision {}",
        model.revision()
    );
    assert!(carried_out > steps / 4 && refused > 0, "the sequence was worth its time");
}

/// Compares what a watcher of everything is told of the history that is left; the number of events.
fn compare_events(etcd: &Etcd, model: &Model) -> usize {
    // In the compacted revision itself some of the events may be gone.
    let from = model.compacted().next().max(Revision(1));
    let promised = model.events_from(from).unwrap();
    assert_eq!(etcd.events(from, promised.len()), promised, "events from {from}");
    promised.len()
}

/// The JSON gateway of one member.
struct Etcd {
    address: String,
}

impl Etcd {
    /// The answer, or the text of the error.
    fn call(&self, path: &str, body: &Value) -> Result<Value, String> {
        let mut text = String::new();
        self.post(path, body).read_to_string(&mut text).unwrap();
        let reply: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path} {body}: {error}: {text}"));
        match reply.get("code") {
            Some(_) => Err(reply["message"].as_str().unwrap_or_default().to_owned()),
            None => Ok(reply),
        }
    }

    /// The first `count` events from a revision on.
    fn events(&self, from: Revision, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        if count == 0 {
            // There would be nothing to wait for.
            return events;
        }
        let all = base64(b"\0");
        let body = json!({ "create_request": {
            "key": all, "range_end": all, "start_revision": from.0.to_string(), "prev_kv": true,
        }});
        for line in self.post("watch", &body).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            events.extend(array(&line["result"]["events"]).iter().map(|event| Event {
                kind: if event["type"] == "DELETE" { EventKind::Delete } else { EventKind::Put },
                record: record(&event["kv"]),
                prev: event.get("prev_kv").map(record),
            }));
            if events.len() >= count {
                break;
            }
        }
        events
    }

    fn post(&self, path: &str, body: &Value) -> BufReader<Box<dyn Read>> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "POST /v3/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut is_chunked = false;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            is_chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked\r\n");
            if line == "\r\n" || line.is_empty() {
                break;
            }
        }
        let body: Box<dyn Read> = if is_chunked { Box::new(Chunks { reader, left: 0 }) } else { Box::new(reader) };
        BufReader::new(body)
    }
}

/// The content of a chunked HTTP body.
struct Chunks {
    reader: BufReader<TcpStream>,
    left: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            while line.trim().is_empty() {
                line.clear();
                if self.reader.read_line(&mut line)? == 0 {
                    return Ok(0);
                }
            }
            self.left = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        }
        let len = self.left.min(buffer.len());
        let len = self.reader.read(&mut buffer[..len])?;
        self.left -= len;
        Ok(len)
    }
}

/// Moves generated revisions to where the history is.
fn moved(revision: i64, model: &Model) -> i64 {
    let shift = (model.revision().0 + FUTURE - REVISION_MAX).max(0);
    if (1..REVISION_MAX).contains(&revision) { revision + shift } else { revision }
}

fn near(query: Range, model: &Model) -> Range {
    Range {
        revision: moved(query.revision, model),
        min_mod_revision: moved(query.min_mod_revision, model),
        max_mod_revision: moved(query.max_mod_revision, model),
        min_create_revision: moved(query.min_create_revision, model),
        max_create_revision: moved(query.max_create_revision, model),
        ..query
    }
}

fn near_command(command: Command, model: &Model) -> Command {
    match command {
        Command::Txn(txn) => Command::Txn(near_txn(txn, model)),
        Command::Compact(mut compact) => {
            // Not always close to the newest: there would be little history left to read.
            compact.revision = Revision(moved(compact.revision.0, model));
            Command::Compact(compact)
        }
        other => other,
    }
}

fn near_txn(txn: Txn, model: &Model) -> Txn {
    let op = |op| match op {
        TxnOp::Range(range) => TxnOp::Range(near(range, model)),
        TxnOp::Txn(txn) => TxnOp::Txn(near_txn(txn, model)),
        other => other,
    };
    let compare = |compare: Compare| Compare {
        target: match compare.target {
            CompareTarget::Create(operand) => CompareTarget::Create(moved(operand, model)),
            CompareTarget::Mod(operand) => CompareTarget::Mod(moved(operand, model)),
            other => other,
        },
        ..compare
    };
    Txn {
        compare: txn.compare.into_iter().map(compare).collect(),
        success: txn.success.into_iter().map(op).collect(),
        failure: txn.failure.into_iter().map(op).collect(),
    }
}

/// The route and the body; `None` for what no client sends, and for what etcd does not survive.
fn command_json(command: &Command) -> Option<(&'static str, Value)> {
    Some(match command {
        Command::Put(put) => ("kv/put", put_json(put)),
        Command::DeleteRange(delete) => ("kv/deleterange", delete_json(delete)),
        Command::Txn(txn) if may_keep_what_it_deletes(txn) => return None,
        Command::Txn(txn) => ("kv/txn", txn_json(txn)),
        Command::Compact(compact) => ("kv/compaction", json!({ "revision": compact.revision.0.to_string() })),
        Command::LeaseGrant(grant) => {
            ("lease/grant", json!({ "ID": grant.id.0.to_string(), "TTL": grant.ttl.to_string() }))
        }
        Command::LeaseRevoke(revoke) => ("lease/revoke", json!({ "ID": revoke.id.0.to_string() })),
        Command::Alarm(change) => ("maintenance/alarm", alarm_json(*change)),
        Command::Auth(_)
        | Command::Authenticate(_)
        | Command::LeaseExpire(_)
        | Command::LeaseCheckpoint(_)
        | Command::MemberSet(_)
        | Command::MembersFound(_)
        | Command::MemberAdd(_)
        | Command::MemberRemove(_)
        | Command::MemberUpdate(_)
        | Command::MemberPromote(_)
        | Command::MembersReduce(_)
        | Command::Downgrade(_)
        | Command::MemberAttributes(_) => return None,
    })
}

fn alarm_json(change: AlarmChange) -> Value {
    let (action, Alarm { member, kind }) = match change {
        AlarmChange::Raise(alarm) => ("ACTIVATE", alarm),
        AlarmChange::Lower(alarm) => ("DEACTIVATE", alarm),
    };
    let kind = match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    };
    json!({ "action": action, "memberID": member.0.to_string(), "alarm": kind })
}

/// etcd panics if a put is to keep the value of a key that an earlier operation of the txn deleted.
fn may_keep_what_it_deletes(txn: &Txn) -> bool {
    fn any(txn: &Txn, is: fn(&TxnOp) -> bool) -> bool {
        let ops = txn.success.iter().chain(&txn.failure);
        ops.into_iter().any(|op| is(op) || matches!(op, TxnOp::Txn(nested) if any(nested, is)))
    }
    any(txn, |op| matches!(op, TxnOp::DeleteRange(_)))
        && any(txn, |op| matches!(op, TxnOp::Put(put) if put.ignore_value || put.ignore_lease))
}

fn put_json(put: &Put) -> Value {
    json!({
        "key": base64(&put.key), "value": base64(&put.value), "lease": put.lease.0.to_string(),
        "prev_kv": put.prev_kv, "ignore_value": put.ignore_value, "ignore_lease": put.ignore_lease,
    })
}

fn delete_json(delete: &DeleteRange) -> Value {
    json!({
        "key": base64(&delete.keys.start), "range_end": range_end(&delete.keys), "prev_kv": delete.prev_kv,
    })
}

fn range_json(query: &Range) -> Value {
    let order = match query.sort_order {
        SortOrder::None => 0,
        SortOrder::Ascend => 1,
        SortOrder::Descend => 2,
    };
    let target = match query.sort_target {
        SortTarget::Key => 0,
        SortTarget::Version => 1,
        SortTarget::Create => 2,
        SortTarget::Mod => 3,
        SortTarget::Value => 4,
    };
    json!({
        "key": base64(&query.keys.start), "range_end": range_end(&query.keys), "limit": query.limit.to_string(),
        "revision": query.revision.to_string(), "sort_order": order, "sort_target": target,
        "keys_only": query.keys_only, "count_only": query.count_only,
        "min_mod_revision": query.min_mod_revision.to_string(), "max_mod_revision": query.max_mod_revision.to_string(),
        "min_create_revision": query.min_create_revision.to_string(),
        "max_create_revision": query.max_create_revision.to_string(),
    })
}

fn txn_json(txn: &Txn) -> Value {
    let op = |op: &TxnOp| match op {
        TxnOp::Range(range) => json!({ "request_range": range_json(range) }),
        TxnOp::Put(put) => json!({ "request_put": put_json(put) }),
        TxnOp::DeleteRange(delete) => json!({ "request_delete_range": delete_json(delete) }),
        TxnOp::Txn(txn) => json!({ "request_txn": txn_json(txn) }),
    };
    json!({
        "compare": txn.compare.iter().map(compare_json).collect::<Vec<_>>(),
        "success": txn.success.iter().map(op).collect::<Vec<_>>(),
        "failure": txn.failure.iter().map(op).collect::<Vec<_>>(),
    })
}

fn compare_json(compare: &Compare) -> Value {
    let result = match compare.result {
        CompareResult::Equal => 0,
        CompareResult::Greater => 1,
        CompareResult::Less => 2,
        CompareResult::NotEqual => 3,
        CompareResult::Unknown => 77,
    };
    let (target, field, operand) = match &compare.target {
        CompareTarget::Version(operand) => (0, "version", operand.to_string()),
        CompareTarget::Create(operand) => (1, "create_revision", operand.to_string()),
        CompareTarget::Mod(operand) => (2, "mod_revision", operand.to_string()),
        CompareTarget::Value(operand) => (3, "value", base64(operand)),
        CompareTarget::Lease(operand) => (4, "lease", operand.to_string()),
        CompareTarget::Unknown => (77, "version", "0".to_owned()),
    };
    let mut json = json!({
        "key": base64(&compare.keys.start), "range_end": range_end(&compare.keys), "result": result, "target": target,
    });
    json[field] = operand.into();
    json
}

fn range_end(keys: &KeyRange) -> String {
    match &keys.end {
        RangeEnd::Single => String::new(),
        RangeEnd::Before(end) => base64(end),
        RangeEnd::Unbounded => base64(b"\0"),
    }
}

fn reply_of(command: &Command, json: &Value) -> Reply {
    let revision = Revision(number(&json["header"]["revision"]));
    match command {
        Command::Put(_) => Reply::Put(put_reply(json)),
        Command::DeleteRange(_) => Reply::DeleteRange(delete_reply(json)),
        Command::Txn(_) => Reply::Txn(txn_reply(json)),
        Command::Compact(_) => Reply::Compact { revision },
        Command::LeaseGrant(_) => {
            Reply::LeaseGrant(GrantReply { revision, id: LeaseId(number(&json["ID"])), ttl: number(&json["TTL"]) })
        }
        Command::LeaseRevoke(_) => Reply::LeaseRevoke { revision },
        Command::Alarm(change) => {
            let (AlarmChange::Raise(alarm) | AlarmChange::Lower(alarm)) = *change;
            let is_told = json["alarms"].as_array().is_some_and(|alarms| !alarms.is_empty());
            Reply::Alarm { revision, alarm: is_told.then_some(alarm) }
        }
        Command::Auth(_)
        | Command::Authenticate(_)
        | Command::LeaseExpire(_)
        | Command::LeaseCheckpoint(_)
        | Command::MemberSet(_)
        | Command::MembersFound(_)
        | Command::MemberAdd(_)
        | Command::MemberRemove(_)
        | Command::MemberUpdate(_)
        | Command::MemberPromote(_)
        | Command::MembersReduce(_)
        | Command::Downgrade(_)
        | Command::MemberAttributes(_) => Reply::Done { revision },
    }
}

fn put_reply(json: &Value) -> PutReply {
    PutReply { revision: Revision(number(&json["header"]["revision"])), prev: json.get("prev_kv").map(record) }
}

fn delete_reply(json: &Value) -> DeleteReply {
    DeleteReply {
        revision: Revision(number(&json["header"]["revision"])),
        deleted: number(&json["deleted"]),
        prev: array(&json["prev_kvs"]).iter().map(record).collect(),
    }
}

fn range_reply(json: &Value) -> RangeReply {
    RangeReply {
        revision: Revision(number(&json["header"]["revision"])),
        kvs: array(&json["kvs"]).iter().map(record).collect(),
        more: json["more"] == true,
        count: number(&json["count"]),
    }
}

fn txn_reply(json: &Value) -> TxnReply {
    let op = |op: &Value| {
        let (kind, reply) = op.as_object().and_then(|op| op.iter().next()).expect("an answer has one kind");
        match kind.as_str() {
            "response_range" => OpReply::Range(range_reply(reply)),
            "response_put" => OpReply::Put(put_reply(reply)),
            "response_delete_range" => OpReply::DeleteRange(delete_reply(reply)),
            "response_txn" => OpReply::Txn(txn_reply(reply)),
            other => panic!("{other}"),
        }
    };
    TxnReply {
        revision: Revision(number(&json["header"]["revision"])),
        succeeded: json["succeeded"] == true,
        responses: array(&json["responses"]).iter().map(op).collect(),
    }
}

/// The reply as clients see it: a nested txn does not show its revision.
fn shown(mut reply: Reply) -> Reply {
    fn hide(txn: &mut TxnReply) {
        for op in &mut txn.responses {
            if let OpReply::Txn(nested) = op {
                nested.revision = Revision(0);
                hide(nested);
            }
        }
    }
    if let Reply::Txn(txn) = &mut reply {
        hide(txn);
    }
    reply
}

fn text(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::KeyNotFound => "etcdserver: key not found",
        Rejection::LeaseNotFound => "etcdserver: requested lease not found",
        Rejection::LeaseExists => "etcdserver: lease already exists",
        Rejection::LeaseTtlTooLarge => "etcdserver: too large lease TTL",
        Rejection::Compacted { .. } => "etcdserver: mvcc: required revision has been compacted",
        Rejection::FutureRevision { .. } => "etcdserver: mvcc: required revision is a future revision",
        Rejection::NoSpace => "etcdserver: mvcc: database space exceeded",
        Rejection::Corrupt => "etcdserver: corrupt cluster",
        Rejection::Auth(_)
        | Rejection::MemberNotFound
        | Rejection::MemberRemoved
        | Rejection::MemberExists
        | Rejection::PeerUrlExists
        | Rejection::MemberNotLearner
        | Rejection::TooManyLearners => unreachable!("no command about members or users is sent"),
    }
}

fn record(json: &Value) -> Record {
    Record::new(&KeyValue {
        key: &bytes(&json["key"]),
        value: &bytes(&json["value"]),
        create_revision: Revision(number(&json["create_revision"])),
        mod_revision: Revision(number(&json["mod_revision"])),
        version: number(&json["version"]),
        lease: LeaseId(number(&json["lease"])),
    })
}

fn array(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

/// The gateway writes 64-bit numbers as strings, and leaves zero out.
fn number(json: &Value) -> i64 {
    json.as_str().map_or(0, |number| number.parse().expect("a number"))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, i| word << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let is_padding = i > chunk.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[(word >> (18 - 6 * i)) as usize & 63]) });
        }
    }
    text
}

fn bytes(json: &Value) -> Bytes {
    let (mut bytes, mut word, mut bits) = (Vec::new(), 0u32, 0);
    for letter in json.as_str().unwrap_or_default().bytes().filter(|letter| *letter != b'=') {
        let digit = ALPHABET.iter().position(|other| *other == letter).expect("it is base64");
        word = word << 6 | u32::try_from(digit).expect("below 64");
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    bytes.into()
}
