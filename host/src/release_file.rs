//! Release files: which plugins a group is made of, in which versions, and with what configuration.

use crate::refusal::{Code, Refusal};
use crate::settings::Bounds;
use crate::stage::Candidate;
use midflight_inspect::{Spare, text};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A longer file is refused unread: it has some lines a plugin.
const BYTES_MAX: u64 = 1 << 20;

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
    let bytes = midflight_inspect::read(path, BYTES_MAX, &Spare::default());
    let bytes = bytes.map_err(|refusal| match refusal.code() {
        Code::LibraryTooLarge => invalid(format!("it has more than {BYTES_MAX} bytes")),
        Code::FileEmpty => invalid("it names no plugin".to_owned()),
        _ => refusal,
    })?;
    let text = std::str::from_utf8(&bytes.data).map_err(|error| invalid(error.to_string()))?;
    let file: File = toml::from_str(text).map_err(|error| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &Path, code: Code, reason: &str) {
        let Err(refusal) = read(path, &Bounds::default()) else {
            panic!("{} was read", path.display());
        };
        assert_eq!(refusal.code(), code, "{refusal}");
        assert!(refusal.reason().contains(reason), "{refusal}");
        assert!(refusal.to_string().len() < 4096, "{refusal}");
    }

    #[test]
    fn j12_what_is_no_file_is_refused_and_nothing_blocks() {
        let directory = tempfile::tempdir().unwrap();
        check(Path::new("/dev/zero"), Code::NotAFile, "a character device");
        check(directory.path(), Code::NotAFile, "a directory");
        let fifo = directory.path().join("fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        check(&fifo, Code::NotAFile, "a FIFO");
        check(&directory.path().join("none"), Code::FileUnreadable, "No such file");
    }

    #[test]
    fn j12_a_file_is_read_up_to_a_bound_and_what_is_told_of_it_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("release.toml");
        let long = |bytes: usize| "k\u{1b}".repeat(bytes / 2);
        std::fs::write(&path, format!("\"{}\" = 1\n", long(20 << 20))).unwrap();
        check(&path, Code::ReleaseInvalid, "more than 1048576 bytes");
        std::fs::write(&path, format!("{} = 1\n", "k".repeat(500_000))).unwrap();
        check(&path, Code::ReleaseInvalid, "line 1: ");
        let plugin = "[[plugin]]\nname = \"a\"\nversion = \"1.0.0\"\n";
        std::fs::write(&path, format!("{plugin}file = \"{}\"\n", "x".repeat(500_000))).unwrap();
        check(&path, Code::FileUnreadable, "File name too long");
        // Sparse: to read it would take the memory that the bound is there for.
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        check(&path, Code::ReleaseInvalid, "more than 1048576 bytes");
        std::fs::write(&path, b"").unwrap();
        check(&path, Code::ReleaseInvalid, "names no plugin");
        std::fs::write(&path, b"\xff").unwrap();
        check(&path, Code::ReleaseInvalid, "invalid utf-8");
    }
}
