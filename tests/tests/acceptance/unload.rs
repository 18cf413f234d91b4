//! Unloading: whatever a plugin leaves with threads and with the system, nothing dangles, nothing
//! grows, and the status tells why something stays.

use midflight::{Code, EventKind, HostBuilder, Mapped, Residency, Slot};
use midflight_plugin::rt::hooks::SYMBOLS;
use midflight_tests::{
    Fixture, Footprint, Ledger, Rig, WITHIN, check_answers, in_child, process, run_child,
    run_child_with, skip, with_children,
};
use nasty_contracts::{Deed, Ledger as LedgerContract, Nasty};
use object::{Object, ObjectSymbol};
use std::cell::RefCell;
use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A rig with the plugin `nasty`.
struct Scene {
    rig: Rig,
    ledger: Arc<Ledger>,
    nasty: Slot<dyn Nasty>,
}

impl Deref for Scene {
    type Target = Rig;
    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl Scene {
    fn of(fixture: Fixture) -> Scene {
        Scene::with(fixture, |builder| builder)
    }

    /// What stays is reported almost at once.
    fn impatient(fixture: Fixture) -> Scene {
        let deadline = process::scaled(Duration::from_millis(20));
        Scene::with(fixture, |builder| builder.stop_deadline(deadline))
    }

    fn with(fixture: Fixture, configure: impl FnOnce(HostBuilder) -> HostBuilder) -> Scene {
        let ledger = Arc::new(Ledger::default());
        let service = Arc::clone(&ledger);
        let rig = Rig::with(|builder| {
            configure(builder.provide::<dyn LedgerContract, _>(service).contract::<dyn Nasty>())
        });
        let nasty = rig.host.slot::<dyn Nasty>("nasty").expect("a slot");
        ledger.call_back_through(nasty.clone());
        rig.apply(fixture);
        Scene { rig, ledger, nasty }
    }

    #[track_caller]
    fn commit(&self, deed: Deed, number: u64) -> u64 {
        self.nasty.commit(deed, number).expect("an answer")
    }

    /// Waits until a generation is resident, and gives the reasons.
    #[track_caller]
    fn resident(&self, generation: u64) -> Vec<String> {
        let event = self.log.wait("resident", generation);
        let EventKind::Resident(mut reasons) = event.kind else { panic!("{event}") };
        // On a busy machine the deadline can come before the stop is over; what stays is known
        // after it.
        let deadline = Instant::now() + WITHIN;
        while reasons == ["stop still running"] && Instant::now() < deadline {
            let Residency::Resident(now) = self.residency(generation) else { panic!("it is gone") };
            reasons = now;
            thread::yield_now();
        }
        assert_eq!(self.residency(generation), Residency::Resident(reasons.clone()));
        assert_ne!(self.mapped(generation), [""; 0], "it says that it is resident");
        assert_eq!(self.log.count("unmapped"), 0, "{}", self.log.text());
        reasons
    }

    /// Waits until a generation is gone, and looks for itself.
    #[track_caller]
    fn gone(&self, generation: u64) {
        self.log.wait("unmapped", generation);
        assert_eq!(self.residency(generation), Residency::Unmapped);
        assert_eq!(self.mapped(generation), [""; 0]);
        assert_eq!(self.ledger.foreign(), 0, "a destructor ran on another thread");
    }

    /// Switches to build 2, lets this thread pass the gate, and waits until build 1 is gone.
    #[track_caller]
    fn replaced(&self) {
        self.apply(Fixture::NastyV2);
        assert_eq!(self.nasty.build(), Ok(2));
        self.passing_until_gone(1);
    }

    /// Lets this thread pass the gate until a generation is gone.
    #[track_caller]
    fn passing_until_gone(&self, generation: u64) {
        self.until("it is gone", || {
            self.nasty.build().expect("an answer");
            self.residency(generation) == Residency::Unmapped
        });
        self.gone(generation);
    }

    #[track_caller]
    fn until(&self, what: &str, mut is: impl FnMut() -> bool) {
        let deadline = Instant::now() + WITHIN;
        while !is() {
            assert!(
                Instant::now() < deadline,
                "not within {WITHIN:?}: {what}\n{}",
                self.log.text()
            );
            thread::yield_now();
        }
    }

    fn mapped(&self, generation: u64) -> Vec<String> {
        let image = format!("/nasty.{generation}.");
        process::mappings().into_iter().filter(|line| line.contains(&image)).collect()
    }

    /// What a generation had allocated and never freed.
    #[track_caller]
    fn left_behind(&self, generation: u64) -> usize {
        let event = self.log.wait("unmapped", generation);
        let EventKind::Unmapped { memory: Some(memory), .. } = event.kind else {
            panic!("{event}")
        };
        assert!(memory.current <= memory.peak, "{memory:?}");
        memory.current
    }

    /// Ends the host, and asserts that no value and no code is left.
    #[track_caller]
    fn end(self) {
        self.rig.end();
        assert_eq!((self.ledger.open(), self.ledger.foreign()), (0, 0));
    }
}

/// A thread of the host's that does what it is told.
struct Puppet {
    tell: Sender<Box<dyn FnOnce() + Send>>,
    thread: JoinHandle<()>,
}

impl Puppet {
    fn new(name: &str) -> Puppet {
        let (tell, told) = channel::<Box<dyn FnOnce() + Send>>();
        let body = move || told.iter().for_each(|what| what());
        Puppet {
            tell,
            thread: thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread"),
        }
    }

