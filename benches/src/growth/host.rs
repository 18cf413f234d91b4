//! The host's side: what it takes with so many plugins, loader included.
//!
//! Each measurement is a process of its own, which starts with nothing.

use super::bare::{self, Bare, Shares};
use super::{Clock, Figures, LAST, beside, median};
use crate::numbered::Numbered;
use bench_contracts::Work;
use midflight::{EventKind, Events, Host, HostBuilder, Slot};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// After which something is wrong.
const PATIENCE: Duration = Duration::from_secs(300);
/// What a stage leaves running in the background has ended by then.
const SETTLE: Duration = Duration::from_millis(20);

/// What one step leaves running in the background has mostly ended by then.
const PAUSE: Duration = Duration::from_millis(1);

/// A host and the files for it.
struct Growing<'n> {
    numbered: &'n Numbered,
    directory: &'n Path,
    host: Host,
}

/// Everything that is done to one plugin, with `count` of them; and the end.
///
/// # Panics
/// A plugin is refused.
pub fn plugins(numbered: &Numbered, directory: &Path, count: usize) -> Figures {
    let growing = Growing::start(numbered, directory, |builder| builder);
    let mut figures = Figures::new();
    let mut loads = Shares::default();
    for number in 0..count {
        if is_last(number, count) {
            bare::forget_caches();
        }
        let took = growing.load(number);
        if is_last(number, count) {
            let bare = growing.bare(count);
            loads.add(took, bare.update);
        }
    }
    put(&mut figures, "load", &loads);
    thread::sleep(SETTLE);

    let (mut slots, mut first_looks) = (Vec::new(), Shares::default());
    for number in 0..count {
        if !is_last(number, count) {
            slots.push(growing.slot(number));
            continue;
        }
        bare::forget_caches();
        let clock = Clock::process();
        slots.push(growing.slot(number));
        let took = clock.us();
        bare::forget_caches();
        first_looks.add(took, bare::thread());
    }
    put(&mut figures, "slot", &first_looks);
    assert!(slots.iter().all(|slot| slot.version() == Ok(1)), "all of them answer");
    thread::sleep(SETTLE);

    let [mut updates, mut drains, mut unmaps] = [(); 3].map(|()| Shares::default());
    let mut threads = Vec::new();
    for turn in 0..LAST {
        let (number, version) = (turn % count, 2 - turn / count % 2);
        let file = growing.file(number, version);
        let group = growing.host.group(&Numbered::name(number));
        let lease = group.lease().expect("it serves");
        let mut events = growing.host.events();
        bare::forget_caches();
        let clock = Clock::process();
        growing.host.apply(&file).expect("the next version");
        let update = clock.us();
        remove(&file);
        assert_eq!(slots[number].version(), Ok(version as u64));
        thread::sleep(PAUSE);
        let clock = Clock::process();
        drop(lease);
        wait(&mut events, |kind| matches!(kind, EventKind::Drained));
        let drain = clock.us();
        let clock = Clock::process();
        wait(&mut events, |kind| matches!(kind, EventKind::Unmapped { .. }));
        let unmap = clock.us();
        let bare = growing.bare(count);
        updates.add(update, bare.update);
        drains.add(drain, 0.0);
        unmaps.add(unmap, bare.unmap);
        threads.push(bare.thread);
    }
    figures.insert("thread".to_owned(), median(&threads));
    put(&mut figures, "update", &updates);
    put(&mut figures, "drain", &drains);
    put(&mut figures, "unmap", &unmaps);
    figures.insert("shutdown".to_owned(), growing.shut_down());
    figures
}

