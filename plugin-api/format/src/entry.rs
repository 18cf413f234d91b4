//! Where a plugin's entry has what: the inspection looks for it in the file, before any of it is
//! mapped.
//!
//! All numbers are bytes on a 64-bit machine, part of the [`FORMAT`](crate::FORMAT).
//! `midflight-plugin` compares them with its own types when it is compiled.

/// Size of the static `midflight_entry`. Its first word is the format.
pub const BYTES: usize = 128;
/// Pointer and length of the plugin's name.
pub const NAME: usize = 8;
/// Pointer and length of its version.
pub const VERSION: usize = 24;
/// Pointer to the offered contracts, and how many there are.
pub const OFFERS: usize = 40;
/// Pointers to functions.
pub const FUNCTIONS: [(&str, usize); 6] =
    [("start", 56), ("retiring", 64), ("stop", 72), ("hook", 80), ("relisten", 96), ("place", 120)];
/// Pointer to the table of the state; null where there is none.
pub const STATE: usize = 88;
/// Pointers to memory that is written to.
pub const WRITABLE: [(&str, usize); 2] = [("memory", 104), ("closing", 112)];

/// Size of one offered contract.
pub const OFFERED_BYTES: usize = 48;
/// Pointer and length of its name.
pub const OFFERED_NAME: usize = 0;
/// Pointer and length of its version.
pub const OFFERED_VERSION: usize = 16;
/// Pointers to its layout and to its table of functions.
pub const OFFERED_DATA: [usize; 2] = [32, 40];

/// Size of the table of a state.
pub const STATE_BYTES: usize = 40;
/// Pointers to its functions.
pub const STATE_FUNCTIONS: [usize; 3] = [16, 24, 32];
