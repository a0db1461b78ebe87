//! The servers that are compared.

use std::path::{Path, PathBuf};

use crate::harness::{Etcd, Options, Server};

/// A program to compare.
#[derive(Debug, Clone)]
pub enum Program {
    /// etcd, in this folder.
    Etcd(PathBuf),
    /// This crate's.
    Own,
}

/// A server of one member. It ends with the value.
pub enum Process {
    Etcd(Etcd),
    Own(Server),
}

impl Process {
    /// Starts one member. etcd syncs nothing: what is lost in a crash is not the question here, and it waits for each
    /// sync.
    pub fn start(program: &Program) -> Process {
        match program {
            Program::Etcd(folder) => Process::Etcd(Etcd::start(folder, &["--unsafe-no-fsync"])),
            Program::Own => Process::Own(Server::start(&Options::default())),
        }
    }

    pub fn endpoint(&self) -> String {
        match self {
            Process::Etcd(etcd) => etcd.endpoint(),
            Process::Own(server) => server.endpoint(),
        }
    }
}

/// What is compared with etcd: this crate's program, or the etcd in the folder that `LODEMARK_DIFF_SUBJECT` names.
pub fn subject(reference: &Path) -> Program {
    match std::env::var_os("LODEMARK_DIFF_SUBJECT") {
        Some(name) if name == "reference" => Program::Etcd(reference.to_owned()),
        Some(folder) => Program::Etcd(folder.into()),
        None => Program::Own,
    }
}
