//! What a snapshot is, in a few numbers: what `etcdutl snapshot status` tells.

use std::collections::BTreeSet;

use super::bucket;
use super::error::{Error, RowDamage};
use super::snapshot_file::SnapshotFile;
use crate::model::{Record, RecordKey};

/// What a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// CRC32C over the names of all buckets, and over their rows.
    pub hash: u32,
    /// Of the last change.
    pub revision: i64,
    /// Keys that live.
    pub keys: usize,
    /// The length of the database.
    pub bytes: u64,
    /// The version of the storage; empty if it says none, as before 3.6.
    pub version: String,
}

impl SnapshotFile {
    /// Reads all of it; `told` hears how many rows were read.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn status(&self, told: &mut dyn FnMut(u64)) -> Result<Status, Error> {
        let (mut hash, mut revision, mut rows_read) = (0, 0, 0);
        let mut living: BTreeSet<Box<[u8]>> = BTreeSet::new();
        for found in self.buckets() {
            let (found, mut rows) = found?;
            hash = crc32c::crc32c_append(hash, found.name());
            let has_records = found.name() == bucket::KEY.as_bytes();
            while let Some((key, value)) = rows.next()? {
                hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value);
                rows_read += 1;
                told(rows_read);
                if !has_records {
                    continue;
                }
                let damaged = |why| Error::Row { bucket: bucket::KEY, row: key.escape_ascii().to_string(), why };
                let change = RecordKey::from_bytes(key).ok_or_else(|| damaged(RowDamage::Key))?;
                revision = change.at().main.0;
                if value.is_empty() {
                    // So etcdutl counts the revision that its restore raises.
                    living.insert(Box::default());
                    continue;
                }
                let record = Record::from_bytes(value).map_err(|why| damaged(why.into()))?;
                if change.is_tombstone() {
                    living.remove(record.key());
                } else {
                    living.insert(record.key().into());
                }
            }
        }
        let version = self.meta()?.version;
        Ok(Status { hash, revision, keys: living.len(), bytes: self.database_bytes(), version })
    }
}
