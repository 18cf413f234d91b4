//! What crosses a plugin's boundary, how, and at what cost.
//!
//! # What is not promised
//!
//! A plugin is native code in the host's process, and is trusted as such: it must produce valid values (a `bool` that is 0 or 1, text that is
//! UTF-8), and it can do whatever the host can. Types and layouts are compared when a plugin is loaded; values are not.
//!
//! # What crosses
//!
//! *Lent* is readable for the length of the call. *Handed over* is the receiver's own afterwards, in memory of the receiver's
//! allocator: it can be kept, changed and grown when the sender has long been unloaded. "Deep" counts each piece of memory behind a value:
//! each text, list and map in it is allocated once and copied once, on the receiver's side.
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
//! | `BTreeMap`, `HashMap`, `BTreeSet`, `HashSet` of anything here | handed over as a list of entries, collected by the receiver | one list, and a new map; its order, hash and hasher are the receiver's |
//! | a record that may grow, by value | handed over in a box of the sender's | deep, once, and that box |
//! | an enum that may grow | handed over as a number | none |
//! | [`Sink`](crate::Sink), [`TextSink`](crate::TextSink) | lent: the callee appends through a function of the caller's | one copy into the caller's buffer, which allocates only if it has to grow |
//! | `async fn` | its call begins at once and its future stays on its side, polled through a pointer; what is lent is lent until the answer is there | the future is boxed once; a waker that it keeps is boxed; its result as above |
//! | `Result<T, E>` as a method's result | as `T` or `E`; the caller gets `Result<T, CallError<E>>` | as these |
//!
//! In a **record** stand only types whose bytes are the same on both sides: `Text` for `String`, `List<T>` for `Vec<T>`, `Maybe<T>` for
//! `Option<T>`, `Map<K, V>` for `BTreeMap<K, V>` and `HashMap<K, V>`, `Period` for `Duration`, a record of its own for a tuple. They nest to any
//! depth, and a record can hold lists of itself. From a `String` and a `Vec` they are made without a copy.
//!
//! # What does not
//!
//! Each of these is a compile error that says what to write instead.
//!
//! | type | why |
//! |---|---|
//! | borrowed results, references inside of values, `&'static` | the library that owns what they point to can be unloaded |
//! | `Box`, `Rc`, `Arc`, raw pointers | what they point to stays in the memory of the side that made it |
//! | function pointers, closures, `impl Trait`, trait objects | their code is unloaded with the library: let the other side implement a contract |
//! | `&mut` | the other side's memory would be put into it: return what is new, or take a sink |
//! | `Cell`, `Mutex`, atomics | memory that both sides write, one of which can be gone |
//! | records with a `Drop` or with parameters | what is copied is not dropped, and layouts are compared of one type |
//! | `Instant`, `SystemTime` | they have no fixed form: a number crosses |
//! | what may grow, inside of a record or of `&[T]` | it would move what comes behind it |
//! | instances, services and plugins that are not `Send + Sync + 'static` | any thread can call them |
//!
//! # Who frees what
//!
//! - An argument that is handed over is rebuilt by the callee before the method's body runs, inside of what catches its panics, and
//!   the original is dropped there with the functions of the sender, which is held for the length of the call.
//! - A result is rebuilt by the caller before the pin ends. A panic while it is rebuilt (an allocation that is too large, a key whose
//!   `Ord` panics) drops the rest of the original before the pin ends, too.
//! - A sink's buffer is the caller's all the time. What was appended before a panic stays in it.
//! - A value whose gate refuses the call is dropped by its sender: nothing has crossed.
