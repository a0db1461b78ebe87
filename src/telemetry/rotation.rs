//! A log file that is put aside when it is full.
//!
//! ```text
//! etcd.log                               written to
//! etcd-2026-01-02T15-04-05.000.log       put aside at that moment
//! etcd-2026-01-01T03-00-00.000.log.gz    and compressed
//! ```
//!
//! Moments are in UTC. Whoever writes a line only renames a file and opens another; a thread of its own compresses what was
//! put aside and removes what is too old or too much.
//!
//! Source: etcd's log rotation is that of the Go library lumberjack: names, settings and what zero means are its.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::config::LogRotation;
use crate::env::{timestamp_for_file_name, unix_time};

/// Only the owner may read it; one that is there keeps its mode.
const MODE: u32 = 0o600;
const COMPRESSED: &str = ".gz";
/// What is being compressed, until that is done.
const UNFINISHED: &str = ".gz.part";

/// The file, and what becomes of those before it.
#[derive(Debug)]
pub(super) struct RotatingFile {
    names: Names,
    rotation: LogRotation,
    file: File,
    len: u64,
    /// Wakes the thread that tidies up; `None` before the first file was put aside. One that is awake need not be woken.
    tidy_tx: Option<SyncSender<()>>,
}

impl RotatingFile {
    pub(super) fn open(path: &Path, rotation: LogRotation) -> io::Result<RotatingFile> {
        let file = open(path)?;
        let len = file.metadata()?.len();
        let mut this = RotatingFile { names: Names::of(path), rotation, file, len, tidy_tx: None };
        // Settings may be other ones than last time.
        this.tidy();
        Ok(this)
    }

    /// Writes a line, into a new file if the present one has no room for it. If no new file can be made the present one grows.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let len = line.len() as u64;
        if self.len > 0 && self.len + len > self.rotation.bytes_max {
            // The line is worth more than the limit.
            let _ = self.rotate(unix_time());
        }
        self.len += len;
        self.file.write_all(line)
    }

    fn rotate(&mut self, now: Duration) -> io::Result<()> {
        fs::rename(&self.names.path, self.names.aside(now))?;
        self.file = open(&self.names.path)?;
        self.len = 0;
        self.tidy();
        Ok(())
    }

    /// Has the thread look. Without a thread files stay as they are.
    fn tidy(&mut self) {
        if self.tidy_tx.is_none() {
            let (tidy_tx, tidy_rx) = mpsc::sync_channel(1);
            let (names, rotation) = (self.names.clone(), self.rotation);
            let run = move || {
                while tidy_rx.recv().is_ok() {
                    // Nobody to complain to: the log is what failed.
                    let _ = tidy(&names, &rotation, unix_time());
                }
            };
            if std::thread::Builder::new().name("log-rotation".to_owned()).spawn(run).is_err() {
                return;
            }
            self.tidy_tx = Some(tidy_tx);
        }
        if let Some(tidy_tx) = &self.tidy_tx {
            // Full: it is about to look anyway.
            let _ = tidy_tx.try_send(());
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// What files are called.
#[derive(Debug, Clone)]
struct Names {
    path: PathBuf,
    folder: PathBuf,
    /// What stands before the moment, and after it.
    around: (String, String),
}

impl Names {
    fn of(path: &Path) -> Names {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Names {
            path: path.to_path_buf(),
            folder: folder.to_path_buf(),
            around: (format!("{}-", text(path.file_stem())), ending),
        }
    }

    /// Where a file goes that is put aside now; never where there is one already.
    fn aside(&self, mut now: Duration) -> PathBuf {
        let (before, after) = &self.around;
        loop {
            let path = self.folder.join(format!("{before}{}{after}", timestamp_for_file_name(now)));
            let compressed = self.folder.join(format!("{before}{}{after}{COMPRESSED}", timestamp_for_file_name(now)));
            if !path.exists() && !compressed.exists() {
                return path;
            }
            now += Duration::from_millis(1);
        }
    }

    /// The moment in the name of a file that was put aside, compressed or not.
    fn moment<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (before, after) = &self.around;
        let name = name.strip_suffix(COMPRESSED).unwrap_or(name);
        let moment = name.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
        let shape = timestamp_for_file_name(Duration::ZERO);
        let fits = |(a, b): (u8, u8)| if b.is_ascii_digit() { a.is_ascii_digit() } else { a == b };
        (moment.len() == shape.len() && moment.bytes().zip(shape.bytes()).all(fits)).then_some(moment)
    }

    /// Those that were put aside, with their moments; the newest first.
    fn all_aside(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if let Some(moment) = entry.file_name().to_str().and_then(|name| self.moment(name)) {
                found.push((moment.to_owned(), entry.path()));
            }
        }
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }
}

