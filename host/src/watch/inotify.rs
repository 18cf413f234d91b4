//! inotify, through `notify`, where it can be deaf.
//!
//! `notify` expects its thread to live and its descriptors to be its own. Where they are not, it
//! panics, twice, which ends the process; or it writes to a descriptor that is somebody else's by
//! now, as after the `close_range` of code that makes a daemon of the service. So a thread is tried
//! before it starts its own, its panics are contained, and nothing is asked of it that has not been
//! heard since the last look: each look opens the directory, and that is an event.

use crate::contained::{contained, say};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

/// How many directories are watched. Links that lead to more are seen by looks.
const DIRECTORIES_MAX: usize = 64;
/// After as many looks that nothing was heard of it is deaf.
const UNHEARD_MAX: u32 = 3;
/// How long its last event is waited for, a millisecond each.
const LAST_LOOKS: u32 = 2_000;

pub(super) type Seen = notify::Result<notify::Event>;

pub(super) struct Inotify {
    watcher: RecommendedWatcher,
    /// Anything, since this was asked last.
    heard: Arc<AtomicBool>,
    unheard: u32,
    /// By their real paths, with device and inode.
    watched: BTreeMap<PathBuf, (u64, u64)>,
}

impl Inotify {
    /// Hands on what can be news of a file; the reason where it can't be started.
    pub(super) fn start(seen: impl Fn(Seen) + Send + 'static) -> Result<Self, String> {
        let tried = thread::Builder::new().name("midflight-try".to_owned()).spawn(|| {});
        let _ = tried.map_err(|error| format!("can't start a thread: {error}"))?.join();
        let heard = Arc::new(AtomicBool::new(true));
        let hears = Arc::clone(&heard);
        let handle = move |event: Seen| {
            hears.store(true, Relaxed);
            if event.as_ref().map_or(true, is_news) {
                seen(event);
            }
        };
        let mut watcher = contained(|| notify::recommended_watcher(handle))?
            .map_err(|error| explained(&error))?;
        // Asks its thread, which may not have been started after all.
        if !matches!(contained(|| watcher.configure(Config::default())), Ok(Ok(_))) {
            let _ = contained(|| drop(watcher));
            return Err("can't start a thread for inotify".to_owned());
        }
        Ok(Inotify { watcher, heard, unheard: 0, watched: BTreeMap::new() })
    }

    /// Watches `wanted` and nothing else; `anew`, whatever it had. The reasons for what can't be
    /// watched, by directory.
    pub(super) fn watch(
        &mut self,
        wanted: &BTreeSet<PathBuf>,
        anew: bool,
    ) -> BTreeMap<PathBuf, String> {
        let mut failed = BTreeMap::new();
        let found: BTreeMap<_, _> =
            wanted.iter().filter_map(|path| Some((path.clone(), place(path)?))).collect();
        let stale = self.watched.iter().filter(|(path, at)| anew || found.get(*path) != Some(at));
        let stale: Vec<_> = stale.map(|(path, _)| path.clone()).collect();
        for path in stale {
            self.watched.remove(&path);
            let _ = contained(|| self.watcher.unwatch(&path));
        }
        for (path, at) in found {
            if self.watched.contains_key(&path) {
                continue;
            }
            if self.watched.len() == DIRECTORIES_MAX {
                failed.insert(path, format!("more than {DIRECTORIES_MAX} directories"));
                continue;
            }
            match contained(|| self.watcher.watch(&path, RecursiveMode::NonRecursive)) {
                Ok(Ok(())) => drop(self.watched.insert(path, at)),
                // What is not there any more is seen when it comes back.
                Ok(Err(error)) if place(&path).is_some() => {
                    failed.insert(path, explained(&error));
                }
                Ok(Err(_)) => {}
                Err(panic) => drop(failed.insert(path, panic)),
            }
        }
        failed
    }

    pub(super) fn watches(&self, path: &Path) -> bool {
        self.watched.contains_key(path)
    }

