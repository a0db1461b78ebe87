//! What a check found, for people and for scripts.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::super::error::Error;
use super::super::folder::StoppedFolder;
use crate::storage;
use crate::wal;

/// The outcome in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// All is as it was written.
    Healthy,
    /// Something could not be read, so nothing is known of it.
    Unread,
    /// Something is not as it was written.
    Damaged,
}

impl Health {
    fn name(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Unread => "not checked",
            Health::Damaged => "damaged",
        }
    }
}

/// Everything that was found.
#[derive(Debug)]
pub struct Report {
    /// In the order in which they were checked.
    pub parts: Vec<Part>,
}

/// What was found in one part.
#[derive(Debug)]
pub struct Part {
    /// What it is.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What it holds, in numbers.
    pub facts: Vec<(&'static str, Value)>,
    /// What is worth knowing, and nothing is wrong with.
    pub notes: Vec<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Finding {
    /// In which file.
    pub file: PathBuf,
    /// At which byte of it, if that is known.
    pub offset: Option<u64>,
    /// The table and row, if that is known.
    pub place: Option<String>,
    /// The whole of it in words, and what to do.
    pub message: String,
    /// The file is not as it was written, as opposed to: it could not be read.
    pub is_damage: bool,
}

impl Report {
    /// The worst of its parts.
    #[must_use]
    pub fn health(&self) -> Health {
        self.parts.iter().map(Part::health).max().unwrap_or(Health::Healthy)
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {}: {}", part.name, part.path.display(), part.health().name());
            let facts: Vec<String> =
                part.facts.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
            if !facts.is_empty() {
                let _ = writeln!(text, "  {}", facts.join(", "));
            }
            for note in &part.notes {
                let _ = writeln!(text, "  note: {note}");
            }
            for finding in &part.findings {
                let _ = writeln!(text, "  {}: {}", if finding.is_damage { "DAMAGE" } else { "ERROR" }, finding.message);
            }
        }
        let _ = writeln!(text, "{}", self.health().name());
        text
    }

    pub(super) fn to_json(&self) -> String {
        let parts: Vec<Value> = self.parts.iter().map(Part::to_json).collect();
        format!("{}\n", json!({ "health": self.health().name(), "parts": parts }))
    }
}

impl Part {
    pub(super) fn new(name: &'static str, path: PathBuf) -> Part {
        Part { name, path, facts: Vec::new(), notes: Vec::new(), findings: Vec::new() }
    }

    pub(super) fn fact(&mut self, name: &'static str, value: impl Into<Value>) {
        self.facts.push((name, value.into()));
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(super) fn damage(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Notes down what ended the check of it.
    pub(super) fn error(&mut self, folder: &StoppedFolder, error: &Error) {
        let (file, offset, place) = whereabouts(error);
        self.findings.push(Finding {
            file: file.map_or_else(|| self.path.clone(), |file| folder.name_of(&file)),
            offset,
            place,
            message: error.to_string(),
            is_damage: error.is_damage(),
        });
    }

    /// The worst of its findings.
    #[must_use]
    pub fn health(&self) -> Health {
        let of = |finding: &Finding| if finding.is_damage { Health::Damaged } else { Health::Unread };
        self.findings.iter().map(of).max().unwrap_or(Health::Healthy)
    }

    fn to_json(&self) -> Value {
        let facts: Map<String, Value> =
            self.facts.iter().map(|(name, value)| (name.replace(' ', "_"), value.clone())).collect();
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|found| {
                json!({
                    "file": found.file,
                    "offset": found.offset,
                    "place": found.place,
                    "message": found.message,
                    "damage": found.is_damage,
                })
            })
            .collect();
        json!({
            "part": self.name,
            "path": self.path,
            "health": self.health().name(),
            "facts": facts,
            "notes": self.notes,
            "findings": findings,
        })
    }
}

/// A value without the quotes of JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// File, byte and row that an error tells of.
fn whereabouts(error: &Error) -> (Option<PathBuf>, Option<u64>, Option<String>) {
    match error {
        Error::Wal(wal::OpenError::Corrupt { file, offset, .. }) => (Some(file.clone()), Some(*offset), None),
        Error::Wal(wal::OpenError::Io { file, .. } | wal::OpenError::Newer { file, .. }) => {
            (Some(file.clone()), None, None)
        }
        Error::Storage(storage::Error::Corrupt { file, table, key, near, .. }) => {
            let place = match (table, key) {
                (Some(table), Some(key)) => Some(format!("{table}/{key}")),
                (Some(table), None) => Some(table.to_string()),
                (None, key) => key.clone().or_else(|| near.clone()),
            };
            (Some(file.clone()), None, place)
        }
        Error::Storage(
            storage::Error::Io { file, .. } | storage::Error::Foreign { file, .. } | storage::Error::Newer { file, .. },
        ) => (Some(file.clone()), None, None),
        _ => (None, None, None),
    }
}

/// Tells on a terminal what is about to be checked; the line is written over by the next one.
pub(super) fn tell_on_terminal(part: &'static str) {
    use std::io::IsTerminal;
    const CLEAR: &str = "\r\x1b[K";
    if std::io::stderr().is_terminal() {
        if part.is_empty() {
            eprint!("{CLEAR}");
        } else {
            eprint!("{CLEAR}checking the {part} ...");
        }
    }
}
