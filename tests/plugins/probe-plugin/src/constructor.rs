//! A constructor that does to its process what it is told.

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

// SAFETY: `.init_array` holds pointers to functions that the loader calls once, with arguments that such a function may ignore.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;
