//! Run directories: where a host's images lie for as long as it lives.
//!
//! `<base>/run/<pid>-<n>/` is this user's alone, and the host holds a lock on it. The lock says
//! that it is in use, not the number in its name: in another PID namespace that is another
//! process's, or nobody's. A directory whose lock can be had was left by a process that did not end
//! by itself, and the next host that starts on this base removes it. systemd-tmpfiles, too, leaves
//! alone what is locked.
//!
//! Somebody may remove it all the same, and a service that drops its privileges becomes a user who
//! can't enter it. Then it is made again at the next update.
//!
//! Images are written through the directory's descriptor, but the loader takes a path. So nobody
//! else may be able to rename anything on that path: each directory above is looked at as well.

use crate::contained::say;
use crate::refusal::{Code, Refusal};
use midflight_inspect::text;
use parking_lot::Mutex;
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, StatVfsMountFlags, flock,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use std::fs::DirBuilder;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Where the images of one host go.
pub(crate) struct RunDirectory {
    /// By the operator, from the root on: the service may change its working directory.
    chosen: Option<PathBuf>,
    /// Who started the host.
    user: u32,
    /// None once the host has ended.
    place: Mutex<Option<Arc<Place>>>,
}

/// A directory that was made, and is locked. Removed with its last owner: the host, and each image
/// that was written into it.
pub(crate) struct Place {
    path: PathBuf,
    /// Device and inode of what was made.
    made: (u64, u64),
    /// Holds the lock. Shared so that it can be forgotten: a service that closes descriptors which
    /// aren't its own may have given the number to another file, which is not to be closed here.
    directory: Arc<OwnedFd>,
}

/// Why there can be no run directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error(
        "{} can be written to by other users (mode {mode:04o}, of user {owner}), who could put \
         something of theirs in the place of what lies there; take that from them (chmod go-w), \
         set its sticky bit (chmod +t), or give the host another directory",
        text::path(directory)
    )]
    OpenToOthers { directory: PathBuf, mode: u32, owner: u32 },
    #[error("its file system is mounted noexec: no library can be mapped from it")]
    Noexec,
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl From<Errno> for Unusable {
    fn from(error: Errno) -> Self {
        Unusable::Failed(error.into())
    }
}

impl RunDirectory {
    /// Makes the directory where the operator has `chosen`, or in the first place that will do, and
    /// removes those of processes that are no more.
    ///
    /// # Errors
    /// The place that was tried first, and what is wrong with it.
    pub(crate) fn create(chosen: Option<&Path>) -> Result<Self, (PathBuf, Unusable)> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| (path.to_owned(), error.into()))
        };
        let chosen = chosen.map(absolute).transpose()?;
        let bases = chosen.as_ref().map_or_else(defaults, |chosen| vec![chosen.clone()]);
        let place = Mutex::new(Some(Arc::new(make_in(&bases)?)));
        Ok(RunDirectory { chosen, user: geteuid().as_raw(), place })
    }

    /// The host has ended: what is left are the images that are there.
    pub(crate) fn close(&self) {
        self.place.lock().take();
    }

    /// Where the next image goes: a directory that is there, and that this user can write to.
    pub(crate) fn place(&self) -> Result<Arc<Place>, Refusal> {
        let mut place = self.place.lock();
        let why = match &*place {
            Some(place) => match place.lost() {
                None => return Ok(Arc::clone(place)),
                Some(why) => why,
            },
            None => return Err(Refusal::new(Code::ShuttingDown, "the host has ended")),
        };
        let user = geteuid().as_raw();
        let bases = match &self.chosen {
            Some(chosen) if user == self.user => vec![chosen.clone()],
            chosen => chosen.iter().cloned().chain(defaults()).collect(),
        };
        let made = make_in(&bases).map_err(|(base, unusable)| {
            let mut reason = format!(
                "the run directory {why}, and can't be made again in {}: {unusable}",
                text::path(&base)
            );
            if user != self.user {
                let base = text::path(&base);
                reason += &format!(
                    "; give user {user} a directory of its own (chown -R {user} {base}), or start \
                     the host after the change of user"
                );
            }
            Refusal::new(unusable.code(), reason)
        })?;
        let made = Arc::new(made);
        *place = Some(Arc::clone(&made));
        drop(place);
        // Told without the lock: the subscriber is the service's.
        let path = text::path(&made.path);
        let _ = say!(warn, path, why, "the run directory was made again");
        Ok(made)
    }
}

impl Unusable {
    fn code(&self) -> Code {
        match self {
            Unusable::OpenToOthers { .. } => Code::RunDirectoryUnsafe,
            Unusable::Noexec => Code::RunDirectoryNoexec,
            Unusable::Failed(error) => code_of(error),
        }
    }
}

