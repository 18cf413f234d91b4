//! Thread-locals whose destructors do things.

use midflight_plugin::Service;
use nasty_contracts::Ledger;
use std::cell::{OnceCell, RefCell};
use std::thread;

/// It says in the ledger when it is made and destroyed, and looks on which thread that is.
pub(crate) struct Value {
    ledger: Service<dyn Ledger>,
    thread: libc::pid_t,
    touched: u64,
}

impl Value {
    pub(crate) fn new(ledger: &Service<dyn Ledger>) -> Self {
        let _ = ledger.made();
        Value { ledger: ledger.clone(), thread: this_thread(), touched: 0 }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        let _ = self.ledger.destroyed(self.thread != this_thread());
    }
}

fn this_thread() -> libc::pid_t {
    // SAFETY: it has no preconditions.
    unsafe { libc::gettid() }
}

thread_local! {
    static VALUE: RefCell<Option<Value>> = const { RefCell::new(None) };
    static BORROWING: OnceCell<Borrowing> = const { OnceCell::new() };
    static LATE_LOCAL: OnceCell<LateLocal> = const { OnceCell::new() };
    static LATE_THREAD: OnceCell<LateThread> = const { OnceCell::new() };
}

pub(crate) fn touch(ledger: &Service<dyn Ledger>) -> u64 {
    VALUE.with_borrow_mut(|value| {
        let value = value.get_or_insert_with(|| Value::new(ledger));
        value.touched += 1;
        value.touched
    })
}

/// Holds the other value borrowed while the host calls the plugin.
struct Borrowing(Service<dyn Ledger>);

impl Drop for Borrowing {
    fn drop(&mut self) {
        VALUE.with_borrow(|value| {
            let value = value.as_ref().expect("it is destroyed while it is borrowed");
            let _ = self.0.call_back();
            assert!(value.touched > 0);
        });
    }
}

pub(crate) fn borrowing(ledger: &Service<dyn Ledger>) -> u64 {
    touch(ledger);
    BORROWING.with(|borrowing| drop(borrowing.set(Borrowing(ledger.clone()))));
    1
}

struct LateLocal(Service<dyn Ledger>);

impl Drop for LateLocal {
    fn drop(&mut self) {
        touch(&self.0);
    }
}

pub(crate) fn late_local(ledger: &Service<dyn Ledger>) -> u64 {
    LATE_LOCAL.with(|late| drop(late.set(LateLocal(ledger.clone()))));
    1
}

struct LateThread(Service<dyn Ledger>, u64);

impl Drop for LateThread {
    fn drop(&mut self) {
        let (ledger, token) = (self.0.clone(), self.1);
        let body = move || {
            touch(&ledger);
            let _ = ledger.wait(token);
        };
        // The handle of a thread is a thread-local of std's.
        let _ = thread::Builder::new().name("nasty-late".to_owned()).spawn(body).expect("a thread");
    }
}

pub(crate) fn late_thread(ledger: &Service<dyn Ledger>, token: u64) -> u64 {
    LATE_THREAD.with(|late| drop(late.set(LateThread(ledger.clone(), token))));
    1
}
