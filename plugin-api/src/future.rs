//! `async fn` over the boundary: a future of one side that is polled by the other.
//!
//! # Who holds what
//! The call that makes a future takes a share in what serves at that moment
//! ([`Holding`](crate::contract::Holding)), and the future keeps it until it is dropped: so it
//! begins, runs and ends on one version, however long that takes. Poll and drop run within what is
//! held. Both catch their panics in the callee; a future that has panicked is not polled again, and
//! its drop is all that is left to it.
//!
//! # Wakers
//! A waker is a pointer and four functions, and whoever stores it calls them later. What the host
//! polls a plugin's future with is the host's: it crosses as a [handle](Handle), whose functions
//! are the host's, and stays good whatever becomes of the plugin.
//!
//! The other direction is a trap. Where a plugin awaits a service of the host's, what it polls that
//! with can be the plugin's own waker (that of a `join!`, a `FuturesUnordered`, a runtime in the
//! plugin), which a timer of the host's keeps, and calls after the plugin is unmapped. So a
//! plugin's own waker never crosses. The host makes a waker of its own that stands for it
//! ([`Wakers`]), which asks before each wake whether the plugin is still there. A waker that came
//! from the host is handed back as it is, which is the usual case and costs nothing.

#![expect(
    unsafe_code,
    reason = "futures and wakers are untyped pointers on their way; only generated code pairs them with their types again"
)]

use crate::call::{Reply, guard, guard_wire};
use crate::contract::{Begun, Hold, Later};
use crate::plugin::host;
use crate::tally::Tally;
use crate::{CallError, Crosses, Fault, Maybe};
use abi_stable::StableAbi;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// A future of the other side's. Whoever has it polls it to its end or not, and drops it once.
#[repr(C)]
#[derive(StableAbi)]
pub struct RawFuture<W> {
    state: *mut (),
    poll: unsafe extern "C" fn(state: *mut (), waker: *const ()) -> Reply<Maybe<W>>,
    drop: unsafe extern "C" fn(state: *mut ()) -> Reply<()>,
}

/// The callee's half of a call of an `async fn`.
pub fn begin<F, T>(make: impl FnOnce() -> F) -> Reply<RawFuture<T::Wire>>
where
    F: Future<Output = T> + Send,
    T: Crosses,
{
    guard_wire(|| RawFuture {
        state: Box::into_raw(Box::new(make())).cast(),
        poll: poll::<F, T>,
        drop: end::<F>,
    })
}

/// # Safety
/// `state` is that of a future of this type; nobody else uses it meanwhile. `waker` is a handle,
/// lent for the call.
unsafe extern "C" fn poll<F, T>(state: *mut (), waker: *const ()) -> Reply<Maybe<T::Wire>>
where
    F: Future<Output = T> + Send,
    T: Crosses,
{
    guard_wire(|| {
        // SAFETY: a handle; and it is not dropped here, since it is lent.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(waker, &FOREIGN)) });
        // SAFETY: boxed by `begin`, and never moved.
        let future = unsafe { Pin::new_unchecked(&mut *state.cast::<F>()) };
        match future.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => Maybe::Some(value.into_wire()),
            Poll::Pending => Maybe::None,
        }
    })
}

/// # Safety
/// `state` is that of a future of this type, and this its last use.
unsafe extern "C" fn end<F>(state: *mut ()) -> Reply<()> {
    // SAFETY: from `begin`, once, by the caller's promise.
    guard(|| drop(unsafe { Box::from_raw(state.cast::<F>()) }))
}

/// What an `async fn` of a contract brings once it is ready.
pub trait Outcome {
    /// Its form on the wire.
    type Wire;
    /// As its caller sees it.
    type Output;
    /// Rebuilds it, while its sender is held, whose tally it is.
    fn of(wire: Self::Wire, tally: &Tally) -> Self::Output;
    /// There is none.
    fn fault(fault: Fault) -> Self::Output;
}

/// The outcome of `async fn … -> T`.
#[derive(Debug)]
pub struct Plain<T>(PhantomData<fn() -> T>);

impl<T: Crosses> Outcome for Plain<T> {
    type Wire = T::Wire;
    type Output = Result<T, Fault>;

    fn of(wire: T::Wire, _: &Tally) -> Result<T, Fault> {
        Ok(T::rebuild(wire))
    }

    fn fault(fault: Fault) -> Result<T, Fault> {
        Err(fault)
    }
}

/// The outcome of `async fn … -> Result<T, E>`.
#[derive(Debug)]
pub struct Fallible<T, E>(PhantomData<fn() -> (T, E)>);

