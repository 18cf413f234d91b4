//! Ends: of the process, of the library, of a thread.

use super::{Destructor, Site, fail, host, real};
use crate::plugin::HostTable;
use std::ffi::{c_int, c_ulong, c_void};

/// `__cxa_atexit`. A handler of no library's would be called when this one is gone, so it becomes
/// this library's, and runs when that is unmapped.
///
/// # Safety
/// As for the function.
pub unsafe fn at_exit(
    site: Site,
    run: Destructor,
    argument: *mut c_void,
    library: *const (),
) -> c_int {
    type Real = unsafe extern "C" fn(Destructor, *mut c_void, *const ()) -> c_int;
    // SAFETY: `run` takes `argument`, by the promise of who calls this; the real function has this
    // type.
    unsafe { real::<Real>(site, c"__cxa_atexit")(run, argument, own(site, library)) }
}

/// `__cxa_at_quick_exit`. A handler of no library's becomes this one's: the C library forgets it
/// when that is unmapped.
///
/// # Safety
/// As for the function.
pub unsafe fn at_quick_exit(site: Site, run: Destructor, library: *const ()) -> c_int {
    type Real = unsafe extern "C" fn(Destructor, *const ()) -> c_int;
    // SAFETY: as in `at_exit`.
    unsafe { real::<Real>(site, c"__cxa_at_quick_exit")(run, own(site, library)) }
}

/// `__register_atfork`, which `pthread_atfork` is. As [`at_quick_exit`].
///
/// # Safety
/// As for the function.
pub unsafe fn at_fork(
    site: Site,
    before: *const c_void,
    parent: *const c_void,
    child: *const c_void,
    library: *const (),
) -> c_int {
    type Real =
        unsafe extern "C" fn(*const c_void, *const c_void, *const c_void, *const ()) -> c_int;
    // SAFETY: as in `at_exit`.
    unsafe { real::<Real>(site, c"__register_atfork")(before, parent, child, own(site, library)) }
}

fn own(site: Site, library: *const ()) -> *const () {
    if library.is_null() { site.library } else { library }
}

/// `pthread_exit`, and `thrd_exit`.
///
/// It unwinds the whole stack. On a thread of the host's, or within a call, frames of the host's
/// are on it, which let nothing pass: so it is a panic there, of which the caller is told as of
/// every other.
///
/// # Safety
/// As for the function.
pub unsafe fn exit_thread(site: Site, value: *mut c_void) -> ! {
    type Real = unsafe extern "C-unwind" fn(*mut c_void) -> !;
    // SAFETY: the host's own function with its own owner.
    let may_exit = host(site).is_none_or(|host| unsafe { (host.hooks.may_exit)(host.owner) });
    if !may_exit {
        panic!("pthread_exit in a call, or on a thread that is not the plugin's own");
    }
    // SAFETY: any value may be left behind; the real function has this type. No value with a Drop
    // lives in this frame, which the unwind passes.
    unsafe { real::<Real>(site, c"pthread_exit")(value) }
}

/// `pthread_cancel`, of the plugin's own threads. Another's would unwind through frames that let
/// nothing pass: of those it knows none.
///
/// # Safety
/// As for the function.
pub unsafe fn cancel(site: Site, thread: c_ulong) -> c_int {
    const ESRCH: c_int = 3;
    type Real = unsafe extern "C" fn(c_ulong) -> c_int;
    // SAFETY: the host's own function with its own owner.
    let is_own = |host: &HostTable| unsafe { (host.hooks.owns_thread)(host.owner, thread) };
    if !host(site).is_none_or(is_own) {
        fail(ESRCH);
        return ESRCH;
    }
    // SAFETY: `thread` is one that can be cancelled, by the promise of who calls this; the real
    // function has this type.
    unsafe { real::<Real>(site, c"pthread_cancel")(thread) }
}
