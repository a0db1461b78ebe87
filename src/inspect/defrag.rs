//! `lodemark defrag`: writes the checkpoint of a stopped member anew, without what is free in it.
//!
//! A member that runs does that by itself, or when `etcdctl defrag` asks for it, and goes on meanwhile; this is for one that
//! does not, as `etcdutl defrag` is. The only command here that writes: by the same way as a member, in a file beside the
//! old one, which takes its place when it is whole and durable. Killed at any point, it leaves what a member starts on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::error::Error;
use super::folder::lock_to_write;
use super::opened::CACHE_BYTES;
use super::{DATA_DIR_DEFAULT, DEFRAG_USAGE, fail};
use crate::command::{Given, Operands, Verb, print, size};
use crate::env::RealDisk;
use crate::node::STATE_FILE;
use crate::storage::{Haste, Rewrite, Storage, SwapError};

/// What may be said with it.
pub const DEFRAG: Verb = Verb { name: "", values: &["data-dir"], switches: &[], operands: Operands::None };

/// Runs `lodemark defrag` with the arguments that follow.
#[must_use]
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match run(&mut arguments) {
        Ok(told) => {
            print(&told);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, DEFRAG_USAGE),
    }
}

fn run(arguments: &mut dyn Iterator<Item = OsString>) -> Result<String, Error> {
    let mut given = Given::read(arguments, &DEFRAG)?;
    if given.wants_help {
        return Ok(DEFRAG_USAGE.to_owned());
    }
    let data_dir = PathBuf::from(given.take("data-dir").unwrap_or_else(|| DATA_DIR_DEFAULT.to_owned()));
    let (member, _lock) = lock_to_write(&data_dir)?;
    let disk = Arc::new(RealDisk::new(&member));
    let storage = Arc::new(Storage::open(disk.clone(), Path::new(STATE_FILE), CACHE_BYTES)?);
    let before = storage.file_bytes()?;
    rewrite(&storage, disk).map_err(|error| match error {
        SwapError::Kept(error) | SwapError::Unknown(error) => error,
    })?;
    let after = storage.file_bytes()?;
    storage.close();
    Ok(format!("defragmented {}: {} before, {} now\n", member.join(STATE_FILE).display(), size(before), size(after)))
}

fn rewrite(storage: &Arc<Storage>, disk: Arc<RealDisk>) -> Result<(), SwapError> {
    let mut rewrite = Rewrite::begin(storage.clone(), disk, Haste::Quick)?;
    while rewrite.step()? {}
    rewrite.finish()
}