    fn run<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, answer) = channel();
        self.tell.send(Box::new(move || drop(send.send(what())))).expect("it listens");
        answer.recv().expect("no panic")
    }

    fn commit(&self, scene: &Scene, deed: Deed, number: u64) -> u64 {
        let nasty = scene.nasty.clone();
        self.run(move || nasty.commit(deed, number)).expect("an answer")
    }

    /// Ends the thread, and waits until it is gone.
    fn end(self) {
        drop(self.tell);
        self.thread.join().expect("no panic");
    }
}

#[test]
fn a54_a_thread_local_belongs_to_its_thread() {
    in_child(|| {
        let scene = Scene::impatient(Fixture::Nasty);
        let (stays, ends) = (Puppet::new("nasty-stays"), Puppet::new("nasty-ends"));
        assert_eq!(scene.commit(Deed::Local, 0), 1);
        assert_eq!(stays.commit(&scene, Deed::Local, 0), 1);
        assert_eq!(stays.commit(&scene, Deed::Local, 0), 2, "the same value");
        assert_eq!(ends.commit(&scene, Deed::Local, 0), 1);
        scene.apply(Fixture::NastyV2);
        let reasons = scene.resident(1).join("\n");
        for name in ["(nasty-stays), 1 value", "(nasty-ends), 1 value"] {
            assert!(reasons.contains(name), "{reasons}");
        }
        assert_eq!(reasons.matches("tls: tid ").count(), 3, "{reasons}");
        assert_eq!(scene.ledger.destroyed(), 0);

        // This thread re-enters, another calls its checkpoint, the last one ends: each destroys its
        // own.
        assert_eq!(scene.nasty.build(), Ok(2));
        assert_eq!(scene.ledger.destroyed(), 1);
        let host = scene.host.clone();
        stays.run(move || host.checkpoint());
        assert_eq!(scene.ledger.destroyed(), 2);
        assert_eq!(scene.log.count("unmapped"), 0);
        assert_ne!(scene.mapped(1), [""; 0]);
        ends.end();
        assert_eq!(scene.ledger.destroyed(), 3);
        scene.gone(1);
        assert_eq!(stays.commit(&scene, Deed::Local, 0), 1, "another generation, another value");
        stays.end();
        scene.end();
    });
}

#[test]
fn a54_a_thread_that_only_uses_leases_passes_the_gate_as_well() {
    in_child(|| {
        let scene = Scene::impatient(Fixture::Nasty);
        scene.apply(Fixture::V1);
        let lease = scene.group.lease().expect("a lease");
        scene.commit(Deed::Local, 0);
        scene.apply(Fixture::NastyV2);
        scene.resident(1);
        check_answers(&lease.get(&scene.probe), 1);
        assert_eq!(scene.ledger.destroyed(), 1);
        scene.gone(1);
        drop(lease);
        scene.end();
    });
}

#[test]
fn r14_the_status_says_at_once_what_threads_and_signals_still_have() {
    in_child(|| {
        let scene = Scene::with(Fixture::Nasty, |builder| {
            builder.stop_deadline(Duration::from_secs(3600)).generations_max(2)
        });
        let idles = Puppet::new("nasty-idles");
        idles.commit(&scene, Deed::Local, 0);
        scene.commit(Deed::Detached, 1);
        scene.apply(Fixture::NastyV2);
        let held = |generation: u64, what: &str| {
            scene.until(what, || {
                let status = scene.host.status();
                let mut records = status.generations.iter();
                let found = records.find(|it| it.generation == generation).expect("a record");
                assert_eq!(found.residency, Residency::Retiring, "no deadline is over");
                found.held_by.to_string().contains(what)
            });
        };
        held(1, "(nasty-detached)");
        scene.ledger.let_go(1);
        held(1, "(nasty-idles), 1 value");
        let refused = scene.host.apply(Fixture::Nasty.path()).expect_err("there is no room");
        assert_eq!(refused.code(), Code::TooManyGenerations);
        for what in ["generation 1 retiring, held by ", "(nasty-idles), 1 value"] {
            assert!(refused.reason().contains(what), "{refused}");
        }
        idles.end();
        scene.passing_until_gone(1);
        scene.commit(Deed::Signal, 0);
        scene.apply(Fixture::Nasty);
        held(2, "signal: SIGUSR1");
    });
}

#[test]
fn a55_a_thread_that_asked_for_itself_ends_after_the_library() {
    in_child(|| {
        let scene = Scene::of(Fixture::Nasty);
        let (passes, ends) = (Puppet::new("passes"), Puppet::new("ends"));
        for puppet in [&passes, &ends] {
            puppet.commit(&scene, Deed::Current, 0);
            puppet.commit(&scene, Deed::Joined, 0);
        }
        scene.apply(Fixture::NastyV2);
        ends.end();
        let nasty = scene.nasty.clone();
        let status = scene.host.clone();
        passes.run(move || {
            let gone = || status.status().generations[0].residency == Residency::Unmapped;
            let deadline = Instant::now() + WITHIN;
            while !gone() && Instant::now() < deadline {
                assert_eq!(nasty.build(), Ok(2));
            }
        });
        scene.gone(1);
        passes.end();
        scene.end();
    });
}

