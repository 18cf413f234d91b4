//! The election: which of the files that lie in the directory is to run, at the start.

use super::files::{libraries, modified};
use crate::event::{About, EventKind};
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::stage::Candidate;
use crate::stage::writers::Scan;
use midflight_inspect::text;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What lies in the directory at the start.
pub(crate) struct Found {
    /// Of each plugin the one that is to run.
    pub(crate) elected: Vec<Read>,
    /// Files that were refused.
    pub(crate) refused: Vec<(PathBuf, Refusal)>,
    /// Is there no library at all?
    pub(crate) is_empty: bool,
}

/// A file that can be a plugin.
pub(crate) struct Read {
    pub(crate) path: PathBuf,
    pub(crate) candidate: Candidate,
    pub(crate) took: Duration,
}

/// Of each plugin the highest version, the newest of equals. What is refused or passed over is an
/// event.
pub(crate) fn initial(
    shared: &Shared,
    directory: &Path,
    known: impl Fn(&Candidate) -> bool,
    scan: Scan,
) -> io::Result<Found> {
    let mut best = BTreeMap::new();
    let mut doubtful = Vec::new();
    let paths = libraries(directory)?;
    let is_empty = paths.is_empty();
    for path in paths {
        let began = Instant::now();
        match Candidate::read(&path, &shared.bounds, &shared.spare) {
            // The journal has decided about it.
            Ok(candidate) if known(&candidate) => {}
            Ok(candidate) => {
                let mut read = Read { path, candidate, took: began.elapsed() };
                match best.entry(read.candidate.manifest().name.clone()) {
                    Entry::Vacant(place) => drop(place.insert(read)),
                    Entry::Occupied(mut place) => {
                        if place.get().is_before(&read) {
                            mem::swap(place.get_mut(), &mut read);
                        }
                        pass_over(shared, &read, place.get());
                    }
                }
            }
            Err(refusal) => doubtful.push((path, refusal, began.elapsed())),
        }
    }
    let written = match doubtful.is_empty() {
        true => Vec::new(),
        false => scan(&doubtful.iter().map(|(path, ..)| path.as_path()).collect::<Vec<_>>()),
    };
    let mut refused = Vec::new();
    for ((path, refusal, took), written) in doubtful.into_iter().zip(written) {
        // Its writer's close is still to come.
        if !written && path.exists() {
            shared.refused(&refusal, took);
            refused.push((path, refusal));
        }
    }
    Ok(Found { elected: best.into_values().collect(), refused, is_empty })
}

impl Read {
    /// Of two files of one plugin: is `other` the one to run?
    fn is_before(&self, other: &Read) -> bool {
        let rank = |read: &Read| (read.candidate.manifest().version.clone(), modified(&read.path));
        rank(self) < rank(other)
    }
}

fn pass_over(shared: &Shared, loser: &Read, winner: &Read) {
    if loser.candidate.digest() == winner.candidate.digest() {
        return;
    }
    let (file, version) = (text::path(&winner.path), &winner.candidate.manifest().version);
    let manifest = loser.candidate.manifest();
    let reason = if manifest.version == *version {
        format!("{file} has the same version with other contents, and was written later")
    } else {
        format!("{file} has version {version} of the same plugin")
    };
    let kind = EventKind::PassedOver { file: loser.path.clone(), reason };
    let version = manifest.version.to_string();
    let about = About { plugin: &manifest.name, version: &version, generation: None };
    shared.events.add(about, loser.took, kind);
}
