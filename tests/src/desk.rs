//! The desk: what the test provides to its plugins, and through which it stands inside of their
//! calls, starts and stops.

use crate::log::WITHIN;
use midflight::{Fault, Slot};
use probe_contracts::{Begin, Desk as Contract, End, Probe};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// A token that is never held.
pub(crate) const OPEN: u64 = 0;

/// The token of a hook that hangs.
const HOOK: u64 = u64::MAX / 4;

/// What is asked between two calls of a chain, with the number of calls that are to come.
type Between = Box<dyn FnMut(u32) + Send>;
/// What a start does besides, with its generation.
type Starting = Arc<dyn Fn(u64) + Send + Sync>;

/// The service behind the plugins of one [`Rig`](crate::Rig). All that may block here does so for
/// [`WITHIN`] at most.
#[derive(Default)]
pub struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    probe: OnceLock<Slot<dyn Probe>>,
    between: Mutex<Option<Between>>,
    starting: Mutex<Option<Starting>>,
}

#[derive(Default)]
struct State {
    /// Which thread waits with which token.
    inside: BTreeMap<u64, u32>,
    let_go: BTreeSet<u64>,
    begin: BTreeMap<u32, Begin>,
    end: BTreeMap<u32, End>,
    hung: BTreeSet<u32>,
    started: Vec<u64>,
    retiring: BTreeMap<u32, End>,
    retiring_hangs: BTreeSet<u32>,
    stop_hangs: BTreeSet<u32>,
    told: Vec<u64>,
    hooks: BTreeMap<(u32, String), Begin>,
    hanging: Option<(u32, String)>,
    hooked: Vec<String>,
    asked: usize,
    stopped: Vec<u64>,
    faults: Vec<Fault>,
}

/// For the test.
impl Desk {
    /// Waits until a call is inside with `token`, and says on which thread.
    #[track_caller]
    pub fn until_inside(&self, token: u64) -> u32 {
        self.until(&format!("a call with token {token}"), |state| state.inside.get(&token).copied())
    }

    /// Lets the call with `token` go on, now or when it comes.
    pub fn let_go(&self, token: u64) {
        self.state().let_go.insert(token);
        self.changed.notify_all();
    }

    /// What starts of a build are to do.
    pub fn begin(&self, version: u32, begin: Begin) {
        self.state().begin.insert(version, begin);
    }

    /// What stops of a build are to do.
    pub fn end(&self, version: u32, end: End) {
        self.state().end.insert(version, end);
    }

    /// What a build does when it is told that it retires.
    pub fn when_retiring(&self, version: u32, end: End) {
        self.state().retiring.insert(version, end);
    }

    /// A build hangs in its stop.
    pub fn hang_stop(&self, version: u32) {
        self.state().stop_hangs.insert(version);
    }

    /// Lets a build return from its stop.
    pub fn unhang_stop(&self, version: u32) {
        self.let_go(stop(version));
    }

    /// A build that is told that it retires hangs in that.
    pub fn hang_retiring(&self, version: u32) {
        self.state().retiring_hangs.insert(version);
    }

    /// Waits until a build hangs in its `retiring`.
    #[track_caller]
    pub fn until_retiring_hangs(&self, version: u32) {
        self.until_inside(retiring(version));
    }

    /// Lets a build return from its `retiring`.
    pub fn unhang_retiring(&self, version: u32) {
        self.let_go(retiring(version));
    }

    /// The generations that were told that they retire, in order.
    pub fn told(&self) -> Vec<u64> {
        self.state().told.clone()
    }

    /// What a hook of a build is to do.
    pub fn when_hooked(&self, version: u32, hook: &str, begin: Begin) {
        self.state().hooks.insert((version, hook.to_owned()), begin);
    }

    /// A hook of a build hangs until [`unhang_hook`](Desk::unhang_hook).
    pub fn hang_hook(&self, version: u32, hook: &str) {
        self.state().hanging = Some((version, hook.to_owned()));
    }

    /// Waits until it does.
    #[track_caller]
    pub fn until_hook_hangs(&self) {
        self.until_inside(HOOK);
    }

    /// Lets it return.
    pub fn unhang_hook(&self) {
        self.let_go(HOOK);
    }

    /// The hooks that ran, in order, as `probe 2 after_switch`. Without questions for health.
    pub fn hooks(&self) -> Vec<String> {
        self.state().hooked.clone()
    }

    /// Waits for so many more questions for health than there were.
    #[track_caller]
    pub fn until_asked_again(&self, times: usize) {
        let until = self.state().asked + times;
        self.until("questions for health", |state| (state.asked >= until).then_some(()));
    }

    /// Starts of a build hang.
    pub fn hang(&self, version: u32) {
        self.state().hung.insert(version);
    }

