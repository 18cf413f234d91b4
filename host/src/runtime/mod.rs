//! The host's runtime for plugins: what a generation's code may call in the host, and what it
//! leaves with the system.
//!
//! A library can be unmapped when nothing will ever call into it. Calls are the gate's business;
//! the rest is what its code, mostly its copy of std, gives to the system: destructors of
//! thread-locals ([`locals`]), destructors of pthread keys ([`keys`]), and threads ([`threads`]).
//! Left to glibc, the first pin the library for good, the second are called after it is gone, and
//! the third run in it. So the plugin's references to those functions are bound to hooks inside of
//! the plugin, which lead here: what glibc gets to call is code of the host, and the host knows
//! what is left.
#![allow(unsafe_code, reason = "one of the five places: plugins call it through raw pointers")]

pub(crate) mod attached;
mod callbacks;
mod environment;
pub(crate) mod host_key;
pub(crate) mod keys;
pub(crate) mod locals;
pub(crate) mod logs;
pub(crate) mod mappings;
pub(crate) mod signals;
pub(crate) mod spans;
pub(crate) mod threads;
pub(crate) mod wakers;

use crate::contracts::{Known, Layout};
use crate::gate::Home;
use crate::layout::{self, Sides};
use crate::library::listed;
use crate::refusal::Code;
use attached::AttachedData;
use callbacks::Callbacks;
use keys::Keys;
use mappings::Mappings;
use midflight_plugin::rt::{FORMAT, Hooks, HostTable, Panics, RResult, RStr, RawService, Teller};
use midflight_plugin::{Contract, Fault, ImplementedBy, PanicReport, Text};
use parking_lot::Mutex;
use signals::Signals;
use spans::Spans;
use std::any::Any;
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU8, AtomicUsize};
use std::sync::{Arc, Weak};
use threads::Threads;

/// What one generation gets from the host, and the books of what it left with the system.
///
/// Owned by its generation for as long as its code is mapped, since the table's address is written
/// into the image and the table points back here; and by every destructor that is still to run.
///
/// | `state` | the generation | destructors run |
/// |---|---|---|
/// | `OPEN` | is used, or its threads run | at the end of their thread |
/// | `CLOSING` | no code of it runs or will, but for destructors and visits that began before | also at an outermost pass of the gate |
/// | `DEAD` | is closed | never again |
pub(crate) struct Owner {
    table: HostTable,
    plugin: Arc<str>,
    version: Arc<str>,
    services: Arc<[Provided]>,
    /// How the answers began that it got where it asked for a service in vain, and what was wrong.
    unserved: Mutex<Vec<(String, Code)>>,
    /// The host's, which the plugin points into.
    attached: AttachedData,
    /// Not a share: generations are part of what a host holds.
    host: Option<Weak<dyn Surroundings>>,
    callbacks: Callbacks,
    state: AtomicU8,
    /// Destructors that run at this moment.
    running: AtomicUsize,
    /// Visits that run at this moment: see [`visit`](Owner::visit).
    outside: AtomicUsize,
    /// Destructors that are still to return, by the thread that they belong to.
    pending: Mutex<BTreeMap<u32, usize>>,
    keys: Keys,
    mappings: Mappings,
    threads: Threads,
    signals: Signals,
    spans: Spans,
}

/// The host of a generation, as its code needs it.
pub(crate) trait Surroundings: Home {
    fn attached(&self) -> &AttachedData;
    /// Is told that calls of a plugin panic at one place; `count` of them by now.
    fn call_panicked(&self, report: &PanicReport, count: u64);
}

/// Whose an [`Owner`] is, and what that may use.
pub(crate) struct Of {
    pub(crate) generation: u64,
    pub(crate) plugin: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) services: Arc<[Provided]>,
    pub(crate) panic_frames_max: usize,
    /// None in a preflight's child.
    pub(crate) host: Option<Weak<dyn Surroundings>>,
}

const OPEN: u8 = 0;
const CLOSING: u8 = 1;
const DEAD: u8 = 2;

// SAFETY: the table is immutable and its pointer is to the owner itself; the services are Send and
// Sync.
unsafe impl Send for Owner {}
// SAFETY: as above.
unsafe impl Sync for Owner {}

