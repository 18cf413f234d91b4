//! Resources: what the machine lacks for a while is no version's fault, and what others do to the
//! directories of a host it lives through.
#![allow(unsafe_code, reason = "limits and users are those of the whole process")]

use midflight::{Code, Host, HostBuilder, Publish, Residency, Stage};
use midflight_tests::{
    Fixture, Rig, WITHIN, check_answers, in_child, process, run_child_with, with_children,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

#[track_caller]
fn until(what: &str, rig: &Rig, is: impl Fn() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !is() {
        assert!(Instant::now() < deadline, "not within {WITHIN:?}: {what}\n{}", rig.log.text());
        thread::yield_now();
    }
}

/// What the status says keeps a generation, while it is neither stalled nor resident.
#[track_caller]
fn held_by(rig: &Rig, generation: u64, expected: &str) {
    let held = || {
        let status = rig.host.status();
        let record = status.generations.iter().find(|it| it.generation == generation);
        record.map(|it| (it.residency.clone(), it.held_by.to_string()))
    };
    until(&format!("held by {expected}"), rig, || {
        held().is_some_and(|(residency, by)| {
            assert_eq!(residency, Residency::Retiring, "{by}");
            by.contains(expected)
        })
    });
}

/// While it lives, this process can start no thread: there is no room for a stack, and the ones
/// that the C library keeps are taken.
struct NoThreads {
    before: Rlimit,
    over: Arc<AtomicBool>,
    parked: Vec<JoinHandle<()>>,
}

impl NoThreads {
    fn begin() -> NoThreads {
        let before = getrlimit(Resource::As);
        let statm = fs::read_to_string("/proc/self/statm").expect("its size");
        let pages: u64 = statm.split(' ').next().expect("a number").parse().expect("a number");
        // Half of a stack, for what is allocated meanwhile.
        let bytes = pages * rustix::param::page_size() as u64 + (1 << 20);
        setrlimit(Resource::As, Rlimit { current: Some(bytes), ..before }).expect("a limit");
        let over = Arc::new(AtomicBool::new(false));
        let mut parked = Vec::new();
        loop {
            let told = Arc::clone(&over);
            let park = move || {
                while !told.load(SeqCst) {
                    thread::park();
                }
            };
            match thread::Builder::new().spawn(park) {
                Ok(thread) => parked.push(thread),
                Err(_) => return NoThreads { before, over, parked },
            }
        }
    }
}

impl Drop for NoThreads {
    fn drop(&mut self) {
        setrlimit(Resource::As, self.before).expect("the limit of before");
        self.over.store(true, SeqCst);
        for thread in self.parked.drain(..) {
            thread.thread().unpark();
            thread.join().expect("no panic");
        }
    }
}

/// A host whose prepared versions wait for the test.
fn manual(builder: HostBuilder) -> HostBuilder {
    builder.publish(Publish::Manual)
}

/// Applies `fixture`, whose `after_switch` has a thread when `meanwhile` has returned.
fn switch(rig: &Rig, fixture: Fixture, generation: u64, meanwhile: impl FnOnce()) {
    thread::scope(|scope| {
        let applied = scope.spawn(|| rig.host.apply(fixture.path()));
        rig.log.wait("prepared", generation);
        let none = NoThreads::begin();
        assert_eq!(rig.host.switch_point().expect("a switch point"), 1);
        meanwhile();
        drop(none);
        let applied = applied.join().expect("no panic").expect("no version is blamed");
        assert_eq!(applied.generation, generation);
    });
}

#[test]
fn r04_hooks_wait_for_a_thread_and_no_version_is_blamed() {
    in_child(|| {
        if process::has_address_sanitizer() {
            return; // its memory is of no limit
        }
        let rig = Rig::with(manual);
        for (generation, fixture) in [(1, Fixture::V1), (2, Fixture::V2)] {
            let before = rig.log.count("threads_wanting");
            switch(&rig, fixture, generation, || {
                until("a thread is wanting", &rig, || rig.log.count("threads_wanting") > before);
                assert_eq!(rig.probe.generation(), Ok(generation), "it serves");
                assert_eq!(rig.desk.hooks().len(), 2 * generation as usize - 1, "not yet");
            });
        }
        rig.log.wait("unmapped", 1);
        assert_eq!(rig.log.count("returned"), 0, "{}", rig.log.text());
        assert!(rig.host.status().plugins[0].held.is_empty(), "{:?}", rig.host.status());
        rig.end();
    });
}

#[test]
fn r04_a_generation_that_ends_waits_for_a_thread() {
    in_child(|| {
        if process::has_address_sanitizer() {
            return; // its memory is of no limit
        }
        let rig = Rig::new();
        let mut serves = rig.apply(Fixture::V1);
        // As often as there is room in memory, and once more.
        for fixture in [Fixture::V2, Fixture::V1, Fixture::V2, Fixture::V1] {
            let lease = rig.group.lease().expect("a lease");
            let left = std::mem::replace(&mut serves, rig.apply(fixture));
            until("it was told", &rig, || rig.desk.told().contains(&left));
            held_by(&rig, left, "a lease");
            let none = NoThreads::begin();
            drop(lease);
            held_by(&rig, left, "stop waits: can't start a thread: ");
            let refused = rig.refused(|host| host.apply(Fixture::V3.path()));
            assert_eq!(refused.code(), Code::ThreadUnavailable, "{refused}");
            drop(none);
            rig.log.wait("unmapped", left);
        }
        assert_eq!(rig.log.count("resident"), 0, "{}", rig.log.text());
        rig.end();
    });
}

#[test]
fn r04_health_is_asked_when_there_is_a_thread() {
    in_child(|| {
        if process::has_address_sanitizer() {
            return; // its memory is of no limit
        }
        let rig =
            Rig::with(|builder| builder.probation(LONG).check_interval(Duration::from_millis(1)));
        rig.apply(Fixture::V1);
        rig.apply(Fixture::V2);
        let none = NoThreads::begin();
        let wanting = || rig.log.count("threads_wanting") > 0;
        until("a thread is wanting", &rig, wanting);
        drop(none);
        rig.desk.until_asked_again(3);
        check_answers(&rig.probe, 2);
        assert_eq!(rig.log.count("returned"), 0, "{}", rig.log.text());
        rig.end();
    });
}

#[test]
fn r02_a_temporary_directory_that_is_cleaned_stops_no_update() {
    let rig = Rig::serving(Fixture::V1);
    rig.apply(Fixture::V2);
    rig.remove_run_directory();
    // Without a journal there is nothing left to go back to.
    let refused = rig.refused(|host| host.rollback("probe"));
    assert_eq!((refused.code(), refused.stage()), (Code::ImageLost, Stage::Image), "{refused}");
    assert!(refused.reason().contains(" is not in ") || refused.reason().contains("No such file"));
    rig.apply(Fixture::V3);
    check_answers(&rig.probe, 3);
    rig.remove_run_directory();
    rig.apply(Fixture::V2);
    rig.host.rollback("probe").expect_err("its image was removed as well");
    rig.apply(Fixture::V3);
    rig.host.rollback("probe").expect("this one is there");
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn r02_a_rollback_and_a_configuration_are_loaded_from_the_journals_store() {
    let journal = tempfile::tempdir().expect("a directory");
    let rig = Rig::with(|builder| builder.journal(journal.path()));
    rig.apply(Fixture::V1);
    rig.apply(Fixture::V2);
    // Those who clean may take some files, or all.
    let images = fs::read_dir(rig.path("images/run")).expect("run directories");
    let own = images.flatten().next().expect("one").path();
    for image in fs::read_dir(&own).expect("images").flatten() {
        fs::remove_file(image.path()).expect("an image to remove");
    }
    rig.host.configure("probe", "factor = 3").expect("from the store");
    rig.remove_run_directory();
    rig.host.rollback("probe").expect("from the store");
    check_answers(&rig.probe, 2);
    rig.apply(Fixture::V3);
    rig.remove_run_directory();
    rig.host.rollback("probe").expect("from the store");
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn r14_the_status_says_at_once_that_a_stop_runs() {
    let rig = Rig::with(|builder| builder.stop_deadline(LONG).drain_deadline(LONG));
    rig.apply(Fixture::V1);
    rig.desk.hang_stop(1);
    let lease = rig.group.lease().expect("a lease");
    rig.apply(Fixture::V2);
    held_by(&rig, 1, "a lease taken at ");
    drop(lease);
    held_by(&rig, 1, "stop still running");
    rig.desk.unhang_stop(1);
    rig.log.wait("unmapped", 1);
    rig.end();
}

#[test]
fn r11_an_update_is_refused_before_there_is_no_room_for_mappings() {
    in_child(|| {
        let max = fs::read_to_string("/proc/sys/vm/max_map_count").expect("the limit");
        let max: usize = max.trim().parse().expect("a number");
        let rig = Rig::serving(Fixture::V1);
        let left = max - process::mappings().len() - 100;
        let pages = left + left % 2;
        let page = rustix::param::page_size();
        // SAFETY: new memory, of which every other page gets another protection: each page is a
        // mapping then.
        let memory = unsafe {
            let (none, private) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let memory = libc::mmap(std::ptr::null_mut(), pages * page, none, private, -1, 0);
            assert_ne!(memory, libc::MAP_FAILED);
            for at in (0..pages).step_by(2) {
                let protected = libc::mprotect(memory.byte_add(at * page), page, libc::PROT_READ);
                assert_eq!(protected, 0);
            }
            memory
        };
        for _ in 0..3 {
            let refused = rig.refused(|host| host.apply(Fixture::V2.path()));
            assert_eq!(refused.code(), Code::TooManyMappings, "{refused}");
            let said = format!("mappings, and vm.max_map_count is {max}");
            assert!(refused.reason().contains(&said), "{refused}");
        }
        // SAFETY: nobody uses it.
        assert_eq!(unsafe { libc::munmap(memory, pages * page) }, 0);
        rig.apply(Fixture::V2);
        rig.end();
    });
}

/// What a root service does that binds a port and becomes somebody else.
fn drop_privileges() {
    // SAFETY: of the C library, which sees to all threads.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(65534, 65534, 65534), 0);
        assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
    }
}

#[test]
fn r12_a_service_that_drops_its_privileges_is_updated() {
    with_children(
        |case| {
            if !rustix::process::geteuid().is_root() {
                return; // it has none to drop
            }
            let rig = Rig::serving(Fixture::V1);
            // Read before, as the files of this test are root's.
            let [v2, v3] = [Fixture::V2, Fixture::V3].map(|fixture| fixture.bytes());
            let home = std::env::temp_dir();
            let open = tempfile::tempdir().expect("a directory");
            fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
            let [v2, v3] = [("v2.so", v2), ("v3.so", v3)].map(|(name, bytes)| {
                let path = open.path().join(name);
                fs::write(&path, bytes).expect("a copy");
                path
            });
            drop_privileges();
            if case == "nowhere" {
                let refused = rig.refused(|host| host.apply(&v2));
                assert_eq!(refused.code(), Code::ImageUnwritable, "{refused}");
                let images = rig.path("images").display().to_string();
                let said =
                    format!("give user 65534 a directory of its own (chown -R 65534 {images})");
                assert!(refused.reason().contains(&said), "{refused}");
            } else {
                rig.host.apply(&v2).unwrap_or_else(|refusal| panic!("{refusal}"));
                check_answers(&rig.probe, 2);
                assert!(home.join("midflight-65534").is_dir(), "where it goes by default");
                let refused = rig.refused(|host| host.rollback("probe"));
                assert_eq!(refused.code(), Code::ImageLost, "{refused}");
                rig.host.apply(&v3).unwrap_or_else(|refusal| panic!("{refusal}"));
                rig.host.rollback("probe").unwrap_or_else(|refusal| panic!("{refusal}"));
                check_answers(&rig.probe, 2);
            }
            rig.end();
            // The directories are root's.
            std::mem::forget(open);
        },
        |test| {
            let home = tempfile::tempdir().expect("a directory");
            let mode = |mode| fs::set_permissions(home.path(), fs::Permissions::from_mode(mode));
            for (case, open) in [("temporary", 0o1777), ("nowhere", 0o755)] {
                mode(open).expect("a mode");
                let _ = fs::remove_dir_all(home.path().join("midflight-65534"));
                let child = run_child_with(test, case, |child| {
                    child.env("TMPDIR", home.path()).env_remove("XDG_RUNTIME_DIR")
                });
                child.assert_ok();
            }
        },
    );
}

#[test]
fn r12_a_journal_that_a_service_may_not_write_any_more_says_whose_it_is() {
    in_child(|| {
        if !rustix::process::geteuid().is_root() {
            return; // it has no privileges to drop
        }
        let home = tempfile::tempdir().expect("a directory");
        let journal = home.path().join("journal");
        let rig = Rig::with(|builder| builder.journal(&journal));
        rig.apply(Fixture::V1);
        let v2 = Path::new("/dev/shm").join(format!("midflight-r12-{}.so", std::process::id()));
        fs::copy(Fixture::V2.path(), &v2).expect("a copy");
        fs::set_permissions(&v2, fs::Permissions::from_mode(0o644)).expect("a mode");
        let file = fs::File::open(&v2).expect("the copy");
        fs::remove_file(&v2).expect("its name");
        drop_privileges();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let refused = rig.refused(|host: &Host| host.apply(&path));
        assert_eq!(refused.code(), Code::JournalUnavailable, "{refused}");
        assert!(refused.reason().contains("chown -R 65534 "), "{refused}");
        std::mem::forget(home);
    });
}
