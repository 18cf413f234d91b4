//! Handed-over state: what a plugin keeps, saved by the old generation and restored by the new one.
//!
//! What a plugin keeps in its memory goes with its library. The new version can't be given the
//! memory: its types may have another layout, and its code is other code. So the old one writes its
//! state down, the host keeps the bytes, and the new one reads them. A state has a schema with a
//! number. Whoever knows both schemas migrates: forward the new code, which reads the old one's
//! schema, and back again the same code, which writes it. See [`docs::state`](crate::docs::state).
//!
//! Writing takes time, and changes made meanwhile must not be lost. The naive answer, nobody calls
//! while the state is written and read, makes every caller wait as long as the state is large.
//! [`Table`](crate::Table) is copied while it is used, and only what has changed meanwhile is
//! written while callers wait.

#![expect(unsafe_code, reason = "the table that host and plugin exchange")]

use crate::call::{Reply, guard};
use crate::lent::RSlice;
use crate::signature::Tuple2;
use crate::{List, Text};
use abi_stable::std_types::RResult;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::mem;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::thread;
use std::time::Duration;

/// What a plugin keeps and hands over to its next version. Derived for serde types, with the
/// version of their schema:
///
/// ```
/// use midflight_plugin::State;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize, State)]
/// #[state(version = 1)]
/// struct Ledger {
///     total: i64,
/// }
/// ```
///
/// A later version also names the schema before it, and how to get there and back:
/// [`docs::state`](crate::docs::state) has an example. For a state of many items there is
/// [`Table`](crate::Table). By hand it is implemented for what has a form of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no state",
    label = "nobody knows its schema",
    note = "put `#[derive(Serialize, Deserialize, State)]` and `#[state(version = 1)]` on it, or use `Table<K, V>` with such a `V`"
)]
pub trait State: Sized + Send + Sync + 'static {
    /// The number of its schema. A change of what `save` writes is a higher one.
    const VERSION: u32;
    /// The oldest schema that `restore` takes.
    const RESTORES_FROM: u32;
    /// The oldest schema that `save` writes.
    const SAVES_TO: u32;

    /// Appends its bytes in the schema `version`, which is between [`SAVES_TO`](State::SAVES_TO)
    /// and [`VERSION`](State::VERSION).
    ///
    /// # Errors
    /// The schema is unknown, or this value can't be said in it. What was appended by then counts
    /// for nothing.
    fn save(&self, version: u32, bytes: &mut Vec<u8>) -> Result<(), StateError>;

    /// Takes a value from the front of `bytes`, in the schema `version`, which is between
    /// [`RESTORES_FROM`](State::RESTORES_FROM) and [`VERSION`](State::VERSION). The bytes after it
    /// are another's.
    ///
    /// # Errors
    /// The schema is unknown, the bytes are none of it, or there is no way from there to this one.
    fn restore(version: u32, bytes: &mut &[u8]) -> Result<Self, StateError>;

    /// Can it be saved in parts, while it is used?
    #[doc(hidden)]
    const AHEAD: bool = false;

    /// Appends a part, and says whether more is to come. An error ends the copy.
    #[doc(hidden)]
    fn save_part(&self, version: u32, part: Part, bytes: &mut Vec<u8>) -> Result<bool, StateError> {
        match part {
            Part::Whole => self.save(version, bytes).map(|()| false),
            Part::Forget => Ok(false),
            Part::First | Part::Next | Part::Rest => {
                Err(StateError::new("this state is saved as a whole"))
            }
        }
    }

    /// Takes a part other than the whole.
    #[doc(hidden)]
    fn restore_part(
        &mut self,
        _version: u32,
        _part: Part,
        _bytes: &mut &[u8],
    ) -> Result<(), StateError> {
        Err(StateError::new("this state is restored as a whole"))
    }
}