impl Owner {
    pub(crate) fn new(
        generation: u64,
        plugin: Arc<str>,
        version: Arc<str>,
        services: Arc<[Provided]>,
        panic_frames_max: usize,
        host: Option<Weak<dyn Surroundings>>,
    ) -> Arc<Self> {
        Self::placed(|_| Of { generation, plugin, version, services, panic_frames_max, host })
    }

    /// Whose owner it is may be asked for once the address of its table is known.
    pub(crate) fn placed(of: impl FnOnce(usize) -> Of) -> Arc<Self> {
        Arc::new_cyclic(|owner: &Weak<Owner>| {
            let table = owner.as_ptr().addr() + offset_of!(Owner, table);
            Self::of(of(table), owner)
        })
    }

    fn of(of: Of, owner: &Weak<Owner>) -> Self {
        let Of { generation, plugin, version, services, panic_frames_max, host } = of;
        Owner {
            table: HostTable {
                format: FORMAT,
                generation,
                owner: owner.as_ptr().cast(),
                panics: Panics { frames_max: panic_frames_max, ..Panics::HOST },
                service,
                hooks: Hooks {
                    local: locals::register,
                    key_create: keys::create,
                    key_delete: keys::delete,
                    key_set: keys::set,
                    thread: threads::create,
                    may_exit: threads::may_exit,
                    owns_thread: threads::owns,
                    sigaction: signals::set,
                    signal: signals::set_handler,
                    getenv: environment::get,
                    setenv: environment::set,
                    unsetenv: environment::unset,
                    putenv: environment::put,
                    clearenv: environment::clear,
                    openlog: environment::open_log,
                    map: mappings::map,
                    unmap: mappings::unmap,
                    remap: mappings::remap,
                },
                logs: logs::LOGS,
                wakers: wakers::WAKERS,
                register: callbacks::register,
                attached: attached::FIELDS,
            },
            plugin,
            version,
            services,
            unserved: Mutex::default(),
            // A host that has ended leaves nothing to anybody.
            attached: (host.as_ref().and_then(Weak::upgrade))
                .map(|host| host.attached().clone())
                .unwrap_or_default(),
            host,
            callbacks: Callbacks::default(),
            state: AtomicU8::new(OPEN),
            running: AtomicUsize::new(0),
            outside: AtomicUsize::new(0),
            pending: Mutex::default(),
            keys: Keys::default(),
            mappings: Mappings::default(),
            threads: Threads::default(),
            signals: Signals::default(),
            spans: Spans::default(),
        }
    }

    pub(crate) fn table(&self) -> &HostTable {
        &self.table
    }

    fn names(&self) -> (&str, &str) {
        (&self.plugin, &self.version)
    }

    /// What keeps the code of a generation that was stopped from being unmapped, in an operator's
    /// words. Empty is final.
    ///
    /// Once no thread of the plugin's is left it asks every thread of the process to run what it
    /// still owes.
    pub(crate) fn holds(&self) -> Vec<String> {
        let signals = self.signals.holds();
        if !signals.is_empty() {
            return signals;
        }
        let threads = self.threads.holds();
        if !threads.is_empty() {
            return threads;
        }
        if self.state.swap(CLOSING, SeqCst) == OPEN {
            crate::gate::pin::ask_all();
        }
        // None begins any more: one that adds itself after this look finds the state that was
        // stored before it. Those that run can still register destructors and start threads, so
        // they are waited for first.
        let visits = self.outside.load(SeqCst);
        if visits > 0 {
            return vec![format!(
                "visits: {visits}, of threads that drop or wake what it left with them"
            )];
        }
        let pending = self.pending.lock();
        let values = |count: &usize| if *count == 1 { "value" } else { "values" };
        let owed = |(tid, count): (&u32, &usize)| {
            format!("tls: {}, {count} {}", threads::name(*tid), values(count))
        };
        let tls: Vec<_> = pending.iter().map(owed).collect();
        drop(pending);
        if !tls.is_empty() {
            return tls;
        }
        // A destructor that has returned since the first look may have started a thread. What a
        // thread owes it pays before it is counted out, so this second look is final; and so is the
        // one at signals, which a thread may have handled meanwhile.
        let threads = self.threads.holds();
        if threads.is_empty() { self.signals.holds() } else { threads }
    }

