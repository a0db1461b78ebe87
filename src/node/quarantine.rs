//! A member that was found to differ does not start again with its data.
//!
//! Whoever looks after its process would start it at once, and it would be served until it is found anew. So the reason
//! is left in the data folder, and a start that finds it there is refused.

use std::io;
use std::path::Path;

use crate::env::{Disk, SyncSite};

/// Holds the reason, for people.
const FILE: &str = "differs";
/// The same while it is written.
const FILE_NEW: &str = "differs.new";
/// More is not read of it.
const REASON_BYTES_MAX: u64 = 4096;

/// Leaves the reason.
///
/// # Errors
/// Whatever the disk says; the member may start again then.
pub(super) fn impose(disk: &dyn Disk, why: &str) -> io::Result<()> {
    let (file, file_new) = (Path::new(FILE), Path::new(FILE_NEW));
    if disk.exists(file_new)? {
        disk.remove(file_new)?;
    }
    let open = disk.create(file_new)?;
    open.write_all_at(0, why.as_bytes())?;
    open.sync_data(SyncSite::DataFolder)?;
    disk.rename(file_new, file)?;
    disk.sync_dir(Path::new("."), SyncSite::DataFolder)
}

/// Why the member must not start, if so.
///
/// # Errors
/// Whatever the disk says.
pub fn reason(disk: &dyn Disk) -> io::Result<Option<String>> {
    if !disk.exists(Path::new(FILE))? {
        return Ok(None);
    }
    let open = disk.open(Path::new(FILE))?;
    let len = open.len()?.min(REASON_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    open.read_exact_at(0, &mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Image, SimDisk};

    #[test]
    fn a_reason_stays_through_a_power_cut() {
        let disk = SimDisk::new();
        assert_eq!(reason(&disk).unwrap(), None);
        impose(&disk, "first").unwrap();
        impose(&disk, "second").unwrap();
        let disk = disk.crash_image(Image::Nothing, 1);
        assert_eq!(reason(&disk).unwrap().as_deref(), Some("second"));
    }
}
