//! Files that another has replaced: whoever reads on a pin keeps them, and then their space is given back.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redb::Database;

use super::error::guarded;
use crate::env::File;

/// What is given back at a time.
const PIECE_BYTES: u64 = 16 << 20;
/// How long the disk then rests.
const REST: Duration = Duration::from_millis(5);

/// A file that was replaced.
pub(super) struct Retired {
    pub(super) database: Database,
    /// `None` if a crash could find this file under the name still: then it must stay as it is.
    pub(super) file: Option<Arc<dyn File>>,
    /// Each pin has a clone.
    pub(super) pins: Arc<()>,
}

impl Retired {
    /// Tells whether somebody reads it. Nobody begins to.
    pub(super) fn is_read(&self) -> bool {
        Arc::strong_count(&self.pins) > 1
    }

    /// Closes it, and gives its space back piece by piece: a file system that frees a large file at once makes everybody
    /// wait who syncs meanwhile.
    pub(super) fn end(self, path: &Path) {
        // Nothing is lost if closing fails: the file has no name any more.
        let _ = guarded(path, || Ok(self.database.close()?));
        let Some(file) = self.file else { return };
        let mut len = file.len().unwrap_or(0);
        while len > PIECE_BYTES {
            len -= PIECE_BYTES;
            // The rest goes with the last handle.
            if file.set_len(len).is_err() {
                return;
            }
            thread::sleep(REST);
        }
    }
}
