//! What contracts and plugins of Midflight link.
//!
//! Three kinds of crates use it. A *contract crate* holds the traits and records that host and
//! plugins share. A plugin's *logic* is an ordinary library crate that implements them. Its
//! *cdylib* is a crate of one line, [`export!`].
//!
//! ```
//! # mod contract {
//! // the contract crate; at its root: midflight_plugin::contract_crate!();
//! use midflight_plugin::{Text, contract, record};
//!
//! #[record]
//! #[derive(Debug, Clone)]
//! pub struct Trade {
//!     pub symbol: Text,
//!     pub quantity: u32,
//! }
//!
//! #[contract]
//! pub trait Fees {
//!     /// What the trade costs.
//!     fn fee(&self, trade: &Trade) -> u64;
//! }
//! # }
//! # midflight_plugin::contract_crate!();
//! # use contract::{Fees, Trade};
//!
//! // the plugin's logic
//! use midflight_plugin::{Context, Plugin, StartError, plugin};
//!
//! #[plugin(implements(Fees))]
//! pub struct FlatFees {
//!     rate: u64,
//! }
//! impl Plugin for FlatFees {
//!     fn start(_cx: &Context<'_>) -> Result<Self, StartError> {
//!         Ok(FlatFees { rate: 3 })
//!     }
//! }
//! impl Fees for FlatFees {
//!     fn fee(&self, trade: &Trade) -> u64 {
//!         self.rate * u64::from(trade.quantity)
//!     }
//! }
//!
//! // the cdylib, whose crate has crate-type = ["cdylib"]
//! midflight_plugin::export!(FlatFees);
//! # fn main() {}
//! ```
//!
//! # What may cross
//!
//! | in a method | what it costs |
//! |---|---|
//! | `&str`, `&[T]`, `&Trade`, and `Option` of these, as arguments | nothing: it is borrowed for the call |
//! | numbers, `bool`, records and enums with [`#[record]`](record) by value | a copy; the receiver rebuilds `Text`, `List` and `Map` |
//! | `String`, `Vec<T>`, `Option<T>`, `Result<T, E>`, tuples, maps, sets, `Duration` by value | the receiver rebuilds it |
//! | [`Sink`], [`TextSink`] | the callee appends to a buffer of the caller's |
//!
//! The whole table is in [`docs::boundary`]; what may change between two versions of a contract is
//! in [`docs::evolution`]. What a plugin keeps, and hands over to its next version, is in
//! [`docs::state`]. How a build stamps the plugin's file, so that damage to it is seen, is in
//! [`docs::stamps`]. What exists once for each copy of std, and so once for each plugin, is in
//! [`docs::copies`].
//!
//! Nothing that crosses can hold a reference, a function or memory of the other side's once the
//! call has ended: whatever could is refused by the compiler, with the reason. Each method's call
//! can also bring a [`Fault`].
//!
//! What is *not* promised: a plugin is native code in the host's process, and is trusted as such.
//! It must produce valid values, and it can do whatever the host can.

// What abi_stable's derive names in this crate itself.
extern crate abi as abi_stable;

mod attached;
mod call;
mod callback;
mod contract;
#[doc(hidden)]
pub mod described;
pub mod docs;
mod future;
mod grow;
#[doc(hidden)]
pub mod hooks;
mod layout;
mod lent;
mod list;
#[doc(hidden)]
pub mod logs;
mod manifest;
mod map;
mod maybe;
mod memory;
mod object;
mod period;
mod plugin;
mod portable;
mod reclaim;
mod shape;
mod signature;
mod sink;
mod state;
mod table;
mod tally;
mod text;
mod version;

