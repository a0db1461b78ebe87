//! Golden scripts of the key space. What only shows at this door, reads that are overtaken, is in `overtaken`.
//!
//! Each command of a script is a write or a look of its own; `write "put a=1" "delete b"` makes several changes share a
//! revision. `sweep` frees what is compacted, `checkpoint` moves the tail to storage, `load` starts again from there.

use super::testing::{Result, Words, empty_storage, run_scripts, show, show_range};
use super::*;
use crate::model::{Event, EventKind, SubRevision};
use crate::storage::{Meta, Storage, TableWrite};

mod hashes;
mod overtaken;

#[test]
fn scripts() {
    run_scripts("mvcc", Runner::new);
}

struct Runner {
    store: Store,
    storage: Storage,
    pending: Vec<TableWrite>,
    pins: Vec<Pin>,
}

impl Runner {
    fn new() -> Runner {
        Runner { store: Store::new(), storage: empty_storage(), pending: Vec::new(), pins: Vec::new() }
    }

    fn write(&mut self, changes: &[Words]) -> Result<Vec<String>> {
        let mut events = Vec::new();
        let mut write = self.store.begin();
        let mut failed = Ok(());
        for change in changes.iter().map(Words::clone) {
            if let Err(error) = run_change(&mut write, change) {
                failed = Err(error);
                break;
            }
        }
        write.finish(&mut events, &mut self.pending);
        failed?;
        Ok(if events.is_empty() { vec!["no change".to_owned()] } else { events.iter().map(show_event).collect() })
    }

    fn meta(&self) -> Meta {
        Meta { revision: self.store.revision(), compacted: self.store.compacted(), ..Meta::default() }
    }
}

fn run_change(write: &mut Write<'_>, mut words: Words) -> Result<()> {
    match words.word()?.as_str() {
        "put" => {
            let (key, value) = words.pair()?;
            write.put(&key, &value, words.lease()?);
        }
        "delete" => drop(write.delete_range(&words.keys()?)),
        other => return Err(format!("not a change: {other}").into()),
    }
    words.end()
}

fn show_event(event: &Event) -> String {
    let prev = event.prev.as_ref().map(|prev| format!("  (before: {})", show(prev)));
    assert_eq!(event.kind == EventKind::Delete, event.record.is_tombstone());
    show(&event.record) + &prev.unwrap_or_default()
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _context: &goldenscript::Context) -> Result<String> {
        let mut words = Words::of(command);
        let refused = |error: ReadError| Ok::<_, Box<dyn std::error::Error>>(vec![format!("error: {error}")]);
        let lines = match command.name.as_str() {
            name @ ("put" | "delete") => {
                let change = words.after(name);
                words = Words::parse("");
                self.write(&[change])?
            }
            "write" => {
                let mut changes = Vec::new();
                while let Ok(change) = words.word() {
                    changes.push(Words::parse(&change));
                }
                self.write(&changes)?
            }
            "range" => {
                let query = words.range()?;
                match range(&self.store, &self.storage, &query) {
                    Ok(reply) => show_range(&reply),
                    Err(error) => refused(error)?,
                }
            }
            "compact" => match self.store.compact(words.revision()?) {
                Ok(()) => vec![format!("compacted={}", self.store.compacted())],
                Err(error) => refused(error)?,
            },
            "sweep" => {
                let keys_max = words.option("keys").map_or(Ok(usize::MAX), |keys| keys.parse())?;
                match self.store.compact_step(keys_max) {
                    None => vec!["nothing to free now".to_owned()],
                    Some(removed) => {
                        self.pending.extend(removed.iter().map(|&at| TableWrite::RemoveRecord { at }));
                        let places: Vec<String> = removed.iter().map(SubRevision::to_string).collect();
                        let rest = if self.store.is_compaction_done() { "" } else { ", not done" };
                        vec![format!("freed [{}]{rest}", places.join(" "))]
                    }
                }
            }
            "pin" => {
                self.pins.push(self.store.pin(words.revision()?));
                Vec::new()
            }
            "unpin" => {
                self.pins.clear();
                Vec::new()
            }
            "changes" => {
                let (from, through) = (words.revision()?, self.store.revision());
                let revisions_max = words.option("revisions").map_or(Ok(usize::MAX), |revisions| revisions.parse())?;
                match changes(&self.store, &self.storage, from, through, revisions_max, usize::MAX) {
                    Ok(found) => found.iter().map(|(at, record)| format!("{at}: {}", show(record))).collect(),
                    Err(error) => refused(error)?,
                }
            }
            "record" => {
                let (key, at) = (words.word()?, words.revision()?);
                let record = record_at(&self.store, &self.storage, key.as_bytes(), at)?;
                vec![record.as_ref().map_or("none".to_owned(), show)]
            }
            "checkpoint" => {
                self.storage.commit(&self.pending, &self.meta())?;
                self.pending.clear();
                self.store.release_tail(self.store.revision());
                Vec::new()
            }
            "load" => {
                let mut leased = Vec::new();
                self.store = Store::load(&self.storage, &self.storage.meta()?, usize::MAX, &mut |key, lease| {
                    leased.push(format!("{} is attached to {}", key.escape_ascii(), lease.0));
                })?;
                self.pending.clear();
                leased
            }
            "status" => vec![format!(
                "revision={} compacted={} live={} tail from {}",
                self.store.revision(),
                self.store.compacted(),
                self.store.live_keys(),
                self.store.tail_start().map_or("nowhere".to_owned(), |at| at.to_string()),
            )],
            other => return Err(format!("no such command: {other}").into()),
        };
        words.end()?;
        Ok(lines.join("\n"))
    }
}
