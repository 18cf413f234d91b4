//! Reading: a file's bytes, taken once.
//!
//! Whoever checks a file and then opens it again has checked another file. So there is one open and
//! one read, into memory; what is checked, hashed and written to the private image is this buffer
//! and nothing else.

use crate::buffer::{Buffer, Spare};
use crate::refusal::{Code, Refusal};
use rustix::fs::{Mode, OFlags};
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A file as it was read. Nothing reads it again.
pub struct Bytes {
    /// All of them.
    pub data: Buffer,
    /// Where it came from, for reports.
    pub file: PathBuf,
    /// When its content was last written, in nanoseconds since 1970; 0 where that was before.
    pub modified_ns: u64,
}

/// Reads the regular file at `path`, of at most `library_bytes_max` bytes, without ever blocking on
/// what is no file.
pub fn read(path: &Path, library_bytes_max: u64, spare: &Spare) -> Result<Bytes, Refusal> {
    let (data, found) = read_whole(path, library_bytes_max, spare, || {})
        .map_err(|refusal| refusal.in_file(path))?;
    Ok(Bytes { data, file: path.to_owned(), modified_ns: modified_ns(&found) })
}

fn modified_ns(found: &Metadata) -> u64 {
    let nanoseconds = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    u64::try_from(nanoseconds).unwrap_or(0)
}

/// `meanwhile` runs between the read and the second look; a test writes to the file there.
fn read_whole(
    path: &Path,
    library_bytes_max: u64,
    spare: &Spare,
    meanwhile: impl FnOnce(),
) -> Result<(Buffer, Metadata), Refusal> {
    let unreadable =
        |error: io::Error| Refusal::new(Code::FileUnreadable, format!("can't read it: {error}"));
    let mut file = match open(path) {
        Ok(file) => file,
        // A socket can't be opened at all.
        Err(error) => match std::fs::metadata(path) {
            Ok(found) if !found.is_file() && !found.is_dir() => {
                return Err(not_a_file(found.file_type()));
            }
            _ => return Err(unreadable(error)),
        },
    };
    let before = file.metadata().map_err(unreadable)?;
    if !before.is_file() {
        return Err(not_a_file(before.file_type()));
    }
    if before.len() == 0 {
        return Err(Refusal::new(Code::FileEmpty, "the file has no bytes"));
    }
    let too_large = |bytes: u64| {
        let reason =
            format!("the file has {bytes} bytes, library_bytes_max is {library_bytes_max}");
        Refusal::new(Code::LibraryTooLarge, reason)
    };
    if before.len() > library_bytes_max {
        return Err(too_large(before.len()));
    }
    // A size that memory can't meet is an error here.
    let expected = usize::try_from(before.len()).map_err(|_| too_large(before.len()))?;
    let mut data = spare.take(expected).map_err(unreadable)?;
    let read = read_up_to(&mut file, &mut data).map_err(unreadable)?;
    meanwhile();
    let after = file.metadata().map_err(unreadable)?;
    if let Some(what) = difference(&before, &after, read) {
        return Err(Refusal::new(Code::FileChanged, format!("while it was read, {what}")));
    }
    Ok((data, after))
}

/// Fills `buffer`, or reads to the file's end.
fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Without blocking: opening a FIFO for reading would wait for its writer, and a terminal would
/// become ours.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn not_a_file(kind: FileType) -> Refusal {
    let what = match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() => "a character device",
        kind if kind.is_block_device() => "a block device",
        _ => "no regular file",
    };
    Refusal::new(Code::NotAFile, format!("it is {what}"))
}

