//! The program that this process runs, and the contracts that are in it.
//!
//! A preflight's child is another process of the same program. What the two tell each other about
//! the program must not be an address: who could make one up would have any memory read as a
//! layout. So the linker makes a list of all contracts that the program's code can ask for, and a
//! contract is told by its number in it. Each process reads the list in its own program.

use super::file_at;
use crate::contracts::{Known, Layout};
use midflight_plugin::Contract;
use midflight_plugin::rt::table_layout;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::arch::asm;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that this process runs, as a path.
pub(crate) const THIS: &str = "/proc/self/exe";

/// The file that a process runs, as it was when the process looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Program {
    /// Through the link in `/proc`, which leads to the file itself, whatever lies at its path by
    /// now.
    pub(crate) fn this() -> io::Result<Program> {
        Program::at(Path::new(THIS))
    }

    /// The program that another process runs.
    pub(crate) fn of(process: Pid) -> io::Result<Program> {
        Program::at(Path::new(&format!("/proc/{process}/exe")))
    }

    fn at(path: &Path) -> io::Result<Program> {
        let file = std::fs::metadata(path)?;
        Ok(Program {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.len(),
            modified_s: file.mtime(),
            modified_ns: file.mtime_nsec(),
        })
    }

    /// The program that [`THIS`] would start, where that is the one that this code is a part of.
    ///
    /// The system's loader can be started with a program as its argument, and so can other programs
    /// that load programs. Then [`THIS`] is the loader, and what it would start is whatever the
    /// arguments of the service name.
    ///
    /// # Errors
    /// Why it isn't, or can't be told.
    pub(crate) fn startable() -> Result<Program, String> {
        let link =
            std::fs::read_link(THIS).map_err(|error| format!("{THIS} can't be read: {error}"))?;
        let started = link.display();
        // SAFETY: it reads a list that the kernel made. The loader corrects this entry to the
        // program's own where it was started as one.
        let headers = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
        // SAFETY: it reads the same list. Only what needs no loader, as the loader itself, has
        // none.
        let loader = unsafe { libc::getauxval(libc::AT_BASE) };
        let mapped = file_mapped_at(headers);
        let other = mapped.filter(|mapped| *mapped != link);
        match other {
            Some(program) => {
                let program = program.display();
                Err(format!(
                    "{program} was started by {started}, and would not be started again by itself"
                ))
            }
            None if loader == 0 => {
                Err(format!("{started} was started, which is a loader of programs"))
            }
            None => Program::this().map_err(|error| format!("{THIS} can't be read: {error}")),
        }
    }

    /// The same text for the same file, on whichever disk.
    pub(crate) fn text(&self) -> String {
        let Program { bytes, modified_s, modified_ns, .. } = self;
        format!("{bytes} bytes of {modified_s}.{modified_ns:09}")
    }

    /// Is it the file that this process runs?
    ///
    /// # Errors
    /// The one that this process runs instead.
    pub(crate) fn compare(self) -> Result<SameProgram, io::Result<Program>> {
        match Program::this() {
            Ok(this) if this == self => Ok(SameProgram(())),
            other => Err(other),
        }
    }
}

/// That the process which told its [`Program`] runs the same file as this one: nobody can write to
/// a file that is running.
#[derive(Debug)]
pub(crate) struct SameProgram(());

