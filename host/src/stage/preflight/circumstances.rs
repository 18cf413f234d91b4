//! Circumstances: what a process inherits from the one that starts it, and what of that has changed
//! since.
//!
//! A child that was started an hour ago has the user, the limits and the directories that the
//! service had then. A service that has given rights up since would try its candidates with rights
//! that it no longer has, and one that has changed its limits would try them under others. So they
//! are noted when a child is started, and compared when it is used.

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::process::{Pid, Resource, Rlimit, getrlimit};
use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// What a process inherits: of the thread that starts it, where the kernel keeps it by thread.
#[derive(PartialEq, Eq)]
pub(super) struct Circumstances {
    status: Vec<String>,
    limits: [Rlimit; RESOURCES.len()],
    /// Device and inode of the working directory, and of the root.
    directories: [(u64, u64); 2],
    namespaces: Vec<CString>,
    cgroups: String,
    environment: Vec<(OsString, OsString)>,
}

/// The lines of `/proc/<pid>/status` that say whom a process acts for, what it may do, and how it
/// was told to behave.
const LINES: [&str; 14] = [
    "Uid:",
    "Gid:",
    "Groups:",
    "CapInh:",
    "CapPrm:",
    "CapEff:",
    "CapBnd:",
    "CapAmb:",
    "NoNewPrivs:",
    "Seccomp:",
    "Seccomp_filters:",
    "Umask:",
    "SigIgn:",
    "Cpus_allowed:",
];

const RESOURCES: [Resource; 16] = [
    Resource::As,
    Resource::Core,
    Resource::Cpu,
    Resource::Data,
    Resource::Fsize,
    Resource::Locks,
    Resource::Memlock,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Nofile,
    Resource::Nproc,
    Resource::Rss,
    Resource::Rtprio,
    Resource::Rttime,
    Resource::Sigpending,
    Resource::Stack,
];

/// Those that a child is put into.
const NAMESPACES: [&str; 8] = [
    "ns/cgroup",
    "ns/ipc",
    "ns/mnt",
    "ns/net",
    "ns/pid_for_children",
    "ns/time_for_children",
    "ns/user",
    "ns/uts",
];

/// Where the system tells about one thread of this process. What it starts, threads and processes,
/// inherits its circumstances.
///
/// Kept open, since to find a thread's place takes longer than to read what is there, and to read
/// what was read before takes a third of the first time.
pub(super) struct Place(OwnedFd);

impl Place {
    pub(super) fn of_this_thread() -> io::Result<Place> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Place(openat(CWD, "/proc/thread-self", flags, Mode::empty())?))
    }
}

impl Circumstances {
    /// Those of a thread that lives.
    ///
    /// # Errors
    /// They can't be told, so that nothing can be compared with them.
    pub(super) fn of(Place(thread): &Place) -> io::Result<Circumstances> {
        let status = read_in(thread, "status")?;
        let line = |line: &&str| LINES.iter().any(|name| line.starts_with(name));
        let place = |path: &str| fs::metadata(path).map(|found| (found.dev(), found.ino()));
        let namespace = |name: &&str| readlinkat(thread, *name, Vec::with_capacity(64)).ok();
        Ok(Circumstances {
            status: status.lines().filter(line).map(str::to_owned).collect(),
            limits: RESOURCES.map(getrlimit),
            directories: [place(".")?, place("/")?],
            // A kernel may lack some, and then has none of the name later either.
            namespaces: NAMESPACES.iter().filter_map(namespace).collect(),
            cgroups: read_in(thread, "cgroup").unwrap_or_default(),
            environment: std::env::vars_os().collect(),
        })
    }

    /// In what these differ from `now`. `None` where they don't.
    pub(super) fn difference(&self, now: &Circumstances) -> Option<&'static str> {
        let Circumstances { status, limits, directories, namespaces, cgroups, environment } = self;
        let differences = [
            ("its user, groups, capabilities, umask or ignored signals", *status != now.status),
            ("its limits", *limits != now.limits),
            ("its working directory or root", *directories != now.directories),
            ("its namespaces", *namespaces != now.namespaces),
            ("its control group", *cgroups != now.cgroups),
            ("its environment", *environment != now.environment),
        ];
        differences.iter().find(|(_, differs)| *differs).map(|(what, _)| *what)
    }
}