impl<T, E> Outcome for Fallible<T, E>
where
    Result<T, E>: Crosses,
{
    type Wire = <Result<T, E> as Crosses>::Wire;
    type Output = Result<T, CallError<E>>;

    fn of(wire: Self::Wire, tally: &Tally) -> Self::Output {
        Result::rebuild(wire).map_err(|error| {
            tally.refused();
            CallError::Declined(error)
        })
    }

    fn fault(fault: Fault) -> Self::Output {
        Err(CallError::Fault(fault))
    }
}

/// The answer of an `async fn` of a contract, to be awaited on any executor.
///
/// The call has begun: what serves it was chosen when this was made, and is kept, like by a lease,
/// until it has brought its value or is dropped. Dropping it cancels the call. Where a plugin's
/// state was being handed over at that time, the call begins after that, at a poll.
///
/// ```
/// # midflight_plugin::contract_crate!();
/// use midflight_plugin::{CallError, Fault, Service, contract};
///
/// #[contract]
/// pub trait Prices {
///     async fn last(&self, symbol: &str) -> Result<i64, String>;
///     async fn opened(&self) -> bool;
/// }
///
/// async fn spread(prices: &Service<dyn Prices>) -> Result<i64, CallError<String>> {
///     if !prices.opened().await? {
///         return Ok(0);
///     }
///     let (ask, bid) = (prices.last("ABC.ask"), prices.last("ABC.bid")); // both have begun
///     Ok(ask.await? - bid.await?)
/// }
/// # fn main() {}
/// ```
#[must_use = "an answer does nothing unless it is awaited"]
pub struct Answer<'l, H: Hold, O: Outcome> {
    state: State<'l, H, O::Wire>,
    /// Lent arguments are used until the end.
    lent: PhantomData<&'l ()>,
}

enum State<'l, H: Hold, W> {
    Refused(Fault),
    /// For what serves to be there: a state is being handed over.
    Waiting(Later<'l, RawFuture<W>, H>),
    Running(Running<H, W>),
    Over,
}

/// A future that is held with what it belongs to.
struct Running<H: Hold, W> {
    raw: RawFuture<W>,
    stand_in: Option<StandIn>,
    /// INVARIANT: what `raw` belongs to.
    hold: H,
}

// SAFETY: `begin` demands of every future that it is Send; the rest is, and `W` is made by the poll
// that hands it over.
unsafe impl<H: Hold, W> Send for Running<H, W> {}

impl<H: Hold, W> Running<H, W> {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<W, Fault>> {
        let Running { raw, stand_in, hold } = self;
        let bound = hold.bound();
        let reply = hold.within(|| {
            // SAFETY: it is held, and `&mut self` is the only way to it. The handle lives for the
            // length of the call.
            with_handle(waker, stand_in, |handle| unsafe { (raw.poll)(raw.state, handle) })
        });
        // SAFETY: held.
        match unsafe { reply.finish_wire(bound) } {
            Ok(Maybe::None) => Poll::Pending,
            Ok(Maybe::Some(wire)) => Poll::Ready(Ok(wire)),
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }
}

impl<H: Hold, W> Drop for Running<H, W> {
    fn drop(&mut self) {
        let Running { raw, hold, .. } = self;
        // SAFETY: held; once, here.
        let reply = hold.within(|| unsafe { (raw.drop)(raw.state) });
        // SAFETY: held.
        if let Err(fault) = unsafe { reply.finish_wire(hold.bound()) } {
            hold.lost(fault);
        }
    }
}

impl<H: Hold, W> State<'_, H, W> {
    fn of(begun: Result<(RawFuture<W>, H), Fault>) -> Self {
        match begun {
            Ok((raw, hold)) => State::Running(Running { raw, stand_in: None, hold }),
            Err(fault) => State::Refused(fault),
        }
    }
}

impl<'l, H: Hold, O: Outcome> Answer<'l, H, O> {
    /// What a call of an `async fn` has brought.
    ///
    /// # Safety
    /// The future is of the side that the hold holds; its lent arguments live for 'l.
    pub unsafe fn of(begun: Begun<'l, RawFuture<O::Wire>, H>) -> Self {
        let state = match begun {
            Begun::Now(begun) => State::of(begun),
            Begun::Later(later) => State::Waiting(later),
        };
        Answer { state, lent: PhantomData }
    }
}

// Nothing in it is pinned: the future itself is boxed on its own side.
impl<H: Hold, O: Outcome> Unpin for Answer<'_, H, O> {}

