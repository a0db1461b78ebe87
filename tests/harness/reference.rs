//! The real etcd, to compare with.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Process;
use super::server::address;

/// The folder that holds the binaries of etcd: `etcd`, `etcdctl`, `etcdutl`.
const VARIABLE: &str = "LODEMARK_REFERENCE_BIN";
/// With the value 1 a test without a reference fails instead of being skipped.
const NO_SKIP: &str = "LODEMARK_NO_SKIP";

/// The folder with the binaries of etcd; `None`, said plainly, if the test has to be skipped.
pub fn reference() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        let folder = PathBuf::from(folder);
        assert!(folder.join("etcd").is_file(), "{VARIABLE} is {}, and there is no etcd in it", folder.display());
        return Some(folder);
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let why = format!("{VARIABLE} does not name the folder of an etcd 3.7 to compare with");
    assert!(std::env::var(NO_SKIP).as_deref() != Ok("1"), "{test}: {why}");
    println!("SKIPPED {test}: {why}");
    None
}

/// A running etcd, on a folder and ports of its own.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    address: String,
    temp: TempDir,
}

impl Etcd {
    /// Starts it with `flags` and waits until it is ready.
    pub fn start(reference: &Path, flags: &[&str]) -> Etcd {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let fixed = [
            "--listen-client-urls=http://127.0.0.1:0",
            "--advertise-client-urls=http://127.0.0.1:0",
            "--listen-peer-urls=http://127.0.0.1:0",
            "--data-dir=data",
        ];
        let arguments: Vec<OsString> = fixed.iter().chain(flags).map(OsString::from).collect();
        let process = Process::start(&reference.join("etcd"), &arguments, temp.path());
        let address = address(&process.wait_for_line("serving client traffic insecurely", 0));
        Etcd { process, address, temp }
    }

    /// Where clients are served, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where clients are served, as `host:port`.
    pub fn client_address(&self) -> &str {
        &self.address
    }

    pub fn data_dir(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
