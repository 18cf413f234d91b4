//! The files of a watched directory: which of them are libraries, and which have changed since they
//! were looked into.

use crate::refusal::{Code, Refusal};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a directory has of interest, by name.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) libraries: Vec<PathBuf>,
    /// Those like `libx.so.1`.
    pub(super) numbered: Vec<PathBuf>,
}

impl Listing {
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if is_library(&path) {
                listing.libraries.push(path);
            } else if is_numbered(&path) {
                listing.numbered.push(path);
            }
        }
        listing.libraries.sort();
        listing.numbered.sort();
        Ok(listing)
    }
}

/// The directory's library files, by name.
pub(super) fn libraries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(Listing::of(directory)?.libraries)
}

/// `*.so`, but no hidden file: those are what tools write before they rename.
pub(super) fn is_library(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "so") && !is_hidden(path)
}

/// `libx.so.1`: a library by its name for everybody else.
pub(super) fn is_numbered(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let number = name.split_once(".so.").map(|(_, number)| number).unwrap_or_default();
    let digits = |letter: char| letter.is_ascii_digit() || letter == '.';
    number.starts_with(|letter: char| letter.is_ascii_digit())
        && number.chars().all(digits)
        && !is_hidden(path)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Which file it is, and of which moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    content: Content,
    changed: (i64, i64),
}

/// Which bytes it has. A change of its owner or of the number of its links is none of them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Content {
    device: u64,
    inode: u64,
    bytes: u64,
    written: (i64, i64),
}

impl Identity {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        let content = Content {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            written: (found.mtime(), found.mtime_nsec()),
        };
        Some(Identity { content, changed: (found.ctime(), found.ctime_nsec()) })
    }
}

/// What is known of the directory's files.
#[derive(Default)]
pub(super) struct Files(BTreeMap<PathBuf, File>);

#[derive(Default)]
struct File {
    /// What it was when it was looked into.
    looked: Option<Identity>,
    refused: Option<Refusal>,
    /// What it was at the last look, if that was something else.
    settling: Option<Identity>,
}

impl File {
    fn is_unreadable(&self) -> bool {
        self.refused.as_ref().is_some_and(|refusal| refusal.code() == Code::FileUnreadable)
    }
}

/// What a file was when it was looked into before.
pub(super) enum Before {
    /// What it is now; with its refusal, if there was one.
    Same(Option<Refusal>),
    Another,
}

/// When a file that has changed is looked into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    AtOnce,
    /// At the second look that finds it the same: where nobody tells of a writer's close, it may
    /// be in the middle of its work.
    Settled,
}

impl Files {
    /// It is looked into, and is `now`. What it was refused for before, if it is the same file.
    pub(super) fn looked_into(&mut self, path: &Path, now: Option<Identity>) -> Before {
        let file = File { looked: now, ..File::default() };
        match self.0.insert(path.to_owned(), file) {
            Some(before) if before.looked == now => Before::Same(before.refused),
            _ => Before::Another,
        }
    }

    pub(super) fn refused(&mut self, path: &Path, refusal: &Refusal) {
        if let Some(file) = self.0.get_mut(path) {
            file.refused = Some(refusal.clone());
        }
    }

    pub(super) fn is_unreadable(&self, path: &Path) -> bool {
        self.0.get(path).is_some_and(File::is_unreadable)
    }

    /// All that were refused when they were looked into.
    pub(super) fn all_refused(&self) -> Vec<PathBuf> {
        let refused = self.0.iter().filter(|(_, file)| file.refused.is_some());
        refused.map(|(path, _)| path.clone()).collect()
    }

    /// Of `found`, which is all there is, by name, those that are others than were looked into, the
    /// one that was written last at the end.
    pub(super) fn changed(&mut self, found: &[PathBuf], when: When) -> Vec<PathBuf> {
        self.0.retain(|path, _| found.binary_search(path).is_ok());
        let mut due: Vec<_> =
            found.iter().filter(|path| self.has_changed(path, when)).cloned().collect();
        due.sort_by_key(|path| modified(path));
        due
    }

    fn has_changed(&mut self, path: &Path, when: When) -> bool {
        let Some(now) = Identity::of(path) else { return false };
        let file = self.0.entry(path.to_owned()).or_default();
        let same = match file.is_unreadable() {
            // Who may read it is no part of its content.
            true => file.looked == Some(now),
            false => file.looked.is_some_and(|looked| looked.content == now.content),
        };
        if same {
            file.settling = None;
            return false;
        }
        let settled = file.settling.replace(now) == Some(now);
        settled || when == When::AtOnce
    }
}

pub(super) fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn u13_a_library_with_a_number_is_known_by_its_name() {
        for name in ["libx.so.1", "libx.so.1.2.3", "x.so.10"] {
            assert!(is_numbered(Path::new(name)) && !is_library(Path::new(name)), "{name}");
        }
        for name in ["x.so", "x.so.tmp", "x.so.1.tmp", ".x.so.1", "x.so.", "README.md", "so.1"] {
            assert!(!is_numbered(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn w03_what_has_changed_is_found_once_and_when_it_has_settled() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x.so");
        let mut files = Files::default();
        let look =
            |files: &mut Files, when| files.changed(&libraries(home.path()).unwrap(), when).len();
        fs::write(&path, "one").unwrap();
        assert_eq!(look(&mut files, When::Settled), 0, "it may still grow");
        fs::write(&path, "longer").unwrap();
        assert_eq!(look(&mut files, When::Settled), 0, "it does");
        assert_eq!(look(&mut files, When::Settled), 1);
        files.looked_into(&path, Identity::of(&path));
        assert_eq!(look(&mut files, When::Settled), 0);
        assert_eq!(look(&mut files, When::AtOnce), 0);
        // Another name for the same bytes, as a backup makes.
        fs::hard_link(&path, home.path().join("backup")).unwrap();
        assert_eq!(look(&mut files, When::AtOnce), 0);
        fs::rename(home.path().join("backup"), &path).unwrap();
        fs::write(home.path().join("new"), "another").unwrap();
        fs::rename(home.path().join("new"), &path).unwrap();
        assert_eq!(look(&mut files, When::AtOnce), 1);
    }

    #[test]
    fn w04_permissions_are_news_of_what_could_not_be_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x.so");
        fs::write(&path, "one").unwrap();
        let mut files = Files::default();
        files.looked_into(&path, Identity::of(&path));
        let permit = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let found = [path.clone()];
        permit(0o600);
        assert!(files.changed(&found, When::AtOnce).is_empty(), "it was read");
        files.refused(&path, &Refusal::new(Code::FileUnreadable, "a test"));
        assert!(files.is_unreadable(&path));
        permit(0o644);
        assert_eq!(files.changed(&found, When::AtOnce), found);
    }

    #[test]
    fn w02_of_several_the_one_that_was_written_last_is_the_last() {
        let home = tempfile::tempdir().unwrap();
        let paths = ["c.so", "a.so", "b.so"].map(|name| home.path().join(name));
        for (at, path) in paths.iter().enumerate() {
            fs::write(path, "x").unwrap();
            let seconds = std::time::Duration::from_secs(1_000 * (at as u64 + 1));
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + seconds).unwrap();
        }
        let found = libraries(home.path()).unwrap();
        assert_eq!(Files::default().changed(&found, When::AtOnce), paths);
    }
}
