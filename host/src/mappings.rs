//! Mappings: whether this process may have more of them.
//!
//! The kernel lets a process have `vm.max_map_count`. At the limit no library can be mapped, which
//! is a refusal; but no thread can be started either, and std ends the process where a new thread
//! gets no stack for its signals. So an update is refused while there is still room, for its own
//! threads and the service's. Where the address space has a bound (`RLIMIT_AS`), it is the same with
//! that.

use crate::refusal::{Code, Refusal};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// What must be left: an update needs some ten for a library and as many for each of its threads.
const HEADROOM: usize = 256;
/// And of a bounded address space: a library, and the stacks of threads.
const BYTES_HEADROOM: u64 = 16 << 20;
/// What is left for one thread: its stack, that for its signals, and what others take meanwhile.
const BYTES_OF_A_THREAD: u64 = 4 << 20;
/// How long a count is believed: each costs a look at all mappings.
const BELIEVED: Duration = Duration::from_secs(1);

struct Counted {
    at: Instant,
    mappings: usize,
    /// The size of the process then. Each mapping has a page at least.
    pages: usize,
}

/// # Errors
/// `too_many_mappings`, `thread_unavailable`. Where they can't be counted, nothing is refused.
pub(crate) fn have_room() -> Result<(), Refusal> {
    have_addresses()?;
    static LAST: Mutex<Option<Counted>> = Mutex::new(None);
    let (Some(max), Some(pages)) =
        (first_number("/proc/sys/vm/max_map_count"), first_number("/proc/self/statm"))
    else {
        return Ok(());
    };
    let most = max.saturating_sub(HEADROOM.min(max / 4));
    if pages < most {
        return Ok(());
    }
    let mut last = LAST.lock();
    if let Some(last) = &*last
        && last.at.elapsed() < BELIEVED
        && last.mappings.saturating_add(pages.saturating_sub(last.pages)) < most
    {
        return Ok(());
    }
    let Ok(mappings) = count() else { return Ok(()) };
    *last = Some(Counted { at: Instant::now(), mappings, pages });
    if mappings < most {
        return Ok(());
    }
    let reason = format!(
        "this process has {mappings} mappings, and vm.max_map_count is {max}: at the limit a thread \
         that is started ends the process"
    );
    Err(Refusal::new(Code::TooManyMappings, reason))
}

fn have_addresses() -> Result<(), Refusal> {
    let reason = |told| format!("{told}: at the limit a thread that is started ends the process");
    are_left(BYTES_HEADROOM).map_err(|told| Refusal::new(Code::ThreadUnavailable, reason(told)))
}

/// Asked before each thread of the host's that may begin at any time: one that gets the stack of
/// another that has ended, and none for its signals, ends the process.
pub(crate) fn have_room_for_a_thread() -> io::Result<()> {
    are_left(BYTES_OF_A_THREAD).map_err(io::Error::other)
}

fn are_left(bytes: u64) -> Result<(), String> {
    let Some(may) = getrlimit(Resource::As).current else { return Ok(()) };
    let Some(pages) = first_number("/proc/self/statm") else { return Ok(()) };
    let has = pages as u64 * rustix::param::page_size() as u64;
    match has.saturating_add(bytes) <= may {
        true => Ok(()),
        false => Err(format!(
            "this process has {} KiB of address space, and may have {} (RLIMIT_AS)",
            has / 1024,
            may / 1024
        )),
    }
}

fn first_number(path: &str) -> Option<usize> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

fn count() -> io::Result<usize> {
    let (mut maps, mut buffer) = (fs::File::open("/proc/self/maps")?, vec![0; 64 * 1024]);
    let mut lines = 0;
    loop {
        match maps.read(&mut buffer)? {
            0 => return Ok(lines),
            read => lines += memchr::memchr_iter(b'\n', &buffer[..read]).count(),
        }
    }
}
