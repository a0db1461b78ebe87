//! Power cuts: the file system is shut down under load, and everything that was not synced is gone.
//!
//! The data folder is on an ext4 file system in a file. `EXT4_IOC_SHUTDOWN` makes it drop all that is in memory, with or
//! without writing its own journal first; then it is mounted again, which replays the journal. `LODEMARK_CUTS=20` for
//! the long run. Needs root, `mkfs.ext4` and `perl` (for the ioctl).

use lodemark::env::{Random, SeededRandom};

use crate::harness::{Cut, Ext4, Member, Program, Site, has_program, number, seed, skip};
use crate::ledger::Load;

/// By default.
const CUTS: u64 = 3;
/// A cut comes after at least this many writes were acknowledged since the start, and at most so many more.
const WRITES_MIN: u64 = 500;
const WRITES_SPREAD: u64 = 3000;
const IMAGE_BYTES: u64 = 1024 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_under_load_lose_nothing_acknowledged() {
    cuts(&Program::lodemark(), number("LODEMARK_CUTS", CUTS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "checks the test itself on a real etcd"]
async fn power_cuts_of_a_real_etcd_pass_the_same_check() {
    if let Some(etcd) = Program::etcd() {
        cuts(&etcd, number("LODEMARK_CUTS", CUTS)).await;
    }
}

async fn cuts(program: &Program, cuts: u64) {
    if !rustix::process::geteuid().is_root() {
        return skip("root, to mount a file system");
    }
    for needed in ["mkfs.ext4", "mount", "umount", "perl"] {
        if !has_program(needed) {
            return skip(needed);
        }
    }
    let seed = seed();
    let random = SeededRandom::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(mut disk) = Ext4::make(folder.path(), IMAGE_BYTES) else {
        return skip("loop devices that can be mounted");
    };
    let mut site = Site::new(&disk.mounted);
    let mut load = Load::start();
    for cut in 1..=cuts {
        let server = Member::start(program, site).await;
        let context = format!("LODEMARK_SEED={seed}, before power cut {cut} of {cuts}");
        load.check(&server.endpoint(), &context).await;
        load.up(server.endpoint());
        load.acknowledges(WRITES_MIN + random.next_u64() % WRITES_SPREAD).await;
        load.doom();
        disk.cut(if cut % 2 == 1 { Cut::DropsJournal } else { Cut::WritesJournal });
        site = server.kill();
        load.down().await;
        disk.unmount();
        disk.mount().expect("it could be mounted before");
    }
    load.end().await;
    let server = Member::start(program, site).await;
    let context = format!("LODEMARK_SEED={seed}, after {cuts} power cuts");
    load.check(&server.endpoint(), &context).await;
    drop(server);
    println!("{cuts} power cuts, {} writes acknowledged, seed {seed}", load.count());
}
