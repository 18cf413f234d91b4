//! Callbacks: objects that a plugin leaves with the host, to be called later. Others may keep
//! handles, and hand them on; they can't call.
//!
//! Nobody can say how long they are kept, so they keep nothing: a handle is memory of the host's,
//! and whoever calls through it pins the release that serves. Is the object's generation in it, the
//! pin holds its code for the length of the call, as for any call; is it not, the answer is
//! `revoked`. So publishing a newer version revokes all that the older one has left, with no list
//! and no lock on the way of a call.
//!
//! # Who drops the object
//! Whoever takes its registration out of the generation's list, which is done once:
//! - the stop of the generation, before the instance is dropped. From then on there is no list, and
//!   nothing can be registered;
//! - the last drop of a handle, by whatever thread, in a [visit](super::Owner::visit). The visit
//!   comes first and the list after: it is refused only once the generation was stopped, and by
//!   then there is no list.

use super::{Owner, owner};
use crate::gate::cell::GroupCell;
use crate::gate::pin::Call;
use crate::gate::release::Release;
use midflight_plugin::Fault;
use midflight_plugin::rt::{
    About, Bound, Entered, Functions, Left, Origin, Outcome, RStr, Registered, Registering,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ptr::null;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, Weak};

/// The objects that a generation has left, by number. `None`: it was stopped, and leaves nothing
/// more.
pub(super) struct Callbacks(Mutex<Option<BTreeMap<u64, Arc<Registration>>>>);

impl Default for Callbacks {
    fn default() -> Self {
        Callbacks(Mutex::new(Some(BTreeMap::new())))
    }
}

impl Callbacks {
    fn add(&self, registration: &Arc<Registration>) -> bool {
        let mut list = self.0.lock();
        let added =
            list.as_mut().map(|list| list.insert(registration.number, Arc::clone(registration)));
        added.is_some()
    }

    /// True for one caller.
    fn take(&self, number: u64) -> bool {
        self.0.lock().as_mut().is_some_and(|list| list.remove(&number).is_some())
    }
}

/// One object of a generation's, for as long as there are handles on it.
struct Registration {
    number: u64,
    left: Left,
    /// Not a share: handles outlive everything.
    owner: Weak<Owner>,
    origin: Origin,
    /// Its plugin's group, once there is one. It keeps the cell, and a cell keeps neither the host
    /// nor, after the host's end, a release.
    cell: OnceLock<Arc<GroupCell>>,
}

/// What plugins and the host's code hold, as a pointer to its first field.
#[repr(C)]
struct Handle {
    registered: Registered,
    registration: Arc<Registration>,
}

impl Registration {
    /// The group of the plugin; `None` before it was ever active, and after the host's end.
    fn cell(&self) -> Option<&GroupCell> {
        if let Some(cell) = self.cell.get() {
            return Some(cell);
        }
        let found = self.owner.upgrade()?.host()?.group_of(&self.origin.plugin)?;
        Some(self.cell.get_or_init(|| found))
    }

    /// Runs `f` on the object's release, if that is the one that a call would get now.
    fn enter<R>(&self, f: impl FnOnce() -> R) -> Result<R, Fault> {
        let revoked = || Fault::Revoked { plugin: self.origin.plugin.clone() };
        let serves = |release: &Release| {
            let serving = release.generation(&self.origin.plugin);
            serving.is_some_and(|generation| generation.number == self.origin.generation)
        };
        let cell = self.cell().ok_or_else(revoked)?;
        let Origin { plugin, generation, .. } = &self.origin;
        // Of a canary's sides the one that the object is of.
        cell.settle(
            Call::REQUEST,
            |fork| fork.by_generation(plugin, *generation),
            |release| if serves(release) { Ok(f()) } else { Err(revoked()) },
        )
    }

