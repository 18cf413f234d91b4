//! Attached data: new fields for objects that the host owns.
//!
//! A new version of a plugin may need to know more about an order, a player, a connection than the
//! host's own type has room for. A map in the plugin would go with the version, and nobody would
//! take out what belongs to objects that have ended. So the host keeps such fields, by object and
//! name, through all generations, and frees them with the object. It keeps bytes: values of a
//! plugin's own types could not outlive it.

#![expect(unsafe_code, reason = "the functions that the host gives")]

use crate::List;
use crate::lent::{RSlice, RStr};
use crate::plugin::Context;
use crate::state::{StateError, all_read, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// One field of the host's objects, by their numbers: see [`Context::attached`]. A cheap clone.
///
/// An object's value is read and written as a whole, as postcard's bytes. What is read is a copy.
/// Threads and generations see the same values, and so do other plugins that ask for the same name.
///
/// ```
/// use midflight_plugin::{Attached, AttachedError, Context, Plugin, StartError};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Risk {
///     limit: i64,
///     used: i64,
/// }
///
/// pub struct Limits {
///     risk: Attached<Risk>,
/// }
///
/// impl Plugin for Limits {
///     fn start(cx: &Context<'_>) -> Result<Self, StartError> {
///         Ok(Limits { risk: cx.attached("risk") })
///     }
/// }
///
/// impl Limits {
///     fn take(&self, account: u64, amount: i64) -> Result<bool, AttachedError> {
///         self.risk.get_or_insert_with(account, || Risk { limit: 1_000, used: 0 })?;
///         let taken = self.risk.update(account, |risk| {
///             let fits = risk.used + amount <= risk.limit;
///             risk.used += if fits { amount } else { 0 };
///             fits
///         })?;
///         Ok(taken.unwrap_or(false))
///     }
/// }
/// ```
pub struct Attached<T> {
    functions: Fields,
    /// The host's, for as long as this code is mapped.
    field: *const (),
    name: Arc<str>,
    of: PhantomData<fn(T) -> T>,
}

// SAFETY: the host's functions may be called with the field from any thread.
unsafe impl<T> Send for Attached<T> {}
// SAFETY: the host's functions may be called with the field from many threads at once.
unsafe impl<T> Sync for Attached<T> {}

impl Context<'_> {
    /// The field `name` of the host's objects. The name is the host's own space, not this plugin's;
    /// see [`Attached`].
    pub fn attached<T: Serialize + DeserializeOwned>(&self, name: &str) -> Attached<T> {
        let host = self.host();
        // SAFETY: the host's own function with the host's own owner; both are valid while the
        // plugin starts.
        let field = unsafe { (host.attached.field)(host.owner, name.into()) };
        Attached { functions: host.attached, field, name: name.into(), of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Attached<T> {
    /// The value of `object`, if it has one.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn get(&self, object: u64) -> Result<Option<T>, AttachedError> {
        self.read(object, &self.look(object))
    }

    /// The value of `object`, which gets the one that `make` makes if it has none. It is made once:
    /// where two threads make one at a time, both get the one that was first.
    ///
    /// # Errors
    /// What is there is no `T`, or the value that was made can't be serialised.
    pub fn get_or_insert_with(
        &self,
        object: u64,
        make: impl FnOnce() -> T,
    ) -> Result<T, AttachedError> {
        if let Some(value) = self.get(object)? {
            return Ok(value);
        }
        let made = make();
        let put = self.put(object, ABSENT, &made)?;
        if put.done { Ok(made) } else { Ok(self.read(object, &put.value)?.unwrap_or(made)) }
    }

    /// Changes the value of `object`, and returns what `change` does; `None`, and nothing is
    /// changed, where it has none. Nobody else's change falls between: `change` runs again, on the
    /// value as it is then, if there was one. `change` may read the same value, which is as it was
    /// before it; it must not write it, itself or by what it calls.
    ///
    /// # Errors
    /// It is no `T`, or what became of it can't be serialised: then it is as it was. Or `change`
    /// wrote the same value ([`Nested`](AttachedError::Nested)), or others did each time that it
    /// ran ([`Contended`](AttachedError::Contended)): then it is what they wrote.
    pub fn update<R>(
        &self,
        object: u64,
        mut change: impl FnMut(&mut T) -> R,
    ) -> Result<Option<R>, AttachedError> {
        let mut there = self.look(object);
        for _ in 0..TRIES_MAX {
            let Some(mut value) = self.read(object, &there)? else { return Ok(None) };
            let answer = change(&mut value);
            let put = self.put(object, there.stamp, &value)?;
            if put.done {
                return Ok(Some(answer));
            }
            // This thread has been in `change` since it looked, so that is where it wrote. It would
            // write again each time.
            if put.by_this_thread {
                let reason = StateError::new("`change` wrote it, itself or by what it called");
                return Err(AttachedError::Nested(self.about(object, reason)));
            }
            there = put.value;
        }
        let reason = StateError::new(format!("others wrote it each of {TRIES_MAX} times"));
        Err(AttachedError::Contended(self.about(object, reason)))
    }

    /// Takes the value of `object` away, readable or not. Was there one?
    pub fn detach(&self, object: u64) -> bool {
        // SAFETY: the field is the one that these functions gave.
        unsafe { (self.functions.detach)(self.field, object) }
    }

    fn look(&self, object: u64) -> Stamped {
        // SAFETY: as in `detach`.
        unsafe { (self.functions.get)(self.field, object) }
    }

    fn read(&self, object: u64, there: &Stamped) -> Result<Option<T>, AttachedError> {
        if there.stamp == ABSENT {
            return Ok(None);
        }
        let mut bytes = there.bytes.as_slice();
        let value = decode(&mut bytes).and_then(|value| all_read(bytes).map(|()| value));
        value.map(Some).map_err(|reason| AttachedError::Unreadable(self.about(object, reason)))
    }

    fn put(&self, object: u64, stamp: u64, value: &T) -> Result<Put, AttachedError> {
        let mut bytes = Vec::new();
        encode(value, &mut bytes)
            .map_err(|reason| AttachedError::Unwritable(self.about(object, reason)))?;
        // SAFETY: as in `detach`.
        Ok(unsafe { (self.functions.put)(self.field, object, stamp, bytes.as_slice().into()) })
    }

    #[cold]
    fn about(&self, object: u64, reason: StateError) -> Box<AboutAttached> {
        Box::new(AboutAttached {
            object,
            name: self.name.as_ref().into(),
            reason: reason.to_string(),
        })
    }
}

impl<T> Clone for Attached<T> {
    fn clone(&self) -> Self {
        Attached { name: Arc::clone(&self.name), ..*self }
    }
}

impl<T> fmt::Debug for Attached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attached({})", self.name)
    }
}

