//! Contracts, and how a call finds the instance that serves it at this moment.
//!
//! A contract crate is shared by host and plugins, so it can't know how the host pins a release. It
//! could take a `dyn Fees` that the host makes, but then the host would have to know each contract,
//! and a call would cost two jumps.
//!
//! Instead the calls of a contract ([`Contract::Proxy`]) are generic over a [`Gate`], which the
//! host brings: what it does to enter is inlined into each method, and only the plugin's own
//! function is called through a pointer.

#![expect(
    unsafe_code,
    reason = "tables and instances are untyped pointers here; only generated code pairs them with their contract again"
)]

use crate::call::{self, Reply};
use crate::described::{self, Described, Table, Whole};
use crate::future::{self, Outcome, RawFuture};
use crate::object::{Given, HandedObject};
use crate::sink::{RawSink, RawTextSink};
use crate::tally::Tally;
use crate::{CallError, Crosses, Fault, Lends, Object, Sink, TextSink};
use std::marker::PhantomData;
use std::task::{Poll, Waker};

/// A trait with [`#[contract]`](crate::contract), as the type `dyn Trait`. Implemented by that
/// macro.
///
/// ```
/// use midflight_plugin::{Contract, contract};
/// midflight_plugin::contract_crate!(); // once, at the root of the contract crate
///
/// #[contract]
/// pub trait Fees {
///     fn fee(&self, quantity: u32) -> u64;
/// }
///
/// # fn main() {
/// assert!(<dyn Fees as Contract>::NAME.ends_with("::Fees"));
/// assert_eq!(<dyn Fees as Contract>::METHODS, ["fee"]);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no contract",
    label = "not `dyn Trait` of a trait with `#[contract]`",
    note = "put `#[contract]` on the trait, and name the contract as `dyn Trait`"
)]
///
/// # Safety
/// Each of `Functions` belongs to the method of its name; `proxy` calls
/// them with their own arguments, and through the gate that it is given.
pub unsafe trait Contract: Send + Sync + 'static {
    /// The functions.
    #[doc(hidden)]
    type Functions: Described;
    /// The methods of the contract as the caller sees them, each with a way to say that no value
    /// came back. This is what a slot of the host and a [`Service`](crate::Service) deref to.
    type Proxy<G: Gate>;
    /// The contract's crate and trait: `exchange-contracts::Fees`.
    const NAME: &'static str;
    /// The version of the contract's crate.
    const VERSION: &'static str;
    /// The names of the methods, by their number.
    const METHODS: &'static [&'static str];

    /// The calls of this contract through a gate.
    ///
    /// # Safety
    /// What the gate enters is bound to an instance and a table of this contract.
    #[doc(hidden)]
    unsafe fn proxy<G: Gate>(gate: G) -> Self::Proxy<G>;

    // Generated code calls these through the contract that it implements, and not by a path of
    // their own, which an author could lead elsewhere. None of them is written by it.

    /// [`Crosses::rebuild`], of an argument.
    #[doc(hidden)]
    #[inline(always)]
    fn rebuild<T: Crosses>(wire: T::Wire) -> T {
        T::rebuild(wire)
    }

    /// [`Lends::receive`], of an argument.
    #[doc(hidden)]
    #[inline(always)]
    fn receive<T: Lends>(wire: T::Wire<'_>) -> T::Held<'_> {
        T::receive(wire)
    }

    /// The callee's half of a call: see `call`.
    #[doc(hidden)]
    #[inline(always)]
    fn guard<T: Given>(body: impl FnOnce() -> T) -> Reply<T::Wire> {
        call::guard(body)
    }

    /// The same of an `async fn`.
    #[doc(hidden)]
    #[inline(always)]
    fn begun<F, T>(make: impl FnOnce() -> F) -> Reply<RawFuture<T::Wire>>
    where
        F: Future<Output = T> + Send,
        T: Crosses,
    {
        future::begin(make)
    }

    /// A sink, of an argument.
    ///
    /// # Safety
    /// As for [`Sink::from_raw`].
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn sink(raw: RawSink<'_>) -> Sink<'_> {
        // SAFETY: `raw` is from `into_raw` and used once, by the promise of who calls this.
        unsafe { Sink::from_raw(raw) }
    }

    /// The same of a text.
    ///
    /// # Safety
    /// As for [`TextSink::from_raw`].
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn text_sink(raw: RawTextSink<'_>) -> TextSink<'_> {
        // SAFETY: `raw` is from `into_raw` and used once, by the promise of who calls this.
        unsafe { TextSink::from_raw(raw) }
    }

    /// [`Object::new`], of an answer.
    ///
    /// # Safety
    /// As there.
    #[doc(hidden)]
    unsafe fn object<O, H>(handed: HandedObject<O>, held: H) -> Object<O>
    where
        O: Contract + ?Sized,
        H: Hold + 'static,
    {
        // SAFETY: `held` holds what has answered with `handed`, by the promise of who calls this.
        unsafe { Object::new(handed, held) }
    }

    /// Where the other side lacks a method, and there is no body to run instead.
    ///
    /// # Safety
    /// `bound` is what lacks the method, and is held.
    #[doc(hidden)]
    #[cold]
    unsafe fn missing(bound: &Bound, method: &'static str) -> Fault {
        // SAFETY: `bound` is held, by the promise of who calls this.
        unsafe { call::missing(bound, method) }
    }

    /// [`Calls::enter`]
    #[doc(hidden)]
    #[inline(always)]
    fn enter<G: Gate, R, E: From<Fault>>(
        calls: &Calls<Self, G>,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        calls.enter(method, f)
    }

    /// [`Calls::hold`]
    #[doc(hidden)]
    #[track_caller]
    fn hold<G: Holding, R, E: From<Fault>>(
        calls: &Calls<Self, G>,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, G::Held), E> {
        calls.hold(method, f)
    }

    /// [`Calls::begin`], and its answer.
    ///
    /// # Safety
    /// As for [`Answer::of`](future::Answer::of), of the future that `f` gives.
    #[doc(hidden)]
    #[track_caller]
    unsafe fn begin<'l, G, O, F>(
        calls: &Calls<Self, G>,
        method: u16,
        f: F,
    ) -> future::Answer<'l, G::Held, O>
    where
        G: Holding,
        O: Outcome,
        O::Wire: 'l,
        F: FnOnce(&Bound) -> Result<RawFuture<O::Wire>, Fault> + Send + 'l,
    {
        // SAFETY: the future is of what `calls` entered, and the hold came with it; what is lent to
        // it lives for 'l, by the promise of who calls this.
        unsafe { future::Answer::of(calls.begin(method, f)) }
    }

    /// Runs a default body in place of what the other side lacks.
    ///
    /// # Safety
    /// `bound` is what lacks the method, and is held.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn defaulted<T>(bound: &Bound, body: impl FnOnce(Pinned) -> T) -> Result<T, Fault> {
        // SAFETY: `bound` lacks the method and is held, by the promise of who calls this.
        unsafe { call::defaulted(bound, body) }
    }

    /// The same for a method that returns a `Result`.
    ///
    /// # Safety
    /// As for `defaulted`.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn defaulted_result<T, E>(
        bound: &Bound,
        body: impl FnOnce(Pinned) -> Result<T, E>,
    ) -> Result<T, CallError<E>> {
        // SAFETY: `bound` lacks the method and is held, by the promise of who calls this.
        unsafe { call::defaulted_result(bound, body) }
    }
}

