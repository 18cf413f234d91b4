//! Drafts: an image on its way, from the verified bytes to the file that the service maps.

use super::Candidate;
use crate::contained::say;
use crate::image::{Image, Patch, is_at, is_same};
use crate::refusal::{Code, Refusal};
use crate::run::{Place, code_of};
use midflight_inspect::{DF_1_NODELETE, text};
use midflight_plugin::rt::HostTable;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

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