    /// Runs `f`, which calls the generation's code from outside of every release: the end of
    /// something that it left with somebody. `None`, and `f` is not run, once the generation may be
    /// on its way out.
    pub(crate) fn visit<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        struct Visit<'o>(&'o AtomicUsize);
        impl Drop for Visit<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        // Counted before the look at the state, as `holds` stores the state before its look at the
        // count.
        self.outside.fetch_add(1, SeqCst);
        let _visit = Visit(&self.outside);
        self.is(OPEN).then(|| locals::without_paying(f))
    }

    /// What is wrong with a service that it has asked for in vain, if that is the `reason` why its
    /// start failed: a plugin passes on what it was told, with words of its own around it.
    pub(crate) fn unserved(&self, reason: &str) -> Option<Code> {
        let unserved = self.unserved.lock();
        let told = unserved.iter().find(|(told, _)| reason.contains(told.as_str()));
        told.map(|(_, code)| *code)
    }

    /// The host, if it is there still.
    fn host(&self) -> Option<Arc<dyn Surroundings>> {
        self.host.as_ref()?.upgrade()
    }

    /// A panic that has nobody to be told but the operator.
    fn lost(&self, fault: Fault) {
        if let Some(host) = self.host() {
            host.lost(fault);
        }
    }

    /// Tells the host's events of calls that panicked.
    pub(crate) fn teller(&self) -> Teller {
        let host = self.host.clone();
        Box::new(move |report, count| {
            if let Some(host) = host.as_ref().and_then(Weak::upgrade) {
                host.call_panicked(report, count);
            }
        })
    }

    /// Somebody may have kept a handler of its for good.
    pub(crate) fn has_handled_signals(&self) -> bool {
        !self.signals.holds().is_empty()
    }

    /// Nothing of the generation's will be called any more, and its keys go back to the system.
    pub(crate) fn close(&self) {
        self.state.store(DEAD, SeqCst);
        // `holds` was empty, so nothing is waited for but the last instructions of a destructor's
        // runner.
        while self.running.load(SeqCst) != 0 {
            std::thread::yield_now();
        }
        self.keys.delete_all();
        self.spans.close_all();
    }

    fn is(&self, state: u8) -> bool {
        self.state.load(SeqCst) == state
    }
}

/// The owner that `Owner::new` put into the table.
///
/// # Safety
/// `owner` is from a generation's table, and that generation's code is mapped.
unsafe fn owner(owner: *const ()) -> Arc<Owner> {
    let owner = owner.cast::<Owner>();
    // SAFETY: the generation holds a share for as long as its code is mapped, and its code is what
    // calls.
    unsafe {
        Arc::increment_strong_count(owner);
        Arc::from_raw(owner)
    }
}

/// A contract that the host implements for its plugins.
#[derive(Clone)]
pub(crate) struct Provided {
    contract: Known,
    service: RawService,
    /// The object behind `service`.
    _object: Arc<dyn Any + Send + Sync>,
}

// SAFETY: `service` is an object that is Send and Sync, by `of`, and an immutable table.
unsafe impl Send for Provided {}
// SAFETY: as above.
unsafe impl Sync for Provided {}

impl Provided {
    pub(crate) fn of<C, T>(object: Arc<T>) -> Self
    where
        C: ImplementedBy<T> + ?Sized,
        T: Send + Sync + 'static,
    {
        Provided {
            contract: Known::of::<C>(),
            service: RawService::of::<C, T>(&object),
            _object: object,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.contract.name
    }
}

impl Known {
    pub(crate) fn of<C: Contract + ?Sized>() -> Self {
        listed::<C>()
    }
}

/// Answers `Context::service`.
unsafe extern "C" fn service(
    owner: *const (),
    name: RStr<'_>,
    layout: midflight_plugin::rt::Layout,
) -> RResult<RawService, Text> {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { self::owner(owner) };
    // SAFETY: it is looked at in `layout` alone, which compares and names.
    let layout = Layout(unsafe { layout.get() });
    let found = catch_unwind(AssertUnwindSafe(|| find(&owner, name.as_str(), layout)));
    // A panic of ours must not unwind into the plugin.
    let found = found.unwrap_or_else(|_| Err("the host failed to compare the layouts".into()));
    match found {
        Ok(service) => RResult::ROk(service),
        Err(reason) => RResult::RErr(reason.into()),
    }
}

/// Services asked for in vain that are kept in mind.
const UNSERVED_MAX: usize = 16;

fn find(owner: &Owner, name: &str, layout: Layout) -> Result<RawService, String> {
    let refuse = |told, code| {
        let mut unserved = owner.unserved.lock();
        if unserved.len() < UNSERVED_MAX {
            unserved.push((told, code));
        }
    };
    let Some(provided) = owner.services.iter().find(|provided| provided.name() == name) else {
        let names: Vec<_> = owner.services.iter().map(Provided::name).collect();
        let missing = format!("the host provides no {name};");
        let reason = format!("{missing} it provides: {}", names.join(", "));
        refuse(missing, Code::ServiceMissing);
        return Err(reason);
    };
    // Here the plugin calls and the host implements.
    layout::check(name, layout, provided.contract.layout, Sides::PluginCalls)
        .inspect_err(|_| refuse(format!("{name}: "), Code::ServiceMismatch))?;
    Ok(provided.service)
}

#[cfg(test)]
mod tests {
    use super::*;

