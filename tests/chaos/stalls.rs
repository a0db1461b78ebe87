//! When the machine's own disk stands still.
//!
//! Virtual disks do so now and then, for seconds, and no member can acknowledge anything meanwhile. A thread asks all the
//! time, by a small write and a sync beside the members' disks, and remembers how long that took.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::checks::history::Moment;
use super::journal::Journal;

/// From one sync to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// A sync that takes longer is a disk that stands still; a millisecond is usual.
const STALL_MIN: Duration = Duration::from_millis(500);

/// Looks after the disk until it is ended.
#[derive(Debug)]
pub struct Lookout {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<Stall>>>,
}

/// A time in which the disk stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    pub from: Moment,
    pub to: Moment,
}

impl Lookout {
    /// Begins, with a file in `folder`.
    pub fn begin(folder: &Path, journal: Arc<Journal>) -> Lookout {
        let is_over = Arc::new(AtomicBool::new(false));
        let (path, stops) = (folder.join("lookout"), is_over.clone());
        let thread = std::thread::spawn(move || {
            let mut file = File::create(path)?;
            let mut stalls = Vec::new();
            while !stops.load(Ordering::Relaxed) {
                let asked = journal.now();
                std::thread::sleep(PAUSE);
                let begun = journal.now();
                file.write_all(b"still there?")?;
                file.sync_data()?;
                let ended = journal.now();
                if ended - begun > STALL_MIN {
                    // It may have begun at any time since the sync before.
                    stalls.push(Stall { from: asked, to: ended });
                }
            }
            Ok(stalls)
        });
        Lookout { is_over, thread }
    }

    /// Ends; gives all stalls in their order.
    pub fn end(self) -> Vec<Stall> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic").expect("a file within a temporary folder can be written to")
    }
}

/// How much of the time between two moments the disk stood still.
pub fn within(stalls: &[Stall], from: Moment, to: Moment) -> Duration {
    stalls.iter().map(|stall| stall.to.min(to).saturating_sub(stall.from.max(from))).sum()
}

#[test]
fn only_what_is_within_counts() {
    let seconds = Duration::from_secs;
    let stalls = [(1, 3), (5, 9), (20, 30)].map(|(from, to)| Stall { from: seconds(from), to: seconds(to) });
    assert_eq!(within(&stalls, seconds(2), seconds(6)), seconds(2));
    assert_eq!(within(&stalls, seconds(10), seconds(20)), seconds(0));
    assert_eq!(within(&stalls, seconds(0), seconds(40)), seconds(16));
}
