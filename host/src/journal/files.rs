//! Files: what the journal and the store ask of a directory, and no more.
//!
//! That a write returned says nothing about the disk: bytes are there when their file was synced,
//! names when their directory was. The tests put a disk behind these traits that loses, tears and
//! refuses.

use super::JournalError;
use crate::stage::image::private_directory;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of one directory, by name.
pub(crate) trait Files: Send + Sync {
    /// For messages.
    fn path(&self) -> &Path;
    /// Everything in the file, if there is one.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// A new empty file. What had the name loses it.
    fn create(&self, name: &str) -> io::Result<Box<dyn Written>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Names and lengths.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// What the names stand for is on the disk when this returns.
    fn sync(&self) -> io::Result<()>;
}

/// A file that this process made.
pub(crate) trait Written: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// What was appended is on the disk when this returns.
    fn sync(&mut self) -> io::Result<()>;
}

/// What did not work, as a verb.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) what: &'static str,
    pub(crate) source: io::Error,
}

impl Failed {
    pub(crate) fn to(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Failed { what, source }
    }
}

/// Gives the file `name` these bytes. Whenever this is cut, there are the bytes from before under
/// the name or these, whole; when it returns, these.
pub(crate) fn replace(
    files: &dyn Files,
    name: &str,
    bytes: &[u8],
) -> Result<Box<dyn Written>, Failed> {
    let new = name.to_owned() + NEW;
    let write = || {
        let mut file = files.create(&new).map_err(Failed::to("create"))?;
        file.append(bytes).map_err(Failed::to("write"))?;
        file.sync().map_err(Failed::to("sync"))?;
        files.rename(&new, name).map_err(Failed::to("rename"))?;
        Ok(file)
    };
    // It takes room that may be what is missing.
    let file = write().inspect_err(|_| drop(files.remove(&new)))?;
    files.sync().map_err(Failed::to("sync the directory of"))?;
    Ok(file)
}

/// What a file is called until it is whole.
pub(crate) const NEW: &str = ".new";

/// A directory on the disk, for as long as this lives of this host alone.
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    lock: Arc<Lock>,
}

/// Gives the lock back by name: closing would leave it with a process that is being started at this
/// moment, until that runs its program.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Directory {
    /// Makes the directory if it is not there, and makes it this host's own.
    pub(crate) fn lock(path: &Path) -> Result<Self, JournalError> {
        let unusable = |source| JournalError::Directory { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(unusable)?;
        let handle = create_directory(&path).map_err(unusable)?;
        let lock_path = path.join("lock");
        let options =
            File::options().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let mut lock = options.open(&lock_path).map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                return Err(JournalError::Locked { path: path.clone(), holder });
            }
            Err(error) => return Err(unusable(error.into())),
        }
        // The lock is what counts; this is for the message of who comes second.
        let note = format!("process {}", std::process::id());
        let noted = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(note.as_bytes()));
        drop(noted);
        Ok(Directory { path, handle, lock: Arc::new(Lock(lock)) })
    }

    /// A directory in this one, under the same lock.
    pub(crate) fn inner(&self, name: &str) -> Result<Self, JournalError> {
        let path = self.path.join(name);
        let handle = create_directory(&path)
            .map_err(|source| JournalError::Directory { path: path.clone(), source })?;
        Ok(Directory { path, handle, lock: Arc::clone(&self.lock) })
    }
}

impl Files for Directory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Written>> {
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let path = self.path.join(name);
        Ok(Box::new(File::options().append(true).create_new(true).mode(0o600).open(path)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is no text is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                files.push((name, entry.metadata()?.len()));
            }
        }
        Ok(files)
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl Written for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A directory that only this user can enter, with its own name on the disk, and those of the
/// directories that had to be made for it.
fn create_directory(path: &Path) -> io::Result<File> {
    let missing: Vec<_> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    private_directory(path)?;
    for made in missing {
        let parent = made.parent().unwrap_or(made);
        File::open(parent)?.sync_all()?;
    }
    // One that was there may have been made by a process that came no further. Whose parent is
    // closed to us was made by somebody else.
    if let Some(parent) = path.parent().and_then(|parent| File::open(parent).ok()) {
        parent.sync_all()?;
    }
    File::open(path)
}
