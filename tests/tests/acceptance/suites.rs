//! What the suites of other projects try: odd builds, odd circumstances, odd habits of plugins.

#![allow(unsafe_code, reason = "circumstances of a process, and what C calls at its end")]

use midflight::{Code, Host, Residency, Slot};
use midflight_tests::{
    Fixture, Rig, WITHIN, check_answers, in_child, process, run_child, run_child_with,
    with_children,
};
use reaching_contracts::Reaching;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A host with the plugin `reaching`.
struct Scene {
    host: Host,
    reaching: Slot<dyn Reaching>,
    home: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let home = tempfile::tempdir().expect("a directory");
        let builder = Host::builder().run_directory(home.path().join("images"));
        let host = builder.contract::<dyn Reaching>().start().expect("a host");
        let reaching = host.slot::<dyn Reaching>("reaching").expect("a slot");
        let scene = Scene { host, reaching, home };
        scene.apply(Fixture::Reaching);
        scene
    }

    #[track_caller]
    fn apply(&self, fixture: Fixture) {
        self.host
            .apply(fixture.path())
            .unwrap_or_else(|refusal| panic!("{fixture:?} is {refusal}"));
    }

    #[track_caller]
    fn reach(&self, how: &str, number: u64) -> i64 {
        self.reaching.reach(how, number).expect("an answer")
    }

    /// What becomes of a generation that has drained.
    #[track_caller]
    fn end_of(&self, generation: u64) -> Residency {
        let began = Instant::now();
        loop {
            let status = self.host.status();
            let found = status.generations.iter().find(|it| it.generation == generation);
            match found.map(|it| it.residency.clone()) {
                Some(end @ (Residency::Unmapped | Residency::Resident(_))) => return end,
                other => assert!(began.elapsed() < WITHIN, "{other:?}"),
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The path of the image that is mapped.
    fn image(&self) -> String {
        let home = self.home.path().display().to_string();
        let of_it = |line: String| Some(line[line.find(&home)?..].to_owned());
        process::mappings().into_iter().find_map(of_it).expect("an image")
    }
}

#[test]
fn n04_statics_of_the_contracts_crate_are_each_binarys_own() {
    in_child(|| {
        let scene = Scene::new();
        assert_eq!([1, 2].map(|_| scene.reach("count", 0)), [1_001, 2_002]);
        assert_eq!(reaching_contracts::count(), 1_001, "the host has its own");
        scene.apply(Fixture::ReachingV2);
        assert_eq!(scene.reach("count", 0), 1_001, "and so has the next version");
        assert_eq!(scene.end_of(1), Residency::Unmapped);
    });
}

#[test]
fn n06_libraries_that_are_linked_in_other_ways() {
    let rig = Rig::serving(Fixture::V1);
    for (fixture, generation) in [(Fixture::LinkedOld, 2), (Fixture::LinkedNew, 3)] {
        rig.apply(fixture);
        check_answers(&rig.probe, 2);
        rig.probe.panic(0, probe_contracts::Panic::Formatted).expect_err("a panic");
        rig.log.wait("unmapped", generation - 1);
    }
    rig.host.rollback("probe").expect("the other one");
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn n07_what_is_removed_or_not_named_serves_on() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    fs::remove_file(rig.plugins().join("probe.so")).expect("removed");
    rig.host.look();
    rig.apply(Fixture::Other);
    let file = rig.path("release.toml");
    let other = Fixture::OtherV2.path();
    let text = format!("[[plugin]]\nname = \"other\"\nversion = \"2.0.0\"\nfile = {other:?}\n");
    fs::write(&file, text).expect("a release file");
    rig.host.apply_release(&file).expect("a release of the other alone");
    check_answers(&rig.probe, 1);
    assert_eq!(rig.residency(1), Residency::Active);
    rig.install(Fixture::V2, "probe.so");
    let active = |event: &midflight::Event| {
        event.kind.name() == "active" && (&*event.plugin, &*event.version) == ("probe", "2.0.0")
    };
    rig.log.wait_for("the file that comes again", active);
    check_answers(&rig.probe, 2);
    rig.end();
}

/// By the names that C has for them, which the inspection's table calls `hooked`: they belong to
/// the library that asks, and go with it.
#[test]
fn n10_handlers_for_forks_and_a_quick_exit_go_with_their_library() {
    with_children(
        |updates| {
            let scene = Scene::new();
            let (reads, writes) = std::io::pipe().expect("a pipe");
            let writes = u64::try_from(writes.into_raw_fd()).expect("a file");
            assert_eq!(scene.reach("named handlers", writes), 0);
            fork_and_wait();
            if updates == "updates" {
                scene.apply(Fixture::ReachingV2);
                assert_eq!(scene.end_of(1), Residency::Unmapped);
                fork_and_wait();
            }
            // SAFETY: a child that ends as the process would, and writes to the pipe at most.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: the end of a process.
                unsafe { quick_exit(0) };
            }
            assert_eq!(status_of(child), 0);
            // SAFETY: the test's own, which nobody uses any more.
            unsafe { libc::close(i32::try_from(writes).expect("a file")) };
            let mut said: Vec<char> =
                std::io::read_to_string(reads).expect("letters").chars().collect();
            said.sort_unstable();
            let said: String = said.into_iter().collect();
            // One fork before the update; and without one, another one whose child exits.
            let expected = if updates == "updates" { "bcp" } else { "bbccppq" };
            assert_eq!(said, expected);
        },
        |test| ["updates", "stays"].iter().for_each(|how| run_child(test, how).assert_ok()),
    );
}

unsafe extern "C" {
    fn quick_exit(status: libc::c_int) -> !;
}

fn fork_and_wait() {
    // SAFETY: a child that does nothing; the handlers for it run before and after.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the end of a process.
        unsafe { libc::_exit(0) };
    }
    assert_eq!(status_of(child), 0);
}

