//! The trace of a run: a hash over everything that anybody was told, in order.
//!
//! Two runs of one seed have the same trace, or something in the store depends on what a seed does not decide. With
//! `SIM_TRACE=file` every line goes to that file too: the first line that differs between two runs tells what it is.

use std::fmt;
use std::fs::File;
use std::hash::Hasher;
use std::io::{BufWriter, Write};

use super::checks::history::Moment;

/// The trace so far.
pub struct Trace {
    /// With fixed keys, unlike those of hash maps.
    hasher: std::hash::DefaultHasher,
    lines: u64,
    file: Option<BufWriter<File>>,
}

impl Trace {
    /// An empty trace.
    pub fn new() -> Trace {
        let file = std::env::var_os("SIM_TRACE").map(|path| File::create(path).expect("SIM_TRACE can be written"));
        Trace { hasher: std::hash::DefaultHasher::new(), lines: 0, file: file.map(BufWriter::new) }
    }

    /// Adds what happened at a moment: numbers that say what it was, and the bytes or words that were told.
    pub fn add(&mut self, at: Moment, numbers: &[u64], what: &[u8]) {
        self.lines += 1;
        self.hasher.write_u128(at.as_nanos());
        for &number in numbers {
            self.hasher.write_u64(number);
        }
        self.hasher.write(what);
        if let Some(file) = &mut self.file {
            writeln!(file, "{at:?} {numbers:?} {}", what.escape_ascii()).expect("SIM_TRACE can be written");
        }
    }

    /// Adds what can be shown.
    pub fn tell(&mut self, at: Moment, what: fmt::Arguments<'_>) {
        self.add(at, &[], what.to_string().as_bytes());
    }

    /// The hash of everything, and how much that was.
    pub fn finish(&self) -> (u64, u64) {
        (self.hasher.finish(), self.lines)
    }
}
