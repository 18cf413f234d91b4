//! What changed in this crate, and what to do about it.
//!
//! Host and plugins are built against one format of the tables that they exchange. It is 5 now,
//! where it was 3: a plugin of another format is refused when it is loaded (`format_unsupported`),
//! and the old version serves on. So build the plugins anew together with the host; the sections
//! below say where their source has to change.
//!
//! # `Text`, `List` and `Maybe` are types of their own
//!
//! They were abi_stable's `RString`, `RVec` and `ROption`, of which not every safe method was safe:
//! `drain` with a range that ended behind the list read what lay there. They have the names, the
//! conversions and the traits that they had, and fewer methods of their own. What is gone is a
//! compile error; `edit()` gives the `Vec` or the `String` for as long as it is borrowed, without a
//! copy.
//!
//! | before | now |
//! |---|---|
//! | `list.drain(range)`, `text.drain(range)` | the same. It panics where the range is none, as `Vec` and `String` do, and takes everything out at once |
//! | `list.dedup()`, `list.retain_mut(…)` and what else `Vec` has | `list.edit().dedup()`, … |
//! | `list.append(&mut vec)` | `list.extend(vec)` |
//! | `list.try_insert(…)`, `list.try_remove(…)` | `if index <= list.len()`, then `list.insert(…)`, `list.remove(…)` |
//! | `list.slice(range)`, `list.as_rslice()`, `text.as_rstr()` | `&list[range]`, `&list[..]`, `&text[..]` |
//! | `list.into_boxed_slice()`, `list.leak()` | `list.into_vec().into_boxed_slice()`, `list.into_vec().leak()` |
//! | `list.set_len(…)`, `List::from_raw_parts(…)` | the same of `Vec`, and `into()` |
//! | `text.into_iter()`, `text.into_bytes()`, `Text::from_utf8(bytes)` | `text.chars()`, `List::<u8>::from(text)`, `String::from_utf8(bytes)?.into()` |
//! | `Maybe::RSome(x)`, `Maybe::RNone`, `is_rsome()` | `Maybe::Some(x)`, `Maybe::None`, `is_some()` |
//! | `maybe.as_ref()`, `maybe.as_mut()` | the same; they give an `Option`, and so everything that an `Option` can do |
//! | `maybe.and_then(…)`, `maybe.filter(…)`, … | `maybe.into_option().and_then(…)`, … |
//! | `Maybe::RNone` after `Maybe::RSome(x)` in the order | as in that of `Option`: `None` is the least |
//! | `maybe == option`, `option == maybe` | `maybe == option` |
//!
//! # `Reown` is a part of `Portable`
//!
//! Who wrote `impl Reown` by hand beside `unsafe impl Portable` moves its method `reown` into the
//! latter. `PLAIN` is gone: a list is copied as its bytes where its elements have nothing to drop.
//!
//! # Maps and sets are no lists
//!
//! A side that wrote `HashMap<K, V>` fitted one that wrote `Vec<(K, V)>`, and `HashSet<T>` one that
//! wrote `Vec<T>`: that is refused now. All maps fit each other, and all sets. Where the two sides
//! really differ, write on both what it is.
//!
//! # Functions of the C library that fail, or are led to the host
//!
//! In a plugin, `on_exit` and what registers a conversion of `printf` fail, as do `clone` for a
//! thread and everything that asks for `SIGEV_THREAD`. `pthread_exit` on a thread of the host's is
//! a panic of the call, and `pthread_cancel` knows the plugin's own threads alone. A file that
//! exports a name which the host has too is refused (`export_taken`), and so is one that imports
//! what only the C library should call (`import_forbidden`). The chapter on unloading of the crate
//! `midflight` has the whole list.
//!
//! # The note names CPU features
//!
//! `export!` writes into the note for which CPU features the library was built (`cpu=`, from
//! `-C target-cpu` and `-C target-feature`), and a host whose machine lacks one of them refuses the
//! file by its name (`cpu_features_missing`). Nothing is to be done: a build without those flags
//! runs on all machines of its target, and a note without that line is accepted.