impl<H: Hold, O: Outcome> Future for Answer<'_, H, O> {
    type Output = O::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let ended = loop {
            break match &mut self.state {
                State::Waiting(later) => {
                    let Poll::Ready(begun) = later(cx.waker()) else { return Poll::Pending };
                    self.state = State::of(begun);
                    continue;
                }
                State::Running(running) => match running.poll(cx.waker()) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(wire)) => {
                        // Held until it is the caller's own; then there is nothing left to hold it
                        // for. SAFETY: held.
                        let origin = unsafe { &*running.hold.bound().origin };
                        Ok(running.hold.within(|| O::of(wire, &origin.tally)))
                    }
                    Poll::Ready(Err(fault)) => Err(fault),
                },
                State::Refused(_) => match std::mem::replace(&mut self.state, State::Over) {
                    State::Refused(fault) => Err(fault),
                    _ => unreachable!("it was refused"),
                },
                State::Over => panic!("an answer is polled after it was ready"),
            };
        };
        self.state = State::Over;
        Poll::Ready(ended.unwrap_or_else(|fault| O::fault(fault)))
    }
}

impl<H: Hold, O: Outcome> fmt::Debug for Answer<'_, H, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused(_) => "refused",
            State::Waiting(_) => "waiting",
            State::Running(_) => "running",
            State::Over => "over",
        };
        write!(f, "Answer({state})")
    }
}

/// What a waker is on its way: the first word of something that only the side that made it knows.
#[repr(C)]
struct Handle {
    functions: &'static Functions,
}

/// A waker's functions, on a handle. None of them unwinds.
#[repr(C)]
struct Functions {
    /// Makes an owned handle of a lent or an owned one.
    clone: unsafe extern "C" fn(*const ()) -> *const (),
    /// Of an owned one, which it ends.
    wake: unsafe extern "C" fn(*const ()),
    wake_by_ref: unsafe extern "C" fn(*const ()),
    /// Of an owned one.
    drop: unsafe extern "C" fn(*const ()),
}

/// A waker of another side's: its data is a handle. By the address of this it is known again.
static FOREIGN: RawWakerVTable =
    RawWakerVTable::new(clone_foreign, wake_foreign, wake_foreign_by_ref, drop_foreign);

/// # Safety
/// Of this and the four below: `handle` is a handle, for `wake_foreign` and `drop_foreign` an owned
/// one.
unsafe fn functions(handle: *const ()) -> &'static Functions {
    // SAFETY: that is what a handle begins with.
    unsafe { &*handle.cast::<Handle>() }.functions
}

unsafe fn clone_foreign(handle: *const ()) -> RawWaker {
    // SAFETY: `handle` is a handle, by the conditions of a waker: this is in its table.
    RawWaker::new(unsafe { (functions(handle).clone)(handle) }, &FOREIGN)
}

unsafe fn wake_foreign(handle: *const ()) {
    // SAFETY: `handle` is an owned handle, which a waker gives away here.
    unsafe { (functions(handle).wake)(handle) };
}

unsafe fn wake_foreign_by_ref(handle: *const ()) {
    // SAFETY: `handle` is a handle, lent by the waker.
    unsafe { (functions(handle).wake_by_ref)(handle) };
}

unsafe fn drop_foreign(handle: *const ()) {
    // SAFETY: `handle` is an owned handle, which a waker gives away here.
    unsafe { (functions(handle).drop)(handle) };
}

/// A waker of this side's, as it crosses: lent from the stack, or owned in a box.
#[repr(C)]
struct Own {
    functions: &'static Functions,
    waker: ManuallyDrop<Waker>,
}

static OWN: Functions =
    Functions { clone: clone_own, wake: wake_own, wake_by_ref: wake_own_by_ref, drop: drop_own };

/// # Safety
/// Of this and the three below: `handle` is an `Own`, for `wake_own` and `drop_own` a boxed one,
/// and this its last use.
unsafe extern "C" fn clone_own(handle: *const ()) -> *const () {
    // SAFETY: `handle` is an `Own`: only those have this function.
    let own = unsafe { &*handle.cast::<Own>() };
    let mut waker = Waker::noop().clone();
    let _: Reply<()> = guard(|| waker = Waker::clone(&own.waker));
    Box::into_raw(Box::new(Own { functions: &OWN, waker: ManuallyDrop::new(waker) }))
        .cast_const()
        .cast()
}

unsafe extern "C" fn wake_own(handle: *const ()) {
    // SAFETY: `handle` is an `Own` in a box, from `clone_own`, and this its last use.
    let own = unsafe { Box::from_raw(handle.cast::<Own>().cast_mut()) };
    let _: Reply<()> = guard(|| ManuallyDrop::into_inner(own.waker).wake());
}

