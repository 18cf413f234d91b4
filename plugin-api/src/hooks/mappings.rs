//! Mappings of memory: the heaps of an allocator that a plugin brings with it.

use super::{Site, host, real};
use std::ffi::{c_int, c_void};

/// `mmap`, `mmap64`.
///
/// # Safety
/// As for the function.
pub unsafe fn map(
    site: Site,
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: i64,
) -> *mut c_void {
    type Real = unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, c_int, i64) -> *mut c_void;
    // SAFETY: the arguments are the caller's of `mmap`, and the host's function and the real one
    // take those; the real one has this type.
    unsafe {
        match host(site) {
            Some(host) => {
                (host.hooks.map)(host.owner, address, length, protection, flags, file, offset)
            }
            None => real::<Real>(site, c"mmap")(address, length, protection, flags, file, offset),
        }
    }
}

/// `munmap`.
///
/// # Safety
/// As for the function.
pub unsafe fn unmap(site: Site, address: *mut c_void, length: usize) -> c_int {
    type Real = unsafe extern "C" fn(*mut c_void, usize) -> c_int;
    // SAFETY: as in `map`, of `munmap`.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.unmap)(host.owner, address, length),
            None => real::<Real>(site, c"munmap")(address, length),
        }
    }
}

/// `mremap`, whose last argument is there only where the flags say so: the C library passes it on
/// unread, and so does this.
///
/// # Safety
/// As for the function.
pub unsafe fn remap(
    site: Site,
    address: *mut c_void,
    length: usize,
    new_length: usize,
    flags: c_int,
    new_address: *mut c_void,
) -> *mut c_void {
    type Real = unsafe extern "C" fn(*mut c_void, usize, usize, c_int, ...) -> *mut c_void;
    // SAFETY: as in `map`, of `mremap`.
    unsafe {
        match host(site) {
            Some(host) => {
                (host.hooks.remap)(host.owner, address, length, new_length, flags, new_address)
            }
            None => real::<Real>(site, c"mremap")(address, length, new_length, flags, new_address),
        }
    }
}