#[test]
fn a56_a_thread_that_runs_keeps_its_library() {
    in_child(|| {
        let scene = Scene::impatient(Fixture::Nasty);
        scene.commit(Deed::Detached, 1);
        scene.apply(Fixture::NastyV2);
        let reasons = scene.resident(1);
        assert_eq!(reasons.len(), 1);
        let tid = reasons[0]
            .strip_prefix("threads: tid ")
            .and_then(|rest| rest.strip_suffix(" (nasty-detached)"));
        assert!(
            tid.is_some_and(|tid| Path::new("/proc/self/task").join(tid).exists()),
            "{reasons:?}"
        );
        assert_eq!(scene.ledger.destroyed(), 0);
        scene.ledger.let_go(1);
        scene.passing_until_gone(1);
        scene.end();
    });
}

#[test]
fn a56_a_process_may_end_with_threads_of_its_plugins() {
    in_child(|| {
        let scene = Scene::impatient(Fixture::Nasty);
        scene.commit(Deed::Detached, u64::MAX);
        scene.commit(Deed::Local, 0);
        scene.apply(Fixture::NastyV2);
        scene.resident(1);
        scene.commit(Deed::Detached, u64::MAX);
        let status = scene.host.shutdown(Duration::from_millis(100));
        assert_eq!(status.plugins[0].active, None);
        // The home of its images goes first.
        drop(scene);
    });
}

#[test]
fn a57_a_thousand_nasty_generations_leave_nothing() {
    const WARM_UP: u64 = 100;
    const SWAPS: u64 = 1_000;
    with_children(
        |_| {
            let scene = Scene::with(Fixture::Nasty, |builder| builder.generations_max(8));
            let swap = |generation: u64| {
                assert_eq!(scene.nasty.heavy(0), Ok(0));
                let fixture =
                    [Fixture::Nasty, Fixture::NastyV2][usize::from(generation.is_multiple_of(2))];
                assert_eq!(scene.apply(fixture), generation);
                scene.passing_until_gone(generation - 1);
                scene.log.clear();
            };
            (2..WARM_UP).for_each(swap);
            Footprint::settle();
            let before = Footprint::now();
            (WARM_UP..SWAPS).for_each(swap);
            let after = Footprint::now();
            println!("before {before:?}\nafter  {after:?}");
            assert_eq!(
                (after.mappings, after.descriptors, after.keys),
                (before.mappings, before.descriptors, before.keys)
            );
            // AddressSanitizer keeps what was freed for a while.
            if !process::has_address_sanitizer() {
                assert!(
                    after.resident_kib < before.resident_kib + 2 * 1024,
                    "{before:?} {after:?}"
                );
            }
            assert_eq!(scene.ledger.foreign(), 0);
            scene.end();
        },
        |test| {
            let exit = run_child_with(test, "", |child| {
                child.env("RUST_BACKTRACE", "1").env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
            });
            exit.assert_ok();
        },
    );
}

#[test]
fn a57_backtraces_are_taken_and_leave_no_mapping() {
    with_children(
        |_| {
            let scene = Scene::of(Fixture::Nasty);
            assert!(scene.commit(Deed::Backtrace, 0) > 0);
            assert_eq!(scene.commit(Deed::CaughtPanic, 0), 1);
            scene.replaced();
            scene.end();
        },
        |test| run_child_with(test, "", |child| child.env("RUST_BACKTRACE", "full")).assert_ok(),
    );
}

#[test]
fn a59_linked_to_stay_it_goes() {
    in_child(|| {
        let library = Fixture::NastyNodelete.bytes();
        assert!(has_flag(&library, object::elf::DF_1_NODELETE.0), "the linker was told to set it");
        let scene = Scene::of(Fixture::NastyNodelete);
        scene.nasty.heavy(0).expect("an answer");
        scene.replaced();
        scene.end();
    });
}

fn has_flag(library: &[u8], flag: u64) -> bool {
    use object::elf::{DT_FLAGS_1, FileHeader64};
    use object::read::elf::{Dyn, FileHeader};
    let header = FileHeader64::<object::Endianness>::parse(library).expect("a header");
    let endian = header.endian().expect("an order of bytes");
    let sections = header.sections(endian, library).expect("sections");
    let (dynamic, _) =
        sections.dynamic(endian, library).expect("readable").expect("a dynamic section");
    dynamic.iter().any(|entry| entry.d_tag(endian) == DT_FLAGS_1 && entry.d_val(endian) & flag != 0)
}

#[test]
fn a60_objects_of_c_and_cxx() {
    in_child(|| {
        let scene = Scene::of(Fixture::NastyNative);
        let puppet = Puppet::new("puppet");
        for key in 0..2 {
            assert_eq!(scene.commit(Deed::CKey, key), 1);
            assert_eq!(puppet.commit(&scene, Deed::CKey, key), 1);
        }
        for ends_by in 0..5 {
            assert_eq!(scene.commit(Deed::CThread, ends_by), 1, "{ends_by}");
        }
        assert_eq!(scene.commit(Deed::Cxx, 0), 42);
        assert_eq!(puppet.commit(&scene, Deed::Cxx, 0), 42);
        assert_eq!(scene.ledger.destroyed(), 5, "those of the threads that ended");
        assert_eq!(scene.ledger.open(), 6);
        scene.apply(Fixture::NastyV2);
        puppet.end();
        scene.until("this thread's are destroyed", || {
            scene.nasty.build().expect("an answer");
            scene.ledger.open() == 0
        });
        scene.gone(1);
        scene.end();
    });
}

#[test]
fn a60_a_library_for_the_static_tls_block_is_refused_each_time() {
    in_child(|| {
        let rig = Rig::serving(Fixture::V1);
        for _ in 0..20 {
            let refusal = rig.refused(|host| host.apply(Fixture::NastyStaticTls.path()));
            assert_eq!(refusal.code(), Code::StaticTls, "{refusal}");
        }
        assert_eq!(rig.log.count("loaded"), 1);
        rig.end();
    });
}

