//! Handed-over state: what a plugin keeps, saved by the old generation and restored by the new one.

// The table that host and plugin exchange.
#![allow(unsafe_code)]

use crate::Text;
use crate::call::Reply;
use crate::signature::Tuple2;
use abi_stable::std_types::{RResult, RSlice, RVec};

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
    /// One part of the instance's state in the schema `version`, and whether more is to come. The instance keeps what it has; one save at a time.
    pub save: unsafe extern "C" fn(this: *const (), version: u32, part: Part) -> Reply<SavedWire>,
    /// Gives one part to the instance, which was saved in the schema `version`. The bytes are lent for the call.
    pub restore: unsafe extern "C" fn(
        this: *const (),
        version: u32,
        part: Part,
        bytes: RSlice<'_, u8>,
    ) -> Reply<RResult<(), Text>>,
}

/// How `Result<(Vec<u8>, bool), String>` crosses.
pub(crate) type SavedWire = RResult<Tuple2<RVec<u8>, bool>, Text>;

/// Which part of a state is saved or restored.
///
/// | part | saved, while | restored |
/// |---|---|---|
/// | `Whole` | nobody calls the plugin | replaces the state, or leaves it as it was |
/// | `First`, then `Next` until no more is to come | calls go on | `First` replaces, `Next` adds |
/// | `Rest`, once, after those | nobody calls the plugin | applies what changed and what was removed |
/// | `Forget`, in the place of all that is left | calls go on | is never restored |
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything at once.
    Whole = 0,
    /// The first chunk of a copy ahead. From now on changes are logged; an earlier copy is given up.
    First = 1,
    /// The next chunk.
    Next = 2,
    /// What has changed behind the copy. Changes are logged no more.
    Rest = 3,
    /// Nothing: the copy is given up, and changes are logged no more.
    Forget = 4,
}
