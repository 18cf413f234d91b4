//! A plugin: how it starts, what it gets from the host, and what its library exports.
//!
//! A library could export one symbol a function, but a symbol has no type, and a host that believes
//! it calls into nowhere. So a library exports one table, [`Entry`]: a number that fixes the
//! table's own format, then each contract that it offers with the layout of its functions, which
//! the host compares before it calls any of them.

#![expect(
    unsafe_code,
    reason = "the tables that host and plugin exchange, and the instance behind them"
)]

use crate::attached::Fields;
use crate::call::{Panics, Reply, guard, note_panics, use_panics};
use crate::callback::{Left, Registering};
use crate::contract::{Bound, Contract, Gate, Hold, Holding, ImplementedBy, Origin, erase};
use crate::described::table_layout;
use crate::future::Wakers;
use crate::hooks::Hooks;
use crate::layout::Layout;
use crate::lent::{RSlice, RStr};
use crate::logs::{self, Logs};
use crate::memory::{COUNTS, Counts};
use crate::reclaim::CLOSING;
use crate::state::{StateOf, StateTable};
use crate::{Fault, Text};
use abi_stable::std_types::RResult;
use midflight_format::{FORMAT, PLACE_MAGIC};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};

/// What the author of a plugin writes, beside its contracts.
///
/// The instance is made once for each generation, and dropped when nothing can call it any more.
///
/// ```
/// # mod exchange { #[midflight_plugin::contract] pub trait Fees { fn fee(&self, quantity: u32) -> u64; } }
/// # midflight_plugin::contract_crate!();
/// use midflight_plugin::{Context, Plugin, StartError, plugin};
/// use exchange::Fees;
///
/// #[plugin(implements(Fees), group = "exchange")]
/// pub struct FlatFees {
///     rate: u64,
/// }
///
/// impl Plugin for FlatFees {
///     fn start(_cx: &Context<'_>) -> Result<Self, StartError> {
///         Ok(FlatFees { rate: "3".parse()? }) // any error will do
///     }
/// }
///
/// impl Fees for FlatFees {
///     fn fee(&self, quantity: u32) -> u64 {
///         self.rate * u64::from(quantity)
///     }
/// }
/// # fn main() {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no start",
    note = "write `impl Plugin for {Self}` with `fn start(cx: &Context<'_>) -> Result<Self, StartError>`"
)]
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Makes the instance. It runs before the switch: where it fails or panics, the old version
    /// serves on.
    fn start(cx: &Context<'_>) -> Result<Self, StartError>;

    /// Runs once after `start`, before the switch: to fill caches, and to check that the instance
    /// works. Where it fails or panics, the old version serves on.
    ///
    /// # Errors
    /// Whatever should keep this instance from serving.
    fn warm_up(&self) -> Result<(), StartError> {
        Ok(())
    }

    /// Runs once when new calls go elsewhere for good: a newer version has taken over, this one was
    /// rolled back, or the host ends. An instance that never served is not told.
    ///
    /// Calls that began before may still be running, and the host waits for them before it drops
    /// the instance. So begin no new work, stop timers, end threads, and wake up calls that wait
    /// for something: they hold this version in memory.
    ///
    /// It must return: the instance is kept until it has, and past the host's `retire_deadline` the
    /// status says so. A panic in it is told as an event and does no harm.
    fn retiring(&self) {}

    /// The last step of this plugin's preparation, while the old versions still serve. To close
    /// what this version takes over, or to refuse while refusing costs nothing. Where it is
    /// followed by no switch, or by a return, [`after_return`](Plugin::after_return) undoes it.
    ///
    /// # Order
    /// The hooks of an update are those of the versions that come, in the order of the release:
    /// every plugin's `before_switch`, then the switch, then every plugin's `after_switch`. The
    /// hooks of a return are those of the versions that are left, in reverse: every plugin's
    /// `before_return`, then the switch back, then every plugin's `after_return`. Versions that are
    /// replaced, or returned to, run none.
    ///
    /// Where a `before_switch` fails, nothing is switched, and those that ran before it are undone
    /// by their `after_return`, in reverse. Where an `after_switch` fails, those that ran before it
    /// are undone by their `before_return`, in reverse; the old version is brought back, and every
    /// plugin's `after_return` runs, in reverse. A hook that failed is not undone by itself: it
    /// leaves things as they were.
    ///
    /// | what happens | runs, for the plugins a and b of a group |
    /// |---|---|
    /// | an update | `before_switch` a, b; the switch; `after_switch` a, b |
    /// | the same, and `before_switch` of b fails | `before_switch` a, b; `after_return` a |
    /// | the same, and `after_switch` of b fails | `before_switch` a, b; the switch; `after_switch` a, b; `before_return` a; the switch back; `after_return` b, a |
    /// | a return | `before_return` b, a; the switch back; `after_return` b, a |
    ///
    /// # Errors
    /// Whatever should keep this version from serving. So does a panic.
    fn before_switch(&self) -> Result<(), StartError> {
        Ok(())
    }

    /// New calls run on this version. [`before_return`](Plugin::before_return) undoes it. The order
    /// is told at [`before_switch`](Plugin::before_switch).
    ///
    /// # Errors
    /// Whatever should bring the old version back. So does a panic.
    fn after_switch(&self) -> Result<(), StartError> {
        Ok(())
    }

    /// This version still serves, and is about to be left for the one before it. It can't refuse: a
    /// panic in it is told as an event. The order is told at
    /// [`before_switch`](Plugin::before_switch).
    fn before_return(&self) {}

    /// The version before serves again, or never stopped serving. It can't refuse: a panic in it is
    /// told as an event. The order is told at [`before_switch`](Plugin::before_switch).
    fn after_return(&self) {}

    /// Is this version well? Asked again and again while it is on probation, beside its calls.
    ///
    /// # Errors
    /// Whatever should bring the old version back. So does a panic.
    fn health(&self) -> Result<(), StartError> {
        Ok(())
    }
}

