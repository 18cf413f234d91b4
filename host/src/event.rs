//! Events: what happened, in order, for people and for programs.

use crate::contained::say;
use crate::holder::Holders;
use crate::refusal::Refusal;
use crate::status::{Mapped, Memory};
use midflight_inspect::text;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

/// One thing that happened to one plugin.
///
/// Its text is the golden log's line: it holds no times, so that two runs of one script read the
/// same.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Event {
    /// Counts up by one, from 1 at the host's start.
    pub seq: u64,
    /// The wall clock when it was written down.
    pub at: SystemTime,
    /// The plugin's name. Empty where a file was refused before it named one.
    pub plugin: String,
    /// The plugin's version. Empty where a file was refused before it named one.
    pub version: String,
    /// The generation, where the candidate had come far enough to get a number.
    pub generation: Option<u64>,
    /// How long the step that ended took; for [`EventKind::Active`] the whole way from the read.
    pub took: Duration,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a candidate, a generation or a release.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The file was read and inspected.
    Staged {
        /// The first 8 digits of the BLAKE3 hash of its bytes, which tell two builds of one version
        /// apart.
        build: String,
    },
    /// The host was to have a [preflight](crate::preflight()) and can't: candidates are opened in
    /// the service alone. Told once, at the start.
    NoPreflight {
        /// Why.
        reason: String,
    },
    /// A child process has opened and closed it, and found nothing; `took` since then.
    Preflighted,
    /// The library is mapped and its contracts fit.
    Loaded,
    /// Its `start` has returned an instance.
    Prepared,
    /// A share of the group's calls runs on it, until its time is over or something is wrong with
    /// it.
    Canary {
        /// Of all calls, between 0 and 1.
        share: f64,
    },
    /// New calls run on it.
    Active {
        /// The number of the group's release. A host counts its releases up by one, over all its
        /// groups: each switch and each way back is one, and there are more in between where a
        /// canary runs, a state is handed over or calls are timed. A slot that is asked for later
        /// changes no number.
        release: u64,
        /// The generation that served before.
        previous: Option<u64>,
    },
    /// It serves, and what it replaced is kept on standby, until its time is over or something is
    /// wrong with it.
    Probation,
    /// Its probation is over: what it replaced retires.
    Committed,
    /// It was switched out again, and what it had replaced serves.
    Returned {
        /// The code and the reason.
        reason: String,
        /// What had served in between and was never committed, in words: the way back leads past
        /// it, to what was committed last.
        past: Option<String>,
    },
    /// A state was handed over to it; it took as long as calls waited.
    HandedOver {
        /// The schema in which it went.
        schema: u32,
        /// How many bytes went while calls waited.
        bytes: usize,
    },
    /// What it serves with again is the state as it was at the switch: what changed since is lost.
    StateLost {
        /// Why it could not be handed back.
        reason: String,
    },
    /// What was decided could not be written to the journal: a restart would not know of it.
    JournalFailed {
        /// Why.
        reason: String,
    },
    /// At the start: what was committed last could not be brought back. This version was committed
    /// before it and serves, or nothing does.
    FellBack {
        /// What could not be brought back.
        reason: String,
    },
    /// At the start: the builder gives another configuration than the one that is used, which the
    /// journal has.
    ConfigKept {
        /// Why that one.
        reason: String,
    },
    /// A hook on the way back failed, which stops nothing.
    HookFailed {
        /// The method's name.
        hook: &'static str,
        /// Why.
        reason: String,
    },
    /// A candidate is what already serves: nothing to do.
    Unchanged,
    /// A watched candidate is not taken, since it was switched out before: it waits until an
    /// operator applies it.
    Held {
        /// Why it was switched out.
        reason: String,
    },
    /// How the plugins' directory is watched: told at the start, and when that changes.
    Watching {
        /// The directory.
        directory: PathBuf,
        /// Whether changes are told by the system. Where they are not, they are seen by looks.
        by_events: bool,
        /// How often the host looks by itself.
        every: Duration,
        /// What stands against events, or is not told by them.
        reason: Option<String>,
    },
    /// A look at the plugins' directory by the host itself failed; it goes on looking. Told once
    /// until one succeeds.
    LookFailed {
        /// The directory.
        directory: PathBuf,
        /// Why.
        reason: String,
    },
    /// At the start no file of the plugins' directory is a plugin that could be loaded.
    NoPlugins {
        /// The directory.
        directory: PathBuf,
    },
    /// A file of the plugins' directory is not loaded, although it may have been meant to be.
    PassedOver {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A watched candidate waits: `generations_max` are in memory, and one of them is on its way
    /// out.
    Waiting,
    /// A waiting candidate was overtaken by a newer one.
    Superseded,
    /// A candidate was refused. What served before serves on.
    Refused(Refusal),
    /// No thread can be started, and something that must be done waits for one: a stop, an
    /// unmapping, hooks around a switch. It is tried again, no hook's deadline runs meanwhile, and
    /// no version is blamed. Told once, until nothing waits any more.
    ThreadsWanting {
        /// What the system said.
        reason: String,
    },
    /// The generation gets no new calls.
    Retiring,
    /// The plugin could not be told that it is retiring, or panicked in that. The drain goes on.
    RetiringFailed {
        /// What it panicked with, or why it was not told.
        reason: String,
    },
    /// The generation's last call and last lease have ended, and so has its `retiring`.
    Drained,
    /// The drain has taken longer than `drain_deadline`. It goes on.
    Stalled {
        /// Who holds it.
        holders: Holders,
    },
    /// An operator gave the stalled drain up: the generation stays in this process until that ends.
    GivenUp {
        /// Who held it.
        holders: Holders,
    },
    /// The plugin's instance was dropped; or it panicked in that, which ends it as well.
    Stopped {
        /// What it panicked with.
        panic: Option<String>,
    },
    /// A call panicked, of which its caller has the fault. Told of the first at each place in the
    /// plugin's code, of the tenth, of the hundredth and so on; by the thread that called.
    CallPanicked {
        /// `src/lib.rs:10:5`, or empty where it is unknown.
        location: String,
        /// The panic's text, and what to do about it where Midflight knows.
        message: String,
        /// How many calls have panicked there, this one included.
        count: u64,
    },
    /// A panic that no call can be told of: in the drop of a future or of an object.
    Panicked(String),
    /// The process's `tracing` subscriber panicked when it was told of an event, with what text.
    /// Updates go on, and are told here as ever. Told of the first panic alone.
    SubscriberPanicked(String),
    /// The control thread has ended by a panic, which is a bug of Midflight's: please report it.
    /// What serves serves on, and there are no updates, rollbacks or unloads any more.
    ControlPanicked(String),
    /// Proven: no code of the generation is in this process any more.
    Unmapped {
        /// What it had allocated and never freed, where its allocator counts.
        memory: Option<Memory>,
        /// What its own code had mapped, and left, beside the library.
        mapped: Mapped,
    },
    /// The generation's code is still in this process, and why.
    Resident(Vec<String>),
    /// It stays for as long as the process, and so will each further version that is made alike;
    /// until `generations_max` of them are in memory, and updates are refused. Told once a plugin
    /// and advice, when the first such version was replaced.
    NeverUnloads {
        /// Why.
        reasons: Vec<String>,
        /// What the plugin's author can do about it.
        advice: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut who = self.plugin.clone();
        if !self.version.is_empty() {
            who += &format!(" {}", self.version);
        }
        if let (false, Some(generation)) = (who.is_empty(), self.generation) {
            who += &format!(" (generation {generation})");
        }
        match (&self.kind, who.as_str()) {
            // Its own names would say the plugin's once more.
            (EventKind::Refused(refusal), who) => match (refusal.file().map(text::path), who) {
                (Some(file), "") => write!(f, "{file}: {refusal:#}"),
                (Some(file), who) => write!(f, "{who} in {file}: {refusal:#}"),
                (None, "") => write!(f, "{refusal:#}"),
                (None, who) => write!(f, "{who}: {refusal:#}"),
            },
            (kind, "") => kind.fmt(f),
            (kind, who) => write!(f, "{who}: {kind}"),
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventKind::NoPreflight { reason } => write!(f, "no preflight: {reason}"),
            EventKind::Canary { share } => {
                write!(f, "canary, for {} % of the calls", share * 100.0)
            }
            EventKind::Active { release, previous: Some(previous) } => {
                write!(f, "active in release {release}, after generation {previous}")
            }
            EventKind::Active { release, .. } => write!(f, "active in release {release}"),
            EventKind::Refused(refusal) => refusal.fmt(f),
            EventKind::Staged { build } => write!(f, "staged, build {build}"),
            EventKind::Returned { reason, past: None } => write!(f, "switched out again: {reason}"),
            EventKind::Returned { reason, past: Some(past) } => {
                write!(f, "switched out again, past {past}: {reason}")
            }
            EventKind::Held { reason } => write!(
                f,
                "held, and not taken from the directory: {reason}; apply the file (Host::apply) to \
                 bring it back all the same, or install another build"
            ),
            EventKind::Watching { directory, by_events, every, reason } => {
                let directory = text::path(directory);
                match by_events {
                    true => write!(f, "watching {directory} by events and a look every {every:?}")?,
                    false => write!(f, "watching {directory} by a look every {every:?} alone")?,
                }
                reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
            }
            EventKind::LookFailed { directory, reason } => {
                write!(f, "can't look at {}: {reason}", text::path(directory))
            }
            EventKind::NoPlugins { directory } => write!(
                f,
                "no plugin in {}: what is loaded are files named *.so that midflight_plugin's \
                 export! is in",
                text::path(directory)
            ),
            EventKind::PassedOver { file, reason } => {
                write!(f, "passed over: {}, because {reason}", text::path(file))
            }
            EventKind::HandedOver { schema, bytes } => {
                write!(f, "state handed over in schema {schema}, {bytes} bytes")
            }
            EventKind::StateLost { reason } => {
                write!(f, "state of the switch, what changed since is lost: {reason}")
            }
            EventKind::JournalFailed { reason } => write!(f, "not written down: {reason}"),
            EventKind::FellBack { reason } => write!(f, "fell back: {reason}"),
            EventKind::ConfigKept { reason } => {
                write!(f, "the builder's configuration is not used, the journal's is: {reason}")
            }
            EventKind::HookFailed { hook, reason } => write!(f, "{hook} failed: {reason}"),
            EventKind::ThreadsWanting { reason } => write!(
                f,
                "{reason}, so what must be done waits; check the limits on threads and memory of \
                 this process"
            ),
            EventKind::RetiringFailed { reason } => write!(f, "retiring failed: {reason}"),
            EventKind::Stalled { holders } => write!(f, "stalled: held by {holders}"),
            EventKind::GivenUp { holders } => write!(f, "given up: held by {holders}"),
            EventKind::Stopped { panic: Some(panic) } => write!(f, "stopped by a panic: {panic}"),
            EventKind::CallPanicked { location, message, count } => {
                f.write_str("a call panicked")?;
                if !location.is_empty() {
                    write!(f, " at {location}")?;
                }
                if *count > 1 {
                    write!(f, ", {count} calls by now")?;
                }
                write!(f, ": {message}")
            }
            EventKind::Panicked(report) => f.write_str(report),
            EventKind::SubscriberPanicked(text) => {
                write!(
                    f,
                    "the tracing subscriber of the service panicked, which is told this once: {text}"
                )
            }
            EventKind::ControlPanicked(text) => write!(
                f,
                "the control thread has ended by a panic: what serves serves on, and nothing is \
                 updated any more; restart the service, and report this: {text}"
            ),
            EventKind::Unmapped { memory, mapped } => {
                f.write_str("unmapped")?;
                if let Some(Memory { current: left @ 1.., .. }) = memory {
                    write!(f, ", with {left} bytes that it never freed")?;
                }
                let Mapped { bytes, resident } = *mapped;
                match bytes {
                    0 => Ok(()),
                    _ => write!(
                        f,
                        ", and {bytes} bytes that its own code mapped are left, {resident} of them \
                         in memory: an allocator that it brings with it keeps its heap; have it \
                         give that back at its end (mimalloc: MIMALLOC_DESTROY_ON_EXIT=1), or put \
                         midflight_plugin::Reclaimed around it"
                    ),
                }
            }
            EventKind::Resident(reasons) => write!(f, "resident({})", reasons.join("; ")),
            EventKind::NeverUnloads { reasons, advice } => {
                write!(f, "can never be unloaded ({}): {advice}", reasons.join("; "))
            }
            plain => f.write_str(plain.name()),
        }
    }
}

