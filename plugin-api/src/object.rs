//! Objects: what a method answers with when the answer is not a value but something to call.
//!
//! A session, a cursor, a subscription has methods of its own. As `Box<dyn Session>` it could not
//! cross: its vtable has no stable layout, and dropped after its library is gone it is a crash. So
//! the two halves of a box cross on their own terms: the functions as the table of the contract
//! `Session`, whose layout is compared, and the rest as one function that drops it. The caller gets
//! an [`Object`], which holds what it came from for as long as it lives.

#![expect(
    unsafe_code,
    reason = "the sender's object is an untyped pointer beside the functions that know it"
)]

use crate::call::{Reply, guard};
use crate::contract::{Bound, Contract, Gate, Hold, Holding, ImplementedBy, erase_table, table_of};
use crate::described::Table;
use crate::layout::LaidOut;
use crate::{Crosses, Fault, Maybe};
use abi_stable::StableAbi;
use abi_stable::std_types::RResult;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// An object that a method of a contract has handed out, with the methods of its own contract.
///
/// The method's author returns `Box<dyn Session>`, `Option` of it or `Result<Box<dyn Session>, E>`;
/// its caller gets an `Object<dyn Session>` in the same place. It is a cheap clone, `Send` and
/// `Sync`, and can be kept, moved and dropped anywhere.
///
/// ```
/// # mod exchange {
/// use midflight_plugin::contract;
///
/// #[contract]
/// pub trait Session {
///     fn send(&self, order: &str) -> u64;
/// }
///
/// #[contract]
/// pub trait Gateway {
///     fn open(&self, client: &str) -> Option<Box<dyn Session>>;
/// }
/// # }
/// # midflight_plugin::contract_crate!();
/// # use exchange::*;
/// # use midflight_plugin::{Fault, Object, rt::Holding};
/// # use std::sync::atomic::{AtomicU64, Ordering};
///
/// // in the plugin
/// struct Simple;
/// struct Open { sent: AtomicU64 }
/// impl Session for Open {
///     fn send(&self, _order: &str) -> u64 {
///         self.sent.fetch_add(1, Ordering::Relaxed) + 1
///     }
/// }
/// impl Gateway for Simple {
///     fn open(&self, client: &str) -> Option<Box<dyn Session>> {
///         (client != "nobody").then(|| Box::new(Open { sent: AtomicU64::new(0) }) as _)
///     }
/// }
///
/// // in the host, with a slot's calls
/// fn demo<G: Holding>(gateway: &GatewayCalls<G>) -> Result<(), Fault> {
///     let session: Option<Object<dyn Session>> = gateway.open("ann")?;
///     if let Some(session) = session {
///         session.send("buy")?;
///     } // its `Drop` ran in the plugin, and the plugin's version may go
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// It **holds its version** as a lease does: calls on it run on the version that made it, and so do
/// calls that they make back into the group; after an update that version stays in memory until its
/// last object is dropped. Keep objects as long as what they stand for, and for what must survive
/// updates keep a number or a name instead, and ask the slot anew.
///
/// The last clone's drop runs the object's own `Drop`, on that thread. A panic there is an event of
/// the host's. An object that was made by an object holds that one too.
pub struct Object<C: Contract + ?Sized> {
    proxy: C::Proxy<ObjectGate>,
    gate: ObjectGate,
}

impl<C: Contract + ?Sized> Object<C> {
    /// For generated code.
    ///
    /// # Safety
    /// `handed` is the answer to a call, and `held` holds what answered.
    #[doc(hidden)]
    pub unsafe fn new<H: Hold + 'static>(handed: HandedObject<C>, held: H) -> Self {
        let RawObject { this, table, drop } = handed.raw;
        let bound = Bound { this, table: erase_table(table), origin: held.bound().origin };
        let gate = ObjectGate(Arc::new(Kept { bound, drop, held: Box::new(held) }));
        // SAFETY: instance and table are of `C` by `HandedObject::of`, whose type says so on both
        // sides and was compared.
        unsafe { Object::through(gate) }
    }

    /// # Safety
    /// The gate is of `C`.
    unsafe fn through(gate: ObjectGate) -> Self {
        // SAFETY: the gate is of `C`, by the promise of who calls this.
        let proxy = unsafe { C::proxy(gate.clone()) };
        Object { proxy, gate }
    }
}

