//! A host that exports all that it defines, and that has the plugin `reaching` linked in as a
//! crate: what it loads has the same names.
//!
//! Started by the acceptance suite: `exporting BEFORE AFTER`, the files of two versions. It ends
//! with 0 if the second serves and what the first left on a thread did no harm, and says why the
//! second was refused if it was.
//!
//! Without files it shows what the program's own calls of the C library come to, before which the
//! crate's functions stand.

#![allow(unsafe_code, reason = "a function of a name that a plugin exports")]

use midflight::{Host, Residency};
use reaching as _;
use reaching_contracts::Reaching;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The host's own of that name.
#[unsafe(no_mangle)]
extern "C" fn reaching_exported() -> u64 {
    1
}

unsafe extern "C" {
    /// That of the crate that is linked in: the first of that name in the process.
    static midflight_place: u8;
    fn on_exit(run: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// No host has written a table into this program: what it asks the C library for, it gets.
fn alone() {
    static RAN: AtomicBool = AtomicBool::new(false);
    extern "C" fn ran(_: *mut c_void) {
        RAN.store(true, SeqCst);
    }
    extern "C" fn exited(_: c_int, _: *mut c_void) {}
    let mut key = 0;
    // SAFETY: the destructor takes any value.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(ran)) }, 0, "a key");
    // SAFETY: the key is this program's, and its value is not looked at.
    let set = move || unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(1)) };
    assert_eq!(std::thread::spawn(set).join().expect("no panic"), 0);
    assert!(RAN.load(SeqCst), "the destructor of a key runs at its thread's end");

    // SAFETY: zeros are a notice; no signal comes of a timer that is not set.
    let (mut notice, mut timer) = unsafe { std::mem::zeroed::<(libc::sigevent, libc::timer_t)>() };
    notice.sigev_notify = libc::SIGEV_THREAD;
    // SAFETY: both live for the call.
    let made =
        unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut notice, &raw mut timer) };
    assert_eq!(made, 0, "a timer that calls a function of the program's");
    // SAFETY: the function ignores its argument.
    let kept = unsafe { on_exit(exited, std::ptr::null_mut()) };
    assert_ne!(kept, 0, "what would be kept for good is refused a program as well");
    println!("alone");
}

fn main() {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    let (before, after) = match &files[..] {
        [] => return alone(),
        [before, after] => (before, after),
        _ => panic!("exporting [BEFORE AFTER]"),
    };
    // SAFETY: a name, looked up; only addresses are compared.
    let (found, own) = unsafe {
        (
            libc::dlsym(libc::RTLD_DEFAULT, c"midflight_place".as_ptr()),
            (&raw const midflight_place).cast(),
        )
    };
    assert_eq!(found.cast_const(), own, "the program exports it, or there is nothing to see");

    let home = tempfile::tempdir().expect("a directory");
    let builder = Host::builder().run_directory(home.path().join("images")).preflight(false);
    let host = builder.contract::<dyn Reaching>().start().expect("a host");
    let reaching = host.slot::<dyn Reaching>("reaching").expect("a slot");
    host.apply(before).expect("it serves");
    let ((has_called, calls), (end, ends)) = (channel(), channel::<()>());
    let called = reaching.clone();
    let thread = std::thread::spawn(move || {
        called.reach("key", 0).expect("an answer");
        has_called.send(()).expect("it is waited for");
        let _ = ends.recv();
    });
    calls.recv().expect("a key");
    if let Err(refusal) = host.apply(after) {
        println!("refused: {refusal}");
        assert_eq!(reaching.build(), Ok(1));
        return;
    }
    assert_eq!((reaching.build(), reaching.exported()), (Ok(2), Ok(2)));
    // The thread's value keeps the first version. Were it the C library's, nothing would, and the
    // thread's end would call what is gone.
    let looked = Instant::now() + Duration::from_secs(1);
    while Instant::now() < looked && host.status().generations[0].residency != Residency::Unmapped {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(end);
    thread.join().expect("its destructors ran");
    let deadline = Instant::now() + Duration::from_secs(30);
    while host.status().generations[0].residency != Residency::Unmapped {
        assert!(Instant::now() < deadline, "{:?}", host.status());
        host.checkpoint();
        std::thread::yield_now();
    }
    println!("survived");
}
