//! The plugin's runtime: what its code gives to the system goes to the host instead.
//!
//! [`export!`](crate::export) defines the functions of the system that leave something behind (destructors, keys, threads) as hidden
//! symbols of the cdylib. The linker then binds the references of std, and of C objects in the same cdylib, to those. Each jumps
//! to one of the functions here, which asks the host through the table whose address the host wrote into the file: also for
//! constructors, which run before anything else could tell them. Where there is no host, the real function is called.
#![allow(unsafe_code, reason = "stands for functions of the C library")]

use crate::plugin::{HostTable, Place};
use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use std::mem::transmute_copy;
use std::sync::atomic::Ordering::Relaxed;

/// Runs once for one object, on the thread that registered it.
pub type Destructor = unsafe extern "C" fn(*mut c_void);
/// A thread's body.
pub type Routine = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// The host's answers. Each gets the table's `owner` first, and is otherwise like the function that it stands for.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    pub local: unsafe extern "C" fn(*const (), Destructor, *mut c_void) -> c_int,
    pub key_create: unsafe extern "C" fn(*const (), *mut u32, Option<Destructor>) -> c_int,
    pub key_delete: unsafe extern "C" fn(*const (), u32) -> c_int,
    pub key_set: unsafe extern "C" fn(*const (), u32, *const c_void) -> c_int,
    pub thread: unsafe extern "C" fn(*const (), *mut c_ulong, *const c_void, Routine, *mut c_void) -> c_int,
    pub sigaction: unsafe extern "C" fn(*const (), c_int, *const c_void, *mut c_void) -> c_int,
    pub signal: unsafe extern "C" fn(*const (), c_int, usize) -> usize,
}

/// `__cxa_thread_atexit_impl`, and C++'s `__cxa_thread_atexit`.
///
/// # Safety
/// As for the function.
pub unsafe fn local(place: &Place, run: Destructor, object: *mut c_void, library: *mut c_void) -> c_int {
    type Real = unsafe extern "C" fn(Destructor, *mut c_void, *mut c_void) -> c_int;
    // SAFETY: the caller's; the real function has this type.
    unsafe {
        match host(place) {
            Some(host) => (host.hooks.local)(host.owner, run, object),
            None => real::<Real>(c"__cxa_thread_atexit_impl")(run, object, library),
        }
    }
}

/// `pthread_key_create`, `tss_create`.
///
/// # Safety
/// As for the function.
pub unsafe fn key_create(place: &Place, key: *mut u32, destructor: Option<Destructor>) -> c_int {
    type Real = unsafe extern "C" fn(*mut u32, Option<Destructor>) -> c_int;
    // SAFETY: as for `local`.
    unsafe {
        match host(place) {
            Some(host) => (host.hooks.key_create)(host.owner, key, destructor),
            None => real::<Real>(c"pthread_key_create")(key, destructor),
        }
    }
}

/// `pthread_key_delete`, `tss_delete`.
///
/// # Safety
/// As for the function.
pub unsafe fn key_delete(place: &Place, key: u32) -> c_int {
    type Real = unsafe extern "C" fn(u32) -> c_int;
    // SAFETY: as for `local`.
    unsafe {
        match host(place) {
            Some(host) => (host.hooks.key_delete)(host.owner, key),
            None => real::<Real>(c"pthread_key_delete")(key),
        }
    }
}

/// `pthread_setspecific`, `tss_set`.
///
/// # Safety
/// As for the function.
pub unsafe fn key_set(place: &Place, key: u32, value: *const c_void) -> c_int {
    type Real = unsafe extern "C" fn(u32, *const c_void) -> c_int;
    // SAFETY: as for `local`.
    unsafe {
        match host(place) {
            Some(host) => (host.hooks.key_set)(host.owner, key, value),
            None => real::<Real>(c"pthread_setspecific")(key, value),
        }
    }
}

