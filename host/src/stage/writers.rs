//! Writers: whether somebody still has a file open for writing.
//!
//! A file that was copied into place, instead of renamed into it, is seen while it grows. Waiting a
//! while and looking again guesses; the kernel knows who can still write.
//!
//! It tells that by descriptor, of all the processes of the machine, which takes longer than to
//! read the files. So one scan answers for many files, and ends at a bound.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How much of the machine is looked at: a writer beyond that is not found. What it writes is then
/// refused, and looked at again when it closes the file.
const DESCRIPTORS_MAX: usize = 200_000;
const TIME_MAX: Duration = Duration::from_secs(2);

/// A scan for writers, as the watch is given it: for each of the paths, whether it has one.
pub(crate) type Scan = fn(&[&Path]) -> Vec<bool>;

/// Whether a process that we may look into has it open for writing, for each of `paths`.
///
/// Descriptors only: a shared writable mapping whose descriptor was closed can't be seen this way,
/// nor can other users' processes. A `false` is no proof, a `true` is one.
pub(crate) fn open_for_writing(paths: &[&Path]) -> Vec<bool> {
    let mut looked = 0;
    let until = Instant::now() + TIME_MAX;
    scan(Path::new("/proc"), paths, || {
        looked += 1;
        looked <= DESCRIPTORS_MAX && Instant::now() < until
    })
}

/// As long as `goes_on` says before each descriptor, or until all of them have a writer.
fn scan(processes: &Path, paths: &[&Path], mut goes_on: impl FnMut() -> bool) -> Vec<bool> {
    let mut written = vec![false; paths.len()];
    // By inode and device; several paths may name one file.
    let mut wanted = BTreeMap::<(u64, u64), Vec<usize>>::new();
    for (at, path) in paths.iter().enumerate() {
        if let Ok(file) = fs::metadata(path) {
            wanted.entry((file.ino(), file.dev())).or_default().push(at);
        }
    }
    let processes = fs::read_dir(processes).into_iter().flatten().flatten();
    for process in processes.filter(|entry| is_number(&entry.file_name())) {
        // One that is gone or closed to us writes nothing.
        let Ok(descriptors) = fs::read_dir(process.path().join("fdinfo")) else { continue };
        for descriptor in descriptors.flatten() {
            if wanted.is_empty() || !goes_on() {
                return written;
            }
            let Ok(info) = fs::read_to_string(descriptor.path()) else { continue };
            // The text first: a stat can hang on a dead network mount.
            let of_wanted = |inode| wanted.range((inode, 0)..=(inode, u64::MAX)).next().is_some();
            if !may_write(&info) || number(&info, "ino:", 10).is_some_and(|it| !of_wanted(it)) {
                continue;
            }
            let open = process.path().join("fd").join(descriptor.file_name());
            if let Ok(open) = fs::metadata(open)
                && let Some(found) = wanted.remove(&(open.ino(), open.dev()))
            {
                found.into_iter().for_each(|at| written[at] = true);
            }
        }
    }
    written
}

fn is_number(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
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
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    fn is_open_for_writing(path: &Path) -> bool {
        open_for_writing(&[path])[0]
    }

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

    #[test]
    fn w06_one_scan_answers_for_all_files_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..50).map(|at| directory.path().join(format!("{at}"))).collect();
        let writers: Vec<_> =
            paths.iter().step_by(7).map(|path| File::create(path).unwrap()).collect();
        fs::hard_link(&paths[7], &paths[8]).unwrap();
        let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
        let expected: Vec<_> = (0..50).map(|at| at % 7 == 0 || at == 8).collect();
        assert_eq!(open_for_writing(&paths), expected);
        drop(writers);
    }

    #[test]
    fn w06_a_scan_ends_at_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        let (processes, file) = (directory.path().join("proc"), directory.path().join("x.so"));
        fs::write(&file, "x").unwrap();
        // A machine of one process with a thousand descriptors, of which the last one writes.
        for part in ["fd", "fdinfo"] {
            fs::create_dir_all(processes.join("7").join(part)).unwrap();
        }
        let inode = fs::metadata(&file).unwrap().ino();
        for at in 0..1_000 {
            std::os::unix::fs::symlink(&file, processes.join(format!("7/fd/{at}"))).unwrap();
            let info = format!("pos:\t0\nflags:\t0100000\nino:\t{inode}\n");
            fs::write(processes.join(format!("7/fdinfo/{at}")), info).unwrap();
        }
        let mut looked = 0;
        let bounded = scan(&processes, &[&file], || {
            looked += 1;
            looked <= 10
        });
        assert_eq!((bounded, looked), (vec![false], 11));
        let info = format!("pos:\t0\nflags:\t0100001\nino:\t{inode}\n");
        fs::write(processes.join("7/fdinfo/999"), info).unwrap();
        assert_eq!(scan(&processes, &[&file], || true), [true]);
    }
}
