//! The pthread keys of a plugin.
//!
//! The key is the system's, so that the plugin can read its values by itself; its destructor is
//! not: glibc would call it at the end of a thread that outlives the library. And std never deletes
//! its keys, so the host does, or a process could load about a thousand generations.

use super::{DEAD, Owner, locals, owner};
use midflight_plugin::rt::Destructor;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The keys that a generation has made and not deleted.
#[derive(Default)]
pub(super) struct Keys(Mutex<BTreeMap<u32, Key>>);

#[derive(Clone, Copy)]
struct Key {
    /// Never used again, while the system gives the numbers of deleted keys out once more.
    serial: u64,
    destructor: Option<Destructor>,
}

impl Keys {
    /// The destructor of the very key that a value was set for.
    pub(super) fn destructor(&self, key: u32, serial: u64) -> Option<Destructor> {
        let keys = self.0.lock();
        keys.get(&key).filter(|key| key.serial == serial)?.destructor
    }

    /// The serial number of a key with a destructor.
    fn serial(&self, key: u32) -> Option<u64> {
        let keys = self.0.lock();
        keys.get(&key).filter(|key| key.destructor.is_some()).map(|key| key.serial)
    }

    pub(super) fn delete_all(&self) {
        for key in std::mem::take(&mut *self.0.lock()).into_keys() {
            // SAFETY: made by `create` and not deleted; nothing of the plugin's runs any more that
            // could use it.
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
    static SERIALS: AtomicU64 = AtomicU64::new(0);
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    // SAFETY: the plugin passes a place to write to, as to the function that this stands for.
    let made = unsafe { create_above(locals::key(), key) };
    if made == 0 {
        // SAFETY: just written.
        let number = unsafe { *key };
        let serial = SERIALS.fetch_add(1, Relaxed);
        owner.keys.0.lock().insert(number, Key { serial, destructor });
    }
    made
}

/// Makes a key whose number is above `floor`'s, the host's own.
///
/// When a thread ends, glibc takes the values of all keys away in the order of their numbers, also
/// of those that have no destructor. The plugin's destructors run when it comes to the host's key;
/// what they read by another key of the plugin's has to be there still.
///
/// # Safety
/// `key` is a place to write to.
unsafe fn create_above(floor: u32, key: *mut u32) -> c_int {
    let mut below = Vec::new();
    let made = loop {
        // SAFETY: the caller's promise.
        let made = unsafe { libc::pthread_key_create(key, None) };
        // SAFETY: just written, if it was made.
        match (made, unsafe { *key }) {
            (0, number) if number < floor => below.push(number),
            _ => break made,
        }
    };
    for number in below {
        // SAFETY: made above, and nobody knows it.
        unsafe { libc::pthread_key_delete(number) };
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
    if set == 0 && !owner.is(DEAD) {
        match owner.keys.serial(key).filter(|_| !value.is_null()) {
            Some(serial) => locals::owe_key(&owner, key, serial, value.cast_mut()),
            None => locals::forgive_key(&owner, key),
        }
    }
    set
}
