//! Release files: which plugins a group is made of, in which versions, and with what configuration.

use crate::host::Bounds;
use crate::refusal::{Code, Refusal};
use crate::stage::Candidate;
use midflight_inspect::{Spare, text};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file, as toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    plugin: Vec<Plugin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    name: String,
    version: String,
    /// Relative to the release file.
    file: PathBuf,
    config: Option<toml::Table>,
}

/// A library that a release file names, and the configuration that it gives it.
type Named = (Candidate, Option<Arc<str>>);

/// Reads the release file at `path` and every library that it names. Nothing of them runs.
pub(crate) fn read(path: &Path, bounds: &Bounds) -> Result<Vec<Named>, Refusal> {
    let invalid = |reason: String| Refusal::new(Code::ReleaseInvalid, reason).in_file(path);
    let text = std::fs::read_to_string(path).map_err(|error| {
        Refusal::new(Code::FileUnreadable, format!("{}: {error}", text::path(path))).in_file(path)
    })?;
    let file: File = toml::from_str(&text).map_err(|error| {
        // Its own text has lines of the file in it, and marks below them.
        let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        invalid(format!("{place}{}", error.message()))
    })?;
    if file.plugin.is_empty() {
        return Err(invalid("it names no plugin".to_owned()));
    }
    let mut candidates: Vec<Named> = Vec::new();
    for Plugin { name, version, file, config } in file.plugin {
        let library = path.parent().unwrap_or(Path::new("")).join(file);
        let candidate = Candidate::read(&library, bounds, &Spare::default())?;
        let manifest = candidate.manifest();
        if manifest.name != name || manifest.version.to_string() != version {
            let reason = format!(
                "it names {name} {version}, and {} is {} {}",
                text::path(&library),
                manifest.name,
                manifest.version
            );
            return Err(invalid(reason));
        }
        if candidates.iter().any(|(other, _)| other.manifest().name == name) {
            return Err(invalid(format!("it names {name} twice")));
        }
        let config = config.map(|config| toml::to_string(&config)).transpose();
        candidates
            .push((candidate, config.map_err(|error| invalid(error.to_string()))?.map(Arc::from)));
    }
    Ok(candidates)
}
