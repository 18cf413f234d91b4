//! The election: which of the files that lie in the directory is to run, at the start.

use super::files::libraries;
use super::is_final;
use crate::shared::Shared;
use crate::stage::{Candidate, writers};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// What lies in the directory at the start: of each plugin the highest version, the newest of
/// equals.
pub(crate) fn initial(
    shared: &Shared,
    directory: &Path,
    known: impl Fn(&Candidate) -> bool,
) -> io::Result<Vec<(Candidate, Duration)>> {
    let mut best = BTreeMap::new();
    for path in libraries(directory)? {
        let began = Instant::now();
        if writers::is_open_for_writing(&path) {
            continue;
        }
        match Candidate::read(&path, &shared.bounds, &shared.spare) {
            // The journal has decided about it.
            Ok(candidate) if known(&candidate) => {}
            Ok(candidate) => {
                let took = began.elapsed();
                let manifest = candidate.manifest();
                let rank = (manifest.version.clone(), modified(&path), Reverse(path));
                let best = best
                    .entry(manifest.name.clone())
                    .or_insert_with(|| None::<(_, Candidate, Duration)>);
                if best.as_ref().is_none_or(|(other, ..)| *other < rank) {
                    *best = Some((rank, candidate, took));
                }
            }
            Err(refusal) if is_final(&path) => shared.refused(&refusal, began.elapsed()),
            Err(_) => {}
        }
    }
    Ok(best.into_values().flatten().map(|(_, candidate, took)| (candidate, took)).collect())
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
