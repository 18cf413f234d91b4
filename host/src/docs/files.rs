//! What a plugin's file may be, and what is looked at before anything of it runs.
//!
//! # What is not promised
//!
//! - A file that nobody stamped can be damaged in its code, its constants, the addends of its
//!   relocations and its tables of exceptions: the bytes there are the author's, and nothing else
//!   in the file says what they should be. Such a file is loaded, and what it does is undefined. A
//!   stamp finds all of it (`file_damaged`); `HostBuilder::stamps_required` asks for one.
//! - One thing besides. Where a pointer is to be written (`r_offset` of a relocation) may be
//!   another word of the same section, which nothing else writes and which is zero, as a pointer's
//!   is. The damaged pointer is then null or missing. `HostBuilder::preflight_start` has a child
//!   start and stop what was loaded; what a call alone follows is found by a stamp alone.
//! - It filters damage, not malice: a plugin's code can do whatever the host can.
//!
//! # What is looked at
//!
//! The loader believes each number in a file by itself. The host looks at all that the loader, the
//! unwinder and itself will read, and compares two descriptions wherever a file has two: program
//! headers with sections, the dynamic section with the sections that it names, hash tables with the
//! names, versions with the libraries that are needed, relocations with the words that they write,
//! constructors and the entry with code. What does not agree is `headers_inconsistent`.
//!
//! - **Libraries that it needs** are named, not found by a path: `DT_NEEDED` with a `/` or a `$` is
//!   `needed_path`, since the loader would open whatever lies there, a FIFO too, and `RPATH` and
//!   `RUNPATH` are `runpath_set`. Those of the C library and libgcc are opened where the C library
//!   lies before a plugin has the loader search for them: another `libm.so.6` in `LD_LIBRARY_PATH`
//!   does not run because of a plugin. Of all other names `LD_LIBRARY_PATH` and the system decide.
//! - **Filters** (`DT_FILTER`, `DT_AUXILIARY`): a plugin stands for no other library, which the
//!   loader would bring in and keep for good.
//! - **Thread-locals** are asked for in one of two dialects, by numbers or by descriptors. A file
//!   can have both; the code that takes the address of two slots says which they are of.
//! - **Thread-locals**: 16 MiB for each thread, aligned to 64 KiB at most; else `tls_too_large`.
//!   The loader allocates them, for each thread that enters the plugin, and ends the process where
//!   it can't. What is as large belongs on the heap.
//! - **CPU features**: the note says for which ones the plugin was built (`-C target-cpu`,
//!   `-C target-feature`), and a machine without one of them refuses it by name
//!   (`cpu_features_missing`): its first such instruction would end the process.
//! - **Executable stacks** are `stack_executable`: the loader would make those of all threads so.
//!
//! `strip`, `objcopy` and `patchelf` keep both descriptions, and what they make is accepted.
//! `strip` with `--strip-section-headers` takes the second one away, and is refused.
