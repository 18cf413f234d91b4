//! The pthread keys of a plugin.
//!
//! The key is the system's, so that the plugin can read its values by itself; its destructor is not: glibc would call it at the
//! end of a thread that outlives the library. And std never deletes its keys, so the host does, or a process could load
//! about a thousand generations.

use super::{DEAD, Owner, locals, owner};
use midflight_plugin::rt::Destructor;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

/// The keys that a generation has made and not deleted.
#[derive(Default)]
pub(super) struct Keys(Mutex<BTreeMap<u32, Option<Destructor>>>);

impl Keys {
    pub(super) fn destructor(&self, key: u32) -> Option<Destructor> {
        self.0.lock().get(&key).copied().flatten()
    }

    pub(super) fn delete_all(&self) {
        for key in std::mem::take(&mut *self.0.lock()).into_keys() {
            // SAFETY: made by `create` and not deleted; nothing of the plugin's runs any more that could use it.
            unsafe { libc::pthread_key_delete(key) };
        }
    }
}

/// Answers `pthread_key_create` of a plugin's.
pub(super) unsafe extern "C" fn create(
    of: *const (),
    key: *mut u32,
    destructor: Option<Destructor>,
) -> c_int {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    // SAFETY: the plugin passes a place to write to, as to the function that this stands for.
    let made = unsafe { libc::pthread_key_create(key, None) };
    if made == 0 {
        // SAFETY: just written.
        owner.keys.0.lock().insert(unsafe { *key }, destructor);
    }
    made
}

/// Answers `pthread_key_delete` of a plugin's.
pub(super) unsafe extern "C" fn delete(of: *const (), key: u32) -> c_int {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    owner.keys.0.lock().remove(&key);
    // SAFETY: the plugin's own key, or an error.
    unsafe { libc::pthread_key_delete(key) }
}

/// Answers `pthread_setspecific` of a plugin's.
pub(super) unsafe extern "C" fn set(of: *const (), key: u32, value: *const c_void) -> c_int {
    // SAFETY: the plugin passes what its table holds.
    let owner: Arc<Owner> = unsafe { owner(of) };
    // SAFETY: the plugin's own key, or an error.
    let set = unsafe { libc::pthread_setspecific(key, value) };
    if set == 0 && !owner.is(DEAD) && owner.keys.destructor(key).is_some() {
        match value.is_null() {
            true => locals::forgive_key(&owner, key),
            false => locals::owe_key(&owner, key, value.cast_mut()),
        }
    }
    set
}
