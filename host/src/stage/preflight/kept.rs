//! The child that is kept ready: most of a preflight's time is the start of a program, and that can
//! be had ahead.
//!
//! One child serves one candidate: after that it is a process in which somebody's code has run. So
//! the next one is started when an update is over. It waits at its socket, and has run nothing but
//! the way to `preflight()`. What it inherited may be out of date when it is wanted; then it is
//! thrown away, as if it had never been.

use super::circumstances::{self, Circumstances};
use super::parent::Preflight;
use super::process::Child;
use crate::contained::say;
use parking_lot::Mutex;

/// A host's place for the next child.
pub(crate) struct Kept {
    place: Mutex<Place>,
    /// Of the thread that starts the workers, which start children. `None` where that can't be
    /// told, and once the host ends: then none is kept.
    inherited: Mutex<Option<circumstances::Place>>,
    /// Children that have said their verdict. To kill one and wait for it takes time that an update
    /// need not wait for. `None` once the host ends, which waits for them.
    spent: Mutex<Option<Vec<Preflight>>>,
}

enum Place {
    Empty,
    Ready(Box<Ready>),
    /// The host ends, or wants none.
    Closed,
}

struct Ready {
    child: Child,
    /// As it was started in.
    circumstances: Circumstances,
}

impl Kept {
    /// On the thread that starts the workers.
    pub(crate) fn new(on: bool) -> Self {
        let place = if on { Place::Empty } else { Place::Closed };
        let inherited = on.then(circumstances::Place::of_this_thread).and_then(Result::ok);
        Kept {
            place: Mutex::new(place),
            inherited: Mutex::new(inherited),
            spent: Mutex::new(Some(Vec::new())),
        }
    }

    fn circumstances(&self) -> Option<Circumstances> {
        Circumstances::of(self.inherited.lock().as_ref()?).ok()
    }

    /// The child, if it can be what a new one would be. On a worker.
    pub(super) fn take(&self) -> Option<Child> {
        let Ready { child, circumstances } = *self.place.lock().take()?;
        if child.has_ended() {
            let _ = say!(debug, "the child that was kept for a preflight has ended");
            return None;
        }
        let now = self.circumstances()?;
        match circumstances.difference(&now) {
            None => Some(child),
            Some(what) => {
                let _ =
                    say!(debug, "the service has changed {what}: a child of before is of no use");
                None
            }
        }
    }

    /// Starts the next child, unless there is one. On a worker: it waits for the program to be
    /// started. Where none can be started the next preflight tries it again.
    pub(crate) fn fill(&self) {
        let mut place = self.place.lock();
        if !matches!(*place, Place::Empty) {
            return;
        }
        // Before the start: what changes between the two is a difference.
        let Some(circumstances) = self.circumstances() else { return };
        match Child::start() {
            Ok(child) => *place = Place::Ready(Box::new(Ready { child, circumstances })),
            Err(error) => {
                let _ = say!(debug, %error, "no child can be kept for a preflight");
            }
        }
    }

    /// Takes note of a child that has ended, or was killed: nothing is left of it. Doesn't wait.
    pub(crate) fn look(&self) {
        // Whoever has it is filling it or emptying it.
        let Some(mut place) = self.place.try_lock() else { return };
        if matches!(&*place, Place::Ready(ready) if ready.child.has_ended()) {
            *place = Place::Empty;
        }
    }

    /// Takes a child that has said its verdict, for [`end_spent`](Kept::end_spent). Where the host
    /// ends, the child ends here, before its update is prepared: the host waits for that.
    pub(super) fn spend(&self, preflight: Preflight) {
        if let Some(spent) = &mut *self.spent.lock() {
            spent.push(preflight);
        }
    }

    /// Ends the children that have said their verdicts. On a worker, when its update is prepared.
    pub(crate) fn end_spent(&self) {
        // Locked until they are gone, so that who closes waits for that.
        if let Some(spent) = &mut *self.spent.lock() {
            spent.clear();
        }
    }

    /// Ends the child and the spent ones, and keeps none any more. When it returns, nothing of a
    /// child's is open here but what an update under way has.
    pub(crate) fn close(&self) {
        *self.place.lock() = Place::Closed;
        *self.spent.lock() = None;
        *self.inherited.lock() = None;
    }
}

impl Place {
    fn take(&mut self) -> Option<Box<Ready>> {
        match std::mem::replace(self, Place::Empty) {
            Place::Ready(ready) => Some(ready),
            other => {
                *self = other;
                None
            }
        }
    }
}
