//! The plugin's runtime: what its code gives to the system goes to the host instead.
//!
//! [`export!`](crate::export) defines the functions of the system that leave something behind
//! (destructors, keys, threads, handlers of signals and of exits), that the copies of std race for
//! (the environment), or that find such functions (`dlsym`), as hidden symbols of the cdylib. The
//! linker then binds the references of std, and of C objects in the same cdylib, to those. Each
//! jumps to one of the functions here, which asks the host through the table whose address the host
//! wrote into the file: also for constructors, which run before anything else could tell them.
//! Where there is no host, the real function is called.
//!
//! Which functions those are, a table of all that the C library exports decides:
//! `host/inspect/glibc-symbols.txt`.
#![allow(unsafe_code, reason = "stands for functions of the C library")]

mod ends;
mod environment;
mod lookups;
mod mappings;
mod refusals;
mod signals;

pub use ends::{at_exit, at_fork, at_quick_exit, cancel, exit_thread};
pub use environment::{clearenv, getenv, openlog, putenv, secure_getenv, setenv, unsetenv};
pub use lookups::{dlsym, dlvsym};
pub use mappings::{map, remap, unmap};
pub use refusals::{
    clone, getaddrinfo_a, list_of_transfers, queue_notice, refuse, timer, transfer, transfer_fsync,
};
pub use signals::{SignalStyle, sigaction, signal, sigset, sysv_signal};

use crate::plugin::{HostTable, Place};
use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use std::mem::transmute_copy;
use std::sync::atomic::Ordering::Relaxed;

/// Runs once for one object, on the thread that registered it.
pub type Destructor = unsafe extern "C" fn(*mut c_void);
/// A thread's body. It may end its thread from within, which unwinds.
pub type Routine = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;
/// `dlsym`
pub type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
/// `dlvsym`
pub type Dlvsym = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void;

/// The host's answers. Each gets the table's `owner` first, and is otherwise like the function that
/// it stands for.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    pub local: unsafe extern "C" fn(*const (), Destructor, *mut c_void) -> c_int,
    pub key_create: unsafe extern "C" fn(*const (), *mut u32, Option<Destructor>) -> c_int,
    pub key_delete: unsafe extern "C" fn(*const (), u32) -> c_int,
    pub key_set: unsafe extern "C" fn(*const (), u32, *const c_void) -> c_int,
    pub thread:
        unsafe extern "C" fn(*const (), *mut c_ulong, *const c_void, Routine, *mut c_void) -> c_int,
    /// Is this thread one of the plugin's own, and in no call?
    pub may_exit: unsafe extern "C" fn(*const ()) -> bool,
    /// Is it one of the plugin's own threads?
    pub owns_thread: unsafe extern "C" fn(*const (), c_ulong) -> bool,
    pub sigaction: unsafe extern "C" fn(*const (), c_int, *const c_void, *mut c_void) -> c_int,
    pub signal: unsafe extern "C" fn(*const (), SignalStyle, c_int, usize) -> usize,
    /// What it answers is never freed and never changed.
    pub getenv: unsafe extern "C" fn(*const (), *const c_char) -> *const c_char,
    pub setenv: unsafe extern "C" fn(*const (), *const c_char, *const c_char, c_int) -> c_int,
    pub unsetenv: unsafe extern "C" fn(*const (), *const c_char) -> c_int,
    pub putenv: unsafe extern "C" fn(*const (), *const c_char) -> c_int,
    pub clearenv: unsafe extern "C" fn(*const ()) -> c_int,
    pub openlog: unsafe extern "C" fn(*const (), *const c_char, c_int, c_int),
    pub map: unsafe extern "C" fn(
        *const (),
        *mut c_void,
        usize,
        c_int,
        c_int,
        c_int,
        i64,
    ) -> *mut c_void,
    pub unmap: unsafe extern "C" fn(*const (), *mut c_void, usize) -> c_int,
    pub remap: unsafe extern "C" fn(
        *const (),
        *mut c_void,
        usize,
        usize,
        c_int,
        *mut c_void,
    ) -> *mut c_void,
}

