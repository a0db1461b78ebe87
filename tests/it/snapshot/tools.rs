//! The commands of both programs.

use std::ffi::OsStr;
use std::path::Path;

use crate::harness::{Process, own_program, reference};

/// Exit status, and what was printed to stdout and stderr.
pub type Output = (Option<i32>, String, String);

/// Runs our program to its end.
pub fn lodemark<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Output {
    run(&own_program(), arguments)
}

/// Runs one of etcd's to its end.
pub fn of_etcd<'a>(name: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Output {
    run(&reference().expect("the test asked before").join(name), arguments)
}

fn run<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a OsStr>) -> Output {
    let arguments: Vec<_> = arguments.into_iter().map(OsStr::to_owned).collect();
    Process::start(program, &arguments, &std::env::temp_dir()).output()
}
