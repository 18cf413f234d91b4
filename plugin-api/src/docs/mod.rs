//! What crosses a plugin's boundary and at what cost, and how contracts change over time.

pub mod boundary;
pub mod evolution;
