//! The digest that a snapshot ends with.

use std::fmt;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

/// The length of the digest.
pub const DIGEST_BYTES: usize = 32;
/// Pages of a database are a multiple of this; so its length tells whether a digest follows.
const SECTOR_BYTES: u64 = 512;

/// The SHA-256 of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; DIGEST_BYTES]);

impl Digest {
    /// Whether a file of so many bytes ends with one.
    #[must_use]
    pub fn is_at_end(len: u64) -> bool {
        len % SECTOR_BYTES == DIGEST_BYTES as u64
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Sums up what is written through it.
#[derive(Debug)]
pub struct Summing<W> {
    out: W,
    hash: Sha256,
}

impl<W> Summing<W> {
    /// Writes to `out`.
    #[must_use]
    pub fn new(out: W) -> Summing<W> {
        Summing { out, hash: Sha256::new() }
    }

    /// Gives what it wrote to, and the digest of what was written.
    #[must_use]
    pub fn finish(self) -> (W, Digest) {
        (self.out, Digest(self.hash.finalize().into()))
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = self.out.write(data)?;
        self.hash.update(&data[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
