//! Golden scripts of what commands do.
//!
//! Each command of a script is a log entry of its own. A txn is written as
//!
//! ```text
//! txn "if version(k) = 0" "then put k=a" "else range k" "else txn inner"
//! ```
//!
//! where `let inner "if .." ..` has named the inner txn. An answer is shown first, then the events, marked with `->`.
//! A member is written `2 name peer=a,b client=c learner` (no name: it has not started); what the table of members says is
//! shown in the same way. `term 2` lets another leader write the entries that follow; `restart` starts again from the last `checkpoint` and
//! applies the log after it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::model::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseCheckpoint, LeaseExpire, LeaseGrant, LeaseId,
    LeaseRevoke, MemberAdd, MemberAttributes, MemberUpdate, OpReply, Put, RangeReply, Txn, TxnOp, TxnReply,
};
use crate::mvcc::testing::{Result, Words, empty_storage, run_scripts, show, show_range};
use crate::mvcc::{self, ReadError};
use crate::storage::TableWrite;

#[test]
fn scripts() {
    run_scripts("machine", Runner::new);
}

#[test]
fn the_chain_tells_every_part_of_a_change_apart() {
    let chain = |command: Command| {
        let (mut machine, storage, mut effects) = (Machine::new(), empty_storage(), Effects::default());
        let grant = Command::LeaseGrant(LeaseGrant { id: LeaseId(1), ttl: 600 });
        machine.begin_entry(LogId { term: 1, index: 1 }).unwrap();
        for command in [grant, command] {
            machine.apply(&command, &storage, &mut effects).unwrap().unwrap();
        }
        machine.chain()
    };
    let base = Member {
        id: MemberId(1),
        name: "name".into(),
        peer_urls: vec!["p".into(), "q".into()],
        client_urls: vec!["c".into()],
        is_learner: false,
    };
    let members = [
        base.clone(),
        Member { id: MemberId(2), ..base.clone() },
        Member { name: "names".into(), ..base.clone() },
        Member { peer_urls: vec!["pq".into()], ..base.clone() },
        Member { peer_urls: vec!["p".into()], client_urls: vec!["q".into(), "c".into()], ..base.clone() },
        Member { client_urls: Vec::new(), ..base.clone() },
        Member { is_learner: true, ..base },
    ];
    let checkpoint = |seconds| LeaseCheckpoint { remaining: vec![(LeaseId(1), seconds)], term: 1, as_of: 0 };
    let mut chains: Vec<u64> = members.into_iter().map(|member| chain(Command::MemberSet(member))).collect();
    chains.extend([100, 101].map(|seconds| chain(Command::LeaseCheckpoint(checkpoint(seconds)))));
    let different: std::collections::BTreeSet<u64> = chains.iter().copied().collect();
    assert_eq!(different.len(), chains.len(), "{chains:x?}");
}

struct Runner {
    machine: Machine,
    storage: Storage,
    term: u64,
    /// The entries since the last checkpoint, with what they wrote.
    log: Vec<(LogId, Command)>,
    pending: Vec<TableWrite>,
    txns: BTreeMap<String, Txn>,
}

impl Runner {
    fn new() -> Runner {
        Runner {
            machine: Machine::new(),
            storage: empty_storage(),
            term: 1,
            log: Vec::new(),
            pending: Vec::new(),
            txns: BTreeMap::new(),
        }
    }

    fn apply(&mut self, command: Command) -> Result<Vec<String>> {
        let at = LogId { term: self.term, index: self.machine.applied().index + 1 };
        let mut effects = Effects::default();
        self.machine.begin_entry(at)?;
        let mut lines = match self.machine.apply(&command, &self.storage, &mut effects)? {
            Ok(reply) => show_reply(&reply),
            Err(rejection) => {
                let untouched = effects.events.is_empty() && effects.writes.is_empty() && effects.members.is_empty();
                assert!(untouched, "a rejection changes nothing");
                vec![format!("error: {rejection}")]
            }
        };
        for event in &effects.events {
            let prev = event.prev.as_ref().map_or(String::new(), |prev| format!("  (before: {})", show(prev)));
            lines.push(format!("-> {}{prev}", show(&event.record)));
        }
        for change in &effects.leases {
            lines.push(match change {
                LeaseChange::Granted { id, ttl } => format!("-> lease {} begins, ttl={ttl}", id.0),
                LeaseChange::Ended { id } => format!("-> lease {} ends", id.0),
            });
        }
        if !effects.members.is_empty() {
            lines.push("-> members changed".to_owned());
        }
        self.pending.append(&mut effects.writes);
        self.log.push((at, command));
        Ok(lines)
    }