#[test]
fn a61_an_allocator_of_its_own() {
    in_child(|| {
        let scene = Scene::of(Fixture::NastyMimalloc);
        let puppet = Puppet::new("puppet");
        let text = scene.nasty.text(100_000).expect("a text");
        scene.nasty.heavy(0).expect("an answer");
        puppet.commit(&scene, Deed::Joined, 0);
        puppet.commit(&scene, Deed::Local, 0);
        scene.apply(Fixture::NastyV2);
        puppet.end();
        scene.passing_until_gone(1);
        assert_eq!(text, "x".repeat(100_000), "the host's own");
        scene.left_behind(1);
        scene.end();
    });
}

/// The recipe of `docs::unloading`: a worker that has called a plugin and idles keeps its old
/// version, until it passes by.
#[test]
fn r15_workers_of_a_runtime_that_idle_let_an_old_version_go() {
    const WORKERS: usize = 4;
    in_child(|| {
        let scene = Scene::of(Fixture::Nasty);
        let (passing, passes) = (scene.host.clone(), Arc::new(AtomicBool::new(false)));
        let may_pass = Arc::clone(&passes);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .on_thread_park(move || {
                if may_pass.load(SeqCst) {
                    passing.checkpoint();
                }
            })
            .build()
            .expect("a runtime");
        let all = Arc::new(std::sync::Barrier::new(WORKERS));
        let calls: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (all, nasty) = (Arc::clone(&all), scene.nasty.clone());
                runtime.spawn(async move {
                    // Each has a worker of its own.
                    all.wait();
                    nasty.commit(Deed::Local, 0).expect("an answer");
                })
            })
            .collect();
        calls.into_iter().for_each(|call| runtime.block_on(call).expect("no panic"));
        scene.apply(Fixture::NastyV2);
        let held_by = || {
            let status = scene.host.status();
            let old = status.generations.iter().find(|one| one.generation == 1);
            old.map(|one| one.held_by.to_string()).unwrap_or_default()
        };
        scene.until("the status names the workers", || {
            held_by().matches("tokio-rt-worker").count() == WORKERS
        });
        passes.store(true, SeqCst);
        scene.until("it is gone", || {
            (0..WORKERS).for_each(|_| drop(runtime.spawn(async {})));
            thread::sleep(Duration::from_millis(1));
            scene.residency(1) == Residency::Unmapped
        });
        scene.gone(1);
        drop(runtime);
        scene.end();
    });
}

/// An allocator that a plugin brings with it maps heaps for a whole process.
#[test]
fn alloc1_what_an_allocator_leaves_mapped_is_told_with_its_cures_or_given_back() {
    /// Uses a generation's heap on two threads, replaces it, and says what it has left mapped.
    fn left_mapped(scene: &Scene, generation: u64) -> (Mapped, String) {
        let puppet = Puppet::new("puppet");
        scene.nasty.text(100_000).expect("a text");
        scene.nasty.heavy(0).expect("an answer");
        puppet.commit(scene, Deed::Joined, 0);
        let during = scene.host.status();
        let during = during.generations.iter().find(|one| one.generation == generation);
        assert!(during.expect("it runs").mapped.bytes > 0, "it has mapped its heap: {during:?}");
        scene.apply(Fixture::NastyV2);
        puppet.end();
        scene.passing_until_gone(generation);
        let event = scene.log.wait("unmapped", generation);
        let EventKind::Unmapped { mapped, .. } = event.kind else { panic!("{event}") };
        let after = scene.host.status();
        let after = after.generations.iter().find(|one| one.generation == generation);
        assert_eq!(after.map(|one| one.mapped), Some(mapped));
        (mapped, event.to_string())
    }

    with_children(
        |which| match which {
            "left" => {
                let scene = Scene::of(Fixture::NastyMimalloc);
                let (mapped, text) = left_mapped(&scene, 1);
                assert!(mapped.bytes >= mapped.resident && mapped.resident > 0, "{mapped:?}");
                for cure in ["MIMALLOC_DESTROY_ON_EXIT", "midflight_plugin::Reclaimed"] {
                    assert!(text.contains(cure), "{text}");
                }
                scene.end();
            }
            "destroyed" => {
                let scene = Scene::of(Fixture::NastyMimalloc);
                let (mapped, _) = left_mapped(&scene, 1);
                // Its own books of what it has mapped may be left.
                assert!(mapped.bytes < 1 << 20, "{mapped:?}");
                scene.end();
            }
            "reclaimed" => {
                let scene = Scene::of(Fixture::NastyMimallocReclaimed);
                let mut space = Vec::new();
                for round in 0..10 {
                    let (mapped, text) = left_mapped(&scene, 1 + 2 * round);
                    assert_eq!(mapped, Mapped::default(), "{text}");
                    space.push(process::address_space_kib());
                    scene.apply(Fixture::NastyMimallocReclaimed);
                }
                // Threads and their arenas come in the first rounds.
                let grown = space[9].saturating_sub(space[4]);
                assert!(grown < 256 << 10, "a heap of mimalloc's is a GiB: {space:?}");
                scene.end();
            }
            other => panic!("{other}"),
        },
        |test| {
            run_child(test, "left").assert_ok();
            run_child_with(test, "destroyed", |child| child.env("MIMALLOC_DESTROY_ON_EXIT", "1"))
                .assert_ok();
            run_child(test, "reclaimed").assert_ok();
        },
    );
}

