//! What the program's commands have in common: their arguments, and how they tell how far they are.
//!
//! A command has verbs (`snapshot save`), or is one itself (`check`). What flags a verb has is said once, in a [`Verb`]: by
//! that its arguments are read ([`Given`]), and shells complete them.

mod given;
mod progress;

pub(crate) use self::given::text;
pub use self::given::{Given, UsageError};
pub(crate) use self::progress::{Progress, size};

/// One thing that the program does besides serving, and what may be said with it.
#[derive(Debug, Clone, Copy)]
pub struct Verb {
    /// How it is called; empty for a command that does only one thing.
    pub name: &'static str,
    /// Flags that take a value, without dashes.
    pub values: &'static [&'static str],
    /// Flags that are true or false.
    pub switches: &'static [&'static str],
    /// What may stand beside flags.
    pub operands: Operands,
}

/// What may stand beside the flags of a [`Verb`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operands {
    /// Nothing.
    None,
    /// Files.
    Files,
    /// One of some words.
    Words(&'static [&'static str]),
}

/// Prints to stdout; a reader that has gone away is no fault.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