impl From<Unusable> for io::Error {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Failed(error) => error,
            other => io::Error::other(other),
        }
    }
}

/// Why something can't be written into a run directory.
pub(crate) fn code_of(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::DiskFull,
        io::ErrorKind::ReadOnlyFilesystem => Code::RunDirectoryReadOnly,
        _ => Code::ImageUnwritable,
    }
}

/// Where run directories go when nobody says so.
fn defaults() -> Vec<PathBuf> {
    let user = geteuid().as_raw();
    let temporary = std::env::temp_dir().join(format!("midflight-{user}"));
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|runtime| runtime.is_absolute());
    [Some(temporary), runtime.map(|runtime| runtime.join("midflight"))]
        .into_iter()
        .flatten()
        .collect()
}

fn make_in(bases: &[PathBuf]) -> Result<Place, (PathBuf, Unusable)> {
    let mut first = None;
    for base in bases {
        match Place::make(base) {
            Ok(place) => return Ok(place),
            Err(unusable) => first = first.or(Some((base.clone(), unusable))),
        }
    }
    Err(first.unwrap_or_else(|| (PathBuf::new(), io::Error::from(io::ErrorKind::NotFound).into())))
}

impl Place {
    fn make(base: &Path) -> Result<Place, Unusable> {
        private_directory(base)?;
        let all = base.join("run");
        private_directory(&all)?;
        // The system names mappings by the real path: through a link, or with `..` in it, no
        // mapping would be found again.
        let all = std::fs::canonicalize(&all)?;
        is_safe(&all)?;
        if is_noexec(&all) {
            return Err(Unusable::Noexec);
        }
        remove_dead(&all);
        // A name that is taken is another's, even with the same number in it.
        static MADE: AtomicU64 = AtomicU64::new(0);
        loop {
            let name = format!("{}-{}", std::process::id(), MADE.fetch_add(1, Relaxed));
            let path = all.join(name);
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            }
            let directory = open(CWD, &path)?;
            let found = rustix::fs::fstat(&directory)?;
            let place = Place { path, made: inode(&found), directory: Arc::new(directory) };
            // Before it was locked, somebody who cleans up may have taken it for a leftover.
            if lock(&*place.directory) != Lock::Others && place.lost().is_none() {
                return Ok(place);
            }
        }
    }

    /// Why nothing can be written into it any more, and found by its path.
    fn lost(&self) -> Option<&'static str> {
        if !self.is_open() {
            return Some("was closed by the service");
        }
        match rustix::fs::lstat(&self.path) {
            Ok(found) if inode(&found) != self.made => Some("was replaced by another"),
            Ok(found) if found.st_uid != geteuid().as_raw() => Some("is another user's by now"),
            Ok(_) => None,
            Err(Errno::ACCESS) => Some("can't be entered any more"),
            Err(_) => Some("was removed"),
        }
    }

    fn is_open(&self) -> bool {
        rustix::fs::fstat(&*self.directory).is_ok_and(|found| inode(&found) == self.made)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Removes one of its files.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self.directory(), name, AtFlags::empty())?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.lost().is_none() {
            // Not empty where somebody else has put something there.
            let _ = std::fs::remove_dir(&self.path);
        }
        if !self.is_open() {
            mem::forget(Arc::clone(&self.directory));
        }
    }
}

fn inode(of: &Stat) -> (u64, u64) {
    (of.st_dev, of.st_ino)
}

fn open(at: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

#[derive(PartialEq, Eq)]
enum Lock {
    Ours,
    Others,
    /// Its file system has none.
    Unknown,
}

fn lock(directory: impl AsFd) -> Lock {
    match flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Lock::Ours,
        Err(Errno::WOULDBLOCK) => Lock::Others,
        Err(_) => Lock::Unknown,
    }
}

/// Removes what processes left behind that did not end by themselves. Whose end can't be told is
/// taken to be alive.
fn remove_dead(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if process_of(&path).is_none() {
            continue;
        }
        let Ok(directory) = open(CWD, &path) else { continue };
        // Whoever else has cleaned up here may have removed it before it was locked.
        let is_it = || {
            let (locked, found) = (rustix::fs::fstat(&directory), rustix::fs::lstat(&path));
            matches!((locked, found), (Ok(locked), Ok(found)) if inode(&locked) == inode(&found))
        };
        if lock(&directory) == Lock::Ours
            && is_it()
            && let Err(error) = std::fs::remove_dir_all(&path)
        {
            let path = text::path(&path);
            let _ = say!(warn, path, %error, "can't remove a dead process's images");
        }
    }
}

