//! The module's functions, for the module, for the host, and as text for relib's generator.

/// As a trait.
pub mod exports;
/// As a trait.
pub mod imports;

/// What the module exports.
pub const EXPORTS: &str = include_str!("exports.rs");
/// What it imports: nothing.
pub const IMPORTS: &str = include_str!("imports.rs");