/// `pthread_create`.
///
/// # Safety
/// As for the function.
pub unsafe fn thread(
    place: &Place,
    thread: *mut c_ulong,
    attributes: *const c_void,
    routine: Routine,
    argument: *mut c_void,
) -> c_int {
    type Real = unsafe extern "C" fn(*mut c_ulong, *const c_void, Routine, *mut c_void) -> c_int;
    // SAFETY: as for `local`.
    unsafe {
        match host(place) {
            Some(host) => (host.hooks.thread)(host.owner, thread, attributes, routine, argument),
            None => real::<Real>(c"pthread_create")(thread, attributes, routine, argument),
        }
    }
}

/// `sigaction`.
///
/// # Safety
/// As for the function.
pub unsafe fn sigaction(place: &Place, signal: c_int, action: *const c_void, previous: *mut c_void) -> c_int {
    type Real = unsafe extern "C" fn(c_int, *const c_void, *mut c_void) -> c_int;
    // SAFETY: as for `local`.
    unsafe {
        match host(place) {
            Some(host) => (host.hooks.sigaction)(host.owner, signal, action, previous),
            None => real::<Real>(c"sigaction")(signal, action, previous),
        }
    }
}

/// `signal`, and `bsd_signal`, which is the same.
///
/// # Safety
/// As for the function.
pub unsafe fn signal(place: &Place, signal: c_int, handler: usize) -> usize {
    type Real = unsafe extern "C" fn(c_int, usize) -> usize;
    // SAFETY: as for `local`.
    unsafe {
        match host(place) {
            Some(host) => (host.hooks.signal)(host.owner, signal, handler),
            None => real::<Real>(c"signal")(signal, handler),
        }
    }
}

/// C11's routine returns a number.
pub type C11Routine = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `thrd_create`: 0 is success, 2 an error.
///
/// # Safety
/// As for the function.
pub unsafe fn c11_thread(
    place: &Place,
    thread: *mut c_ulong,
    routine: C11Routine,
    argument: *mut c_void,
) -> c_int {
    unsafe extern "C" fn run(both: *mut c_void) -> *mut c_void {
        // SAFETY: from below, for one thread.
        let (routine, argument) = *unsafe { Box::from_raw(both.cast::<(C11Routine, *mut c_void)>()) };
        // SAFETY: the caller's routine and argument.
        std::ptr::without_provenance_mut(unsafe { routine(argument) }.cast_unsigned() as usize)
    }
    let both = Box::into_raw(Box::new((routine, argument)));
    // SAFETY: the caller's; `run` takes what it is given.
    if unsafe { self::thread(place, thread, std::ptr::null(), run, both.cast()) } == 0 {
        return 0;
    }
    // SAFETY: no thread has it.
    drop(unsafe { Box::from_raw(both) });
    2
}

/// The host's table, if a host has written its address into this file.
fn host(place: &Place) -> Option<&'static HostTable> {
    let table = std::ptr::with_exposed_provenance::<HostTable>(place.table.load(Relaxed));
    // SAFETY: 0, or what the host wrote before the file was mapped: a table that outlives the library.
    unsafe { table.as_ref() }
}

