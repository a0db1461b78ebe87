//! A snapshot that was opened: all of it is checked before anything is made of it.

use std::io::{self, Write};
use std::sync::Arc;

use super::digest::{DIGEST_BYTES, Digest, Summing};
use super::error::{Error, RowDamage};
use super::{bucket, meta_key};
use crate::bolt::{Bucket, Reader, Rows};
use crate::env::File;
use crate::model::{RecordKey, Revision, STORAGE_VERSION};

/// Bytes that are summed up at a time.
const SUM_BYTES: usize = 1 << 20;
/// What versions before 3.6 do not tell.
const UNTOLD_VERSION: &str = "";

/// What is done about the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestCheck {
    /// It must be there and right.
    Required,
    /// It is not looked at, if it is there.
    Skipped,
}

/// A snapshot that was opened.
#[derive(Debug)]
pub struct SnapshotFile {
    reader: Reader,
    buckets: Vec<Bucket>,
    digest: Digest,
}

/// What bucket `meta` says of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreMeta {
    /// Empty if nobody has said.
    pub(super) version: String,
    /// What is compacted, be it freed or not.
    pub(super) compacted: Revision,
}

impl SnapshotFile {
    /// Opens a snapshot and checks its digest, every page of it, and its version. `told` hears how many bytes were gone
    /// through, up to twice the length of the file.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn open(file: Arc<dyn File>, check: DigestCheck, told: &mut dyn FnMut(u64)) -> Result<SnapshotFile, Error> {
        let len = file.len()?;
        let has_digest = Digest::is_at_end(len);
        if check == DigestCheck::Required && !has_digest {
            return Err(Error::NoDigest);
        }
        let database_len = if has_digest { len - DIGEST_BYTES as u64 } else { len };
        let digest = digest_of(&*file, database_len, told)?;
        if check == DigestCheck::Required {
            let mut expected = Digest([0; DIGEST_BYTES]);
            file.read_exact_at(database_len, &mut expected.0)?;
            if expected != digest {
                return Err(Error::Digest { expected, found: digest });
            }
        }
        let reader = Reader::open(file, database_len)?;
        let mut done = database_len;
        let page_bytes = reader.page_bytes();
        reader.check(|pages| {
            done += pages * page_bytes;
            told(done);
        })?;
        let snapshot = SnapshotFile { buckets: reader.buckets()?, reader, digest };
        snapshot.check_version()?;
        Ok(snapshot)
    }

    /// The digest of its database, whatever the file says.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The length of its database in bytes.
    #[must_use]
    pub fn database_bytes(&self) -> u64 {
        self.reader.bytes()
    }

    /// All buckets with their rows, in order.
    pub(super) fn buckets(&self) -> impl Iterator<Item = Result<(&Bucket, Rows<'_>), Error>> {
        self.buckets.iter().map(|bucket| Ok((bucket, self.reader.rows(bucket)?)))
    }

    /// The rows of a bucket; `None` if it is not there.
    pub(super) fn find(&self, name: &'static str) -> Result<Option<Rows<'_>>, Error> {
        let bucket = self.buckets.iter().find(|bucket| bucket.name() == name.as_bytes());
        Ok(bucket.map(|bucket| self.reader.rows(bucket)).transpose()?)
    }

    /// What bucket `meta` says of the store.
    pub(super) fn meta(&self) -> Result<StoreMeta, Error> {
        let mut meta = StoreMeta { version: UNTOLD_VERSION.to_owned(), compacted: Revision::NEVER_COMPACTED };
        let mut rows = self.find(bucket::META)?.ok_or(crate::bolt::Error::NoBucket { name: bucket::META })?;
        while let Some((key, value)) = rows.next()? {
            let damaged = || {
                let row = String::from_utf8_lossy(key).into_owned();
                Error::Row { bucket: bucket::META, row, why: RowDamage::Value }
            };
            if key == meta_key::STORAGE_VERSION.as_bytes() {
                meta.version = std::str::from_utf8(value).map_err(|_| damaged())?.to_owned();
            } else if key == meta_key::FINISHED_COMPACTION.as_bytes()
                || key == meta_key::SCHEDULED_COMPACTION.as_bytes()
            {
                // One that was not finished is at once for readers all the same.
                let compacted = RecordKey::from_bytes(value).ok_or_else(damaged)?.at().main;
                if compacted > Revision(0) {
                    meta.compacted = meta.compacted.max(compacted);
                }
            }
        }
        Ok(meta)
    }

    /// Versions before 3.6 say nothing.
    fn check_version(&self) -> Result<(), Error> {
        let StoreMeta { version, .. } = self.meta()?;
        let numbers = |version: &str| -> Option<(u64, u64)> {
            let mut numbers = version.split('.').map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        };
        let max = numbers(STORAGE_VERSION).expect("a version of ours has two numbers");
        match numbers(&version) {
            Some(found) if found <= max => Ok(()),
            None if version == UNTOLD_VERSION => Ok(()),
            _ => Err(Error::Newer { found: version, max: STORAGE_VERSION }),
        }
    }
}

fn digest_of(file: &dyn File, len: u64, told: &mut dyn FnMut(u64)) -> Result<Digest, Error> {
    let (mut summing, mut buffer, mut at) = (Summing::new(io::sink()), vec![0; SUM_BYTES], 0);
    while at < len {
        let piece = usize::try_from(len - at).map_or(SUM_BYTES, |left| left.min(SUM_BYTES));
        file.read_exact_at(at, &mut buffer[..piece])?;
        summing.write_all(&buffer[..piece])?;
        at += piece as u64;
        told(at);
    }
    Ok(summing.finish().1)
}
