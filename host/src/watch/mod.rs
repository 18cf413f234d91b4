//! The watch: turns what happens in a directory into candidates.
//!
//! It acts on a file when its writer closes it or renames it into place, at once and with no
//! settling time. What it reads then is complete, unless the writer has it open a second time; so
//! where the bytes are refused it asks whether anybody still writes, and if so waits for the close
//! that must come.
//!
//! The system tells of what happens under the real path of a directory, and nothing of what another
//! machine writes, of a mount that is made over a file, or when its limits are reached. So what
//! lies on the way to the directory and to each file is watched as well ([`trails`]), and every few
//! seconds all files are compared with what they were ([`files`]). What a look alone finds is
//! looked into when the next one finds it the same.
//!
//! [`inotify`] hears, [`Follower`] decides which files are looked into, [`retries`] has those that
//! were refused for a reason that passes, and the [`election`] is held at the start, and where much
//! has changed at once.

mod election;
mod files;
mod inotify;
mod retries;
mod trails;
use crate::command::{By, Command};
use crate::contained::say;
use crate::event::{About, EventKind};
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::stage::Candidate;
use crate::stage::writers::Scan;
pub(crate) use election::{File, elect, look};
use files::{Before, Files, Identity, Listing, When, is_library, is_numbered};
use inotify::{Inotify, Seen};
use midflight_inspect::text;
use notify::event::{AccessKind, AccessMode, EventKind as What, ModifyKind, RenameMode};
use retries::Retries;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};
use trails::trail;

/// How often a file that changes under the reader's hands is read anew.
const READS_MAX: usize = 8;
/// How often the way to a file that changes under the reader's hands is followed anew.
const WAYS_MAX: usize = 8;
/// A look at a directory that takes long comes rarer: no more than this share of the time.
const LOOKING_MAX: u32 = 20;
/// How long an answer of the control plane's may lie there.
const ANSWER_POLL: Duration = Duration::from_millis(250);

/// A watched directory. Dropping it ends the watch and its thread.
pub(crate) struct Watch {
    messages: Sender<Message>,
}

enum Message {
    Seen(Seen),
    /// A look that somebody asks for, and how many files were looked into.
    Look(SyncSender<usize>),
    /// The election has refused it.
    Refused(PathBuf, Refusal),
    End,
}

impl Watch {
    pub(crate) fn start(directory: &Path, shared: Arc<Shared>, scan: Scan) -> io::Result<Self> {
        let (messages, receive) = channel();
        // The names in events are then comparable, whatever the current directory becomes.
        let directory = std::path::absolute(directory)?;
        let mut follower = Follower::new(directory, shared, scan, messages.clone());
        follower.begin()?;
        std::thread::Builder::new()
            .name("midflight-watch".to_owned())
            .spawn(move || follower.follow(&receive))?;
        Ok(Watch { messages })
    }

    /// Asks for a look. Its answer says how many files were looked into; none comes of a watch that
    /// has ended.
    pub(crate) fn look(&self) -> Receiver<usize> {
        let (reply, answer) = sync_channel(1);
        let _ = self.messages.send(Message::Look(reply));
        answer
    }

    /// What the election has refused is the watch's from then on.
    pub(crate) fn refused(&self, path: PathBuf, refusal: Refusal) {
        let _ = self.messages.send(Message::Refused(path, refusal));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::End);
    }
}

struct Follower {
    /// As the service names it.
    directory: PathBuf,
    shared: Arc<Shared>,
    scan: Scan,
    files: Files,
    /// Files like `libx.so.1` that were told of.
    numbered: BTreeSet<PathBuf>,
    retries: Retries,
    inotify: Option<Inotify>,
    /// Names outside and inside of the directory, by their real paths, and what is another one when
    /// they are.
    steps: BTreeMap<PathBuf, BTreeSet<Of>>,
    /// Where the directory really is.
    real: PathBuf,
    /// How it is watched, as it was told last.
    told: Option<How>,
    /// The directory could not be read, which was told.
    blind: bool,
    messages: Sender<Message>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Directory,
    File(PathBuf),
}

#[derive(Clone, PartialEq, Eq)]
struct How {
    by_events: bool,
    reason: Option<String>,
}

/// What an event asks for.
#[derive(PartialEq, Eq)]
enum Look {
    At(PathBuf),
    /// At all that has changed in the directory.
    Everywhere,
    /// The directory itself is another one.
    Anew,
}