impl Event {
    /// Tells the process's `tracing` subscriber; the text of its panic, if it panics.
    fn log(&self) -> Result<(), String> {
        let Event { plugin, version, generation, kind, .. } = self;
        let took_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        let event = kind.name();
        match kind.is_bad() {
            true => say!(warn, event, plugin, version, generation, took_us, "{kind}"),
            false => say!(info, event, plugin, version, generation, took_us, "{kind}"),
        }
    }
}

impl EventKind {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::Staged { .. } => "staged",
            EventKind::NoPreflight { .. } => "no_preflight",
            EventKind::Preflighted => "preflighted",
            EventKind::Loaded => "loaded",
            EventKind::Prepared => "prepared",
            EventKind::Canary { .. } => "canary",
            EventKind::Active { .. } => "active",
            EventKind::Probation => "probation",
            EventKind::Committed => "committed",
            EventKind::Returned { .. } => "returned",
            EventKind::HandedOver { .. } => "handed_over",
            EventKind::StateLost { .. } => "state_lost",
            EventKind::JournalFailed { .. } => "journal_failed",
            EventKind::FellBack { .. } => "fell_back",
            EventKind::ConfigKept { .. } => "config_kept",
            EventKind::HookFailed { .. } => "hook_failed",
            EventKind::Unchanged => "unchanged",
            EventKind::Held { .. } => "held",
            EventKind::Watching { .. } => "watching",
            EventKind::LookFailed { .. } => "look_failed",
            EventKind::NoPlugins { .. } => "no_plugins",
            EventKind::PassedOver { .. } => "passed_over",
            EventKind::Waiting => "waiting",
            EventKind::Superseded => "superseded",
            EventKind::Refused(_) => "refused",
            EventKind::ThreadsWanting { .. } => "threads_wanting",
            EventKind::Retiring => "retiring",
            EventKind::RetiringFailed { .. } => "retiring_failed",
            EventKind::Drained => "drained",
            EventKind::Stalled { .. } => "stalled",
            EventKind::GivenUp { .. } => "given_up",
            EventKind::Stopped { .. } => "stopped",
            EventKind::CallPanicked { .. } => "call_panicked",
            EventKind::Panicked(_) => "panicked",
            EventKind::SubscriberPanicked(_) => "subscriber_panicked",
            EventKind::ControlPanicked(_) => "control_panicked",
            EventKind::Unmapped { .. } => "unmapped",
            EventKind::Resident(_) => "resident",
            EventKind::NeverUnloads { .. } => "never_unloads",
        }
    }

    /// With its texts as they are told. A refusal has told its own.
    fn told(self) -> Self {
        let told = |reason: String| text::told(&reason);
        match self {
            EventKind::Returned { reason, past } => {
                EventKind::Returned { reason: told(reason), past: past.map(told) }
            }
            EventKind::Held { reason } => EventKind::Held { reason: told(reason) },
            EventKind::Watching { directory, by_events, every, reason } => {
                EventKind::Watching { directory, by_events, every, reason: reason.map(told) }
            }
            EventKind::LookFailed { directory, reason } => {
                EventKind::LookFailed { directory, reason: told(reason) }
            }
            EventKind::PassedOver { file, reason } => {
                EventKind::PassedOver { file, reason: told(reason) }
            }
            EventKind::StateLost { reason } => EventKind::StateLost { reason: told(reason) },
            EventKind::JournalFailed { reason } => {
                EventKind::JournalFailed { reason: told(reason) }
            }
            EventKind::FellBack { reason } => EventKind::FellBack { reason: told(reason) },
            EventKind::ConfigKept { reason } => EventKind::ConfigKept { reason: told(reason) },
            EventKind::HookFailed { hook, reason } => {
                EventKind::HookFailed { hook, reason: told(reason) }
            }
            EventKind::ThreadsWanting { reason } => {
                EventKind::ThreadsWanting { reason: told(reason) }
            }
            EventKind::RetiringFailed { reason } => {
                EventKind::RetiringFailed { reason: told(reason) }
            }
            EventKind::Stopped { panic } => EventKind::Stopped { panic: panic.map(told) },
            EventKind::CallPanicked { location, message, count } => {
                EventKind::CallPanicked { location: told(location), message: told(message), count }
            }
            EventKind::Panicked(report) => EventKind::Panicked(told(report)),
            EventKind::Resident(reasons) => EventKind::Resident(text::list(reasons, REASONS_MAX)),
            EventKind::NeverUnloads { reasons, advice } => EventKind::NeverUnloads {
                reasons: text::list(reasons, REASONS_MAX),
                advice: told(advice),
            },
            plain => plain,
        }
    }

    fn is_bad(&self) -> bool {
        matches!(
            self,
            EventKind::NoPreflight { .. }
                | EventKind::Refused(_)
                | EventKind::Held { .. }
                | EventKind::Watching { by_events: false, .. }
                | EventKind::LookFailed { .. }
                | EventKind::NoPlugins { .. }
                | EventKind::PassedOver { .. }
                | EventKind::Returned { .. }
                | EventKind::FellBack { .. }
                | EventKind::ConfigKept { .. }
                | EventKind::HookFailed { .. }
                | EventKind::StateLost { .. }
                | EventKind::JournalFailed { .. }
                | EventKind::ThreadsWanting { .. }
                | EventKind::RetiringFailed { .. }
                | EventKind::Stalled { .. }
                | EventKind::GivenUp { .. }
                | EventKind::Resident(_)
                | EventKind::CallPanicked { .. }
                | EventKind::Panicked(_)
                | EventKind::SubscriberPanicked(_)
                | EventKind::ControlPanicked(_)
                | EventKind::NeverUnloads { .. }
                | EventKind::Stopped { panic: Some(_) }
        )
    }
}

