//! A constructor: it runs inside of dlopen, before anything could have told the plugin of a host.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

static MADE: AtomicU64 = AtomicU64::new(0);

struct Value(#[expect(dead_code, reason = "something to free")] Box<u64>);

impl Drop for Value {
    fn drop(&mut self) {
        MADE.fetch_sub(1, SeqCst);
    }
}

thread_local! {
    static VALUE: Cell<Option<Value>> = const { Cell::new(None) };
}

fn touch() {
    MADE.fetch_add(1, SeqCst);
    VALUE.set(Some(Value(Box::new(1))));
}

extern "C" fn construct() {
    // A mark, for the test in which it must not run.
    if let Some(mark) = std::env::var_os("NASTY_MARK") {
        let _ = std::fs::write(mark, "the constructor ran\n");
    }
    touch();
    // Not joined: it may run before the loader has returned, or after. Where a test asks for it,
    // for as long as a file is there.
    let hold = std::env::var_os("NASTY_HOLD");
    let body = move || {
        touch();
        while hold.as_ref().is_some_and(|hold| Path::new(hold).exists()) {
            thread::sleep(Duration::from_millis(1));
        }
    };
    drop(thread::Builder::new().name("nasty-built".to_owned()).spawn(body).expect("a thread"));
}

// SAFETY: `.init_array` holds pointers to functions that the loader calls once, with arguments that
// such a function may ignore.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

pub(crate) fn made() -> u64 {
    MADE.load(SeqCst)
}
