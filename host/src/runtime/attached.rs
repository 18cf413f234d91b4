//! Attached data: what plugins add to objects of the host's, kept by the host through all
//! generations.
//!
//! By name, then by object: names are few and stay, objects are many and come and go. A plugin asks
//! for a name once, and each call of it takes the lock of one of a field's shards for as long as a
//! copy of the bytes takes. No code of a plugin runs meanwhile: a change is worked out by the
//! plugin on a copy, and put back if the value's stamp is still the same.

use super::owner;
use midflight_plugin::rt::{ABSENT, Fields, Put, RSlice, RStr, Stamped};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(super) const FIELDS: Fields = Fields { field, get, put, detach };

/// What plugins have attached to a host's objects: see `Context::attached` of the plugins' side.
///
/// A cheap clone over shared state, which lives as long as the host or any of its plugins.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let run = std::env::temp_dir().join(format!("midflight-attached-{}", std::process::id()));
/// use midflight::Host;
///
/// let host = Host::builder().run_directory(&run).start()?;
/// let attached = host.attached();
/// // The order 7 has ended: whatever plugins knew of it goes with it.
/// assert_eq!(attached.forget(7), 0);
/// println!("{} values, {} bytes, under {:?}", attached.len(), attached.bytes(), attached.names());
/// # drop(host);
/// # std::fs::remove_dir_all(run).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct AttachedData(Arc<Store>);

impl AttachedData {
    /// Frees all that is attached to `object`, and returns how many values that were. To be called
    /// when the object has ended: what a plugin attaches to it later stays until it is forgotten
    /// again.
    pub fn forget(&self, object: u64) -> usize {
        self.fields().iter().filter(|field| field.detach(object)).count()
    }

    /// The names that plugins have asked for, in order. They stay, with or without values.
    pub fn names(&self) -> Vec<String> {
        self.0.fields.lock().keys().map(ToString::to_string).collect()
    }

    /// How many values are attached, over all names and objects.
    pub fn len(&self) -> usize {
        self.shards(|shard| shard.values.len())
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the values have, without what keeping them costs.
    pub fn bytes(&self) -> usize {
        self.shards(|shard| shard.bytes)
    }

    fn shards(&self, of: impl Fn(&Shard) -> usize) -> usize {
        self.fields().iter().flat_map(|field| &field.shards).map(|shard| of(&shard.lock())).sum()
    }

    /// Not under their lock: each has locks of its own.
    fn fields(&self) -> Vec<Arc<Field>> {
        self.0.fields.lock().values().map(Arc::clone).collect()
    }

    fn field(&self, name: &str) -> Arc<Field> {
        let mut fields = self.0.fields.lock();
        if let Some(field) = fields.get(name) {
            return Arc::clone(field);
        }
        Arc::clone(fields.entry(name.into()).or_default())
    }
}

#[derive(Debug, Default)]
struct Store {
    /// INVARIANT: fields are added and never removed: plugins point to them.
    fields: Mutex<BTreeMap<Box<str>, Arc<Field>>>,
}

/// One name, for all objects.
#[derive(Debug, Default)]
struct Field {
    shards: [Mutex<Shard>; SHARDS],
}

const SHARDS: usize = 16;

#[derive(Debug, Default)]
struct Shard {
    values: HashMap<u64, Value>,
    /// Of the values together.
    bytes: usize,
    /// The last that was given out. Never again, or a value that was taken away and made anew would
    /// pass for the same.
    stamp: u64,
}

#[derive(Debug)]
struct Value {
    stamp: u64,
    /// Whose [`this_thread`] that was who put it.
    by: usize,
    bytes: Box<[u8]>,
}

impl Field {
    fn get(&self, object: u64) -> Stamped {
        self.shard(object).lock().look(object)
    }

    fn put(&self, object: u64, stamp: u64, bytes: &[u8]) -> Put {
        // Allocated, and what it replaces freed, outside of the lock.
        let (bytes, by): (Box<[u8]>, _) = (bytes.into(), this_thread());
        let mut shard = self.shard(object).lock();
        let there = shard.values.get(&object);
        if there.map_or(ABSENT, |value| value.stamp) != stamp {
            let by_this_thread = there.is_some_and(|value| value.by == by);
            return Put { done: false, by_this_thread, value: shard.look(object) };
        }
        shard.stamp += 1;
        let value = Value { stamp: shard.stamp, by, bytes };
        shard.bytes += value.bytes.len();
        let replaced = shard.values.insert(object, value);
        shard.bytes -= replaced.as_ref().map_or(0, |value| value.bytes.len());
        drop(shard);
        Put { done: true, by_this_thread: false, value: nothing() }
    }

    fn detach(&self, object: u64) -> bool {
        let mut shard = self.shard(object).lock();
        let taken = shard.values.remove(&object);
        shard.bytes -= taken.as_ref().map_or(0, |value| value.bytes.len());
        drop(shard);
        taken.is_some()
    }

    fn shard(&self, object: u64) -> &Mutex<Shard> {
        // Numbers that are counted up, or are addresses, are spread by their product's upper bits.
        let spread = object.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.shards[spread as usize % SHARDS]
    }
}

impl Shard {
    fn look(&self, object: u64) -> Stamped {
        match self.values.get(&object) {
            Some(value) => Stamped { stamp: value.stamp, bytes: (&*value.bytes).into() },
            None => nothing(),
        }
    }
}

/// A number that no other thread has as long as this one lives.
fn this_thread() -> usize {
    thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}

fn nothing() -> Stamped {
    Stamped { stamp: ABSENT, bytes: [].as_slice().into() }
}

/// Answers a plugin's `Context::attached`.
unsafe extern "C" fn field(of: *const (), name: RStr<'_>) -> *const () {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    // It stays in the store, and the owner holds the store for as long as the plugin's code is
    // mapped.
    Arc::as_ptr(&owner.attached.field(name.as_str())).cast()
}

unsafe extern "C" fn get(field: *const (), object: u64) -> Stamped {
    // SAFETY: from `field`.
    unsafe { &*field.cast::<Field>() }.get(object)
}

unsafe extern "C" fn put(field: *const (), object: u64, stamp: u64, bytes: RSlice<'_, u8>) -> Put {
    // SAFETY: from `field`.
    unsafe { &*field.cast::<Field>() }.put(object, stamp, bytes.as_slice())
}

unsafe extern "C" fn detach(field: *const (), object: u64) -> bool {
    // SAFETY: from `field`.
    unsafe { &*field.cast::<Field>() }.detach(object)
}

#[cfg(test)]
mod tests;
