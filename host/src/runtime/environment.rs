//! The environment, as plugins see it: under the host's lock.
//!
//! The C library's list of variables is moved when one is added, and its readers take no lock. std
//! has a lock around both, but each copy of std has its own: a plugin that sets a variable while a
//! thread of the host's reads one would have that reader walk through freed memory. So what a
//! plugin asks for, the host's std does. What reads past every copy of std stays what it is in
//! every Rust program: the chapter on unloading names it.
//!
//! A text that is handed out, or kept by the C library, is a copy that is never freed; one of a
//! value that was handed out before is the same. The C library itself never frees a variable that
//! was set, either.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::env;
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr::null;

/// Answers `getenv` of a plugin's.
pub(super) unsafe extern "C" fn get(_: *const (), name: *const c_char) -> *const c_char {
    // SAFETY: a C string, as for the function that this stands for.
    match unsafe { text(name) }.filter(|name| is_name(name)).and_then(env::var_os) {
        Some(value) => kept(value).as_ptr(),
        None => null(),
    }
}

/// Answers `setenv` of a plugin's.
pub(super) unsafe extern "C" fn set(
    _: *const (),
    name: *const c_char,
    value: *const c_char,
    overwrite: c_int,
) -> c_int {
    // SAFETY: C strings, as for the function that this stands for.
    let (name, value) = unsafe { (text(name), text(value)) };
    let (Some(name), Some(value)) = (name.filter(|name| is_name(name)), value) else {
        return invalid();
    };
    let _one = WRITES.lock();
    if overwrite != 0 || env::var_os(name).is_none() {
        write(name, value);
    }
    0
}

/// Answers `unsetenv` of a plugin's.
pub(super) unsafe extern "C" fn unset(_: *const (), name: *const c_char) -> c_int {
    // SAFETY: as in `get`.
    let Some(name) = unsafe { text(name) }.filter(|name| is_name(name)) else { return invalid() };
    let _one = WRITES.lock();
    remove(name);
    0
}

/// Answers `putenv` of a plugin's: with a copy, since the plugin's own text may go with it.
pub(super) unsafe extern "C" fn put(_: *const (), line: *const c_char) -> c_int {
    // SAFETY: as in `get`.
    let Some(line) = (unsafe { text(line) }) else { return invalid() };
    let bytes = line.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=');
    let name = OsStr::from_bytes(&bytes[..at.unwrap_or(bytes.len())]);
    if !is_name(name) {
        return invalid();
    }
    let _one = WRITES.lock();
    match at {
        Some(at) => write(name, OsStr::from_bytes(&bytes[at + 1..])),
        None => remove(name),
    }
    0
}

/// Answers `clearenv` of a plugin's: one variable after the other, so that each reader sees a list
/// that is whole.
pub(super) unsafe extern "C" fn clear(_: *const ()) -> c_int {
    let _one = WRITES.lock();
    for (name, _) in env::vars_os().filter(|(name, _)| is_name(name)) {
        remove(&name);
    }
    0
}

/// Answers `openlog` of a plugin's: the C library keeps the name for as long as anybody writes to
/// the log.
pub(super) unsafe extern "C" fn open_log(
    _: *const (),
    name: *const c_char,
    options: c_int,
    facility: c_int,
) {
    // SAFETY: null or a C string, as for the function that this stands for.
    let name = unsafe { text(name) }.map_or(null(), |name| kept(name.to_owned()).as_ptr());
    // SAFETY: the name is never freed.
    unsafe { libc::openlog(name, options, facility) }
}

/// Held by a plugin's write, so that looking whether a variable is there and setting it are one
/// among plugins.
static WRITES: Mutex<()> = Mutex::new(());

fn write(name: &OsStr, value: &OsStr) {
    // SAFETY: whoever reads through a copy of std comes through this one, whose lock it takes: the
    // host's own does, and that of each plugin is led here. What reads past all of them is no worse
    // off than with a `set_var` of the host's, and is named in the docs.
    unsafe { env::set_var(name, value) }
}