    fn members(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.machine.members.values().map(show_member).collect();
        lines.extend(self.machine.removed.iter().map(|id| format!("{id} was removed")));
        if lines.is_empty() { vec!["no members".to_owned()] } else { lines }
    }

    fn leases(&self) -> Vec<String> {
        let line = |(id, lease): (LeaseId, Lease)| {
            let keys: Vec<String> =
                self.machine.lessor.keys(id).iter().map(|key| key.escape_ascii().to_string()).collect();
            let left = if lease.remaining == 0 { String::new() } else { format!(" remaining={}", lease.remaining) };
            format!("lease {} ttl={}{left} keys=[{}]", id.0, lease.ttl, keys.join(" "))
        };
        if self.machine.lessor.is_empty() {
            vec!["no leases".to_owned()]
        } else {
            self.machine.lessor.iter().map(line).collect()
        }
    }

    fn restart(&mut self) -> Result<Vec<String>> {
        let (before, members) = (self.machine.meta(Bytes::new()), self.members());
        self.machine = Machine::load(&self.storage, usize::MAX)?;
        let loaded = format!("loaded as of {}, {} entries after it", self.machine.applied(), self.log.len());
        let mut effects = Effects::default();
        for (at, command) in &self.log {
            self.machine.begin_entry(*at)?;
            let _ = self.machine.apply(command, &self.storage, &mut effects)?;
        }
        self.pending = effects.writes;
        assert_eq!((self.machine.meta(Bytes::new()), self.members()), (before, members), "a restart changes nothing");
        Ok(vec![loaded])
    }

    fn txn(&self, words: &mut Words) -> Result<Txn> {
        let mut txn = Txn::default();
        while let Ok(part) = words.word() {
            let mut words = Words::parse(&part);
            match words.word()?.as_str() {
                "if" => txn.compare.push(compare(&part)?),
                "then" => txn.success.push(self.op(words)?),
                "else" => txn.failure.push(self.op(words)?),
                other => return Err(format!("not a part of a txn: {other}").into()),
            }
        }
        Ok(txn)
    }

    fn op(&self, mut words: Words) -> Result<TxnOp> {
        let op = match words.word()?.as_str() {
            "put" => TxnOp::Put(put(&mut words)?),
            "delete" => TxnOp::DeleteRange(delete(&mut words)?),
            "range" => TxnOp::Range(words.range()?),
            "txn" => TxnOp::Txn(self.txns.get(&words.word()?).ok_or("no such txn")?.clone()),
            other => return Err(format!("not an operation: {other}").into()),
        };
        words.end()?;
        Ok(op)
    }
}

fn put(words: &mut Words) -> Result<Put> {
    // Flags go first, so that a put that keeps its value may do with a key alone.
    let (ignore_value, ignore_lease) = (words.flag("ignore_value"), words.flag("ignore_lease"));
    let (prev_kv, lease) = (words.flag("prev_kv"), words.lease()?);
    let (key, value) = if ignore_value { (words.word()?.into(), Bytes::new()) } else { words.pair()? };
    Ok(Put { key, value, lease, prev_kv, ignore_value, ignore_lease })
}

fn delete(words: &mut Words) -> Result<DeleteRange> {
    Ok(DeleteRange { prev_kv: words.flag("prev_kv"), keys: words.keys()? })
}

fn member(words: &mut Words) -> Result<Member> {
    let is_learner = words.flag("learner");
    let (peer_urls, client_urls) = (urls(words, "peer"), urls(words, "client"));
    Ok(Member { id: member_id(words)?, name: words.word().unwrap_or_default(), peer_urls, client_urls, is_learner })
}

