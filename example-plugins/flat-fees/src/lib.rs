//! Fees at a flat rate, in every version that the example needs.
//!
//! An ordinary library: it can be unit-tested, and linked into a program without any loading. What
//! makes a plugin of one of these types is the crate `flat-fees-plugin`, which is a single line for
//! each. In real life the versions would be commits of one file; here they stand side by side, so
//! that a single checkout can build them all.

mod desk;

pub mod bad;
pub mod v1;
pub mod v2;

/// The rate: this many ten-thousandths of what is traded.
pub const RATE_BASIS_POINTS: u64 = 5;
