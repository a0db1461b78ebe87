//! Why a log cannot be opened.

use std::io;
use std::path::{Path, PathBuf};

use super::format::FORMAT;
use crate::env::DAMAGE_REMEDY;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
    #[error("cannot use {}: {source}", file.display())]
    Io {
        /// The segment, or the folder of the log.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something that was durable is missing or changed.
    #[error("{} is damaged at byte {offset}: {why}; {DAMAGE_REMEDY}", file.display())]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A newer version wrote it.
    #[error(
        "{} was written by a newer version: it has format {found}, this version reads up to {FORMAT}; start a later version",
        file.display()
    )]
    Newer {
        /// The segment.
        file: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// An error of [`crate::env`] about `file`.
pub(super) fn at(file: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { file: file.to_path_buf(), source }
}