#[test]
fn a62_a_signal_handler_keeps_its_library() {
    in_child(|| {
        let scene = Scene::impatient(Fixture::Nasty);
        assert_eq!(scene.commit(Deed::Signal, 0), 0);
        scene.apply(Fixture::NastyV2);
        assert_eq!(scene.resident(1), ["signal: SIGUSR1"]);
        assert_eq!(
            scene.log.wait("never_unloads", 1).kind.to_string(),
            "can never be unloaded (signal: SIGUSR1): handle the signal in the host, and hand it on through a service"
        );
        raise(rustix::process::Signal::USR1);
        assert_eq!(scene.nasty.build(), Ok(2), "the process lives");
        // The new version installs its own, and may have kept the old one's to call it: nobody can
        // see that.
        assert_eq!(scene.commit(Deed::Signal, 0), 0);
        raise(rustix::process::Signal::USR1);
        scene.until("it arrives", || scene.commit(Deed::Signal, 0) == 1);
        let status = scene.host.shutdown(WITHIN);
        for record in &status.generations {
            assert_eq!(record.residency.to_string(), "resident(signal: SIGUSR1)", "{record:?}");
        }
    });
}

fn raise(signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::getpid(), signal).expect("a signal");
}

#[test]
fn a63_a_shared_library_off_the_list_keeps_what_needs_it() {
    in_child(|| {
        let scene = Scene::of(Fixture::NastySharedCxx);
        scene.nasty.exercise(0).expect("an answer");
        scene.apply(Fixture::NastyV2);
        assert_eq!(
            scene.resident(1),
            ["shared library: libstdc++.so.6"],
            "by policy, and so at once"
        );
        assert_eq!(scene.nasty.build(), Ok(2));
        assert_eq!(
            scene.log.wait("never_unloads", 1).kind.to_string(),
            "can never be unloaded (shared library: libstdc++.so.6): link what it needs of libstdc++.so.6 statically"
        );
        scene.apply(Fixture::NastySharedCxx);
        scene.apply(Fixture::NastyV2);
        scene.log.wait("resident", 3);
        scene.host.shutdown(Duration::from_millis(100));
        assert_eq!(
            scene.log.count("never_unloads"),
            1,
            "its author was told: {}",
            scene.log.text()
        );
    });
}

#[test]
fn a63_a_shared_libstd_is_refused() {
    let rig = Rig::serving(Fixture::V1);
    let refusal = rig.refused(|host| host.apply(Fixture::NastySharedLibstd.path()));
    assert_eq!(refusal.code(), Code::SharedLibstd, "{refusal}");
    rig.end();
}

#[test]
fn a64_thousands_of_threads_end_while_generations_unload() {
    const THREADS: usize = 4;
    const SWAPS: u64 = 100;
    const ENDED_MIN: u64 = 2_000;
    in_child(|| {
        let scene = Scene::with(Fixture::Nasty, |builder| builder.generations_max(16));
        scene.ledger.dawdle();
        let (ended, over) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while over.load(SeqCst) == 0 {
                        let nasty = scene.nasty.clone();
                        // Some are still there when nothing else holds the generation, and must be
                        // waited for.
                        let lingers =
                            Duration::from_micros(ended.fetch_add(1, SeqCst) * 97 % 5_000);
                        let body = move || {
                            nasty.exercise(1).expect("an answer");
                            thread::sleep(lingers);
                        };
                        thread::spawn(body).join().expect("no panic");
                    }
                });
            }
            let mut generation = 1;
            while generation < SWAPS || ended.load(SeqCst) < ENDED_MIN {
                generation += 1;
                let fixture =
                    [Fixture::Nasty, Fixture::NastyV2][usize::from(generation.is_multiple_of(2))];
                assert_eq!(scene.apply(fixture), generation);
                scene.gone(generation - 1);
                scene.log.clear();
            }
            over.store(1, SeqCst);
        });
        println!("{} threads", ended.load(SeqCst));
        scene.end();
    });
}

#[test]
fn a65_the_host_holds_none_of_what_plugins_interpose() {
    let mut interposed = [&SYMBOLS[..], &["midflight_entry", "midflight_place"]].concat();
    interposed.sort();
    if process::has_address_sanitizer() {
        // Its runtime is in the test binary, and interposes some of them for the whole process.
        skip("AddressSanitizer defines some of these in the host");
        return;
    }
    let defined = |file: &Path| {
        let bytes = fs::read(file).expect("a binary");
        let file = object::File::parse(&*bytes).expect("a binary");
        let all =
            file.symbols().chain(file.dynamic_symbols()).filter(|symbol| symbol.is_definition());
        let names = all.filter_map(|symbol| symbol.name().ok().map(str::to_owned));
        let mut found: Vec<_> = names.filter(|name| interposed.contains(&name.as_str())).collect();
        found.sort();
        found.dedup();
        found
    };
    assert_eq!(defined(&std::env::current_exe().expect("this test")), [""; 0]);
    assert_eq!(defined(&Fixture::Nasty.path()), interposed, "a plugin has them all");
}

