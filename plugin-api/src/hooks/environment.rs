//! The environment, and what else the C library keeps for the whole process by pointers.
//!
//! Each copy of std has a lock of its own around the C library's functions, which have none that a
//! reader takes. So a plugin that sets a variable and a host that reads one would meet in the C
//! library. The host's answers take the host's lock.

use super::{Site, host, real};
use std::ffi::{c_char, c_int, c_ulong};

/// `getenv`.
///
/// # Safety
/// As for the function.
pub unsafe fn getenv(site: Site, name: *const c_char) -> *const c_char {
    type Real = unsafe extern "C" fn(*const c_char) -> *const c_char;
    // SAFETY: `name` is a C string, by the promise of who calls this; the real function has this
    // type.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.getenv)(host.owner, name),
            None => real::<Real>(site, c"getenv")(name),
        }
    }
}

/// `secure_getenv`: nothing in a program that runs with more rights than its caller has.
///
/// # Safety
/// As for the function.
pub unsafe fn secure_getenv(site: Site, name: *const c_char) -> *const c_char {
    const AT_SECURE: c_ulong = 23;
    unsafe extern "C" {
        safe fn getauxval(kind: c_ulong) -> c_ulong;
    }
    if getauxval(AT_SECURE) != 0 {
        return std::ptr::null();
    }
    // SAFETY: `name` is a C string, by the promise of who calls this.
    unsafe { getenv(site, name) }
}

/// `setenv`.
///
/// # Safety
/// As for the function.
pub unsafe fn setenv(
    site: Site,
    name: *const c_char,
    value: *const c_char,
    overwrite: c_int,
) -> c_int {
    type Real = unsafe extern "C" fn(*const c_char, *const c_char, c_int) -> c_int;
    // SAFETY: as for `getenv`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.setenv)(host.owner, name, value, overwrite),
            None => real::<Real>(site, c"setenv")(name, value, overwrite),
        }
    }
}

/// `unsetenv`.
///
/// # Safety
/// As for the function.
pub unsafe fn unsetenv(site: Site, name: *const c_char) -> c_int {
    type Real = unsafe extern "C" fn(*const c_char) -> c_int;
    // SAFETY: as for `getenv`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.unsetenv)(host.owner, name),
            None => real::<Real>(site, c"unsetenv")(name),
        }
    }
}

/// `putenv`. With a host the text is copied: that of the caller may go with its library.
///
/// # Safety
/// As for the function.
pub unsafe fn putenv(site: Site, text: *const c_char) -> c_int {
    type Real = unsafe extern "C" fn(*const c_char) -> c_int;
    // SAFETY: as for `getenv`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.putenv)(host.owner, text),
            None => real::<Real>(site, c"putenv")(text),
        }
    }
}

/// `clearenv`.
///
/// # Safety
/// As for the function.
pub unsafe fn clearenv(site: Site) -> c_int {
    type Real = unsafe extern "C" fn() -> c_int;
    // SAFETY: as for `getenv`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.clearenv)(host.owner),
            None => real::<Real>(site, c"clearenv")(),
        }
    }
}

/// `openlog`. With a host the name is copied, for the same reason as in [`putenv`].
///
/// # Safety
/// As for the function.
pub unsafe fn openlog(site: Site, name: *const c_char, options: c_int, facility: c_int) {
    type Real = unsafe extern "C" fn(*const c_char, c_int, c_int);
    // SAFETY: as for `getenv`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.openlog)(host.owner, name, options, facility),
            None => real::<Real>(site, c"openlog")(name, options, facility),
        }
    }
}