/// `dyn Fees: ImplementedBy<FlatFees>`: `FlatFees` implements the contract `Fees`.
///
/// (This way round, since a contract crate can't implement a foreign trait for every type that
/// implements its own.)
///
/// # Safety
/// The functions of `WHOLE` take a pointer to a `T` as their instance.
#[diagnostic::on_unimplemented(
    message = "`{T}` does not implement the contract `{Self}`",
    note = "a contract is a trait with `#[contract]`: write `impl` of that trait for `{T}`"
)]
pub unsafe trait ImplementedBy<T: Send + Sync + 'static>: Contract {
    /// The functions of `T`.
    #[doc(hidden)]
    const WHOLE: &'static Whole<Self::Functions>;
}

/// Where a call's answer came from, or should have come from.
#[derive(Debug)]
pub struct Origin {
    /// The plugin's name; the contract's for a service of the host's.
    pub plugin: Box<str>,
    /// The plugin's version; empty for a service of the host's.
    pub version: Box<str>,
    /// 0 for a service of the host's.
    pub generation: u64,
    /// What of its calls came to nothing. In a library of its own it is nobody's: hosts alone ask.
    pub tally: Tally,
}

impl Origin {
    /// Nobody wants its tally.
    pub fn new(plugin: &str, version: &str, generation: u64) -> Self {
        Origin {
            plugin: plugin.into(),
            version: version.into(),
            generation,
            tally: Tally::default(),
        }
    }
}

