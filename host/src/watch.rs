//! The watcher: turns what happens in a directory into candidates.
//!
//! It acts on a file when its writer closes it or renames it into place, at once and with no settling time. What it reads then is
//! complete, unless the writer has it open a second time; so where the bytes are refused it asks whether anybody still
//! writes, and if so waits for the close that must come.

use crate::control::{By, Command};
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::stage::{Candidate, writers};
use notify::event::{AccessKind, AccessMode, EventKind as Seen, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

/// A watched directory. Dropping it ends the watch and its thread.
pub(crate) struct Watch {
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub(crate) fn start(directory: &Path, shared: Arc<Shared>) -> notify::Result<Self> {
        let (send, receive) = channel();
        let mut watcher = notify::recommended_watcher(move |event| {
            // The thread below has ended: so will the watcher.
            let _ = send.send(event);
        })?;
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        let directory = directory.to_owned();
        std::thread::Builder::new()
            .name("midflight-watch".to_owned())
            .spawn(move || follow(&directory, &shared, &receive))
            .map_err(notify::Error::io)?;
        Ok(Watch { _watcher: watcher })
    }
}

fn follow(directory: &Path, shared: &Shared, events: &Receiver<notify::Result<notify::Event>>) {
    while let Ok(first) = events.recv() {
        // A burst is one look at each file, in the order of the last writes.
        let mut due = Vec::new();
        for event in std::iter::once(first).chain(events.try_iter()) {
            for path in completed(directory, event) {
                due.retain(|earlier| *earlier != path);
                due.push(path);
            }
        }
        for path in due {
            consider(shared, &path);
        }
    }
}

/// The files that `event` says are complete now.
fn completed(directory: &Path, event: notify::Result<notify::Event>) -> Vec<PathBuf> {
    let event = match event {
        Ok(event) => event,
        Err(error) => {
            tracing::warn!(target: "midflight", %error, directory = %directory.display(), "the watch is disturbed");
            return Vec::new();
        }
    };
    if event.need_rescan() {
        return libraries(directory).unwrap_or_default();
    }
    let closed = Seen::Access(AccessKind::Close(AccessMode::Write));
    let renamed_in = Seen::Modify(ModifyKind::Name(RenameMode::To));
    let complete = |path: &PathBuf| match event.kind {
        kind if kind == closed || kind == renamed_in => true,
        // A hard link is complete when it appears, and nobody closes it. Another new file has one link, and a writer.
        Seen::Create(_) => path.metadata().is_ok_and(|found| found.nlink() > 1),
        _ => false,
    };
    event.paths.iter().filter(|path| is_library(path) && complete(path)).cloned().collect()
}

fn consider(shared: &Shared, path: &Path) {
    let began = Instant::now();
    match Candidate::read(path, shared.bounds.library_bytes_max) {
        Ok(candidate) => {
            let candidate = Box::new(candidate);
            let took = began.elapsed();
            // A host that is ending wants no more candidates.
            let _ = shared.send(Command::Update { candidate, by: By::Watcher, took });
        }
        Err(refusal) => reject(shared, path, refusal, began.elapsed()),
    }
}

fn reject(shared: &Shared, path: &Path, refusal: Refusal, took: Duration) {
    if !path.exists() {
        return tracing::debug!(target: "midflight", path = %path.display(), "gone before it was read");
    }
    if writers::is_open_for_writing(path) {
        return tracing::debug!(target: "midflight", path = %path.display(), "its writer has not closed it yet");
    }
    shared.refused(&refusal, took);
}

/// What lies in the directory at the start: of each plugin the highest version, the newest of equals.
pub(crate) fn initial(shared: &Shared, directory: &Path) -> io::Result<Vec<(Candidate, Duration)>> {
    let mut best = BTreeMap::new();
    for path in libraries(directory)? {
        let began = Instant::now();
        if writers::is_open_for_writing(&path) {
            continue;
        }
        match Candidate::read(&path, shared.bounds.library_bytes_max) {
            Ok(candidate) => {
                let took = began.elapsed();
                let manifest = candidate.manifest();
                let rank = (manifest.version.clone(), modified(&path), Reverse(path.clone()));
                let entry = best.entry(manifest.name.clone());
                let other = entry.or_insert_with(|| None::<(_, Candidate, Duration)>);
                if other.as_ref().is_none_or(|(earlier, ..)| *earlier < rank) {
                    *other = Some((rank, candidate, took));
                }
            }
            Err(refusal) => reject(shared, &path, refusal, began.elapsed()),
        }
    }
    let best = best.into_values().flatten();
    Ok(best.map(|(_, candidate, took)| (candidate, took)).collect())
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// The directory's library files, by name.
fn libraries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        found.push(entry?.path());
    }
    found.retain(|path| is_library(path));
    found.sort();
    Ok(found)
}

/// `*.so`, but no hidden file: those are what tools write before they rename.
fn is_library(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    path.extension().is_some_and(|extension| extension == "so") && !hidden
}
