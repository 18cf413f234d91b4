//! Generations: loaded copies of plugins, from their start until their code is gone.

use crate::contracts::{Known, Layout};
use crate::image::{Image, Keep};
use crate::layout::{self, Sides};
use crate::library::{Allocated, Instance, Library, Maps, is_loaded};
use crate::mappings::have_room_for_a_thread;
use crate::permit::Permit;
use crate::refusal::{Code, Refusal};
use crate::runtime::Owner;
use crate::status::{GenerationStatus, Mapped, Memory};
use midflight_plugin::Fault;
use midflight_plugin::rt::{Bound, Hook, Origin, Part, Tally};
use parking_lot::{Mutex, MutexGuard};
use std::slice;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One loaded copy of one plugin version.
///
/// Held by the releases that it is in and by the control plane. When the control plane's is the
/// last share, no call can be inside of it and none can come.
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) plugin: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) image: Arc<Image>,
    /// What it was started with.
    pub(crate) config: Arc<str>,
    /// INVARIANT: the layout of each was checked against this generation's table of that contract.
    checked: Mutex<Vec<Checked>>,
    /// The hand-over whose copy of its state is under way. Locked for the length of a save.
    copy: Mutex<u64>,
    /// The hand-over that has restored a state into it last. Locked for the length of a restore.
    restored: Mutex<u64>,
    /// What workers are at in its code: they hold shares of it.
    work: Mutex<Vec<(&'static str, Instant)>>,
    /// What faults name. Boxed: every `Bound` of this generation points to it.
    origin: Box<Origin>,
    instance: Instance,
    library: Library,
    /// What the plugin may call for as long as its code is mapped.
    owner: Arc<Owner>,
    /// The thread that mapped it and ran `start`. Not joined before the stop, so that no other
    /// thread gets its stack, and with that its address: mimalloc for one takes a thread at that
    /// address for the one that it was started on.
    pub(crate) loader: Option<JoinHandle<()>>,
}

/// What a generation that is loaded takes at any moment. It holds none.
#[derive(Clone)]
pub(crate) struct Footprint {
    allocated: Arc<Allocated>,
    owner: Weak<Owner>,
}

impl Footprint {
    /// Brings up to date what is shown of it.
    pub(crate) fn show(&self, status: &mut GenerationStatus) {
        status.memory = self.allocated.memory().or(status.memory);
        if let Some(owner) = self.owner.upgrade() {
            status.mapped = owner.mapped();
        }
    }
}

/// A generation whose instance is gone. Its code is mapped, and threads and destructors of its own
/// may run.
pub(crate) struct Stopped {
    library: Library,
    pub(crate) left: Left,
}

impl Stopped {
    pub(crate) fn never_started(library: Library, left: Left) -> Self {
        Stopped { library, left }
    }

    /// What it takes, for who does not hold it.
    pub(crate) fn footprint(&self) -> Footprint {
        Footprint { allocated: self.library.allocated(), owner: Arc::downgrade(&self.left.owner) }
    }

    /// Why it can't be closed now; empty if it can.
    pub(crate) fn holds(&self) -> Vec<String> {
        let keeps = &self.left.image.keeps;
        if !keeps.is_empty() {
            return keeps.iter().map(Keep::to_string).collect();
        }
        let holds = self.left.owner.holds();
        if !holds.is_empty() {
            return holds;
        }
        self.library.signals().into_iter().map(|name| format!("signal: {name}")).collect()
    }

    /// It stays until the process ends.
    pub(crate) fn is_for_good(&self) -> bool {
        !self.left.image.keeps.is_empty() || self.left.owner.has_handled_signals()
    }

    /// What its author can do about that; empty where it may go, or was meant to stay.
    pub(crate) fn ways_out(&self) -> Vec<String> {
        let signals = self.left.owner.has_handled_signals();
        let handle =
            || "handle the signal in the host, and hand it on through a service".to_owned();
        self.left.image.keeps.iter().filter_map(Keep::way_out).chain(signals.then(handle)).collect()
    }

