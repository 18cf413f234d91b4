//! A look at the process's mappings: of which files there is code.
//!
//! The kernel's list is as long as there are libraries and threads, and to have all of it written
//! as text takes milliseconds where there are a thousand of either. So the kernel is asked for what
//! is executable and of a file, one mapping a question, and for the text where it can't be asked
//! (before Linux 6.11).

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Which images have code in this process, at one moment.
///
/// Other mappings of a file don't count: a symboliser that maps it to read names can leave one
/// behind, and nothing runs there.
pub(crate) struct Maps {
    /// The names of the files, with a zero behind each; `None` where the system does not tell.
    code: Option<Vec<u8>>,
}

impl Maps {
    pub(crate) fn now() -> Self {
        let code = File::open("/proc/self/maps");
        let code = code.and_then(|maps| asked(&maps).or_else(|_| read(&maps)));
        Maps { code: code.ok() }
    }

    /// Does the system list nothing?
    pub(crate) fn is_blind(&self) -> bool {
        self.code.is_none()
    }

    /// Is any code of the image at `path` there, or can't that be known?
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.code.as_ref().is_none_or(|code| names(code, path))
    }
}

fn names(code: &[u8], path: &Path) -> bool {
    // One that was removed meanwhile has a word behind its path.
    memchr::memmem::find(code, path.as_os_str().as_bytes()).is_some()
}

/// `struct procmap_query` of `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    permissions: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    device: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

/// `PROCMAP_QUERY`.
const QUERY: Opcode = opcode::read_write::<Query>(b'f', 17);
/// `VMA_EXECUTABLE`, `COVERING_OR_NEXT_VMA`, `FILE_BACKED_VMA`: the first such mapping that does
/// not end before the address.
const CODE_FROM: u64 = 0x04 | 0x10 | 0x20;

/// The names, one by one.
fn asked(maps: &File) -> io::Result<Vec<u8>> {
    let (mut code, mut name, mut address) = (Vec::new(), [0_u8; libc::PATH_MAX as usize], 0);
    loop {
        let mut query = Query {
            size: size_of::<Query>() as u64,
            flags: CODE_FROM,
            address,
            name_size: name.len() as u32,
            name: name.as_mut_ptr().expose_provenance() as u64,
            ..Query::default()
        };
        // SAFETY: the kernel reads and writes a struct of the size that it is told, and writes a
        // name of at most its size to where it is told; both are this function's.
        match unsafe { ioctl(maps, Updater::<QUERY, Query>::new(&mut query)) } {
            Ok(()) => {}
            Err(rustix::io::Errno::NOENT) => return Ok(code),
            Err(error) => return Err(error.into()),
        }
        // Its own zero is counted.
        code.extend_from_slice(&name[..name.len().min(query.name_size as usize)]);
        address = query.end;
    }
}

/// The names, from the text.
fn read(mut maps: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    maps.read_to_end(&mut text)?;
    // `7f0000000000-7f0000001000 r-xp 00002000 fe:00 1234      /a/path`
    let is_code = |line: &&[u8]| {
        let permissions = line.split(|byte| *byte == b' ').nth(1);
        permissions.is_none_or(|permissions| permissions.get(2) == Some(&b'x'))
    };
    let lines = text.split(|byte| *byte == b'\n').filter(is_code);
    let names = lines.filter_map(|line| Some(&line[memchr::memchr(b'/', line)?..]));
    Ok(names.flat_map(|name| name.iter().chain(&[0])).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::fd::AsRawFd;

    fn map(file: &File, protection: i32) -> *mut libc::c_void {
        let (nowhere, shared) = (std::ptr::null_mut(), libc::MAP_PRIVATE);
        // SAFETY: a new mapping, of a file of this test's.
        let at = unsafe { libc::mmap(nowhere, 4096, protection, shared, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED);
        at
    }

    #[test]
    fn g02_a_look_finds_code_and_nothing_else_whichever_way_it_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        let all = ["code.so", "data.so", "removed.so"].map(|name| {
            std::fs::write(path(name), [0; 4096]).unwrap();
            File::open(path(name)).unwrap()
        });
        let is_there = || {
            let maps = File::open("/proc/self/maps").unwrap();
            let code = read(&maps).unwrap();
            // A kernel that can't be asked says so at once.
            if let Ok(asked) = asked(&maps) {
                let set = |code: &[u8]| -> BTreeSet<Vec<u8>> {
                    let of_it = |name: &&[u8]| names(name, directory.path());
                    code.split(|byte| *byte == 0).filter(of_it).map(<[u8]>::to_vec).collect()
                };
                assert_eq!(set(&asked), set(&code));
            }
            let now = Maps::now();
            ["code.so", "data.so", "removed.so"].map(|name| now.has(&path(name)))
        };
        assert_eq!(is_there(), [false; 3]);
        let [code, data, removed] = &all;
        let at = map(code, libc::PROT_READ | libc::PROT_EXEC);
        map(data, libc::PROT_READ | libc::PROT_WRITE);
        map(removed, libc::PROT_READ | libc::PROT_EXEC);
        std::fs::remove_file(path("removed.so")).unwrap();
        assert_eq!(is_there(), [true, false, true]);
        // SAFETY: mapped above, and nobody has run it.
        unsafe { libc::munmap(at, 4096) };
        assert_eq!(is_there(), [false, false, true]);
    }
}
