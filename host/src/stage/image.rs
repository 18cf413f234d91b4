//! Private images: the file that is mapped.
//!
//! A library that others can still write to can change under the running code, and a path that was
//! seen before makes the loader answer with what it has. So the verified bytes themselves are
//! written to a file of our own, read-only, in a directory that only this user can enter, under a
//! name that is used once.

use super::{Candidate, Keep};
use crate::contained::say;
use crate::refusal::{Code, Refusal};
use midflight_inspect::{Bytes, DF_1_NODELETE, Spare, read, text};
use midflight_plugin::rt::HostTable;
use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A library's file in the run directory. Removed when the last owner drops it.
///
/// Owned by its generation until that is unmapped, and by the control plane while it is what a
/// rollback would load.
pub(crate) struct Image {
    path: PathBuf,
    pub(crate) plugin: Arc<str>,
    pub(crate) version: Arc<str>,
    /// The group that its author names.
    pub(crate) group: Option<Arc<str>>,
    /// When the file that it was read from was last written, in nanoseconds since 1970.
    pub(crate) modified_ns: u64,
    /// Of the bytes as they were read and verified.
    pub(crate) digest: blake3::Hash,
    pub(crate) build_id: String,
    /// Whether the file said itself that it is whole.
    pub(crate) stamped: bool,
    /// Why its code must stay mapped whatever happens; empty where it may go.
    pub(crate) keeps: Vec<Keep>,
    /// What was written over, so that the verified bytes can be had back.
    patches: Vec<Patch>,
}

struct Patch {
    offset: usize,
    original: [u8; 8],
    new: [u8; 8],
}

impl Image {
    /// Writes the candidate's bytes with the address of `table` in their place.
    pub(crate) fn write(
        run: &RunDirectory,
        candidate: &Candidate,
        generation: u64,
        table: &HostTable,
    ) -> Result<Image, Refusal> {
        let manifest = &candidate.inspection.manifest;
        let digest = candidate.digest();
        let name = format!("{}.{generation}.{}.so", manifest.name, &digest.to_hex()[..12]);
        let mut image = Image {
            path: run.path.join(name),
            plugin: manifest.name.as_str().into(),
            version: manifest.version.to_string().into(),
            group: manifest.group.as_deref().map(Arc::from),
            modified_ns: candidate.modified_ns(),
            digest,
            build_id: candidate.build_id(),
            stamped: candidate.is_stamped(),
            keeps: candidate.keeps(),
            patches: Vec::new(),
        };
        let bytes = &candidate.bytes.data;
        let address = std::ptr::from_ref(table).addr().to_ne_bytes();
        image.patch(bytes, candidate.inspection.place.table_offset, address)?;
        // Our runtime in the plugin makes unloading sound, whatever the linker thought of it.
        if let Some(offset) = candidate.inspection.nodelete {
            image.patch(bytes, offset, without_nodelete(bytes, offset)?)?;
        }
        let mode = Mode::RUSR | Mode::XUSR;
        write_new(&image.path, mode, bytes, &image.patches)
            .map_err(|error| unwritable(&image.path, &error))?;
        Ok(image)
    }

    /// What stands for the image of a plugin that is linked in.
    pub(crate) fn linked(plugin: &str, version: &str) -> Image {
        Image {
            path: PathBuf::new(),
            plugin: plugin.into(),
            version: version.into(),
            group: None,
            modified_ns: 0,
            digest: blake3::hash(plugin.as_bytes()),
            build_id: String::new(),
            stamped: false,
            keeps: vec![Keep::Linked],
            patches: Vec::new(),
        }
    }

    fn patch(&mut self, bytes: &[u8], offset: usize, new: [u8; 8]) -> Result<(), Refusal> {
        self.patches.push(Patch { offset, original: word(bytes, offset)?, new });
        self.patches.sort_by_key(|patch| patch.offset);
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of its file without the patches: the verified ones, if nobody has written to it.
    pub(crate) fn pristine(&self) -> Result<Bytes, Refusal> {
        let mut bytes = read(&self.path, u64::MAX, &Spare::default())?;
        for patch in &self.patches {
            let place = bytes.data.get_mut(patch.offset..patch.offset + patch.original.len());
            let cut = || Refusal::new(Code::FileChanged, "it was cut");
            place.ok_or_else(cut)?.copy_from_slice(&patch.original);
        }
        Ok(bytes)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            let _ = say!(warn, path = text::path(&self.path), %error, "an image can't be removed");
        }
    }
}