/// What the hooks of one cdylib know of it.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// Its own, whatever else in the process has one of that name.
    pub place: &'static Place,
    /// The loader's. It answers for the library that it is called from.
    pub dlsym: Dlsym,
    /// As `dlsym`.
    pub dlvsym: Dlvsym,
    /// The address by which the C library knows the cdylib.
    pub library: *const (),
}

/// `__cxa_thread_atexit_impl`, and C++'s `__cxa_thread_atexit`.
///
/// # Safety
/// As for the function.
pub unsafe fn local(
    site: Site,
    run: Destructor,
    object: *mut c_void,
    library: *mut c_void,
) -> c_int {
    type Real = unsafe extern "C" fn(Destructor, *mut c_void, *mut c_void) -> c_int;
    // SAFETY: `run` and `object` are what the C library would take, by the promise of who calls
    // this; the real function has this type.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.local)(host.owner, run, object),
            None => real::<Real>(site, c"__cxa_thread_atexit_impl")(run, object, library),
        }
    }
}

/// `pthread_key_create`, `tss_create`.
///
/// # Safety
/// As for the function.
pub unsafe fn key_create(site: Site, key: *mut u32, destructor: Option<Destructor>) -> c_int {
    type Real = unsafe extern "C" fn(*mut u32, Option<Destructor>) -> c_int;
    // SAFETY: as for `local`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.key_create)(host.owner, key, destructor),
            None => real::<Real>(site, c"pthread_key_create")(key, destructor),
        }
    }
}

/// `pthread_key_delete`, `tss_delete`.
///
/// # Safety
/// As for the function.
pub unsafe fn key_delete(site: Site, key: u32) -> c_int {
    type Real = unsafe extern "C" fn(u32) -> c_int;
    // SAFETY: as for `local`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.key_delete)(host.owner, key),
            None => real::<Real>(site, c"pthread_key_delete")(key),
        }
    }
}

/// `pthread_setspecific`, `tss_set`.
///
/// # Safety
/// As for the function.
pub unsafe fn key_set(site: Site, key: u32, value: *const c_void) -> c_int {
    type Real = unsafe extern "C" fn(u32, *const c_void) -> c_int;
    // SAFETY: as for `local`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.key_set)(host.owner, key, value),
            None => real::<Real>(site, c"pthread_setspecific")(key, value),
        }
    }
}

/// `pthread_create`.
///
/// # Safety
/// As for the function.
pub unsafe fn thread(
    site: Site,
    thread: *mut c_ulong,
    attributes: *const c_void,
    routine: Routine,
    argument: *mut c_void,
) -> c_int {
    type Real = unsafe extern "C" fn(*mut c_ulong, *const c_void, Routine, *mut c_void) -> c_int;
    // SAFETY: as for `local`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.thread)(host.owner, thread, attributes, routine, argument),
            None => real::<Real>(site, c"pthread_create")(thread, attributes, routine, argument),
        }
    }
}

/// C11's routine returns a number. It may end its thread from within, which unwinds.
pub type C11Routine = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;

/// `thrd_create`: 0 is success, 2 an error.
///
/// # Safety
/// As for the function.
pub unsafe fn c11_thread(
    site: Site,
    thread: *mut c_ulong,
    routine: C11Routine,
    argument: *mut c_void,
) -> c_int {
    // No value with a Drop lives in this frame: a forced unwind (thrd_exit, cancellation) passes
    // through it.
    unsafe extern "C-unwind" fn run(both: *mut c_void) -> *mut c_void {
        // SAFETY: from below, for one thread.
        let (routine, argument) =
            *unsafe { Box::from_raw(both.cast::<(C11Routine, *mut c_void)>()) };
        // SAFETY: `routine` takes `argument`, by the promise of who called `c11_thread`.
        std::ptr::without_provenance_mut(unsafe { routine(argument) }.cast_unsigned() as usize)
    }
    let both = Box::into_raw(Box::new((routine, argument)));
    // SAFETY: `thread` is as in `c11_thread`; `run` takes what it is given, and whoever calls it
    // lets an unwind pass.
    if unsafe { self::thread(site, thread, std::ptr::null(), run, both.cast()) } == 0 {
        return 0;
    }
    // SAFETY: no thread has it.
    drop(unsafe { Box::from_raw(both) });
    2
}

