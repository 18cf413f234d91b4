//! Writers: whether somebody still has a file open for writing.
//!
//! A file that was copied into place, instead of renamed into it, is seen while it grows. Waiting a
//! while and looking again guesses; the kernel knows who can still write.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether a process that we may look into has `path` open for writing.
///
/// Descriptors only: a shared writable mapping whose descriptor was closed can't be seen this way,
/// nor can other users' processes. A `false` is no proof, a `true` is one.
pub(crate) fn is_open_for_writing(path: &Path) -> bool {
    let Ok(file) = fs::metadata(path) else {
        return false;
    };
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes
        .flatten()
        .filter(|entry| is_number(&entry.file_name()))
        .any(|entry| writes(&entry.path(), &file))
}

fn is_number(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// Whether the process with this directory in /proc has `file` open for writing. One that is gone
/// or closed to us has not.
fn writes(process: &Path, file: &Metadata) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fdinfo")) else {
        return false;
    };
    descriptors.flatten().any(|entry| {
        let Ok(info) = fs::read_to_string(entry.path()) else {
            return false;
        };
        // The text first: a stat can hang on a dead network mount.
        if !may_write(&info) || number(&info, "ino:", 10).is_some_and(|inode| inode != file.ino()) {
            return false;
        }
        let open = fs::metadata(process.join("fd").join(entry.file_name()));
        open.is_ok_and(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
    })
}

fn may_write(info: &str) -> bool {
    const O_ACCMODE: u64 = 0o3;
    const O_WRONLY: u64 = 0o1;
    const O_RDWR: u64 = 0o2;
    number(info, "flags:", 8).is_some_and(|flags| matches!(flags & O_ACCMODE, O_WRONLY | O_RDWR))
}

/// The number on the line that starts with `key`.
fn number(info: &str, key: &str, radix: u32) -> Option<u64> {
    let value = info.lines().find_map(|line| line.strip_prefix(key))?;
    u64::from_str_radix(value.trim(), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::process::{Command, Stdio};

    /// A child that another test forks holds a copy of every descriptor until it execs, so a few
    /// looks may be needed.
    #[track_caller]
    fn check_no_writer(path: &Path) {
        assert!(
            (0..1_000).any(|_| !is_open_for_writing(path)),
            "{} still has a writer",
            path.display()
        );
    }

    #[test]
    fn a_writer_in_this_process_is_seen_until_it_closes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let writer = File::create(&path).unwrap();
        assert!(is_open_for_writing(&path));
        drop(writer);
        check_no_writer(&path);
    }

    #[test]
    fn one_that_reads_and_writes_is_a_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "a").unwrap();
        let _both = File::options().read(true).write(true).open(&path).unwrap();
        assert!(is_open_for_writing(&path));
    }

    #[test]
    fn a_reader_is_no_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "a").unwrap();
        let _reader = File::open(&path).unwrap();
        check_no_writer(&path);
    }

    #[test]
    fn a_writer_of_another_file_is_none_of_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "a").unwrap();
        let _other = File::create(directory.path().join("b")).unwrap();
        check_no_writer(&path);
    }

    #[test]
    fn a_writer_in_another_process_is_seen_under_another_name_too() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("a"), directory.path().join("b"));
        let writer = File::create(&path).unwrap();
        fs::hard_link(&path, &link).unwrap();
        // `cat` holds the file as its standard output for as long as its input is open.
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(writer).spawn().unwrap();
        assert!(is_open_for_writing(&path));
        assert!(is_open_for_writing(&link));
        drop(child.stdin.take());
        child.wait().unwrap();
        check_no_writer(&path);
    }

    #[test]
    fn a_file_that_is_not_there_has_no_writer() {
        assert!(!is_open_for_writing(Path::new("/no/such/file")));
    }
}
