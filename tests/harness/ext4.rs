//! File systems in files, to be filled up, or shut down as a power cut does it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::run;

/// The largest piece in which a file system is filled up, and the smallest that is worth it.
const PIECE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const PIECE_BYTES_MIN: u64 = 4096;

/// What happens to metadata that is in memory. Data that is in memory is gone either way.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    WritesJournal = 1,
    DropsJournal = 2,
}

/// A file system in a file, unmounted when dropped.
#[derive(Debug)]
pub struct Ext4 {
    image: PathBuf,
    /// Where its files are.
    pub mounted: PathBuf,
    is_mounted: bool,
}

impl Ext4 {
    /// Makes and mounts it, of a size; `None` where that is not allowed.
    pub fn make(folder: &Path, bytes: u64) -> Option<Ext4> {
        let mut disk = Ext4 { image: folder.join("image"), mounted: folder.join("disk"), is_mounted: false };
        let image = File::create(&disk.image).expect("an image file");
        image.set_len(bytes).expect("room for holes");
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image)).expect("mkfs.ext4 works on a file");
        fs::create_dir(&disk.mounted).expect("a folder to mount it on");
        disk.mount().inspect_err(|error| eprintln!("{error}")).ok()?;
        Some(disk)
    }

    /// Mounts it again after [`Ext4::unmount`].
    ///
    /// # Errors
    /// What `mount` says.
    pub fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mounted))?;
        self.is_mounted = true;
        Ok(())
    }

    /// Unmounts it; nobody may have a file open.
    pub fn unmount(&mut self) {
        run(Command::new("umount").arg(&self.mounted)).expect("nobody has a file open on it");
        self.is_mounted = false;
    }

    /// Shuts it down at once.
    pub fn cut(&self, how: Cut) {
        // _IOR('X', 125, __u32) of ext4.h.
        let program = r#"open(my $disk, "<", $ARGV[0]) or die $!;
            ioctl($disk, 0x8004587d, pack("L", $ARGV[1])) or die $!;"#;
        let flags = (how as u32).to_string();
        run(Command::new("perl").args(["-e", program]).arg(&self.mounted).arg(flags)).expect("ext4 can be shut down");
    }

    /// Takes all that is free.
    pub fn fill(&self) {
        let filler = File::create(self.filler()).expect("a file takes no room yet");
        let (mut taken, mut piece) = (0, PIECE_BYTES_MAX);
        while piece >= PIECE_BYTES_MIN {
            match fallocate(&filler, FallocateFlags::empty(), taken, piece) {
                Ok(()) => taken += piece,
                Err(Errno::NOSPC) => piece /= 2,
                Err(error) => panic!("fallocate on {}: {error}", self.mounted.display()),
            }
        }
    }

    /// Gives back what [`Ext4::fill`] took.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("filler")
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: a failing test may still have its server.
            let _ = run(Command::new("umount").arg("-l").arg(&self.mounted));
        }
    }
}