/// What a plugin gets while it starts.
#[derive(Debug)]
pub struct Context<'a> {
    host: &'a HostTable,
    name: &'a str,
    version: &'a str,
    config: &'a str,
}

impl Context<'_> {
    /// An object of the host's that implements the contract `C`.
    ///
    /// ```
    /// # midflight_plugin::contract_crate!();
    /// # #[midflight_plugin::contract] pub trait Book { fn best(&self, symbol: &str) -> Option<i64>; }
    /// use midflight_plugin::{Context, Fault, Plugin, Service, StartError};
    ///
    /// pub struct Spread {
    ///     book: Service<dyn Book>,
    /// }
    ///
    /// impl Plugin for Spread {
    ///     fn start(cx: &Context<'_>) -> Result<Self, StartError> {
    ///         Ok(Spread { book: cx.service::<dyn Book>()? })
    ///     }
    /// }
    ///
    /// impl Spread {
    ///     fn best(&self) -> Result<Option<i64>, Fault> {
    ///         self.book.best("ABC") // a panic of the host's object is a fault here
    ///     }
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// The host provides no such object, or its contract has another layout than this plugin's.
    pub fn service<C: Contract + ?Sized>(&self) -> Result<Service<C>, StartError> {
        let host = self.host;
        // SAFETY: the host's own function with the host's own owner; both are valid while the
        // plugin starts.
        let found = unsafe { (host.service)(host.owner, C::NAME.into(), table_layout::<C>()) };
        match found {
            // SAFETY: the host paired instance and table, compared the table's layout with the one
            // given to it, and keeps both until this library is unmapped.
            RResult::ROk(raw) => Ok(unsafe { Service::new(raw) }),
            RResult::RErr(reason) => Err(StartError::new(reason.as_str())),
        }
    }

    /// The plugin's configuration, which its operator wrote as toml. Where there is none, it is an
    /// empty table.
    ///
    /// ```
    /// use midflight_plugin::{Context, Plugin, StartError};
    ///
    /// #[derive(serde::Deserialize)]
    /// #[serde(deny_unknown_fields)]
    /// struct Config {
    ///     rate: u64,
    /// }
    ///
    /// struct FlatFees {
    ///     rate: u64,
    /// }
    ///
    /// impl Plugin for FlatFees {
    ///     fn start(cx: &Context<'_>) -> Result<Self, StartError> {
    ///         Ok(FlatFees { rate: cx.config::<Config>()?.rate })
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// No toml, or not of this type: with the line, the column and what was expected there.
    #[cfg(feature = "config")]
    pub fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T, StartError> {
        toml::from_str(self.config)
            .map_err(|error| StartError::new(format!("the configuration: {error}")))
    }

    /// The configuration's text, for plugins that read it by themselves.
    pub fn config_text(&self) -> &str {
        self.config
    }

    /// The number of this generation: one loaded copy of one version, never used again.
    pub fn generation(&self) -> u64 {
        self.host.generation
    }

    pub(crate) fn host(&self) -> &HostTable {
        self.host
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The plugin's version.
    pub fn version(&self) -> &str {
        self.version
    }
}