/// # Safety
/// The function is of the type `T`.
unsafe fn real<T: Copy>(name: &CStr) -> T {
    unsafe extern "C" {
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    const RTLD_NEXT: *mut c_void = std::ptr::without_provenance_mut(usize::MAX);
    // SAFETY: a name of the C library's.
    let found = unsafe { dlsym(RTLD_NEXT, name.as_ptr()) };
    assert!(!found.is_null(), "the C library has no {name:?}");
    // SAFETY: the caller's; function pointers have the size of pointers.
    unsafe { transmute_copy(&found) }
}

/// Defines the hooks in the crate that it is expanded in. For `export!` alone: in a library that a host links it would take over the
/// host's own threads.
#[doc(hidden)]
#[macro_export]
macro_rules! __hooks {
    () => {
        #[doc(hidden)]
        mod __midflight_hooks {
            use ::core::ffi::{c_int, c_ulong, c_void};
            use $crate::rt::hooks::{self, C11Routine, Destructor, Routine};

            unsafe extern "C" {
                // The one that `export!` defines beside this module.
                safe static midflight_place: $crate::rt::Place;
            }

            // SAFETY (of all): each stands for the function that its symbol names, and is called as that.
            unsafe extern "C" fn local(run: Destructor, object: *mut c_void, library: *mut c_void) -> c_int {
                unsafe { hooks::local(&midflight_place, run, object, library) }
            }
            unsafe extern "C" fn key_create(
                key: *mut u32,
                destructor: ::core::option::Option<Destructor>,
            ) -> c_int {
                unsafe { hooks::key_create(&midflight_place, key, destructor) }
            }
            unsafe extern "C" fn key_delete(key: u32) -> c_int {
                unsafe { hooks::key_delete(&midflight_place, key) }
            }
            unsafe extern "C" fn key_set(key: u32, value: *const c_void) -> c_int {
                unsafe { hooks::key_set(&midflight_place, key, value) }
            }
            unsafe extern "C" fn thread(
                thread: *mut c_ulong,
                attributes: *const c_void,
                routine: Routine,
                argument: *mut c_void,
            ) -> c_int {
                unsafe { hooks::thread(&midflight_place, thread, attributes, routine, argument) }
            }
            unsafe extern "C" fn c11_thread(
                thread: *mut c_ulong,
                routine: C11Routine,
                argument: *mut c_void,
            ) -> c_int {
                unsafe { hooks::c11_thread(&midflight_place, thread, routine, argument) }
            }
            unsafe extern "C" fn sigaction(
                signal: c_int,
                action: *const c_void,
                previous: *mut c_void,
            ) -> c_int {
                unsafe { hooks::sigaction(&midflight_place, signal, action, previous) }
            }
            unsafe extern "C" fn signal(signal: c_int, handler: usize) -> usize {
                unsafe { hooks::signal(&midflight_place, signal, handler) }
            }
            // Refused: such a handler is tied to no library, and would be called after this one is gone.
            unsafe extern "C" fn on_exit(_: *const c_void, _: *mut c_void) -> c_int {
                -1
            }
            // No library is found here, so that std's symboliser maps no file to name frames.
            unsafe extern "C" fn libraries(_: *const c_void, _: *mut c_void) -> c_int {
                0
            }

            $crate::__hook! {
                "__cxa_thread_atexit_impl" __cxa_thread_atexit_impl => local;
                "__cxa_thread_atexit" __cxa_thread_atexit => local;
                "pthread_key_create" pthread_key_create => key_create;
                "pthread_key_delete" pthread_key_delete => key_delete;
                "pthread_setspecific" pthread_setspecific => key_set;
                "pthread_create" pthread_create => thread;
                "tss_create" tss_create => key_create;
                "tss_delete" tss_delete => key_delete;
                "tss_set" tss_set => key_set;
                "thrd_create" thrd_create => c11_thread;
                "sigaction" sigaction_symbol => sigaction;
                "signal" signal_symbol => signal;
                "bsd_signal" bsd_signal => signal;
                "on_exit" on_exit_symbol => on_exit;
                "dl_iterate_phdr" dl_iterate_phdr => libraries;
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    ($($symbol:literal $name:ident => $target:ident;)*) => {
        $(
            #[cfg(target_arch = "x86_64")]
            ::core::arch::global_asm!(
                concat!(".globl ", $symbol),
                concat!(".hidden ", $symbol),
                concat!(".type ", $symbol, ",@function"),
                concat!($symbol, ": jmp {target}"),
                target = sym $target,
            );
            #[cfg(target_arch = "aarch64")]
            ::core::arch::global_asm!(
                concat!(".globl ", $symbol),
                concat!(".hidden ", $symbol),
                concat!(".type ", $symbol, ",%function"),
                concat!($symbol, ": b {target}"),
                target = sym $target,
            );
        )*
        // std refers to some of them weakly, which alone would not keep them.
        unsafe extern "C" {
            $( #[link_name = $symbol] fn $name(); )*
        }
        #[used]
        static KEEP: [unsafe extern "C" fn(); [$($symbol),*].len()] = [$($name),*];
    };
}