    /// Waits until a start hangs.
    #[track_caller]
    pub fn until_hung(&self, version: u32) {
        self.until_inside(start(version));
    }

    /// Starts of a build don't hang any more.
    pub fn unhang(&self, version: u32) {
        self.state().hung.remove(&version);
        self.let_go(start(version));
    }

    /// Waits until a generation is stopped.
    #[track_caller]
    pub fn until_stopped(&self, generation: u64) {
        let stopped = |state: &State| state.stopped.contains(&generation).then_some(());
        self.until(&format!("the stop of generation {generation}"), stopped);
    }

    /// Does `what` in each start, on its thread.
    pub fn when_starting(&self, what: impl Fn(u64) + Send + Sync + 'static) {
        *self.starting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(what));
    }

    /// Asks `between` before each call that a chain goes through here.
    pub fn between(&self, between: impl FnMut(u32) + Send + 'static) {
        *self.between.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(between));
    }

    /// The generations that were told to go on in their start, and those that were stopped, in
    /// order.
    pub fn lives(&self) -> (Vec<u64>, Vec<u64>) {
        let state = self.state();
        (state.started.clone(), state.stopped.clone())
    }

    /// What chains ended with, if not with an answer.
    pub fn faults(&self) -> Vec<Fault> {
        self.state().faults.clone()
    }

    /// Chains go through this slot.
    pub(crate) fn chain_through(&self, probe: Slot<dyn Probe>) {
        self.probe.set(probe).expect("the desk has one slot");
    }
}

/// For the plugin.
impl Contract for Desk {
    fn starting(&self, version: u32, generation: u64) -> Begin {
        if self.state().hung.contains(&version) {
            self.wait(start(version));
        }
        // Not under the lock: other starts may come meanwhile.
        let starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(starting) = starting {
            starting(generation);
        }
        let mut state = self.state();
        let begin = state.begin.get(&version).copied().unwrap_or(Begin::Go);
        if begin == Begin::Go {
            state.started.push(generation);
        }
        begin
    }

    fn retiring(&self, version: u32, generation: u64) -> End {
        let mut state = self.state();
        // A panic here would be the plugin's to see. So what is told too late counts as not told.
        if !state.stopped.contains(&generation) {
            state.told.push(generation);
        }
        let end = state.retiring.get(&version).copied().unwrap_or(End::Quietly);
        let hangs = state.retiring_hangs.contains(&version);
        drop(state);
        if hangs {
            self.wait(retiring(version));
        }
        end
    }

    fn hook(&self, plugin: &str, version: u32, hook: &str) -> Begin {
        let mut state = self.state();
        match hook {
            "health" => state.asked += 1,
            _ => state.hooked.push(format!("{plugin} {version} {hook}")),
        }
        self.changed.notify_all();
        let begin = state.hooks.get(&(version, hook.to_owned())).copied().unwrap_or(Begin::Go);
        let hangs = state.hanging == Some((version, hook.to_owned()));
        drop(state);
        if hangs {
            self.wait(HOOK);
        }
        begin
    }

    fn stopping(&self, version: u32, generation: u64) -> End {
        let mut state = self.state();
        state.stopped.push(generation);
        self.changed.notify_all();
        let end = state.end.get(&version).copied().unwrap_or(End::Quietly);
        let hangs = state.stop_hangs.contains(&version);
        drop(state);
        if hangs {
            self.wait(stop(version));
        }
        end
    }

    fn wait(&self, token: u64) {
        if token == OPEN {
            return;
        }
        let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        self.state().inside.insert(token, thread);
        self.changed.notify_all();
        self.until(&format!("leave for token {token}"), |state| {
            state.let_go.contains(&token).then_some(())
        });
        self.state().inside.remove(&token);
    }

    fn nested(&self, depth: u32) -> Vec<u64> {
        if let Some(between) = &mut *self.between.lock().unwrap_or_else(PoisonError::into_inner) {
            between(depth);
        }
        let probe = self.probe.get().expect("a slot to call");
        probe.nested(depth).unwrap_or_else(|fault| {
            self.state().faults.push(fault);
            Vec::new()
        })
    }

    fn panic(&self) {
        panic!("the desk panics");
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn until<T>(&self, what: &str, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let mut found = None;
        let absent = |state: &mut State| {
            found = look(state);
            found.is_none()
        };
        let waited = self.changed.wait_timeout_while(self.state(), WITHIN, absent);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        found.unwrap_or_else(|| panic!("waited {WITHIN:?} for {what}"))
    }
}

/// The token of a hung `retiring`.
fn retiring(version: u32) -> u64 {
    u64::MAX / 2 - u64::from(version)
}

/// The token of a hung stop.
fn stop(version: u32) -> u64 {
    u64::MAX / 8 - u64::from(version)
}

/// The token of a hung start.
fn start(version: u32) -> u64 {
    u64::MAX - u64::from(version)
}