/// Where a plugin keeps its state: one field of it, which `#[plugin]` is told.
///
/// ```
/// # midflight_plugin::contract_crate!();
/// # #[midflight_plugin::contract] pub trait Accounts { fn pay(&self, amount: i64) -> i64; }
/// use midflight_plugin::{Context, Handed, Plugin, StartError, State, plugin};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize, State)]
/// #[state(version = 1)]
/// pub struct Ledger {
///     total: i64,
/// }
///
/// #[plugin(implements(Accounts), state = ledger)]
/// pub struct Till {
///     ledger: Handed<Ledger>,
/// }
///
/// impl Plugin for Till {
///     fn start(_cx: &Context<'_>) -> Result<Self, StartError> {
///         Ok(Till { ledger: Handed::default() }) // replaced by what the version before hands over
///     }
/// }
///
/// impl Accounts for Till {
///     fn pay(&self, amount: i64) -> i64 {
///         let mut ledger = self.ledger.write();
///         ledger.total += amount;
///         ledger.total
///     }
/// }
/// # fn main() {}
/// ```
///
/// It is a lock for many readers or one writer. A panic while it is held does not poison it: the
/// next caller finds what the panic left. A guard that is kept beyond its call, or forgotten, keeps
/// the state from being handed over: the update is refused, and says so.
///
/// `start` and `warm_up` find in it what they put there. What is handed over comes later, and is
/// all there when [`after_switch`](crate::Plugin::after_switch) and the first call run.
#[derive(Debug, Default)]
pub struct Handed<S> {
    state: RwLock<S>,
    /// What was restored and not installed; once it is, what it replaced. Nobody waits for this
    /// lock for long: values go in and out, and are made and dropped outside of it.
    aside: Mutex<Option<S>>,
    /// Held by a save or an install that waits for the state, so that who comes later waits as
    /// well: the locks of std have no order of arrival, and it must not try in vain for ever.
    turn: Mutex<()>,
    /// `turn` is held.
    taken: AtomicBool,
}

impl<S: State> Handed<S> {
    /// With the state of a plugin that takes over from nobody.
    pub const fn new(state: S) -> Self {
        Handed {
            state: RwLock::new(state),
            aside: Mutex::new(None),
            turn: Mutex::new(()),
            taken: AtomicBool::new(false),
        }
    }

