//! What a plugin reaches for in the C library, past std and past its own runtime: nothing of it
//! leads into a version that is gone.

#![allow(
    unsafe_code,
    reason = "the host's side of what has no safe face: variables, forks, the system's log"
)]

use midflight::{Code, Fault, Host, Residency, Slot};
use midflight_tests::{Fixture, WITHIN, in_child, process, run_child, with_children};
use reaching_contracts::Reaching;
use std::env;
use std::ffi::CStr;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A host with the plugin `reaching`.
struct Scene {
    host: Host,
    reaching: Slot<dyn Reaching>,
    _home: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let home = tempfile::tempdir().expect("a directory");
        let builder = Host::builder().run_directory(home.path().join("images")).preflight(false);
        let builder = builder.stop_deadline(process::scaled(Duration::from_millis(20)));
        let host = builder.contract::<dyn Reaching>().start().expect("a host");
        let reaching = host.slot::<dyn Reaching>("reaching").expect("a slot");
        let scene = Scene { host, reaching, _home: home };
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

    /// Waits until the first generation is resident for a reason that begins so.
    #[track_caller]
    fn resident(&self, why: &str) {
        self.until(why, |residency| match residency {
            Residency::Resident(reasons) => reasons.iter().any(|reason| reason.starts_with(why)),
            other => {
                assert_ne!(*other, Residency::Unmapped, "not {why}");
                false
            }
        });
    }

    #[track_caller]
    fn gone(&self) {
        self.until("gone", |residency| *residency == Residency::Unmapped);
    }

    #[track_caller]
    fn until(&self, what: &str, is: impl Fn(&Residency) -> bool) {
        let deadline = Instant::now() + WITHIN;
        while !is(&self.host.status().generations[0].residency) {
            assert!(
                Instant::now() < deadline,
                "not within {WITHIN:?}: {what}, {:?}",
                self.host.status()
            );
            self.host.checkpoint();
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What the C library has, as its own `getenv` finds it.
fn c_variable(name: &CStr) -> Option<String> {
    // SAFETY: no other thread changes the environment while this is called.
    unsafe {
        let found = libc::getenv(name.as_ptr());
        (!found.is_null()).then(|| CStr::from_ptr(found).to_string_lossy().into_owned())
    }
}

const VARIABLES: u64 = 20_000;

/// Runs `reads` on two threads for as long as `writes` runs.
fn beside(reads: impl Fn() + Sync, writes: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    reads();
                }
            });
        }
        writes();
        over.store(true, SeqCst);
    });
}

#[test]
fn s12_a_plugin_sets_variables_while_the_host_reads_them() {
    in_child(|| {
        let scene = Scene::new();
        let reads = || {
            assert_eq!(env::var_os("REACHING_THE_LAST_OF_ALL"), None);
            assert!(env::vars_os().count() > 0);
        };
        beside(reads, || assert_eq!(scene.reach("set variables", VARIABLES), 0));
    });
}

#[test]
fn s12_the_host_sets_variables_while_a_plugin_reads_them() {
    in_child(|| {
        let scene = Scene::new();
        let reads = || assert_eq!(scene.reach("read variables", 100), 0);
        beside(reads, || {
            for number in 0..VARIABLES {
                // SAFETY: what is tested is that this is as safe beside plugins as edition 2021
                // says that it is.
                unsafe { env::set_var(format!("REACHING_HOST_{number}"), "x") };
            }
        });
    });
}

#[test]
fn s12_two_plugins_set_and_read_variables() {
    in_child(|| {
        let (one, other) = (Scene::new(), Scene::new());
        other.apply(Fixture::ReachingV2);
        let reads = || assert_eq!(other.reach("read variables", 100), 0);
        beside(reads, || assert_eq!(one.reach("set variables", VARIABLES), 0));
        let writes = || assert_eq!(other.reach("set variables", 500), 0);
        beside(writes, || assert_eq!(one.reach("set variables", VARIABLES / 4), 0));
    });
}