fn status_of(child: libc::pid_t) -> libc::c_int {
    let mut status = 0;
    // SAFETY: waits for its own child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

#[test]
fn n11_a_plugin_that_opens_itself_stays_and_one_that_opens_another_goes() {
    in_child(|| {
        let scene = Scene::new();
        // SAFETY: no other thread reads variables.
        unsafe { std::env::set_var("REACHING_OPENS", Fixture::NoPlugin.path()) };
        assert_eq!(scene.reach("open", 2), 2);
        scene.apply(Fixture::ReachingV2);
        assert_eq!(scene.end_of(1), Residency::Unmapped, "what it has opened stays by itself");
        // SAFETY: as above.
        unsafe { std::env::set_var("REACHING_OPENS", scene.image()) };
        assert_eq!(scene.reach("open", 1), 1);
        scene.apply(Fixture::Reaching);
        let Residency::Resident(reasons) = scene.end_of(2) else { panic!("it is mapped still") };
        assert!(reasons[0].contains("kept by the loader"), "{reasons:?}");
        assert_eq!(scene.reaching.build(), Ok(1));
    });
}

#[test]
fn n13_thread_locals_that_begin_with_a_page_on_threads_of_all_ages() {
    in_child(|| {
        const UPDATES: i64 = 10;
        let scene = Scene::new();
        let (ask, asked) = std::sync::mpsc::sync_channel::<()>(0);
        let (answer, answers) = std::sync::mpsc::sync_channel(0);
        let older = scene.reaching.clone();
        let older = thread::spawn(move || {
            for () in asked {
                answer.send(older.reach("aligned", 0)).expect("who asks");
            }
        });
        for number in 1..=UPDATES {
            ask.send(()).expect("an older thread");
            assert_eq!(answers.recv().expect("an answer"), Ok(1), "in version {number}");
            let new = scene.reaching.clone();
            let new = thread::spawn(move || [1, 2].map(|_| new.reach("aligned", 0)));
            assert_eq!(new.join().expect("no panic"), [Ok(1), Ok(2)]);
            let odd = number % 2 == 1;
            scene.apply(if odd { Fixture::ReachingV2 } else { Fixture::Reaching });
        }
        drop(ask);
        older.join().expect("no panic");
        for generation in 1..=UPDATES {
            let generation = u64::try_from(generation).expect("a number");
            assert_eq!(scene.end_of(generation), Residency::Unmapped);
        }
    });
}

#[test]
fn n17_processes_that_may_not_make_code_or_lie_elsewhere_in_memory() {
    with_children(
        |circumstance| {
            if circumstance == "no new code" {
                const PR_SET_MDWE: libc::c_int = 65;
                // SAFETY: from here on nothing that was writable becomes executable.
                if unsafe { libc::prctl(PR_SET_MDWE, 1, 0, 0, 0) } != 0 {
                    return; // the kernel does not know it
                }
            }
            let rig = Rig::serving(Fixture::V1);
            rig.apply(Fixture::V2);
            rig.log.wait("unmapped", 1);
            check_answers(&rig.probe, 2);
            rig.host.rollback("probe").expect("1.0.0");
            check_answers(&rig.probe, 1);
            rig.end();
        },
        |test| {
            run_child(test, "no new code").assert_ok();
            let fixed = || {
                // SAFETY: of this process alone, and of what it starts.
                match unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as _) } {
                    -1 => Err(std::io::Error::last_os_error()),
                    _ => Ok(()),
                }
            };
            let unlimited = || {
                let no = libc::RLIM_INFINITY;
                let limit = libc::rlimit { rlim_cur: no, rlim_max: no };
                // SAFETY: of this process alone; where it may not, it is as before.
                unsafe { libc::setrlimit(libc::RLIMIT_STACK, &limit) };
                Ok(())
            };
            // SAFETY: they call the system alone.
            let places = run_child_with(test, "fixed places", |it| unsafe { it.pre_exec(fixed) });
            places.assert_ok();
            // SAFETY: as above.
            let stack =
                run_child_with(test, "a stack without end", |it| unsafe { it.pre_exec(unlimited) });
            stack.assert_ok();
        },
    );
}

