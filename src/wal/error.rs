//! Why a log cannot be opened.

use std::io;
use std::path::PathBuf;

use super::format::FORMAT;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
    #[error("cannot use the log: {0}")]
    Io(#[from] io::Error),
    /// Something that was durable is missing or changed.
    #[error(
        "{} is damaged at byte {offset}: {why}; do not serve from it: restore this member from the others or from a backup",
        file.display()
    )]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A newer version wrote it.
    #[error("{} was written by a newer version: it has format {found}, this version reads up to {FORMAT}", file.display())]
    Newer {
        /// The segment.
        file: PathBuf,
        /// Its format.
        found: u32,
    },
}
