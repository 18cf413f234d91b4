//! What a plugin is refused: functions by which the C library, or the kernel, would call its code
//! on threads of theirs, or keep it for good.
//!
//! Each fails as it would where the system can't do it.

use super::{Site, fail, host, real};
use std::ffi::{CStr, c_int, c_void};

const EPERM: c_int = 1;
const ENOTSUP: c_int = 95;
const CLONE_VM: c_int = 0x100;
const CLONE_VFORK: c_int = 0x4000;
const SIGEV_THREAD: c_int = 2;

/// `on_exit`, `register_printf_function`, `profil` and others, which keep a pointer to what is the
/// plugin's for as long as the process lives.
pub fn refuse() -> c_int {
    fail(ENOTSUP)
}

/// `clone`, which is refused a thread: that would be one that nobody counts. A process of its own
/// is none of the host's business.
///
/// # Safety
/// As for the function.
#[expect(clippy::too_many_arguments, reason = "the function's own, and where it is called")]
pub unsafe fn clone(
    site: Site,
    run: *const c_void,
    stack: *mut c_void,
    flags: c_int,
    argument: *mut c_void,
    parent: *mut c_int,
    storage: *mut c_void,
    child: *mut c_int,
) -> c_int {
    // Variadic, which for these types makes no difference to its callers on x86-64 and aarch64.
    type Real = unsafe extern "C" fn(
        *const c_void,
        *mut c_void,
        c_int,
        *mut c_void,
        *mut c_int,
        *mut c_void,
        *mut c_int,
    ) -> c_int;
    if host(site).is_some() && flags & CLONE_VM != 0 && flags & CLONE_VFORK == 0 {
        return fail(EPERM);
    }
    // SAFETY: each argument is as `clone` takes it, by the promise of who calls this; those that
    // the flags don't ask for are not looked at.
    unsafe { real::<Real>(site, c"clone")(run, stack, flags, argument, parent, storage, child) }
}

/// `timer_create`, which is refused a function to be called on a thread of the C library's.
///
/// # Safety
/// As for the function.
pub unsafe fn timer(
    site: Site,
    clock: c_int,
    notice: *const c_void,
    timer: *mut *mut c_void,
) -> c_int {
    type Real = unsafe extern "C" fn(c_int, *const c_void, *mut *mut c_void) -> c_int;
    // SAFETY: `notice` and `timer` are as the function takes them, by the promise of who calls
    // this; it has this type.
    unsafe {
        match host(site).is_some() && wants_a_thread(notice) {
            true => fail(ENOTSUP),
            false => real::<Real>(site, c"timer_create")(clock, notice, timer),
        }
    }
}

/// `mq_notify`, as [`timer`].
///
/// # Safety
/// As for the function.
pub unsafe fn queue_notice(site: Site, queue: c_int, notice: *const c_void) -> c_int {
    type Real = unsafe extern "C" fn(c_int, *const c_void) -> c_int;
    // SAFETY: as in `timer`.
    unsafe {
        match host(site).is_some() && wants_a_thread(notice) {
            true => fail(ENOTSUP),
            false => real::<Real>(site, c"mq_notify")(queue, notice),
        }
    }
}

/// `aio_read` and `aio_write`, by name, as [`timer`].
///
/// # Safety
/// As for the function.
pub unsafe fn transfer(site: Site, name: &CStr, block: *mut c_void) -> c_int {
    type Real = unsafe extern "C" fn(*mut c_void) -> c_int;
    // SAFETY: as in `timer`.
    unsafe {
        match host(site).is_some() && wants_a_thread(notice_of(block)) {
            true => fail(ENOTSUP),
            false => real::<Real>(site, name)(block),
        }
    }
}

/// `aio_fsync`, as [`timer`].
///
/// # Safety
/// As for the function.
pub unsafe fn transfer_fsync(site: Site, kind: c_int, block: *mut c_void) -> c_int {
    type Real = unsafe extern "C" fn(c_int, *mut c_void) -> c_int;
    // SAFETY: as in `timer`.
    unsafe {
        match host(site).is_some() && wants_a_thread(notice_of(block)) {
            true => fail(ENOTSUP),
            false => real::<Real>(site, c"aio_fsync")(kind, block),
        }
    }
}

/// `lio_listio`, as [`timer`]: for the list, and for each of its transfers.
///
/// # Safety
/// As for the function.
pub unsafe fn list_of_transfers(
    site: Site,
    mode: c_int,
    list: *const *const c_void,
    count: c_int,
    notice: *const c_void,
) -> c_int {
    type Real = unsafe extern "C" fn(c_int, *const *const c_void, c_int, *const c_void) -> c_int;
    // SAFETY: as in `timer`; the list has that many places, each null or a transfer.
    unsafe {
        let count_of_list = usize::try_from(count).unwrap_or(0);
        let mut each = (0..count_of_list).map(|at| notice_of(*list.add(at)));
        match host(site).is_some()
            && (wants_a_thread(notice) || each.any(|notice| wants_a_thread(notice)))
        {
            true => fail(ENOTSUP),
            false => real::<Real>(site, c"lio_listio")(mode, list, count, notice),
        }
    }
}

/// `getaddrinfo_a`, as [`timer`]. Its error is EAI_SYSTEM.
///
/// # Safety
/// As for the function.
pub unsafe fn getaddrinfo_a(
    site: Site,
    mode: c_int,
    list: *const *const c_void,
    count: c_int,
    notice: *const c_void,
) -> c_int {
    const EAI_SYSTEM: c_int = -11;
    type Real = unsafe extern "C" fn(c_int, *const *const c_void, c_int, *const c_void) -> c_int;
    // SAFETY: as in `timer`.
    unsafe {
        if host(site).is_some() && wants_a_thread(notice) {
            fail(ENOTSUP);
            return EAI_SYSTEM;
        }
        real::<Real>(site, c"getaddrinfo_a")(mode, list, count, notice)
    }
}

/// The beginning of `struct sigevent`.
#[repr(C)]
struct Notice {
    value: *const c_void,
    signal: c_int,
    notify: c_int,
}

/// The beginning of `struct aiocb`.
#[repr(C)]
struct Transfer {
    file: c_int,
    operation: c_int,
    priority: c_int,
    buffer: *const c_void,
    bytes: usize,
    notice: Notice,
}

/// # Safety
/// Null, or a `struct aiocb`.
unsafe fn notice_of(block: *const c_void) -> *const c_void {
    match block.is_null() {
        true => block,
        // SAFETY: by the caller's promise.
        false => unsafe { (&raw const (*block.cast::<Transfer>()).notice).cast() },
    }
}

/// # Safety
/// Null, or a `struct sigevent`.
unsafe fn wants_a_thread(notice: *const c_void) -> bool {
    // SAFETY: by the caller's promise; only the field is looked at.
    !notice.is_null()
        && unsafe { (&raw const (*notice.cast::<Notice>()).notify).read() } == SIGEV_THREAD
}
