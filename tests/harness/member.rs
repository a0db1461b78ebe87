//! A member of either kind, this program or etcd, that is killed and started again in its place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use etcd_client::Client;
use tokio::time::timeout;

use super::ports::free_port;
use super::process::WAIT_MAX;
use super::{Process, reference};

/// Between two looks at whether it serves.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a member runs.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    /// What its command begins with, such as a tracer.
    wrapper: Vec<OsString>,
}

impl Program {
    /// This program.
    pub fn lodemark() -> Program {
        Program::at(own_program())
    }

    /// A real etcd, to check a test itself; `None`, said plainly, if the test has to be skipped.
    pub fn etcd() -> Option<Program> {
        Some(Program::at(reference()?.join("etcd")))
    }

    /// Whether it is this program.
    pub fn is_lodemark(&self) -> bool {
        self.path == Path::new(env!("CARGO_BIN_EXE_lodemark"))
    }

    /// The program at `path`, which is one of the two.
    pub fn at(path: PathBuf) -> Program {
        Program { path, wrapper: Vec::new() }
    }

    /// The same, started by `wrapper`, which must leave the process id to the program.
    pub fn under<I: IntoIterator<Item = T>, T: Into<OsString>>(self, wrapper: I) -> Program {
        Program { wrapper: wrapper.into_iter().map(Into::into).collect(), ..self }
    }

    /// Starts it with these arguments and waits for nothing.
    pub fn start(&self, arguments: impl IntoIterator<Item = OsString>, working_dir: &Path) -> Process {
        let mut words = self.wrapper.clone();
        words.push(self.path.clone().into());
        words.extend(arguments);
        let first = PathBuf::from(words.remove(0));
        Process::start(&first, &words, working_dir)
    }
}

/// This program as the tests were built with it, or another build of it that `LODEMARK_BIN` names.
pub fn own_program() -> PathBuf {
    match std::env::var_os("LODEMARK_BIN") {
        Some(path) => std::fs::canonicalize(path).expect("LODEMARK_BIN is a program"),
        None => env!("CARGO_BIN_EXE_lodemark").into(),
    }
}

/// What a member keeps from one start to the next.
#[derive(Debug, Clone)]
pub struct Site {
    folder: PathBuf,
    client_port: u16,
    peer_port: u16,
    flags: Vec<String>,
}

impl Site {
    /// Data in `folder`, on ports that are free.
    pub fn new(folder: &Path) -> Site {
        Site { folder: folder.to_owned(), client_port: free_port(), peer_port: free_port(), flags: Vec::new() }
    }

    /// The same, with `flags` for the member.
    pub fn with_flags(self, flags: impl IntoIterator<Item = String>) -> Site {
        Site { flags: flags.into_iter().collect(), ..self }
    }

    /// The same ports, with data in another folder, which is made.
    pub fn in_folder(self, folder: &Path) -> Site {
        std::fs::create_dir_all(folder).expect("a new folder");
        Site { folder: folder.to_owned(), ..self }
    }

    /// Where clients are served, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Where the member would serve others, as a URL.
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// Where the member keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }
}

/// One member, running.
#[derive(Debug)]
pub struct Member {
    process: Process,
    site: Site,
}

impl Member {
    /// Starts a member with the data and the ports of `site`, and waits until it reads linearizably.
    pub async fn start(program: &Program, site: Site) -> Member {
        let peer = site.peer_url();
        let arguments = [
            "--name=m1".to_owned(),
            format!("--listen-client-urls={}", site.endpoint()),
            format!("--advertise-client-urls={}", site.endpoint()),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=m1={peer}"),
            "--data-dir".to_owned(),
        ];
        let data_dir = site.data_dir().into();
        let flags = site.flags.iter().map(OsString::from);
        let arguments = arguments.into_iter().map(OsString::from).chain([data_dir]).chain(flags);
        let mut member = Member { process: program.start(arguments, &site.folder), site };
        member.wait_until_it_serves().await;
        member
    }

    async fn wait_until_it_serves(&mut self) {
        let endpoint = self.site.endpoint();
        let served = timeout(WAIT_MAX, async {
            loop {
                assert!(self.process.is_running(), "the member ends instead of serving");
                // A new client each time: one that was refused waits long before it tries again.
                let mut client = Client::connect([&endpoint], None).await.expect("etcd-client connects lazily");
                match client.get("any", None).await {
                    Ok(_) => return,
                    // It has users, and asks who this is.
                    Err(error) if error.to_string().contains("user name is empty") => return,
                    Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        });
        served.await.expect("a member serves in time");
    }

    pub fn endpoint(&self) -> String {
        self.site.endpoint()
    }

    /// The process that runs.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A client with a connection of its own.
    pub async fn client(&self) -> Client {
        Client::connect([self.endpoint()], None).await.expect("etcd-client connects lazily")
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) -> Site {
        self.process.kill();
        self.site
    }

    /// Ends it with SIGTERM.
    pub fn terminate(mut self) -> ExitStatus {
        self.process.terminate();
        self.process.wait()
    }

    /// Waits until it ends by itself.
    pub fn ended(mut self) -> (Site, ExitStatus) {
        let status = self.process.wait();
        (self.site, status)
    }
}