/// Has this process rights that who started it may not have? So it is for a program that is setuid
/// or setgid, that has capabilities of its own, or that a security module gives another domain.
pub(crate) fn has_foreign_rights() -> bool {
    // SAFETY: it reads a list that the kernel made.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Who made a socket: as the kernel noted it then, in the words of this process's namespaces.
pub(crate) struct Maker {
    /// `None` where it has no number in this namespace.
    pub(crate) process: Option<Pid>,
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Maker {
    /// `None` where `socket` is none. By the system's own call: the one of rustix takes the number
    /// 0, which a process of another namespace has, for one that can't be 0.
    pub(crate) fn of(socket: impl AsFd) -> Option<Maker> {
        let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut bytes = size_of::<libc::ucred>() as libc::socklen_t;
        let into = (&raw mut found).cast();
        let descriptor = socket.as_fd().as_raw_fd();
        let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
        // SAFETY: it writes as many bytes at most as `bytes` says, and that many are there.
        let result = unsafe { libc::getsockopt(descriptor, level, option, into, &raw mut bytes) };
        let libc::ucred { pid, uid, gid } = found;
        (result == 0).then(|| Maker { process: Pid::from_raw(pid), user: uid, group: gid })
    }
}

/// Closes what this process was given open by the one that started it, but for its standard
/// streams. A lock or a socket that the service closes must not stay open in a child that waits for
/// days.
///
/// Only what was given is without the mark that it ends with an exec: std and what is built on it
/// set that mark on all that they open.
pub(crate) fn close_inherited() {
    let Ok(all) = std::fs::read_dir("/proc/self/fd") else { return };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<RawFd>().ok();
    let all: Vec<_> = all.flatten().filter_map(number).filter(|number| *number > 2).collect();
    for number in all {
        // SAFETY: it asks for a flag. Of a number that is closed by now the answer is an error.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: it came through an exec, so no value of this process owns it: its owner is
            // the service, which has its own descriptor.
            unsafe { libc::close(number) };
        }
    }
}

/// The file that is mapped at `address`, as the kernel spells it.
fn file_mapped_at(address: usize) -> Option<PathBuf> {
    let maps = std::fs::read("/proc/self/maps").ok()?;
    maps.split(|byte| *byte == b'\n').find_map(|line| {
        let range = line.split(|byte| *byte == b' ').next()?;
        let (from, to) = std::str::from_utf8(range).ok()?.split_once('-')?;
        let from = usize::from_str_radix(from, 16).ok()?;
        let to = usize::from_str_radix(to, 16).ok()?;
        let path = line.iter().position(|byte| *byte == b'/')?;
        let path = Path::new(std::ffi::OsStr::from_bytes(&line[path..]));
        (from..to).contains(&address).then(|| path.to_owned())
    })
}

/// Says what a contract is. `None` is the entry that there is in every program.
type Entry = Option<fn() -> Known>;

/// The contract, which is in the program's list from here on: whatever code comes here has put it
/// there when it was linked.
pub(crate) fn listed<C: Contract + ?Sized>() -> Known {
    // SAFETY: it runs nothing. It adds a word of the size and the alignment of an `Entry`, the
    // address of such a function, to a section that has nothing else in it, and goes back to the
    // section that it was in.
    unsafe {
        asm!(
            ".pushsection midflight_contracts, \"awR\", @progbits",
            ".balign 8",
            ".quad {}",
            ".popsection",
            sym known_of::<C>,
            options(nomem, nostack, preserves_flags)
        );
    }
    known_of::<C>()
}

/// Never inlined, so that the layout is the same one, at one address, for who asks here and for who
/// reads the list.
#[inline(never)]
fn known_of<C: Contract + ?Sized>() -> Known {
    // SAFETY: the host looks at it in `layout` alone, which compares and names.
    let layout = Layout(unsafe { table_layout::<C>().get() });
    Known { name: C::NAME, version: C::VERSION, methods: C::METHODS, layout }
}

/// The program's list. Empty where this code lies in a shared library, which another process may
/// find elsewhere, or find another.
fn list() -> &'static [Entry] {
    // The linker names both ends of every section whose name is an identifier.
    unsafe extern "C" {
        #[link_name = "__start_midflight_contracts"]
        static FIRST: usize;
        #[link_name = "__stop_midflight_contracts"]
        static END: usize;
    }
    // SAFETY: as in `listed`; the word is `None`. With it there is a section in every program.
    unsafe {
        asm!(
            ".pushsection midflight_contracts, \"awR\", @progbits",
            ".balign 8",
            ".quad 0",
            ".popsection",
            options(nomem, nostack, preserves_flags)
        );
    }
    let (first, end) = (&raw const FIRST, &raw const END);
    let is_the_program = file_at(first.addr()).is_some_and(|(path, _)| path.as_os_str().is_empty());
    if !is_the_program {
        return &[];
    }
    let entries = (end.addr() - first.addr()) / size_of::<Entry>();
    // SAFETY: between the two lie the entries that `listed` and the lines above have made, of that
    // size and alignment, which the loader has relocated, and which nobody writes to.
    unsafe { std::slice::from_raw_parts(first.cast::<Entry>(), entries) }
}

/// Some of the program's contracts.
pub(crate) fn first_contracts(most: usize) -> impl Iterator<Item = Layout> {
    list().iter().flatten().take(most).map(|known_of| known_of().layout)
}

/// The program's contract of that name. `None` where it has none, or two that differ.
pub(crate) fn contract_named(name: &str) -> Option<Known> {
    let all = list().iter().flatten().map(|known_of| known_of());
    let mut named = all.filter(|known| known.name == name);
    let first = named.next()?;
    named.all(|other| other.layout == first.layout).then_some(first)
}

/// Which contract of the program's it is, in every process that runs the same file.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ContractNumber(usize);

impl ContractNumber {
    /// `None` where this code lies in a shared library.
    pub(crate) fn of(layout: Layout) -> Option<ContractNumber> {
        let is_it = |entry: &Entry| entry.is_some_and(|known_of| known_of().layout == layout);
        list().iter().position(is_it).map(ContractNumber)
    }

    /// The layout again, in the process that was told its number. `None` for a number that the
    /// program's list hasn't.
    pub(crate) fn layout(self, _: &SameProgram) -> Option<Layout> {
        let known_of = list().get(self.0).copied().flatten()?;
        Some(known_of().layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::tests::Counts;

    #[test]
    fn a_contract_has_a_number_and_no_other_number_is_one() {
        let same = Program::this().unwrap().compare().expect("the same program");
        let layout = listed::<dyn Counts>().layout;
        let number = ContractNumber::of(layout).expect("it is in the list");
        assert!(number.layout(&same) == Some(layout));
        for other in [list().len(), usize::MAX, 0x1000] {
            assert!(ContractNumber(other).layout(&same).is_none(), "{other}");
        }
    }

    #[test]
    fn u01_a_contract_is_found_by_its_name() {
        let listed = listed::<dyn Counts>();
        let found = contract_named(listed.name).expect("it is in the list");
        assert!(found.layout == listed.layout && found.methods == listed.methods);
        assert!(contract_named("Nobody's").is_none());
    }

    #[test]
    fn this_program_can_be_started_again() {
        assert_eq!(Program::startable(), Ok(Program::this().unwrap()));
        assert!(!has_foreign_rights());
    }
}
