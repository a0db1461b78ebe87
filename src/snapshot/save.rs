//! `lodemark snapshot save`: asks one member for a snapshot and keeps it.
//!
//! It gives way to everything else on its machine, which may be the member's. The file gets its name when all of it is
//! there, checked and durable; until then it ends in `.part`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::arguments::Save;
use super::error::Error;
use crate::client::{self, Connection, Endpoint, Options, TlsWish, Upstream};
use crate::command::{Progress, print, size};
use crate::env::spawn_background;
use crate::etcd_file::{DIGEST_BYTES, Digest, Summing};
use crate::net::{CertificateFiles, Tls, TlsError, TlsOptions};
use crate::proto::etcdserverpb::{SnapshotRequest, SnapshotResponse};

const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";
/// Bytes that are written at a time, and those that may not be synced yet.
const BUFFER_BYTES: usize = 256 << 10;
const UNSYNCED_BYTES_MAX: usize = 4 << 20;
/// How long a member may be silent: one with much data finds out its length first.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// Values may be secrets.
const FILE_MODE: u32 = 0o600;

pub(super) fn run(save: &Save) -> Result<(), Error> {
    let save = save.clone();
    let saving = spawn_background("save", move || fetch(&save)).map_err(Error::Runtime)?;
    saving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn fetch(save: &Save) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let mut part = PartFile::create(&save.file)?;
    let (bytes, version) = runtime.block_on(download(save, &mut part))?;
    part.finish(&save.file)?;
    print(&format!("Snapshot saved at {}\n", save.file.display()));
    if !version.is_empty() {
        print(&format!("Server version {version}\n"));
    }
    eprintln!("fetched {} from {}", size(bytes), save.endpoint);
    Ok(())
}

/// Writes what the member sends; gives its length and the version of the storage.
async fn download(save: &Save, part: &mut PartFile) -> Result<(u64, String), Error> {
    let mut connection = connect(save).await?;
    let token = match &save.user {
        Some(login) => Some(connection.authenticate(login).await?),
        None => None,
    };
    let mut answers = connection.begin(SNAPSHOT, token.as_ref(), &SnapshotRequest {}, Upstream::Ends).await?;
    let mut out = Summing::new(&mut part.file);
    let (mut progress, mut bytes, mut version) = (None, 0, String::new());
    // The last message is the digest; which one that is shows at the end.
    let mut held: Option<Bytes> = None;
    while let Some(answer) = answers.next::<SnapshotResponse>().await? {
        let total = bytes + answer.remaining_bytes + answer.blob.len() as u64;
        let progress = progress.get_or_insert_with(|| Progress::new("saved", total));
        if let Some(data) = held.replace(answer.blob) {
            out.write_all(&data).map_err(|source| part_error(&save.file, source))?;
            bytes += data.len() as u64;
            progress.tell(bytes);
        }
        version = answer.version;
    }
    let expected = held.unwrap_or_default();
    let Ok(digest) = <[u8; DIGEST_BYTES]>::try_from(&*expected) else {
        let why = format!("sha256 checksum not found [bytes: {}]", bytes + expected.len() as u64);
        return Err(Error::Stream { endpoint: save.endpoint.clone(), why });
    };
    let (file, found) = out.finish();
    if found.0 != digest {
        return Err(Error::Digest { expected: Digest(digest).to_string(), found: found.to_string() });
    }
    file.write_all(&digest).map_err(|source| part_error(&save.file, source))?;
    Ok((bytes, version))
}

async fn connect(save: &Save) -> Result<Connection, client::Error> {
    let endpoint = Endpoint::parse(&save.endpoint)?;
    let failed = |error: TlsError| client::Error::Connect { endpoint: save.endpoint.clone(), why: error.to_string() };
    let tls = match (endpoint.wish, &save.cert) {
        (TlsWish::Never | TlsWish::Either, _) => None,
        (TlsWish::Always, None) => Some(Tls::without_certificate(save.cacert.clone()).map_err(failed)?),
        (TlsWish::Always, Some((cert, key))) => {
            let certificate = Some(CertificateFiles { cert: cert.clone(), key: key.clone() });
            let options = TlsOptions { certificate, trusted_ca_file: save.cacert.clone(), ..TlsOptions::default() };
            Some(Tls::new(options).map_err(failed)?)
        }
    };
    let options = Options { dial_timeout: save.dial_timeout, keepalive: None, tls, silence_max: Some(SILENCE_MAX) };
    Connection::open(&endpoint, &options).await
}

/// A file that is not whole yet; removed if it never is.
struct PartFile {
    path: PathBuf,
    file: BufWriter<Synced>,
    is_finished: bool,
}

/// A file that is synced as it grows: a disk that it shares with a member would stand still at its end otherwise.
struct Synced {
    file: File,
    /// Bytes since the last sync.
    unsynced: usize,
}

impl Write for Synced {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = self.file.write(data)?;
        self.unsynced += len;
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl PartFile {
    fn create(target: &Path) -> Result<PartFile, Error> {
        let path = part_path(target);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&path);
        let file = file.map_err(|source| Error::File { path: path.clone(), source })?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, Synced { file, unsynced: 0 });
        Ok(PartFile { path, file, is_finished: false })
    }

    /// Makes it durable and gives it its name.
    fn finish(mut self, target: &Path) -> Result<(), Error> {
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let finished = (|| {
            self.file.flush()?;
            self.file.get_ref().file.sync_all()?;
            fs::rename(&self.path, target)?;
            File::open(folder)?.sync_all()
        })();
        finished.map_err(|source| Error::File { path: target.to_owned(), source })?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // It only takes space.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn part_path(target: &Path) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(".part");
    path.into()
}

fn part_error(target: &Path, source: io::Error) -> Error {
    Error::File { path: part_path(target), source }
}
