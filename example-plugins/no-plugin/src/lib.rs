//! A sound shared library that is no plugin.
//!
//! A loader that maps a file first and asks what it is afterwards has run the file's constructors
//! by then. This one leaves a mark, the file `midflight-no-plugin-ran-<pid>` in the temporary
//! directory, so that anybody can see whether that happened.

#![allow(unsafe_code)] // a constructor is a pointer in a section that the loader walks: there is no safe way to say so

use std::{env, fs, process};

extern "C" fn leave_a_mark() {
    let mark = env::temp_dir().join(format!("midflight-no-plugin-ran-{}", process::id()));
    let _ = fs::write(mark, "the constructor ran\n"); // nothing may unwind into the loader, and there is nobody to tell
}

// SAFETY: `.init_array` holds pointers to functions that the loader calls once, with arguments that
// such a function may ignore; `leave_a_mark` needs nothing but an initialised libc, which is a
// needed library and hence constructed before.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = leave_a_mark;
