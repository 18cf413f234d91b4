//! The log: a host's events as a test reads them, with a deadline in place of a sleep.

use midflight::{Event, EventKind, Events, Host};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub const WITHIN: Duration = Duration::from_secs(60);

/// Follows a host's events, and keeps them.
pub struct Log(Mutex<Kept>);

struct Kept {
    events: Events,
    seen: Vec<Event>,
    /// Up to this number they are forgotten.
    cleared: u64,
}

impl Log {
    /// From now on, and with what the host has kept.
    pub fn of(host: &Host) -> Self {
        // In this order, so that nothing falls between; what is in both is kept once.
        let events = host.events();
        Log(Mutex::new(Kept { events, seen: host.events_kept(), cleared: 0 }))
    }

    /// Waits for the event `name` of `generation`; if it has happened already, for nothing.
    #[track_caller]
    pub fn wait(&self, name: &str, generation: u64) -> Event {
        let what = format!("{name} of generation {generation}");
        self.wait_for(&what, |event| {
            event.kind.name() == name && event.generation == Some(generation)
        })
    }

    /// Waits for an event that is `wanted`; if one has happened already, for nothing.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut kept = self.kept();
        if let Some(event) = kept.seen.iter().find(|event| wanted(event)) {
            return event.clone();
        }
        let deadline = Instant::now() + WITHIN;
        while let Some(event) =
            kept.events.next_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if kept.keep(&event) && wanted(&event) {
                return event;
            }
        }
        drop(kept);
        panic!("no event: {what}, within {WITHIN:?}. There were:\n{}", self.text());
    }

    /// What happened so far.
    pub fn seen(&self) -> Vec<Event> {
        self.kept().seen.clone()
    }

    /// How often the event `name` happened so far.
    pub fn count(&self, name: &str) -> usize {
        self.kept().seen.iter().filter(|event| event.kind.name() == name).count()
    }

    /// What happened so far, a line each, without what differs from build to build.
    pub fn text(&self) -> String {
        let line = |event: &Event| match &event.kind {
            EventKind::Staged { build } => {
                event.to_string().replace(&format!(", build {build}"), "")
            }
            _ => event.to_string(),
        };
        self.kept().seen.iter().map(|event| line(event) + "\n").collect()
    }

    /// Forgets what happened so far.
    pub fn clear(&self) {
        let mut kept = self.kept();
        kept.cleared = kept.last();
        kept.seen.clear();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(event) = kept.events.try_next() {
            kept.keep(&event);
        }
        kept
    }
}

impl Kept {
    fn keep(&mut self, event: &Event) -> bool {
        let new = event.seq > self.last();
        if new {
            self.seen.push(event.clone());
        }
        new
    }

    fn last(&self) -> u64 {
        self.seen.last().map_or(self.cleared, |last| last.seq)
    }
}