impl Follower {
    fn new(directory: PathBuf, shared: Arc<Shared>, scan: Scan, messages: Sender<Message>) -> Self {
        Follower {
            files: Files::default(),
            numbered: BTreeSet::new(),
            retries: Retries::default(),
            inotify: None,
            steps: BTreeMap::new(),
            real: directory.clone(),
            told: None,
            blind: false,
            messages,
            directory,
            shared,
            scan,
        }
    }

    /// What lies there is the election's; what changes from now on is not.
    fn begin(&mut self) -> io::Result<()> {
        let found = Listing::of(&self.directory)?;
        for path in &found.libraries {
            self.files.looked_into(path, Identity::of(path));
        }
        self.listen(None);
        self.pass_over(found.numbered);
        Ok(())
    }

    fn follow(mut self, messages: &Receiver<Message>) {
        // A century is for ever, and can be added to any clock.
        let every = self.shared.bounds.look_interval.min(Duration::from_secs(u32::MAX.into()));
        let mut next_look = Instant::now() + every;
        loop {
            let now = Instant::now();
            let answer = self.retries.is_awaiting().then(|| now + ANSWER_POLL);
            let until = [Some(next_look), self.retries.next(), answer].into_iter().flatten().min();
            let pause = until.map_or(every, |until| until.saturating_duration_since(now));
            let first = match messages.recv_timeout(pause) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            // A burst is one look at each file, in the order of the last writes.
            let (mut due, mut replies) = (Vec::new(), Vec::new());
            let mut ended = false;
            for message in first.into_iter().chain(messages.try_iter()) {
                match message {
                    Message::Seen(event) => {
                        for look in self.asked_by(event) {
                            self.collect(look, &mut due);
                        }
                    }
                    Message::Look(reply) => {
                        self.collect(Look::Everywhere, &mut due);
                        add(&mut due, self.files.all_refused());
                        add(&mut due, self.retries.all());
                        replies.push(reply);
                    }
                    Message::Refused(path, refusal) => {
                        self.files.refused(&path, &refusal);
                        self.retries.refused(&path, &refusal, Instant::now());
                    }
                    Message::End => ended = true,
                }
            }
            if ended {
                break;
            }
            let began = Instant::now();
            self.retries.hear(began);
            add(&mut due, self.retries.due(began));
            if began >= next_look {
                add(&mut due, self.look());
                let now = Instant::now();
                next_look = now + every.max((now - began).saturating_mul(LOOKING_MAX));
            }
            self.look_into(&due);
            for reply in replies {
                let _ = reply.send(due.len());
            }
        }
        if let Some(inotify) = self.inotify.take() {
            inotify.end(&self.directory);
        }
    }

    /// The look that is due by time: at what events tell nothing of, and whether they come at all.
    fn look(&mut self) -> Vec<PathBuf> {
        // The last one opened it.
        let opened = |inotify: &Inotify| !self.blind && inotify.watches(&self.real);
        match self.inotify.as_mut().map(|inotify| inotify.is_deaf(opened(inotify))) {
            Some(true) => {
                if let Some(deaf) = self.inotify.take() {
                    deaf.give_up();
                }
                self.listen(Some(
                    "events came no more, as where descriptors of this process are closed that \
                     are not its caller's own, so they were begun anew",
                ));
            }
            Some(false) => self.find_ways(false),
            None => self.listen(None),
        }
        self.changed(When::Settled)
    }

    fn collect(&mut self, look: Look, due: &mut Vec<PathBuf>) {
        match look {
            Look::At(path) => add(due, vec![path]),
            Look::Everywhere => {
                self.find_ways(false);
                let changed = self.changed(When::AtOnce);
                add(due, self.elected(changed));
            }
            Look::Anew => {
                self.find_ways(true);
                let changed = self.changed(When::AtOnce);
                add(due, self.elected(changed));
            }
        }
    }

    /// Of those that have changed all at once, the ones that a start would take up: nobody has put
    /// one of them there as the last.
    fn elected(&mut self, changed: Vec<PathBuf>) -> Vec<PathBuf> {
        let (due, out) = election::of(&self.shared, changed);
        for path in out {
            self.files.looked_into(&path, Identity::of(&path));
        }
        due
    }

    fn changed(&mut self, when: When) -> Vec<PathBuf> {
        match Listing::of(&self.directory) {
            Ok(found) => {
                self.blind = false;
                self.pass_over(found.numbered);
                self.files.changed(&found.libraries, when)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    let (directory, reason) = (self.directory.clone(), error.to_string());
                    self.tell(EventKind::LookFailed { directory, reason });
                }
                Vec::new()
            }
        }
    }
}

