//! Destructors that a thread owes to plugins: of their thread-locals, and of their keys' values.
//!
//! Each belongs to its thread: what it drops was made there and need not be `Send`. It runs when
//! the thread ends, in the phase of the thread's end in which glibc would have run it; or, when its
//! generation is closing, at an outermost pass of the gate. After a thread-local's destructor has
//! run, std calls it destroyed on that thread for good. So a generation that is closing never
//! serves again.
//!
//! # Who touches what
//! A list is its thread's own. It hangs on a thread-local without a Drop, and is freed in the key
//! phase, the last that runs code. No reference into it lives while a destructor runs: destructors
//! register more.

use super::host_key::HostKey;
use super::{DEAD, OPEN, Owner, owner, spans, threads};
use midflight_plugin::rt::Destructor;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// Rounds of a thread's end after which a plugin that registers in every destructor is given up.
const ROUNDS_MAX: usize = 10_000;

/// Answers `__cxa_thread_atexit_impl` of a plugin's.
pub(super) unsafe extern "C" fn register(
    of: *const (),
    run: Destructor,
    object: *mut c_void,
) -> c_int {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    if owner.is(DEAD) {
        return -1;
    }
    push(Debt { owner, what: What::Local { run, object } });
    0
}

/// A key's value was set on this thread: it is owed a destructor, once.
pub(super) fn owe_key(of: &Arc<Owner>, key: u32, serial: u64, value: *mut c_void) {
    let list = list();
    // SAFETY: this thread's, and no other reference into it lives here.
    let debts = unsafe { &mut (*list).debts };
    let known = debts.iter_mut().find_map(|debt| match &mut debt.what {
        What::Key { serial: other, value, .. }
            if *other == serial && Arc::ptr_eq(&debt.owner, of) =>
        {
            Some(value)
        }
        _ => None,
    });
    match known {
        Some(known) => *known = value,
        None => push(Debt { owner: Arc::clone(of), what: What::Key { key, serial, value } }),
    }
}

/// The key's value was taken back on this thread: nothing is owed for it.
pub(super) fn forgive_key(of: &Arc<Owner>, key: u32) {
    let of_key = |debt: &Debt| {
        matches!(debt.what, What::Key { key: other, .. } if other == key)
            && Arc::ptr_eq(&debt.owner, of)
    };
    if let Some(debt) = take(of_key) {
        settle(&debt.owner, threads::current());
    }
}

/// Runs what this thread owes to generations that are closing, and leaves the spans that its calls
/// have left entered. Only outside of every call.
///
/// A destructor that calls a service which calls a plugin passes the gate as well, and must not be
/// interrupted by another of its thread's, which could drop what it has borrowed. Whoever runs it
/// looks for more when it has returned.
#[cold]
#[inline(never)]
pub(crate) fn attend() {
    pay_rounds(|debt| !debt.owner.is(OPEN));
    spans::leave();
}

/// Runs what this thread, which is a plugin's own and whose routine has returned, owes to that
/// plugin.
pub(super) fn pay_all(of: &Arc<Owner>) {
    pay_rounds(|debt| Arc::ptr_eq(&debt.owner, of));
}

struct List {
    tid: u32,
    /// Registered for this thread's end.
    armed: bool,
    debts: Vec<Debt>,
}

struct Debt {
    owner: Arc<Owner>,
    what: What,
}

enum What {
    Local { run: Destructor, object: *mut c_void },
    Key { key: u32, serial: u64, value: *mut c_void },
}

impl Debt {
    fn is_key(&self) -> bool {
        matches!(self.what, What::Key { .. })
    }

    /// Runs it, unless its code is gone.
    fn pay(self) {
        let Debt { owner, what } = self;
        let (_paying, tid) = (Paying::begin(), threads::current());
        owner.running.fetch_add(1, SeqCst);
        if !owner.is(DEAD) {
            match what {
                // SAFETY: registered by the plugin for this thread, taken out of the list, so run
                // once; not dead, and `running` keeps it from being closed.
                What::Local { run, object } => unsafe { run(object) },
                What::Key { key, serial, value } => {
                    if let Some(run) = owner.keys.destructor(key, serial) {
                        // As glibc does, before the destructor.
                        // SAFETY: a key that the plugin has not deleted.
                        unsafe { libc::pthread_setspecific(key, null()) };
                        // SAFETY: as for `Local`.
                        unsafe { run(value) };
                    }
                }
            }
        }
        owner.running.fetch_sub(1, SeqCst);
        settle(&owner, tid);
    }
}

fn push(debt: Debt) {
    let list = list();
    // SAFETY: this thread's list; no other reference into it lives here.
    unsafe {
        *debt.owner.pending.lock().entry((*list).tid).or_default() += 1;
        (*list).debts.push(debt);
    }
    arm(list);
}

