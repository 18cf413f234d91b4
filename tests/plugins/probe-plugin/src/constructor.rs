//! A constructor and a destructor that do to their process what they are told.

#![allow(unsafe_code, reason = "constructors and crashes have no safe face")]

use std::process::{Command, Stdio, exit};
use std::time::Duration;

extern "C" fn construct() {
    match probe::deed("constructor").as_str() {
        "crash" => {
            eprintln!("about to crash");
            // SAFETY: none: this is what a broken constructor does.
            unsafe { std::ptr::null_mut::<u32>().write_volatile(1) };
        }
        "exit" => exit(7),
        "hang" => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        "print" => {
            println!("{}", "to stdout ".repeat(10_000));
            eprintln!("{}", "to stderr ".repeat(10_000));
            exit(8);
        }
        "litter" => {
            let mut sleep = Command::new("sleep");
            // What it inherits it holds open.
            sleep.arg("601").stdin(Stdio::null()).spawn().expect("a process");
            exit(0);
        }
        _ => {}
    }
}

extern "C" fn destruct() {
    if probe::told("destructor") == "crash" {
        probe::deed("destructor");
        // SAFETY: none: this is what a broken destructor does.
        unsafe { std::ptr::null_mut::<u32>().write_volatile(1) };
    }
}

// SAFETY: `.init_array` holds pointers to functions that the loader calls once, with arguments that
// such a function may ignore.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

// SAFETY: `.fini_array` holds pointers to functions that the loader calls once.
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = destruct;