    mod provided {
        #[midflight_plugin::contract]
        pub(super) trait Book {
            fn best(&self) -> u64;
        }

        #[midflight_plugin::record]
        pub(super) struct Product {
            pub(super) price: u64,
        }

        #[midflight_plugin::contract]
        pub(super) trait Shop {
            fn product(&self, number: u64) -> Product;
        }
    }

    mod asked {
        #[midflight_plugin::contract]
        pub(super) trait Book {
            fn best(&self) -> u32;
        }

        #[midflight_plugin::record]
        pub(super) struct Product {
            pub(super) price: u64,
            pub(super) weight: u32,
        }

        #[midflight_plugin::contract]
        pub(super) trait Shop {
            fn product(&self, number: u64) -> Product;
        }
    }

    struct Board;
    impl provided::Book for Board {
        fn best(&self) -> u64 {
            101
        }
    }
    impl provided::Shop for Board {
        fn product(&self, number: u64) -> provided::Product {
            provided::Product { price: number }
        }
    }

    #[test]
    fn u06_a_record_of_a_service_that_has_changed_is_named_with_its_field() {
        let shop = Provided::of::<dyn provided::Shop, _>(Arc::new(Board));
        let owner = Owner::new(7, "asking".into(), "1.0.0".into(), Arc::from([shop]), 0, None);
        let asked = Known::of::<dyn asked::Shop>().layout;
        let reason = find(&owner, "midflight::Shop", asked).expect_err("another layout");
        let says = "midflight::Shop: product, result, Product.weight: plugin says u32, host says no \
                    such field";
        assert!(reason.starts_with(says), "{reason}");
        let told = owner.unserved(&format!("start says: {reason}"));
        assert_eq!(told, Some(Code::ServiceMismatch), "not the plugin's own reason");
    }

    #[test]
    fn l06_a_start_that_fails_for_want_of_a_service_has_the_hosts_reason() {
        let book = Provided::of::<dyn provided::Book, _>(Arc::new(Board));
        let owner = Owner::new(7, "asking".into(), "1.0.0".into(), Arc::from([book]), 0, None);
        let asked = Known::of::<dyn asked::Book>().layout;
        let mismatch = find(&owner, "midflight::Book", asked).expect_err("another layout");
        assert!(
            mismatch.starts_with("midflight::Book: best, result: plugin says u32, host says u64"),
            "{mismatch}"
        );
        let missing = find(&owner, "midflight::Desk", asked).expect_err("no such service");

        // The plugin passes it on, with words of its own around it, or in a panic.
        let told = |reason: &str| owner.unserved(&format!("start says: no market: {reason:?}"));
        assert_eq!(told(&mismatch), Some(Code::ServiceMismatch));
        assert_eq!(told(&missing), Some(Code::ServiceMissing));
        assert_eq!(told("the disk is full"), None, "it did without the service");
    }

    #[test]
    fn a_visit_is_waited_for_and_none_begins_on_the_way_out() {
        let owner = Owner::new(7, "visited".into(), "1.0.0".into(), Arc::from([]), 0, None);
        assert_eq!(owner.visit(|| 1), Some(1), "open");
        let (inside, leave) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                owner.visit(|| {
                    inside.wait();
                    leave.wait();
                })
            });
            inside.wait();
            assert!(owner.holds().concat().starts_with("visits: 1"), "{:?}", owner.holds());
            assert_eq!(owner.visit(|| 2), None, "on its way out");
            leave.wait();
        });
        assert_eq!(owner.holds(), Vec::<String>::new());
        assert_eq!(owner.visit(|| 3), None);
    }
}
