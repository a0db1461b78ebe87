//! The words of golden scripts about the key space, shared with those about the machine.
//!
//! Keys are written `a` for one key, `a..c` for those from a on below c, and `a..` for all from a on. A record is shown
//! as `k=v created=2 modified=3 version=2 lease=7`.

use std::collections::VecDeque;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use goldenscript::{Argument, Command};

use crate::env::SimDisk;
use crate::model::{KeyRange, LeaseId, Range, RangeEnd, RangeReply, Record, Revision, SortOrder, SortTarget};
use crate::storage::Storage;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// An empty checkpoint on a disk in memory.
pub(crate) fn empty_storage() -> Storage {
    Storage::open(Arc::new(SimDisk::new()), Path::new("state"), 1 << 20).expect("memory does not fail")
}

/// Runs every script below `src/<folder>/testscripts`, each with a runner of its own.
pub(crate) fn run_scripts<R: goldenscript::Runner>(folder: &str, mut runner: impl FnMut() -> R) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder).join("testscripts");
    let (mut folders, mut scripts) = (vec![root], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("scripts can be listed") {
            let path = entry.expect("scripts can be listed").path();
            if path.is_dir() { folders.push(path) } else { scripts.push(path) }
        }
    }
    assert!(!scripts.is_empty(), "there are scripts");
    scripts.sort();
    for script in scripts {
        println!("{}", script.display());
        goldenscript::run(&mut runner(), &script).expect("the script runs");
    }
}

/// The words after a command's name, to be taken one by one: `a`, or `a=b`.
#[derive(Debug, Clone)]
pub(crate) struct Words(VecDeque<(String, Option<String>)>);

impl Words {
    pub(crate) fn of(command: &Command) -> Words {
        let word = |argument: &Argument| match argument {
            Argument::KeyValue(key, value) => (key.clone(), Some(value.clone())),
            Argument::Positional(word) => (word.clone(), None),
            other => panic!("a new kind of argument: {other}"),
        };
        Words(command.args.iter().map(word).collect())
    }

    /// Words within a quoted argument; they have no spaces.
    pub(crate) fn parse(text: &str) -> Words {
        let word = |word: &str| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        };
        Words(text.split_whitespace().map(word).collect())
    }

    /// The same words after `first`.
    pub(crate) fn after(&self, first: &str) -> Words {
        let mut words = self.0.clone();
        words.push_front((first.to_owned(), None));
        Words(words)
    }

    /// The next word, which must be a plain one.
    pub(crate) fn word(&mut self) -> Result<String> {
        match self.0.pop_front() {
            Some((word, None)) => Ok(word),
            other => Err(format!("expected a word, found {other:?}").into()),
        }
    }

    /// The next word, which must be a `key=value`.
    pub(crate) fn pair(&mut self) -> Result<(Bytes, Bytes)> {
        match self.0.pop_front() {
            Some((key, Some(value))) => Ok((key.into(), value.into())),
            other => Err(format!("expected key=value, found {other:?}").into()),
        }
    }

    /// Whether a flag is there, anywhere.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let place = self.0.iter().position(|(word, value)| word == name && value.is_none());
        place.is_some_and(|place| self.0.remove(place).is_some())
    }

    /// The value of an option, anywhere.
    pub(crate) fn option(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(word, value)| word == name && value.is_some())?;
        self.0.remove(place)?.1
    }

    /// The value of an option that is a number; zero without it.
    pub(crate) fn number(&mut self, name: &str) -> Result<i64> {
        Ok(self.option(name).map_or(Ok(0), |number| number.parse())?)
    }

    pub(crate) fn lease(&mut self) -> Result<LeaseId> {
        Ok(LeaseId(self.number("lease")?))
    }

    pub(crate) fn revision(&mut self) -> Result<Revision> {
        Ok(Revision(self.word()?.parse()?))
    }

    pub(crate) fn keys(&mut self) -> Result<KeyRange> {
        let text = self.word()?;
        Ok(match text.split_once("..") {
            None => KeyRange::single(text.into()),
            Some((start, "")) => KeyRange { start: start.to_owned().into(), end: RangeEnd::Unbounded },
            Some((start, end)) => KeyRange::new(start.to_owned().into(), end.to_owned().into()),
        })
    }

    pub(crate) fn range(&mut self) -> Result<Range> {
        Ok(Range {
            keys: self.keys()?,
            limit: self.number("limit")?,
            revision: self.number("rev")?,
            sort_order: match self.option("order").as_deref() {
                None => SortOrder::None,
                Some("ascend") => SortOrder::Ascend,
                Some("descend") => SortOrder::Descend,
                Some(other) => return Err(format!("no such order: {other}").into()),
            },
            sort_target: match self.option("by").as_deref() {
                None | Some("key") => SortTarget::Key,
                Some("version") => SortTarget::Version,
                Some("create") => SortTarget::Create,
                Some("mod") => SortTarget::Mod,
                Some("value") => SortTarget::Value,
                Some(other) => return Err(format!("no such target: {other}").into()),
            },
            serializable: false,
            keys_only: self.flag("keys_only"),
            count_only: self.flag("count_only"),
            min_mod_revision: self.number("min_mod")?,
            max_mod_revision: self.number("max_mod")?,
            min_create_revision: self.number("min_create")?,
            max_create_revision: self.number("max_create")?,
        })
    }

    /// Refuses words that nobody took.
    pub(crate) fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("nobody knows {:?}", self.0).into()) }
    }
}

pub(crate) fn show(record: &Record) -> String {
    let pair = record.pair();
    if record.is_tombstone() {
        return format!("{} deleted modified={}", pair.key.escape_ascii(), pair.mod_revision);
    }
    let lease = if pair.lease.is_none() { String::new() } else { format!(" lease={}", pair.lease.0) };
    format!(
        "{}={} created={} modified={} version={}{lease}",
        pair.key.escape_ascii(),
        pair.value.escape_ascii(),
        pair.create_revision,
        pair.mod_revision,
        pair.version
    )
}

/// The pairs, a line each, and a last line with the rest.
pub(crate) fn show_range(reply: &RangeReply) -> Vec<String> {
    let mut lines: Vec<String> = reply.kvs.iter().map(show).collect();
    let more = if reply.more { " more" } else { "" };
    lines.push(format!("count={}{more} at revision={}", reply.count, reply.revision));
    lines
}