#[test]
fn a65_the_hosts_own_destructors_run() {
    thread_local! {
        static CALLS_AT_THE_END: RefCell<Option<CallsAtTheEnd>> = const { RefCell::new(None) };
    }
    struct CallsAtTheEnd(Slot<dyn Nasty>, Arc<AtomicU64>);
    impl Drop for CallsAtTheEnd {
        fn drop(&mut self) {
            // What the plugin has on this thread may be destroyed by now: then it panics, and that
            // is a fault as ever.
            let _ = self.0.exercise(1);
            self.0.build().expect("an answer");
            self.1.fetch_add(1, SeqCst);
        }
    }
    in_child(|| {
        let scene = Scene::of(Fixture::Nasty);
        let destroyed = Arc::new(AtomicU64::new(0));
        for thread in 0..20 {
            let (nasty, destroyed) = (scene.nasty.clone(), Arc::clone(&destroyed));
            let body = move || {
                // Before the plugin's own, or after.
                if thread % 2 == 0 {
                    nasty.exercise(1).expect("an answer");
                }
                CALLS_AT_THE_END.set(Some(CallsAtTheEnd(nasty.clone(), destroyed)));
                nasty.exercise(1).expect("an answer");
            };
            thread::spawn(body).join().expect("no panic");
        }
        assert_eq!(destroyed.load(SeqCst), 20);
        scene.replaced();
        scene.end();
    });
}

#[test]
fn a67_a_constructor_is_caught() {
    with_children(
        |hold| {
            let scene = Scene::impatient(Fixture::NastyConstructor);
            // The loader's thread has ended and destroyed its own; the constructor's thread runs.
            scene.until("a value is destroyed", || scene.nasty.constructed() == Ok(1));
            scene.apply(Fixture::NastyV2);
            let reasons = scene.resident(1).join("\n");
            assert!(
                reasons.starts_with("threads: ") && reasons.contains("(nasty-built)"),
                "{reasons}"
            );
            fs::remove_file(hold).expect("the file that it waits for");
            scene.passing_until_gone(1);
            scene.end();
        },
        |test| {
            let home = tempfile::tempdir().expect("a directory");
            let hold = home.path().join("hold");
            fs::write(&hold, "").expect("a file");
            let argument = hold.to_str().expect("a path of text");
            run_child_with(test, argument, |child| child.env("NASTY_HOLD", &hold)).assert_ok();
        },
    );
}

#[test]
fn a68_a_plugin_without_its_runtime_is_refused_before_it_runs() {
    with_children(
        |mark| {
            let rig = Rig::serving(Fixture::V1);
            let refusal = rig.refused(|host| host.apply(Fixture::NastyWithoutHooks.path()));
            assert_eq!(refusal.code(), Code::HookEscaped, "{refusal}");
            assert!(refusal.reason().contains("pthread_create"), "{refusal}");

            let library = rig.path("no-place.so");
            let mut bytes = Fixture::NastyConstructor.unstamped();
            let (name, other) = (b"midflight_place\0", b"midflight_plane\0");
            let places: Vec<_> =
                (0..bytes.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
            places.iter().for_each(|at| bytes[*at..at + name.len()].copy_from_slice(other));
            fs::write(&library, bytes).expect("a changed copy");
            let refusal = rig.refused(|host| host.apply(&library));
            assert_eq!(refusal.code(), Code::EntryMissing, "{refusal}");
            assert_eq!(rig.log.count("loaded"), 1);
            assert!(!Path::new(mark).exists(), "its constructor ran");

            // Where nothing stops it, it runs.
            rig.host.apply(Fixture::NastyConstructor.path()).expect_err("it asks for a ledger");
            assert!(Path::new(mark).exists());
            rig.end();
        },
        |test| {
            let home = tempfile::tempdir().expect("a directory");
            let mark = home.path().join("mark");
            let argument = mark.to_str().expect("a path of text");
            run_child_with(test, argument, |child| child.env("NASTY_MARK", &mark)).assert_ok();
        },
    );
}

#[test]
fn a69_what_was_destroyed_does_not_serve_again() {
    in_child(|| {
        let scene = Scene::impatient(Fixture::Nasty);
        let idles = Puppet::new("nasty-idles");
        scene.commit(Deed::Local, 0);
        idles.commit(&scene, Deed::Local, 0);
        scene.apply(Fixture::NastyV2);
        scene.resident(1);
        assert_eq!(scene.nasty.build(), Ok(2));
        assert_eq!(scene.ledger.destroyed(), 1, "on this thread std calls it destroyed for good");

        let applied = scene.host.rollback("nasty").expect("a rollback");
        assert_eq!((applied.version.as_str(), applied.generation), ("1.0.0", 3));
        assert_eq!(scene.nasty.build(), Ok(1));
        assert_eq!(scene.commit(Deed::Local, 0), 1, "a new copy has new thread-locals");
        assert_ne!(scene.mapped(1), [""; 0], "another thread's value keeps the first");
        assert_eq!(idles.commit(&scene, Deed::Local, 0), 1);
        scene.gone(1);
        idles.end();
        // This thread's value is of the version that serves: it is destroyed while this thread
        // waits for the host's end.
        assert_eq!(scene.ledger.open(), 1);
        scene.end();
    });
}

#[test]
fn a_destructor_is_not_interrupted_by_another_of_its_threads() {
    in_child(|| {
        let scene = Scene::impatient(Fixture::Nasty);
        let (passes, ends) = (Puppet::new("passes"), Puppet::new("ends"));
        for puppet in [&passes, &ends] {
            puppet.commit(&scene, Deed::BorrowingDestructor, 0);
        }
        scene.apply(Fixture::NastyV2);
        scene.resident(1);
        // It has been asked to attend, and its destructors pass the gate while it ends.
        ends.end();
        let nasty = scene.nasty.clone();
        passes.run(move || nasty.build()).expect("an answer");
        assert_eq!(scene.ledger.interrupted(), 0);
        assert_eq!(scene.ledger.destroyed(), 2);
        scene.gone(1);
        passes.end();
        scene.end();
    });
}

#[test]
fn destructors_that_leave_more_behind() {
    in_child(|| {
        let scene = Scene::impatient(Fixture::Nasty);
        // A thread for each: what one has destroyed, another could not touch.
        let deeds = [Deed::LateLocal, Deed::LateThread, Deed::Key];
        let each = |name: &'static str| {
            deeds.map(|deed| {
                let puppet = Puppet::new(name);
                assert_eq!(puppet.commit(&scene, deed, 1), 1);
                puppet
            })
        };
        let (pass, end) = (each("passes"), each("ends"));
        let takes_back = Puppet::new("takes-back");
        takes_back.commit(&scene, Deed::KeyTakenBack, 0);
        assert_eq!(scene.ledger.destroyed(), 1, "by itself");
        scene.apply(Fixture::NastyV2);
        scene.resident(1);
        takes_back.end();
        assert_eq!(scene.ledger.destroyed(), 1, "a key without a value has nothing to destroy");
        end.into_iter().for_each(Puppet::end);
        for puppet in &pass {
            let nasty = scene.nasty.clone();
            puppet.run(move || nasty.build()).expect("an answer");
        }
        let late = "two threads that were started by destructors";
        let is_late = |reason: &String| reason.matches("(nasty-late)").count() == 2;
        scene.until(late, || match scene.residency(1) {
            Residency::Resident(reasons) => reasons.iter().any(is_late),
            other => panic!("{other}"),
        });
        scene.ledger.let_go(1);
        scene.gone(1);
        pass.into_iter().for_each(Puppet::end);
        scene.end();
    });
}

