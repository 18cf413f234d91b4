//! Callbacks: objects that one side leaves with the other, to be called later.
//!
//! A plugin that subscribes to something leaves an object with the host, and nobody can say for how
//! long. Were it held like an [`Object`](crate::Object), the plugin would hold itself in memory for
//! as long as the host keeps the subscription, which is for ever. So it is not held: what crosses
//! is a handle in the memory of the *host*, each call through it asks the host whether the plugin's
//! version still serves, and an old one's answer is [`Fault::Revoked`].

#![expect(
    unsafe_code,
    reason = "a handle is an untyped pointer beside the functions of the binary that owns it"
)]

use crate::call::{Reply, guard};
use crate::contract::{Bound, Contract, Gate, ImplementedBy, Origin, erase_table, table_of};
use crate::described::Table;
use crate::lent::RStr;
use crate::plugin::{HostTable, host};
use crate::portable::Form;
use crate::{Crosses, Fault};
use abi_stable::StableAbi;
use std::fmt;
use std::marker::PhantomData;
use std::mem::forget;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

/// An object that is left with another side to be called back: a listener, a timer, a task. An
/// argument or a result of a method, alone or in an `Option`, a `Vec`, a tuple.
///
/// Whoever makes it implements the contract; whoever gets it calls its methods, each of which can
/// bring a [`Fault`].
///
/// ```
/// # mod exchange {
/// use midflight_plugin::{Callback, contract};
///
/// #[contract]
/// pub trait Ticks {
///     fn tick(&self, price: i64) -> bool;
/// }
///
/// /// What the host provides to its plugins.
/// #[contract]
/// pub trait Market {
///     fn subscribe(&self, symbol: &str, ticks: Callback<dyn Ticks>);
/// }
/// # }
/// # midflight_plugin::contract_crate!();
/// # use exchange::*;
/// # use midflight_plugin::{Callback, Context, Plugin, Service, StartError};
/// # use std::sync::Mutex;
///
/// // in the plugin
/// struct Stop { below: i64 }
/// impl Ticks for Stop {
///     fn tick(&self, price: i64) -> bool {
///         price < self.below
///     }
/// }
///
/// struct Orders;
/// impl Plugin for Orders {
///     fn start(cx: &Context<'_>) -> Result<Self, StartError> {
///         let market = cx.service::<dyn Market>()?;
///         market.subscribe("ABC", Callback::new(Stop { below: 100 }))?;
///         Ok(Orders)
///     }
/// }
///
/// // in the host
/// struct Board { subscribed: Mutex<Vec<Callback<dyn Ticks>>> }
/// impl Market for Board {
///     fn subscribe(&self, _symbol: &str, ticks: Callback<dyn Ticks>) {
///         self.subscribed.lock().unwrap().push(ticks);
///     }
/// }
/// impl Board {
///     fn price(&self, price: i64) {
///         // those that a replaced version had left are `Revoked`: gone
///         self.subscribed.lock().unwrap().retain(|ticks| ticks.tick(price).is_ok());
///     }
/// }
/// # fn main() {
/// # let board = Board { subscribed: Mutex::default() };
/// # board.subscribe("ABC", Callback::new(Stop { below: 100 }));
/// # board.price(101);
/// # assert_eq!(board.subscribed.lock().unwrap()[0].tick(99), Ok(true));
/// # }
/// ```
///
/// Who calls a plugin's callback is the host, or the plugin itself. Another plugin that got it from
/// the host gets [`Fault::ForeignCallback`]: the host has compared the contract with both, but
/// nobody the two with each other. It leaves a callback of the host's own with it instead, which
/// calls on.
///
/// A plugin's callback **holds nothing**. It answers while the version that made it serves: not
/// before that is active, and after an update only to calls that come from inside of calls on the
/// old version. Everybody else gets [`Fault::Revoked`], and the version unloads, however many
/// handles are left. The new version subscribes anew, in its `start`.
///
/// The object is dropped with its last handle, or when its version is stopped, just before the
/// plugin's own instance; a panic of its `Drop` is an event of the host's. Handles may be kept
/// anywhere and dropped at any time.
///
/// One that the host makes, or a plugin that is linked in, is never revoked: its code stays, and so
/// does it, until its last handle is dropped. Its methods can't answer with objects or futures,
/// which would hold what must not be held.
pub struct Callback<C: Contract + ?Sized> {
    proxy: C::Proxy<CallbackGate>,
    gate: CallbackGate,
}

