//! How a contract changes, and what becomes of a host and a plugin that have different versions of
//! it.
//!
//! # What is not promised
//!
//! Layouts are compared, meanings are not: a fee that was in cents and is in ticks now has the same
//! type. A change of meaning is a new method, or a new contract.
//!
//! # What may change
//!
//! *Older* and *newer* is a plugin that was built against an older or a newer version of the
//! contract than the host. The same holds, the other way round, for a service of the host's that a
//! plugin calls: there the plugin is the caller, and default bodies run in it.
//!
//! | change | older plugin | newer plugin |
//! |---|---|---|
//! | a method at the end, with `#[since("1.1")]` and a body | loaded; the body runs in the caller, and what it calls goes to the plugin, on the same release | loaded; nobody calls it |
//! | the same without a body | loaded; a call is a [`Fault::MethodMissing`](crate::Fault::MethodMissing) | loaded |
//! | a field at the end of a `#[record(growable)]` struct, with `#[since("1.1")]` | loaded; whoever knows the field sees its default: `Default`, or `#[since("1.1", default = 7)]` | loaded; whoever doesn't know it doesn't see it, and what comes back has lost it |
//! | a variant at the end of a `#[record(growable)]` enum, with `#[since("1.1")]` | loaded; the plugin sees the `#[unknown]` variant | loaded; the host sees the `#[unknown]` variant |
//! | the name of a parameter | loaded | loaded |
//! | another contract beside it | loaded, if the host does not ask for it | loaded |
//! | documentation, default bodies, code of the contract crate | loaded; each side runs its own | loaded |
//! | an `Ord` or `Hash` of a record that differs | loaded; maps are in the receiver's order | loaded |
//! | `#[unknown]` on another variant of an enum | loaded: see below | loaded: see below |
//!
//! `#[unknown]` is no part of a layout. Each side takes a variant that it doesn't know for the one
//! that it has marked itself, so a mark that moves is a change of meaning, and nothing refuses it:
//! with `Closed` marked in the host and `Other` in the plugin, one and the same later variant is
//! `Closed` here and `Other` there. So the mark stays where the enum's first version has it. Where
//! it must move, write a new enum, and a method with `#[since]` that uses it.
//!
//! # What needs a new contract
//!
//! All of these are refused with `layout_mismatch` before the plugin starts, in both directions;
//! the version that serves goes on. Make it a new trait, `Fees2`, beside the old one: a plugin can
//! implement both, and a host can ask for whichever is there.
//!
//! | change | why |
//! |---|---|
//! | a method without `#[since]`, a method that is removed, two that change places | methods are found by their place |
//! | an argument more or less, another type of an argument or of the result | the two sides would read different bytes |
//! | a field more or less in a record that may not grow, fields in another order, a field of another type | the same |
//! | a variant more or less in an enum that may not grow | a value that one side doesn't know is no value at all |
//! | `growable` given to or taken from a record | it crosses in another form |
//! | a field of what may grow that is removed, moved, or gets another type | what both have is compared all the same |
//! | another major version of the contract's crate (before 1.0, another minor one) | semver says that it is another one |
//!
//! # How a refusal reads
//!
//! ```text
//! refused at layout [layout_mismatch]: exchange-contracts::Fees: fee, argument 1, Trade.legs,
//! element, Leg.quantity: plugin says i32, host says u32 (both have exchange-contracts 1.2.0,
//! one of them changed); a field keeps its type: write a new record, and a method with #[since]
//! that uses it; build the plugin against the contract crate that the host uses
//! ```
//!
//! * **The contract**, by the name of its crate and its own.
//! * **The way**, from the outside: the method `fee`, its first argument, that record's field
//!   `legs`, an element of that list, and in it the field `quantity`. Other steps are `result`,
//!   `Ok`, `Err` and `Some`, `key` and `value` of a map, `part 2` of a tuple, `Side::Short` for a
//!   variant, `Session.send` for a method of what is handed out or left to be called, and `field 2`
//!   where one place has two names.
//! * **What both sides say** there, as their authors wrote it: a type or a signature, or that there
//!   is no such field. It is the first difference in the order of the contract, and there can be
//!   more behind it.
//! * **The versions** of the contract's crate. Where they differ, what one side lacks is what the
//!   other has added. Where they are the same, the crate was changed without a new version, and one
//!   of the two was built before that.
//! * **What to write** where the change is meant, and what to do where it is not.
//!
//! A service of the host's, which a plugin asks for in its `start`, is refused in the same words,
//! as `service_mismatch`; one that the host does not provide, as `service_missing`.
//!
//! # How versions are ordered
//!
//! `#[since]` stands on what came after the contract's first version, and its versions don't
//! decrease from one item to the next: each version is the beginning of the next one. So two
//! branches that each add a method conflict where they should, in the source.
//!
//! ```
//! # mod contract {
//! use midflight_plugin::{Text, contract, record};
//!
//! #[record(growable)]
//! #[derive(Debug, Clone)]
//! pub struct Limits {
//!     pub orders_max: u64,
//!     #[since("1.1", default = 100)]
//!     pub burst_max: u64,
//!     #[since("1.2")]
//!     pub comment: Text,
//! }
//!
//! #[record(growable)]
//! #[derive(Debug, Clone, Copy, PartialEq)]
//! pub enum Reason {
//!     Closed,
//!     /// What an older side takes every later one for.
//!     #[unknown]
//!     Other,
//!     #[since("1.1")]
//!     Halted,
//! }
//!
//! #[contract]
//! pub trait Risk {
//!     fn check(&self, limits: &Limits, quantity: u64) -> Result<(), Reason>;
//!     fn limits(&self) -> Limits;
//!
//!     /// May all of them be traded? Older plugins are asked one by one.
//!     #[since("1.1")]
//!     fn check_all(&self, limits: &Limits, quantities: &[u64]) -> Result<(), Reason> {
//!         quantities.iter().try_for_each(|quantity| self.check(limits, *quantity))
//!     }
//! }
//! # }
//! # midflight_plugin::contract_crate!();
//! # fn main() {}
//! ```
//!
//! What a default body calls runs on the release that its caller has entered. A panic of such a
//! body is a [`Fault::Panicked`](crate::Fault::Panicked), as one of the plugin's would be, and so
//! is a fault of what it calls.
//!
//! A record that may grow never lies inside of another record: it would move what comes behind it.
//! It crosses by itself, as `T`, `&T`, `Option<&T>`, and inside of the std types of a signature,
//! such as `Vec<T>`.
