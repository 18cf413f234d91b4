//! What the demo sees of the host: its events, and nothing else.

use crate::answers::PLUGIN;
use crate::ledger::Ledger;
use midflight::{EventKind, Events, Host, Refusal};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A thread that reads the event stream: it tells the clients what is active, the director what
/// came of its files, and keeps the scene for the views.
pub(crate) struct Observer {
    scene: Arc<Mutex<Scene>>,
    news: Receiver<News>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

/// What the director waits for.
pub(crate) struct News {
    pub(crate) seen: Instant,
    pub(crate) version: String,
    pub(crate) what: What,
}

pub(crate) enum What {
    Active,
    Refused(Refusal),
    /// A candidate came to an end that is neither: `unchanged`, `held`, `superseded`.
    Passed(&'static str),
}

/// The state of things, as far as events tell.
#[derive(Default, Clone)]
pub(crate) struct Scene {
    /// Version and generation.
    pub(crate) serving: Option<(String, u64)>,
    /// `active` as soon as it was; then what became of it.
    pub(crate) generations: BTreeMap<u64, Seen>,
    pub(crate) served: BTreeSet<u64>,
    pub(crate) refusals: Vec<String>,
    pub(crate) unmapped: u64,
    /// Events that the host dropped before they could be read.
    pub(crate) lost: u64,
}

#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) residency: String,
}

impl Observer {
    pub(crate) fn start(host: &Host, ledger: Arc<Ledger>) -> Self {
        let (to, news) = mpsc::channel();
        let (scene, over) = (Arc::<Mutex<Scene>>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (events, scene, over) = (host.events(), scene.clone(), over.clone());
            move || watch(events, &scene, &ledger, &to, &over)
        });
        Observer { scene, news, over, thread }
    }

    pub(crate) fn scene(&self) -> Arc<Mutex<Scene>> {
        self.scene.clone()
    }

    pub(crate) fn serving(&self) -> Option<(String, u64)> {
        self.scene.lock().serving.clone()
    }

    pub(crate) fn next_news(&self, deadline: Instant) -> Option<News> {
        self.news.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    pub(crate) fn finish(self) -> Scene {
        self.over.store(true, Relaxed);
        let lost = self.thread.join().unwrap_or(u64::MAX);
        Scene { lost, ..self.scene.lock().clone() }
    }
}

fn watch(
    mut events: Events,
    scene: &Mutex<Scene>,
    ledger: &Ledger,
    news: &Sender<News>,
    over: &AtomicBool,
) -> u64 {
    loop {
        // Asked before the look, so that what came before the end is still read.
        let last_look = over.load(Relaxed);
        let Some(event) = events.next_timeout(Duration::from_millis(20)) else {
            if last_look {
                return events.lost();
            }
            continue;
        };
        let seen = Instant::now();
        if let (EventKind::Active { .. }, Some(generation), PLUGIN) =
            (&event.kind, event.generation, &*event.plugin)
        {
            ledger.seen_active(generation);
        }
        scene.lock().take(&event);
        let what = match event.kind {
            EventKind::Active { .. } => What::Active,
            EventKind::Refused(refusal) => What::Refused(refusal),
            EventKind::Unchanged | EventKind::Held { .. } | EventKind::Superseded => {
                What::Passed(event.kind.name())
            }
            _ => continue,
        };
        let _ = news.send(News { seen, version: event.version, what });
    }
}

impl Scene {
    fn take(&mut self, event: &midflight::Event) {
        if let EventKind::Refused(refusal) = &event.kind {
            let file = refusal.file().and_then(|file| file.file_name()).unwrap_or_default();
            self.refusals.push(format!("{} [{}]", file.display(), refusal.code()));
        }
        let Some(generation) = event.generation else {
            return;
        };
        let residency = match &event.kind {
            EventKind::Active { .. } => {
                self.served.insert(generation);
                self.serving = Some((event.version.clone(), generation));
                "active".to_owned()
            }
            EventKind::Retiring => "retiring".to_owned(),
            EventKind::Unmapped { .. } => {
                self.unmapped += 1;
                "unmapped".to_owned()
            }
            EventKind::Resident(_) => event.kind.to_string(),
            _ => return,
        };
        let (plugin, version) = (event.plugin.clone(), event.version.clone());
        self.generations.insert(generation, Seen { plugin, version, residency });
    }
}
