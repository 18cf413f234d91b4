//! A constructor and a destructor that do to their process what they are told.

#![allow(unsafe_code, reason = "constructors and crashes have no safe face")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
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
        "deface" => deface(),
        "linger" => linger(),
        _ => {}
    }
}

/// Writes over the beginning of its own file.
fn deface() {
    let own = construct as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps").expect("what is mapped");
    let is_own = |line: &&str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let [from, to] = [from, to].map(|at| usize::from_str_radix(at, 16).unwrap_or(0));
        (from..to).contains(&own).then_some(())
    };
    let line = maps.lines().find(|line| is_own(line).is_some()).expect("its own code");
    let path = &line[line.find('/').expect("a path")..];
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("its own file");
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("its own file")
        .write_all(b"none")
        .expect("a write");
}

/// Leaves a thread until it is told otherwise, and tells the journal of another process that does.
fn linger() {
    let journal = probe::journal();
    let first = journal.lines().find_map(|line| line.strip_prefix("constructor "));
    let state = first.and_then(|process| fs::read_to_string(format!("/proc/{process}/stat")).ok());
    let own = std::process::id().to_string();
    if first != Some(own.as_str()) && state.is_some_and(|state| !state.contains(") Z ")) {
        probe::deed("beside");
    }
    // By a name of its own: tests wait for the end of the host's threads by theirs.
    let lingers = std::thread::Builder::new().name("lingers".to_owned()).spawn(|| {
        while probe::told("constructor") == "linger" {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    drop(lingers.expect("a thread"));
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
