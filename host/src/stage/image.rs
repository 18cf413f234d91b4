//! Private images: the file that is mapped.
//!
//! A library that others can still write to can change under the running code, and a path that was
//! seen before makes the loader answer with what it has. So the verified bytes themselves are
//! written to a file of our own, read-only, in a directory that only this user can enter, under a
//! name that is used once.

use super::run::{self, Place, code_of};
use super::{Candidate, Keep};
use crate::contained::say;
use crate::refusal::{Code, Refusal};
use midflight_inspect::{Bytes, DF_1_NODELETE, Spare, read, text};
use midflight_plugin::rt::HostTable;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A library's file in the run directory. Removed when the last owner drops it.
///
/// Owned by its generation until that is unmapped, and by the control plane while it is what a
/// rollback would load.
pub(crate) struct Image {
    path: PathBuf,
    /// Where it was written. None: it is what a preflight's parent wrote, or is linked in.
    place: Option<Arc<Place>>,
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
    /// What stands for the image of a plugin that is linked in.
    pub(crate) fn linked(plugin: &str, version: &str) -> Image {
        Image {
            path: PathBuf::new(),
            place: None,
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

    /// In a preflight's child: the image that its parent has written, at `path`, and handed over
    /// as a descriptor. Nobody else may be able to write to it, and the loader, which takes a path,
    /// must find the same file there.
    pub(crate) fn lent(
        path: &Path,
        file: impl AsFd,
        (plugin, version): (&str, &str),
        stays: bool,
    ) -> Result<Arc<Image>, Refusal> {
        let check = || is_private(&file).and_then(|()| is_at(&file, path));
        check().map_err(|error| {
            let path = text::path(path);
            Refusal::new(Code::ImageUnwritable, format!("{path} can't be used: {error}"))
        })?;
        run::note_lent(path);
        let mut image = Image::linked(plugin, version);
        image.path = path.to_owned();
        if !stays {
            image.keeps.clear();
        }
        Ok(Arc::new(image))
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
        let name = self.path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if let Some(place) = &self.place
            && let Err(error) = place.remove(name)
            && error.kind() != io::ErrorKind::NotFound
        {
            let _ = say!(warn, path = text::path(&self.path), %error, "an image can't be removed");
        }
    }
}

/// An image in whose place no table's address is final yet.
///
/// A preflight's child opens the same file, with the address of a table of its own in it.
pub(crate) struct Draft {
    image: Image,
    file: File,
    table_offset: usize,
    /// A child has had it.
    was_lent: bool,
}

/// When an image was last written to, while a child has it: long ago. Who writes to it makes that
/// now, on every system, however coarse its clock is.
const LONG_AGO: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

impl Draft {
    /// Writes the candidate's bytes to the run directory.
    pub(crate) fn write(
        place: &Arc<Place>,
        candidate: &Candidate,
        generation: u64,
    ) -> Result<Draft, Refusal> {
        let manifest = &candidate.inspection.manifest;
        let (bytes, digest) = (&candidate.bytes.data, candidate.digest());
        let name = format!("{}.{generation}.{}.so", manifest.name, &digest.to_hex()[..12]);
        let mut patches = Vec::new();
        // Our runtime in the plugin makes unloading sound, whatever the linker thought of it.
        if let Some(offset) = candidate.inspection.nodelete {
            let (original, new) = (word(bytes, offset)?, without_nodelete(bytes, offset)?);
            patches.push(Patch { offset, original, new });
        }
        let path = place.path().join(&name);
        let mode = Mode::RUSR | Mode::XUSR;
        let written = write_new(place.directory(), &name, mode, bytes, &patches);
        let file = written.map_err(|error| unwritable(&path, &error))?;
        let image = Image {
            path,
            place: Some(Arc::clone(place)),
            plugin: manifest.name.as_str().into(),
            version: manifest.version.to_string().into(),
            group: manifest.group.as_deref().map(Arc::from),
            modified_ns: candidate.modified_ns(),
            digest,
            build_id: candidate.build_id(),
            stamped: candidate.is_stamped(),
            keeps: candidate.keeps(),
            patches,
        };
        let table_offset = candidate.inspection.place.table_offset;
        let draft = Draft { image, file, table_offset, was_lent: false };
        is_at(&draft.file, draft.path()).map_err(|error| unwritable(draft.path(), &error))?;
        Ok(draft)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.image.path
    }

    /// Lends it to a child whose table is at the address `table`: a handle of the file, which can
    /// be looked at and not be read or written.
    pub(crate) fn lend(&mut self, table: usize) -> Result<OwnedFd, Refusal> {
        self.was_lent = true;
        let lend = || {
            self.write_address(table)?;
            let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let times = Timestamps { last_access: omitted, last_modification: LONG_AGO };
            rustix::fs::futimens(&self.file, &times)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let handle = rustix::fs::open(self.path(), flags, Mode::empty())?;
            is_same(&rustix::fs::fstat(&self.file)?, &rustix::fs::fstat(&handle)?)?;
            io::Result::Ok(handle)
        };
        lend().map_err(|error| unwritable(self.path(), &error))
    }

    /// The image with the address of `table`. Where somebody has written to what was lent, the
    /// candidate for one, it is made anew.
    pub(crate) fn finish(
        mut self,
        place: &Arc<Place>,
        candidate: &Candidate,
        table: &HostTable,
    ) -> Result<Image, Refusal> {
        if self.was_lent && !self.is_untouched(&candidate.bytes.data) {
            let path = text::path(self.path());
            let _ = say!(warn, path, "somebody has written to an image: it is made anew");
            // Removes the file first: the new one has its name.
            drop(self);
            self = Draft::write(place, candidate, table.generation)?;
        }
        let (offset, address) = (self.table_offset, std::ptr::from_ref(table).addr());
        self.write_address(address).map_err(|error| unwritable(self.path(), &error))?;
        let original = word(&candidate.bytes.data, offset)?;
        self.image.patches.push(Patch { offset, original, new: address.to_ne_bytes() });
        Ok(self.image)
    }

    /// Writes the address of a table into the place.
    fn write_address(&self, table: usize) -> io::Result<()> {
        self.file.write_all_at(&table.to_ne_bytes(), self.table_offset as u64)
    }

    fn is_untouched(&self, bytes: &[u8]) -> bool {
        self.file.metadata().is_ok_and(|found| {
            let written = (found.mtime(), found.mtime_nsec());
            found.len() == bytes.len() as u64 && written == (LONG_AGO.tv_sec, LONG_AGO.tv_nsec)
        })
    }
}

/// It is a file of this user's, and nobody else's.
fn is_private(file: impl AsFd) -> io::Result<()> {
    let found = rustix::fs::fstat(file)?;
    let is_own = found.st_uid == rustix::process::geteuid().as_raw() && found.st_mode & 0o077 == 0;
    if is_own && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
        return Ok(());
    }
    Err(io::Error::other("what the service has made there is not this user's alone"))
}

/// The loader, which takes a path, will find this very file.
fn is_at(file: impl AsFd, path: &Path) -> io::Result<()> {
    is_same(&rustix::fs::fstat(file)?, &rustix::fs::lstat(path)?)
}

fn is_same(file: &Stat, found: &Stat) -> io::Result<()> {
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
    Refusal::new(code_of(error), format!("can't write {}: {error}", text::path(path)))
}

/// What a library's flags are without the one that would keep it mapped.
fn without_nodelete(bytes: &[u8], offset: usize) -> Result<[u8; 8], Refusal> {
    let flags = u64::from_le_bytes(word(bytes, offset)?);
    Ok((flags & !DF_1_NODELETE).to_le_bytes())
}

/// Writes `bytes` with `patches`, which are in order and apart, to a file in `directory` that must
/// not exist.
fn write_new(
    directory: BorrowedFd<'_>,
    name: &str,
    mode: Mode,
    bytes: &[u8],
    patches: &[Patch],
) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, name, flags, mode)?);
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
    match write() {
        Ok(()) => Ok(file),
        Err(error) => {
            // What could not be written whole is no image.
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
            Err(error)
        }
    }
}