    /// # Safety
    /// The registration was taken out of the list by this caller, and the generation's code stays
    /// mapped meanwhile.
    unsafe fn drop_object(&self, owner: &Owner) {
        let nobody = Bound { this: null(), table: null(), origin: &raw const self.origin };
        // SAFETY: the object's own function, once, by the caller's promise.
        if let Err(fault) = unsafe { (self.left.drop)(self.left.this).finish::<()>(&nobody) } {
            owner.lost(fault);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let registration = &self.registration;
        let Some(owner) = registration.owner.upgrade() else { return };
        owner.visit(|| {
            if !owner.callbacks.take(registration.number) {
                return;
            }
            // SAFETY: just taken; the visit keeps the code, whether or not the release is entered.
            let mut drop_it = Some(|| unsafe { registration.drop_object(&owner) });
            // As a call, where that can be: what the object's `Drop` calls back then gets its own
            // version.
            let _ = registration.enter(|| drop_it.take().map(|drop_it| drop_it()));
            if let Some(drop_it) = drop_it {
                drop_it();
            }
        });
    }
}

impl Owner {
    /// Drops what the generation has left to be called, which nobody can call any more. On a
    /// worker: it runs the plugin's code.
    pub(crate) fn revoke(&self) {
        let list = self.callbacks.0.lock().take();
        for registration in list.into_iter().flatten() {
            // SAFETY: out of the list; a generation is stopped, and its start fails, before it is
            // closed, and both come by here first.
            unsafe { registration.1.drop_object(self) };
        }
    }
}

/// Answers a plugin's `Callback::new`.
pub(super) unsafe extern "C" fn register(of: *const (), left: Left) -> Registering {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    let (plugin, version) = owner.names();
    let origin = Origin::new(plugin, version, owner.table.generation);
    let registration = Arc::new(Registration {
        number: NUMBERS.fetch_add(1, Relaxed),
        left,
        owner: Arc::downgrade(&owner),
        origin,
        cell: OnceLock::new(),
    });
    let taken = owner.callbacks.add(&registration);
    let handle =
        Arc::new(Handle { registered: Registered { functions: &FUNCTIONS }, registration });
    Registering { handle: Arc::into_raw(handle).cast(), taken }
}

static FUNCTIONS: Functions = Functions { enter, clone, drop: less, about };

unsafe extern "C" fn enter(
    handle: *const Registered,
    context: *mut (),
    run: unsafe extern "C" fn(*mut (), *mut ()),
) -> Entered {
    // SAFETY: from `register`, and the caller has a share.
    let Handle { registration, .. } = unsafe { &*handle.cast::<Handle>() };
    // SAFETY: the caller's function with its own argument. The object is there: it is dropped with
    // the last handle, of which the caller has one, or by the stop of its generation, which is in
    // the release that is entered.
    let entered = registration.enter(|| unsafe { run(context, registration.left.this) });
    let (outcome, bound) = match entered {
        Ok(()) => (Outcome::Called, 0),
        Err(Fault::NestedTooDeep { bound }) => (Outcome::NestedTooDeep, bound),
        Err(Fault::TooManyGroups { bound }) => (Outcome::TooManyGroups, bound),
        Err(_) => (Outcome::Revoked, 0),
    };
    Entered { outcome, bound }
}

unsafe extern "C" fn clone(handle: *const Registered) {
    // SAFETY: from `register`, and the caller has a share.
    unsafe { Arc::increment_strong_count(handle.cast::<Handle>()) };
}

unsafe extern "C" fn less(handle: *const Registered) {
    // SAFETY: from `register`, and the caller gives up its share.
    unsafe { Arc::decrement_strong_count(handle.cast::<Handle>()) };
}

unsafe extern "C" fn about(handle: *const Registered) -> About {
    // SAFETY: from `register`, and the caller has a share for as long as it uses the texts.
    let handle: &'static Handle = unsafe { &*handle.cast::<Handle>() };
    let origin = &handle.registration.origin;
    About {
        maker: handle.registration.owner.as_ptr().cast(),
        plugin: RStr::from_str(&origin.plugin),
        version: RStr::from_str(&origin.version),
        generation: origin.generation,
    }
}
