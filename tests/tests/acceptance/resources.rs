//! Resources: what the machine lacks for a while is no version's fault, and what others do to the
//! directories of a host it lives through.
#![allow(unsafe_code, reason = "limits and users are those of the whole process")]

use midflight::{Code, Host, HostBuilder, HostError, Publish, Residency, Stage};
use midflight_tests::{
    Apart, Fixture, Rig, WITHIN, check_answers, in_child, is_root_to, process, run_child_apart,
    run_child_with, with_children,
};
use probe_contracts::Probe;
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

/// As two containers that share a directory for images: the number in the name of what one has made
/// is nobody's to the other.
#[test]
fn r01_a_host_of_another_pid_namespace_takes_no_images_away() {
    let serving_in = |shared: &Path| {
        let rig = Rig::with(|builder| builder.run_directory(shared.join("images")));
        rig.apply(Fixture::V1);
        rig.apply(Fixture::V2);
        rig
    };
    let end = |rig: Rig| {
        rig.host.rollback("probe").expect("its images are there");
        check_answers(&rig.probe, 1);
        rig.end();
    };
    with_children(
        |shared| {
            assert_eq!(std::process::id(), 1);
            let shared = Path::new(shared);
            let second = serving_in(shared);
            fs::write(shared.join("second serves"), "").expect("a mark");
            until("a third host", &second, || shared.join("third served").exists());
            end(second);
        },
        |test| {
            let shared = tempfile::tempdir().expect("a directory");
            let path = shared.path();
            let first = serving_in(path);
            thread::scope(|scope| {
                let argument = path.to_str().expect("a path of letters");
                let child = scope.spawn(|| run_child_apart(Apart::Processes, test, argument));
                let serves = || path.join("second serves").exists() || child.is_finished();
                until("the second host", &first, serves);
                end(serving_in(path));
                fs::write(path.join("third served"), "").expect("a mark");
            });
            end(first);
        },
    );
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
            if !is_root_to("drop privileges") {
                return;
            }
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
    if !is_root_to("drop privileges") {
        return;
    }
    in_child(|| {
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

#[test]
fn r03_a_journal_below_a_directory_of_everybodys_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let shared = home.path().join("shared");
    fs::create_dir(&shared).expect("a directory");
    let mode = |mode| fs::set_permissions(&shared, fs::Permissions::from_mode(mode));
    let start = || {
        let host = Host::builder().run_directory(home.path().join("images"));
        host.journal(shared.join("journal")).start()
    };
    mode(0o777).expect("a mode");
    let error = start().expect_err("others can rename the journal");
    let mut said = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = next {
        said += &format!("{error}: ");
        next = error.source();
    }
    assert!(said.contains("shared can be written to by other users (mode 0777"), "{said}");
    mode(0o755).expect("a mode");
    start().expect("a host");
}

/// Three services on one directory, with one place for their images.
#[test]
fn n19_three_processes_follow_one_directory() {
    with_children(
        |home| {
            let (own, home) = (std::process::id(), Path::new(home));
            let rig = Rig::with(|builder| {
                builder.plugins(home.join("plugins")).run_directory(home.join("images"))
            });
            check_answers(&rig.probe, 1);
            fs::write(home.join(format!("ready-{own}")), "").expect("a mark");
            rig.log.wait("unmapped", 1);
            check_answers(&rig.probe, 2);
            rig.host.rollback("probe").expect("its images are there");
            rig.end();
        },
        |test| {
            let home = tempfile::tempdir().expect("a directory");
            let path = |name: &str| home.path().join(name);
            fs::create_dir(path("plugins")).expect("a directory");
            fs::copy(Fixture::V1.path(), path("plugins/probe.so")).expect("a copy");
            fs::copy(Fixture::V2.path(), path("new")).expect("a copy");
            let argument = home.path().display().to_string();
            thread::scope(|scope| {
                let child = || run_child_with(test, &argument, |child| child).assert_ok();
                let children = [(); 3].map(|()| scope.spawn(child));
                let ready = || {
                    let names = fs::read_dir(home.path()).expect("marks").flatten();
                    let is_mark =
                        |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b"ready-");
                    names.filter(|entry| is_mark(&entry.file_name())).count()
                };
                while ready() < 3 && !children.iter().any(|child| child.is_finished()) {
                    thread::yield_now();
                }
                fs::rename(path("new"), path("plugins/probe.so")).expect("the new in its place");
                children.into_iter().for_each(|child| child.join().expect("it is well"));
            });
            let left = fs::read_dir(path("images/run")).expect("run directories").count();
            assert_eq!(left, 0, "each has removed its own");
        },
    );
}

#[test]
fn n15_relative_directories_are_those_of_the_start() {
    in_child(|| {
        let home = tempfile::tempdir().expect("a directory");
        std::env::set_current_dir(home.path()).expect("a directory");
        fs::create_dir("plugins").expect("a directory");
        fs::copy(Fixture::V1.path(), "plugins/probe.so").expect("a copy");
        let rig = Rig::with(|builder| builder.plugins("plugins").run_directory("images"));
        std::env::set_current_dir("/").expect("a directory");
        check_answers(&rig.probe, 1);
        fs::remove_dir_all(home.path().join("images")).expect("a directory of images");
        fs::copy(Fixture::V2.path(), home.path().join("new")).expect("a copy");
        fs::rename(home.path().join("new"), home.path().join("plugins/probe.so"))
            .expect("its place");
        rig.log.wait("active", 2);
        check_answers(&rig.probe, 2);
        assert!(home.path().join("images/run").is_dir(), "made again where it was");
        assert!(!Path::new("/images").exists());
        rig.end();
    });
}

#[test]
fn n16_a_file_without_a_name_is_loaded() {
    let rig = Rig::serving(Fixture::V1);
    let memory = rustix::fs::memfd_create("v2", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
    let mut memory = fs::File::from(memory);
    std::io::Write::write_all(&mut memory, &Fixture::V2.bytes()).expect("a copy");
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory));
    assert!(rig.host.apply(&path).expect("a plugin").switched);
    check_answers(&rig.probe, 2);
    assert!(!rig.host.apply(&path).expect("the same").switched);
    rig.host.rollback("probe").expect("1.0.0");
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn n14_threads_with_small_stacks_call_plugins() {
    let rig = Rig::serving(Fixture::V1);
    thread::scope(|scope| {
        let small = || thread::Builder::new().stack_size(64 * 1024);
        let callers = [(); 4].map(|()| {
            let call = || (0..100).all(|_| rig.probe.version().is_ok());
            small().spawn_scoped(scope, call).expect("a thread")
        });
        rig.apply(Fixture::V2);
        callers.into_iter().for_each(|caller| assert!(caller.join().expect("no overflow")));
    });
    rig.log.wait("unmapped", 1);
    rig.end();
}

/// From within a call of the version that is replaced, on its thread.
#[test]
fn n09_a_service_updates_itself_from_within_a_call() {
    let rig = Rig::serving(Fixture::V1);
    let host = rig.host.clone();
    let tid = rustix::thread::gettid();
    let mut first = true;
    rig.desk.between(move |_| {
        if !std::mem::replace(&mut first, false) {
            return;
        }
        let applied = host.apply(Fixture::V2.path()).expect("2.0.0");
        let stall = applied.wait_retired(Duration::ZERO).expect_err("this very call holds it");
        let held = stall.holders.to_string();
        assert!(
            held.contains(&format!("tid {tid} ")) && held.contains(" in probe.nested"),
            "{held}"
        );
        let refused = host.force("probe", 1).expect_err("nothing has stalled");
        assert_eq!(refused.code(), Code::NotStalled);
        host.rollback("probe").expect("1.0.0 again, in memory once more");
        host.apply(Fixture::V2.path()).expect("2.0.0");
    });
    rig.probe.nested(2).expect("an answer");
    assert!(rig.desk.faults().is_empty(), "{:?}", rig.desk.faults());
    rig.log.wait("unmapped", 1);
    check_answers(&rig.probe, 2);
    let host = rig.host.clone();
    let mut first = true;
    rig.desk.between(move |_| {
        if std::mem::replace(&mut first, false) {
            let status = host.shutdown(Duration::ZERO);
            let last = status.generations.last().expect("what serves");
            let Residency::Resident(reasons) = &last.residency else { panic!("{last:?}") };
            let held = format!("held by tid {tid} ");
            assert!(reasons.iter().any(|reason| reason.contains(&held)), "{reasons:?}");
        }
    });
    rig.probe.nested(2).expect("an answer, since it was inside");
    until("it is taken down all the same", &rig, || {
        let status = rig.host.status();
        status.generations.iter().all(|it| it.residency == Residency::Unmapped)
    });
    rig.end();
}

/// What a busy service does besides: the loader's lock, the list of libraries, processes.
#[test]
fn n05_updates_beside_loads_backtraces_and_processes() {
    in_child(|| {
        let rig = Rig::serving(Fixture::V1);
        let over = AtomicBool::new(false);
        let busy = |what: &dyn Fn()| {
            while !over.load(SeqCst) {
                what();
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                busy(&|| {
                    // SAFETY: a library of the C library's own, whose constructors need nothing.
                    unsafe {
                        let handle = libc::dlopen(c"libresolv.so.2".as_ptr(), libc::RTLD_NOW);
                        if !handle.is_null() {
                            libc::dlclose(handle);
                        }
                    }
                })
            });
            scope.spawn(|| busy(&|| drop(std::backtrace::Backtrace::force_capture())));
            scope.spawn(|| {
                busy(&|| {
                    let status = std::process::Command::new("/bin/true").status();
                    assert!(status.expect("a process").success());
                })
            });
            let calls = scope.spawn(|| {
                let mut answered = 0_u64;
                while !over.load(SeqCst) {
                    rig.probe.version().expect("an answer");
                    answered += 1;
                }
                answered
            });
            for fixture in [Fixture::V2, Fixture::V3, Fixture::V1].into_iter().cycle().take(20) {
                let serves = rig.apply(fixture);
                rig.log.wait("unmapped", serves - 1);
            }
            over.store(true, SeqCst);
            assert!(calls.join().expect("no fault") > 0);
        });
        rig.end();
    });
}

/// A program may have taken all keys that the C library gives.
#[test]
fn r19_a_host_without_a_key_does_not_start_and_says_so() {
    in_child(|| {
        let mut keys = Vec::new();
        loop {
            let mut key = 0;
            // SAFETY: a place to write to.
            match unsafe { libc::pthread_key_create(&mut key, None) } {
                0 => keys.push(key),
                error => break assert_eq!(error, libc::EAGAIN),
            }
        }
        let start = || Host::builder().preflight(false).start();
        let refused = start().expect_err("there is none left");
        assert!(matches!(refused, HostError::Keys(_)), "{refused}");
        assert!(refused.to_string().contains("no pthread key left"), "{refused}");
        for _ in 0..2 {
            start().expect_err("a host has two");
            // SAFETY: made above, and of no use to anybody.
            assert_eq!(unsafe { libc::pthread_key_delete(keys.pop().expect("a key")) }, 0);
        }
        let host = start().expect("two are enough");
        let slot = host.slot::<dyn Probe>("probe").expect("a slot");
        slot.version().expect_err("no plugin was loaded");
        host.shutdown(WITHIN);
    });
}