/// An update with a journal, and a restart by it.
///
/// # Panics
/// A plugin is refused.
pub fn journal(numbered: &Numbered, directory: &Path, count: usize) -> Figures {
    let with_journal = |builder: HostBuilder| builder.journal(directory.join("journal"));
    let growing = Growing::start(numbered, directory, with_journal);
    for number in 0..count {
        growing.load(number);
    }
    thread::sleep(SETTLE);
    let mut figures = Figures::new();
    let mut commits = Shares::default();
    for turn in 0..LAST {
        let (number, version) = (turn % count, 2 - turn / count % 2);
        let file = growing.file(number, version);
        let mut events = growing.host.events();
        bare::forget_caches();
        let clock = Clock::process();
        growing.host.apply(&file).expect("the next version");
        let took = clock.us();
        wait(&mut events, |kind| matches!(kind, EventKind::Unmapped { .. }));
        remove(&file);
        let bare = growing.bare(count);
        commits.add(took, bare.update);
    }
    put(&mut figures, "commit", &commits);
    growing.shut_down();
    let clock = Clock::process();
    let growing = Growing::start(numbered, directory, with_journal);
    figures.insert("restart".to_owned(), clock.us());
    let status = growing.host.status();
    let serve = status.plugins.iter().filter(|plugin| plugin.active.is_some()).count();
    assert_eq!(serve, count, "the journal brings all of them back");
    growing.shut_down();
    figures
}

/// An update while `count` readers wait for events: what the control thread alone takes.
///
/// # Panics
/// A plugin is refused.
pub fn subscribers(numbered: &Numbered, directory: &Path, count: usize) -> Figures {
    let growing = Growing::start(numbered, directory, |builder| builder);
    growing.load(0);
    let readers: Vec<_> = (0..count)
        .map(|_| {
            let mut events = growing.host.events();
            let read = move || {
                let mut seen = 0_u64;
                while let Some(event) = events.next_timeout(PATIENCE) {
                    seen += 1;
                    // The last update of all is of another plugin.
                    if event.plugin == Numbered::name(1)
                        && matches!(event.kind, EventKind::Active { .. })
                    {
                        break;
                    }
                }
                seen + events.lost()
            };
            thread::Builder::new().stack_size(64 << 10).spawn(read).expect("a thread")
        })
        .collect();
    let mut took = Shares::default();
    for turn in 0..LAST {
        let file = growing.file(0, 2 - turn % 2);
        let mut events = growing.host.events();
        let control = control_us();
        growing.host.apply(&file).expect("the next version");
        wait(&mut events, |kind| matches!(kind, EventKind::Unmapped { .. }));
        took.add(control_us() - control, bare::look());
        remove(&file);
    }
    growing.load(1);
    let mut seen: Vec<_> =
        readers.into_iter().map(|reader| reader.join().expect("it ends")).collect();
    seen.dedup();
    assert_eq!(seen.len(), 1, "each reader was told of each event");
    let mut figures = Figures::new();
    put(&mut figures, "subscribers", &took);
    growing.shut_down();
    figures
}

/// An update of a library of `bytes`.
///
/// # Panics
/// A plugin is refused.
pub fn size(numbered: &Numbered, directory: &Path, bytes: usize) -> Figures {
    let growing = Growing::start(numbered, directory, |builder| builder);
    growing.load(0);
    let mut took = Vec::new();
    for turn in 0..LAST / 2 {
        let file = directory.join("sized.so");
        numbered.write(0, 2 - turn % 2, bytes, &file);
        let mut events = growing.host.events();
        let clock = Clock::process();
        growing.host.apply(&file).expect("the next version");
        took.push(clock.us());
        wait(&mut events, |kind| matches!(kind, EventKind::Unmapped { .. }));
        remove(&file);
    }
    growing.shut_down();
    Figures::from([("size".to_owned(), median(&took))])
}