/// One instance, its functions, and whose they are. Not typed: see [`Calls`].
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// The instance.
    pub this: *const (),
    /// Its functions.
    pub table: *const (),
    /// Whose they are.
    pub origin: *const Origin,
}

// SAFETY: instances of contracts are Send + Sync, tables and origins are immutable.
unsafe impl Send for Bound {}
// SAFETY: it gives no reference to what it points to without `unsafe`.
unsafe impl Sync for Bound {}

impl Bound {
    /// The functions, with their type. The first of them are there in every version; of the others,
    /// [`has`](Bound::has) says it.
    ///
    /// # Safety
    /// `self.table` is a table of `C`: out of an `ImplementedBy::WHOLE`, or checked against `C`'s
    /// layout. It is used no longer than it is held: the gate's closure is where that is sure.
    #[inline(always)]
    pub unsafe fn functions<C: Contract + ?Sized>(&self) -> *const C::Functions {
        // SAFETY: the table is of `C`, by the promise of who calls this.
        unsafe { described::fields_at(self.table) }
    }

    /// Is the function of that number there?
    ///
    /// # Safety
    /// As for `functions`.
    #[inline(always)]
    pub unsafe fn has<C: Contract + ?Sized>(&self, number: u16) -> bool {
        // SAFETY: the table is of `C`, by the promise of who calls this.
        unsafe { described::has::<C::Functions>(self.table, u32::from(number)) }
    }

    /// The reference to the functions.
    ///
    /// # Safety
    /// As for `functions`.
    pub(crate) unsafe fn table<C: Contract + ?Sized>(&self) -> Table<C::Functions> {
        // SAFETY: of `C`, by the caller's promise.
        unsafe { described::reference(self.table) }
    }
}

/// The reverse of [`Bound::table`].
pub(crate) fn erase_table<F: Described>(table: Table<F>) -> *const () {
    described::address(table)
}

pub(crate) const fn erase<C: ImplementedBy<T> + ?Sized, T: Send + Sync + 'static>() -> *const () {
    (&raw const *C::WHOLE).cast()
}

/// The reference to the functions of `T`.
pub(crate) fn table_of<C: ImplementedBy<T> + ?Sized, T: Send + Sync + 'static>()
-> Table<C::Functions> {
    described::reference_to(C::WHOLE)
}

/// How a call gets at the instance that serves it at this moment.
///
/// # Safety
/// Of the `Bound` that is passed to `f`, instance and table belong together, the table is of the
/// contract that the gate was made for, and all three pointers are valid until `f` has returned or
/// unwound.
pub unsafe trait Gate {
    /// Runs `f` on what serves now, or says why nothing does. `method` is its number in
    /// [`Contract::METHODS`].
    fn enter<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E>;
}

/// A gate whose calls can leave something behind that belongs to what answered, and must not
/// outlive it: a future, an object.
///
/// # Safety
/// As for [`Gate`], of the `Bound` that is passed to `f`; and what is held holds that very one.
#[diagnostic::on_unimplemented(
    message = "through `{Self}` no method can be called that answers with a future or an object",
    label = "it holds what it calls for the length of a call, and no longer"
)]
pub unsafe trait Holding: Gate {
    /// What keeps the answer's side there.
    type Held: Hold + 'static;

