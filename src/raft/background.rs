//! Work beside Raft that waits for the disk, on a thread that gives way.

use std::io;
use std::sync::mpsc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::env::spawn_background;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one thing after another until this is dropped. Where there is only one thread for everything, in a
/// simulation, the work is done in place.
pub(super) struct Background {
    jobs: Option<mpsc::SyncSender<Job>>,
}

impl Background {
    /// Starts the thread; to be called on a runtime.
    ///
    /// # Errors
    /// If the system starts no more threads.
    pub(super) fn start(name: &str) -> io::Result<Background> {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(Background { jobs: None });
        }
        // Whoever gives work waits for it, so there is never more than one that waits.
        let (jobs, queue) = mpsc::sync_channel::<Job>(1);
        spawn_background(name, move || queue.into_iter().for_each(|job| job()))?;
        Ok(Background { jobs: Some(jobs) })
    }

    /// Does `work` and waits for it. If that is given up, the work is done nevertheless and its result dropped.
    ///
    /// # Errors
    /// If it panicked, or what was done before it.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let Some(jobs) = &self.jobs else { return Ok(work()) };
        let (done, result) = oneshot::channel();
        let job = Box::new(move || drop(done.send(work())));
        let failed = || io::Error::other("the thread has failed");
        jobs.send(job).map_err(|_| failed())?;
        result.await.map_err(|_| failed())
    }

    /// Does `work` when there is time, after what was given before; nobody hears of it.
    pub(super) fn leave(&self, work: impl FnOnce() + Send + 'static) {
        match &self.jobs {
            // A thread that has failed drops it, which is all that is left to do.
            Some(jobs) => drop(jobs.send(Box::new(work))),
            None => work(),
        }
    }
}
