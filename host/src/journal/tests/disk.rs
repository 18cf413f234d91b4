//! A disk that does what disks may do.
//!
//! What a process sees and what the disk has are two things here. A cut keeps of what was not
//! synced any part: of the names that changed any choice, of the bytes that were appended a
//! beginning, with or without zeros in the place of the rest, or an end behind zeros. An operation
//! can be made to fail, before or after it was done; after a failed sync, what it was to write is
//! gone for good.

use super::super::files::{Files, Found, Written};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

struct Inner {
    now: Image,
    /// After each operation that changed anything, for whoever cuts there.
    images: Vec<Image>,
    recording: bool,
    /// Operations so far.
    operations: usize,
    /// Of these, how many were lists.
    lists: usize,
    fault: Option<Fault>,
    /// Is there no room?
    full: bool,
}

/// The operation `at` fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) how: How,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// Nothing happened.
    Before,
    /// An append came half way; any other is as `Before`.
    Half,
    /// It was done all the same.
    After,
}

impl How {
    pub(super) const ALL: [How; 3] = [How::Before, How::Half, How::After];
}

/// A disk at one moment.
#[derive(Clone, Default)]
pub(super) struct Image {
    /// Which step of the script was on its way.
    pub(super) step: usize,
    /// After which operation it is.
    pub(super) operation: usize,
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    names_synced: BTreeMap<String, usize>,
    names_changed: Vec<Change>,
}

#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    /// What a sync writes: zeros where an earlier one failed.
    cached: Vec<u8>,
    synced: usize,
}