    /// To look at it. Waits for a writer, and never for long for a save, which only reads.
    pub fn read(&self) -> RwLockReadGuard<'_, S> {
        self.await_turn();
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change it. Waits for all others, a save among them: one of a [`Table`](crate::Table) that
    /// is copied while it is used reads some thousand items at a time.
    pub fn write(&self) -> RwLockWriteGuard<'_, S> {
        self.await_turn();
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn await_turn(&self) {
        if self.taken.load(Relaxed) {
            drop(self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Tries to get the state for as long as it is `wanted`: a guard that was forgotten would keep
    /// a thread here for ever.
    fn wait_for<'s, G>(
        &'s self,
        wanted: &Question,
        try_get: impl Fn(&'s RwLock<S>) -> Result<G, TryLockError<G>>,
    ) -> Result<G, StateError> {
        let mut tries = 0;
        let mut get = || loop {
            match try_get(&self.state) {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if !wanted.ask() => return Err(held()),
                Err(TryLockError::WouldBlock) if tries < YIELDS => {
                    tries += 1;
                    thread::yield_now();
                }
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            }
        };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.taken.store(true, Relaxed);
        let got = get();
        self.taken.store(false, Relaxed);
        got
    }

    fn save(
        &self,
        version: u32,
        part: Part,
        wanted: &Question,
    ) -> Result<(Vec<u8>, bool), StateError> {
        known(version, S::SAVES_TO..=S::VERSION, "saves")?;
        let mut bytes = Vec::new();
        let state = self.wait_for(wanted, RwLock::try_read)?;
        let more = state.save_part(version, part, &mut bytes)?;
        Ok((bytes, more))
    }

    fn restore(&self, version: u32, part: Part, mut bytes: &[u8]) -> Result<(), StateError> {
        if part == Part::Forget {
            drop(self.put_aside(None));
            return Ok(());
        }
        known(version, S::RESTORES_FROM..=S::VERSION, "restores")?;
        let state = match part {
            Part::Next | Part::Rest => {
                let begun = self.put_aside(None);
                let mut state = begun.ok_or_else(|| {
                    StateError::new(match S::AHEAD {
                        true => "no copy was begun",
                        false => "this state is restored as a whole",
                    })
                })?;
                state.restore_part(version, part, &mut bytes)?;
                state
            }
            Part::First if !S::AHEAD => {
                return Err(StateError::new("this state is restored as a whole"));
            }
            _ => S::restore(version, &mut bytes)?,
        };
        all_read(bytes)?;
        drop(self.put_aside(Some(state)));
        Ok(())
    }

    /// From here on the state is what was restored, if the host has leave to give when the state is
    /// at hand. What it replaces is kept aside.
    fn install(&self, wanted: &Question, leave: &Question) -> Result<(), StateError> {
        let mut state = self.wait_for(wanted, RwLock::try_write)?;
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        let restored = aside.as_mut().ok_or_else(|| StateError::new("nothing was restored"))?;
        match leave.ask() {
            // Nothing of the author's runs, and nothing fails, from the leave to here.
            true => mem::swap(&mut *state, restored),
            false => return Err(StateError::new("the hand-over was given up")),
        }
        Ok(())
    }

    fn put_aside(&self, state: Option<S>) -> Option<S> {
        mem::replace(&mut *self.aside.lock().unwrap_or_else(PoisonError::into_inner), state)
    }
}

/// So often a save that waits for the state lets others run, before it sleeps between two looks.
const YIELDS: u32 = 100;
/// For so long.
const PAUSE: Duration = Duration::from_micros(100);

#[cold]
fn held() -> StateError {
    StateError::new(
        "a guard of the state (Handed::read, Handed::write) is held: keep none beyond a call, and \
         forget none",
    )
}

/// What a plugin asks its host while that waits for it.
#[repr(C)]
pub struct Question {
    /// The host's, for the call that the question came with.
    pub of: *const (),
    /// Its answer.
    pub ask: unsafe extern "C" fn(*const ()) -> bool,
}

impl Question {
    fn ask(&self) -> bool {
        // SAFETY: the host lends both for the call that it came with, and they are kept no longer.
        unsafe { (self.ask)(self.of) }
    }
}

fn known(version: u32, schemas: RangeInclusive<u32>, does: &str) -> Result<(), StateError> {
    if schemas.contains(&version) {
        return Ok(());
    }
    let (from, to) = schemas.into_inner();
    Err(StateError::new(format!("this code {does} the schemas {from} to {to}, not {version}")))
}

pub(crate) fn all_read(bytes: &[u8]) -> Result<(), StateError> {
    match bytes.len() {
        0 => Ok(()),
        left => {
            Err(StateError::new(format!("{left} bytes are left over: they are of another schema")))
        }
    }
}

/// Why a state can't be saved or restored. Any error becomes one with `?`, its sources included in
/// the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateError(String);

impl StateError {
    /// A reason in the author's words.
    pub fn new(reason: impl Into<String>) -> Self {
        StateError(reason.into())
    }
}

impl Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Not an `Error` itself, or this would overlap with `From<T> for T`.
impl<E: std::error::Error> From<E> for StateError {
    fn from(error: E) -> Self {
        StateError(crate::plugin::with_sources(&error))
    }
}

/// How a plugin's state is handed over.
#[repr(C)]
pub struct StateTable {
    /// The schema that the state has in this code.
    pub version: u32,
    /// The oldest schema that it can be restored from.
    pub restores_from: u32,
    /// The oldest schema that it can be saved in.
    pub saves_to: u32,
    /// Can it be copied while calls use it? Else [`Part::Whole`] is all that may be asked for.
    pub ahead: bool,
    /// One part of the instance's state in the schema `version`, and whether more is to come. The
    /// instance keeps what it has; one save at a time. It fails where somebody holds the state when
    /// it is wanted no more.
    pub save: unsafe extern "C" fn(
        this: *const (),
        version: u32,
        part: Part,
        wanted: &Question,
    ) -> Reply<SavedWire>,
    /// Gives one part to the instance, which was saved in the schema `version`. The bytes are lent
    /// for the call. It is kept aside: what the instance uses is as it was.
    pub restore: unsafe extern "C" fn(
        this: *const (),
        version: u32,
        part: Part,
        bytes: RSlice<'_, u8>,
    ) -> Reply<RResult<(), Text>>,
    /// Puts what was restored in the place of the state, which is kept aside from then on, until
    /// [`Part::Forget`] is restored. `leave` is asked when the state is locked, and what it says is
    /// done: so several plugins' states are replaced together, each from within the other's leave.
    pub install: unsafe extern "C" fn(
        this: *const (),
        wanted: &Question,
        leave: &Question,
    ) -> Reply<RResult<(), Text>>,
}

/// How `Result<(Vec<u8>, bool), String>` crosses.
pub(crate) type SavedWire = RResult<Tuple2<List<u8>, bool>, Text>;

/// Which part of a state is saved or restored.
///
/// | part | saved, while | restored |
/// |---|---|---|
/// | `Whole` | nobody calls the plugin | is kept aside, in the place of what was |
/// | `First`, then `Next` until no more is to come | calls go on | `First` is kept aside, `Next` adds to it |
/// | `Rest`, once, after those | nobody calls the plugin | applies what changed and what was removed |
/// | `Forget`, in the place of all that is left | calls go on | drops what is aside |
///
/// A save that fails leaves the state as it was, and ends the copy that it was part of. A restore
/// never changes the state: what is aside becomes it by [`StateTable::install`] alone.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything at once.
    Whole = 0,
    /// The first chunk of a copy ahead. From now on changes are logged; an earlier copy is given
    /// up.
    First = 1,
    /// The next chunk.
    Next = 2,
    /// What has changed behind the copy. Changes are logged no more.
    Rest = 3,
    /// Nothing: the copy is given up, and changes are logged no more.
    Forget = 4,
}

/// How a plugin of the type `T` hands its state over.
#[repr(transparent)]
pub struct StateOf<T> {
    /// INVARIANT: its functions take a `T` as their instance.
    table: StateTable,
    of: PhantomData<fn(T)>,
}

impl<T> StateOf<T> {
    pub(crate) const fn untyped(of: Option<&'static Self>) -> Option<&'static StateTable> {
        match of {
            Some(of) => Some(&of.table),
            None => None,
        }
    }

    /// That of a plugin which says where its state is.
    pub const fn of<P: HandsOver<Plugin = T>>() -> Self {
        const {
            assert!(
                Kept::<P>::RESTORES_FROM <= Kept::<P>::VERSION
                    && Kept::<P>::SAVES_TO <= Kept::<P>::VERSION,
                "a state restores from, and saves to, schemas up to its own version"
            );
        }
        let table = StateTable {
            version: Kept::<P>::VERSION,
            restores_from: Kept::<P>::RESTORES_FROM,
            saves_to: Kept::<P>::SAVES_TO,
            ahead: Kept::<P>::AHEAD,
            save: save::<P>,
            restore: restore::<P>,
            install: install::<P>,
        };
        StateOf { table, of: PhantomData }
    }
}

/// What `#[plugin(state = …)]` says of the author's type, by a type of its own: the field's may be
/// private, and the author's need not be.
pub trait HandsOver {
    /// The author's type.
    type Plugin;
    /// The field's type.
    type Cell: Cell;
    /// The field.
    fn cell(plugin: &Self::Plugin) -> &Self::Cell;
}

/// [`Handed`], whatever it holds.
#[diagnostic::on_unimplemented(
    message = "a plugin keeps its state in a `Handed<…>`, not in `{Self}`",
    label = "this can't be handed over",
    note = "write `state: Handed<Ledger>` for the field, and `#[plugin(…, state = state)]` on the struct"
)]
pub trait Cell {
    /// What it holds.
    type State: State;
    /// Itself.
    fn handed(&self) -> &Handed<Self::State>;
}

impl<S: State> Cell for Handed<S> {
    type State = S;
    fn handed(&self) -> &Handed<S> {
        self
    }
}

type Kept<P> = <<P as HandsOver>::Cell as Cell>::State;

/// # Safety
/// As [`Entry::retiring`](crate::rt::Entry::retiring) says of `this`, which is a `P::Plugin`.
unsafe extern "C" fn save<P: HandsOver>(
    this: *const (),
    version: u32,
    part: Part,
    wanted: &Question,
) -> Reply<SavedWire> {
    guard(|| {
        // SAFETY: by the caller's promise.
        let plugin = unsafe { &*this.cast::<P::Plugin>() };
        P::cell(plugin).handed().save(version, part, wanted).map_err(|error| error.0)
    })
}

/// # Safety
/// As for `save`.
unsafe extern "C" fn restore<P: HandsOver>(
    this: *const (),
    version: u32,
    part: Part,
    bytes: RSlice<'_, u8>,
) -> Reply<RResult<(), Text>> {
    guard(|| {
        // SAFETY: by the caller's promise.
        let plugin = unsafe { &*this.cast::<P::Plugin>() };
        P::cell(plugin).handed().restore(version, part, bytes.as_slice()).map_err(|error| error.0)
    })
}

/// # Safety
/// As for `save`.
unsafe extern "C" fn install<P: HandsOver>(
    this: *const (),
    wanted: &Question,
    leave: &Question,
) -> Reply<RResult<(), Text>> {
    guard(|| {
        // SAFETY: by the caller's promise.
        let plugin = unsafe { &*this.cast::<P::Plugin>() };
        P::cell(plugin).handed().install(wanted, leave).map_err(|error| error.0)
    })
}

/// Appends `value` in its own schema.
pub fn encode<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), StateError> {
    postcard::serialize_with_flavor(value, Appended(bytes)).map_err(StateError::from)
}