fn read(path: &str) -> io::Result<String> {
    read_in(CWD, path)
}

/// A file of `/proc`, which has no size to make room for: with room it is read at once.
fn read_in(directory: impl AsFd, path: &str) -> io::Result<String> {
    let file = openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::with_capacity(8 * 1024);
    fs::File::from(file).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Whom a process acts for, and what it may do beyond that.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rights {
    /// Real, effective, saved, of the file system.
    users: String,
    groups: String,
    further_groups: String,
    /// A bit for each capability that it has or can take.
    permitted: u64,
}

impl Rights {
    pub(super) fn of_this() -> io::Result<Rights> {
        Rights::parse(&read("/proc/self/status")?)
    }

    pub(super) fn of(process: Pid) -> io::Result<Rights> {
        Rights::parse(&read(&format!("/proc/{process}/status"))?)
    }

    fn parse(status: &str) -> io::Result<Rights> {
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.map(|value| value.trim().to_owned()).ok_or(io::ErrorKind::InvalidData)
        };
        let permitted = field("CapPrm:")?;
        Ok(Rights {
            users: field("Uid:")?,
            groups: field("Gid:")?,
            further_groups: field("Groups:")?,
            permitted: u64::from_str_radix(&permitted, 16).map_err(io::Error::other)?,
        })
    }

    /// Each of its users and groups is the one.
    pub(super) fn are_of(&self, user: u32, group: u32) -> bool {
        let all = |ids: &str, id: u32| ids.split_whitespace().all(|one| one.parse() == Ok(id));
        all(&self.users, user) && all(&self.groups, group)
    }

    pub(super) fn are_ordinary(&self) -> bool {
        self.permitted == 0
    }

    /// It may nothing that `other` may not.
    pub(super) fn are_within(&self, other: &Rights) -> bool {
        self.users == other.users
            && self.groups == other.groups
            && self.further_groups == other.further_groups
            && self.permitted & !other.permitted == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(users: &str, further_groups: &str, permitted: &str) -> Rights {
        let status = format!(
            "Name:\tx\nUid:\t{users}\nGid:\t7\t7\t7\t7\nGroups:\t{further_groups}\nCapPrm:\t{permitted}\n"
        );
        Rights::parse(&status).unwrap()
    }

    #[test]
    fn a_child_may_have_less_than_its_parent_and_nothing_else() {
        let parent = rights("5\t5\t5\t5", "7 8", "00000000000000c0");
        let check =
            |child: Rights, expected| assert_eq!(child.are_within(&parent), expected, "{child:?}");
        check(rights("5\t5\t5\t5", "7 8", "00000000000000c0"), true);
        check(rights("5\t5\t5\t5", "7 8", "0000000000000040"), true);
        check(rights("5\t5\t5\t5", "7 8", "00000000000000c1"), false);
        check(rights("5\t0\t0\t0", "7 8", "0000000000000000"), false);
        check(rights("5\t5\t5\t5", "7 8 9", "0000000000000000"), false);
        assert!(parent.are_of(5, 7) && !parent.are_of(5, 8) && !parent.are_of(0, 7));
        assert!(!rights("5\t0\t0\t0", "", "0").are_of(5, 7), "its effective user is another");
    }

    #[test]
    fn circumstances_are_the_same_until_one_changes() {
        let place = Place::of_this_thread().unwrap();
        let before = Circumstances::of(&place).unwrap();
        let mut after = Circumstances::of(&place).unwrap();
        assert_eq!(before.difference(&after), None);
        after.limits[0].current = Some(1 << 40);
        assert_eq!(before.difference(&after), Some("its limits"));
        after.limits = before.limits;
        after.environment.push(("LATER".into(), "1".into()));
        assert_eq!(before.difference(&after), Some("its environment"));
    }

    #[test]
    fn of_a_thread_that_has_ended_there_are_none() {
        let place = std::thread::spawn(|| {
            let place = Place::of_this_thread().unwrap();
            assert!(!Circumstances::of(&place).unwrap().namespaces.is_empty());
            place
        });
        let place = place.join().unwrap();
        // Who joins it may be quicker than the system is with taking it away.
        while Circumstances::of(&place).is_ok() {
            std::thread::yield_now();
        }
    }
}