/// The later of two looks at one file is the one that counts.
fn add(due: &mut Vec<PathBuf>, more: Vec<PathBuf>) {
    due.retain(|path| !more.contains(path));
    due.extend(more);
}

/// What events are about.
impl Follower {
    fn asked_by(&mut self, event: Seen) -> Vec<Look> {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                let directory = text::path(&self.directory);
                let _ = say!(warn, %error, directory, "the watch is disturbed");
                return vec![Look::Everywhere];
            }
        };
        if event.need_rescan() {
            return vec![Look::Everywhere];
        }
        event.paths.iter().flat_map(|path| self.asked_of(path, event.kind)).collect()
    }

    fn asked_of(&mut self, path: &Path, what: What) -> Vec<Look> {
        let found = path.symlink_metadata().ok();
        let is_link = found.as_ref().is_some_and(|found| found.is_symlink());
        let closed = what == What::Access(AccessKind::Close(AccessMode::Write));
        let renamed_in = what == What::Modify(ModifyKind::Name(RenameMode::To));
        let created = matches!(what, What::Create(_));
        // A link is complete when it appears, and nobody closes it. Another new file has one name,
        // and a writer.
        let linked = created && (is_link || found.as_ref().is_some_and(|found| found.nlink() > 1));
        let complete = found.is_some() && (closed || renamed_in || linked);
        let permitted = matches!(what, What::Modify(ModifyKind::Metadata(_)));

        let mut looks = Vec::new();
        for of in self.steps.get(path).into_iter().flatten() {
            match of {
                Of::Directory if created || renamed_in => looks.push(Look::Anew),
                Of::File(file) if complete || permitted && self.files.is_unreadable(file) => {
                    looks.push(Look::At(file.clone()));
                }
                Of::Directory | Of::File(_) => {}
            }
        }
        if let (true, Some(name)) = (path.parent() == Some(&self.real), path.file_name()) {
            let file = self.directory.join(name);
            if is_library(&file) {
                if complete || permitted && self.files.is_unreadable(&file) {
                    looks.push(Look::At(file));
                }
            } else if complete && is_numbered(&file) {
                self.pass_over(vec![file]);
            }
        }
        // Where a link is another one, so may be what lies behind it.
        if is_link && complete && !looks.contains(&Look::Anew) {
            looks.insert(0, Look::Everywhere);
        }
        looks
    }

    /// Files that look like libraries and are none by their names.
    fn pass_over(&mut self, numbered: Vec<PathBuf>) {
        for file in numbered {
            if self.numbered.insert(file.clone()) {
                let reason = "its name does not end in .so".to_owned();
                self.tell(EventKind::PassedOver { file, reason });
            }
        }
    }

    fn tell(&self, kind: EventKind) {
        let about = About { plugin: "", version: "", generation: None };
        self.shared.events.add(about, Duration::ZERO, kind);
    }
}

/// How the directory is watched.
impl Follower {
    /// Begins to listen, for the first time or again, and says how.
    fn listen(&mut self, again: Option<&str>) {
        let seen = self.messages.clone();
        let started = Inotify::start(move |event| {
            // An error is a thread that has ended, and the watch with it.
            let _ = seen.send(Message::Seen(event));
        });
        match started {
            Ok(inotify) => {
                self.inotify = Some(inotify);
                if let Some(reason) = again {
                    self.tell_how(How { by_events: true, reason: Some(reason.to_owned()) });
                }
                self.find_ways(true);
            }
            Err(reason) => self.tell_how(How { by_events: false, reason: Some(reason) }),
        }
    }

    /// Follows all links, and watches where they lie. Twice, since one may be replaced in between.
    fn find_ways(&mut self, anew: bool) {
        let mut anew = anew;
        for _ in 0..WAYS_MAX {
            let (real, steps) = self.ways();
            let stays = !anew && (&real, &steps) == (&self.real, &self.steps);
            (self.real, self.steps) = (real, steps);
            let directories = self.steps.keys().filter_map(|step| step.parent());
            let mut wanted: BTreeSet<_> = directories.map(Path::to_owned).collect();
            wanted.insert(self.real.clone());
            let Some(inotify) = self.inotify.as_mut().filter(|inotify| inotify.is_heard()) else {
                return;
            };
            let failed = inotify.watch(&wanted, anew);
            let by_events = inotify.watches(&self.real) || !self.real.exists();
            let reason = failed
                .iter()
                .next()
                .map(|(path, reason)| format!("no events of {}: {reason}", text::path(path)));
            let reason = reason.or_else(|| remote(&self.real));
            let how = How { by_events, reason };
            if self.told.as_ref() != Some(&how) {
                self.tell_how(how);
            }
            if stays {
                return;
            }
            anew = false;
        }
    }

