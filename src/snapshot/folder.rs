//! The data folder that a restore makes: there as a whole, or not at all.
//!
//! Everything is made in `member.restoring` and gets its name, `member`, when it is durable; a server takes only that for its
//! own. What was begun and not ended is removed again.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::Error;

/// Only the owner may look into the folder: values may be secrets.
const DIR_MODE: u32 = 0o700;
const MEMBER_DIR: &str = "member";
const UNFINISHED_DIR: &str = "member.restoring";

/// A data folder that is being made.
#[derive(Debug)]
pub(super) struct NewFolder {
    data_dir: PathBuf,
    /// The topmost folder that was not there before.
    made: Option<PathBuf>,
    is_finished: bool,
}

impl NewFolder {
    /// Begins in a folder that is empty or not there.
    pub(super) fn begin(data_dir: &Path) -> Result<NewFolder, Error> {
        check_empty("data-dir", data_dir)?;
        let at = |source| Error::File { path: data_dir.to_owned(), source };
        let missing = data_dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).last();
        let folder = NewFolder { data_dir: data_dir.to_owned(), made: missing.map(Path::to_owned), is_finished: false };
        let mut builder = DirBuilder::new();
        builder.mode(DIR_MODE).recursive(true).create(folder.unfinished()).map_err(at)?;
        Ok(folder)
    }

    /// Where it is made.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.data_dir.join(UNFINISHED_DIR)
    }

    /// Gives what was made its name.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let at = |source| Error::File { path: self.data_dir.clone(), source };
        sync(&self.unfinished()).map_err(at)?;
        fs::rename(self.unfinished(), self.data_dir.join(MEMBER_DIR)).map_err(at)?;
        self.is_finished = true;
        // Each new name is in the folder above it.
        let top = self.made.as_deref().unwrap_or(&self.data_dir);
        for path in self.data_dir.ancestors() {
            sync(path).map_err(at)?;
            if path == top {
                break;
            }
        }
        match self.made.as_deref().and_then(Path::parent) {
            Some(above) => sync(above).map_err(at),
            None => Ok(()),
        }
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.is_finished {
            // What is left only takes space.
            let _ = fs::remove_dir_all(self.made.as_deref().unwrap_or(&self.unfinished()));
        }
    }
}

/// Checks that a folder that a flag names is empty or not there.
pub(super) fn check_empty(flag: &'static str, path: &Path) -> Result<(), Error> {
    let is_empty = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_empty { Ok(()) } else { Err(Error::NotEmpty { flag, path: path.to_owned() }) }
}

fn sync(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_folder_that_is_not_finished() {
        let temp = tempfile::tempdir().unwrap();
        let (new, empty) = (temp.path().join("a/b/c"), temp.path().join("empty"));
        fs::create_dir(&empty).unwrap();
        for data_dir in [&new, &empty] {
            let folder = NewFolder::begin(data_dir).unwrap();
            fs::write(folder.unfinished().join("file"), "x").unwrap();
            drop(folder);
        }
        assert!(!temp.path().join("a").exists());
        assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);

        for data_dir in [&new, &empty] {
            let folder = NewFolder::begin(data_dir).unwrap();
            fs::write(folder.unfinished().join("file"), "x").unwrap();
            folder.finish().unwrap();
            assert_eq!(fs::read_to_string(data_dir.join("member/file")).unwrap(), "x");
            let error = NewFolder::begin(data_dir).unwrap_err();
            assert!(error.to_string().ends_with("not empty or could not be read"), "{error}");
            assert!(data_dir.join("member/file").exists());
        }
        let file = temp.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(NewFolder::begin(&file), Err(Error::NotEmpty { flag: "data-dir", .. })));
    }
}
