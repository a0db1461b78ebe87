//! Where lines go: all places that the operator named, each line in one piece.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::journal::Journal;
use super::line::Level;
use super::rotation::RotatingFile;
use crate::config::{LogConfig, LogOutput, LogRotation};

/// Why there is no log. The texts are etcd's.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A file cannot be opened.
    #[error("open sink {path:?}: open {}: {source}", path.display())]
    File {
        /// As given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system has no journal.
    #[error("can't find journal ({0})")]
    Journal(#[source] io::Error),
}

/// Where lines go.
#[derive(Debug)]
pub(super) struct Outputs(Vec<Output>);

#[derive(Debug)]
enum Output {
    Stderr,
    Stdout,
    Journal(Journal),
    /// Appended to: whoever cuts it down from outside (`copytruncate`) may.
    File(Mutex<File>),
    Rotating(Mutex<RotatingFile>),
}

impl Outputs {
    pub(super) fn open(config: &LogConfig) -> Result<Outputs, OutputError> {
        config
            .outputs
            .iter()
            .map(|output| Output::open(output, config.rotation.as_ref()))
            .collect::<Result<_, _>>()
            .map(Outputs)
    }

    /// Writes a line, which has its end, everywhere. Who takes none has nobody to complain to.
    pub(super) fn write(&self, level: Level, line: &str) {
        for output in &self.0 {
            let _ = output.write(level, line);
        }
    }
}

impl Output {
    fn open(output: &LogOutput, rotation: Option<&LogRotation>) -> Result<Output, OutputError> {
        Ok(match (output, rotation) {
            (LogOutput::Stderr, _) => Output::Stderr,
            (LogOutput::Stdout, _) => Output::Stdout,
            (LogOutput::Journal, _) => Output::Journal(Journal::connect().map_err(OutputError::Journal)?),
            (LogOutput::File(path), None) => Output::File(Mutex::new(append(path).map_err(no_file(path))?)),
            (LogOutput::File(path), Some(rotation)) => {
                let file = RotatingFile::open(path, *rotation).map_err(no_file(path))?;
                Output::Rotating(Mutex::new(file))
            }
        })
    }

    fn write(&self, level: Level, line: &str) -> io::Result<()> {
        match self {
            Output::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes())?;
                stdout.flush()
            }
            // What the journal does not take is not lost.
            Output::Journal(journal) => {
                journal.send(level, line.trim_end_matches('\n')).or_else(|_| Output::Stderr.write(level, line))
            }
            Output::File(file) => file.lock().write_all(line.as_bytes()),
            Output::Rotating(file) => file.lock().write(line.as_bytes()),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn no_file(path: &Path) -> impl FnOnce(io::Error) -> OutputError {
    let path = path.to_path_buf();
    move |source| OutputError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(paths: &[&Path]) -> LogConfig {
        let outputs = paths.iter().map(|path| LogOutput::File(path.to_path_buf())).collect();
        LogConfig { outputs, ..LogConfig::default() }
    }

    #[test]
    fn every_file_gets_every_line_after_what_it_has() {
        let temp = tempfile::tempdir().unwrap();
        let (one, two) = (temp.path().join("one"), temp.path().join("two"));
        std::fs::write(&one, "earlier\n").unwrap();
        let outputs = Outputs::open(&config(&[&one, &two, Path::new("/dev/null")])).unwrap();
        outputs.write(Level::Info, "a\n");
        outputs.write(Level::Fatal, "b\n");
        assert_eq!(std::fs::read_to_string(one).unwrap(), "earlier\na\nb\n");
        assert_eq!(std::fs::read_to_string(two).unwrap(), "a\nb\n");
    }

    #[test]
    fn a_file_that_cannot_be_is_named() {
        let error = Outputs::open(&config(&[Path::new("/nowhere/at/all")])).unwrap_err().to_string();
        assert!(error.starts_with("open sink \"/nowhere/at/all\": open /nowhere/at/all: "), "{error}");
    }
}