    /// Where the directory really is, and all names on the way to it and to its files.
    fn ways(&self) -> (PathBuf, BTreeMap<PathBuf, BTreeSet<Of>>) {
        let mut steps = BTreeMap::<_, BTreeSet<_>>::new();
        let way = trail(&self.directory);
        let real = way.last().cloned().unwrap_or_default();
        for step in way {
            steps.entry(step).or_default().insert(Of::Directory);
        }
        for file in Listing::of(&self.directory).unwrap_or_default().libraries {
            if file.is_symlink() {
                for step in trail(&file) {
                    steps.entry(step).or_default().insert(Of::File(file.clone()));
                }
            }
        }
        (real, steps)
    }

    fn tell_how(&mut self, how: How) {
        if self.told.as_ref() == Some(&how) {
            return;
        }
        self.told = Some(how.clone());
        let How { by_events, reason } = how;
        let (directory, every) = (self.directory.clone(), self.shared.bounds.look_interval);
        self.tell(EventKind::Watching { directory, by_events, every, reason });
    }
}

/// What the system tells nothing of, where it lies on a file system that others write to as well.
fn remote(directory: &Path) -> Option<String> {
    const KINDS: [(u64, &str); 9] = [
        (0x6969, "nfs"),
        (0xff53_4d42, "cifs"),
        (0xfe53_4d42, "smb2"),
        (0x517b, "smb"),
        (0x6573_5546, "fuse"),
        (0x0102_1997, "9p"),
        (0x00c3_6400, "ceph"),
        (0x5346_414f, "afs"),
        (0x794c_7630, "overlayfs"),
    ];
    let kind = rustix::fs::statfs(directory).ok()?.f_type.cast_unsigned();
    let (_, name) = KINDS.iter().find(|(magic, _)| *magic == kind & 0xffff_ffff)?;
    Some(format!("it lies on {name}, of which others' writes are seen by the look alone"))
}

/// From files to candidates.
impl Follower {
    /// Looks into each of `paths`. What nobody can write to any more and is no plugin is refused.
    fn look_into(&mut self, paths: &[PathBuf]) {
        let mut paths = paths.to_vec();
        for _ in 0..READS_MAX {
            let doubtful: Vec<_> = paths.iter().filter_map(|path| self.read(path)).collect();
            // One look at the whole machine for all of them, and none where there are none.
            let written = match doubtful.is_empty() {
                true => return,
                false => (self.scan)(&doubtful.iter().map(|it| &*it.path).collect::<Vec<_>>()),
            };
            paths.clear();
            for (found, written) in doubtful.into_iter().zip(written) {
                let Doubtful { path, before, .. } = &found;
                if !path.exists() {
                    let _ = say!(debug, path = text::path(path), "gone before it was read");
                } else if written {
                    let path = text::path(path);
                    let _ = say!(debug, path, "its writer has not closed it yet");
                } else if Identity::of(path) != *before {
                    // Last, since a writer that ends before it is asked for is not seen as one.
                    paths.push(found.path);
                } else {
                    self.refuse(&found);
                }
            }
        }
        // Whoever does that goes on, and each time there is an event.
        for path in paths {
            let _ = say!(debug, path = text::path(&path), "it is replaced faster than it is read");
        }
    }

    fn read(&mut self, path: &Path) -> Option<Doubtful> {
        let (began, before) = (Instant::now(), Identity::of(path));
        let told = match self.files.looked_into(path, before) {
            Before::Same(refusal) => refusal,
            Before::Another => {
                self.retries.forget(path);
                None
            }
        };
        match Candidate::read(path, &self.shared.bounds, &self.shared.spare) {
            Ok(candidate) => {
                let (candidate, took) = (Box::new(candidate), began.elapsed());
                let (reply, again) = self.retries.awaiting(path);
                let by = By::Watcher { reply, again };
                // A host that is ending wants no more candidates.
                let _ = self.shared.commands.send(Command::Update { candidate, by, took });
                None
            }
            Err(refusal) => Some(Doubtful {
                path: path.to_owned(),
                before,
                told,
                refusal,
                took: began.elapsed(),
            }),
        }
    }

