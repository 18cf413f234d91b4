//! What the file of a plugin says before any of it runs.
//!
//! To open a library is to run its constructors, and what the loader trusts can't be checked
//! afterwards. So a host looks at the bytes first: [`read`] takes them from the file once, and
//! [`inspect`] looks at them as data. Neither runs anything of theirs, and neither trusts a number
//! in them. This crate is what the host, the tools that look at files, and those that try to break
//! this have in common; it holds no `unsafe` code and knows no host.
//!
//! - [`Bytes`]: a file's bytes, read once; a [`Buffer`], whose memory is a [`Spare`] one
//!   afterwards.
//! - [`Inspection`]: what they say, with the plugin's own note as a [`Manifest`].
//! - [`Stamp`]: whether they are still those of the finished build. [`stamp`] is the last step of
//!   one.
//! - [`Refusal`]: why not. Its [`Code`] is from one table for all that Midflight refuses, of files
//!   and of what they become, so that a host, its tools and an operator's alarms use the same
//!   names.
//! - [`text`]: how it says so. What a file brings with it is escaped and bounded before anybody is
//!   told.
//!
//! ```no_run
//! use midflight_inspect::{Spare, inspect, read};
//!
//! # fn main() -> Result<(), midflight_inspect::Refusal> {
//! let bytes = read("libfees.so".as_ref(), 64 << 20, &Spare::default())?;
//! let found = inspect(&bytes.data)?;
//! println!("{} {}, needs {}", found.manifest.name, found.manifest.version, found.needed.join(", "));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod buffer;
mod inspection;
mod manifest;
mod read;
pub mod refusal;
mod stamp;
pub mod text;

pub use buffer::{Buffer, Spare};
pub use inspection::{DF_1_NODELETE, Inspection, Place, inspect};
pub use manifest::{HOST_TARGET, Manifest};
pub use read::{Bytes, read};
pub use refusal::{Code, Refusal, Stage};
pub use stamp::{Stamp, StampError, Stamping, stamp, stamp_file, unstamp, verify};