/// Why a plugin did not start. Any error becomes one with `?`, its sources included in the text.
#[derive(Clone)]
pub struct StartError(String);

impl StartError {
    /// A reason in the author's words.
    pub fn new(reason: impl Into<String>) -> Self {
        StartError(reason.into())
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

// Not an `Error` itself, or this would overlap with `From<T> for T`.
impl<E: std::error::Error> From<E> for StartError {
    fn from(error: E) -> Self {
        StartError(with_sources(&error))
    }
}

/// An error's text and that of its sources.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reason.push_str(": ");
        reason.push_str(&error.to_string());
        source = error.source();
    }
    reason
}

/// A handle on an object of the host's, with the methods of its contract. Cheap to clone, and valid
/// as long as the plugin's instance. See [`Context::service`].
pub struct Service<C: Contract + ?Sized> {
    proxy: C::Proxy<ServiceGate>,
    gate: ServiceGate,
}

impl<C: Contract + ?Sized> Service<C> {
    /// # Safety
    /// `raw` is an instance and a table of `C`, and both are kept until this library is unmapped.
    unsafe fn new(raw: RawService) -> Self {
        let origin = Arc::new(Origin::new(C::NAME, "", 0));
        let bound = Bound { this: raw.this, table: raw.table, origin: Arc::as_ptr(&origin) };
        // SAFETY: by the caller's promise.
        unsafe { Service::through(ServiceGate { bound, _origin: origin }) }
    }

    /// # Safety
    /// The gate is of `C`.
    unsafe fn through(gate: ServiceGate) -> Self {
        // SAFETY: by the caller's promise.
        let proxy = unsafe { C::proxy(gate.clone()) };
        Service { proxy, gate }
    }
}

impl<C: Contract + ?Sized> Deref for Service<C> {
    type Target = C::Proxy<ServiceGate>;
    fn deref(&self) -> &Self::Target {
        &self.proxy
    }
}

impl<C: Contract + ?Sized> Clone for Service<C> {
    fn clone(&self) -> Self {
        // SAFETY: its own gate, which `new` made for `C`.
        unsafe { Service::through(self.gate.clone()) }
    }
}

impl<C: Contract + ?Sized> std::fmt::Debug for Service<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Service({})", C::NAME)
    }
}

/// The gate of what never changes and is held anyway: the host's services.
#[derive(Clone)]
pub struct ServiceGate {
    bound: Bound,
    /// What `bound` points to.
    _origin: Arc<Origin>,
}

// SAFETY: by `Service::new`; the origin is owned.
unsafe impl Gate for ServiceGate {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        f(&self.bound)
    }
}

// SAFETY: by `Service::new`.
unsafe impl Holding for ServiceGate {
    type Held = ServiceGate;

    fn hold<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, ServiceGate), E> {
        f(&self.bound).map(|answer| (answer, self.clone()))
    }
}

// SAFETY: by `Service::new`; the origin is owned.
unsafe impl Hold for ServiceGate {
    fn bound(&self) -> &Bound {
        &self.bound
    }

    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }

    fn enter<R, E: From<Fault>>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        f()
    }

    /// It was a panic in the host, whose own business it is.
    fn lost(&self, _: Fault) {}
}