/// Why an attached value can't be had, or not be put. The others are as they were. `Debug` writes
/// what `Display` does.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachedError {
    /// What is attached is not of this type: somebody else uses the name, or the type was another
    /// one in an earlier version. [`Attached::detach`] takes it away.
    #[error("`{}` of the object {} can't be read: {}", .0.name, .0.object, .0.reason)]
    Unreadable(Box<AboutAttached>),
    /// The value can't be serialised.
    #[error("`{}` of the object {} can't be written: {}", .0.name, .0.object, .0.reason)]
    Unwritable(Box<AboutAttached>),
    /// The `change` of an [`update`](Attached::update) wrote the very value that it was to change.
    /// Let it read no more than what it is given, and write other objects before or after it.
    #[error("`{}` of the object {} is not updated: {}", .0.name, .0.object, .0.reason)]
    Nested(Box<AboutAttached>),
    /// Others wrote the value each of the 10,000 times that `change` of an
    /// [`update`](Attached::update) ran: it takes much longer than theirs, or it waits for a thread
    /// that writes it.
    #[error("`{}` of the object {} is not updated: {}", .0.name, .0.object, .0.reason)]
    Contended(Box<AboutAttached>),
}

impl fmt::Debug for AttachedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An update that finds the value changed so often is given up.
const TRIES_MAX: u32 = 10_000;

/// What an [`AttachedError`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AboutAttached {
    /// The object's number.
    pub object: u64,
    /// The field's name.
    pub name: Box<str>,
    /// Why.
    pub reason: String,
}

/// The host's functions for attached data. None of them unwinds.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// The field of that name; valid for as long as the plugin's code is mapped. First argument is
    /// the table's `owner`.
    pub field: unsafe extern "C" fn(owner: *const (), name: RStr<'_>) -> *const (),
    /// The value of an object.
    pub get: unsafe extern "C" fn(field: *const (), object: u64) -> Stamped,
    /// Puts a value in the place of the one that has that stamp.
    pub put: unsafe extern "C" fn(
        field: *const (),
        object: u64,
        stamp: u64,
        bytes: RSlice<'_, u8>,
    ) -> Put,
    /// Takes the value of an object away.
    pub detach: unsafe extern "C" fn(field: *const (), object: u64) -> bool,
}

/// The stamp of no value.
pub const ABSENT: u64 = 0;

/// A value and its stamp, which no other value of the same object and name has had. In the host's
/// memory.
#[repr(C)]
#[derive(Debug)]
pub struct Stamped {
    /// [`ABSENT`] where there is none.
    pub stamp: u64,
    /// postcard's.
    pub bytes: List<u8>,
}

/// What became of a [`Fields::put`].
#[repr(C)]
#[derive(Debug)]
pub struct Put {
    /// The value is there now.
    pub done: bool,
    /// Where it is not: the thread that asks has put what is there.
    pub by_this_thread: bool,
    /// Where it is not: what is there, with another stamp.
    pub value: Stamped,
}