/// glibc takes the values of a thread that ends away in the order of their keys' numbers, and gives
/// the lowest free number out: here one below that of the host's own key.
#[test]
#[allow(unsafe_code, reason = "keys of the program's, which Rust has no names for")]
fn a_keys_destructor_finds_what_is_under_another_key() {
    in_child(|| {
        let low = [(); 4].map(|()| {
            let mut key = 0;
            // SAFETY: a place to write to.
            assert_eq!(unsafe { libc::pthread_key_create(&mut key, None) }, 0);
            key
        });
        let scene = Scene::impatient(Fixture::Nasty);
        let (first, ends) = (Puppet::new("first"), Puppet::new("ends"));
        first.commit(&scene, Deed::Local, 0);
        first.end();
        assert_eq!(scene.ledger.open(), 0);
        for key in low {
            // SAFETY: made above, and of no use to anybody.
            assert_eq!(unsafe { libc::pthread_key_delete(key) }, 0);
        }
        ends.commit(&scene, Deed::KeyBesideKey, 0);
        assert_eq!(scene.ledger.open(), 1);
        ends.end();
        assert_eq!(scene.ledger.open(), 0, "it was found");
        scene.end();
    });
}

#[test]
fn a_keys_number_is_used_again() {
    const MAKE: u64 = 0;
    const DELETE: u64 = 1;
    const PUT: u64 = 2;
    const COUNT: u64 = 3;
    const FREE: u64 = 4;
    in_child(|| {
        let scene = Scene::impatient(Fixture::Nasty);
        let (has, had) = (Puppet::new("nasty-has"), Puppet::new("nasty-had"));
        let key = scene.commit(Deed::KeyAgain, MAKE);
        for puppet in [&has, &had] {
            puppet.commit(&scene, Deed::KeyAgain, PUT);
            assert_eq!(puppet.commit(&scene, Deed::KeyAgain, COUNT), 1);
        }
        // The number is another key's, of the same generation: values under the first are nobody's.
        scene.commit(Deed::KeyAgain, DELETE);
        assert_eq!(scene.commit(Deed::KeyAgain, MAKE), key, "the lowest that is free");
        assert_eq!(has.commit(&scene, Deed::KeyAgain, COUNT), 0);
        had.commit(&scene, Deed::KeyAgain, FREE);
        assert_eq!(scene.ledger.destroyed(), 1, "by itself");
        had.end();
        assert_eq!(scene.ledger.destroyed(), 1, "its thread's end had nothing to destroy");

        // And then another generation's.
        has.commit(&scene, Deed::KeyAgain, FREE);
        has.commit(&scene, Deed::KeyAgain, PUT);
        scene.commit(Deed::KeyAgain, DELETE);
        scene.apply(Fixture::NastyV2);
        scene.resident(1);
        assert_eq!(scene.commit(Deed::KeyAgain, MAKE), key, "the lowest that is free");
        let nasty = scene.nasty.clone();
        // One call: before it the thread has paid what it owes to the first generation, and then it
        // has a value of the second's.
        assert_eq!(has.commit(&scene, Deed::KeyAgain, PUT), 1);
        scene.gone(1);
        assert_eq!(
            has.run(move || nasty.commit(Deed::KeyAgain, COUNT)),
            Ok(1),
            "it is still there"
        );
        assert_eq!(
            scene.ledger.open(),
            2,
            "what the first generation left under a key that it deleted, and this"
        );
        has.end();
        assert_eq!(scene.ledger.open(), 1);
        assert_eq!(scene.ledger.foreign(), 0);
        scene.rig.end();
    });
}