pub use attached::{AboutAttached, Attached, AttachedError};
pub use call::{Absent, CallError, Fault, Frame, PanicReport};
pub use callback::Callback;
pub use contract::{Contract, ImplementedBy};
pub use future::Answer;
pub use list::{IntoIter, List, ListEdit};
pub use map::Map;
pub use maybe::Maybe;
pub use memory::Counted;
pub use midflight_macros::{State, contract, plugin, record};
pub use object::Object;
pub use period::Period;
pub use plugin::{Context, Plugin, Service, StartError};
pub use portable::{Crosses, Lends, Portable};
pub use reclaim::Reclaimed;
pub use sink::{Sink, TextSink};
pub use state::{Handed, State, StateError};
pub use table::{Key, Table};
pub use text::{Text, TextEdit};

/// Stood at the root of every crate that has `#[record]` types or `#[contract]` traits, and is
/// needed no more: generated code finds all that it names by itself. It stays, and does nothing, so
/// that crates that say it compile.
///
/// ```
/// midflight_plugin::contract_crate!();
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! contract_crate {
    () => {};
}

/// Makes a cdylib crate a plugin: its entry, its note, and the place where the host writes its
/// table's address.
///
/// It stands once, in a crate that is best nothing but a cdylib, of one line; the plugin's logic is
/// an ordinary library beside it. Name and version are the crate's own unless they are given.
///
/// A crate that is a cdylib and an rlib at once can be linked into a program, too. Its functions
/// then stand before the C library's for the whole program: without a host's table they lead to
/// those, but for what keeps a pointer for good (`on_exit`, `register_printf_function`, `profil`),
/// which the program is refused as well. Versions of it that a host in that program loads look at
/// their own place. Two such crates don't link into one program. To run a plugin without a library, link its logic:
/// `HostBuilder::link`.
///
/// ```
/// # midflight_plugin::contract_crate!();
/// # #[midflight_plugin::contract] pub trait Fees { fn fee(&self) -> u64; }
/// # mod flat_fees {
/// #     #[midflight_plugin::plugin(implements(crate::Fees))] pub struct FlatFees;
/// #     impl crate::Fees for FlatFees { fn fee(&self) -> u64 { 1 } }
/// #     impl midflight_plugin::Plugin for FlatFees {
/// #         fn start(_: &midflight_plugin::Context<'_>) -> Result<Self, midflight_plugin::StartError> { Ok(FlatFees) }
/// #     }
/// # }
/// midflight_plugin::export!(flat_fees::FlatFees, name = "flat-fees", version = "2.0.0");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($plugin:ty $(,)?) => {
        $crate::export!(
            $plugin,
            name = $crate::rt::core::env!("CARGO_PKG_NAME"),
            version = $crate::rt::core::env!("CARGO_PKG_VERSION")
        );
    };
    ($plugin:ty, name = $name:expr $(,)?) => {
        $crate::export!(
            $plugin,
            name = $name,
            version = $crate::rt::core::env!("CARGO_PKG_VERSION")
        );
    };
    ($plugin:ty, version = $version:expr $(,)?) => {
        $crate::export!(
            $plugin,
            name = $crate::rt::core::env!("CARGO_PKG_NAME"),
            version = $version
        );
    };
    ($plugin:ty, name = $name:expr, version = $version:expr $(,)?) => {
        const _: () = {
            struct __Here;
            impl $crate::rt::Export for __Here {
                type Plugin = $plugin;
                const NAME: &'static $crate::rt::core::primitive::str = $name;
                const VERSION: &'static $crate::rt::core::primitive::str = $version;
                const CPU: &'static [(
                    &'static $crate::rt::core::primitive::str,
                    $crate::rt::core::primitive::bool,
                )] = $crate::rt::cpu_features!(built_for);
                const PANIC: &'static $crate::rt::core::primitive::str =
                    if $crate::rt::core::cfg!(panic = "abort") { "abort" } else { "unwind" };
                const COMMIT: &'static $crate::rt::core::primitive::str =
                    match $crate::rt::core::option_env!("MIDFLIGHT_COMMIT") {
                        $crate::rt::core::option::Option::Some(commit) => commit,
                        $crate::rt::core::option::Option::None => "",
                    };
                fn place() -> &'static $crate::rt::Place {
                    __midflight_hooks::place()
                }
            }

            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals, reason = "the host looks for this name")]
            pub static midflight_entry: $crate::rt::Entry = $crate::rt::Entry::of::<__Here>();

            // Alone in a section whose name the linker makes a symbol of: see `__hooks!`.
            #[unsafe(no_mangle)]
            #[unsafe(link_section = "midflight_places")]
            #[allow(non_upper_case_globals, reason = "the host looks for this name")]
            pub static midflight_place: $crate::rt::Place = $crate::rt::Place::new();

            #[used]
            #[unsafe(link_section = ".note.midflight")]
            static NOTE: $crate::rt::Note<{ $crate::rt::Note::len::<__Here>() }> =
                $crate::rt::Note::of::<__Here>();

            // Room for the hash of the linked file: see `midflight stamp`.
            #[used]
            #[unsafe(link_section = ".note.midflight.stamp")]
            static STAMP: $crate::rt::StampNote = $crate::rt::StampNote::UNSTAMPED;

            // The first in its array, which is run from its end: see `reclaim`.
            #[used]
            #[unsafe(link_section = ".fini_array.00000")]
            static LAST: unsafe extern "C" fn() = $crate::rt::last;
        };

        // SAFETY: this is `export!`, which stands in a crate that is nothing but a cdylib.
        $crate::__hooks!(unsafe { $crate::rt::hooks::OfExport::promised() });
    };
}