/// Calls through the first slot of a host and through its 256th, which answers for another plugin:
/// nanoseconds a call.
///
/// # Panics
/// A plugin is refused.
pub fn slots(numbered: &Numbered, directory: &Path) -> Figures {
    const CALLS: u64 = 2_000;
    const ROUNDS: usize = 400;
    let growing = Growing::start(numbered, directory, |builder| {
        // In one group, whose releases have all of them.
        let all = (0..300).map(Numbered::name);
        all.fold(builder, |builder, name| builder.group(&name, "all"))
    });
    growing.load(0);
    growing.load(256);
    let all: Vec<_> = (0..300).map(|number| growing.slot(number)).collect();
    let (first, far) = (&all[0], &all[256]);
    let batch = |slot: &Slot<dyn Work>| {
        let began = Instant::now();
        for a in 0..CALLS {
            let _ = std::hint::black_box(slot.add(a, 3).unwrap_or(0));
        }
        began.elapsed().as_nanos() as f64 / CALLS as f64
    };
    let (mut firsts, mut fars) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        firsts.push(batch(first));
        fars.push(batch(far));
    }
    assert_eq!((first.version(), far.version()), (Ok(1), Ok(1)), "both answer");
    growing.shut_down();
    // What nothing has interrupted.
    let shortest = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
    Figures::from([
        ("first_slot".to_owned(), shortest(&firsts)),
        ("far_slot".to_owned(), shortest(&fars)),
    ])
}

impl<'n> Growing<'n> {
    fn start(
        numbered: &'n Numbered,
        directory: &'n Path,
        with: impl FnOnce(HostBuilder) -> HostBuilder,
    ) -> Self {
        let run = directory.join("run");
        let builder = with(Host::builder().run_directory(run).preflight(false));
        Growing { numbered, directory, host: builder.start().expect("the host starts") }
    }

    fn file(&self, number: usize, version: usize) -> PathBuf {
        let file = self.directory.join(format!("{number}-{version}.so"));
        self.numbered.write(number, version, 0, &file);
        file
    }

    /// Microseconds.
    fn load(&self, number: usize) -> f64 {
        let file = self.file(number, 1);
        let clock = Clock::process();
        self.host.apply(&file).expect("a plugin");
        let took = clock.us();
        remove(&file);
        took
    }

    fn slot(&self, number: usize) -> Slot<dyn Work> {
        self.host.slot(&Numbered::name(number)).expect("the contract fits")
    }

    /// What is not the host's, right now. `number` is no plugin's of the host's.
    fn bare(&self, number: usize) -> Bare {
        Bare::now(self.numbered, number, self.directory, PAUSE)
    }

    /// Microseconds.
    fn shut_down(self) -> f64 {
        let clock = Clock::process();
        let status = self.host.shutdown(PATIENCE);
        let took = clock.us();
        let left =
            status.generations.iter().filter(|one| one.residency != midflight::Residency::Unmapped);
        assert_eq!(left.count(), 0, "nothing is left");
        took
    }
}

fn wait(events: &mut Events, is_it: impl Fn(&EventKind) -> bool) {
    loop {
        let event = events.next_timeout(PATIENCE).expect("it comes");
        if is_it(&event.kind) {
            return;
        }
    }
}

fn remove(file: &Path) {
    fs::remove_file(file).expect("it was written");
}

fn put(figures: &mut Figures, name: &str, shares: &Shares) {
    let [own, bare] = shares.medians();
    figures.insert(name.to_owned(), own);
    figures.insert(beside(name), bare);
}

/// Of `count`, one of those that come when nearly all others are there.
fn is_last(number: usize, count: usize) -> bool {
    number + LAST >= count
}

/// What the host's control thread has run so far, in microseconds.
fn control_us() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").expect("this process's threads");
    let of_control = |task: fs::DirEntry| {
        let comm = fs::read_to_string(task.path().join("comm")).ok()?;
        let ran = fs::read_to_string(task.path().join("schedstat")).ok()?;
        (comm.trim_end() == "midflight").then(|| ran.split(' ').next()?.parse::<f64>().ok())?
    };
    tasks.flatten().find_map(of_control).expect("the control thread") / 1e3
}