impl<C: Contract + ?Sized> Callback<C> {
    /// Leaves `object` to be called back.
    pub fn new<T>(object: T) -> Self
    where
        C: ImplementedBy<T>,
        T: Send + Sync + 'static,
    {
        let this: *mut () = Box::into_raw(Box::new(object)).cast();
        let left = Left { this, drop: drop_it::<T> };
        // SAFETY: the box is given away here and nowhere else, with the function for its type.
        let handle = unsafe {
            match host() {
                Some(host) => registered(host, left),
                None => Local::handle(left),
            }
        };
        // SAFETY: the table is that of `T`, of which the handle is.
        unsafe {
            Callback::through(CallbackGate::new::<C>(handle, erase_table(table_of::<C, T>())))
        }
    }

    /// # Safety
    /// The gate is of `C`.
    unsafe fn through(gate: CallbackGate) -> Self {
        // SAFETY: the gate is of `C`, by the promise of who calls this.
        let proxy = unsafe { C::proxy(gate.clone()) };
        Callback { proxy, gate }
    }
}

impl<C: Contract + ?Sized> Deref for Callback<C> {
    type Target = C::Proxy<CallbackGate>;
    fn deref(&self) -> &Self::Target {
        &self.proxy
    }
}

impl<C: Contract + ?Sized> Clone for Callback<C> {
    fn clone(&self) -> Self {
        // SAFETY: its own gate, which was made for `C`.
        unsafe { Callback::through(self.gate.clone()) }
    }
}

impl<C: Contract + ?Sized> fmt::Debug for Callback<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({}, of {})", C::NAME, self.gate.origin.plugin)
    }
}

// SAFETY: a share in the handle, and a table of `C`.
unsafe impl<C: Contract + ?Sized + 'static> Form<Callback<C>> for RawCallback<Table<C::Functions>> {}

// SAFETY: what is rebuilt is a share in a handle that its owner keeps, whoever else is unloaded,
// with an origin of the receiver's; the table's address is used inside of `enter` alone.
unsafe impl<C: Contract + ?Sized + 'static> Crosses for Callback<C> {
    type Wire = RawCallback<Table<C::Functions>>;

    fn into_wire(self) -> Self::Wire {
        let Callback { proxy, gate } = self;
        drop(proxy);
        // SAFETY: the gate's table is of `C`.
        let table = unsafe { gate.bound(null_mut()).table::<C>() };
        RawCallback { handle: gate.handle.into_raw(), table }
    }

    fn rebuild(wire: Self::Wire) -> Self {
        // SAFETY: from `into_wire`, whose share it takes over; the table's type was compared.
        unsafe {
            let handle = Handle::from_raw(wire.handle);
            Callback::through(CallbackGate::new::<C>(handle, erase_table(wire.table)))
        }
    }
}

/// A callback on the wire: one share in a handle.
#[repr(C)]
#[derive(StableAbi)]
#[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
pub struct RawCallback<T> {
    handle: *const (),
    table: T,
}

/// The gate of a callback: the handle's owner says whether the object may be called.
#[derive(Clone)]
pub struct CallbackGate {
    handle: Handle,
    /// INVARIANT: its functions are those of the handle's object.
    table: *const (),
    origin: Arc<Origin>,
    /// Another plugin made it. The host has compared the contract with its maker, and with this
    /// plugin, but nobody the two with each other: behind what the host knows of it they can
    /// differ.
    foreign: bool,
}

// SAFETY: handles may be used from any thread, and so may the object, which is Send + Sync; the
// table is immutable.
unsafe impl Send for CallbackGate {}
// SAFETY: it gives references to nothing but its origin, and the object is Sync.
unsafe impl Sync for CallbackGate {}

impl CallbackGate {
    /// # Safety
    /// The table is of the handle's object.
    unsafe fn new<C: Contract + ?Sized>(handle: Handle, table: *const ()) -> Self {
        let about = handle.about();
        // As for a service of the host's, where no plugin has made it.
        let plugin = if about.generation == 0 { C::NAME } else { about.plugin.as_str() };
        let origin = Origin::new(plugin, about.version.as_str(), about.generation);
        let foreign =
            host().is_some_and(|host| !about.maker.is_null() && about.maker != host.owner);
        CallbackGate { handle, table, origin: Arc::new(origin), foreign }
    }

