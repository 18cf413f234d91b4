//! Private images: the file that is mapped.
//!
//! A library that others can still write to can change under the running code, and a path that was
//! seen before makes the loader answer with what it has. So the verified bytes themselves are
//! written to a file of our own, read-only, in a directory that only this user can enter, under a
//! name that is used once.

use crate::contained::say;
use crate::refusal::{Code, Refusal};
use crate::run::{self, Place};
use midflight_inspect::{Bytes, Spare, read, text};
use rustix::fs::{FileType, Stat};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A library's file in the run directory. Removed when the last owner drops it.
///
/// Owned by its generation until that is unmapped, and by the control plane while it is what a
/// rollback would load.
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    /// Where it was written. None: it is what a preflight's parent wrote, or is linked in.
    pub(crate) place: Option<Arc<Place>>,
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
    pub(crate) patches: Vec<Patch>,
}

/// Eight bytes that were written over.
pub(crate) struct Patch {
    pub(crate) offset: usize,
    pub(crate) original: [u8; 8],
    pub(crate) new: [u8; 8],
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
pub(crate) fn is_at(file: impl AsFd, path: &Path) -> io::Result<()> {
    is_same(&rustix::fs::fstat(file)?, &rustix::fs::lstat(path)?)
}

pub(crate) fn is_same(file: &Stat, found: &Stat) -> io::Result<()> {
    match (file.st_dev, file.st_ino) == (found.st_dev, found.st_ino) {
        true => Ok(()),
        false => Err(io::Error::other("another file lies there")),
    }
}

/// Why a library can never be unmapped, as far as its file tells.
pub(crate) enum Keep {
    /// One of others that it needs, which can keep pointers into it that nobody sees.
    SharedLibrary(String),
    /// STB_GNU_UNIQUE: the loader keeps what defines one.
    UniqueSymbols,
    /// It is part of the host.
    Linked,
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::SharedLibrary(name) => write!(f, "shared library: {name}"),
            Keep::UniqueSymbols => f.write_str("unique symbols"),
            Keep::Linked => f.write_str("linked into the host"),
        }
    }
}

impl Keep {
    /// What its author can do, if it was not meant so.
    pub(crate) fn way_out(&self) -> Option<String> {
        match self {
            Keep::SharedLibrary(name) => Some(format!("link what it needs of {name} statically")),
            Keep::UniqueSymbols => Some("compile its C++ code with -fno-gnu-unique".to_owned()),
            Keep::Linked => None,
        }
    }
}
