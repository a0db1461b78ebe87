//! `lodemark snapshot save`: asks one member for a snapshot and keeps it.
//!
//! The file gets its name when all of it is there, checked and durable; until then it ends in `.part`. One call of gRPC is all
//! that is needed, so it is made by hand over HTTP/2.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Request, StatusCode, header};
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::arguments::Save;
use super::error::Error;
use super::print;
use super::progress::{Progress, size};
use crate::etcd_file::{DIGEST_BYTES, Digest, Summing};
use crate::net::{Address, CertificateFiles, Io, Protocol, Tls, TlsOptions};
use crate::proto::etcdserverpb::SnapshotResponse;

const PATH: &str = "/etcdserverpb.Maintenance/Snapshot";
/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The largest message that is taken: many times what etcd sends.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes that may be on their way.
const WINDOW_BYTES: u32 = 4 << 20;
/// How long a member may be silent: one with much data finds out its length first.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// Bytes that are written at a time, and those that may not be synced yet.
const BUFFER_BYTES: usize = 256 << 10;
const UNSYNCED_BYTES_MAX: usize = 4 << 20;
/// Values may be secrets.
const FILE_MODE: u32 = 0o600;

pub(super) fn run(save: &Save) -> Result<(), Error> {
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
    let endpoint = &save.endpoint;
    let broken = |why: &dyn std::fmt::Display| Error::Stream { endpoint: endpoint.clone(), why: why.to_string() };
    let io = connect(save).await?;
    let mut client = h2::client::Builder::new();
    client.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    let (requests, connection) = client.handshake::<_, Bytes>(io).await.map_err(|error| broken(&error))?;
    // The connection has to be driven meanwhile; it ends with this set.
    let mut driver = JoinSet::new();
    driver.spawn(connection);

    let authority = endpoint.split_once("://").map_or("localhost", |(_, rest)| rest.trim_end_matches('/'));
    let authority = if endpoint.starts_with("unix") { "localhost" } else { authority };
    let request = Request::post(format!("http://{authority}{PATH}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(())
        .map_err(|error| broken(&error))?;
    let mut requests = requests.ready().await.map_err(|error| broken(&error))?;
    let (response, mut stream) = requests.send_request(request, false).map_err(|error| broken(&error))?;
    // An empty message.
    stream.send_data(Bytes::from_static(&[0; PREFIX_BYTES]), true).map_err(|error| broken(&error))?;
    let response =
        timeout(SILENCE_MAX, response).await.map_err(|late| broken(&late))?.map_err(|error| broken(&error))?;
    if response.status() != StatusCode::OK {
        return Err(broken(&format!("the status is {}", response.status())));
    }
    check_status(endpoint, response.headers())?;

    let mut answers = Answers { body: response.into_body(), rest: BytesMut::new() };
    let mut out = Summing::new(&mut part.file);
    let (mut progress, mut bytes, mut version) = (None, 0, String::new());
    // The last message is the digest; which one that is shows at the end.
    let mut held: Option<Bytes> = None;
    while let Some(answer) = answers.next().await.map_err(|why| broken(&why))? {
        let total = bytes + answer.remaining_bytes + answer.blob.len() as u64;
        let progress = progress.get_or_insert_with(|| Progress::new("saved", total));
        if let Some(data) = held.replace(answer.blob) {
            out.write_all(&data).map_err(|source| part_error(&save.file, source))?;
            bytes += data.len() as u64;
            progress.tell(bytes);
        }
        version = answer.version;
    }
    let trailers = answers.body.trailers().await.map_err(|error| broken(&error))?;
    check_status(endpoint, &trailers.unwrap_or_default())?;

    let expected = held.unwrap_or_default();
    let Ok(digest) = <[u8; DIGEST_BYTES]>::try_from(&*expected) else {
        return Err(broken(&format!("sha256 checksum not found [bytes: {}]", bytes + expected.len() as u64)));
    };
    let (file, found) = out.finish();
    if found.0 != digest {
        return Err(Error::Digest { expected: Digest(digest).to_string(), found: found.to_string() });
    }
    file.write_all(&digest).map_err(|source| part_error(&save.file, source))?;
    Ok((bytes, version))
}

async fn connect(save: &Save) -> Result<Box<dyn Io>, Error> {
    let failed = |why: &dyn std::fmt::Display| Error::Connect { endpoint: save.endpoint.clone(), why: why.to_string() };
    let address = Address::parse(&save.endpoint).map_err(|error| failed(&error))?;
    let tls = match (address.is_secure, &save.cert) {
        (false, _) => None,
        (true, None) => {
            let why = "this version of Lodemark speaks TLS only with --cert and --key; \"etcdctl snapshot save\" does without";
            return Err(failed(&why));
        }
        (true, Some((cert, key))) => {
            let certificate = Some(CertificateFiles { cert: cert.clone(), key: key.clone() });
            let options = TlsOptions { certificate, trusted_ca_file: save.cacert.clone(), ..TlsOptions::default() };
            Some(Tls::new(options).map_err(|error| failed(&error))?)
        }
    };
    let connecting = async {
        let socket = address.connect().await?;
        Ok::<Box<dyn Io>, io::Error>(match tls {
            None => Box::new(socket),
            Some(tls) => Box::new(tls.connect(socket, address.server_name(), Protocol::Http2).await?),
        })
    };
    match timeout(save.dial_timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| failed(&error)),
        Err(_) => Err(failed(&format!("no answer within {:?}", save.dial_timeout))),
    }
}

/// What gRPC says of how a call ended; nothing is fine, as it comes in the trailers too.
fn check_status(endpoint: &str, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match text("grpc-status") {
        Some(code) if code != "0" => {
            let message = text("grpc-message").unwrap_or_default();
            Err(Error::Refused { endpoint: endpoint.to_owned(), code, message })
        }
        _ => Ok(()),
    }
}

/// The messages of the answer.
struct Answers {
    body: RecvStream,
    /// What came and is no whole message yet.
    rest: BytesMut,
}

impl Answers {
    async fn next(&mut self) -> Result<Option<SnapshotResponse>, String> {
        loop {
            if let Some(message) = self.take()? {
                return SnapshotResponse::decode(message).map(Some).map_err(|error| error.to_string());
            }
            let data = timeout(SILENCE_MAX, self.body.data()).await.map_err(|late| late.to_string())?;
            let Some(data) = data else {
                return if self.rest.is_empty() { Ok(None) } else { Err("it ends within a message".to_owned()) };
            };
            let data = data.map_err(|error| error.to_string())?;
            self.body.flow_control().release_capacity(data.len()).map_err(|error| error.to_string())?;
            self.rest.extend_from_slice(&data);
        }
    }

    /// The next message, once it is whole.
    fn take(&mut self) -> Result<Option<Bytes>, String> {
        let Some((&[compressed, ref len @ ..], _)) = self.rest.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*len) as usize;
        if compressed != 0 || len > MESSAGE_BYTES_MAX {
            return Err(format!("a message of {len} bytes cannot be read"));
        }
        if self.rest.len() < PREFIX_BYTES + len {
            return Ok(None);
        }
        self.rest.advance(PREFIX_BYTES);
        Ok(Some(self.rest.split_to(len).freeze()))
    }
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