    /// Unmaps it. On a worker: its exit handlers run.
    pub(crate) fn close(mut self) -> Left {
        self.left.owner.close();
        self.left.memory = self.library.memory();
        (self.left.mapped, self.left.is_kept) = self.library.close(&self.left.owner);
        self.left
    }
}

/// What must outlive code that could not be unmapped.
pub(crate) struct Left {
    pub(crate) image: Arc<Image>,
    pub(crate) owner: Arc<Owner>,
    /// What it had allocated when it was closed.
    pub(crate) memory: Option<Memory>,
    /// What it has left mapped beside its code.
    pub(crate) mapped: Mapped,
    /// The loader had it when it was closed.
    is_kept: bool,
}

impl Left {
    /// Of what is not closed yet.
    pub(crate) fn of(image: Arc<Image>, owner: Arc<Owner>) -> Self {
        Left { image, owner, memory: None, mapped: Mapped::default(), is_kept: false }
    }

    /// Once it was closed: is its code there, by the `maps` or by the loader, or can't that be
    /// known?
    pub(crate) fn has_code(&self, maps: &Maps) -> bool {
        let path = self.image.path();
        maps.has(path) || self.is_kept && is_loaded(path)
    }
}

/// A host's contract, and the offer of this generation whose layout fits it.
pub(crate) struct Checked {
    pub(crate) layout: Layout,
    pub(crate) offer: usize,
}

/// Compares every offer that the host knows, and demands those that its slots ask for.
pub(crate) fn check(
    library: &Library,
    known: &[Known],
    required: &[Known],
) -> Result<Vec<Checked>, Refusal> {
    let mut checked = Vec::new();
    let offers: Vec<_> = library.offers().collect();
    for (at, offer) in offers.iter().enumerate() {
        if offers[..at].iter().any(|other| other.name == offer.name) {
            let reason = format!("it offers two contracts of the name {}", offer.name);
            return Err(Refusal::new(Code::EntryInvalid, reason));
        }
    }
    for contract in known.iter().chain(required) {
        let Some(at) = offers.iter().position(|offer| offer.name == contract.name) else {
            continue;
        };
        if checked.iter().any(|done: &Checked| done.layout == contract.layout) {
            continue;
        }
        let offer = &offers[at];
        layout::check(contract.name, contract.layout, offer.layout, Sides::HostCalls)
            .map_err(|reason| Refusal::new(Code::LayoutMismatch, reason))?;
        checked.push(Checked { layout: contract.layout, offer: at });
    }
    let missing =
        required.iter().find(|contract| offers.iter().all(|offer| offer.name != contract.name));
    if let Some(contract) = missing {
        let names: Vec<_> = offers.iter().map(|offer| offer.name).collect();
        return Err(Refusal::new(
            Code::ContractMissing,
            format!("host uses {}, plugin offers {}", contract.name, names.join(", ")),
        ));
    }
    Ok(checked)
}

/// The schemas of a generation's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schema {
    /// Its own.
    pub(crate) version: u32,
    /// The oldest that it can be restored from.
    pub(crate) restores_from: u32,
    /// The oldest that it can be saved in.
    pub(crate) saves_to: u32,
    /// It can be copied while calls use it.
    pub(crate) ahead: bool,
}

/// One part of a state, in the host's own memory.
pub(crate) struct Saved {
    pub(crate) bytes: Vec<u8>,
    /// The copy ahead is not at its end yet.
    pub(crate) more: bool,
}

impl Generation {
    pub(crate) fn new(
        number: u64,
        image: Arc<Image>,
        config: Arc<str>,
        library: Library,
        instance: Instance,
        owner: Arc<Owner>,
        checked: Vec<Checked>,
    ) -> Self {
        let (plugin, version) = (image.plugin.clone(), image.version.clone());
        let origin = Box::new(Origin::new(&plugin, &version, number));
        origin.tally.want(true);
        origin.tally.tell(owner.teller());
        Generation {
            number,
            plugin,
            version,
            image,
            config,
            checked: Mutex::new(checked),
            copy: Mutex::new(0),
            restored: Mutex::new(0),
            work: Mutex::default(),
            origin,
            instance,
            library,
            owner,
            loader: None,
        }
    }

