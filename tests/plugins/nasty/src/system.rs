//! What code asks the system for past std.

use crate::locals::{self, Value};
use midflight_plugin::Service;
use nasty_contracts::Ledger;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};

struct Kept {
    ledger: Service<dyn Ledger>,
    _value: Value,
}

unsafe extern "C" fn drop_kept(kept: *mut c_void) {
    // SAFETY: from `key`, once.
    let kept = unsafe { Box::from_raw(kept.cast::<Kept>()) };
    locals::touch(&kept.ledger);
}

fn the_key() -> libc::pthread_key_t {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: a place to write to, and a destructor for what is set.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(drop_kept)) }, 0);
        key
    })
}

pub(crate) fn key(ledger: &Service<dyn Ledger>) -> u64 {
    let kept = Box::new(Kept { ledger: ledger.clone(), _value: Value::new(ledger) });
    // SAFETY: a key of ours, and a value for its destructor.
    let set =
        unsafe { libc::pthread_setspecific(the_key(), Box::into_raw(kept).cast_const().cast()) };
    assert_eq!(set, 0);
    1
}

pub(crate) fn key_taken_back(ledger: &Service<dyn Ledger>) -> u64 {
    key(ledger);
    // SAFETY: a key of ours; the value is the one that was just set, and is no longer reachable
    // when it is dropped.
    unsafe {
        let kept = libc::pthread_getspecific(the_key());
        assert_eq!(libc::pthread_setspecific(the_key(), null()), 0);
        drop(Box::from_raw(kept.cast::<Kept>()));
    }
    1
}

static AGAIN: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static SET_LAST: Cell<*mut Value> = const { Cell::new(null_mut()) };
}

unsafe extern "C" fn drop_value(value: *mut c_void) {
    // SAFETY: from `key_again`, once.
    drop(unsafe { Box::from_raw(value.cast::<Value>()) });
}

pub(crate) fn key_again(ledger: &Service<dyn Ledger>, step: u64) -> u64 {
    let key = AGAIN.load(SeqCst);
    // SAFETY: a place to write to; keys of ours, used after they were made and not after they were
    // deleted; a value is freed once: by the destructor, or here where its key was deleted.
    unsafe {
        match step {
            0 => {
                let mut key = 0;
                assert_eq!(libc::pthread_key_create(&mut key, Some(drop_value)), 0);
                AGAIN.store(key, SeqCst);
                return key.into();
            }
            1 => assert_eq!(libc::pthread_key_delete(key), 0),
            2 => {
                SET_LAST.set(Box::into_raw(Box::new(Value::new(ledger))));
                assert_eq!(libc::pthread_setspecific(key, SET_LAST.get().cast_const().cast()), 0);
            }
            3 => return u64::from(!libc::pthread_getspecific(key).is_null()),
            _ => drop(Box::from_raw(SET_LAST.get())),
        }
    }
    1
}

/// The key with the destructor, and the one with the value.
static BESIDE: OnceLock<[libc::pthread_key_t; 2]> = OnceLock::new();

unsafe extern "C" fn drop_beside(_: *mut c_void) {
    let [_, bare] = BESIDE.get().expect("they were made");
    // SAFETY: a key of ours; what is there was put there by `key_beside_key`, and is freed once.
    unsafe {
        let value = libc::pthread_getspecific(*bare);
        if !value.is_null() {
            drop(Box::from_raw(value.cast::<Value>()));
        }
    }
}

/// As OpenSSL has it for the state of its errors.
pub(crate) fn key_beside_key(ledger: &Service<dyn Ledger>) -> u64 {
    let make = |destructor| {
        let mut key = 0;
        // SAFETY: a place to write to, and a destructor for what is set.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, destructor) }, 0);
        key
    };
    let [ends, bare] = *BESIDE.get_or_init(|| [make(Some(drop_beside)), make(None)]);
    let value = Box::into_raw(Box::new(Value::new(ledger))).cast_const().cast();
    // SAFETY: keys of ours. The value of the first is not used.
    unsafe {
        assert_eq!(libc::pthread_setspecific(ends, value), 0);
        assert_eq!(libc::pthread_setspecific(bare, value), 0);
    }
    1
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: c_int) {
    SIGNALS.fetch_add(1, SeqCst);
}

pub(crate) fn signal() -> u64 {
    // SAFETY: the handler does nothing but an atomic addition.
    unsafe { libc::signal(libc::SIGUSR1, count as extern "C" fn(c_int) as *const () as usize) };
    SIGNALS.load(SeqCst)
}

struct ReadAtExit {
    ledger: Service<dyn Ledger>,
    kept: Vec<String>,
}

static READ_AT_EXIT: OnceLock<ReadAtExit> = OnceLock::new();

fn line(number: u64) -> String {
    format!("{number:032}")
}

extern "C" fn read_at_exit() {
    let ReadAtExit { ledger, kept } = READ_AT_EXIT.get().expect("it was kept");
    // These would get the memory of those, if that had been freed.
    let others: Vec<_> = (0..1_000).map(|number| line(number + 1_000_000)).collect();
    let is_as_it_was = others.len() == kept.len()
        && kept.iter().zip(0..).all(|(kept, number)| *kept == line(number));
    let _ = ledger.destroyed(!is_as_it_was);
}

pub(crate) fn exit_handler(ledger: &Service<dyn Ledger>) -> u64 {
    READ_AT_EXIT.get_or_init(|| ReadAtExit {
        ledger: ledger.clone(),
        kept: (0..1_000).map(line).collect(),
    });
    let _ = ledger.made();
    // SAFETY: a handler that the loader calls when it unmaps this library.
    assert_eq!(unsafe { libc::atexit(read_at_exit) }, 0);
    1
}

#[cfg(feature = "static-tls")]
pub(crate) fn static_tls() -> u64 {
    unsafe extern "C" {
        fn nasty_static_tls(at: u64) -> u64;
    }
    // SAFETY: it counts in a thread-local.
    unsafe { nasty_static_tls(1) }
}
