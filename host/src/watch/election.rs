//! The election: which of the files that lie in the directory may run, at a start and whenever the
//! whole directory is another one.
//!
//! Of each plugin it is the file with the highest version, the latest of equals, of those that
//! nobody has decided about; and it must beat what serves by the same rule. What a file is worth
//! against what serves, the control plane says.

use super::files::{Identity, libraries};
use crate::command::{Command, Ranked, Standing};
use crate::event::{About, EventKind};
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::stage::Candidate;
use crate::stage::writers::Scan;
use midflight_inspect::text;
use semver::Version;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file of the directory, without its bytes: of all that lie there one is in memory at a time.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    identity: Option<Identity>,
    pub(crate) library: Result<Library, Refusal>,
}

/// What is in a file.
pub(crate) struct Library {
    pub(crate) plugin: String,
    pub(crate) version: Version,
    /// That its author names.
    pub(crate) group: Option<String>,
    /// In nanoseconds since 1970.
    pub(crate) modified_ns: u64,
    pub(crate) digest: blake3::Hash,
}

/// What lies in the directory now. What is as it was at an earlier look is not read again, and what
/// was refused then is not told again.
pub(crate) fn look(
    shared: &Shared,
    directory: &Path,
    seen: Vec<File>,
    scan: Scan,
) -> io::Result<Vec<File>> {
    let mut seen: BTreeMap<_, _> = seen.into_iter().map(|file| (file.path.clone(), file)).collect();
    let (mut found, mut doubtful) = (Vec::new(), Vec::new());
    for path in libraries(directory)? {
        let (began, identity) = (Instant::now(), Identity::of(&path));
        if let Some(file) = seen.remove(&path)
            && file.identity == identity
            && identity.is_some()
        {
            found.push(file);
            continue;
        }
        let file = File { library: read(shared, &path), path, identity };
        match file.library {
            Ok(_) => found.push(file),
            Err(_) => doubtful.push((file, began.elapsed())),
        }
    }
    let written = match doubtful.is_empty() {
        true => Vec::new(),
        false => scan(&doubtful.iter().map(|(file, _)| file.path.as_path()).collect::<Vec<_>>()),
    };
    for ((file, took), written) in doubtful.into_iter().zip(written) {
        // Its writer's close is still to come.
        if let Err(refusal) = &file.library
            && !written
            && file.path.exists()
        {
            shared.refused(refusal, took);
            found.push(file);
        }
    }
    Ok(found)
}

fn read(shared: &Shared, path: &Path) -> Result<Library, Refusal> {
    let candidate = Candidate::read(path, &shared.bounds, &shared.spare)?;
    let manifest = candidate.manifest();
    Ok(Library {
        plugin: manifest.name.clone(),
        version: manifest.version.clone(),
        group: manifest.group.clone(),
        modified_ns: candidate.modified_ns(),
        digest: candidate.digest(),
    })
}

/// The files that may be taken up, of each plugin one. What is passed over for another file is
/// told.
pub(crate) fn elect(shared: &Shared, files: &[File]) -> Vec<PathBuf> {
    let libraries = files.iter().filter_map(|file| Some((&file.path, file.library.as_ref().ok()?)));
    let all: Vec<_> = libraries.collect();
    let ranked = all.iter().map(|(_, library)| Ranked {
        plugin: library.plugin.clone(),
        version: library.version.clone(),
        modified_ns: library.modified_ns,
        digest: library.digest.into(),
    });
    let ranked = ranked.collect();
    // A host that is ending wants no more candidates.
    let Ok(standings) = shared.commands.ask(|reply| Command::Rank { files: ranked, reply }) else {
        return Vec::new();
    };
    let mut best = BTreeMap::<_, (_, &Library)>::new();
    let mut losers = Vec::new();
    for ((path, library), standing) in all.into_iter().zip(standings) {
        if standing == Standing::Out {
            continue;
        }
        let rank = (standing, &library.version, library.modified_ns, Reverse(path));
        match best.get_mut(&library.plugin) {
            None => drop(best.insert(&library.plugin, (rank, library))),
            Some(winner) if winner.0 < rank => {
                losers.push(std::mem::replace(winner, (rank, library)));
            }
            Some(_) => losers.push((rank, library)),
        }
    }
    for ((.., Reverse(path)), loser) in losers {
        if let Some(((.., Reverse(file)), winner)) = best.get(&loser.plugin) {
            pass_over(shared, (path, loser), (file, winner));
        }
    }
    best.into_values().map(|((.., Reverse(path)), _)| path.clone()).collect()
}

fn pass_over(shared: &Shared, loser: (&Path, &Library), winner: (&Path, &Library)) {
    if loser.1.digest == winner.1.digest {
        return;
    }
    let (file, version) = (text::path(winner.0), &winner.1.version);
    let reason = if loser.1.version == *version {
        format!("{file} has the same version with other contents, and was written later")
    } else {
        format!("{file} has version {version} of the same plugin")
    };
    let kind = EventKind::PassedOver { file: loser.0.to_owned(), reason };
    let version = loser.1.version.to_string();
    let about = About { plugin: &loser.1.plugin, version: &version, generation: None };
    shared.events.add(about, Duration::ZERO, kind);
}

/// Of some files, those that may be taken up or can't be read, and the others.
pub(super) fn of(shared: &Shared, paths: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let read = |path: PathBuf| {
        let identity = Identity::of(&path);
        File { library: read(shared, &path), path, identity }
    };
    let files = paths.into_iter().map(read);
    let files: Vec<_> = files.collect();
    let elected = elect(shared, &files);
    let is_due = |file: &File| file.library.is_err() || elected.contains(&file.path);
    let (due, out): (Vec<_>, Vec<_>) = files.into_iter().partition(is_due);
    let paths = |files: Vec<File>| files.into_iter().map(|file| file.path).collect();
    (paths(due), paths(out))
}