/// What `#[plugin]` adds to the author's type.
///
/// # Safety
/// None but what the types say: the host passes an instance of this type to the functions of
/// `OFFERS` and `STATE`, which are made for it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no plugin",
    note = "put `#[plugin(implements(…))]` on the type"
)]
pub unsafe trait Exported: Plugin {
    /// Its contracts, with their functions for this type.
    const OFFERS: &'static [OfferOf<Self>];
    /// Name and version of each of them.
    const CONTRACTS: &'static [(&'static str, &'static str)];
    /// The author's group; empty for a group of its own.
    const GROUP: &'static str;
    /// How its state is handed over, if it has one.
    const STATE: Option<&'static StateOf<Self>>;
    /// Its `start` may run in a preflight, a child process of the service's, as well.
    const PREFLIGHT_START: bool = false;
    /// The version of the author's crate: that of a plugin that is linked in. A library says its
    /// own.
    const VERSION: &'static str;
}

/// What `export!` says in the cdylib's own crate.
pub trait Export {
    /// The author's type.
    type Plugin: Exported;
    /// The plugin's name.
    const NAME: &'static str;
    /// The plugin's version.
    const VERSION: &'static str;
    /// Features of CPUs, and whether the plugin is compiled for those that have them.
    const CPU: &'static [(&'static str, bool)] = &[];
    /// `unwind` or `abort`.
    const PANIC: &'static str;
    /// `MIDFLIGHT_COMMIT` of the build; empty if it was not set.
    const COMMIT: &'static str;
    /// Where its hooks look for the host's table.
    fn place() -> &'static Place;
}

/// What a library exports as `midflight_entry`.
#[repr(C)]
pub struct Entry {
    /// [`FORMAT`]
    pub format: u32,
    /// The plugin's name.
    pub name: RStr<'static>,
    /// The plugin's version.
    pub version: RStr<'static>,
    /// The contracts that it implements.
    pub offers: RSlice<'static, Offered>,
    /// Makes the instance; once. The table of the host's is valid until the library is unmapped.
    pub start: unsafe extern "C" fn(
        host: *const HostTable,
        config: RStr<'_>,
    ) -> Reply<RResult<usize, Text>>,
    /// Tells the instance that `start` made that it gets no new calls; once, and before `stop`.
    pub retiring: unsafe extern "C" fn(this: *const ()) -> Reply<()>,
    /// Drops the instance that `start` made; once, when no call is running and none can come.
    pub stop: unsafe extern "C" fn(this: *const ()) -> Reply<()>,
    /// Runs one hook of the instance that `start` made; any number of times, beside its calls.
    pub hook: unsafe extern "C" fn(this: *const (), which: Hook) -> Reply<RResult<(), Text>>,
    /// How the instance's state is handed over, if it has one.
    pub state: Option<&'static StateTable>,
    /// Asks the host anew which callsites it listens to.
    pub relisten: extern "C" fn(),
    /// What it has allocated, if its allocator is a [`Counted`](crate::Counted).
    pub memory: &'static Counts,
    closing: &'static AtomicBool,
    /// Where its hooks look for the host's table: in this very library, or they are another's.
    pub place: extern "C" fn() -> *const Place,
}

// The inspection looks for these in the file.
const _: () = {
    use midflight_format::entry::{self, FUNCTIONS, OFFERED_DATA, STATE_FUNCTIONS, WRITABLE};
    use std::mem::offset_of;
    assert!(entry::BYTES == size_of::<Entry>());
    assert!(entry::NAME == offset_of!(Entry, name));
    assert!(entry::VERSION == offset_of!(Entry, version));
    assert!(entry::OFFERS == offset_of!(Entry, offers));
    assert!(entry::STATE == offset_of!(Entry, state));
    assert!(FUNCTIONS[0].1 == offset_of!(Entry, start));
    assert!(FUNCTIONS[1].1 == offset_of!(Entry, retiring));
    assert!(FUNCTIONS[2].1 == offset_of!(Entry, stop));
    assert!(FUNCTIONS[3].1 == offset_of!(Entry, hook));
    assert!(FUNCTIONS[4].1 == offset_of!(Entry, relisten));
    assert!(FUNCTIONS[5].1 == offset_of!(Entry, place));
    assert!(WRITABLE[0].1 == offset_of!(Entry, memory));
    assert!(WRITABLE[1].1 == offset_of!(Entry, closing));
    assert!(entry::OFFERED_BYTES == size_of::<Offered>());
    assert!(entry::OFFERED_NAME == offset_of!(Offered, name));
    assert!(entry::OFFERED_VERSION == offset_of!(Offered, version));
    assert!(OFFERED_DATA[0] == offset_of!(Offered, layout));
    assert!(OFFERED_DATA[1] == offset_of!(Offered, table));
    assert!(entry::STATE_BYTES == size_of::<StateTable>());
    assert!(STATE_FUNCTIONS[0] == offset_of!(StateTable, save));
    assert!(STATE_FUNCTIONS[1] == offset_of!(StateTable, restore));
    assert!(STATE_FUNCTIONS[2] == offset_of!(StateTable, install));
};

