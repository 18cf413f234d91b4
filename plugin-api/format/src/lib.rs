//! What host, plugin and tools agree on about a plugin's file.
//!
//! The plugin's side writes it at compile time (`midflight-plugin`), the host's side reads it as
//! bytes (`midflight-inspect`). Each would otherwise link the other for a handful of constants, so
//! they stand here, in a crate that links nothing.

#![no_std]
#![forbid(unsafe_code)]

mod cpu;
pub mod entry;
mod stamp;

/// An author can call a crate `core`: what macros make finds the language's here.
#[doc(hidden)]
pub use ::core;
pub use stamp::{MARK_INVERTED, STAMPED, StampNote, UNSTAMPED};

/// The format of the note, of the room for a stamp, and of every table that host and plugin
/// exchange, and with them the version of abi_stable. Compared before anything else is believed; it
/// is the type of the note, and the first word of the tables for good.
pub const FORMAT: u32 = 5;

/// The vendor of a plugin's note. Its type is [`FORMAT`], its section `.note.midflight`.
pub const NOTE_NAME: &str = "midflight";

/// First bytes of the static `midflight_place`, by which the host finds it in the file.
pub const PLACE_MAGIC: &[u8; 16] = b"midflight place\0";

/// The triple that this binary is built for.
pub const TARGET: &str = env!("MIDFLIGHT_TARGET");
