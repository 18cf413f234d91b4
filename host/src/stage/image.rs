//! Private images: the file that is mapped.
//!
//! A library that others can still write to can change under the running code, and a path that was
//! seen before makes the loader answer with what it has. So the verified bytes themselves are
//! written to a file of our own, read-only, in a directory that only this user can enter, under a
//! name that is used once.

use super::run::{Place, code_of};
use super::{Candidate, Keep};
use crate::contained::say;
use crate::refusal::{Code, Refusal};
use midflight_inspect::{Bytes, DF_1_NODELETE, Spare, read, text};
use midflight_plugin::rt::HostTable;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::ffi::OsStr;
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
    /// Writes the candidate's bytes with the address of `table` in their place.
    pub(crate) fn write(
        place: &Arc<Place>,
        candidate: &Candidate,
        generation: u64,
        table: &HostTable,
    ) -> Result<Image, Refusal> {
        let manifest = &candidate.inspection.manifest;
        let digest = candidate.digest();
        let name = format!("{}.{generation}.{}.so", manifest.name, &digest.to_hex()[..12]);
        let mut image = Image {
            path: place.path().join(&name),
            place: Some(Arc::clone(place)),
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
        write_new(place.directory(), &name, mode, bytes, &image.patches)
            .and_then(|file| is_at(&file, &image.path))
            .map_err(|error| unwritable(&image.path, &error))?;
        Ok(image)
    }

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
        let name = self.path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if let Some(place) = &self.place
            && let Err(error) = place.remove(name)
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
        place: &Place,
        name: &str,
        candidate: &Candidate,
        generation: u64,
    ) -> Result<Draft, Refusal> {
        let path = place.path().join(name);
        let bytes = &candidate.bytes.data;
        let mut patches = Vec::new();
        if let Some(offset) = candidate.inspection.nodelete {
            let (original, new) = (word(bytes, offset)?, without_nodelete(bytes, offset)?);
            patches.push(Patch { offset, original, new });
        }
        let image = Draft::name(&candidate.manifest().name, generation);
        let make = || {
            rustix::fs::mkdirat(place.directory(), name, Mode::RWXU)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(place.directory(), name, flags, Mode::empty())?;
            write_new(directory.as_fd(), &image, Mode::RWXU, bytes, &patches)?;
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