impl Entry {
    /// Says that the library is closed: what its allocator has given out and never got back is
    /// freed at its end, if that is a [`Reclaimed`](crate::Reclaimed).
    ///
    /// # Safety
    /// Nothing of it will run any more but its exit handlers.
    pub unsafe fn close(&self) {
        self.closing.store(true, SeqCst);
    }

    /// The entry of a plugin.
    pub const fn of<X: Export>() -> Entry {
        Entry {
            format: FORMAT,
            name: RStr::from_str(X::NAME),
            version: RStr::from_str(X::VERSION),
            offers: RSlice::from_slice(OfferOf::untyped(X::Plugin::OFFERS)),
            start: start::<X>,
            retiring: retiring::<X::Plugin>,
            stop: stop::<X::Plugin>,
            hook: hook::<X::Plugin>,
            state: StateOf::<X::Plugin>::untyped(X::Plugin::STATE),
            relisten,
            memory: &COUNTS,
            closing: &CLOSING,
            place: place::<X>,
        }
    }
}

extern "C" fn place<X: Export>() -> *const Place {
    X::place()
}

/// The hooks of [`Plugin`], by number.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// [`Plugin::before_switch`]
    BeforeSwitch = 0,
    /// [`Plugin::after_switch`]
    AfterSwitch = 1,
    /// [`Plugin::before_return`], which can't fail but by a panic.
    BeforeReturn = 2,
    /// [`Plugin::after_return`], which can't fail but by a panic.
    AfterReturn = 3,
    /// [`Plugin::health`]
    Health = 4,
}

impl Hook {
    /// The method's name.
    pub fn name(self) -> &'static str {
        match self {
            Hook::BeforeSwitch => "before_switch",
            Hook::AfterSwitch => "after_switch",
            Hook::BeforeReturn => "before_return",
            Hook::AfterReturn => "after_return",
            Hook::Health => "health",
        }
    }
}

/// # Safety
/// As [`Entry::start`] says.
unsafe extern "C" fn start<X: Export>(
    host: *const HostTable,
    config: RStr<'_>,
) -> Reply<RResult<usize, Text>> {
    // SAFETY: a table's first word is its format, whatever the rest is.
    let format = unsafe { host.cast::<u32>().read() };
    if format != FORMAT {
        let reason = format!("the host's table has format {format}, the plugin's is {FORMAT}");
        return Reply::returned(RResult::RErr(reason.into()));
    }
    // SAFETY: valid until the library is unmapped, by the caller's promise, and of this format.
    let host = unsafe { &*host };
    use_panics(host.panics);
    HOST.store(std::ptr::from_ref(host).cast_mut(), Release);
    guard(|| {
        note_panics();
        logs::forward(host);
        let context = Context { host, name: X::NAME, version: X::VERSION, config: config.as_str() };
        let plugin = made::<X::Plugin>(&context).map_err(|error| error.0);
        // Its author may have set a hook of his own.
        note_panics();
        let plugin = plugin?;
        Ok::<usize, String>(Box::into_raw(Box::new(plugin)).expose_provenance())
    })
}

/// The host's table, in a library that was started: not in a host, nor in a plugin that is linked
/// into one.
static HOST: AtomicPtr<HostTable> = AtomicPtr::new(std::ptr::null_mut());

pub(crate) fn host() -> Option<&'static HostTable> {
    // SAFETY: `start` alone sets it, to a table that is valid until this library is unmapped.
    unsafe { HOST.load(Acquire).as_ref() }
}

extern "C" fn relisten() {
    // Nothing unwinds out of it; what it panics with has nobody to be told.
    let _: Reply<()> = guard(logs::rebuild);
}

