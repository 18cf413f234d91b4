//! Files: what the journal and the store ask of a directory, and no more.
//!
//! That a write returned says nothing about the disk: bytes are there when their file was synced,
//! names when their directory was. The tests put a disk behind these traits that loses, tears and
//! refuses.

use super::JournalError;
use crate::run::{is_safe, private_directory};
use midflight_inspect::text;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of one directory, by name.
pub(crate) trait Files: Send + Sync {
    /// For messages.
    fn path(&self) -> &Path;
    /// Everything in the file, if there is one. More than `bytes_max` is an error.
    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>>;
    /// Which file has the name, if one has.
    fn find(&self, name: &str) -> io::Result<Option<Found>>;
    /// A new empty file. What had the name loses it.
    fn create(&self, name: &str) -> io::Result<Box<dyn Written>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Names and lengths.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// What the names stand for is on the disk when this returns.
    fn sync(&self) -> io::Result<()>;
    /// An error where another directory has the path by now, or the lock is not this host's any
    /// more: what is written then, nobody finds, or another host writes as well.
    fn check_own(&self) -> io::Result<()>;
}

/// A file that this process made.
pub(crate) trait Written: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// What was appended is on the disk when this returns.
    fn sync(&mut self) -> io::Result<()>;
    fn find(&self) -> io::Result<Found>;
}

/// Which file it is, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Device and inode.
    pub(crate) file: (u64, u64),
    pub(crate) bytes: u64,
}

impl From<Stat> for Found {
    fn from(found: Stat) -> Self {
        Found { file: file_of(&found), bytes: u64::try_from(found.st_size).unwrap_or(0) }
    }
}

fn file_of(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
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
///
/// Its files are found from the directory that was opened, not from its path: what lies under the
/// path later may be another host's.
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    lock: Arc<Lock>,
}

/// Gives the lock back by name: closing would leave it with a process that is being started at this
/// moment, until that runs its program.
struct Lock {
    file: File,
    /// In which it is found as [`LOCK`].
    directory: File,
}

const LOCK: &str = "lock";

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl Lock {
    /// `None`: another host has it.
    fn take(directory: &File) -> io::Result<Result<Lock, File>> {
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE;
            let file = open(directory, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Err(file)),
                Err(error) => return Err(error.into()),
            }
            // What was locked may have lost its name meanwhile, and another host may have made a
            // new one.
            let lock = Lock { file, directory: directory.try_clone()? };
            if lock.check().is_ok() {
                return Ok(Ok(lock));
            }
        }
    }

    /// Says who has it. Not where the file has a second name, under which it may be something else
    /// of somebody's.
    fn note(&mut self) -> io::Result<()> {
        if rustix::fs::fstat(&self.file)?.st_nlink > 1 {
            return Ok(());
        }
        self.file.set_len(0)?;
        self.file.rewind()?;
        write!(self.file, "process {}", std::process::id())
    }

    /// Is it still what the next host would find?
    fn check(&self) -> io::Result<()> {
        let found = rustix::fs::statat(&self.directory, LOCK, AtFlags::SYMLINK_NOFOLLOW)?;
        match file_of(&found) == file_of(&rustix::fs::fstat(&self.file)?) {
            true => Ok(()),
            false => Err(io::Error::other("its lock is another file's")),
        }
    }
}

impl Directory {
    /// Makes the directory if it is not there, and makes it this host's own.
    pub(crate) fn lock(path: &Path) -> Result<Self, JournalError> {
        let unusable = |source| JournalError::Directory { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(unusable)?;
        let handle = create_directory(&path).map_err(unusable)?;
        let unlockable = |source| JournalError::Unlockable { path: path.join(LOCK), source };
        let mut lock = match Lock::take(&handle).map_err(unlockable)? {
            Ok(lock) => lock,
            Err(other) => {
                let mut holder = Vec::new();
                let _ = other.take(HOLDER_BYTES_MAX).read_to_end(&mut holder);
                let holder = text::name(&String::from_utf8_lossy(&holder));
                return Err(JournalError::Locked { path: path.clone(), holder });
            }
        };
        // The lock is what counts; this is for the message of who comes second.
        let _ = lock.note();
        Ok(Directory { path, handle, lock: Arc::new(lock) })
    }

    /// A directory in this one, under the same lock.
    pub(crate) fn inner(&self, name: &str) -> Result<Self, JournalError> {
        let path = self.path.join(name);
        let handle = create_directory(&path)
            .map_err(|source| JournalError::Directory { path: path.clone(), source })?;
        Ok(Directory { path, handle, lock: Arc::clone(&self.lock) })
    }
}

/// How much of a lock's text is told.
const HOLDER_BYTES_MAX: u64 = 100;

impl Files for Directory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match open(&self.handle, name, OFlags::RDONLY, Mode::empty()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let too_large = || {
            let why = format!("it has {length} bytes, and {bytes_max} are read at most");
            io::Error::new(io::ErrorKind::FileTooLarge, why)
        };
        if length > bytes_max {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(too_large());
        }
        Ok(Some(bytes))
    }

    fn find(&self, name: &str) -> io::Result<Option<Found>> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found.into())),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Written>> {
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
        Ok(Box::new(open(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.handle, from, &self.handle, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            // A name that is no text is none of ours.
            let Ok(name) = entry?.file_name().to_owned().into_string() else { continue };
            if let Some(found) = self.find(&name)? {
                files.push((name, found.bytes));
            }
        }
        Ok(files)
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn check_own(&self) -> io::Result<()> {
        let found = rustix::fs::stat(&self.path)?;
        if file_of(&found) != file_of(&rustix::fs::fstat(&self.handle)?) {
            return Err(io::Error::other("another directory lies there"));
        }
        self.lock.check()
    }
}

impl Written for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn find(&self) -> io::Result<Found> {
        Ok(rustix::fs::fstat(self)?.into())
    }
}

/// A regular file of that name. What waits for a writer or leads elsewhere is none.
fn open(directory: impl AsFd, name: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, mode).map_err(|error| match error {
        rustix::io::Errno::LOOP => io::Error::other("it is a link"),
        rustix::io::Errno::NXIO => io::Error::other("it is no regular file"),
        other => other.into(),
    })?;
    let found = rustix::fs::fstat(&file)?;
    if !FileType::from_raw_mode(found.st_mode).is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(File::from(file))
}

/// A directory that only this user can enter, with its own name on the disk, and those of the
/// directories that had to be made for it.
fn create_directory(path: &Path) -> io::Result<File> {
    let missing: Vec<_> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    private_directory(path)?;
    // Who can put another journal in its place has the host load what that names.
    is_safe(&std::fs::canonicalize(path)?)?;
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
