//! What crosses a plugin's boundary, how, and at what cost.
//!
//! # What is not promised
//!
//! A plugin is native code in the host's process, and is trusted as such: it must produce valid
//! values (a `bool` that is 0 or 1, text that is UTF-8), and it can do whatever the host can. Types
//! and layouts are compared when a plugin is loaded; values are not.
//!
//! # What crosses
//!
//! *Lent* is readable for the length of the call. *Handed over* is the receiver's own afterwards,
//! in memory of the receiver's allocator: it can be kept, changed and grown when the sender has
//! long been unloaded. "Deep" counts each piece of memory behind a value: each text, list and map
//! in it is allocated once and copied once, on the receiver's side.
//!
//! | in a method of a contract | how it crosses | copies and allocations |
//! |---|---|---|
//! | `&str`, `&[T]` of records and numbers | lent, as pointer and length | none |
//! | `&T` of a [`record`](crate::record) or a number | lent, as a pointer | none |
//! | `&T` of a record that may grow | lent, as a pointer and the number of its fields | none; from an older sender the bytes of the fields it has, and a default for each of the others |
//! | `Option<&T>`, `Option<&str>`, `Option<&[T]>` | lent | none |
//! | numbers, `bool`, `()`, arrays and records of these, by value | handed over | the bytes |
//! | enums of names | handed over | the bytes |
//! | a record or an enum with [`Text`](crate::Text), [`List`](crate::List), [`Maybe`](crate::Maybe), [`Map`](crate::Map), by value | handed over, rebuilt | deep, once |
//! | [`List`](crate::List) or `Vec` of numbers and of records of numbers | handed over, rebuilt | one allocation, one copy of all bytes |
//! | [`Period`](crate::Period) and `Duration` | handed over | the bytes |
//! | `String` | handed over, rebuilt | one allocation, one copy |
//! | `Vec<T>`, `Option<T>`, `Result<T, E>`, tuples of two to six, of anything here | handed over, rebuilt | as their parts; `Vec` one allocation more on the sender's side if its elements have another form on the way, such as `String` |
//! | `BTreeMap`, `HashMap` of anything here | handed over as entries, collected by the receiver: the other side may write either, or [`Map`](crate::Map) | one list, and a new map; its order, hash and hasher are the receiver's |
//! | `BTreeSet`, `HashSet` of anything here | handed over as elements, collected by the receiver: the other side may write either | as of maps |
//! | a record that may grow, by value | handed over in a box of the sender's | deep, once, and that box |
//! | an enum that may grow | handed over as a number | none |
//! | [`Sink`](crate::Sink), [`TextSink`](crate::TextSink) | lent: the callee appends through a function of the caller's | one copy into the caller's buffer, which allocates only if it has to grow |
//! | `async fn` | its call begins at once and its future stays on its side, polled through a pointer; what is lent is lent until the answer is there | the future is boxed once; a waker that it keeps is boxed; its result as above |
//! | `Box<dyn Session>` of a contract, as a method's whole result, or in `Option`, `Result` or both of it | it stays where it is: the caller gets an [`Object`](crate::Object), which calls it there, and drops it there with its last clone | two boxes on the sender's side, two and a share in the release on the caller's |
//! | [`Callback<dyn Listener>`](crate::Callback) of a contract | a share in a handle of the host's; the object stays where it is | one small allocation |
//! | `Result<T, E>` as a method's result | as `T` or `E`; the caller gets `Result<T, CallError<E>>` | as these |
//!
//! In a **record** stand only types whose bytes are the same on both sides: `Text` for `String`,
//! `List<T>` for `Vec<T>`, `Maybe<T>` for `Option<T>`, `Map<K, V>` for `BTreeMap<K, V>` and
//! `HashMap<K, V>`, `Period` for `Duration`, a record of its own for a tuple. They nest to any
//! depth, and a record can hold lists of itself. From a `String` and a `Vec` they are made without
//! a copy.
//!
//! What fits what on the other side is a matter of form: `String` and `Text`, `Vec<T>` and
//! `List<T>`, `Option<T>` and `Maybe<T>`, `Duration` and `Period` are one form each, and so are all
//! maps, and all sets. A map never fits a list of pairs, nor a set a list or a `Map<K, ()>`: what
//! the one side takes for different keys the other would find twice.
//!
//! # Types of other crates, and what else has no form
//!
//! | instead of | write |
//! |---|---|
//! | `Option<Box<Self>>`, and whatever holds itself | `List<Self>`: empty for none, with one element for one |
//! | `u128`, `i128` | `[u64; 2]`, or a record of two numbers |
//! | `char` | `u32`, by `u32::from` and `char::from_u32`; or `Text` |
//! | `PathBuf`, `OsString` | `Text`; `List<u8>` for bytes that are no UTF-8 |
//! | `IpAddr` | `[u8; 4]`, `[u8; 16]`, or `Text` |
//! | `Uuid`, `Decimal`, `DateTime`, any type of another crate | a record of what it is made of, with `From` both ways |
//!
//! Such a record mirrors the type by what is stable about it: the sixteen bytes of a `Uuid`, the
//! seconds and nanoseconds of a time. The two `From`s stand beside it in the contract crate, and
//! neither side need know what version of that crate the other one links:
//!
//! ```
//! # midflight_plugin::contract_crate!();
//! use midflight_plugin::{List, contract, record};
//! use std::net::Ipv4Addr; // stands for a type of another crate
//!
//! #[record]
//! #[derive(Debug, Clone, PartialEq)]
//! pub struct Address { pub bytes: [u8; 4] }
//!
//! impl From<Ipv4Addr> for Address {
//!     fn from(address: Ipv4Addr) -> Self { Address { bytes: address.octets() } }
//! }
//! impl From<Address> for Ipv4Addr {
//!     fn from(address: Address) -> Self { address.bytes.into() }
//! }
//!
//! #[record]
//! pub struct Route { pub to: Address, pub next: List<Self> } // one that holds itself
//!
//! #[contract]
//! pub trait Routes { fn first(&self, to: Address) -> Option<Route>; }
//! # fn main() { assert_eq!(Ipv4Addr::from(Address::from(Ipv4Addr::LOCALHOST)), Ipv4Addr::LOCALHOST); }
//! ```
//!
//! # What safe code can do with the values
//!
//! Everything that a `Vec`, a `String`, an `Option` can do, and nothing beside it. `Text`, `List`
//! and `Maybe` are types of this crate. A list and a text own memory that a `Vec` allocated, and
//! say whose allocator that was: it is freed by that one alone. To be changed they become that
//! `Vec` or `String` again for a moment (`edit()`), so that a bound that is none, a panic in the
//! author's code or a guard that is forgotten does what it does there; what another library
//! allocated is copied first, and never grown where it is. Elements of any size and alignment, also
//! of none, are aligned.
//!
//! That a type is plain data is an `unsafe` promise, [`Portable`](crate::Portable), which
//! [`record`](crate::record) makes where the compiler proves it for each field; rebuilding a value
//! as the receiver's own is a part of the same trait, so that no safe code has a say in it.
//!
//! # What does not
//!
//! Each of these is a compile error that says what to write instead.
//!
//! | type | why |
//! |---|---|
//! | borrowed results, references inside of values, `&'static` | the library that owns what they point to can be unloaded |
//! | `Box`, `Rc`, `Arc`, raw pointers | what they point to stays in the memory of the side that made it |
//! | `char` | not every number is one, and nobody looks at what arrives: a `u32` crosses, and `char::from_u32` makes one of it; text is `Text` |
//! | `u128`, `i128` | compilers have aligned them in two ways: two `u64`, or a record of them |
//! | function pointers, closures, `impl Trait`, trait objects | their code is unloaded with the library: let the other side implement a contract. Objects of a contract are results and callbacks, as above |
//! | `Box<dyn Session>` as an argument, in `Vec`, in a tuple, in a record | an object holds what it came from, which an argument can't give, and an update would wait for: an argument is a `Callback` |
//! | `&mut` | the other side's memory would be put into it: return what is new, or take a sink |
//! | `Cell`, `Mutex`, atomics | memory that both sides write, one of which can be gone |
//! | records with a `Drop` or with parameters | what is copied is not dropped, and layouts are compared of one type |
//! | `Instant`, `SystemTime` | they have no fixed form: a number crosses |
//! | what may grow, inside of a record or of `&[T]` | it would move what comes behind it |
//! | instances, services and plugins that are not `Send + Sync + 'static` | any thread can call them |
//!
//! # What generated code relies on
//!
//! Safe code can't bend what the macros write, in a contract's crate or in a plugin's:
//!
//! - Generated code means by `midflight_plugin` the crate that the build gives that name. An
//!   `extern crate … as midflight_plugin` of the author's changes nothing.
//! - A `Cargo.toml` that gives the name to another package (`midflight-plugin = { package = "…" }`)
//!   changes nothing of what the host relies on, either, whatever that package hands on of this one
//!   and whatever it replaces, as long as it does not write `unsafe`. Each `unsafe impl` that is
//!   generated is of a trait of this crate, or is of no use to anybody; and layouts of records,
//!   tables, calls, objects, offers and state are made by provided items of that very trait, as
//!   values that nobody else can make. What such a package can replace is what is safe: texts such
//!   as a crate's name and version, and the numbers of a state's schema.
//! - What is not closed: a package that writes `unsafe`, in itself or in a macro that it brings (a
//!   crate that forbids `unsafe` does not see what a macro of another crate expands to), a build
//!   that has another package *instead* of this one (`[patch]`, `[replace]`, `--extern`), and a
//!   build script or a macro by procedure, which run on the builder's machine anyway. They choose
//!   what code this is, and are trusted as this crate is.
//! - No type and no function of abi_stable's, which describes layouts, is reached by an author
//!   through this crate but `RResult`, the form of a `Result` on its way, whose methods are those
//!   of a `Result`. A description is read by who writes `unsafe`.
//! - Generated code names the language's own things through `midflight_plugin`, whatever the author
//!   calls `Some`, `Result`, `u64`, `core` or `concat!`. A table that has a function which its
//!   description leaves out is refused when it is loaded.
//! - An object crosses as the result of a method that returns `Box<dyn Session>`, and as nothing
//!   else.
//! - What acts in the place of the host or of the loader (`midflight_plugin::rt`, which is hidden)
//!   is `unsafe`, or private: to start a plugin with a table of functions, to free what a library
//!   left.
//! - What implements a contract is `Send + Sync + 'static` because midflight-plugin demands it, not
//!   because the trait says so.
//! - The fields of a record, their types and their places are proven of the type as the compiler
//!   sees it at last. An attribute behind `#[record]` that changes them is an error.
//! - So are the methods of a contract: each takes its instance and what is lent for a call of any
//!   length, has the result that is described, and is safe to call. An attribute behind
//!   `#[contract]` that makes `&'static self` or `unsafe fn` of one is an error, and so is one that
//!   takes away `Send + Sync + 'static`, a method, or an argument. It may change what no call
//!   relies on: documentation, `#[deprecated]`, the names of arguments, the body that a method
//!   falls back to, and methods of its own with a body, which no table has and no caller sees.
//! - Generated code passes through no macro that an author can define.
//! - The symbols that stand before the C library's are defined by `export!` alone: what it is made
//!   of wants an `unsafe` of whoever writes it by hand, which `#![forbid(unsafe_code)]` refuses.
//!   The address of the host's table, which lies beside them, is written by nobody but the host.
//! - A name, a version or a group that the host would refuse is refused by the compiler.
//! - A contract's methods, their arguments, and a record's fields can have any name. A method that
//!   is called as one of a prelude trait's or of the handle's own (`clone`, `into`, `plugin`) is
//!   reached by its type: `FeesCalls::into(&fees)`.
//!
//! # Who frees what
//!
//! - An argument that is handed over is rebuilt by the callee before the method's body runs, inside
//!   of what catches its panics, and the original is dropped there with the functions of the
//!   sender, which is held for the length of the call.
//! - A result is rebuilt by the caller before the pin ends. A panic while it is rebuilt (an
//!   allocation that is too large, a key whose `Ord` panics) drops the rest of the original before
//!   the pin ends, too.
//! - A sink's buffer is the caller's all the time. What was appended before a panic stays in it.
//! - An object is dropped by the side that made it, on the thread that drops the last clone of its
//!   [`Object`](crate::Object), inside of what it holds. A callback's object is dropped by the side
//!   that made it as well: with its last handle, or when its version is stopped.
//! - A value whose gate refuses the call is dropped by its sender: nothing has crossed.
