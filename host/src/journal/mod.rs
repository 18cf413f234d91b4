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
//! - The file is looked for before each record, and written anew where somebody has taken it away.
//!   What another host could have written is never overwritten.
//! - Every format that was ever written is read, and written in the newest; the file as it was
//!   stays beside it, for the way back.
//! - All that is kept is bounded: texts, records, versions and contracts a plugin, libraries.
//!
//! ```text
//! <directory>/lock              who has it
//!             journal           <checksum> <seconds since 1970> <json>, one a line
//!             journal.new       about to take its place; left by a crash, it means nothing
//!             journal.format-1  as a host of an older format left it
//!             store/<hash>.so   the libraries that the journal would bring back
//! ```

mod files;
mod record;
mod restart;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use record::{Digest, Member, Process, Record, Version};
pub(crate) use restart::{Brought, bring_back};
pub(crate) use state::{JournalState, Quarantined};
pub(crate) use store::Store;

use crate::contained::say;
use files::{Directory, Failed, Files, Found, Written, replace};
use midflight_inspect::text;
use record::{Line, Torn};
use state::StateOfFormat1;
use std::io;
use std::path::{Path, PathBuf};

const JOURNAL: &str = "journal";
/// A longer file is not read. Journals of format 1 had no bound of their own.
const READ_BYTES_MAX: u64 = 256 << 20;
/// An older journal that is longer is not kept beside the new one.
const OLD_BYTES_MAX: usize = 4 << 20;
/// Of a journal's bound, what one record may take.
const RECORD_SHARE: u64 = 3;

/// Where the journal is kept as a host of that format left it.
fn old_journal(format: u32) -> String {
    format!("{JOURNAL}.format-{format}")
}

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
    /// Which file that is.
    found: Option<Found>,
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
    /// The older format that it was read in.
    pub(crate) migrated_from: Option<u32>,
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
        let found = files
            .read(JOURNAL, READ_BYTES_MAX)
            .map_err(|source| JournalError::unreadable(&path, source))?;
        let (mut state, mut lines, repaired, migrated_from) = match found {
            None => (JournalState::default(), record::head(&JournalState::default()), None, None),
            Some(mut bytes) => {
                let Replayed { state, torn, format } = replay(&*files, &path, &bytes)?;
                bytes.truncate(torn.map_or(bytes.len(), |torn| torn.at));
                let older = (format != record::FORMAT).then_some(format);
                if let Some(format) = older {
                    keep_old(&*files, format, &bytes)?;
                    bytes = record::head(&state);
                }
                (state, bytes, torn.map(Repaired::from), older)
            }
        };
        let died = state.process.clone().filter(|_| !state.clean);
        let quarantined = state.quarantine();
        let held = quarantined.iter().map(Quarantined::record);
        for record in held.chain([Record::Began(Process::this())]) {
            state.apply(&record);
            lines.extend(record::line(&record));
        }
        let (file, found, bytes, bytes_begun) = (None, None, 0, 0);
        let mut journal = Journal { files, file, found, bytes, bytes_begun, bytes_max, state };
        // What happened before stays readable for as long as there is room.
        if lines.len() as u64 > bytes_max {
            journal.compact()?
        } else {
            journal.begin(&lines)?
        }
        Ok((journal, Opened { died, repaired, quarantined, migrated_from }))
    }

    /// When this returns, `record` survives whatever happens. After an error it may or may not be
    /// found at the next start; the next record that is appended rules it out.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let record = record.bounded();
        let line = record::line(&record);
        let line_bytes = line.len() as u64;
        if line_bytes > self.bytes_max / RECORD_SHARE {
            let (path, bytes_max) = (self.path(), self.bytes_max / RECORD_SHARE);
            return Err(JournalError::RecordTooLarge { path, bytes: line_bytes, bytes_max });
        }
        self.look()?;
        // What is still true may be more than the bound: then that is not to be written again with
        // every record.
        let bytes_max = self.bytes_max.max(2 * self.bytes_begun);
        if self.file.is_none() || self.bytes + line_bytes > bytes_max {
            self.compact()?;
        }
        let mut file = self.file.take().expect("a journal that was begun has a file");
        let written = file.append(&line).map_err(|source| ("write", source));
        let synced = written.and_then(|()| file.sync().map_err(|source| ("sync", source)));
        synced.map_err(|(what, source)| self.unwritable(what, source))?;
        self.file = Some(file);
        self.bytes += line_bytes;
        self.state.apply(&record);
        Ok(())
    }

    /// Is the file where a restart would find it? One that was taken away or cut is written anew:
    /// all that is in it is known here.
    fn look(&mut self) -> Result<(), JournalError> {
        let own = self.files.check_own();
        own.map_err(|source| JournalError::lost(self.files.path(), source))?;
        if self.file.is_none() {
            return Ok(());
        }
        let expected = self.found.map(|found| Found { bytes: self.bytes, ..found });
        let found = self.files.find(JOURNAL);
        let found = found.map_err(|source| self.unwritable("look for", source))?;
        if found == expected {
            return Ok(());
        }
        let is_own = |found: Found| self.found.is_some_and(|own| own.file == found.file);
        match found {
            Some(other) if !is_own(other) && other.bytes > 0 => {
                Err(JournalError::Replaced { path: self.path() })
            }
            taken => {
                let what = if taken.is_some() { "cut or written to" } else { "taken away" };
                let path = text::path(&self.path());
                let _ = say!(warn, path, "the journal was {what}, and is written anew");
                self.file = None;
                Ok(())
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.files.path().join(JOURNAL)
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
        let file = file.map_err(|Failed { what, source }| self.unwritable(what, source))?;
        let found = file.find().map_err(|source| self.unwritable("look for", source))?;
        (self.file, self.found) = (Some(file), Some(found));
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

/// What a journal's bytes come to.
struct Replayed {
    /// After all records.
    state: JournalState,
    /// At its end.
    torn: Option<Torn>,
    format: u32,
}

fn replay(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<Replayed, JournalError> {
    let damaged = |at: usize| JournalError::Damaged { path: path.to_owned(), at_byte: at as u64 };
    let unknown = |at: usize, source| JournalError::Unknown {
        path: path.to_owned(),
        at_byte: at as u64,
        source,
    };
    // A head can't be torn, so whatever is wrong with it is damage.
    let Some(head) = record::first(bytes) else {
        return Err(JournalError::Headless { path: path.to_owned() });
    };
    let format = record::format(head.json).map_err(|source| unknown(0, source))?;
    if format == 0 || format > record::FORMAT {
        return Err(JournalError::newer(files, path, format));
    }
    let mut state = state_of(format, &head).map_err(|source| unknown(0, source))?;
    let mut at = head.bytes;
    while at < bytes.len() {
        let Some(line) = record::first(&bytes[at..]) else {
            let torn = record::torn(bytes, at).ok_or_else(|| damaged(at))?;
            return Ok(Replayed { state, torn: Some(torn), format });
        };
        let mut record = serde_json::from_slice(line.json).map_err(|source| unknown(at, source))?;
        if format == 1 {
            state::date_record(&mut record, line.seconds);
        }
        state.apply(&record);
        at += line.bytes;
    }
    Ok(Replayed { state, torn: None, format })
}

/// The state in the head of a journal of any format.
fn state_of(format: u32, head: &Line<'_>) -> serde_json::Result<JournalState> {
    match format {
        1 => {
            let mut state = JournalState::from(record::state::<StateOfFormat1>(head.json)?);
            state.date(head.seconds);
            Ok(state)
        }
        _ => record::state(head.json),
    }
}

/// For who goes back to the host that wrote it.
fn keep_old(files: &dyn Files, format: u32, bytes: &[u8]) -> Result<(), JournalError> {
    if bytes.len() > OLD_BYTES_MAX {
        return Ok(());
    }
    let name = old_journal(format);
    let kept = replace(files, &name, bytes);
    let path = files.path().join(name);
    kept.map_err(|Failed { what, source }| JournalError::unwritable(what, &path, source))?;
    Ok(())
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
    #[error(
        "can't lock {}: put a plain file there that this user owns, or move away what lies there",
        text::path(path)
    )]
    Unlockable { path: PathBuf, source: io::Error },
    #[error(
        "{} is not this host's any more: what is decided would not survive a restart, and another host could use it as well; \
         put the directory back as it was, or restart the host",
        text::path(path)
    )]
    Lost { path: PathBuf, source: io::Error },
    #[error(
        "another file lies at {}, which may be somebody's and is not written over; move it away, and the next thing that is \
         decided is written there with all before it; or restart the host, which then goes by that file",
        text::path(path)
    )]
    Replaced { path: PathBuf },
    #[error(
        "a record of {bytes} bytes is too long for {}: one may have {bytes_max}; give the plugin a shorter configuration",
        text::path(path)
    )]
    RecordTooLarge { path: PathBuf, bytes: u64, bytes_max: u64 },
    #[error("can't read {}; {}", text::path(path), room_or_disk(source))]
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
        "{} has format {format}, this host knows formats 1 to {}; start the version of the host that wrote it{}",
        text::path(path),
        record::FORMAT,
        way_back(old.as_deref())
    )]
    Newer { path: PathBuf, format: u32, old: Option<PathBuf> },
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
        "{} does not hold the bytes that were committed: {found}; apply the library again",
        text::path(path)
    )]
    StoreDamaged { path: PathBuf, found: String },
}

