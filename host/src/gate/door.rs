//! The door of a group whose state is being handed over: who comes waits before it, and is let in by the release that comes after.

use parking_lot::{Condvar, Mutex};

/// Shut when it is made; opened once.
#[derive(Default)]
pub(crate) struct Door {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    /// Waits until it is open. In no pin of the group: whoever opens it waits for those.
    #[cold]
    pub(crate) fn wait(&self) {
        let mut open = self.open.lock();
        self.opened.wait_while(&mut open, |open| !*open);
    }

    pub(crate) fn open(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}
