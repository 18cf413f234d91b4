//! The ways on from a release that is not to be called at once: past a door that is shut, to one
//! side of a fork, and by a clock.
//!
//! In all of them what a call looks for is not bound, so that a call has no test for them: it finds
//! nothing, leaves, and comes here.

use super::cell::GroupCell;
use super::door::Door;
use super::pin::{self, Call};
use crate::gate::release::Release;
use midflight_plugin::Fault;
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What whoever enters a release does first.
pub(crate) enum Detour {
    /// Waits before it, for the release after this one: a state is being handed over.
    Shut(Arc<Door>),
    /// Goes on in one of two: a canary.
    Fork(Fork),
    /// Stays, and is timed.
    Timed,
}

/// Two releases of which each outermost call, request and lease takes one.
pub(crate) struct Fork {
    pub(crate) serves: Arc<Release>,
    pub(crate) tried: Arc<Release>,
    /// Of all that comes, how much goes to `tried`: out of 2^64.
    pub(crate) share: u64,
    /// Makes the keys of one canary other ones than those of the next.
    pub(crate) salt: u64,
}

impl Fork {
    pub(super) fn by_chance(&self) -> &Arc<Release> {
        self.side(chance())
    }

    /// The same one for the same key, for as long as the canary lasts.
    pub(super) fn by_key(&self, key: &(impl Hash + ?Sized)) -> &Arc<Release> {
        let mut hasher = DefaultHasher::new();
        self.salt.hash(&mut hasher);
        key.hash(&mut hasher);
        self.side(hasher.finish())
    }

    /// The one that `generation` of `plugin` serves in, if one does.
    pub(crate) fn by_generation(&self, plugin: &str, generation: u64) -> &Arc<Release> {
        let tried = self.tried.generation(plugin).is_some_and(|tried| tried.number == generation);
        if tried { &self.tried } else { &self.serves }
    }

    fn side(&self, drawn: u64) -> &Arc<Release> {
        if drawn < self.share { &self.tried } else { &self.serves }
    }
}

/// A number that no other thread has a part in (xorshift64*).
fn chance() -> u64 {
    thread_local!(static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1));
    let mut state = STATE.get();
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    STATE.set(state);
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

/// What became of entering.
pub(crate) enum Settled<R> {
    In(R),
    /// Nobody is let in before this opens.
    Shut(Arc<Door>),
}

impl GroupCell {
    /// As [`pin::enter`], in a release that serves: it waits at a door, and takes at a fork the
    /// side that `choose` says.
    pub(crate) fn settle<R, E: From<Fault>>(
        &self,
        call: Call,
        choose: impl Fn(&Fork) -> &Arc<Release>,
        f: impl FnOnce(&Release) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut f = Some(f);
        loop {
            let run = |release: &Release| f.take().map(|f| f(release)).transpose();
            match self.try_settle(call, &choose, run)? {
                Settled::In(Some(answer)) => return Ok(answer),
                // Not taken, and so not run.
                Settled::In(None) => {}
                // In no pin: whoever opens it waits for those.
                Settled::Shut(door) => door.wait(),
            }
        }
    }

    /// As [`settle`](GroupCell::settle), for who can't wait here.
    pub(crate) fn try_settle<R, E: From<Fault>>(
        &self,
        call: Call,
        choose: impl Fn(&Fork) -> &Arc<Release>,
        f: impl FnOnce(&Release) -> Result<R, E>,
    ) -> Result<Settled<R>, E> {
        pin::enter(self, call, |entered| {
            let entered = match &entered.release().detour {
                None | Some(Detour::Timed) => entered,
                Some(Detour::Shut(door)) => return Ok(Settled::Shut(Arc::clone(door))),
                Some(Detour::Fork(fork)) => {
                    let side = Arc::as_ptr(choose(fork));
                    // SAFETY: the fork's release owns both of its sides for as long as it lives.
                    unsafe { entered.over(side) }
                }
            };
            f(entered.release()).map(Settled::In)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(share: u64, salt: u64) -> Fork {
        let release = |number| {
            let mut release = Release::vacant();
            release.number = number;
            Arc::new(release)
        };
        Fork { serves: release(1), tried: release(2), share, salt }
    }

    #[test]
    fn a_share_is_what_comes_by() {
        let fork = fork(u64::MAX / 10, 0);
        let tried = (0..100_000).filter(|_| fork.by_chance().number == 2).count();
        // Ten standard deviations.
        assert!((9_050..10_950).contains(&tried), "{tried} of 100,000");
        let keyed = (0..100_000_u32).filter(|key| fork.by_key(key).number == 2).count();
        assert!((9_050..10_950).contains(&keyed), "{keyed} of 100,000");
    }

    #[test]
    fn a_key_stays_on_its_side_and_is_drawn_anew_for_the_next_canary() {
        let (one, next) = (fork(u64::MAX / 2, 1), fork(u64::MAX / 2, 2));
        let sides =
            |fork: &Fork| (0..1_000_u32).map(|key| fork.by_key(&key).number).collect::<Vec<_>>();
        assert_eq!(sides(&one), sides(&one));
        assert_ne!(sides(&one), sides(&next));
    }
}