    fn bound(&self, this: *mut ()) -> Bound {
        Bound { this, table: self.table, origin: Arc::as_ptr(&self.origin) }
    }
}

impl fmt::Debug for CallbackGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallbackGate").field(&self.origin).finish()
    }
}

// SAFETY: `Functions::enter` runs its closure only while the object is there and its code is
// mapped; instance and table belong together by the invariant of `table`, and the origin is owned.
unsafe impl Gate for CallbackGate {
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        if self.foreign {
            return Err(Fault::ForeignCallback { plugin: self.origin.plugin.clone() }.into());
        }
        let mut f = Some(f);
        let mut answer = None;
        // Nothing may unwind through the functions of the handle's owner, which can be another
        // binary.
        let entered = self.handle.enter(&mut |this| {
            let call = f.take().map(|f| catch_unwind(AssertUnwindSafe(|| f(&self.bound(this)))));
            answer = call;
        });
        match answer {
            Some(Ok(answer)) => answer,
            Some(Err(payload)) => resume_unwind(payload),
            None => Err(self.refused(entered).into()),
        }
    }
}

impl CallbackGate {
    #[cold]
    fn refused(&self, entered: Entered) -> Fault {
        match entered {
            Entered { outcome: Outcome::NestedTooDeep, bound } => Fault::NestedTooDeep { bound },
            Entered { outcome: Outcome::TooManyGroups, bound } => Fault::TooManyGroups { bound },
            _ => Fault::Revoked { plugin: self.origin.plugin.clone() },
        }
    }
}

/// What every handle begins with, whatever binary owns it.
#[repr(C)]
#[derive(Debug)]
pub struct Registered {
    /// Its owner's.
    pub functions: &'static Functions,
}

/// What can be done with a handle. Functions of the binary that owns it, which stays for as long as
/// there are handles.
#[repr(C)]
#[derive(Debug)]
pub struct Functions {
    /// Runs `run` on the object, if its code is there and stays for that long. `run` does not
    /// unwind.
    pub enter: unsafe extern "C" fn(
        handle: *const Registered,
        context: *mut (),
        run: unsafe extern "C" fn(context: *mut (), this: *mut ()),
    ) -> Entered,
    /// One share more.
    pub clone: unsafe extern "C" fn(handle: *const Registered),
    /// One share less; with the last one the object is dropped. It does not unwind.
    pub drop: unsafe extern "C" fn(handle: *const Registered),
    /// Whose it is. Valid as long as the handle.
    pub about: unsafe extern "C" fn(handle: *const Registered) -> About,
}

/// Whose a handle is; borrowed from it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The generation that made it, by what its table calls its owner; null for what the host's own
    /// binary made.
    pub maker: *const (),
    /// As in [`Origin`].
    pub plugin: RStr<'static>,
    /// As in [`Origin`].
    pub version: RStr<'static>,
    /// As in [`Origin`].
    pub generation: u64,
}

/// Whether an object was called.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Entered {
    /// What became of it.
    pub outcome: Outcome,
    /// The bound that was reached, where one was.
    pub bound: usize,
}

/// See [`Entered`].
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was called.
    Called = 0,
    /// [`Fault::Revoked`]
    Revoked = 1,
    /// [`Fault::NestedTooDeep`]
    NestedTooDeep = 2,
    /// [`Fault::TooManyGroups`]
    TooManyGroups = 3,
}

/// An object that is left with somebody: whoever takes it drops it, once, with its own function.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Left {
    /// The object.
    pub this: *mut (),
    /// Drops it.
    pub drop: unsafe extern "C" fn(*mut ()) -> Reply<()>,
}

// SAFETY: the object is Send + Sync, by `Callback::new`.
unsafe impl Send for Left {}
// SAFETY: it is two pointers that nobody follows by a reference to it.
unsafe impl Sync for Left {}

unsafe extern "C" fn drop_it<T>(this: *mut ()) -> Reply<()> {
    // SAFETY: from `new`, once, by who took it.
    guard(|| drop(unsafe { Box::from_raw(this.cast::<T>()) }))
}

/// What the host answers to a registration.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Registering {
    /// One share in a handle of the host's.
    pub handle: *const Registered,
    /// The host has taken the object. If not, the handle is revoked already, and the object its
    /// maker's.
    pub taken: bool,
}

