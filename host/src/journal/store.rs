//! The store: the libraries that the journal would bring back.
//!
//! The file that a version came from can be replaced or gone at the next start, and the private
//! images go with their process. So what is committed is copied here under the hash of its bytes,
//! before the journal says that it is.

use super::JournalError;
use super::files::{Failed, Files, NEW, replace};
use super::record::Digest;
use crate::contained::say;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

/// Libraries by hash. Nothing comes out of it that was not put in.
pub(crate) struct Store {
    files: Box<dyn Files>,
    bytes_max: u64,
    /// One at a time, or two would both fit where one does.
    putting: Mutex<()>,
    /// `None`: to be listed anew. Never locked while a library is written.
    index: Mutex<Option<Index>>,
}

/// What is in the directory, which is this host's alone: to list it would cost each commit of a
/// plugin a look at all of them.
#[derive(Default)]
struct Index {
    /// With their bytes.
    libraries: BTreeMap<Digest, u64>,
    bytes: u128,
}

impl Index {
    fn insert(&mut self, digest: Digest, bytes: u64) {
        self.remove(&digest);
        self.libraries.insert(digest, bytes);
        self.bytes += u128::from(bytes);
    }

    fn remove(&mut self, digest: &Digest) {
        self.bytes -= u128::from(self.libraries.remove(digest).unwrap_or(0));
    }
}

impl Store {
    /// Removes what a process left that ended while it put something.
    pub(super) fn open(files: Box<dyn Files>, bytes_max: u64) -> Result<Self, JournalError> {
        let store = Store { files, bytes_max, putting: Mutex::new(()), index: Mutex::default() };
        for (name, _) in store.list()? {
            if name.strip_suffix(NEW).is_some_and(|name| digest(name).is_some()) {
                store.remove(&name)?;
            }
        }
        Ok(store)
    }

    /// When this returns, [`get`](Store::get) has these bytes whatever happens. Everything that is
    /// there counts for the bound: what need not be kept is to be given to
    /// [`retain`](Store::retain) first.
    pub(crate) fn put(&self, digest: Digest, bytes: &[u8]) -> Result<(), JournalError> {
        assert_eq!(digest, Digest::of(bytes), "the bytes are those of the digest");
        let name = name(&digest);
        let failed = |failed: Failed| {
            JournalError::unwritable(failed.what, &self.path(&digest), failed.source)
        };
        let _alone = self.putting.lock();
        let own = self.files.check_own();
        own.map_err(|source| JournalError::lost(self.files.path(), source))?;
        let found = self.files.find(&name);
        let found =
            found.map_err(|source| JournalError::unreadable(&self.path(&digest), source))?;
        let is_as_long = found.is_some_and(|found| found.bytes == bytes.len() as u64);
        // Read, not just looked for: what has rotted is written again.
        if is_as_long && self.get(&digest).is_ok() {
            // Whoever put it may not have come to this.
            return self.files.sync().map_err(Failed::to("sync the directory of")).map_err(failed);
        }
        let bytes_new = bytes.len() as u64;
        let fits = |bytes_kept: u64| bytes_kept.saturating_add(bytes_new) <= self.bytes_max;
        let mut bytes_kept = self.bytes_beside(&digest)?;
        if !fits(bytes_kept) {
            self.remove_damaged(&digest)?;
            bytes_kept = self.bytes_beside(&digest)?;
        }
        if !fits(bytes_kept) {
            return Err(JournalError::StoreFull {
                path: self.files.path().to_owned(),
                bytes: bytes_new,
                bytes_kept,
                bytes_max: self.bytes_max,
            });
        }
        match replace(&*self.files, &name, bytes) {
            Ok(_) => self.indexed(|index| index.insert(digest, bytes_new)),
            Err(error) => {
                // Its name may be there all the same.
                *self.index.lock() = None;
                Err(failed(error))
            }
        }
    }

    /// What all libraries but that one have.
    fn bytes_beside(&self, digest: &Digest) -> Result<u64, JournalError> {
        self.indexed(|index| {
            let own = index.libraries.get(digest).copied().unwrap_or(0);
            u64::try_from(index.bytes - u128::from(own)).unwrap_or(u64::MAX)
        })
    }

    /// Makes room: a file that is not what its name says is of no use to any restart. Of those that
    /// are too long to be in the store nothing is read.
    fn remove_damaged(&self, but: &Digest) -> Result<(), JournalError> {
        for digest in self.libraries()?.into_iter().filter(|other| other != but) {
            if let Err(JournalError::StoreDamaged { .. }) = self.get(&digest) {
                let _ = say!(warn, file = name(&digest), "removed: it was damaged, and took room");
                self.discard([&digest])?;
            }
        }
        Ok(())
    }

    /// The bytes that were put.
    pub(crate) fn get(&self, digest: &Digest) -> Result<Vec<u8>, JournalError> {
        let path = self.path(digest);
        let bytes = match self.files.read(&name(digest), self.bytes_max) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(JournalError::StoreMissing { path }),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(JournalError::StoreDamaged { path, found: error.to_string() });
            }
            Err(error) => return Err(JournalError::unreadable(&path, error)),
        };
        let found = Digest::of(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        Err(JournalError::StoreDamaged { path, found: format!("their hash is {found}") })
    }

    /// Removes every library but these.
    pub(crate) fn retain(&self, kept: &BTreeSet<Digest>) -> Result<(), JournalError> {
        self.discard(self.libraries()?.iter().filter(|digest| !kept.contains(digest)))
    }

    /// Removes these libraries.
    pub(crate) fn discard<'d>(
        &self,
        unneeded: impl IntoIterator<Item = &'d Digest>,
    ) -> Result<(), JournalError> {
        let remove = |digest: &Digest| {
            if self.indexed(|index| index.libraries.contains_key(digest))? {
                self.remove(&name(digest))?;
                self.indexed(|index| index.remove(digest))?;
            }
            Ok(())
        };
        // One that can't be removed is no reason to leave the others.
        unneeded.into_iter().map(remove).fold(Ok(()), Result::and)
    }

    fn libraries(&self) -> Result<Vec<Digest>, JournalError> {
        self.indexed(|index| index.libraries.keys().copied().collect())
    }

    /// What `f` finds in the index.
    fn indexed<R>(&self, f: impl FnOnce(&mut Index) -> R) -> Result<R, JournalError> {
        let mut index = self.index.lock();
        if let Some(index) = &mut *index {
            return Ok(f(index));
        }
        let mut listed = Index::default();
        for (name, bytes) in self.list()? {
            if let Some(digest) = digest(&name) {
                listed.insert(digest, bytes);
            }
        }
        Ok(f(index.insert(listed)))
    }

    fn list(&self) -> Result<Vec<(String, u64)>, JournalError> {
        self.files.list().map_err(|source| JournalError::unreadable(self.files.path(), source))
    }

    fn remove(&self, name: &str) -> Result<(), JournalError> {
        match self.files.remove(name) {
            // Somebody else has done it.
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(JournalError::unwritable("remove", &self.files.path().join(name), source))
            }
            _ => Ok(()),
        }
    }

    /// Where its bytes are: to be read once, and compared with it.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.files.path().join(name(digest))
    }
}

fn name(digest: &Digest) -> String {
    format!("{digest}.so")
}

/// Of what library this is the name, if it is one's.
fn digest(name: &str) -> Option<Digest> {
    let digest = name.strip_suffix(".so")?.parse().ok()?;
    // Hex can be written in two ways.
    (self::name(&digest) == name).then_some(digest)
}
