//! Trails: the names that a path leads through.
//!
//! `plugins` may be a link to `current/plugins`, where `current` is a link that each release
//! replaces. inotify follows links when a watch is made and never again, so the watch stays where
//! they once led. So each directory is watched in which a link lies that the path goes through.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The system gives up at as many.
const LINKS_MAX: usize = 40;

/// The links that lead from `path` to what it names, each by the real path of its directory with
/// its own name; and at the end the real path itself, whether anything is there or not.
pub(super) fn trail(path: &Path) -> Vec<PathBuf> {
    let mut steps = Vec::new();
    let mut at = PathBuf::from("/");
    let mut rest = Vec::new();
    push(&mut rest, path);
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(part);
        match std::fs::read_link(&next) {
            Ok(target) if steps.len() < LINKS_MAX => {
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                push(&mut rest, &target);
                steps.push(next);
            }
            _ => at = next,
        }
    }
    steps.push(at);
    steps
}

/// What is to come first lies on top.
fn push(rest: &mut Vec<OsString>, path: &Path) {
    rest.extend(path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn w03_a_trail_has_each_link_and_the_end() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        fs::create_dir_all(home.join("releases/1/plugins")).unwrap();
        symlink("releases/1", home.join("current")).unwrap();
        symlink("current/../1/plugins", home.join("releases/odd")).unwrap();
        symlink(home.join("current/plugins"), home.join("plugins")).unwrap();
        let check = |path: &str, expected: &[&str]| {
            let expected: Vec<_> = expected.iter().map(|step| home.join(step)).collect();
            assert_eq!(trail(&home.join(path)), expected, "{path}");
        };
        check("releases/1/plugins", &["releases/1/plugins"]);
        check("releases/2/plugins", &["releases/2/plugins"]);
        check("current/plugins", &["current", "releases/1/plugins"]);
        check("plugins", &["plugins", "current", "releases/1/plugins"]);
        check("current/../1/./plugins/x.so", &["current", "releases/1/plugins/x.so"]);
    }

    #[test]
    fn w03_links_in_a_circle_end() {
        let home = tempfile::tempdir().unwrap();
        symlink("b", home.path().join("a")).unwrap();
        symlink("a", home.path().join("b")).unwrap();
        assert_eq!(trail(&home.path().join("a")).len(), LINKS_MAX + 1);
    }
}
