//! The journal: what a restart brings back.
//!
//! A service that is restarted must run what was committed last, must not run what it died of, and
//! must not take up again what was rolled back. The files in the plugins' directory can't tell: the
//! newest of them may be the one that killed it. So each decision is written down, and it counts
//! when it is on the disk. A process, or the machine, can end within any write, and whatever was
//! not synced by then may be lost or torn. Hence:
//!
//! - A file of lines, each with a checksum. One line is appended and synced at a time, so only the
//!   last can be torn. What is wrong with any other is damage, which is reported and never guessed
//!   at.
//! - A journal begins with a head, which has the state until then, and a file with a head comes
//!   into its place only by being renamed there, synced. So the head is never torn.
//! - Nothing is written after what may be garbage. After a write that failed, and at each start,
//!   the journal goes on in a new file. There is no other way of repair.
//!
//! ```text
//! <directory>/lock              who has it
//!             journal           <checksum> <seconds since 1970> <json>, one a line
//!             journal.new       about to take its place; left by a crash, it means nothing
//!             store/<hash>.so   the libraries that the journal would bring back
//! ```

mod files;
mod record;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use record::{Digest, Member, Process, Record, Version};
pub(crate) use state::{JournalState, Quarantined};
pub(crate) use store::Store;

use files::{Directory, Failed, Files, Written, replace};
use midflight_inspect::text;
use record::Torn;
use std::io;
use std::path::{Path, PathBuf};

const JOURNAL: &str = "journal";

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// A journal with more is begun anew with what is still true. What is still true may be more.
    pub(crate) journal_bytes_max: u64,
    /// Of the libraries in the store.
    pub(crate) store_bytes_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { journal_bytes_max: 1 << 20, store_bytes_max: 1 << 30 }
    }
}

/// Opens what is in the directory at `path`, or begins it there. Nobody else can until both are
/// dropped.
pub(crate) fn open(path: &Path, bounds: Bounds) -> Result<(Journal, Store, Opened), JournalError> {
    let directory = Directory::lock(path)?;
    let store = Store::open(Box::new(directory.inner("store")?), bounds.store_bytes_max)?;
    let (journal, opened) = Journal::open(Box::new(directory), bounds.journal_bytes_max)?;
    Ok((journal, store, opened))
}

/// The journal of this process, which has it alone.
pub(crate) struct Journal {
    files: Box<dyn Files>,
    /// Absent after a failure: nobody knows then what is in the file, so it is not written to
    /// again.
    file: Option<Box<dyn Written>>,
    bytes: u64,
    /// That the file had when it was begun.
    bytes_begun: u64,
    bytes_max: u64,
    /// After the last record that is on the disk.
    state: JournalState,
}

/// What was found at the start, to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The process before, where it did not end orderly.
    pub(crate) died: Option<Process>,
    pub(crate) repaired: Option<Repaired>,
    /// What was on probation when that process died, and is held from now on.
    pub(crate) quarantined: Vec<Quarantined>,
}

/// A last record that was being written when the process or the machine ended, and was cut off. It
/// never counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repaired {
    pub(crate) at_byte: u64,
    pub(crate) bytes: u64,
}

impl Journal {
    /// Reads the journal, draws the consequences of how the process before ended, and writes that
    /// and its own beginning.
    fn open(files: Box<dyn Files>, bytes_max: u64) -> Result<(Self, Opened), JournalError> {
        let path = files.path().join(JOURNAL);
        let found =
            files.read(JOURNAL).map_err(|source| JournalError::unreadable(&path, source))?;
        let (mut state, mut lines, repaired) = match found {
            None => (JournalState::default(), record::head(&JournalState::default()), None),
            Some(mut bytes) => {
                let (state, torn) = replay(&path, &bytes)?;
                bytes.truncate(torn.map_or(bytes.len(), |torn| torn.at));
                (state, bytes, torn.map(Repaired::from))
            }
        };
        let died = state.process.clone().filter(|_| !state.clean);
        let quarantined = state.quarantine();
        let held = quarantined.iter().map(Quarantined::record);
        for record in held.chain([Record::Began(Process::this())]) {
            state.apply(&record);
            lines.extend(record::line(&record));
        }
        let mut journal = Journal { files, file: None, bytes: 0, bytes_begun: 0, bytes_max, state };
        // What happened before stays readable for as long as there is room.
        if lines.len() as u64 > bytes_max {
            journal.compact()?
        } else {
            journal.begin(&lines)?
        }
        Ok((journal, Opened { died, repaired, quarantined }))
    }

