//! The files of a watched directory: which of them are libraries, and whether one is still what it
//! was.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory's library files, by name.
pub(super) fn libraries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        found.push(entry?.path());
    }
    found.retain(|path| is_library(path));
    found.sort();
    Ok(found)
}

/// `*.so`, but no hidden file: those are what tools write before they rename.
pub(super) fn is_library(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    path.extension().is_some_and(|extension| extension == "so") && !hidden
}

/// Which file it is, and of which moment.
pub(super) fn identity(path: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let found = path.metadata().ok()?;
    Some((found.dev(), found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
}