fn made<P: Plugin>(context: &Context<'_>) -> Result<P, StartError> {
    let plugin = P::start(context)?;
    plugin.warm_up().map_err(|error| StartError::new(format!("the warm-up: {error}")))?;
    Ok(plugin)
}

/// A plugin that is linked into the host: its author's type, with no library around it.
#[derive(Clone, Copy)]
pub struct Linked {
    /// [`Exported::VERSION`]
    pub version: &'static str,
    /// [`Exported::GROUP`]
    pub group: &'static str,
    /// [`Exported::OFFERS`]
    pub offers: &'static [Offered],
    /// Makes the instance. It may panic, since both are one binary. The table is a host's own, and
    /// what it gives stays for as long as the instance.
    pub start:
        unsafe fn(host: &HostTable, name: &str, config: &str) -> Result<*const (), StartError>,
    /// Tells the instance that `start` made that it gets no new calls; once, and before `stop`. It
    /// may panic.
    pub retiring: unsafe fn(this: *const ()),
    /// Drops the instance that `start` made; once, when no call is running and none can come. It
    /// may panic.
    pub stop: unsafe fn(this: *const ()),
    /// As [`Entry::hook`]: it does not unwind.
    pub hook: unsafe extern "C" fn(this: *const (), which: Hook) -> Reply<RResult<(), Text>>,
    /// As [`Entry::state`].
    pub state: Option<&'static StateTable>,
}

impl Linked {
    /// The type's own.
    pub const fn of<P: Exported>() -> Self {
        unsafe fn start<P: Exported>(
            host: &HostTable,
            name: &str,
            config: &str,
        ) -> Result<*const (), StartError> {
            let context = Context { host, name, version: P::VERSION, config };
            Ok(Box::into_raw(Box::new(made::<P>(&context)?)).cast_const().cast())
        }
        unsafe fn retiring<P: Plugin>(this: *const ()) {
            // SAFETY: from `start`, and not dropped yet, by the caller's promise.
            unsafe { &*this.cast::<P>() }.retiring();
        }
        unsafe fn drop_it<P>(this: *const ()) {
            // SAFETY: from `start`, once, by the caller's promise.
            drop(unsafe { Box::from_raw(this.cast::<P>().cast_mut()) });
        }
        Linked {
            version: P::VERSION,
            group: P::GROUP,
            offers: OfferOf::untyped(P::OFFERS),
            start: start::<P>,
            retiring: retiring::<P>,
            stop: drop_it::<P>,
            hook: hook::<P>,
            state: StateOf::<P>::untyped(P::STATE),
        }
    }
}

/// # Safety
/// As [`Entry::retiring`] says.
unsafe extern "C" fn retiring<P: Plugin>(this: *const ()) -> Reply<()> {
    // SAFETY: from `start`, and not dropped yet, by the caller's promise.
    guard(|| unsafe { &*this.cast::<P>() }.retiring())
}

/// # Safety
/// As [`Entry::stop`] says.
unsafe extern "C" fn stop<P>(this: *const ()) -> Reply<()> {
    // SAFETY: from `start`, once, by the caller's promise.
    guard(|| drop(unsafe { Box::from_raw(this.cast::<P>().cast_mut()) }))
}

/// # Safety
/// As [`Entry::hook`] says.
unsafe extern "C" fn hook<P: Plugin>(this: *const (), which: Hook) -> Reply<RResult<(), Text>> {
    guard(|| {
        // SAFETY: from `start`, and not dropped yet, by the caller's promise.
        let plugin = unsafe { &*this.cast::<P>() };
        let done = match which {
            Hook::BeforeSwitch => plugin.before_switch(),
            Hook::AfterSwitch => plugin.after_switch(),
            Hook::BeforeReturn => {
                plugin.before_return();
                Ok(())
            }
            Hook::AfterReturn => {
                plugin.after_return();
                Ok(())
            }
            Hook::Health => plugin.health(),
        };
        done.map_err(|error| error.0)
    })
}