    fn refuse(&mut self, found: &Doubtful) {
        let Doubtful { path, told, refusal, took, .. } = found;
        // Once for each file, however often it is tried again.
        let same = |told: &Refusal| told.to_string() == refusal.to_string();
        if !told.as_ref().is_some_and(same) {
            self.shared.refused(refusal, *took);
        }
        self.files.refused(path, refusal);
        self.retries.refused(path, refusal, Instant::now());
    }
}

/// A file that was refused, if nobody is writing to it.
struct Doubtful {
    path: PathBuf,
    before: Option<Identity>,
    /// What it was refused for when it was looked into before.
    told: Option<Refusal>,
    refusal: Refusal,
    took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Commands;
    use crate::settings::Bounds;
    use crate::shared::Checks;
    use notify::event::MetadataKind;
    use std::cell::Cell;
    use std::fs;

    thread_local! {
        /// How many scans of the machine this thread has made.
        static SCANS: Cell<usize> = const { Cell::new(0) };
    }

    fn counted(paths: &[&Path]) -> Vec<bool> {
        SCANS.set(SCANS.get() + 1);
        vec![false; paths.len()]
    }

    fn shared() -> (Arc<Shared>, Receiver<Command>) {
        let (send, commands) = Commands::queue();
        (Arc::new(Shared::new(Bounds::default(), Checks::default(), send)), commands)
    }

    fn texts(directory: &Path, count: usize) -> Vec<PathBuf> {
        let paths = (0..count).map(|at| directory.join(format!("{at:03}.so")));
        paths.inspect(|path| fs::write(path, "this is text\n").unwrap()).collect()
    }

    /// A file that can't be read is tried again by and by as well, so what it becomes tells nothing
    /// of the event.
    #[test]
    fn w04_an_event_of_permissions_asks_for_what_could_not_be_read() {
        let home = tempfile::tempdir().unwrap();
        let (shared, _commands) = shared();
        let (messages, _receive) = channel();
        let directory = home.path().canonicalize().unwrap();
        let [unreadable, read] = &*texts(&directory, 2) else { panic!("two files") };
        let mut follower = Follower::new(directory, shared, counted, messages);
        for path in [unreadable, read] {
            follower.files.looked_into(path, Identity::of(path));
        }
        let refusal = Refusal::new(crate::refusal::Code::FileUnreadable, "no permissions");
        follower.files.refused(unreadable, &refusal);
        let permitted = What::Modify(ModifyKind::Metadata(MetadataKind::Any));
        let asked = follower.asked_of(unreadable, permitted);
        assert!(asked == [Look::At(unreadable.clone())], "{} looks", asked.len());
        assert!(follower.asked_of(read, permitted).is_empty(), "its content is the same");
    }

    #[test]
    fn w06_a_look_scans_the_machine_once_however_many_files_it_refuses() {
        let home = tempfile::tempdir().unwrap();
        let (shared, _commands) = shared();
        let (messages, _receive) = channel();
        let directory = home.path().to_owned();
        let mut follower = Follower::new(directory, Arc::clone(&shared), counted, messages);
        let paths = texts(home.path(), 100);
        SCANS.set(0);
        follower.look_into(&paths);
        assert_eq!((SCANS.get(), shared.events.kept().len()), (1, 100));
        // Each has been told of, and is the same.
        follower.look_into(&paths);
        assert_eq!((SCANS.get(), shared.events.kept().len()), (2, 100));
        follower.look_into(&[]);
        assert_eq!(SCANS.get(), 2, "there was nothing to refuse");
    }

    #[test]
    fn w06_a_start_scans_the_machine_once_and_only_where_it_refuses() {
        let home = tempfile::tempdir().unwrap();
        let (shared, _commands) = shared();
        SCANS.set(0);
        let found = look(&shared, home.path(), Vec::new(), counted).unwrap();
        assert_eq!((SCANS.get(), found.is_empty()), (0, true));
        texts(home.path(), 100);
        let found = look(&shared, home.path(), found, counted).unwrap();
        let is_refused = |file: &&File| file.library.is_err();
        assert_eq!((SCANS.get(), found.iter().filter(is_refused).count()), (1, 100));
        let again = look(&shared, home.path(), found, counted).unwrap();
        assert_eq!((SCANS.get(), again.len()), (1, 100), "they are the same");
        assert_eq!(shared.events.kept().len(), 100);
    }
}
