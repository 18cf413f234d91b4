//! `dlsym`: who looks a function up by its name gets what the linker would have given to him.

use super::{RTLD_NEXT, SYMBOLS, Site};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;

const RTLD_DEFAULT: *mut c_void = null_mut();

/// The hooks' own addresses, in the order of [`SYMBOLS`].
type Kept = [unsafe extern "C" fn(); SYMBOLS.len()];

/// `dlsym`: of a function that the plugin's runtime stands for the hook, of everything else what
/// the loader says.
///
/// # Safety
/// As for the function, with the kept hooks of the same cdylib.
pub unsafe fn dlsym(
    site: Site,
    kept: &Kept,
    library: *mut c_void,
    name: *const c_char,
) -> *mut c_void {
    // SAFETY: the loader is asked what `dlsym` was asked. It takes the library that it is called
    // from for the one that asks, which is this one.
    let ask = |library| unsafe { (site.dlsym)(library, name) };
    // SAFETY: a C string, by the caller's promise.
    unsafe { answer(kept, library, name, ask) }
}

/// `dlvsym`: as [`dlsym`].
///
/// # Safety
/// As for the function, with the kept hooks of the same cdylib.
pub unsafe fn dlvsym(
    site: Site,
    kept: &Kept,
    library: *mut c_void,
    name: *const c_char,
    version: *const c_char,
) -> *mut c_void {
    // SAFETY: as in `dlsym`.
    let ask = |library| unsafe { (site.dlvsym)(library, name, version) };
    // SAFETY: as in `dlsym`.
    unsafe { answer(kept, library, name, ask) }
}

/// # Safety
/// `name` is a C string that was found if `ask` finds it.
unsafe fn answer(
    kept: &Kept,
    library: *mut c_void,
    name: *const c_char,
    ask: impl Fn(*mut c_void) -> *mut c_void,
) -> *mut c_void {
    unsafe extern "C" {
        safe fn dlerror() -> *mut c_char;
    }
    let found = ask(library);
    if found.is_null() || name.is_null() {
        return found;
    }
    // SAFETY: a C string, by the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    let Some(at) = SYMBOLS.iter().position(|symbol| symbol.as_bytes() == name.to_bytes()) else {
        return found;
    };
    // A library may have a function of its own of that name, which is none of the C library's.
    let is_the_systems =
        [RTLD_NEXT, RTLD_DEFAULT].into_iter().any(|all| all == library || ask(all) == found);
    // What those look-ups did not find is no error of the caller's.
    let _ = dlerror();
    if is_the_systems { kept[at] as *mut c_void } else { found }
}