/// The most reasons for which a generation is told to stay.
pub(crate) const REASONS_MAX: usize = 32;

/// The last `events_kept_max` events, and those who wait for the next.
pub(crate) struct EventLog {
    kept_max: usize,
    ring: Mutex<Ring>,
    grown: Condvar,
    /// It was told that the subscriber panics.
    deaf: AtomicBool,
}

#[derive(Default)]
struct Ring {
    /// The `seq` of the next event, less one.
    last: u64,
    /// Shared, so that who reads one has the lock for no longer than a share takes.
    events: VecDeque<Arc<Event>>,
}

/// Whom an event is about.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) plugin: &'a str,
    pub(crate) version: &'a str,
    pub(crate) generation: Option<u64>,
}

impl EventLog {
    pub(crate) fn new(kept_max: usize) -> Self {
        EventLog {
            kept_max: kept_max.max(1),
            ring: Mutex::default(),
            grown: Condvar::new(),
            deaf: AtomicBool::new(false),
        }
    }

    pub(crate) fn add(&self, about: About<'_>, took: Duration, kind: EventKind) {
        let About { generation, .. } = about;
        let (plugin, version) = (text::name(about.plugin), text::name(about.version));
        let kind = kind.told();
        let event =
            Event { seq: 0, at: SystemTime::now(), plugin, version, generation, took, kind };
        let logged = event.log();
        self.keep(event);
        // Once: a subscriber that panics on each event would drive all others out of the log.
        if let Err(panic) = logged
            && !self.deaf.swap(true, Relaxed)
        {
            let (plugin, version) = (String::new(), String::new());
            let kind = EventKind::SubscriberPanicked(panic);
            let event = Event {
                plugin,
                version,
                generation: None,
                kind,
                seq: 0,
                at: SystemTime::now(),
                took,
            };
            let _ = event.log();
            self.keep(event);
        }
    }