/// The host's table, if a host has written its address into this file.
fn host(site: Site) -> Option<&'static HostTable> {
    let table = std::ptr::with_exposed_provenance::<HostTable>(site.place.table.load(Relaxed));
    // SAFETY: 0, or what the host wrote before the file was mapped: a table that outlives the
    // library.
    unsafe { table.as_ref() }
}

/// Past every definition in the library that asks.
const RTLD_NEXT: *mut c_void = std::ptr::without_provenance_mut(usize::MAX);

/// # Safety
/// The function is of the type `T`.
unsafe fn real<T: Copy>(site: Site, name: &CStr) -> T {
    // SAFETY: a name of the C library's.
    let found = unsafe { (site.dlsym)(RTLD_NEXT, name.as_ptr()) };
    assert!(!found.is_null(), "the C library has no {name:?}");
    // SAFETY: the function is of the type `T`, by the promise of who calls this; function pointers
    // have the size of pointers.
    unsafe { transmute_copy(&found) }
}

fn fail(errno: c_int) -> c_int {
    unsafe extern "C" {
        fn __errno_location() -> *mut c_int;
    }
    // SAFETY: this thread's own.
    unsafe { *__errno_location() = errno };
    -1
}

macro_rules! symbols {
    ($($symbol:literal => $target:ident;)*) => {
        /// The functions that the plugin's runtime stands for.
        pub const SYMBOLS: [&str; [$($symbol),*].len()] = [$($symbol),*];
    };
}
__hook_rows!([symbols]);

/// That what is expanded with it is a part of `export!`. A macro that defines symbols wants one,
/// and nothing makes one but an `unsafe` of whoever expands it, which `forbid(unsafe_code)` sees.
#[derive(Debug)]
pub struct OfExport(());

impl OfExport {
    /// # Safety
    /// It stands for `export!`, in a crate that is nothing but a cdylib.
    pub const unsafe fn promised() -> Self {
        OfExport(())
    }
}

