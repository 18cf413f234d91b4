//! A host that exports all that it defines, and that has the plugin `reaching` linked in as a
//! crate: what it loads has the same names.
//!
//! Started by the acceptance suite: `exporting BEFORE AFTER`, the files of two versions. It ends
//! with 0 if the second serves and what the first left on a thread did no harm, and says why the
//! second was refused if it was.

#![allow(unsafe_code, reason = "a function of a name that a plugin exports")]

use midflight::{Host, Residency};
use reaching as _;
use reaching_contracts::Reaching;
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
}

fn main() {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    let [before, after] = &files[..] else { panic!("exporting BEFORE AFTER") };
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
