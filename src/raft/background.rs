//! Work beside Raft that waits for the disk, on a thread that gives way.

use std::io;
use std::sync::mpsc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::env::spawn_background;

/// Work that was begun.
#[derive(Debug)]
pub(super) struct Begun<T>(oneshot::Receiver<T>);

impl<T> Begun<T> {
    /// Waits for it.
    ///
    /// # Errors
    /// If it panicked, or what was done before it.
    pub(super) async fn result(self) -> io::Result<T> {
        self.0.await.map_err(|_| io::Error::other("the thread has failed"))
    }
}

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
        // Whoever gives work waits for what was given before, so there is never more than one that waits.
        let (jobs, queue) = mpsc::sync_channel::<Job>(1);
        spawn_background(name, move || queue.into_iter().for_each(|job| job()))?;
        Ok(Background { jobs: Some(jobs) })
    }

    /// Does `work` and waits for it. If that is given up, the work is done nevertheless and its result dropped.
    ///
    /// # Errors
    /// If it panicked, or what was done before it.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        self.begin(work).result().await
    }

    /// Begins `work`, to be waited for before the next is given. It is done even if this is dropped in between.
    pub(super) fn begin<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Begun<T> {
        let (done, result) = oneshot::channel();
        // Whoever waits no more, or has given work to a thread that has failed, learns it from the result.
        self.leave(move || drop(done.send(work())));
        Begun(result)
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