    /// When this returns, `record` survives whatever happens. After an error it may or may not be
    /// found at the next start; the next record that is appended rules it out.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let line = record::line(record);
        // What is still true may be more than the bound: then that is not to be written again with
        // every record.
        let bytes_max = self.bytes_max.max(2 * self.bytes_begun);
        if self.file.is_none() || self.bytes + line.len() as u64 > bytes_max {
            self.compact()?;
        }
        let mut file = self.file.take().expect("a journal that was begun has a file");
        let written = file.append(&line).map_err(|source| ("write", source));
        let synced = written.and_then(|()| file.sync().map_err(|source| ("sync", source)));
        synced.map_err(|(what, source)| self.unwritable(what, source))?;
        self.file = Some(file);
        self.bytes += line.len() as u64;
        self.state.apply(record);
        Ok(())
    }

    pub(crate) fn state(&self) -> &JournalState {
        &self.state
    }

    /// Goes on in a new file, which begins with what is true now.
    fn compact(&mut self) -> Result<(), JournalError> {
        self.begin(&record::head(&self.state))
    }

    fn begin(&mut self, lines: &[u8]) -> Result<(), JournalError> {
        // Where it fails, either file may be found under the name, and a line written to the other
        // would be lost.
        self.file = None;
        let file = replace(&*self.files, JOURNAL, lines);
        self.file = Some(file.map_err(|Failed { what, source }| self.unwritable(what, source))?);
        self.bytes = lines.len() as u64;
        self.bytes_begun = self.bytes;
        Ok(())
    }

    fn unwritable(&self, what: &'static str, source: io::Error) -> JournalError {
        JournalError::unwritable(what, &self.files.path().join(JOURNAL), source)
    }
}

impl From<Torn> for Repaired {
    fn from(torn: Torn) -> Self {
        Repaired { at_byte: torn.at as u64, bytes: torn.bytes as u64 }
    }
}

/// The state after all records of a journal, and what was torn at its end.
fn replay(path: &Path, bytes: &[u8]) -> Result<(JournalState, Option<Torn>), JournalError> {
    let damaged = |at: usize| JournalError::Damaged { path: path.to_owned(), at_byte: at as u64 };
    let unknown = |at: usize, source| JournalError::Unknown {
        path: path.to_owned(),
        at_byte: at as u64,
        source,
    };
    // A head can't be torn, so whatever is wrong with it is damage.
    let Some((head, mut at)) = record::first(bytes) else {
        return Err(JournalError::Headless { path: path.to_owned() });
    };
    let format = record::format(head).map_err(|source| unknown(0, source))?;
    if format != record::FORMAT {
        return Err(JournalError::Format { path: path.to_owned(), format });
    }
    let mut state = record::state(head).map_err(|source| unknown(0, source))?;
    while at < bytes.len() {
        let Some((json, line_bytes)) = record::first(&bytes[at..]) else {
            let torn = record::torn(bytes, at).ok_or_else(|| damaged(at))?;
            return Ok((state, Some(torn)));
        };
        let record = serde_json::from_slice(json).map_err(|source| unknown(at, source))?;
        state.apply(&record);
        at += line_bytes;
    }
    Ok((state, None))
}

/// Why the journal or the store can't be used. What runs is not touched by it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(
        "can't use {} for the journal; give a directory that this user owns and nobody else can write to",
        text::path(path)
    )]
    Directory { path: PathBuf, source: io::Error },
    #[error(
        "{} belongs to another host that is running ({holder}); stop that one, or give this one a directory of its own",
        text::path(path)
    )]
    Locked { path: PathBuf, holder: String },
    #[error("can't read {}; check that this user may read it, and the disk", text::path(path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "can't {what} {}, so what was decided would not survive a restart; {}",
        text::path(path),
        room_or_disk(source)
    )]
    Unwritable { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{} is damaged at byte {at_byte}, before its last record: no write that was cut off does that. Nothing was changed. \
         Put back a copy, or drop everything from there on (truncate -s {at_byte}): then what was committed before that runs",
        text::path(path)
    )]
    Damaged { path: PathBuf, at_byte: u64 },
    #[error(
        "{} is damaged in its first line, which has what was committed. Nothing was changed. Put back a copy, or move it away: \
         then the highest versions in the plugins' directory run, those too that were held",
        text::path(path)
    )]
    Headless { path: PathBuf },
    #[error(
        "{} has format {format}, this host knows {}; start the version of the host that wrote it",
        text::path(path),
        record::FORMAT
    )]
    Format { path: PathBuf, format: u32 },
    #[error(
        "{} has something whole at byte {at_byte} that this host does not know; start the version of the host that wrote it",
        text::path(path)
    )]
    Unknown { path: PathBuf, at_byte: u64, source: serde_json::Error },
    #[error(
        "a library of {bytes} bytes does not fit into {}: {bytes_kept} bytes are kept there for a restart, store_bytes_max is \
         {bytes_max}; raise it, or strip the library",
        text::path(path)
    )]
    StoreFull { path: PathBuf, bytes: u64, bytes_kept: u64, bytes_max: u64 },
    #[error(
        "{} is not there any more; put the file back, or apply the library again",
        text::path(path)
    )]
    StoreMissing { path: PathBuf },
    #[error(
        "{} does not hold the bytes that were committed: they have the hash {found}; apply the library again",
        text::path(path)
    )]
    StoreDamaged { path: PathBuf, found: Digest },
}

impl JournalError {
    fn unreadable(path: &Path, source: io::Error) -> Self {
        JournalError::Unreadable { path: path.to_owned(), source }
    }

    fn unwritable(what: &'static str, path: &Path, source: io::Error) -> Self {
        JournalError::Unwritable { what, path: path.to_owned(), source }
    }
}

fn room_or_disk(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there; the next thing to be written then goes through"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it writable; the next thing to be written then goes through"
        }
        _ => "check the disk and the directory's permissions",
    }
}
