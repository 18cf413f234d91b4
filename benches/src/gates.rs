//! Other ways to the same function: what a proxy calls through instead of a slot.
//!
//! The proxies that the macro generates are generic over their gate. So each way here is a gate,
//! and what follows it, the load of the function, the call, the reply, is the very code that
//! follows ours.
#![allow(unsafe_code, reason = "gates promise that what they hand out is held")]

use arc_swap::ArcSwap;
use bench_contracts::Work;
use midflight_plugin::rt::{Bound, Contract, Fault, Gate};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Acquire;

/// What the calls of [`Work`] look like through the gate `G`.
pub type Calls<G> = <dyn Work as Contract>::Proxy<G>;

/// The limit of every way that can be switched: one load, and nothing that keeps what was loaded.
pub struct Limit(AtomicPtr<Bound>);

/// `arc_swap`'s guard.
pub struct Swap(ArcSwap<Bound>);

/// A lock around an `Arc`.
pub struct Locked(RwLock<Arc<Bound>>);

// SAFETY: of each gate here: `through` was promised a bound instance that outlives it.
unsafe impl Gate for Limit {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        // SAFETY: leaked by `limit`.
        f(unsafe { &*self.0.load(Acquire) })
    }
}

// SAFETY: as above.
unsafe impl Gate for Swap {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        f(&self.0.load())
    }
}

// SAFETY: as above.
unsafe impl Gate for Locked {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        f(&self.0.read())
    }
}

/// Calls through [`Limit`].
///
/// # Safety
/// Of all three: `bound` is an instance of [`Work`], and is held for as long as the result is used.
pub unsafe fn limit(bound: Bound) -> Calls<Limit> {
    // SAFETY: the caller's.
    unsafe { <dyn Work as Contract>::proxy(Limit(AtomicPtr::new(Box::into_raw(Box::new(bound))))) }
}

/// Calls through [`Swap`].
///
/// # Safety
/// As for [`limit`].
pub unsafe fn arc_swap(bound: Bound) -> Calls<Swap> {
    // SAFETY: the caller's.
    unsafe { <dyn Work as Contract>::proxy(Swap(ArcSwap::from_pointee(bound))) }
}

/// Calls through [`Locked`].
///
/// # Safety
/// As for [`limit`].
pub unsafe fn rwlock(bound: Bound) -> Calls<Locked> {
    // SAFETY: the caller's.
    unsafe { <dyn Work as Contract>::proxy(Locked(RwLock::new(Arc::new(bound)))) }
}
