//! This program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Process;
use super::member::own_program;

/// The line that tells where clients are served.
const SERVING: &str = "serving client traffic insecurely";
/// The line that tells where other members are served.
const SERVING_PEERS: &str = "serving peer traffic";

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Flags besides those for folder and sockets.
    pub flags: Vec<String>,
    /// The data folder; a new one if there is none.
    pub data_dir: Option<PathBuf>,
}

/// A server that was ready when it was made.
#[derive(Debug)]
pub struct Server {
    process: Process,
    options: Options,
    /// `host:port`.
    client_address: String,
    peer_address: String,
    /// Holds data folder, if it is ours, and working directory.
    temp: TempDir,
}

impl Server {
    /// Starts a server on a folder of its own and waits until it is ready.
    pub fn start(options: &Options) -> Server {
        let temp = tempfile::tempdir().expect("a temporary folder");
        Server::launch(options.clone(), temp, "127.0.0.1:0", "127.0.0.1:0")
    }

    fn launch(options: Options, temp: TempDir, client_address: &str, peer_address: &str) -> Server {
        let data_dir = options.data_dir.clone().unwrap_or_else(|| temp.path().join("data"));
        let mut arguments = vec![
            format!("--listen-client-urls=http://{client_address}"),
            format!("--advertise-client-urls=http://{client_address}"),
            format!("--listen-peer-urls=http://{peer_address}"),
        ];
        arguments.extend(options.flags.iter().cloned());
        let mut arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        arguments.push("--data-dir".into());
        arguments.push(data_dir.into_os_string());

        let process = Server::run(&arguments, temp.path());
        let client_address = address(&process.wait_for_line(SERVING, 0));
        let peer_address = address(&process.wait_for_line(SERVING_PEERS, 0));
        Server { process, options, client_address, peer_address, temp }
    }

    /// Starts the program with these arguments alone and waits for nothing.
    pub fn run(arguments: &[OsString], working_dir: &Path) -> Process {
        Process::start(&own_program(), arguments, working_dir)
    }

    /// Where clients are served, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.client_address)
    }

    /// Where clients are served, as `host:port`.
    pub fn client_address(&self) -> &str {
        &self.client_address
    }

    /// Where other members are served, as `host:port`.
    pub fn peer_address(&self) -> &str {
        &self.peer_address
    }

    pub fn data_dir(&self) -> PathBuf {
        self.options.data_dir.clone().unwrap_or_else(|| self.temp.path().join("data"))
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it with SIGTERM; gives the exit status.
    pub fn terminate(&mut self) -> Option<i32> {
        self.process.terminate();
        self.process.wait().code()
    }

    /// Starts it again after its end, on the same folder and ports.
    pub fn restart(mut self) -> Server {
        assert!(!self.process.is_running(), "it has to be ended first");
        let Server { process, options, client_address, peer_address, temp } = self;
        drop(process);
        Server::launch(options, temp, &client_address, &peer_address)
    }
}

/// The field `address` of a log line.
pub fn address(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    line["address"].as_str().unwrap_or_else(|| panic!("no address in {line}")).to_owned()
}
