//! Files of etcd's.

use std::path::Path;
use std::sync::Arc;

use lodemark::bolt::any_bytes::{Meta, encode_meta};
use lodemark::env::{Disk, File, MemoryDisk};
use lodemark::etcd_file::{DigestCheck, Error, SnapshotFile};

const PAGE_BYTES: usize = 512;

/// Any bytes as a snapshot whose digest nobody looks at: it is refused, or all of it is read.
pub fn etcd_snapshot(bytes: &[u8]) -> bool {
    let read = read(bytes);
    super::told(read.as_ref().err());
    read.is_ok()
}

/// Any bytes as the pages behind two metas that are right: the first byte tells which is the root.
pub fn etcd_pages(bytes: &[u8]) -> bool {
    let Some((&root, pages)) = bytes.split_first() else { return false };
    let count = pages.len().div_ceil(PAGE_BYTES) as u64;
    let meta = |id: u64| {
        let transaction = 2 - id;
        encode_meta(id, &Meta { page_bytes: PAGE_BYTES as u32, root: u64::from(root), pages: 2 + count, transaction })
    };
    let mut file = [meta(0), meta(1), pages.to_vec()].concat();
    file.resize(file.len().next_multiple_of(PAGE_BYTES), 0);
    etcd_snapshot(&file)
}

/// Reads everything that a restore would.
fn read(bytes: &[u8]) -> Result<(), Error> {
    let file = MemoryDisk::new().create(Path::new("file")).expect("memory does not fail");
    file.write_all_at(0, bytes).expect("memory does not fail");
    let file: Arc<dyn File> = Arc::from(file);
    let snapshot = SnapshotFile::open(file, DigestCheck::Skipped, &mut |_| ())?;
    snapshot.status(&mut |_| ())?;
    // Each may be refused though the others are fine.
    super::told(snapshot.revisions(true).err().as_ref());
    super::told(snapshot.leases().err().as_ref());
    super::told(snapshot.alarms().err().as_ref());
    super::told(snapshot.downgrade().err().as_ref());
    super::told(snapshot.auth().err().as_ref());
    snapshot.each_record::<Error>(&mut |_, _| Ok(()))
}