#[test]
fn a_start_that_fails_leaves_destructors_that_call_the_host() {
    in_child(|| {
        let scene = Scene::of(Fixture::Nasty);
        scene.ledger.ask(&scene.host);
        for failed in 1..=20 {
            let refusal = scene.host.configure("nasty", "fails = true").expect_err("it fails");
            assert_eq!(refusal.code(), Code::StartFailed, "{refusal}");
            assert_eq!(
                scene.ledger.called_back(),
                failed,
                "its destructor got answers before it was unmapped"
            );
            assert_eq!(scene.mapped(1 + failed), [""; 0]);
            assert_eq!(scene.nasty.build(), Ok(1));
        }
        assert_eq!(scene.ledger.foreign(), 0);
        scene.end();
    });
}

#[test]
fn what_a_generation_never_freed_is_reported() {
    in_child(|| {
        let scene = Scene::of(Fixture::Nasty);
        scene.apply(Fixture::V1);
        let of = |scene: &Scene, generation: usize| {
            scene.host.status().generations[generation - 1].memory
        };
        assert_eq!(of(&scene, 2), None, "`probe` counts nothing");
        scene.replaced(); // generation 3
        let plain = scene.left_behind(1);

        assert_eq!(scene.commit(Deed::Leak, 3), 3);
        scene.apply(Fixture::Nasty); // 4
        let leaked = scene.left_behind(3) - plain;
        assert!((3 * 65_536..3 * 65_536 + 4_096).contains(&leaked), "{leaked}");
        let memory = of(&scene, 3).expect("it counts");
        assert_eq!(memory.current, leaked + plain, "the status says the same");
        let event = scene.log.wait("unmapped", 3).kind.to_string();
        assert_eq!(event, format!("unmapped, with {} bytes that it never freed", memory.current));
        println!("a plain generation leaves {plain} bytes");
        scene.end();
    });
}

#[test]
fn what_a_generation_never_freed_is_given_back() {
    const SWAPS: u64 = 60;
    const BOXES: u64 = 16; // 1 MiB
    with_children(
        |_| {
            let scene = Scene::of(Fixture::Nasty);
            let swap = |generation: u64| {
                assert_eq!(scene.commit(Deed::Leak, BOXES), BOXES);
                assert_eq!(scene.commit(Deed::ExitHandler, 0), 1);
                let fixture =
                    [Fixture::Nasty, Fixture::NastyV2][usize::from(generation.is_multiple_of(2))];
                assert_eq!(scene.apply(fixture), generation);
                scene.passing_until_gone(generation - 1);
                assert!(scene.left_behind(generation - 1) > 1 << 20, "it is reported all the same");
                assert_eq!(
                    scene.ledger.open(),
                    0,
                    "its exit handler has run, and found what it had kept"
                );
                scene.log.clear();
            };
            (2..10).for_each(swap);
            let before = process::resident_kib();
            (10..SWAPS).for_each(swap);
            let after = process::resident_kib();
            println!("{before} KiB before, {after} KiB after {SWAPS} MiB were leaked");
            // AddressSanitizer keeps what was freed for a while.
            if !process::has_address_sanitizer() {
                assert!(after < before + 8 * 1024, "{before} {after}");
            }
            scene.end();
        },
        |test| {
            // Blocks as small as these come from the heap whatever was freed before.
            let tunables = "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=1048576";
            run_child_with(test, "", |child| child.env("GLIBC_TUNABLES", tunables)).assert_ok();
        },
    );
}

/// Crates that are known to break unloading, each with what becomes of a plugin that uses it.
const CRATES: [(Deed, u64, u64, Result<(), &str>); 9] = [
    (Deed::Rayon, 0, 499_500, Err("threads: ")),
    (Deed::Tokio, 0, 28, Err("(nasty-tokio)")),
    (Deed::Tokio, 1, 28, Ok(())),
    (Deed::Sqlite, 0, 42, Ok(())),
    (Deed::Regex, 0, 42, Ok(())),
    (Deed::Rand, 0, 1, Ok(())),
    (Deed::ParkingLot, 0, 60, Ok(())),
    (Deed::CrossbeamEpoch, 0, 100, Ok(())),
    (Deed::SignalHook, 0, 1, Err("signal: SIGUSR2")),
];

#[test]
fn crates_that_are_known_to_break_unloading() {
    with_children(
        |which| {
            let (deed, number, answer, end) = CRATES[which.parse::<usize>().expect("a number")];
            let scene =
                if end.is_ok() { Scene::of } else { Scene::impatient }(Fixture::NastyCrates);
            let puppet = Puppet::new("puppet");
            assert_eq!(puppet.commit(&scene, deed, number), answer);
            match end {
                Ok(()) => {
                    scene.apply(Fixture::NastyV2);
                    puppet.end();
                    scene.gone(1);
                    scene.end();
                }
                Err(reason) => {
                    scene.apply(Fixture::NastyV2);
                    puppet.end();
                    scene.until(reason, || match scene.residency(1) {
                        Residency::Resident(reasons) => {
                            reasons.iter().any(|one| one.contains(reason))
                        }
                        Residency::Unmapped => panic!("unmapped\n{}", scene.log.text()),
                        _ => false,
                    });
                    if deed == Deed::SignalHook {
                        raise(rustix::process::Signal::USR2);
                    }
                    assert_ne!(scene.mapped(1), [""; 0]);
                    assert_eq!(scene.nasty.build(), Ok(2));
                    scene.host.shutdown(Duration::from_millis(100));
                    // And the process ends with all of that in it.
                }
            }
        },
        |test| {
            let run = |which: usize| (which, run_child(test, &which.to_string()));
            for (which, exit) in (0..CRATES.len()).map(run) {
                println!("{:?}", CRATES[which]);
                exit.assert_ok();
            }
        },
    );
}