    /// Compares a further contract of the host's, so that releases can bind it. On a worker.
    pub(crate) fn check(&self, contract: &Known) -> Result<(), Refusal> {
        let checked = check(&self.library, &[], slice::from_ref(contract))
            .map_err(|refusal| refusal.of(&self.plugin, &self.version))?;
        self.checked.lock().extend(checked);
        Ok(())
    }

    /// What it takes, for who does not hold it.
    pub(crate) fn footprint(&self) -> Footprint {
        Footprint { allocated: self.library.allocated(), owner: Arc::downgrade(&self.owner) }
    }

    /// Which of its calls came to nothing: counted until it is committed.
    pub(crate) fn tally(&self) -> &Tally {
        &self.origin.tally
    }

    /// For what the host itself asks of the plugin: a hook or a state that fails has a consequence
    /// of its own.
    fn uncounted(&self) -> Origin {
        Origin::new(&self.plugin, &self.version, self.number)
    }

    pub(crate) fn offers(&self, contract: &str) -> bool {
        self.library.offers().any(|offer| offer.name == contract)
    }

    /// The host's log filters have changed. On a worker.
    pub(crate) fn relisten(&self) {
        self.library.relisten();
    }

    pub(crate) fn is_checked(&self, contract: &Known) -> bool {
        self.checked.lock().iter().any(|checked| checked.layout == contract.layout)
    }

    /// Tells the plugin that it gets no new calls. On a worker: it runs the plugin's code. Once,
    /// since the plugin was promised that.
    pub(crate) fn retiring(&self) -> Result<(), Fault> {
        let _work = self.at_work(Self::RETIRING);
        self.library.retiring(&self.instance, &self.uncounted())
    }

    /// Runs one hook of the plugin's; the error is its reason, or the report of its panic. On a
    /// worker.
    pub(crate) fn hook(&self, which: Hook) -> Result<(), String> {
        let _work = self.at_work(which.name());
        self.library.hook(&self.instance, &self.uncounted(), which)
    }

    /// What workers are at in its code, which hold it meanwhile.
    pub(crate) fn work(&self) -> Vec<(&'static str, Instant)> {
        self.work.lock().clone()
    }