/// Takes a value in its own schema from the front of `bytes`.
pub fn decode<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, StateError> {
    let (value, rest) = postcard::take_from_bytes(bytes)?;
    *bytes = rest;
    Ok(value)
}

/// Appends `state` in the schema `version` by way of the schema before its own.
pub fn save_down<S, D>(state: &S, version: u32, bytes: &mut Vec<u8>) -> Result<(), StateError>
where
    S: State,
    D: State + for<'a> TryFrom<&'a S, Error: Display>,
{
    D::try_from(state)
        .map_err(|reason| migration(S::VERSION, D::VERSION, &reason))?
        .save(version, bytes)
}

/// Takes a state in the schema `version` by way of the schema before its own.
pub fn restore_up<S, U>(version: u32, bytes: &mut &[u8]) -> Result<S, StateError>
where
    S: State + TryFrom<U, Error: Display>,
    U: State,
{
    S::try_from(U::restore(version, bytes)?)
        .map_err(|reason| migration(U::VERSION, S::VERSION, &reason))
}

/// There is no way from or to that schema.
#[cold]
pub fn no_way<T>(version: u32, own: u32) -> Result<T, StateError> {
    Err(StateError::new(format!("there is no way between the schemas {version} and {own}")))
}

#[cold]
fn migration(from: u32, to: u32, reason: &dyn Display) -> StateError {
    StateError::new(format!("the migration from schema {from} to {to}: {reason}"))
}

/// postcard's way to append to what is there.
struct Appended<'b>(&'b mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appended<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