    fn keep(&self, mut event: Event) {
        let mut ring = self.ring.lock();
        ring.last += 1;
        event.seq = ring.last;
        if ring.events.len() == self.kept_max {
            ring.events.pop_front();
        }
        ring.events.push_back(Arc::new(event));
        drop(ring);
        // The first of those who wait wakes the next: see `next_timeout`.
        self.grown.notify_one();
    }

    pub(crate) fn kept(&self) -> Vec<Event> {
        let kept: Vec<_> = self.ring.lock().events.iter().cloned().collect();
        kept.iter().map(|event| Event::clone(event)).collect()
    }

    pub(crate) fn follow(self: &Arc<Self>) -> Events {
        Events { seen: self.ring.lock().last, log: Arc::clone(self), lost: 0 }
    }
}

/// A reader of events, from the moment it was made on.
///
/// It never holds the host up: who reads too slowly misses events, and [`lost`](Events::lost)
/// counts them.
pub struct Events {
    log: Arc<EventLog>,
    seen: u64,
    lost: u64,
}

impl Events {
    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        let log = Arc::clone(&self.log);
        let event = self.take(&log.ring.lock());
        event.map(Arc::unwrap_or_clone)
    }

    /// The next event; `None` if none comes within `timeout`.
    // Who adds an event wakes one reader, and each reader that was woken and found something wakes
    // one more: so however many there are, they wake each other, and the control plane none of
    // them but one. Those who wait are woken in the order in which they came, so the first that
    // finds nothing new is one that has had it and waits again, and all before it have been woken.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Event> {
        // None: so far away that it never comes.
        let deadline = Instant::now().checked_add(timeout);
        let log = Arc::clone(&self.log);
        let mut ring = log.ring.lock();
        let mut woken = false;
        loop {
            if let Some(event) = self.take(&ring) {
                drop(ring);
                if woken {
                    log.grown.notify_one();
                }
                return Some(Arc::unwrap_or_clone(event));
            }
            woken = match deadline {
                Some(deadline) => !log.grown.wait_until(&mut ring, deadline).timed_out(),
                None => {
                    log.grown.wait(&mut ring);
                    true
                }
            };
            if !woken {
                let event = self.take(&ring);
                drop(ring);
                return event.map(Arc::unwrap_or_clone);
            }
        }
    }

    /// How many events were dropped before they were read.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn take(&mut self, ring: &Ring) -> Option<Arc<Event>> {
        let first = ring.events.front()?.seq;
        if self.seen + 1 < first {
            self.lost += first - self.seen - 1;
            self.seen = first - 1;
        }
        let at = usize::try_from(self.seen + 1 - first).ok()?;
        let event = Arc::clone(ring.events.get(at)?);
        self.seen = event.seq;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;

    fn add(log: &EventLog, kind: EventKind) {
        let about = About { plugin: "p", version: "1.0.0", generation: Some(1) };
        log.add(about, Duration::ZERO, kind);
    }

    #[test]
    fn a_slow_reader_is_told_how_much_it_missed() {
        let log = Arc::new(EventLog::new(2));
        let mut events = log.follow();
        assert!(events.try_next().is_none());
        for kind in
            [EventKind::Unchanged, EventKind::Loaded, EventKind::Prepared, EventKind::Drained]
        {
            add(&log, kind);
        }
        assert_eq!(events.try_next().map(|event| event.kind.name()), Some("prepared"));
        assert_eq!(events.lost(), 2);
        assert_eq!(events.try_next().map(|event| event.seq), Some(4));
        assert!(events.next_timeout(Duration::from_millis(1)).is_none());
        assert_eq!(log.kept().len(), 2);
    }

    /// One of each kind. What is added to the enum is added here.
    fn all() -> Vec<EventKind> {
        let reason = || "REASON".to_owned();
        let directory = || PathBuf::from("/srv/plugins");
        let file = || PathBuf::from("/srv/plugins/x.so");
        let every = Duration::from_secs(5);
        let holders = Holders::default;
        let refusal = Refusal::new(Code::NotElf, "REASON").in_file(&file());
        vec![
            EventKind::Staged { build: "b1".to_owned() },
            EventKind::NoPreflight { reason: reason() },
            EventKind::Preflighted,
            EventKind::Loaded,
            EventKind::Prepared,
            EventKind::Canary { share: 0.25 },
            EventKind::Active { release: 7, previous: Some(3) },
            EventKind::Probation,
            EventKind::Committed,
            EventKind::Returned { reason: reason(), past: None },
            EventKind::HandedOver { schema: 2, bytes: 10 },
            EventKind::StateLost { reason: reason() },
            EventKind::JournalFailed { reason: reason() },
            EventKind::FellBack { reason: reason() },
            EventKind::ConfigKept { reason: reason() },
            EventKind::HookFailed { hook: "health", reason: reason() },
            EventKind::Unchanged,
            EventKind::Held { reason: reason() },
            EventKind::Watching {
                directory: directory(),
                by_events: true,
                every,
                reason: Some(reason()),
            },
            EventKind::Watching { directory: directory(), by_events: false, every, reason: None },
            EventKind::LookFailed { directory: directory(), reason: reason() },
            EventKind::NoPlugins { directory: directory() },
            EventKind::PassedOver { file: file(), reason: reason() },
            EventKind::Waiting,
            EventKind::Superseded,
            EventKind::Refused(refusal),
            EventKind::ThreadsWanting { reason: reason() },
            EventKind::Retiring,
            EventKind::RetiringFailed { reason: reason() },
            EventKind::Drained,
            EventKind::Stalled { holders: holders() },
            EventKind::GivenUp { holders: holders() },
            EventKind::Stopped { panic: Some(reason()) },
            EventKind::CallPanicked {
                location: "src/lib.rs:1:1".to_owned(),
                message: reason(),
                count: 1,
            },
            EventKind::Panicked(reason()),
            EventKind::SubscriberPanicked(reason()),
            EventKind::ControlPanicked(reason()),
            EventKind::Unmapped { memory: None, mapped: Mapped::default() },
            EventKind::Resident(vec![reason()]),
            EventKind::NeverUnloads { reasons: vec![reason()], advice: "ADVICE".to_owned() },
        ]
    }

    /// Those that are about no plugin: what stands in the place of its name.
    fn names_itself(kind: &EventKind) -> Option<&'static str> {
        match kind {
            EventKind::NoPreflight { .. } => Some("no preflight"),
            EventKind::Watching { .. }
            | EventKind::LookFailed { .. }
            | EventKind::NoPlugins { .. }
            | EventKind::PassedOver { .. }
            | EventKind::Refused(_) => Some("/srv/plugins"),
            EventKind::SubscriberPanicked(_) => Some("the tracing subscriber"),
            EventKind::ControlPanicked(_) => Some("the control thread"),
            _ => None,
        }
    }

    #[test]
    fn w07_each_event_says_of_what_it_tells_and_why() {
        let (mut names, log) = (Vec::new(), EventLog::new(100));
        for kind in all() {
            names.push(kind.name());
            let has_reason = format!("{kind:?}").contains("REASON");
            let (plugin, version) = match names_itself(&kind) {
                Some(_) => ("", ""),
                None => ("p", "1.0.0"),
            };
            let name = names_itself(&kind).unwrap_or("p 1.0.0 (generation 1): ");
            log.add(About { plugin, version, generation: Some(1) }, Duration::ZERO, kind);
            let told = log.kept().pop().expect("it").to_string();
            assert!(told.contains(name), "{told}");
            assert_eq!(told.contains("REASON"), has_reason, "{told}");
        }
        names.dedup();
        let source = include_str!("event.rs").split_once("pub fn name(&self)").expect("it").1;
        let arms = source.split_once("\n    }\n").expect("its end").0;
        let kinds = arms.matches("EventKind::").count();
        assert_eq!(names.len(), kinds, "this test does not know all kinds");
    }

    #[test]
    fn g05_readers_wake_each_other_and_none_misses_an_event() {
        const READERS: usize = 50;
        const EVENTS: usize = 20;
        let log = Arc::new(EventLog::new(EVENTS));
        let (send, ended) = std::sync::mpsc::channel();
        for reader in 0..READERS {
            let (mut events, send) = (log.follow(), send.clone());
            // Some of them are not waiting when they might be woken, again and again.
            let timeout = match reader % 3 {
                0 => Duration::from_micros(50),
                _ => Duration::MAX,
            };
            std::thread::spawn(move || {
                let mut next = || loop {
                    if let Some(event) = events.next_timeout(timeout) {
                        return event.seq;
                    }
                };
                let seen: Vec<_> = (0..EVENTS).map(|_| next()).collect();
                send.send(seen).unwrap();
            });
        }
        // Some wait already, some not yet: none of them waits for ever.
        for _ in 0..EVENTS {
            add(&log, EventKind::Loaded);
            std::thread::yield_now();
        }
        for _ in 0..READERS {
            let seen = ended.recv_timeout(Duration::from_secs(60));
            assert_eq!(seen.as_deref(), Ok(&*(1..=EVENTS as u64).collect::<Vec<_>>()));
        }
    }

    #[test]
    fn a_waiting_reader_is_woken() {
        let log = Arc::new(EventLog::new(2));
        let mut events = log.follow();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                add(&log, EventKind::Unmapped { memory: None, mapped: Mapped::default() })
            });
            let event = events.next_timeout(Duration::from_secs(10));
            assert_eq!(
                event.map(|event| event.to_string()).as_deref(),
                Some("p 1.0.0 (generation 1): unmapped")
            );
        });
    }
}