    fn at_work(&self, what: &'static str) -> AtWork<'_> {
        let begun = (what, Instant::now());
        self.work.lock().push(begun);
        AtWork { of: self, begun }
    }

    pub(crate) const SAVE: &str = "save of its state";
    pub(crate) const RESTORE: &str = "restore of its state";
    pub(crate) const RETIRING: &str = "retiring";

    /// The schemas of its state; `None` where it has no state to hand over.
    pub(crate) fn schema(&self) -> Option<Schema> {
        let state = self.library.state()?;
        Some(Schema {
            version: state.version,
            restores_from: state.restores_from,
            saves_to: state.saves_to,
            ahead: state.ahead,
        })
    }

    /// One part of its state in the schema `version`, which it keeps, whatever comes of it. On a
    /// worker. Nobody may call the plugin meanwhile where [`Part`] says so. `of` numbers the
    /// hand-over: one that was given up can't take a part out of a later one's copy. Who holds the
    /// state, a save of an earlier hand-over among them, is waited for while `permit` wants it.
    ///
    /// # Errors
    /// The plugin's reason, or the report of its panic; or another hand-over has begun.
    pub(crate) fn save(
        &self,
        of: u64,
        version: u32,
        part: Part,
        permit: &Permit,
    ) -> Result<Saved, String> {
        let mut copy = wait_for(&self.copy, permit)
            .ok_or("a hand-over that was given up is still in its save")?;
        let is_its_own = match part {
            Part::Whole | Part::First => *copy <= of,
            Part::Next | Part::Rest | Part::Forget => *copy == of,
        };
        if !is_its_own {
            return Err(OVERTAKEN.to_owned());
        }
        *copy = of;
        let _work = self.at_work(Self::SAVE);
        let wanted = || permit.is_wanted_by_who_waits();
        let saved = self.library.save(&self.instance, &self.uncounted(), version, part, &wanted)?;
        permit.at_hand();
        Ok(Saved { bytes: saved.0, more: saved.1 })
    }

    /// Gives it one part of a state that was saved in the schema `version`, which it keeps aside.
    /// On a worker.
    ///
    /// # Errors
    /// The plugin's reason, or the report of its panic; or another hand-over has begun. Its state
    /// is as it was, whatever happens.
    pub(crate) fn restore(
        &self,
        of: u64,
        version: u32,
        part: Part,
        bytes: &[u8],
        permit: &Permit,
    ) -> Result<(), String> {
        let mut restored = wait_for(&self.restored, permit)
            .ok_or("a hand-over that was given up is still in its restore")?;
        let is_its_own = match part {
            Part::Whole | Part::First => *restored <= of,
            Part::Next | Part::Rest | Part::Forget => *restored == of,
        };
        if !is_its_own {
            return Err(OVERTAKEN.to_owned());
        }
        *restored = of;
        let _work = self.at_work(Self::RESTORE);
        self.library.restore(&self.instance, &self.uncounted(), version, part, bytes)
    }

    /// What was restored is its state from here on, if `leave` says so, which is asked with the
    /// state locked and has no error after it. On a worker.
    ///
    /// # Errors
    /// There is no leave, or somebody holds the state until `permit` does not want it any more.
    pub(crate) fn install(
        &self,
        of: u64,
        permit: &Permit,
        leave: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let restored = wait_for(&self.restored, permit).ok_or(OVERTAKEN)?;
        if *restored != of {
            return Err(OVERTAKEN.to_owned());
        }
        let _work = self.at_work(Self::RESTORE);
        let wanted = || permit.is_wanted_by_who_waits();
        let leave = || {
            permit.at_hand();
            leave()
        };
        self.library.install(&self.instance, &self.uncounted(), &wanted, &leave)
    }

    /// Stops a generation that nothing is inside of. On a worker: it runs the plugin's code.
    pub(crate) fn stop(self) -> (Result<(), Fault>, Stopped) {
        let Generation { library, instance, origin, image, owner, loader, .. } = self;
        let instance = Mutex::new(Some(instance));
        let stop = || {
            owner.revoke();
            instance.lock().take().map_or(Ok(()), |instance| library.stop(instance, &origin))
        };
        // On a thread of its own, whose end undoes what the plugin puts into its thread-locals.
        // Where none is to be had on this one, whose end is then waited for.
        let result = std::thread::scope(|scope| {
            let own = std::thread::Builder::new().name("midflight-stop".to_owned());
            match have_room_for_a_thread().and_then(|()| own.spawn_scoped(scope, stop)) {
                // A panic of ours: the instance is leaked.
                Ok(own) => own.join().unwrap_or(Ok(())),
                Err(_) => stop(),
            }
        });
        if let Some(loader) = loader {
            let _ = loader.join();
        }
        (result, Stopped { library, left: Left::of(image, owner) })
    }

    pub(crate) fn bind(&self, contract: &Known) -> Option<Bound> {
        let checked = self.checked.lock();
        let offer = checked.iter().find(|checked| checked.layout == contract.layout)?.offer;
        Some(self.library.bound(&self.instance, offer, &self.origin))
    }
}

/// A worker in a generation's code, for as long as it lives.
struct AtWork<'g> {
    of: &'g Generation,
    begun: (&'static str, Instant),
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut work = self.of.work.lock();
        let at = work.iter().position(|begun| *begun == self.begun);
        at.map(|at| work.swap_remove(at));
    }
}

const OVERTAKEN: &str = "another hand-over has begun";

/// The lock, if it is to be had while `permit` wants it.
fn wait_for<'m>(of: &'m Mutex<u64>, permit: &Permit) -> Option<MutexGuard<'m, u64>> {
    loop {
        match of.try_lock_for(LOOK) {
            None if permit.is_wanted() => {}
            locked => return locked,
        }
    }
}

/// How long a lock is waited for between two looks at the permit.
const LOOK: Duration = Duration::from_millis(1);