/// Hands the functions that the plugin's runtime stands for, each with the one that answers for it,
/// to a macro, behind what that wants first.
#[doc(hidden)]
#[macro_export]
macro_rules! __hook_rows {
    ([$($then:tt)*] $($first:tt)*) => {
        $($then)*! {
            $($first)*
            "__cxa_thread_atexit_impl" => local;
            "__cxa_thread_atexit" => local;
            "pthread_key_create" => key_create;
            "__pthread_key_create" => key_create;
            "pthread_key_delete" => key_delete;
            "pthread_setspecific" => key_set;
            "__pthread_setspecific" => key_set;
            "tss_create" => key_create;
            "tss_delete" => key_delete;
            "tss_set" => key_set;
            "pthread_create" => thread;
            "thrd_create" => c11_thread;
            "clone" => clone;
            "__clone" => clone;
            "pthread_exit" => exit_thread;
            "thrd_exit" => exit_c11_thread;
            "pthread_cancel" => cancel;
            "timer_create" => timer;
            "mq_notify" => queue_notice;
            "aio_read" => aio_read;
            "aio_read64" => aio_read;
            "aio_write" => aio_write;
            "aio_write64" => aio_write;
            "aio_fsync" => transfer_fsync;
            "aio_fsync64" => transfer_fsync;
            "lio_listio" => list_of_transfers;
            "lio_listio64" => list_of_transfers;
            "getaddrinfo_a" => getaddrinfo_a;
            "sigaction" => sigaction;
            "__sigaction" => sigaction;
            "signal" => signal;
            "bsd_signal" => signal;
            "ssignal" => signal;
            "sysv_signal" => sysv_signal;
            "__sysv_signal" => sysv_signal;
            "sigset" => sigset;
            "getenv" => getenv;
            "secure_getenv" => secure_getenv;
            "__secure_getenv" => secure_getenv;
            "setenv" => setenv;
            "unsetenv" => unsetenv;
            "putenv" => putenv;
            "clearenv" => clearenv;
            "openlog" => openlog;
            "mmap" => map;
            "mmap64" => map;
            "munmap" => unmap;
            "mremap" => remap;
            "__cxa_atexit" => at_exit;
            "__cxa_at_quick_exit" => at_quick_exit;
            "__register_atfork" => at_fork;
            "dlsym" => dlsym;
            "dlvsym" => dlvsym;
            "dl_iterate_phdr" => libraries;
            "on_exit" => refuse;
            "register_printf_function" => refuse;
            "register_printf_specifier" => refuse;
            "register_printf_type" => refuse;
            "mcheck" => refuse;
            "mcheck_pedantic" => refuse;
            "profil" => refuse;
            "sprofil" => refuse;
        }
    };
}
use __hook_rows;