impl JournalError {
    fn unreadable(path: &Path, source: io::Error) -> Self {
        JournalError::Unreadable { path: path.to_owned(), source }
    }

    fn unwritable(what: &'static str, path: &Path, source: io::Error) -> Self {
        JournalError::Unwritable { what, path: path.to_owned(), source }
    }

    fn lost(path: &Path, source: io::Error) -> Self {
        // It may well be, but this user can't look.
        if source.kind() == io::ErrorKind::PermissionDenied {
            return JournalError::unreadable(path, source);
        }
        JournalError::Lost { path: path.to_owned(), source }
    }

    fn newer(files: &dyn Files, path: &Path, format: u32) -> Self {
        let old = old_journal(record::FORMAT);
        let is_there = matches!(files.find(&old), Ok(Some(_)));
        let old = is_there.then(|| files.path().join(old));
        JournalError::Newer { path: path.to_owned(), format, old }
    }
}

/// What a host does that can't read what a newer one wrote.
fn way_back(old: Option<&Path>) -> String {
    match old {
        Some(old) => format!(
            ". Or move {} into its place, which is the journal as the last host of this format left \
             it: what was decided since then is forgotten",
            text::path(old)
        ),
        None => {
            ". Or move it away: then the highest versions in the plugins' directory run, those too \
             that were held"
                .to_owned()
        }
    }
}

fn room_or_disk(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there; the next thing to be written then goes through"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it writable; the next thing to be written then goes through"
        }
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            return format!(
                "user {user} may not: a service that changes its user has to do so before it \
                 starts the host; until then, give that user the journal's directory \
                 (chown -R {user} on it)"
            );
        }
        _ => "check the disk and the directory's permissions",
    };
    advice.to_owned()
}
