//! What ordinary code does.

use crate::locals;
use midflight_plugin::Service;
use nasty_contracts::Ledger;
use std::backtrace::Backtrace;
use std::collections::HashMap;
use std::panic::catch_unwind;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

pub(crate) fn current() -> u64 {
    let name = thread::current().name().map_or(0, str::len);
    name as u64
}

pub(crate) fn looked_up(number: u64) -> u64 {
    HashMap::from([(number, number)])[&number]
}

pub(crate) fn everyday(number: u64) -> u64 {
    println!("{number} from a plugin");
    let (_open, receiver) = channel::<u64>();
    assert!(receiver.recv_timeout(Duration::from_micros(100)).is_err());
    looked_up(number)
}

pub(crate) fn joined(ledger: &Service<dyn Ledger>) -> u64 {
    let ledger = ledger.clone();
    let thread = thread::Builder::new().name("nasty-joined".to_owned());
    thread.spawn(move || locals::touch(&ledger)).expect("a thread").join().expect("no panic")
}

pub(crate) fn detached(ledger: &Service<dyn Ledger>, token: u64) -> u64 {
    let ledger = ledger.clone();
    let (runs, running) = channel();
    let body = move || {
        locals::touch(&ledger);
        let _ = runs.send(()); // it has its name by now
        let _ = ledger.wait(token);
    };
    let _ = thread::Builder::new().name("nasty-detached".to_owned()).spawn(body).expect("a thread");
    running.recv().expect("it runs");
    1
}

pub(crate) fn caught_panic() -> u64 {
    u64::from(catch_unwind(|| panic!("caught where it happens")).is_err())
}

pub(crate) fn backtrace() -> u64 {
    Backtrace::force_capture().to_string().len() as u64
}

/// Touched, or nobody would see it in the process's memory.
pub(crate) fn leak(boxes: u64) -> u64 {
    for _ in 0..boxes {
        Box::leak(vec![1_u8; 64 << 10].into_boxed_slice());
    }
    boxes
}