/// Removes what is too old or too much, and compresses the rest if it should be.
fn tidy(names: &Names, rotation: &LogRotation, now: Duration) -> io::Result<()> {
    let oldest = rotation.age_max.map(|age| timestamp_for_file_name(now.saturating_sub(age)));
    for (place, (moment, path)) in names.all_aside()?.into_iter().enumerate() {
        let is_too_much = rotation.backups_max.is_some_and(|max| place >= max);
        if is_too_much || oldest.as_ref().is_some_and(|oldest| moment < *oldest) {
            fs::remove_file(path)?;
        } else if rotation.compress && path.extension().is_none_or(|ending| ending != "gz") {
            compress(&path)?;
        }
    }
    Ok(())
}

/// Puts a compressed file in the place of a plain one. What a crash leaves is either of them, or both.
fn compress(path: &Path) -> io::Result<()> {
    let with = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (unfinished, compressed) = (with(UNFINISHED), with(COMPRESSED));
    let into = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&unfinished)?;
    let mut encoder = GzEncoder::new(into, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(&unfinished, &compressed)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    const ROTATION: LogRotation = LogRotation { bytes_max: 10, age_max: None, backups_max: None, compress: false };

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_put_aside_and_no_line_is_cut() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("etcd.log");
        let mut file = RotatingFile::open(&path, ROTATION).unwrap();
        for line in ["one\n", "two\n", "three\n", "one of more than ten bytes\n", "last\n"] {
            file.write(line.as_bytes()).unwrap();
        }
        let texts = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| fs::read_to_string(temp.path().join(name)).unwrap()).collect()
        };
        let names = names(temp.path());
        assert_eq!(texts(&names), ["one\ntwo\n", "three\n", "one of more than ten bytes\n", "last\n"]);
        assert_eq!(names.last().unwrap(), "etcd.log");
        drop(file);
        // One that is there is gone on with.
        let mut file = RotatingFile::open(&path, ROTATION).unwrap();
        file.write(b"more\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "last\nmore\n");
    }

    #[test]
    fn old_files_go_and_others_are_compressed() {
        let temp = tempfile::tempdir().unwrap();
        let (path, day) = (temp.path().join("etcd.log"), Duration::from_secs(86_400));
        let names_of = Names::of(&path);
        for days in [1, 5, 8, 9] {
            fs::write(names_of.aside(day * days), format!("day {days}\n")).unwrap();
        }
        for other in ["etcd.log", "etcd-notes.log", "other-1970-01-02T00-00-00.000.log"] {
            fs::write(temp.path().join(other), "stays").unwrap();
        }
        let rotation = LogRotation { age_max: Some(day * 6), backups_max: Some(2), compress: true, ..ROTATION };
        tidy(&names_of, &rotation, day * 10).unwrap();
        let left = names(temp.path());
        assert_eq!(
            left,
            [
                "etcd-1970-01-09T00-00-00.000.log.gz",
                "etcd-1970-01-10T00-00-00.000.log.gz",
                "etcd-notes.log",
                "etcd.log",
                "other-1970-01-02T00-00-00.000.log"
            ]
        );
        let mut text = String::new();
        GzDecoder::new(File::open(temp.path().join(&left[1])).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "day 9\n");
        let rotation = LogRotation { age_max: Some(day), backups_max: None, ..rotation };
        tidy(&names_of, &rotation, day * 10).unwrap();
        assert_eq!(names(temp.path())[0], "etcd-1970-01-10T00-00-00.000.log.gz");
    }
}