/// A preflight's own image, for the child that opens it: the candidate's bytes with no table in
/// their place, in a directory of its own. Removed with that directory.
pub(crate) struct Draft {
    path: PathBuf,
    directory: OwnedFd,
}

impl Draft {
    /// Makes the directory `name` in the run directory, and writes the image there.
    pub(crate) fn write(
        run: &RunDirectory,
        name: &str,
        candidate: &Candidate,
        generation: u64,
    ) -> Result<Draft, Refusal> {
        let path = run.path.join(name);
        let bytes = &candidate.bytes.data;
        let mut patches = Vec::new();
        if let Some(offset) = candidate.inspection.nodelete {
            let (original, new) = (word(bytes, offset)?, without_nodelete(bytes, offset)?);
            patches.push(Patch { offset, original, new });
        }
        let image = Draft::name(&candidate.manifest().name, generation);
        let make = || {
            rustix::fs::mkdir(&path, Mode::RWXU)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(run.open()?, name, flags, Mode::empty())?;
            write_new(&path.join(&image), Mode::RWXU, bytes, &patches)?;
            io::Result::Ok(directory)
        };
        let made = make();
        let made = made.inspect_err(|_| drop(std::fs::remove_dir_all(&path)));
        let directory = made.map_err(|error| unwritable(&path, &error))?;
        Ok(Draft { path, directory })
    }

    fn name(plugin: &str, generation: u64) -> String {
        format!("{plugin}.{generation}.preflight.so")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// In the child: puts the address of its table into the image that its parent has written.
    ///
    /// The parent has handed over the directory as a descriptor. The image is opened in it by its
    /// name, nobody else may be able to write to either, and the loader, which takes a path, must
    /// find the same file at `path`.
    pub(crate) fn finish(
        path: &Path,
        directory: &OwnedFd,
        (plugin, version): (&str, &str),
        (table_offset, table): (usize, &HostTable),
        stays: bool,
    ) -> Result<Image, Refusal> {
        let name = Draft::name(plugin, table.generation);
        let path = path.join(&name);
        let finish = || {
            if name.contains('/') {
                return Err(io::ErrorKind::InvalidFilename.into());
            }
            is_private(directory, FileType::Directory)?;
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let image = File::from(rustix::fs::openat(directory, &name, flags, Mode::empty())?);
            is_private(&image, FileType::RegularFile)?;
            let address = std::ptr::from_ref(table).addr().to_ne_bytes();
            image.write_all_at(&address, table_offset as u64)?;
            rustix::fs::fchmod(&image, Mode::RUSR | Mode::XUSR)?;
            is_at(&image, &path)
        };
        finish().map_err(|error| unwritable(&path, &error))?;
        let mut image = Image::linked(plugin, version);
        image.path = path;
        if !stays {
            image.keeps.clear();
        }
        Ok(image)
    }
}

/// It is this user's, and nobody else's.
fn is_private(file: impl AsFd, kind: FileType) -> io::Result<()> {
    let found = rustix::fs::fstat(file)?;
    let is_own = found.st_uid == rustix::process::geteuid().as_raw() && found.st_mode & 0o077 == 0;
    if is_own && FileType::from_raw_mode(found.st_mode) == kind {
        return Ok(());
    }
    Err(io::Error::other("what the service has made there is not this user's alone"))
}

/// The loader, which takes a path, will find this very file.
fn is_at(file: &File, path: &Path) -> io::Result<()> {
    let (file, found) = (rustix::fs::fstat(file)?, rustix::fs::lstat(path)?);
    match (file.st_dev, file.st_ino) == (found.st_dev, found.st_ino) {
        true => Ok(()),
        false => Err(io::Error::other("another file lies there")),
    }
}

fn word(bytes: &[u8], offset: usize) -> Result<[u8; 8], Refusal> {
    let word = bytes.get(offset..).and_then(<[u8]>::first_chunk).copied();
    word.ok_or_else(|| {
        Refusal::new(Code::HeadersInconsistent, "what is to be written lies outside the file")
    })
}

fn unwritable(path: &Path, error: &io::Error) -> Refusal {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::DiskFull,
        io::ErrorKind::ReadOnlyFilesystem => Code::RunDirectoryReadOnly,
        _ => Code::ImageUnwritable,
    };
    Refusal::new(code, format!("can't write {}: {error}", text::path(path)))
}

/// What a library's flags are without the one that would keep it mapped.
fn without_nodelete(bytes: &[u8], offset: usize) -> Result<[u8; 8], Refusal> {
    let flags = u64::from_le_bytes(word(bytes, offset)?);
    Ok((flags & !DF_1_NODELETE).to_le_bytes())
}