/// The thread `tid` owes one less.
fn settle(owner: &Owner, tid: u32) {
    let mut pending = owner.pending.lock();
    if let Some(count) = pending.get_mut(&tid) {
        *count -= 1;
        if *count == 0 {
            pending.remove(&tid);
        }
    }
}

/// The newest debt of a kind, out of the list.
fn take(kind: impl Fn(&Debt) -> bool) -> Option<Debt> {
    let list = LIST.get();
    if list.is_null() {
        return None;
    }
    // SAFETY: this thread's list; `kind` does not reach it.
    let debts = unsafe { &mut (*list).debts };
    let newest = debts.iter().rposition(kind)?;
    Some(debts.remove(newest))
}

/// Thread-locals first, then keys, and again what those registered.
fn pay_rounds(whose: impl Fn(&Debt) -> bool) {
    for _ in 0..ROUNDS_MAX {
        let next = take(|debt| !debt.is_key() && whose(debt)).or_else(|| take(&whose));
        match next {
            Some(debt) => debt.pay(),
            None => return,
        }
    }
    while let Some(debt) = take(&whose) {
        settle(&debt.owner, threads::current());
    }
}

/// A destructor of a plugin's is on this thread's stack, and may have been lent what another one
/// would free.
pub(crate) fn paying() -> bool {
    PAYING.get() > 0
}

/// Runs `f`, code of a plugin's beneath which no other destructor of this thread's may run, for the
/// same reason.
pub(super) fn without_paying<R>(f: impl FnOnce() -> R) -> R {
    let _paying = Paying::begin();
    f()
}

/// One of those that `paying` speaks of. They are counted, since coroutines that are suspended in
/// them end in any order.
struct Paying {
    tid: u32,
}

impl Paying {
    fn begin() -> Self {
        PAYING.set(PAYING.get() + 1);
        Paying { tid: threads::current() }
    }
}

impl Drop for Paying {
    fn drop(&mut self) {
        // One that was moved to another thread leaves its own as if it ran on: that thread pays at
        // its end.
        if self.tid == threads::current() {
            PAYING.set(PAYING.get() - 1);
        }
    }
}

thread_local! {
    /// How many destructors run on this thread, and visits.
    static PAYING: Cell<usize> = const { Cell::new(0) };
    // Const and without a Drop: it can be used at any point of a thread's end.
    static LIST: Cell<*mut List> = const { Cell::new(null_mut()) };
}

fn list() -> *mut List {
    let mut list = LIST.get();
    if list.is_null() {
        list = Box::into_raw(Box::new(List {
            tid: threads::current(),
            armed: false,
            debts: Vec::new(),
        }));
        LIST.set(list);
    }
    list
}

/// Makes sure that both phases of this thread's end come by here.
pub(super) fn arm_this_thread() {
    arm(list());
}

fn arm(list: *mut List) {
    unsafe extern "C" {
        fn __cxa_thread_atexit_impl(
            run: Destructor,
            object: *mut c_void,
            library: *const c_void,
        ) -> c_int;
    }
    // SAFETY: this thread's list, as long as the thread has not reached the end of its key phase.
    unsafe {
        if std::mem::replace(&mut (*list).armed, true) {
            return;
        }
        // SAFETY: host code, in the library that is named.
        __cxa_thread_atexit_impl(locals_end, null_mut(), locals_end as *const c_void);
        libc::pthread_setspecific(key(), list.cast());
    }
}

/// The phase of a thread's end in which thread-locals are dropped. Keys wait for theirs.
unsafe extern "C" fn locals_end(_: *mut c_void) {
    let list = LIST.get();
    if list.is_null() {
        return;
    }
    // SAFETY: this thread's.
    unsafe { (*list).armed = false };
    while let Some(debt) = take(|debt| !debt.is_key()) {
        debt.pay();
    }
}

/// The phase of a thread's end in which keys are dropped, and with it the last. What glibc itself
/// is given from here on never runs.
unsafe extern "C" fn thread_ends(_: *mut c_void) {
    let list = LIST.get();
    if list.is_null() {
        return;
    }
    // SAFETY: this thread's.
    unsafe { (*list).armed = true };
    pay_rounds(|_| true);
    threads::leave();
    // What that registered with others.
    pay_rounds(|_| true);
    LIST.set(null_mut());
    // SAFETY: made by `list`, and no longer reachable.
    drop(unsafe { Box::from_raw(list) });
}

static KEY: HostKey = HostKey::new();

/// Makes the host's own key, if that is still to be done.
///
/// # Errors
/// The process has none left.
pub(crate) fn make_key() -> io::Result<()> {
    KEY.make(thread_ends).map(drop)
}

/// The host's own, by which it hears of a thread's end.
pub(super) fn key() -> libc::pthread_key_t {
    KEY.make(thread_ends).expect("a host's start has made it")
}
