//! The door of a group whose state is being handed over: who comes waits before it, and is let in
//! by the release that comes after.

use crate::contained::contained;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::task::Waker;
use std::{mem, thread};

/// Shut when it is made; opened once.
#[derive(Default)]
pub(crate) struct Door {
    waiting: Mutex<Waiting>,
    opened: Condvar,
}

#[derive(Default)]
struct Waiting {
    is_open: bool,
    /// Of those that wait without a thread.
    wakers: Vec<Waker>,
}

impl Door {
    /// Waits until it is open. In no pin of the group: whoever opens it waits for those.
    #[cold]
    pub(crate) fn wait(&self) {
        let mut waiting = self.waiting.lock();
        self.opened.wait_while(&mut waiting, |waiting| !waiting.is_open);
    }

    /// Is it open? If not, `waker` is woken when it is; `place` is where that is kept, for one who
    /// asks again.
    #[cold]
    pub(crate) fn is_open(&self, place: &mut Option<usize>, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.is_open {
            return true;
        }
        let wakers = &mut waiting.wakers;
        match *place {
            Some(at) => wakers[at].clone_from(waker),
            None => {
                *place = Some(wakers.len());
                wakers.push(waker.clone());
            }
        }
        false
    }

    pub(crate) fn open(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_open = true;
        let wakers = mem::take(&mut waiting.wakers);
        drop(waiting);
        self.opened.notify_all();
        if wakers.is_empty() {
            return;
        }
        // A waker is somebody else's code, and what stands behind it may be a plugin's: not on the
        // thread that opens doors, where another is to be had.
        let wakers = Arc::new(Mutex::new(wakers));
        let theirs = Arc::clone(&wakers);
        let wake = |wakers: &Mutex<Vec<Waker>>| {
            for waker in mem::take(&mut *wakers.lock()) {
                // One that panics wakes nobody, and keeps nobody else from it.
                let _ = contained(|| waker.wake());
            }
        };
        let started =
            thread::Builder::new().name("midflight-wake".to_owned()).spawn(move || wake(&theirs));
        if started.is_err() {
            wake(&wakers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Door;
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    struct Tells(Sender<&'static str>, &'static str);

    impl Wake for Tells {
        fn wake(self: Arc<Self>) {
            self.0.send(self.1).expect("somebody listens");
        }
    }

    #[test]
    fn who_waits_is_woken_once_by_its_last_waker() {
        let (door, (sent, woken)) = (Door::default(), channel());
        let waker = |name| Waker::from(Arc::new(Tells(sent.clone(), name)));
        let (mut one, mut other) = (None, None);
        assert!(!door.is_open(&mut one, &waker("first")));
        assert!(!door.is_open(&mut other, &waker("second")));
        assert!(!door.is_open(&mut one, &waker("third")));
        door.open();
        let next = || woken.recv_timeout(Duration::from_secs(10)).expect("woken");
        assert_eq!([next(), next()], ["third", "second"]);
        drop(sent);
        assert!(woken.recv().is_err(), "nobody else");
        assert!(door.is_open(&mut one, Waker::noop()));
        door.wait();
    }
}
