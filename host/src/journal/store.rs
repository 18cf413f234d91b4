//! The store: the libraries that the journal would bring back.
//!
//! The file that a version came from can be replaced or gone at the next start, and the private
//! images go with their process. So what is committed is copied here under the hash of its bytes,
//! before the journal says that it is.

use super::JournalError;
use super::files::{Failed, Files, NEW, replace};
use super::record::Digest;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Libraries by hash. Nothing comes out of it that was not put in.
pub(crate) struct Store {
    files: Box<dyn Files>,
    bytes_max: u64,
    /// One at a time, or two would both fit where one does.
    putting: Mutex<()>,
}

impl Store {
    /// Removes what a process left that ended while it put something.
    pub(super) fn open(files: Box<dyn Files>, bytes_max: u64) -> Result<Self, JournalError> {
        let store = Store { files, bytes_max, putting: Mutex::new(()) };
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
        // Read, not just looked for: what has rotted is written again.
        if self.get(&digest).is_ok() {
            // Whoever put it may not have come to this.
            return self.files.sync().map_err(Failed::to("sync the directory of")).map_err(failed);
        }
        let others = self.libraries()?.into_iter().filter(|(other, _)| *other != digest);
        let bytes_kept = others.map(|(_, bytes)| bytes).sum::<u64>();
        let bytes_new = bytes.len() as u64;
        if bytes_kept.saturating_add(bytes_new) > self.bytes_max {
            let path = self.files.path().to_owned();
            return Err(JournalError::StoreFull {
                path,
                bytes: bytes_new,
                bytes_kept,
                bytes_max: self.bytes_max,
            });
        }
        replace(&*self.files, &name, bytes).map_err(failed)?;
        Ok(())
    }

    /// The bytes that were put.
    pub(crate) fn get(&self, digest: &Digest) -> Result<Vec<u8>, JournalError> {
        let path = self.path(digest);
        let read = self.files.read(&name(digest));
        let Some(bytes) = read.map_err(|source| JournalError::unreadable(&path, source))? else {
            return Err(JournalError::StoreMissing { path });
        };
        let found = Digest::of(&bytes);
        if found == *digest { Ok(bytes) } else { Err(JournalError::StoreDamaged { path, found }) }
    }

    /// Removes every library but these.
    pub(crate) fn retain(&self, kept: &BTreeSet<Digest>) -> Result<(), JournalError> {
        let libraries = self.libraries()?.into_iter();
        // One that can't be removed is no reason to leave the others.
        let removed = libraries
            .filter(|(digest, _)| !kept.contains(digest))
            .map(|(digest, _)| self.remove(&name(&digest)));
        removed.fold(Ok(()), Result::and)
    }

    fn libraries(&self) -> Result<Vec<(Digest, u64)>, JournalError> {
        let libraries = self.list()?.into_iter();
        Ok(libraries.filter_map(|(name, bytes)| Some((digest(&name)?, bytes))).collect())
    }

    fn list(&self) -> Result<Vec<(String, u64)>, JournalError> {
        self.files.list().map_err(|source| JournalError::unreadable(self.files.path(), source))
    }

    fn remove(&self, name: &str) -> Result<(), JournalError> {
        let removed = self.files.remove(name);
        removed.map_err(|source| {
            JournalError::unwritable("remove", &self.files.path().join(name), source)
        })
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
