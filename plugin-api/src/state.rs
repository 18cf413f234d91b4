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
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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
/// next caller finds what the panic left.
///
/// `start` and `warm_up` find in it what they put there. What is handed over comes later, and is
/// all there when [`after_switch`](crate::Plugin::after_switch) and the first call run.
#[derive(Debug, Default)]
pub struct Handed<S>(RwLock<S>);

impl<S: State> Handed<S> {
    /// With the state of a plugin that takes over from nobody.
    pub const fn new(state: S) -> Self {
        Handed(RwLock::new(state))
    }

    /// To look at it. Waits for a writer, and never for long for a save, which only reads.
    pub fn read(&self) -> RwLockReadGuard<'_, S> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change it. Waits for all others, a save among them: one of a [`Table`](crate::Table) that
    /// is copied while it is used reads some thousand items at a time.
    pub fn write(&self) -> RwLockWriteGuard<'_, S> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, version: u32, part: Part) -> Result<(Vec<u8>, bool), StateError> {
        known(version, S::SAVES_TO..=S::VERSION, "saves")?;
        let mut bytes = Vec::new();
        let more = self.read().save_part(version, part, &mut bytes)?;
        Ok((bytes, more))
    }

    fn restore(&self, version: u32, part: Part, mut bytes: &[u8]) -> Result<(), StateError> {
        known(version, S::RESTORES_FROM..=S::VERSION, "restores")?;
        match part {
            Part::Whole => {
                let state = S::restore(version, &mut bytes)?;
                all_read(bytes)?;
                // What it replaces is dropped when the lock is free again.
                let _old = mem::replace(&mut *self.write(), state);
                Ok(())
            }
            _ => {
                self.write().restore_part(version, part, &mut bytes)?;
                all_read(bytes)
            }
        }
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
    /// instance keeps what it has; one save at a time.
    pub save: unsafe extern "C" fn(this: *const (), version: u32, part: Part) -> Reply<SavedWire>,
    /// Gives one part to the instance, which was saved in the schema `version`. The bytes are lent
    /// for the call.
    pub restore: unsafe extern "C" fn(
        this: *const (),
        version: u32,
        part: Part,
        bytes: RSlice<'_, u8>,
    ) -> Reply<RResult<(), Text>>,
}

/// How `Result<(Vec<u8>, bool), String>` crosses.
pub(crate) type SavedWire = RResult<Tuple2<List<u8>, bool>, Text>;

/// Which part of a state is saved or restored.
///
/// | part | saved, while | restored |
/// |---|---|---|
/// | `Whole` | nobody calls the plugin | replaces the state, or leaves it as it was |
/// | `First`, then `Next` until no more is to come | calls go on | `First` replaces, `Next` adds |
/// | `Rest`, once, after those | nobody calls the plugin | applies what changed and what was removed |
/// | `Forget`, in the place of all that is left | calls go on | is never restored |
///
/// A save that fails leaves the state as it was, and ends the copy that it was part of.
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
) -> Reply<SavedWire> {
    guard(|| {
        // SAFETY: by the caller's promise.
        let plugin = unsafe { &*this.cast::<P::Plugin>() };
        P::cell(plugin).handed().save(version, part).map_err(|error| error.0)
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
