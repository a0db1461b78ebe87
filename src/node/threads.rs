//! What runs the bodies that have a thread of their own, and Raft's tasks.
//!
//! In a process the log and the checkpointer block their threads on the disk, and Raft has a runtime of its own so that
//! a storm of clients cannot make it late. A simulation has one thread for everything: there the same bodies are tasks of
//! the runtime that starts the node and take a step whenever there is something to do, so that a seed decides the order
//! of everything.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;

use crate::env::spawn_background;
use crate::raft::Checkpointer;
use crate::wal::Writer;

/// One worker applies while the other runs openraft's core.
const RAFT_WORKERS: usize = 2;

/// What runs the bodies of threads.
#[derive(Debug, Clone)]
pub enum Threading {
    /// Threads, and a runtime for Raft.
    Threads,
    /// Threads, and Raft on this runtime, which serves other members too and outlives the node.
    ThreadsAnd(Handle),
    /// Tasks of the runtime that starts the node; nothing blocks it.
    Tasks(Arc<dyn Pace>),
}

/// How fast a simulated disk is.
pub trait Pace: std::fmt::Debug + Send + Sync + 'static {
    /// How long the log waits before it looks for work again: what a sync takes, more or less.
    fn log_pause(&self) -> Duration;
    /// How long the checkpointer waits before it looks for work again.
    fn checkpoint_pause(&self) -> Duration;
}

/// A body that runs until what it serves is closed.
#[derive(Debug)]
pub(super) enum Body {
    Log(Box<Writer>),
    Checkpoints(Checkpointer),
}

/// A body that was started.
#[derive(Debug)]
pub(super) enum Running {
    Thread(&'static str, JoinHandle<()>),
    Task(&'static str, tokio::task::JoinHandle<()>),
}

/// The runtime of Raft's tasks. Dropped, it ends what still runs there if it is the node's own, and waits for nothing.
#[derive(Debug)]
pub(super) struct RaftRuntime {
    handle: Handle,
    own: Option<Runtime>,
}

/// Makes a runtime for Raft and for what other members ask.
///
/// # Errors
/// If the system has no thread left.
pub fn raft_runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(RAFT_WORKERS).thread_name("raft").enable_all().build()
}

impl Threading {
    pub(super) fn raft_runtime(&self) -> io::Result<RaftRuntime> {
        match self {
            Threading::Threads => {
                let own = raft_runtime()?;
                Ok(RaftRuntime { handle: own.handle().clone(), own: Some(own) })
            }
            Threading::ThreadsAnd(runtime) => Ok(RaftRuntime { handle: runtime.clone(), own: None }),
            Threading::Tasks(_) => Ok(RaftRuntime { handle: Handle::current(), own: None }),
        }
    }

    /// Starts a body. Its thread holds `lock` until it has ended.
    pub(super) fn start(&self, body: Body, lock: Option<Arc<File>>) -> io::Result<Running> {
        let name = match &body {
            Body::Log(_) => "wal",
            Body::Checkpoints(_) => "checkpoint",
        };
        match self {
            Threading::Threads | Threading::ThreadsAnd(_) => {
                let run = move || {
                    match body {
                        Body::Log(writer) => writer.run(),
                        Body::Checkpoints(checkpointer) => checkpointer.run(),
                    }
                    drop(lock);
                };
                Ok(Running::Thread(name, std::thread::Builder::new().name(name.into()).spawn(run)?))
            }
            Threading::Tasks(pace) => Ok(Running::Task(name, tokio::spawn(run_in_steps(body, pace.clone())))),
        }
    }

    /// Runs `work`, which takes long, on a thread that gives way. If that is not waited for, it is done nevertheless.
    pub(super) async fn background<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        match self {
            Threading::Threads | Threading::ThreadsAnd(_) => {
                let (done, result) = oneshot::channel();
                spawn_background(name, move || drop(done.send(work())))?;
                result.await.map_err(|_| io::Error::other("the thread has failed"))
            }
            Threading::Tasks(_) => Ok(work()),
        }
    }

    /// Runs `work`, which waits for the disk.
    pub(super) async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        match self {
            Threading::Threads | Threading::ThreadsAnd(_) => {
                tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
            }
            Threading::Tasks(_) => Ok(work()),
        }
    }
}

async fn run_in_steps(body: Body, pace: Arc<dyn Pace>) {
    match body {
        Body::Log(mut writer) => loop {
            tokio::time::sleep(pace.log_pause()).await;
            if !writer.step_now() {
                return;
            }
        },
        Body::Checkpoints(mut checkpointer) => loop {
            tokio::time::sleep(pace.checkpoint_pause()).await;
            match checkpointer.has_work() {
                Some(true) if !checkpointer.step() => return,
                Some(_) => {}
                None => return,
            }
        },
    }
}

impl Running {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Running::Thread(name, _) | Running::Task(name, _) => name,
        }
    }

    /// Waits for the end of the body, which must have been told to end.
    pub(super) async fn join(self) {
        let name = self.name();
        let has_ended = match self {
            Running::Thread(_, thread) => {
                matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(())))
            }
            Running::Task(_, task) => task.await.is_ok(),
        };
        if !has_ended {
            tracing::error!(thread = name, "a thread panicked");
        }
    }
}

impl RaftRuntime {
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for RaftRuntime {
    fn drop(&mut self) {
        if let Some(own) = self.own.take() {
            // Not waited for: whoever drops this may be a task.
            own.shutdown_background();
        }
    }
}