impl<C: Contract + ?Sized> Deref for Object<C> {
    type Target = C::Proxy<ObjectGate>;
    fn deref(&self) -> &Self::Target {
        &self.proxy
    }
}

impl<C: Contract + ?Sized> Clone for Object<C> {
    fn clone(&self) -> Self {
        // SAFETY: its own gate, which `new` made for `C`.
        unsafe { Object::through(self.gate.clone()) }
    }
}

impl<C: Contract + ?Sized> fmt::Debug for Object<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", C::NAME)
    }
}

/// The gate of an object: what it holds is entered for each call.
#[derive(Clone)]
pub struct ObjectGate(Arc<Kept>);

impl fmt::Debug for ObjectGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectGate")
    }
}

/// The one owner of the other side's object.
struct Kept {
    /// INVARIANT: of an object that lives until `self` is dropped; its code, and its origin, stay
    /// while `held` does.
    bound: Bound,
    drop: unsafe extern "C" fn(*mut ()) -> Reply<()>,
    held: Box<dyn ErasedHold>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Kept { bound, drop, held } = &*self;
        held.run_within(&mut || {
            // SAFETY: the object's own function, once; its code is held, here and until the field
            // `held` goes after this.
            if let Err(fault) = unsafe { drop(bound.this.cast_mut()).finish::<()>(bound) } {
                held.tell(fault);
            }
        });
    }
}

// SAFETY: by the invariant of `bound`; `self` holds it.
unsafe impl Gate for ObjectGate {
    #[inline]
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        Hold::enter(self, || f(&self.0.bound))
    }
}

// SAFETY: as for its `Gate`; a clone holds the same object.
unsafe impl Holding for ObjectGate {
    type Held = ObjectGate;

    fn hold<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, ObjectGate), E> {
        Gate::enter(self, method, f).map(|answer| (answer, self.clone()))
    }
}

// SAFETY: by the invariant of `bound`; `self` holds it.
unsafe impl Hold for ObjectGate {
    fn bound(&self) -> &Bound {
        &self.0.bound
    }

    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        let (mut f, mut answer) = (Some(f), None);
        self.0.held.run_within(&mut || answer = f.take().map(|f| f()));
        answer.expect("what holds runs what it is given, once")
    }

    fn enter<R, E: From<Fault>>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let (mut f, mut answer) = (Some(f), None);
        self.0.held.run_entered(&mut || answer = f.take().map(|f| f()))?;
        answer.expect("what holds runs what it is given, once")
    }

    fn lost(&self, fault: Fault) {
        self.0.held.tell(fault);
    }
}

/// A [`Hold`] whose type is forgotten, so that an object is of one type whatever it came through.
/// It never leaves its binary.
trait ErasedHold: Send + Sync {
    fn run_within(&self, f: &mut dyn FnMut());
    fn run_entered(&self, f: &mut dyn FnMut()) -> Result<(), Fault>;
    fn tell(&self, fault: Fault);
}

impl<H: Hold> ErasedHold for H {
    fn run_within(&self, f: &mut dyn FnMut()) {
        Hold::within(self, f);
    }

    fn run_entered(&self, f: &mut dyn FnMut()) -> Result<(), Fault> {
        Hold::enter(self, || {
            f();
            Ok(())
        })
    }

    fn tell(&self, fault: Fault) {
        Hold::lost(self, fault);
    }
}

/// A contract whose objects can be a result, as `Box<dyn Trait>`. Implemented by
/// [`contract`](crate::contract).
#[diagnostic::on_unimplemented(
    message = "`Box<{Self}>` can't be a contract's result",
    label = "`{Self}` is no contract whose objects can be handed out",
    note = "put `#[contract]` on the trait; it has no `async fn` then, whose futures a boxed object can't give"
)]
pub trait HandedOut: ImplementedBy<Box<Self>> {}