/// The image that a preflight's child was lent.
static LENT: OnceLock<PathBuf> = OnceLock::new();

/// In a preflight's child: it opens this image, of its parent's.
pub(super) fn note_lent(image: &Path) {
    let _ = LENT.set(image.to_owned());
}

/// The plugin whose image this is, if it is one of this process's, or lent to it.
pub(crate) fn plugin_of(image: &Path) -> Option<&str> {
    let (plugin, _) = image.file_name()?.to_str()?.split_once('.')?;
    let is_lent = LENT.get().is_some_and(|lent| lent == image);
    (is_lent || process_of(image.parent()?)? == std::process::id()).then_some(plugin)
}

/// `<pid>-<n>`
fn process_of(directory: &Path) -> Option<u32> {
    let (process, number) = directory.file_name()?.to_str()?.split_once('-')?;
    number.parse::<u64>().ok()?;
    process.parse().ok()
}

/// Does the file system of `path` forbid to map code from it?
pub(crate) fn is_noexec(path: &Path) -> bool {
    let found = rustix::fs::statvfs(path);
    found.is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// Makes `path` a directory of this user's that nobody else can enter, or says why it isn't.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(Errno::NOENT) => {
            let parent = path.parent().unwrap_or(path);
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
            rustix::fs::mkdir(path, Mode::RWXU)?;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let found = rustix::fs::lstat(path)?;
    let directory = FileType::from_raw_mode(found.st_mode).is_dir();
    let open_to_others = found.st_mode & 0o022 != 0;
    if !directory || found.st_uid != geteuid().as_raw() || open_to_others {
        return Err(io::Error::other(format!(
            "{} is not a directory of this user's that only this user can write to",
            text::path(path)
        )));
    }
    Ok(())
}

/// Nobody but root and this user can rename what is on the way to `path`, which has no links in it.
///
/// A set sticky bit keeps those who can write to a directory from that. A user's own group, which
/// has the user's number and nobody else in it, is the user: so many systems have it.
pub(crate) fn is_safe(path: &Path) -> Result<(), Unusable> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let unmapped = unmapped_user();
    for directory in path.ancestors().skip(1) {
        let found = rustix::fs::lstat(directory)?;
        let (mode, owner) = (found.st_mode & 0o7777, found.st_uid);
        let own_group = found.st_gid == 0 || (found.st_gid, user) == (group, group);
        let by_group = mode & 0o020 != 0 && !own_group;
        let by_others = (by_group || mode & 0o002 != 0) && mode & 0o1000 == 0;
        if by_others || ![0, user].contains(&owner) && Some(owner) != unmapped {
            let directory = directory.to_owned();
            return Err(Unusable::OpenToOthers { directory, mode, owner });
        }
    }
    Ok(())
}