unsafe extern "C" fn wake_own_by_ref(handle: *const ()) {
    // SAFETY: `handle` is an `Own`: only those have this function.
    let own = unsafe { &*handle.cast::<Own>() };
    let _: Reply<()> = guard(|| own.waker.wake_by_ref());
}

unsafe extern "C" fn drop_own(handle: *const ()) {
    // SAFETY: `handle` is an `Own` in a box, from `clone_own`, and this its last use.
    let own = unsafe { Box::from_raw(handle.cast::<Own>().cast_mut()) };
    let _: Reply<()> = guard(|| drop(ManuallyDrop::into_inner(own.waker)));
}

/// Runs `f` with a handle that stands for `waker`.
fn with_handle<R>(
    waker: &Waker,
    stand_in: &mut Option<StandIn>,
    f: impl FnOnce(*const ()) -> R,
) -> R {
    if ptr::eq(waker.vtable(), &raw const FOREIGN) {
        return f(waker.data());
    }
    if let Some(host) = host() {
        return f(StandIn::of(stand_in, waker, host.wakers, host.owner));
    }
    // SAFETY: a second owner that is never dropped, for the length of the borrow.
    let waker = ManuallyDrop::new(unsafe { ptr::read(waker) });
    let own = Own { functions: &OWN, waker };
    f((&raw const own).cast())
}

/// How a plugin gets a waker of the host's that stands for one of its own.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Wakers {
    /// Makes a handle, owned by whoever asks. `keep` and `wake` are for `target`: `keep` counts one
    /// share in it more, and `wake` wakes it and takes that share back. They are called until
    /// `end`, and only while the plugin `owner` is there.
    pub stand_in: unsafe extern "C" fn(
        owner: *const (),
        target: *const (),
        keep: unsafe extern "C" fn(*const ()),
        wake: unsafe extern "C" fn(*const ()),
    ) -> *const (),
    /// Ends a handle of `stand_in`. From its return on neither of the two is called for it any
    /// more, but for a `wake` whose share is counted.
    pub end: unsafe extern "C" fn(handle: *const ()),
}

/// A handle of the host's own, on a waker that its maker keeps an eye on. For the host's half of
/// [`Wakers`].
///
/// It is valid for as long as the value is not moved.
#[repr(C)]
pub struct HostHandle(Own);

impl HostHandle {
    /// A handle on `waker`.
    pub fn of(waker: Waker) -> Self {
        HostHandle(Own { functions: &OWN, waker: ManuallyDrop::new(waker) })
    }
}

impl Drop for HostHandle {
    fn drop(&mut self) {
        // SAFETY: not used any more.
        unsafe { ManuallyDrop::drop(&mut self.0.waker) };
    }
}

/// A waker of this plugin's that the host's stands in for.
struct StandIn {
    own: Arc<Mutex<Waker>>,
    handle: *const (),
    end: unsafe extern "C" fn(*const ()),
}

impl StandIn {
    /// The handle that stands for `waker` now.
    fn of(
        this: &mut Option<StandIn>,
        waker: &Waker,
        wakers: Wakers,
        owner: *const (),
    ) -> *const () {
        if let Some(stand_in) = this {
            let mut own = stand_in.own.lock().unwrap_or_else(PoisonError::into_inner);
            if !own.will_wake(waker) {
                let before = std::mem::replace(&mut *own, waker.clone());
                drop(own);
                drop(before);
            }
            return stand_in.handle;
        }
        let own = Arc::new(Mutex::new(waker.clone()));
        // SAFETY: the target lives until `end`, since `own` does; the functions are for its type.
        let handle = unsafe { (wakers.stand_in)(owner, Arc::as_ptr(&own).cast(), keep, wake) };
        this.insert(StandIn { own, handle, end: wakers.end }).handle
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // SAFETY: from `stand_in`, once.
        unsafe { (self.end)(self.handle) };
    }
}

/// # Safety
/// `target` is that of a `StandIn` that has not ended.
unsafe extern "C" fn keep(target: *const ()) {
    // SAFETY: from `Arc::as_ptr`, and alive, by the caller's promise.
    unsafe { Arc::increment_strong_count(target.cast::<Mutex<Waker>>()) };
}

/// # Safety
/// `keep` was called for it, and no `wake` since.
unsafe extern "C" fn wake(target: *const ()) {
    // SAFETY: by the caller's promise a share is ours.
    let own = unsafe { Arc::from_raw(target.cast::<Mutex<Waker>>()) };
    let _: Reply<()> = guard(|| {
        let waker = own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waker.wake();
        drop(own);
    });
}
