//! Damage: libraries that are wrong in one place, each in the life of a service of its own.
//!
//! A damaged library is right if it is refused, or if it does no harm: the service answers, goes on
//! to another version, unloads it, and ends. Whether it does is nothing that one process could try
//! twice: what is damaged may have damaged the process. So a pool of services stands ready
//! ([`pool`]), each gets one file ([`life`]), and what became of it is counted by the place of the
//! damage in the file ([`places`]). What lies in code, in data or in the addends of relocations is
//! not the headers', and is counted apart: only a stamp finds it.

pub mod cases;
pub mod count;
pub mod crafted;
pub mod life;
pub mod mutants;
pub mod places;
pub mod pool;

pub use cases::Case;
pub use count::Counts;
pub use places::Places;