#[test]
fn s12_each_side_sees_what_the_other_has_set() {
    in_child(|| {
        let scene = Scene::new();
        assert_eq!(scene.reach("set", 7), 0);
        assert_eq!(env::var("REACHING").as_deref(), Ok("7"));
        // SAFETY: no other thread reads it.
        unsafe { env::set_var("REACHING", "8") };
        assert_eq!(scene.reaching.variable("REACHING"), Ok(Some("8".to_owned())));
        // SAFETY: as above.
        unsafe { env::remove_var("REACHING") };
        assert_eq!(scene.reaching.variable("REACHING"), Ok(None));
        assert_eq!(scene.reaching.variable("A=B"), Ok(None));
        assert_eq!(scene.reaching.variable("PATH"), Ok(env::var("PATH").ok()));

        // A text of the plugin's own, which goes with it.
        assert_eq!(scene.reach("texts", 0), 0);
        scene.apply(Fixture::ReachingV2);
        scene.gone();
        assert_eq!(env::var("REACHING_PUT").as_deref(), Ok("put by a plugin"));
        assert_eq!(c_variable(c"REACHING_PUT").as_deref(), Some("put by a plugin"));
        // SAFETY: a text with no directive, to whatever name was left for the log.
        unsafe { libc::syslog(libc::LOG_DEBUG, c"a line after the plugin".as_ptr()) };
    });
}

/// The functions that set a handler, by the numbers of the plugin's C.
const SETTERS: [&str; 8] = [
    "signal of strict C",
    "signal",
    "bsd_signal",
    "ssignal",
    "sysv_signal",
    "sigset",
    "sigaction",
    "__sigaction",
];

#[test]
fn s13_a_handler_keeps_its_version_whatever_set_it() {
    with_children(
        |which| {
            let which = which.parse::<u64>().expect("a number");
            let scene = Scene::new();
            assert_eq!(scene.reach("signal", which), 0);
            scene.apply(Fixture::ReachingV2);
            scene.resident("signal: SIGUSR1");
            // The second calls the first's from its own. The host can't see that, and looks again
            // and again whether something keeps the first.
            assert_eq!(scene.reach("signal", which), 0);
            let looked = Instant::now() + Duration::from_secs(1);
            while Instant::now() < looked {
                scene.resident("signal: SIGUSR1");
                thread::sleep(Duration::from_millis(10));
            }
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1)
                .expect("a signal");
            let deadline = Instant::now() + WITHIN;
            while scene.reach("arrived", 0) == 0 {
                assert!(Instant::now() < deadline, "it did not arrive");
                thread::yield_now();
            }
            scene.resident("signal: SIGUSR1");
        },
        |test| {
            for (which, name) in SETTERS.iter().enumerate() {
                println!("{name}");
                run_child(test, &which.to_string()).assert_ok();
            }
        },
    );
}

#[test]
fn s14_a_function_that_was_looked_up_is_the_runtimes() {
    const WAYS: u64 = 6;
    with_children(
        |which| {
            let scene = Scene::new();
            assert_eq!(scene.reach("other lookup", 0), 0);
            assert_eq!(scene.reach("lookup", which.parse().expect("a number")), 0);
            scene.apply(Fixture::ReachingV2);
            scene.resident("threads: tid ");
            scene.gone();
            assert_eq!(scene.reaching.build(), Ok(2));
        },
        |test| (0..WAYS).for_each(|which| run_child(test, &which.to_string()).assert_ok()),
    );
}

/// Runs the program that exports all that it defines.
fn exporting(files: &[Fixture]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_exporting"));
    program.args(files.iter().map(|fixture| fixture.path()));
    let output = program.output().expect("the program");
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{:?}\n{said}", output.status);
    said
}