#[test]
fn n22_what_a_killed_host_leaves_is_removed_at_the_next_start() {
    with_children(
        |home| {
            let rig = Rig::with(|builder| builder.run_directory(Path::new(home).join("images")));
            rig.apply(Fixture::V1);
            // SAFETY: of this process, at once.
            unsafe { libc::raise(libc::SIGKILL) };
        },
        |test| {
            let home = tempfile::tempdir().expect("a directory");
            let start = || Rig::with(|builder| builder.run_directory(home.path().join("images")));
            let left = || {
                let run = fs::read_dir(home.path().join("images/run")).expect("run directories");
                run.count()
            };
            let lives = start();
            lives.apply(Fixture::V1);
            assert_eq!(left(), 1);
            let child = run_child(test, &home.path().display().to_string());
            assert_eq!(child.signal(), Some(libc::SIGKILL), "{}", child.output);
            assert_eq!(left(), 2);
            let next = start();
            assert_eq!(left(), 2, "that of the living, and its own");
            next.apply(Fixture::V2);
            lives.apply(Fixture::V2);
            next.end();
            lives.end();
            assert_eq!(left(), 0);
        },
    );
}

/// How much more address space there may be than is used when an update comes, in KiB. With some
/// more an update may begin, and then a thread's first allocation takes what is left, and std ends
/// the process for want of a stack for signals: nobody can keep that from any thread.
const STEPS: [u64; 6] = [0, 64, 512, 2_048, 8_192, 16_000];

#[test]
fn n27_an_update_without_address_space_is_refused_at_every_step() {
    with_children(
        |preflight| {
            let rig = Rig::with(|builder| builder.preflight(preflight == "preflight"));
            rig.apply(Fixture::V1);
            rig.log.wait("prepared", 1);
            let before = getrlimit(Resource::As);
            let limit = |limit| setrlimit(Resource::As, limit).expect("a limit");
            for step in STEPS {
                let current = Some((process::address_space_kib() + step) * 1024);
                limit(Rlimit { current, maximum: before.maximum });
                let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
                limit(before);
                // Not even the file could be read, or nothing begins.
                let may = [Code::FileUnreadable, Code::ThreadUnavailable];
                assert!(may.contains(&refusal.code()), "{step} KiB: {refusal}");
                assert_eq!(rig.host.status().generations.len(), 1, "nothing is left of it");
            }
            rig.apply(Fixture::V2);
            rig.log.wait("unmapped", 1);
            check_answers(&rig.probe, 2);
            rig.end();
        },
        |test| ["preflight", "none"].iter().for_each(|how| run_child(test, how).assert_ok()),
    );
}