/// Writes `bytes` with `patches`, which are in order and apart, to a file that must not exist.
fn write_new(path: &Path, mode: Mode, bytes: &[u8], patches: &[Patch]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, mode)?);
    let mut write = || {
        let mut written = 0;
        for patch in patches {
            let apart = bytes.get(written..patch.offset).ok_or(io::ErrorKind::InvalidData)?;
            file.write_all(apart)?;
            file.write_all(&patch.new)?;
            written = patch.offset + patch.new.len();
        }
        file.write_all(&bytes[written..])
    };
    // What could not be written whole is no image.
    write().inspect_err(|_| drop(std::fs::remove_file(path)))
}

/// `<base>/run/<pid>-<start time>-<n>/`: the images of one host. Removed when the last image and
/// the host are gone.
pub(crate) struct RunDirectory {
    path: PathBuf,
    /// Device and inode of what was made.
    made: (u64, u64),
}

impl RunDirectory {
    /// Makes the directory, and removes those of processes that are no more.
    pub(crate) fn create(base: &Path) -> io::Result<Self> {
        use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
        static HOSTS: AtomicU64 = AtomicU64::new(0);
        private_directory(base)?;
        let all = base.join("run");
        private_directory(&all)?;
        remove_dead(&all);
        let own = std::process::id();
        let started = start_time(own).unwrap_or_default();
        let path = all.join(format!("{own}-{started}-{}", HOSTS.fetch_add(1, Relaxed)));
        // The name can only be in the way if the process that had it is gone: same pid, same start,
        // same boot is us.
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        private_directory(&path)?;
        // The system names mappings by the real path: through a link, or with `..` in it, no
        // mapping would be found again.
        let path = std::fs::canonicalize(&path)?;
        if is_noexec(&path) {
            let _ = std::fs::remove_dir(&path);
            return Err(io::Error::other(
                "its file system is mounted noexec: no library can be mapped from it",
            ));
        }
        let found = rustix::fs::lstat(&path)?;
        Ok(RunDirectory { path, made: (found.st_dev, found.st_ino) })
    }

    /// The directory that was made, for who must not follow its path.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let found = rustix::fs::fstat(&directory)?;
        match (found.st_dev, found.st_ino) == self.made {
            true => Ok(directory),
            false => {
                Err(io::Error::other("another directory lies where the run directory was made"))
            }
        }
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // Not empty where an image is still mapped; then the next host that starts removes it after
        // this process.
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Does the file system of `path` forbid to map code from it?
pub(crate) fn is_noexec(path: &Path) -> bool {
    let found = rustix::fs::statvfs(path);
    found.is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// Makes `path` a directory of this user's that nobody else can enter, or says why it isn't.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::EXIST) => {}
        Err(rustix::io::Errno::NOENT) => {
            std::fs::create_dir_all(path.parent().unwrap_or(path))?;
            rustix::fs::mkdir(path, Mode::RWXU)?;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let found = rustix::fs::lstat(path)?;
    let directory = rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir();
    let open_to_others = found.st_mode & 0o022 != 0;
    if !directory || found.st_uid != rustix::process::geteuid().as_raw() || open_to_others {
        return Err(io::Error::other(format!(
            "{} is not a directory of this user's that only this user can write to",
            text::path(path)
        )));
    }
    Ok(())
}

/// Removes what processes left behind that did not end by themselves.
fn remove_dead(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((pid, started)) = name.to_str().and_then(owner_of) else {
            continue;
        };
        if start_time(pid).as_deref() != Some(started)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            let _ = say!(warn, path = text::path(&entry.path()), %error, "can't remove a dead process's images");
        }
    }
}

/// The plugin whose image this is, if it is one of this process's.
pub(crate) fn plugin_of(path: &Path) -> Option<&str> {
    let directory = path.parent()?.file_name()?.to_str()?;
    let (pid, _) = owner_of(directory)?;
    let (plugin, _) = path.file_name()?.to_str()?.split_once('.')?;
    (pid == std::process::id()).then_some(plugin)
}

fn owner_of(name: &str) -> Option<(u32, &str)> {
    let mut parts = name.split('-');
    let pid = parts.next()?.parse().ok()?;
    let started = parts.next()?;
    parts.next()?.parse::<u64>().ok()?;
    Some((pid, started))
}

/// Clock ticks after boot at which a process started: a pid alone is used again.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may hold anything; the start time is the
    // 22nd.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}
