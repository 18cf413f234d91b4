//! Stamping a file: read once, stamped in memory, and renamed into place.
//!
//! A library that is written to in place is seen half written by whoever watches its directory, and
//! is cut if the machine stops in between. So the stamped bytes are written beside it and renamed
//! over it.

use super::{Stamping, stamp};
use crate::buffer::Spare;
use crate::read::read;
use crate::refusal::Refusal;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Why a file could not be stamped. `Debug` writes what `Display` does.
#[non_exhaustive]
#[derive(thiserror::Error)]
pub enum StampError {
    /// It is not what can be stamped: see [`stamp`].
    #[error("{0:#}")]
    Refused(Refusal),
    /// The stamped file could not be written. What was there before is there still.
    #[error("can't write {}: {source}", path.display())]
    Unwritable {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Debug for StampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Stamps the library at `from` and puts it at `to`, with the same permissions. They may be the
/// same path.
///
/// Where there is something at `to` it is replaced as a whole, by a rename; where `to` is a link,
/// that which it leads to. A file that is to be stamped where it is, and has the right stamp, is
/// not touched.
///
/// ```no_run
/// # use midflight_inspect::{StampError, stamp_file};
/// # fn main() -> Result<(), StampError> {
/// stamp_file("target/release/libfees.so".as_ref(), "dist/fees.so".as_ref())?;
/// # Ok(())
/// # }
/// ```
pub fn stamp_file(from: &Path, to: &Path) -> Result<Stamping, StampError> {
    let mut bytes = read(from, u64::MAX, &Spare::default()).map_err(StampError::Refused)?;
    let refused = |refusal: Refusal| StampError::Refused(refusal.in_file(from));
    let done = stamp(&mut bytes.data).map_err(refused)?;
    let unwritable = |source| StampError::Unwritable { path: to.to_owned(), source };
    // A link stays one.
    let place = fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    let source = fs::metadata(from).map_err(unwritable)?;
    let here = fs::metadata(&place).is_ok_and(|target| is_same(&source, &target));
    if !here || done != Stamping::Unchanged {
        write(&bytes.data, &place, &source, here).map_err(unwritable)?;
    }
    Ok(done)
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Writes `bytes` beside `place` and renames them there, with the permissions of `like`; and with
/// its owner, if they stand for it.
fn write(bytes: &[u8], place: &Path, like: &Metadata, in_its_place: bool) -> io::Result<()> {
    let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let hidden = format!(".{}.stamp-{}", name.to_string_lossy(), std::process::id());
    let hidden = place.with_file_name(hidden);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&hidden)?;
    let mut write = || {
        file.write_all(bytes)?;
        if in_its_place {
            // Only root may give a file away; then the file is that of who has stamped it.
            let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
        }
        file.set_permissions(like.permissions())?;
        // Before its name: else a power cut could leave the name of a file with no bytes.
        file.sync_all()?;
        fs::rename(&hidden, place)
    };
    write().inspect_err(|_| drop(fs::remove_file(&hidden)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;
    use crate::stamp::tests::library;
    use crate::{Stamp, verify};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn directory_with(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.so");
        fs::write(&path, bytes).unwrap();
        (directory, path)
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_permissions() {
        let (directory, path) = directory_with(&library());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).unwrap();
        let before = fs::metadata(&path).unwrap();
        assert_eq!(stamp_file(&path, &path).unwrap(), Stamping::New);
        assert_eq!(verify(&fs::read(&path).unwrap()).unwrap(), Stamp::Stamped);
        let after = fs::metadata(&path).unwrap();
        assert_eq!(after.permissions(), before.permissions());
        assert_ne!(after.ino(), before.ino(), "nobody sees it half written");
        assert_eq!(names(directory.path()), ["a.so"]);
    }

    #[test]
    fn a_file_with_the_right_stamp_is_not_touched() {
        let (_directory, path) = directory_with(&library());
        stamp_file(&path, &path).unwrap();
        let before = fs::metadata(&path).unwrap();
        assert_eq!(stamp_file(&path, &path).unwrap(), Stamping::Unchanged);
        let after = fs::metadata(&path).unwrap();
        assert_eq!(after.ino(), before.ino());
        assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    }

    #[test]
    fn a_copy_is_stamped_and_a_link_is_followed() {
        let (directory, path) = directory_with(&library());
        let (copy, link) = (directory.path().join("b.so"), directory.path().join("link.so"));
        assert_eq!(stamp_file(&path, &copy).unwrap(), Stamping::New);
        assert_eq!(fs::read(&path).unwrap(), library());
        symlink("a.so", &link).unwrap();
        assert_eq!(stamp_file(&link, &link).unwrap(), Stamping::New);
        assert_eq!(fs::read(&path).unwrap(), fs::read(&copy).unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // Also one that is stamped already is copied.
        fs::remove_file(&copy).unwrap();
        assert_eq!(stamp_file(&path, &copy).unwrap(), Stamping::Unchanged);
        assert_eq!(fs::read(&path).unwrap(), fs::read(&copy).unwrap());
    }

    #[test]
    fn what_can_not_be_stamped_or_written_is_left_as_it_is() {
        let (directory, path) = directory_with(b"text");
        let Err(StampError::Refused(refusal)) = stamp_file(&path, &path) else { panic!("stamped") };
        assert_eq!((refusal.code(), refusal.file()), (Code::NotElf, Some(&*path)));
        assert_eq!(fs::read(&path).unwrap(), b"text");
        fs::write(&path, library()).unwrap();
        let error = stamp_file(&path, &directory.path().join("no/such.so")).unwrap_err();
        assert!(matches!(error, StampError::Unwritable { .. }), "{error}");
        // A directory can't be replaced by a file.
        let taken = directory.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(matches!(stamp_file(&path, &taken), Err(StampError::Unwritable { .. })));
        assert_eq!(names(directory.path()), ["a.so", "taken"]);
    }
}
