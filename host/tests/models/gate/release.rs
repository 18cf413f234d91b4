//! A release that knows whether it was freed.

use super::cell::Shares;
use super::sync::{Arc, forever};
use crate::plant::{Plant, planted};
use loom::cell::UnsafeCell;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

pub(crate) struct Release {
    pub(crate) number: u64,
    /// What it is made of: written by who makes it and by its end, read by calls. Loom tells where
    /// nothing orders them.
    parts: UnsafeCell<u64>,
    freed: &'static AtomicBool,
    pub(crate) shares: Shares,
    /// What it leads to.
    inner: Option<Arc<Release>>,
}

// SAFETY: loom panics where `parts` is used by two threads at once.
unsafe impl Sync for Release {}

impl Release {
    pub(crate) fn new(number: u64) -> Self {
        let parts = UnsafeCell::new(0);
        // SAFETY: nobody else has it.
        parts.with_mut(|parts| unsafe { *parts = number });
        Release {
            number,
            parts,
            freed: forever(AtomicBool::new(false)),
            shares: Shares::new(),
            inner: None,
        }
    }

    pub(crate) fn leading(number: u64, inner: u64) -> Self {
        let mut release = Release::new(number);
        release.inner = Some(Arc::new(Release::new(inner)));
        release
    }

    pub(crate) fn side(&self) -> Option<*const Release> {
        self.inner.as_ref().map(Arc::as_ptr)
    }

    pub(crate) fn sides(mut self) -> Vec<Arc<Release>> {
        let inner = self.inner.take();
        inner.into_iter().filter(|_| !planted(Plant::SidesForgotten)).collect()
    }

    pub(crate) fn used(&self) {
        assert!(!self.freed.load(Relaxed), "release {} is used after it was freed", self.number);
        // SAFETY: loom has looked.
        let parts = self.parts.with(|parts| unsafe { *parts });
        assert_eq!(parts, self.number);
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        // SAFETY: loom has looked.
        self.parts.with_mut(|parts| unsafe { *parts = 0 });
        assert!(!self.freed.swap(true, Relaxed), "release {} is freed twice", self.number);
    }
}