/// Defines the hooks in the crate that it is expanded in. For `export!` alone: in a library that a
/// host links it would take over the host's own threads. So it takes an [`OfExport`].
///
/// What it says, it says by paths of `rt`'s: `core` and `concat!` can be the author's.
#[doc(hidden)]
#[macro_export]
macro_rules! __hooks {
    ($promise:expr) => {
        #[doc(hidden)]
        mod __midflight_hooks {
            use $crate::rt::core::ffi::{c_char, c_int, c_ulong, c_void};
            use $crate::rt::core::option::Option;
            use $crate::rt::core::primitive::{i64, u8, u32, usize};
            use $crate::rt::hooks::{self, C11Routine, Destructor, Routine, Site};

            unsafe extern "C" {
                // The one that `export!` defines beside this module, by the name of the section
                // that it alone lies in. The loader binds its own name to whatever was first of
                // that name in the process; this one the linker binds, and to nothing else.
                safe static __start_midflight_places: $crate::rt::Place;
                // In each cdylib its own.
                static __dso_handle: u8;
                fn midflight_loaders_dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
                fn midflight_loaders_dlvsym(
                    library: *mut c_void,
                    name: *const c_char,
                    version: *const c_char,
                ) -> *mut c_void;
            }

            #[inline(always)]
            pub(super) fn place() -> &'static $crate::rt::Place {
                &__start_midflight_places
            }

            #[inline(always)]
            fn site() -> Site {
                Site {
                    place: place(),
                    dlsym: midflight_loaders_dlsym,
                    dlvsym: midflight_loaders_dlvsym,
                    library: (&raw const __dso_handle).cast(),
                }
            }

            $crate::__answer! {
                $promise;
                "C" local(run: Destructor, object: *mut c_void, library: *mut c_void) -> c_int;
                "C" key_create(key: *mut u32, destructor: Option<Destructor>) -> c_int;
                "C" key_delete(key: u32) -> c_int;
                "C" key_set(key: u32, value: *const c_void) -> c_int;
                "C" thread(
                    thread: *mut c_ulong,
                    attributes: *const c_void,
                    routine: Routine,
                    argument: *mut c_void
                ) -> c_int;
                "C" c11_thread(thread: *mut c_ulong, routine: C11Routine, argument: *mut c_void) -> c_int;
                "C" clone(
                    run: *const c_void,
                    stack: *mut c_void,
                    flags: c_int,
                    argument: *mut c_void,
                    parent: *mut c_int,
                    storage: *mut c_void,
                    child: *mut c_int
                ) -> c_int;
                "C-unwind" exit_thread(value: *mut c_void) -> !;
                "C" cancel(thread: c_ulong) -> c_int;
                "C" timer(clock: c_int, notice: *const c_void, timer: *mut *mut c_void) -> c_int;
                "C" queue_notice(queue: c_int, notice: *const c_void) -> c_int;
                "C" transfer_fsync(kind: c_int, block: *mut c_void) -> c_int;
                "C" list_of_transfers(
                    mode: c_int,
                    list: *const *const c_void,
                    count: c_int,
                    notice: *const c_void
                ) -> c_int;
                "C" getaddrinfo_a(
                    mode: c_int,
                    list: *const *const c_void,
                    count: c_int,
                    notice: *const c_void
                ) -> c_int;
                "C" sigaction(signal: c_int, action: *const c_void, previous: *mut c_void) -> c_int;
                "C" signal(signal: c_int, handler: usize) -> usize;
                "C" sysv_signal(signal: c_int, handler: usize) -> usize;
                "C" sigset(signal: c_int, handler: usize) -> usize;
                "C" getenv(name: *const c_char) -> *const c_char;
                "C" secure_getenv(name: *const c_char) -> *const c_char;
                "C" setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int;
                "C" unsetenv(name: *const c_char) -> c_int;
                "C" putenv(text: *const c_char) -> c_int;
                "C" clearenv() -> c_int;
                "C" openlog(name: *const c_char, options: c_int, facility: c_int) -> ();
                "C" map(
                    address: *mut c_void,
                    length: usize,
                    protection: c_int,
                    flags: c_int,
                    file: c_int,
                    offset: i64
                ) -> *mut c_void;
                "C" unmap(address: *mut c_void, length: usize) -> c_int;
                "C" remap(
                    address: *mut c_void,
                    length: usize,
                    new_length: usize,
                    flags: c_int,
                    new_address: *mut c_void
                ) -> *mut c_void;
                "C" at_exit(run: Destructor, argument: *mut c_void, library: *const ()) -> c_int;
                "C" at_quick_exit(run: Destructor, library: *const ()) -> c_int;
                "C" at_fork(
                    before: *const c_void,
                    parent: *const c_void,
                    child: *const c_void,
                    library: *const ()
                ) -> c_int;
            }
            // SAFETY (of all): as in `__answer!`.
            unsafe extern "C-unwind" fn exit_c11_thread(value: c_int) -> ! {
                let value = value.cast_unsigned() as usize;
                unsafe { exit_thread($crate::rt::core::ptr::without_provenance_mut(value)) }
            }
            unsafe extern "C" fn aio_read(block: *mut c_void) -> c_int {
                unsafe { hooks::transfer(site(), c"aio_read", block) }
            }
            unsafe extern "C" fn aio_write(block: *mut c_void) -> c_int {
                unsafe { hooks::transfer(site(), c"aio_write", block) }
            }
            unsafe extern "C" fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void {
                unsafe { hooks::dlsym(site(), &KEPT, library, name) }
            }
            unsafe extern "C" fn dlvsym(
                library: *mut c_void,
                name: *const c_char,
                version: *const c_char,
            ) -> *mut c_void {
                unsafe { hooks::dlvsym(site(), &KEPT, library, name, version) }
            }
            extern "C" fn refuse() -> c_int {
                hooks::refuse()
            }
            // No library is found here, so that std's symboliser maps no file to name frames.
            unsafe extern "C" fn libraries(_: *const c_void, _: *mut c_void) -> c_int {
                0
            }

            $crate::__hook_rows!([$crate::__hook] $promise;);
            $crate::__loaders!($promise);
        }
    };
}