/// What the host gives to a plugin. It outlives the library.
#[repr(C)]
#[derive(Debug)]
pub struct HostTable {
    /// [`FORMAT`]
    pub format: u32,
    /// The number of the generation that the table is for.
    pub generation: u64,
    /// First argument of `service`.
    pub owner: *const (),
    /// Where the plugin's panics are noted: [`Panics::HOST`].
    pub panics: Panics,
    /// The host's object of the contract with this name, if its functions fit this layout. It never
    /// unwinds; what it gives is kept until the library is unmapped.
    pub service: unsafe extern "C" fn(
        owner: *const (),
        name: RStr<'_>,
        layout: Layout,
    ) -> RResult<RawService, Text>,
    /// What stands for the functions of the system that leave something behind.
    pub hooks: Hooks,
    /// Where the plugin's events and spans go.
    pub logs: Logs,
    /// What stands for wakers of the plugin's that the host keeps.
    pub wakers: Wakers,
    /// Takes an object that the host is to call back. First argument is `owner`; it never unwinds.
    pub register: unsafe extern "C" fn(owner: *const (), left: Left) -> Registering,
    /// What is attached to the host's objects.
    pub attached: Fields,
}

// SAFETY: immutable, and `service` may be called with `owner` from any thread.
unsafe impl Send for HostTable {}
// SAFETY: what it has is immutable, and its functions may be called from many threads at once.
unsafe impl Sync for HostTable {}

/// One object of the host's and its functions. Not typed: [`Service`] is.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawService {
    /// The object.
    pub this: *const (),
    /// Its functions.
    pub table: *const (),
}

// SAFETY: objects of contracts are Send + Sync, tables are immutable.
unsafe impl Send for RawService {}
// SAFETY: objects of contracts are Sync, tables are immutable.
unsafe impl Sync for RawService {}

impl RawService {
    /// An object as an implementation of `C`. Whoever gives it away keeps the object for as long as
    /// it is used.
    pub fn of<C: ImplementedBy<T> + ?Sized, T: Send + Sync + 'static>(object: &T) -> Self {
        RawService { this: (&raw const *object).cast(), table: erase::<C, T>() }
    }
}

/// One contract that a plugin implements. `layout` is the claim to check before `table` is used.
#[repr(C)]
pub struct Offered {
    /// [`Contract::NAME`]
    pub name: RStr<'static>,
    /// [`Contract::VERSION`]
    pub version: RStr<'static>,
    /// Of the table.
    pub layout: Layout,
    /// The functions, for the plugin's type.
    pub table: *const (),
}

// SAFETY: tables are immutable statics.
unsafe impl Send for Offered {}
// SAFETY: what it points to is immutable.
unsafe impl Sync for Offered {}

/// What the plugin's type `P` offers.
#[repr(transparent)]
pub struct OfferOf<P> {
    /// INVARIANT: its functions take a `P` as their instance.
    offered: Offered,
    of: PhantomData<fn(P)>,
}

impl<P> OfferOf<P> {
    /// The contract `C` as the type `P` implements it.
    pub const fn of<C: ImplementedBy<P> + ?Sized>() -> Self
    where
        P: Send + Sync + 'static,
    {
        let offered = Offered {
            name: RStr::from_str(C::NAME),
            version: RStr::from_str(C::VERSION),
            layout: table_layout::<C>(),
            table: erase::<C, P>(),
        };
        OfferOf { offered, of: PhantomData }
    }

    const fn untyped(offers: &'static [Self]) -> &'static [Offered] {
        // SAFETY: it is transparent.
        unsafe { &*(&raw const *offers as *const [Offered]) }
    }
}

/// A word in the file, exported as `midflight_place`, into which the host writes the address of the
/// generation's table before it maps the file. The magic keeps it out of `.bss`, which has no bytes
/// in the file.
#[repr(C)]
#[derive(Debug)]
pub struct Place {
    /// [`PLACE_MAGIC`]
    pub magic: [u8; 16],
    /// Written by the host, into the file, and by nobody else: safe code of the plugin's crate
    /// reaches the place.
    pub(crate) table: AtomicUsize,
}

impl Place {
    /// A place with no address yet.
    #[expect(clippy::new_without_default, reason = "a static needs a const fn")]
    pub const fn new() -> Self {
        Place { magic: *PLACE_MAGIC, table: AtomicUsize::new(0) }
    }

    /// The address of the generation's [`HostTable`]; 0 in a file that no host has prepared.
    pub fn table(&self) -> usize {
        self.table.load(Acquire)
    }
}