#[test]
fn s16_a_host_with_the_same_names_is_not_taken_for_the_plugin() {
    assert!(exporting(&[Fixture::Reaching, Fixture::ReachingV2]).contains("survived"));
}

#[test]
fn u17_a_plugins_crate_in_a_program_leads_to_the_c_library() {
    assert!(exporting(&[]).contains("alone"));
}

#[test]
fn s16_a_plugin_that_looks_at_another_place_is_refused() {
    let scene = Scene::new();
    let refusal = scene.host.apply(Fixture::ReachingMisplaced.path()).unwrap_err();
    assert_eq!(refusal.code(), Code::HookEscaped, "{refusal}");
    assert!(refusal.reason().contains("the place that its runtime looks at"), "{refusal}");
    assert_eq!(scene.reaching.build(), Ok(1));
}

#[test]
fn s17_an_export_that_the_host_has_as_well_is_refused() {
    let said = exporting(&[Fixture::Reaching, Fixture::ReachingExports]);
    assert!(said.contains("export_taken") && said.contains("`reaching_exported`"), "{said}");
    // In a host that has no such name, the plugin's own runs.
    let scene = Scene::new();
    scene.apply(Fixture::ReachingExports);
    assert_eq!(scene.reaching.exported(), Ok(2));
}

#[test]
fn s17_an_import_that_leads_into_a_plugin_is_refused() {
    let scene = Scene::new();
    let refusal = scene.host.apply(Fixture::ReachingForbidden.path()).unwrap_err();
    assert_eq!(refusal.code(), Code::ImportForbidden, "{refusal}");
    assert!(refusal.reason().contains("__libc_freeres"), "{refusal}");
    assert_eq!(scene.reaching.build(), Ok(1));
}

#[test]
fn s19_a_thread_of_the_hosts_does_not_end_in_a_call() {
    in_child(|| {
        let scene = Scene::new();
        for how in [0, 1] {
            let fault = scene.reaching.reach("exit", how).unwrap_err();
            let Fault::Panicked(report) = fault else { panic!("{fault}") };
            assert!(report.message.starts_with("pthread_exit in a call"), "{report}");
        }
        // SAFETY: it asks for this thread's own handle.
        let this = unsafe { libc::pthread_self() };
        assert_eq!(scene.reach("cancel", this), i64::from(libc::ESRCH));
        thread::sleep(Duration::from_millis(1)); // would be a cancellation point
        assert_eq!(scene.reaching.build(), Ok(1));
    });
}

#[test]
fn what_would_call_a_plugin_on_threads_of_the_systems_is_refused() {
    in_child(|| {
        let scene = Scene::new();
        for which in 0..9 {
            assert_eq!(scene.reach("notice", which), i64::from(libc::ENOTSUP), "{which}");
        }
        assert_eq!(scene.reach("notice", 9), 0, "a timer that sends a signal");
        assert_eq!(scene.reach("notice", 10), i64::from(libc::EBADF), "the system's own answer");
        assert_eq!(scene.reach("clone", 0), i64::from(libc::EPERM));
        assert_eq!(scene.reach("clone", 1), 0, "a process of its own");
        assert_eq!(scene.reach("for good", 0), 0);
    });
}

#[test]
fn a_handler_of_no_library_goes_with_the_plugin() {
    in_child(|| {
        let scene = Scene::new();
        let (reads, writes) = std::io::pipe().expect("a pipe");
        let file = std::os::fd::IntoRawFd::into_raw_fd(writes);
        assert_eq!(scene.reach("handlers", file.cast_unsigned().into()), 0);
        scene.apply(Fixture::ReachingV2);
        scene.gone();
        // It closed the other end: it ran when the library was unmapped, and will not when the
        // process ends.
        assert_eq!(std::io::read_to_string(reads).expect("its end"), "");
        // SAFETY: a child that does nothing; the handlers for it would be called before and after.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the end of a process.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: waits for its own child.
        assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
    });
}
