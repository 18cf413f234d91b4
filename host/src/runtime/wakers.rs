//! Wakers of the host's that stand for a plugin's own.
//!
//! A plugin that awaits a service of the host's inside of something that has wakers of its own
//! would leave one of them with the host. What it leaves is this instead: code and memory of the
//! host's, which looks before each wake whether the plugin is still there, and keeps it there for
//! the length of the wake.

use super::{Owner, owner};
use midflight_plugin::rt::{HostHandle, Wakers};
use parking_lot::Mutex;
use std::sync::Arc;
use std::task::{Wake, Waker};

pub(crate) const WAKERS: Wakers = Wakers { stand_in, end };

/// What the plugin holds. The handle is lent to services, which clone it.
#[repr(C)]
struct Handle {
    first: HostHandle,
    waker: Arc<StandIn>,
}

struct StandIn {
    owner: Arc<Owner>,
    /// `None` once it has ended.
    target: Mutex<Option<Target>>,
}

#[derive(Clone, Copy)]
struct Target {
    object: *const (),
    keep: unsafe extern "C" fn(*const ()),
    wake: unsafe extern "C" fn(*const ()),
}

// SAFETY: the object is a waker behind a lock.
unsafe impl Send for Target {}

impl Wake for StandIn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // What the waker does can end the very future that it is for, and this with it: so not
        // under the lock.
        self.owner.visit(|| {
            let target = self.target.lock();
            let Some(found) = *target else { return };
            // SAFETY: it has not ended, and can't before the lock is free; the plugin is there.
            unsafe { (found.keep)(found.object) };
            drop(target);
            // SAFETY: the share that was counted; the plugin is there.
            unsafe { (found.wake)(found.object) };
        });
    }
}

/// Answers `Wakers::stand_in`.
unsafe extern "C" fn stand_in(
    of: *const (),
    target: *const (),
    keep: unsafe extern "C" fn(*const ()),
    wake: unsafe extern "C" fn(*const ()),
) -> *const () {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    let waker = Arc::new(StandIn {
        owner,
        target: Mutex::new(Some(Target { object: target, keep, wake })),
    });
    let first = HostHandle::of(Waker::from(Arc::clone(&waker)));
    Box::into_raw(Box::new(Handle { first, waker })).cast_const().cast()
}

/// Answers `Wakers::end`.
unsafe extern "C" fn end(handle: *const ()) {
    // SAFETY: from `stand_in`, once, by the plugin's promise.
    let handle = unsafe { Box::from_raw(handle.cast::<Handle>().cast_mut()) };
    *handle.waker.target.lock() = None;
}