fn difference(before: &Metadata, after: &Metadata, read: usize) -> Option<String> {
    let size = (before.len(), after.len());
    if size.0 != size.1 {
        return Some(format!("its size went from {} to {} bytes", size.0, size.1));
    }
    if u64::try_from(read) != Ok(size.1) {
        return Some(format!("{read} bytes came of a file of {}", size.1));
    }
    if (before.mtime(), before.mtime_nsec()) != (after.mtime(), after.mtime_nsec()) {
        return Some("its modification time moved".into());
    }
    // Also where the writer puts the old modification time back.
    if (before.ctime(), before.ctime_nsec()) != (after.ctime(), after.ctime_nsec()) {
        return Some("its status changed".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[track_caller]
    fn check(path: &Path, code: Code, reason: &str) {
        let Err(refusal) = read(path, 100, &Spare::default()) else {
            panic!("{} was read", path.display());
        };
        assert_eq!(refusal.code(), code, "{refusal}");
        assert!(refusal.reason().contains(reason), "{refusal}");
        assert_eq!(refusal.file(), Some(path));
    }

    #[test]
    fn a_file_is_read_whole_up_to_the_bound() {
        let directory = directory();
        let path = directory.path().join("a");
        std::fs::write(&path, [7; 100]).unwrap();
        let bytes = read(&path, 100, &Spare::default()).ok().unwrap();
        assert_eq!(bytes.data[..], [7; 100]);
        assert_eq!(bytes.file, path);
    }

    #[test]
    fn one_byte_too_many_is_refused_unread() {
        let directory = directory();
        let path = directory.path().join("a");
        std::fs::write(&path, [7; 101]).unwrap();
        check(&path, Code::LibraryTooLarge, "101 bytes, library_bytes_max is 100");
        // Sparse: reading it would take the memory that the bound is there for.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        check(&path, Code::LibraryTooLarge, "1099511627776 bytes");
    }

    #[test]
    fn an_empty_file_is_refused() {
        let directory = directory();
        let path = directory.path().join("a");
        std::fs::write(&path, []).unwrap();
        check(&path, Code::FileEmpty, "no bytes");
    }

    #[test]
    fn a_file_that_is_not_there_is_refused() {
        check(&directory().path().join("a"), Code::FileUnreadable, "No such file");
    }

    #[test]
    fn what_is_no_file_is_named_and_nothing_blocks() {
        let directory = directory();
        check(directory.path(), Code::NotAFile, "a directory");
        check(Path::new("/dev/null"), Code::NotAFile, "a character device");
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        check(&fifo, Code::NotAFile, "a FIFO");
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        check(&socket, Code::NotAFile, "a socket");
    }

    #[test]
    fn a_file_that_grows_shrinks_or_is_rewritten_while_it_is_read_is_refused() {
        let directory = directory();
        let path = directory.path().join("a");
        let changed = |change: &dyn Fn(&mut File)| {
            std::fs::write(&path, [7; 50]).unwrap();
            let mut writer = File::options().write(true).open(&path).unwrap();
            // The clock of a file moves by ticks of some milliseconds: what was written long ago
            // has another time.
            writer.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            let refusal =
                read_whole(&path, 100, &Spare::default(), || change(&mut writer)).err().unwrap();
            assert_eq!(refusal.code(), Code::FileChanged, "{refusal}");
            refusal.reason().to_owned()
        };
        let grown = changed(&|file| file.set_len(51).unwrap());
        assert_eq!(grown, "while it was read, its size went from 50 to 51 bytes");
        assert!(changed(&|file| file.set_len(49).unwrap()).contains("from 50 to 49"));
        assert!(changed(&|file| file.write_all(&[8]).unwrap()).contains("modification time"));
    }

    #[test]
    fn a_writer_that_restores_the_modification_time_is_seen() {
        let directory = directory();
        let path = directory.path().join("a");
        std::fs::write(&path, [7; 50]).unwrap();
        let then = std::fs::metadata(&path).unwrap();
        let refusal = loop {
            let rewrite = || {
                let mut writer = File::options().write(true).open(&path).unwrap();
                writer.write_all(&[8]).unwrap();
                writer.set_modified(then.modified().unwrap()).unwrap();
            };
            // Within one tick of the file system's clock nothing is to be seen.
            if let Err(refusal) = read_whole(&path, 100, &Spare::default(), rewrite) {
                break refusal;
            }
        };
        assert_eq!(refusal.reason(), "while it was read, its status changed");
    }
}