    /// Runs `f` on what serves now, and holds that from before `f` begins until the `Held` is
    /// dropped.
    #[track_caller]
    fn hold<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, Self::Held), E>;

    /// As [`hold`](Holding::hold), for the beginning of a future: where nobody is let in at this
    /// moment, the caller is told to wait, and not made to.
    #[track_caller]
    fn begin<'l, R, F>(&self, method: u16, f: F) -> Begun<'l, R, Self::Held>
    where
        R: 'l,
        F: FnOnce(&Bound) -> Result<R, Fault> + Send + 'l,
    {
        Begun::Now(self.hold(method, f))
    }
}

/// What became of [`Holding::begin`].
pub enum Begun<'l, R, H> {
    /// It has begun, or never will.
    Now(Result<(R, H), Fault>),
    /// To be asked again when the waker is woken.
    Later(Later<'l, R, H>),
}

/// A call that waits to begin.
pub type Later<'l, R, H> = Box<dyn FnMut(&Waker) -> Poll<Result<(R, H), Fault>> + Send + 'l>;

/// A share in what serves a contract: its code and its instance stay while this lives.
///
/// # Safety
/// What [`bound`](Hold::bound) gives is valid for as long as `self` lives.
pub unsafe trait Hold: Send + Sync {
    /// What is held.
    fn bound(&self) -> &Bound;

    /// Runs `f` with what is held as the one that calls from inside of it get. It never refuses: a
    /// future that could not be entered could not be dropped.
    fn within<R>(&self, f: impl FnOnce() -> R) -> R;

    /// The same for a call, which can be refused: nested deeper and deeper, it would run out of
    /// stack.
    ///
    /// # Errors
    /// [`Fault::NestedTooDeep`]
    fn enter<R, E: From<Fault>>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E>;

    /// A panic that has nobody to be told: of a future or an object that was dropped.
    fn lost(&self, fault: Fault);
}

/// The gate of what is held already: the rest of a contract, for a default body of it that runs
/// inside of a call.
#[derive(Debug)]
pub struct Pinned(Bound);

impl Pinned {
    /// # Safety
    /// The gate is gone before what `bound` points to may be.
    pub(crate) unsafe fn new(bound: &Bound) -> Self {
        Pinned(*bound)
    }
}

// SAFETY: by `Pinned::new`, and the `Bound` is one that another gate has entered.
unsafe impl Gate for Pinned {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        f(&self.0)
    }
}

// SAFETY: by `Pinned::new`; what it gives away is not kept longer, since the body gets this as its
// `self`, and of what it borrows from that nothing outlives the closure.
unsafe impl Holding for Pinned {
    type Held = Pinned;

    #[track_caller]
    fn hold<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, Pinned), E> {
        f(&self.0).map(|answer| (answer, Pinned(self.0)))
    }
}

// SAFETY: by `Pinned::new`.
unsafe impl Hold for Pinned {
    fn bound(&self) -> &Bound {
        &self.0
    }

    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }

    fn enter<R, E: From<Fault>>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        f()
    }

    fn lost(&self, _: Fault) {}
}

/// A gate that is known to be of the contract `C`: what generated proxies hold. Without the type,
/// safe code beside a contract could put the gate of one contract into the proxy of another.
pub struct Calls<C: ?Sized, G> {
    gate: G,
    contract: PhantomData<fn(&C)>,
}

impl<C: Contract + ?Sized, G: Gate> Calls<C, G> {
    /// Gives a gate its contract.
    ///
    /// # Safety
    /// As for [`Contract::proxy`].
    #[inline(always)]
    pub unsafe fn new(gate: G) -> Self {
        Calls { gate, contract: PhantomData }
    }

    /// [`Gate::enter`].
    #[inline(always)]
    pub fn enter<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        self.gate.enter(method, f)
    }
    /// [`Holding::hold`].
    #[track_caller]
    pub fn hold<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, G::Held), E>
    where
        G: Holding,
    {
        self.gate.hold(method, f)
    }
    /// [`Holding::begin`].
    #[track_caller]
    pub fn begin<'l, R, F>(&self, method: u16, f: F) -> Begun<'l, R, G::Held>
    where
        G: Holding,
        R: 'l,
        F: FnOnce(&Bound) -> Result<R, Fault> + Send + 'l,
    {
        self.gate.begin(method, f)
    }
}