/// # Safety
/// `left` is given away here and nowhere else.
unsafe fn registered(host: &HostTable, left: Left) -> Handle {
    // SAFETY: the host's own function with the host's own owner.
    let Registering { handle, taken } = unsafe { (host.register)(host.owner, left) };
    if !taken {
        // What it panics with is noted, and has nobody to be told.
        // SAFETY: `left` was given to nobody else, by the promise of who calls this, and the host
        // did not take it.
        let _ = unsafe { (left.drop)(left.this) };
    }
    // SAFETY: the share that the host has given.
    unsafe { Handle::from_raw(handle.cast()) }
}

/// One share in a handle.
struct Handle {
    /// INVARIANT: one share is this one's.
    registered: NonNull<Registered>,
    share: PhantomData<Registered>,
}

impl Handle {
    /// # Safety
    /// One share is given to this.
    unsafe fn from_raw(handle: *const ()) -> Self {
        // SAFETY: a handle is not null.
        let registered = unsafe { NonNull::new_unchecked(handle.cast_mut().cast()) };
        Handle { registered, share: PhantomData }
    }

    fn into_raw(self) -> *const () {
        let handle = self.registered.as_ptr().cast_const().cast();
        forget(self);
        handle
    }

    fn functions(&self) -> &'static Functions {
        // SAFETY: by the invariant it is there.
        unsafe { self.registered.as_ref() }.functions
    }

    fn about(&self) -> About {
        // SAFETY: its own function.
        unsafe { (self.functions().about)(self.registered.as_ptr()) }
    }

    /// `f` does not unwind.
    fn enter<F: FnMut(*mut ())>(&self, f: &mut F) -> Entered {
        unsafe extern "C" fn run<F: FnMut(*mut ())>(context: *mut (), this: *mut ()) {
            // SAFETY: `enter` passes on what it was given below, while that is borrowed.
            let f = unsafe { &mut *context.cast::<F>() };
            f(this);
        }
        // SAFETY: its own function, and `run` takes what it is given here.
        unsafe {
            (self.functions().enter)(self.registered.as_ptr(), (&raw mut *f).cast(), run::<F>)
        }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        // SAFETY: its own function; the new share is the clone's.
        unsafe { (self.functions().clone)(self.registered.as_ptr()) };
        Handle { registered: self.registered, share: PhantomData }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: its own function, and by the invariant the share is this one's.
        unsafe { (self.functions().drop)(self.registered.as_ptr()) };
    }
}

/// A handle in this binary's own memory, on an object whose code is this binary's own: in a host,
/// which is never unloaded.
#[repr(C)]
struct Local {
    registered: Registered,
    left: Left,
}

impl Local {
    /// # Safety
    /// `left` is given away here and nowhere else.
    unsafe fn handle(left: Left) -> Handle {
        static FUNCTIONS: Functions = Functions {
            enter: Local::enter,
            clone: Local::clone,
            drop: Local::less,
            about: Local::about,
        };
        let local = Arc::new(Local { registered: Registered { functions: &FUNCTIONS }, left });
        // SAFETY: the share that is given up here.
        unsafe { Handle::from_raw(Arc::into_raw(local).cast()) }
    }

    unsafe extern "C" fn enter(
        handle: *const Registered,
        context: *mut (),
        run: unsafe extern "C" fn(*mut (), *mut ()),
    ) -> Entered {
        // SAFETY: the caller has a share, so the object is there.
        unsafe { run(context, (*handle.cast::<Local>()).left.this) };
        Entered { outcome: Outcome::Called, bound: 0 }
    }

    unsafe extern "C" fn clone(handle: *const Registered) {
        // SAFETY: from `Arc::into_raw`, and the caller has a share.
        unsafe { Arc::increment_strong_count(handle.cast::<Local>()) };
    }

    unsafe extern "C" fn less(handle: *const Registered) {
        // SAFETY: from `Arc::into_raw`, and the caller gives up its share.
        unsafe { Arc::decrement_strong_count(handle.cast::<Local>()) };
    }

    unsafe extern "C" fn about(_: *const Registered) -> About {
        let nobody = RStr::from_str("");
        About { maker: std::ptr::null(), plugin: nobody, version: nobody, generation: 0 }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // A panic is the own business of who linked it, whose hook has shown it.
        // SAFETY: the last share is gone.
        let _ = unsafe { (self.left.drop)(self.left.this) };
    }
}