/// One function of the cdylib's for each of `rt::hooks`, with what that must know of the cdylib.
#[doc(hidden)]
#[macro_export]
macro_rules! __answer {
    (
        $promise:expr;
        $($abi:literal $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*
    ) => {
        const _: $crate::rt::hooks::OfExport = $promise;
        $(
            // SAFETY: it stands for the function that its symbol names, and is called as that.
            unsafe extern $abi fn $name($($argument: $type),*) -> $result {
                unsafe { hooks::$name(site(), $($argument),*) }
            }
        )*
    };
}

/// The loader's own `dlsym` and `dlvsym`, which the hooks of those names stand before: by the
/// version that the C library has had them in since its first for the machine, so that the linker
/// takes them for others. A jump, so that the loader sees the caller.
#[doc(hidden)]
#[macro_export]
macro_rules! __loaders {
    ($promise:expr) => {
        const _: $crate::rt::hooks::OfExport = $promise;
        #[cfg(target_arch = "x86_64")]
        $crate::rt::core::arch::global_asm!(
            ".symver midflight_versioned_dlsym, dlsym@GLIBC_2.2.5",
            ".symver midflight_versioned_dlvsym, dlvsym@GLIBC_2.2.5",
            ".globl midflight_loaders_dlsym",
            ".hidden midflight_loaders_dlsym",
            ".type midflight_loaders_dlsym,@function",
            "midflight_loaders_dlsym: jmp midflight_versioned_dlsym@PLT",
            // Keeps the place, which its section's name alone does not where nothing is exported.
            ".reloc ., BFD_RELOC_NONE, midflight_place",
            ".globl midflight_loaders_dlvsym",
            ".hidden midflight_loaders_dlvsym",
            ".type midflight_loaders_dlvsym,@function",
            "midflight_loaders_dlvsym: jmp midflight_versioned_dlvsym@PLT",
        );
        #[cfg(target_arch = "aarch64")]
        $crate::rt::core::arch::global_asm!(
            ".symver midflight_versioned_dlsym, dlsym@GLIBC_2.17",
            ".symver midflight_versioned_dlvsym, dlvsym@GLIBC_2.17",
            ".globl midflight_loaders_dlsym",
            ".hidden midflight_loaders_dlsym",
            ".type midflight_loaders_dlsym,%function",
            "midflight_loaders_dlsym: b midflight_versioned_dlsym",
            // As above.
            ".reloc ., BFD_RELOC_NONE, midflight_place",
            ".globl midflight_loaders_dlvsym",
            ".hidden midflight_loaders_dlvsym",
            ".type midflight_loaders_dlvsym,%function",
            "midflight_loaders_dlvsym: b midflight_versioned_dlvsym",
        );
    };
}

/// A symbol of each name, which jumps to what answers for it. Name and target become assembly as
/// they are.
#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    ($promise:expr; $($symbol:literal => $target:ident;)*) => {
        const _: $crate::rt::hooks::OfExport = $promise;
        $(
            #[cfg(target_arch = "x86_64")]
            $crate::rt::core::arch::global_asm!(
                $crate::rt::core::concat!(".globl ", $symbol),
                $crate::rt::core::concat!(".hidden ", $symbol),
                $crate::rt::core::concat!(".type ", $symbol, ",@function"),
                $crate::rt::core::concat!($symbol, ": jmp {target}"),
                target = sym $target,
            );
            #[cfg(target_arch = "aarch64")]
            $crate::rt::core::arch::global_asm!(
                $crate::rt::core::concat!(".globl ", $symbol),
                $crate::rt::core::concat!(".hidden ", $symbol),
                $crate::rt::core::concat!(".type ", $symbol, ",%function"),
                $crate::rt::core::concat!($symbol, ": b {target}"),
                target = sym $target,
            );
        )*
        // std refers to some of them weakly, which alone would not keep them.
        #[used]
        static KEPT: [unsafe extern "C" fn(); [$($symbol),*].len()] = [$({
            unsafe extern "C" {
                #[link_name = $symbol]
                fn symbol();
            }
            symbol
        }),*];
    };
}