/// A box on its way. On the side that receives it, it is a pointer that nobody follows, until
/// generated code makes it an [`Object`].
pub struct HandedObject<C: Contract + ?Sized> {
    raw: RawObject<Table<C::Functions>>,
}

impl<C: HandedOut + ?Sized + 'static> HandedObject<C> {
    /// In the library that sends it.
    pub fn of(object: Box<C>) -> Self {
        unsafe extern "C" fn drop_it<C: ?Sized>(this: *mut ()) -> Reply<()> {
            // SAFETY: from `of`, once, by who received it.
            guard(|| drop(unsafe { Box::from_raw(this.cast::<Box<C>>()) }))
        }
        // Boxed once more, since a pointer to a trait object is two words.
        let this = Box::into_raw(Box::new(object)).cast();
        HandedObject { raw: RawObject { this, table: table_of::<C, Box<C>>(), drop: drop_it::<C> } }
    }
}

impl<C: Contract + ?Sized> fmt::Debug for HandedObject<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandedObject({})", C::NAME)
    }
}

/// A box on the wire.
#[repr(C)]
#[derive(StableAbi)]
#[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
pub struct RawObject<T> {
    this: *mut (),
    table: T,
    drop: unsafe extern "C" fn(*mut ()) -> Reply<()>,
}

/// What a method gives: what [`Crosses`], or an object, alone, in an `Option`, in a `Result`, or in
/// an `Option` in a `Result`.
///
/// An object is no value, and must not cross as one: kept while its library goes, and handed out by
/// the next as its own, it would be a pointer into what is unmapped. So it is a result that
/// generated code gives, and nothing else.
pub trait Given: Sized + sealed::Given {
    /// The form in which it is passed.
    type Wire: LaidOut + 'static;
    /// In the library that sends it.
    fn into_wire(self) -> Self::Wire;
    /// In the library that receives it, while the sender is still held.
    fn rebuild(wire: Self::Wire) -> Self;
}

mod sealed {
    pub trait Given {}
}

impl<T: Crosses> sealed::Given for T {}
impl<T: Crosses> Given for T {
    type Wire = T::Wire;
    #[inline(always)]
    fn into_wire(self) -> T::Wire {
        Crosses::into_wire(self)
    }
    #[inline(always)]
    fn rebuild(wire: T::Wire) -> Self {
        Crosses::rebuild(wire)
    }
}

// What arrives does belong to its sender, but nothing that is safe follows its pointers: no method,
// no `Drop`. `Object::new` asks for what holds the sender.
impl<C: Contract + ?Sized> sealed::Given for HandedObject<C> {}
impl<C: Contract + ?Sized> Given for HandedObject<C> {
    type Wire = RawObject<Table<C::Functions>>;
    fn into_wire(self) -> Self::Wire {
        self.raw
    }
    fn rebuild(raw: Self::Wire) -> Self {
        HandedObject { raw }
    }
}

impl<C: Contract + ?Sized> sealed::Given for Option<HandedObject<C>> {}
impl<C: Contract + ?Sized> Given for Option<HandedObject<C>> {
    type Wire = Maybe<RawObject<Table<C::Functions>>>;
    fn into_wire(self) -> Self::Wire {
        self.map(HandedObject::into_wire).into()
    }
    fn rebuild(wire: Self::Wire) -> Self {
        wire.into_option().map(HandedObject::rebuild)
    }
}

macro_rules! fallible {
    ($($given:ty => $wire:ty;)*) => { $(
        impl<C: Contract + ?Sized, E: Crosses> sealed::Given for Result<$given, E> {}
        impl<C: Contract + ?Sized, E: Crosses> Given for Result<$given, E> {
            type Wire = RResult<$wire, E::Wire>;
            fn into_wire(self) -> Self::Wire {
                self.map(Given::into_wire).map_err(E::into_wire).into()
            }
            fn rebuild(wire: Self::Wire) -> Self {
                wire.into_result().map(Given::rebuild).map_err(E::rebuild)
            }
        }
    )* };
}
fallible! {
    HandedObject<C> => RawObject<Table<C::Functions>>;
    Option<HandedObject<C>> => Maybe<RawObject<Table<C::Functions>>>;
}