    /// To be asked before each look: did the last looks bring nothing? `opened` says whether the
    /// one before this opened a directory that is watched.
    pub(super) fn is_deaf(&mut self, opened: bool) -> bool {
        let heard = self.heard.swap(false, Relaxed) || !opened;
        self.unheard = if heard { 0 } else { self.unheard + 1 };
        self.unheard >= UNHEARD_MAX
    }

    /// Is it known to be alive, so that it may be asked for something?
    pub(super) fn is_heard(&self) -> bool {
        self.unheard == 0
    }

    /// Leaves its thread and descriptors as they are: what was its own may be somebody else's.
    pub(super) fn give_up(self) {
        mem::forget(self.watcher);
    }

    /// Ends it, if it still hears that `directory` is opened.
    pub(super) fn end(self, directory: &Path) {
        self.heard.store(false, Relaxed);
        let opened = File::open(directory).is_ok() && self.watches(directory);
        let hears = || {
            (0..LAST_LOOKS).any(|_| {
                let heard = self.heard.load(Relaxed);
                if !heard {
                    thread::sleep(Duration::from_millis(1));
                }
                heard
            })
        };
        if opened && hears() {
            let _ = contained(|| drop(self.watcher));
        } else {
            let _ = say!(debug, "a watch that is deaf is left behind");
            self.give_up();
        }
    }
}

/// Opens and reads of a file are no news of it, and there are many of them.
fn is_news(event: &notify::Event) -> bool {
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Data(_)) => event.need_rescan(),
        _ => true,
    }
}

fn place(path: &Path) -> Option<(u64, u64)> {
    let found = path.metadata().ok()?;
    Some((found.dev(), found.ino()))
}

/// With what an administrator can turn. The system says the same of two limits.
fn explained(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "this user has no inotify watch left: raise fs.inotify.max_user_watches (sysctl)"
                .to_owned()
        }
        notify::ErrorKind::Io(io) if io.raw_os_error() == Some(libc::EMFILE) => {
            match File::open("/") {
                Ok(_) => {
                    "this user has no inotify instance left: raise \
                          fs.inotify.max_user_instances (sysctl)"
                }
                Err(_) => "this process has no descriptor left: raise its limit (ulimit -n)",
            }
            .to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::{Error, ErrorKind};
    use std::io;

    #[test]
    fn r10_what_is_used_up_is_named() {
        let text = explained(&Error::new(ErrorKind::MaxFilesWatch));
        assert!(text.contains("fs.inotify.max_user_watches"), "{text}");
        let text = explained(&Error::io(io::Error::from_raw_os_error(libc::EMFILE)));
        assert!(text.contains("fs.inotify.max_user_instances"), "{text}");
        let text = explained(&Error::io(io::Error::from_raw_os_error(libc::EACCES)));
        assert!(text.contains("ermission denied"), "{text}");
    }

    #[test]
    fn r13_one_that_hears_nothing_is_deaf() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().canonicalize().unwrap();
        let mut inotify = Inotify::start(|_| {}).unwrap();
        assert_eq!(inotify.watch(&BTreeSet::from([real.clone()]), false), BTreeMap::new());
        assert!(inotify.watches(&real) && inotify.is_heard());
        // As if each look was heard, and then none.
        for _ in 0..10 {
            inotify.heard.store(true, Relaxed);
            assert!(!inotify.is_deaf(true) && inotify.is_heard());
        }
        // The watch is taken away behind its back.
        inotify.watcher.unwatch(&real).unwrap();
        inotify.heard.store(false, Relaxed);
        let deaf: Vec<_> = (0..4)
            .map(|_| {
                drop(File::open(&real).unwrap());
                inotify.is_deaf(true)
            })
            .collect();
        assert_eq!(deaf, [false, false, true, true]);
        assert!(!inotify.is_deaf(false), "nothing was there to be heard");
        inotify.end(&real);
    }
}