/// Named by generated code and by the host. No promise of stability.
#[doc(hidden)]
pub mod rt {
    pub use crate::attached::{ABSENT, Fields, Put, Stamped};
    pub use crate::call::{
        FRAMES_MAX, Panics, Reply, Report, Status, Symboliser, bubble, bubble_result, defaulted,
        defaulted_result, guard, missing, use_host_panics, use_symboliser, with_cure,
    };
    pub use crate::callback::{
        About, CallbackGate, Entered, Functions, Left, Outcome, RawCallback, Registered,
        Registering,
    };
    pub use crate::contract::{Begun, Bound, Calls, Gate, Hold, Holding, Later, Origin, Pinned};
    pub use crate::described::{self, table_layout};
    pub use crate::future::{Answer, Fallible, HostHandle, Plain, RawFuture, Wakers, begin};
    pub use crate::grow::{GrownBox, GrownNumber, GrownRef, Grows, Held, HeldGrown};
    pub use crate::hooks::{self, Destructor, Hooks, Routine, SignalStyle};
    pub use crate::layout::{LaidOut, Layout, LayoutOf};
    pub use crate::lent::{RSlice, RStr};
    pub use crate::logs;
    pub use crate::manifest::Note;
    pub use crate::memory::{COUNTS, Counts};
    pub use crate::object::{Given, HandedObject, HandedOut, ObjectGate, RawObject};
    pub use crate::plugin::{
        Entry, Export, Exported, Hook, HostTable, Linked, OfferOf, Offered, Place, RawService,
        ServiceGate,
    };
    pub use crate::reclaim::last;
    pub use crate::shape::{Drawn, Places, Proven, RecordOf, Shape};
    pub use crate::signature::{Set, Tuple2, Tuple3, Tuple4, Tuple5, Tuple6};
    pub use crate::sink::{RawSink, RawTextSink};
    pub use crate::state::{
        Cell, HandsOver, Part, Question, StateOf, StateTable, decode, encode, no_way, restore_up,
        save_down,
    };
    pub use crate::tally::{PlaceOfPanics, Tally, Teller};
    pub use crate::{CallError, Contract, Crosses, Fault, ImplementedBy, Lends, Portable};
    pub use abi::std_types::RResult;
    pub use midflight_format::{FORMAT, PLACE_MAGIC, StampNote, TARGET, cpu_features};
    // An author can call a crate `core`: generated code finds the language's here.
    pub use ::core;
    pub use ::std;
    pub use midflight_macros::Record;
}
