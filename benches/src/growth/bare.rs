//! What the loader and the kernel take for what the host can't do without, bare: a dlopen and a
//! call, a dlclose, a look at the process's mappings, the start of a thread.
//!
//! Their lists are as long as there are libraries, whoever walks them. How long that takes depends
//! as much on what was walked before, so it is measured in the process that the host is in, right
//! after what it is compared with and in the same order.
#![allow(unsafe_code, reason = "it opens libraries and asks the kernel by itself")]

use super::{Clock, median};
use crate::numbered::Numbered;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use midflight_plugin::rt::Entry;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::cell::RefCell;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Microseconds of CPU.
#[derive(Clone, Copy)]
pub struct Bare {
    /// A thread, a dlopen and a call, and another thread.
    pub update: f64,
    /// Two threads, a dlclose, and a look at the mappings.
    pub unmap: f64,
    /// One of these threads.
    pub thread: f64,
}

impl Bare {
    /// With a library that nobody else has, the plugin of this `number`: in the order in which the
    /// host does it, and with `pause` where it is waited for.
    ///
    /// # Panics
    /// It does not open.
    pub fn now(numbered: &Numbered, number: usize, directory: &Path, pause: Duration) -> Self {
        let file = directory.join("bare.so");
        thread::sleep(pause);
        numbered.write(number, 1, 0, &file);
        forget_caches();
        let (library, update) = open(&file);
        fs::remove_file(&file).expect("it was written");
        thread::sleep(pause);
        // The one before is on the edge between a drain and an unmapping.
        let thread = thread();
        Bare { update, unmap: close(library) + look(), thread }
    }
}

/// One kind, turn by turn: what is the host's of what it took, and what is not.
#[derive(Default)]
pub struct Shares(Vec<f64>, Vec<f64>);

impl Shares {
    /// One turn.
    pub fn add(&mut self, took: f64, bare: f64) {
        self.0.push(took - bare);
        self.1.push(bare);
    }

    /// The medians of both.
    pub fn medians(&self) -> [f64; 2] {
        [median(&self.0), median(&self.1)]
    }
}

/// Opens it and calls a function of it, between the starts of two threads.
///
/// # Panics
/// It is no plugin.
pub fn open(file: &Path) -> (Library, f64) {
    let first = thread();
    let clock = Clock::thread();
    // SAFETY: a plugin of the benches, whose constructors are std's.
    let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) }.expect("dlopen");
    // SAFETY: a plugin's entry, of this build's format; it is open meanwhile.
    unsafe {
        let entry = library.get::<*const Entry>(b"midflight_entry\0").expect("a plugin");
        black_box(((**entry).place)());
    }
    let opened = clock.us();
    (library, first + opened + thread())
}

/// Closes it, after the starts of two threads.
///
/// # Panics
/// That fails.
pub fn close(library: Library) -> f64 {
    let threads = thread() + thread();
    let clock = Clock::thread();
    library.close().expect("dlclose");
    threads + clock.us()
}

/// The start of a thread that does nothing, and its end: it gets room for the thread-locals of all
/// libraries.
///
/// # Panics
/// There is none.
pub fn thread() -> f64 {
    let clock = Clock::process();
    thread::spawn(|| ()).join().expect("it does nothing");
    clock.us()
}

/// Pushes everything else out of the processor's caches, as a thousand plugins would.
///
/// A first look at something costs what it costs to have it from memory; with few plugins all of
/// them fit into the caches, which would be growth and is none of the host's.
pub fn forget_caches() {
    thread_local! {
        static WIDE: RefCell<Vec<u64>> = RefCell::new(vec![1; CACHES_MAX / size_of::<u64>()]);
    }
    WIDE.with_borrow_mut(|wide| {
        wide.iter_mut().step_by(LINE / size_of::<u64>()).for_each(|line| *line += 1);
        black_box(wide);
    });
}

const CACHES_MAX: usize = 64 << 20;
const LINE: usize = 64;

/// `struct procmap_query` of `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    rest: [u64; 4],
    device: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

const QUERY: Opcode = opcode::read_write::<Query>(b'f', 17);
/// What is executable and of a file, from the address on.
const CODE_FROM: u64 = 0x04 | 0x10 | 0x20;

/// A look at all code that is mapped, as the kernel tells it soonest: asked for each mapping, or,
/// before Linux 6.11, as text.
///
/// # Panics
/// There is no /proc.
pub fn look() -> f64 {
    let clock = Clock::thread();
    let mut maps = File::open("/proc/self/maps").expect("the maps");
    let mut name = [0_u8; libc::PATH_MAX as usize];
    let (mut names, mut address) = (Vec::new(), 0);
    let found = loop {
        let mut query = Query {
            size: size_of::<Query>() as u64,
            flags: CODE_FROM,
            address,
            name_size: name.len() as u32,
            name: name.as_mut_ptr().expose_provenance() as u64,
            ..Query::default()
        };
        // SAFETY: the kernel writes a struct and a name of the sizes that it is told.
        match unsafe { ioctl(&maps, Updater::<QUERY, Query>::new(&mut query)) } {
            Ok(()) => names.extend_from_slice(&name[..query.name_size as usize]),
            Err(error) => break error,
        }
        address = query.end;
    };
    if found != rustix::io::Errno::NOENT {
        names.clear();
        maps.read_to_end(&mut names).expect("the maps");
    }
    black_box(names);
    clock.us()
}