fn member_id(words: &mut Words) -> Result<MemberId> {
    Ok(MemberId(words.word()?.parse()?))
}

fn urls(words: &mut Words, name: &str) -> Vec<String> {
    words.option(name).map_or(Vec::new(), |urls| urls.split(',').map(str::to_owned).collect())
}

fn show_member(member: &Member) -> String {
    let Member { id, name, peer_urls, client_urls, is_learner } = member;
    let kind = if *is_learner { " learner" } else { "" };
    format!("{id} {name:?} peer={} client={}{kind}", peer_urls.join(","), client_urls.join(","))
}

/// Reads `if target(keys) operator operand`; the operand of a value may be missing.
fn compare(text: &str) -> Result<Compare> {
    let mut parts = text.split_whitespace().skip(1);
    let (target, keys) = parts.next().and_then(|word| word.strip_suffix(')')?.split_once('(')).ok_or("no target")?;
    let result = match parts.next() {
        Some("=") => CompareResult::Equal,
        Some("!=") => CompareResult::NotEqual,
        Some("<") => CompareResult::Less,
        Some(">") => CompareResult::Greater,
        Some("?") => CompareResult::Unknown,
        other => return Err(format!("no such operator: {other:?}").into()),
    };
    let operand = parts.next().unwrap_or_default();
    let target = match target {
        "version" => CompareTarget::Version(operand.parse()?),
        "create" => CompareTarget::Create(operand.parse()?),
        "mod" => CompareTarget::Mod(operand.parse()?),
        "lease" => CompareTarget::Lease(operand.parse()?),
        "value" => CompareTarget::Value(operand.to_owned().into()),
        "unknown" => CompareTarget::Unknown,
        other => return Err(format!("no such target: {other}").into()),
    };
    Ok(Compare { keys: Words::parse(keys).keys()?, result, target })
}

fn show_reply(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Put(reply) => show_op(&OpReply::Put(reply.clone())),
        Reply::DeleteRange(reply) => show_op(&OpReply::DeleteRange(reply.clone())),
        Reply::Txn(reply) => show_op(&OpReply::Txn(reply.clone())),
        Reply::LeaseGrant(reply) => {
            vec![format!("granted {} ttl={} at revision={}", reply.id.0, reply.ttl, reply.revision)]
        }
        Reply::Authenticate { revision, index, auth_revision } => {
            vec![format!("token of entry {index} and auth revision {auth_revision} at revision={revision}")]
        }
        Reply::Alarm { revision, alarm } => vec![format!("alarm {alarm:?} at revision={revision}")],
        Reply::Compact { revision } | Reply::LeaseRevoke { revision } | Reply::Done { revision } => {
            vec![format!("done at revision={revision}")]
        }
    }
}

fn show_op(reply: &OpReply) -> Vec<String> {
    let prevs = |prevs: &[crate::model::Record]| prevs.iter().map(|prev| format!("before: {}", show(prev))).collect();
    match reply {
        OpReply::Range(reply) => show_range(reply),
        OpReply::Put(reply) => {
            let mut lines: Vec<String> = prevs(reply.prev.as_slice());
            lines.push(format!("put at revision={}", reply.revision));
            lines
        }
        OpReply::DeleteRange(reply) => {
            let mut lines: Vec<String> = prevs(&reply.prev);
            lines.push(format!("deleted={} at revision={}", reply.deleted, reply.revision));
            lines
        }
        OpReply::Txn(TxnReply { revision, succeeded, responses }) => {
            let outcome = if *succeeded { "then" } else { "else" };
            let mut lines = vec![format!("{outcome} at revision={revision}")];
            for line in responses.iter().flat_map(show_op) {
                lines.push(format!("  {line}"));
            }
            lines
        }
    }
}

