//! The files of this repository, as text.

use std::fs;
use std::path::{Path, PathBuf};

/// One of them.
pub(crate) struct Source {
    /// From the repository's root.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// All of it is.
    pub(crate) fn is_test(&self) -> bool {
        let path = &*self.path;
        path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
    }

    /// Its unit tests.
    pub(crate) fn tests(&self) -> &str {
        &self.text[self.code().len()..]
    }

    /// Without its unit tests.
    pub(crate) fn code(&self) -> &str {
        let module = self.text.find("mod tests {").unwrap_or(self.text.len());
        let end = self.text[..module].rfind("#[cfg(test)]");
        end.filter(|_| module < self.text.len()).map_or(&self.text, |end| &self.text[..end])
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// All Rust and Markdown that is written by hand.
pub(crate) fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(root(), &mut paths);
    paths.sort();
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).expect("a source"),
        path: path.strip_prefix(root()).expect("it lies below").display().to_string(),
    };
    paths.into_iter().map(read).collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, found);
            }
        } else if name.ends_with(".rs") || name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// Each function with its number of lines, as rustfmt lays them out.
pub(crate) fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let Some(name) = function(line.trim_start()) else { continue };
        if line.ends_with('}') || line.ends_with(';') {
            continue;
        }
        let ends = |line: &&str| {
            let rest = line.strip_prefix(indent);
            rest.is_some_and(|rest| rest == "}" || rest.starts_with(')') && rest.ends_with(';'))
        };
        let lines = lines[at..].iter().position(ends).unwrap_or_default() + 1;
        found.push((name.to_owned(), lines));
    }
    found
}

fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_word = |word: &str| {
        let words = ["pub", "const", "async", "unsafe", "extern"];
        words.contains(&word) || word.starts_with("pub(") || word.starts_with('"')
    };
    let name = after.split(|one: char| !one.is_alphanumeric() && one != '_').next()?;
    before.split_whitespace().all(is_word).then_some(name).filter(|name| !name.is_empty())
}

#[test]
fn functions_are_counted_from_their_first_line_to_their_last() {
    let text =
        "fn one() {}\npub(crate) fn two(\n    a: u8,\n) -> u8 {\n    a\n}\nlet fn_three = 3;\n";
    assert_eq!(functions(text), [("two".to_owned(), 5)]);
}
