//! Stamps: how a build says that a plugin's file is whole, and how a host sees that it is not.
//!
//! # What is not promised
//!
//! - A stamp is no signature. It finds damage, by disks, copies and tools; whoever wants to change
//!   the file can stamp it again.
//! - It says that the file is as it was when it was stamped. What was wrong with it before is
//!   stamped as it is.
//! - A library without a stamp is loaded as well, unless the host is built with
//!   `HostBuilder::stamps_required`. What was damaged in its headers, tables and notes is refused
//!   as far as it can be seen there; an instruction or a constant that was damaged runs.
//!
//! # What is promised
//!
//! A stamped library of which any bit is another one, which was cut, or to which something was
//! added, is refused with the code `file_damaged` before anything of it runs. The version that
//! serves goes on.
//!
//! # How a file is stamped
//!
//! `midflight stamp FILE…` writes the hash (BLAKE3) of the finished file into the file. There is
//! room for it: [`export!`](crate::export) makes an ELF note `midflight-stamp` in the section
//! `.note.midflight.stamp`, of 64 bytes: a mark, a word that says whether it is stamped, and the
//! hash, which is zeros until then. The hash is that of the whole file with word and hash as zeros.
//!
//! The file is replaced by a rename, with its permissions; the time of its last modification is
//! that of the stamp. A file that has the right stamp is not touched. One that was changed after it
//! had been stamped gets a new stamp, and the command says so. Its own help (`midflight stamp
//! --help`) has the options and the exit codes: `--check` looks and changes nothing, `--json` is
//! for programs.
//!
//! Stamping comes last. `strip`, `objcopy` and `patchelf` change the file and know nothing of the
//! stamp: do it after them, or do it again. What changes the file in no way (`cp`, `install`,
//! `tar`, an image layer, `chmod`) needs no new stamp. Cargo links `target/release/lib….so` anew at
//! each build, so the copy that is deployed is what gets the stamp.
//!
//! In a Makefile:
//!
//! ```make
//! dist/flat-fees.so: target/release/libflat_fees_plugin.so ; \
//!   install -D --strip $< $@.new && midflight stamp $@.new && mv $@.new $@
//! ```
//!
//! In a Dockerfile:
//!
//! ```docker
//! RUN cargo build --release --package flat-fees-plugin \
//!  && install -D --strip target/release/libflat_fees_plugin.so /dist/flat-fees.so \
//!  && patchelf --remove-rpath /dist/flat-fees.so \
//!  && midflight stamp /dist/flat-fees.so
//! ```
//!
//! In a pipeline, as the last step of the build and as the first of the deployment:
//!
//! ```sh
//! midflight stamp dist/*.so
//! midflight stamp --check dist/*.so
//! ```
//!
//! In a build that is a Rust program itself, such as a `cargo xtask`, with the crate
//! `midflight-inspect`:
//!
//! ```ignore
//! let mut library = std::fs::read("target/release/libflat_fees_plugin.so")?;
//! midflight_inspect::stamp(&mut library)?;
//! std::fs::write("dist/flat-fees.so", library)?;
//! ```
//!
//! A build script (`build.rs`) can't do it: it runs before the library is linked. The machine that
//! a library is for does not matter: stamps can be made where it was cross-compiled.
//!
//! # What else there is to know
//!
//! - Two builds of the same bytes have the same stamp.
//! - The linker's build id is in the file before the stamp, and stays.
//! - A plugin has one mark. A library in which another plugin's file is embedded as it is
//!   (`include_bytes!`) has two, and is refused: compress what you embed.
//! - `GenerationStatus::stamped` tells which of a host's versions are stamped.