fn show_read(reply: std::result::Result<RangeReply, ReadError>) -> Vec<String> {
    match reply {
        Ok(reply) => show_range(&reply),
        Err(error) => vec![format!("error: {error}")],
    }
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _context: &goldenscript::Context) -> Result<String> {
        let mut words = Words::of(command);
        let lines = match command.name.as_str() {
            "put" => {
                let put = put(&mut words)?;
                self.apply(Command::Put(put))?
            }
            "delete" => {
                let delete = delete(&mut words)?;
                self.apply(Command::DeleteRange(delete))?
            }
            "txn" => {
                let txn = self.txn(&mut words)?;
                self.apply(Command::Txn(txn))?
            }
            "let" => {
                let (name, txn) = (words.word()?, self.txn(&mut words)?);
                self.txns.insert(name, txn);
                Vec::new()
            }
            "compact" => {
                let revision = words.revision()?;
                self.apply(Command::Compact(Compact { revision, physical: false }))?
            }
            "grant" => {
                let (id, ttl) = (LeaseId(words.word()?.parse()?), words.number("ttl")?);
                self.apply(Command::LeaseGrant(LeaseGrant { id, ttl }))?
            }
            "revoke" => {
                let id = LeaseId(words.word()?.parse()?);
                self.apply(Command::LeaseRevoke(LeaseRevoke { id }))?
            }
            "expire" => {
                let (term, as_of) = (words.number("term")?.unsigned_abs(), words.number("as_of")?.unsigned_abs());
                let mut ids = Vec::new();
                while let Ok(id) = words.word() {
                    ids.push(LeaseId(id.parse()?));
                }
                self.apply(Command::LeaseExpire(LeaseExpire { ids, term, as_of }))?
            }
            "remains" => {
                let (term, as_of) = (words.number("term")?.unsigned_abs(), words.number("as_of")?.unsigned_abs());
                let mut remaining = Vec::new();
                while let Ok((id, seconds)) = words.pair() {
                    let number =
                        |bytes: Bytes| Ok::<i64, Box<dyn std::error::Error>>(std::str::from_utf8(&bytes)?.parse()?);
                    remaining.push((LeaseId(number(id)?), number(seconds)?));
                }
                self.apply(Command::LeaseCheckpoint(LeaseCheckpoint { remaining, term, as_of }))?
            }
            "member_set" => {
                let member = member(&mut words)?;
                self.apply(Command::MemberSet(member))?
            }
            "found" => {
                let mut members = Vec::new();
                while let Ok(text) = words.word() {
                    members.push(member(&mut Words::parse(&text))?);
                }
                self.apply(Command::MembersFound(members))?
            }
            "add" => {
                let learners_max = words.option("learners_max").map_or(Ok(1), |max| max.parse())?;
                let member = member(&mut words)?;
                self.apply(Command::MemberAdd(MemberAdd { member, learners_max }))?
            }
            "remove" => {
                let id = member_id(&mut words)?;
                self.apply(Command::MemberRemove(id))?
            }
            "update" => {
                let (peer_urls, id) = (urls(&mut words, "peer"), member_id(&mut words)?);
                self.apply(Command::MemberUpdate(MemberUpdate { id, peer_urls }))?
            }
            "promote" => {
                let id = member_id(&mut words)?;
                self.apply(Command::MemberPromote(id))?
            }
            "attributes" => {
                let (client_urls, id) = (urls(&mut words, "client"), member_id(&mut words)?);
                let name = words.word()?;
                self.apply(Command::MemberAttributes(MemberAttributes { id, name, client_urls }))?
            }
            "members" => self.members(),
            "term" => {
                self.term = words.word()?.parse()?;
                Vec::new()
            }
            "range" => show_read(mvcc::range(&self.machine.kv, &self.storage, &words.range()?)),
            "leases" => self.leases(),
            "checkpoint" => {
                self.storage.commit(&self.pending, &self.machine.meta(Bytes::new()))?;
                self.pending.clear();
                self.log.clear();
                self.machine.kv.release_tail(self.machine.kv.revision());
                Vec::new()
            }
            "restart" => self.restart()?,
            other => return Err(format!("no such command: {other}").into()),
        };
        words.end()?;
        Ok(lines.join("\n"))
    }
}