#[derive(Clone)]
enum Change {
    Create(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

/// How many cuts of one write are looked at.
#[derive(Clone, Copy)]
pub(super) enum Cuts {
    Every,
    Some,
}

impl Disk {
    pub(super) fn new() -> Self {
        Disk::of(Image::default())
    }

    pub(super) fn of(now: Image) -> Self {
        let inner = Inner {
            now,
            images: Vec::new(),
            recording: false,
            operations: 0,
            lists: 0,
            fault: None,
            full: false,
        };
        Disk(Arc::new(Mutex::new(inner)))
    }

    pub(super) fn record(&self) {
        self.0.lock().recording = true;
    }

    pub(super) fn take_images(&self) -> Vec<Image> {
        std::mem::take(&mut self.0.lock().images)
    }

    pub(super) fn step(&self, step: usize) {
        self.0.lock().now.step = step;
    }

    /// Nothing is recorded any more, and nothing fails.
    pub(super) fn forget(&self) {
        let inner = &mut *self.0.lock();
        inner.images.clear();
        (inner.recording, inner.fault) = (false, None);
    }

    /// A file of which a byte is another one from now on, also after a cut.
    pub(super) fn rot(&self, name: &str) {
        let now = &mut self.0.lock().now;
        let Some(at) = now.names.get(name).copied() else { return };
        let content = &mut now.contents[at];
        for bytes in [&mut content.seen, &mut content.cached] {
            bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        }
    }

    pub(super) fn operations(&self) -> usize {
        self.0.lock().operations
    }

    pub(super) fn lists(&self) -> usize {
        self.0.lock().lists
    }

    pub(super) fn fail(&self, fault: Fault) {
        self.0.lock().fault = Some(fault);
    }

    pub(super) fn fill(&self, full: bool) {
        self.0.lock().full = full;
    }

    pub(super) fn image(&self) -> Image {
        self.0.lock().now.clone()
    }

    /// A file as a person would have put it there.
    pub(super) fn set(&self, name: &str, bytes: &[u8]) {
        let now = &mut self.0.lock().now;
        let content =
            Content { seen: bytes.to_owned(), cached: bytes.to_owned(), synced: bytes.len() };
        now.contents.push(content);
        now.names.insert(name.to_owned(), now.contents.len() - 1);
        now.names_synced = now.names.clone();
        now.names_changed.clear();
    }

    /// An operation that changes nothing.
    fn look<T>(&self, look: impl FnOnce(&Image) -> T) -> io::Result<T> {
        let inner = &mut *self.0.lock();
        match inner.next() {
            Some(_) => Err(inner.failure()),
            None => Ok(look(&inner.now)),
        }
    }

    fn change<T>(
        &self,
        appended: Option<(usize, &[u8])>,
        change: impl FnOnce(&mut Image) -> T,
    ) -> io::Result<T> {
        let inner = &mut *self.0.lock();
        let fault = inner.next();
        let result = match (fault, appended) {
            _ if inner.full && appended.is_some() => return Err(io::ErrorKind::StorageFull.into()),
            (None, _) => Ok(change(&mut inner.now)),
            (Some(How::Half), Some((at, bytes))) => {
                inner.now.append(at, &bytes[..bytes.len() / 2]);
                Err(inner.failure())
            }
            (Some(How::After), _) => {
                change(&mut inner.now);
                Err(inner.failure())
            }
            (Some(_), _) => Err(inner.failure()),
        };
        if inner.recording {
            inner.now.operation = inner.operations - 1;
            inner.images.push(inner.now.clone());
        }
        result
    }
}

impl Inner {
    /// Counts an operation. How it fails, if it does.
    fn next(&mut self) -> Option<How> {
        let fault = self.fault.filter(|fault| fault.at == self.operations);
        self.operations += 1;
        fault.map(|fault| fault.how)
    }

    fn failure(&self) -> io::Error {
        match self.operations.is_multiple_of(2) {
            true => io::ErrorKind::StorageFull.into(),
            false => io::Error::other("EIO"),
        }
    }
}

impl Files for Disk {
    fn path(&self) -> &Path {
        Path::new("/var/lib/exchange")
    }

    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let found =
            self.look(|now| now.names.get(name).map(|at| now.contents[*at].seen.clone()))?;
        match found {
            Some(bytes) if bytes.len() as u64 > bytes_max => {
                Err(io::ErrorKind::FileTooLarge.into())
            }
            found => Ok(found),
        }
    }

    fn find(&self, name: &str) -> io::Result<Option<Found>> {
        self.look(|now| now.names.get(name).map(|at| now.found(*at)))
    }

    fn check_own(&self) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Written>> {
        let at = self.change(None, |now| {
            let at = now.contents.len();
            now.contents.push(Content::default());
            now.rename_with(Change::Create(name.to_owned(), at));
            at
        })?;
        Ok(Box::new(Open { disk: self.clone(), at }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(None, |now| {
            let at = *now.names.get(from).ok_or(io::ErrorKind::NotFound)?;
            now.rename_with(Change::Rename(from.to_owned(), to.to_owned(), at));
            Ok(())
        })?
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(None, |now| {
            now.names.get(name).ok_or(io::ErrorKind::NotFound)?;
            now.rename_with(Change::Remove(name.to_owned()));
            Ok(())
        })?
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.0.lock().lists += 1;
        let length = |now: &Image, at: usize| now.contents[at].seen.len() as u64;
        self.look(|now| {
            now.names.iter().map(|(name, at)| (name.clone(), length(now, *at))).collect()
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.change(None, |now| {
            now.names_synced = now.names.clone();
            now.names_changed.clear();
        })
    }
}

struct Open {
    disk: Disk,
    at: usize,
}

impl Written for Open {
    fn find(&self) -> io::Result<Found> {
        self.disk.look(|now| now.found(self.at))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.change(Some((self.at, bytes)), |now| now.append(self.at, bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.disk.change(None, |now| {
            let content = &mut now.contents[self.at];
            content.synced = content.cached.len();
        });
        // The kernel takes what it could not write for written.
        synced.inspect_err(|_| {
            let content = &mut self.disk.0.lock().now.contents[self.at];
            content.cached[content.synced..].fill(0);
        })
    }
}

impl Image {
    fn found(&self, at: usize) -> Found {
        Found { file: (0, at as u64), bytes: self.contents[at].seen.len() as u64 }
    }

    /// Every disk that can be found after a cut at this moment.
    pub(super) fn cut(&self, cuts: Cuts) -> Vec<Disk> {
        let changes = u32::try_from(self.names_changed.len()).unwrap();
        assert!(changes < 8, "that many choices of names are not looked at");
        let mut disks = Vec::new();
        for chosen in 0..1_usize << changes {
            let mut names = self.names_synced.clone();
            for (bit, change) in self.names_changed.iter().enumerate() {
                if chosen & 1 << bit != 0 {
                    change.apply(&mut names);
                }
            }
            let mut images =
                vec![Image { names: names.clone(), names_synced: names.clone(), ..self.clone() }];
            for image in &mut images {
                image.names_changed.clear();
            }
            for at in names.into_values() {
                let torn = self.contents[at].torn(cuts);
                let with = |image: &Image, bytes: &Vec<u8>| {
                    let mut image = image.clone();
                    image.contents[at] =
                        Content { seen: bytes.clone(), cached: bytes.clone(), synced: bytes.len() };
                    image
                };
                images = images
                    .iter()
                    .flat_map(|image| torn.iter().map(move |bytes| with(image, bytes)))
                    .collect();
            }
            disks.extend(images.into_iter().map(Disk::of));
        }
        disks
    }

    fn append(&mut self, at: usize, bytes: &[u8]) {
        self.contents[at].seen.extend(bytes);
        self.contents[at].cached.extend(bytes);
    }

    fn rename_with(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.names_changed.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Create(name, at) => drop(names.insert(name.clone(), *at)),
            Change::Rename(from, to, at) => {
                names.remove(from);
                names.insert(to.clone(), *at);
            }
            Change::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl Content {
    fn torn(&self, cuts: Cuts) -> Vec<Vec<u8>> {
        let (synced, rest) = self.cached.split_at(self.synced);
        if rest.is_empty() {
            return vec![synced.to_owned()];
        }
        let mut torn = Vec::new();
        for written in 0..=rest.len() {
            let near_an_end = written < 2 || rest.len() - written < 2;
            let looked_at = match cuts {
                Cuts::Every => true,
                Cuts::Some => near_an_end || written % 97 == 0,
            };
            // Of what fills a file anew, all around each line's end.
            let long = rest.len() > 1000 && !near_an_end && written % 61 != 0;
            let line_end =
                rest[written.saturating_sub(2)..(written + 2).min(rest.len())].contains(&b'\n');
            if !looked_at || (long && !line_end) {
                continue;
            }
            let (there, lost) = rest.split_at(written);
            torn.push([synced, there].concat());
            // What zeros fill differs from that by their number alone, so fewer are looked at.
            if near_an_end || written % 16 == 0 {
                torn.push([synced, there, &vec![0; lost.len()]].concat());
                torn.push([synced, &vec![0; there.len()], lost].concat());
            }
        }
        torn
    }
}