/// Whom the system's own directories seem to be of in a user namespace that has no number for root.
fn unmapped_user() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    let is_whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    let unmapped = || std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    (!is_whole).then(unmapped)??.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn base() -> (TempDir, PathBuf) {
        let home = tempfile::tempdir().expect("a directory");
        let base = home.path().join("images");
        (home, base)
    }

    fn create(base: &Path) -> RunDirectory {
        RunDirectory::create(Some(base)).unwrap_or_else(|(path, error)| panic!("{path:?}: {error}"))
    }

    /// A process that this one can't see, as one in another PID namespace is: its number is
    /// nobody's here.
    fn unseen(all: &Path) -> PathBuf {
        let directory = all.join("4194305-7");
        fs::create_dir(&directory).expect("a directory");
        fs::write(directory.join("probe.1.so"), "its image").expect("an image");
        directory
    }

    #[test]
    fn r01_the_images_of_a_living_process_stay_and_those_of_a_dead_one_go() {
        let (_home, base) = base();
        let own = create(&base);
        let all = base.join("run");
        let living = unseen(&all);
        let lives = open(CWD, &living).expect("the directory");
        assert!(lock(&lives) == Lock::Ours);
        drop(create(&base));
        assert!(living.join("probe.1.so").exists(), "it holds the lock");
        assert!(own.place().expect("a place").path().exists(), "so does this one");
        drop(lives);
        drop(create(&base));
        assert!(!living.exists(), "it has ended");
        let path = own.place().expect("a place").path().to_owned();
        drop(own);
        assert!(!path.exists(), "it is removed with its host");
    }

    #[test]
    fn r01_a_name_that_is_taken_is_another_hosts() {
        let (_home, base) = base();
        private_directory(&base).expect("a base");
        let all = base.join("run");
        fs::create_dir(&all).expect("a directory");
        let taken: Vec<_> = (0..200)
            .map(|number| {
                let path = all.join(format!("{}-{number}", std::process::id()));
                fs::create_dir(&path).expect("a directory");
                fs::write(path.join("probe.1.so"), "its image").expect("an image");
                let directory = open(CWD, &path).expect("the directory");
                assert!(lock(&directory) == Lock::Ours);
                (path, directory)
            })
            .collect();
        let own = create(&base);
        let path = own.place().expect("a place").path().to_owned();
        let is_left = |(path, _): &(PathBuf, OwnedFd)| path.join("probe.1.so").exists();
        assert!(taken.iter().all(is_left), "the others' images stay");
        assert!(taken.iter().all(|(taken, _)| *taken != path));
    }

    #[test]
    fn r02_a_directory_that_was_removed_is_made_again_under_another_name() {
        let (_home, base) = base();
        let run = create(&base);
        let before = run.place().expect("a place");
        fs::remove_dir_all(&base).expect("a directory to remove");
        let after = run.place().expect("another place");
        assert_ne!(before.path(), after.path(), "the loader knows the old one");
        assert!(after.lost().is_none() && lock(open(CWD, after.path()).unwrap()) == Lock::Others);
        assert!(Arc::ptr_eq(&after, &run.place().expect("the same place")));
        fs::remove_dir_all(&base).expect("a directory to remove");
        fs::write(&base, "in its way").expect("a file");
        let refusal = run.place().err().expect("a file is no directory");
        assert_eq!(refusal.code(), Code::ImageUnwritable);
        assert!(refusal.reason().starts_with("the run directory was removed, and can't be made"));
    }

    #[test]
    fn r03_a_parent_that_others_can_write_to_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        let parent = home.path().join("shared");
        fs::create_dir(&parent).expect("a directory");
        let mode = |mode| fs::set_permissions(&parent, fs::Permissions::from_mode(mode)).unwrap();
        let base = parent.join("below/images");
        let check = |open: bool| match RunDirectory::create(Some(&base)) {
            Ok(_) => assert!(!open, "{:?}", fs::metadata(&parent)),
            Err((path, error)) => {
                assert!(open, "{error}");
                assert_eq!(path, base);
                let said =
                    format!("{} can be written to by other users (mode 0777", parent.display());
                assert!(error.to_string().starts_with(&said), "{error}");
                assert_eq!(error.code(), Code::RunDirectoryUnsafe);
            }
        };
        mode(0o755);
        check(false);
        mode(0o777);
        check(true);
        mode(0o1777);
        check(false);
        // Whoever owns it can rename in it, sticky or not.
        if geteuid().is_root() {
            std::os::unix::fs::chown(&parent, Some(4711), None).expect("another owner");
            mode(0o1755);
            let refused = RunDirectory::create(Some(&base)).err().expect("another's").1;
            assert!(refused.to_string().contains("(mode 1755, of user 4711)"), "{refused}");
        }
    }

    #[test]
    fn r03_the_first_place_that_will_do_is_taken_and_else_the_first_is_named() {
        let home = tempfile::tempdir().expect("a directory");
        let [evil, good] = ["evil", "good"].map(|name| home.path().join(name));
        for parent in [&evil, &good] {
            fs::create_dir(parent).expect("a directory");
        }
        fs::set_permissions(&evil, fs::Permissions::from_mode(0o777)).expect("permissions");
        let bases = [evil.join("images"), good.join("images")];
        let place = make_in(&bases).unwrap_or_else(|(_, error)| panic!("{error}"));
        assert!(place.path().starts_with(good.canonicalize().unwrap()), "{:?}", place.path());
        fs::set_permissions(&good, fs::Permissions::from_mode(0o777)).expect("permissions");
        let (path, _) = make_in(&bases).err().expect("neither will do");
        assert_eq!(path, bases[0]);
    }

    /// Some services close all descriptors that they don't know when they go to the background.
    #[test]
    fn r02_a_descriptor_that_was_closed_is_not_closed_again() {
        let (home, base) = base();
        let mut place = Place::make(&base).unwrap_or_else(|error| panic!("{error}"));
        let own = Arc::get_mut(&mut place.directory).expect("the only share");
        let number = own.as_raw_fd();
        // The number is a file of the service's by then.
        let other = fs::File::create(home.path().join("other")).expect("a file");
        rustix::io::dup2(&other, own).expect("the number for that file");
        assert_eq!(place.lost(), Some("was closed by the service"));
        drop(place);
        let link = fs::read_link(format!("/proc/self/fd/{number}")).expect("it is open");
        assert_eq!(link, home.path().join("other").canonicalize().unwrap());
    }
}