fn remove(name: &OsStr) {
    // SAFETY: as in `write`.
    unsafe { env::remove_var(name) }
}

/// One that can be set: std panics where the C library says that it can't.
fn is_name(name: &OsStr) -> bool {
    !name.is_empty() && !name.as_bytes().contains(&b'=')
}

fn invalid() -> c_int {
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() = libc::EINVAL };
    -1
}

/// # Safety
/// Null or a C string, for as long as what this gives is used.
unsafe fn text<'t>(text: *const c_char) -> Option<&'t OsStr> {
    // SAFETY: not null, and the caller's.
    (!text.is_null()).then(|| OsStr::from_bytes(unsafe { CStr::from_ptr(text) }.to_bytes()))
}

/// The text for good: the same place for the same text.
fn kept(text: OsString) -> &'static CStr {
    static TEXTS: Mutex<Option<HashSet<&'static CStr>>> = Mutex::new(None);
    let text = CString::new(text.into_vec()).unwrap_or_default(); // a variable has no zero in it
    let mut texts = TEXTS.lock();
    let texts = texts.get_or_insert_default();
    match texts.get(text.as_c_str()) {
        Some(known) => known,
        None => {
            let text: &'static CStr = Box::leak(text.into_boxed_c_str());
            texts.insert(text);
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &CStr) -> Option<&'static CStr> {
        // SAFETY: a C string in, and one that is never freed out.
        unsafe {
            let found = get(null(), name.as_ptr());
            (!found.is_null()).then(|| CStr::from_ptr(found))
        }
    }

    #[test]
    fn each_function_answers_as_the_c_librarys_own() {
        let set = |name: &CStr, value: &CStr, over| {
            // SAFETY: C strings.
            unsafe { super::set(null(), name.as_ptr(), value.as_ptr(), over) }
        };
        // SAFETY: as above.
        let unset = |name: &CStr| unsafe { super::unset(null(), name.as_ptr()) };
        // SAFETY: as above.
        let put = |line: &CStr| unsafe { super::put(null(), line.as_ptr()) };
        let (name, none) = (c"MIDFLIGHT_ENVIRONMENT", c"");
        assert_eq!(value(name), None);
        assert_eq!(unset(name), 0, "what is not there can be unset");
        assert_eq!((set(name, c"one", 0), value(name)), (0, Some(c"one")));
        assert_eq!((set(name, c"two", 0), value(name)), (0, Some(c"one")), "it was there");
        assert_eq!((set(name, c"two", 1), value(name)), (0, Some(c"two")));
        assert_eq!(env::var("MIDFLIGHT_ENVIRONMENT").as_deref(), Ok("two"), "the host's own view");
        assert_eq!((put(c"MIDFLIGHT_ENVIRONMENT=a=b"), value(name)), (0, Some(c"a=b")));
        assert_eq!((put(name), value(name)), (0, None), "a name alone takes it away");
        assert_eq!((set(name, none, 1), value(name)), (0, Some(none)), "an empty value is one");
        assert_eq!((unset(name), value(name)), (0, None));
        for invalid in [none, c"=", c"a=b"] {
            assert_eq!((set(invalid, c"x", 1), unset(invalid)), (-1, -1), "{invalid:?}");
            assert_eq!(value(invalid), None);
        }
        assert_eq!(put(c"=x"), -1);
        // SAFETY: null is one of the values that they answer an error to.
        unsafe {
            assert_eq!(super::set(null(), null(), none.as_ptr(), 1), -1);
            assert_eq!(super::unset(null(), null()), -1);
        }
    }

    #[test]
    fn the_same_text_is_kept_once() {
        assert_eq!(kept("kept".into()).as_ptr(), kept("kept".into()).as_ptr());
        assert_ne!(kept("kept".into()).as_ptr(), kept("kept too".into()).as_ptr());
    }
}
