//! This process, as the kernel sees it.

use std::fs;
use std::time::Duration;

/// The lines of `/proc/self/maps`.
pub fn mappings() -> Vec<String> {
    fs::read_to_string("/proc/self/maps").expect("maps").lines().map(str::to_owned).collect()
}

/// Open file descriptors, but for the one that counts them.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("fds").count() - 1
}

/// Resident memory, in KiB.
pub fn resident_kib() -> u64 {
    status_kib("VmRSS:")
}

/// Address space, in KiB.
pub fn address_space_kib() -> u64 {
    status_kib("VmSize:")
}

fn status_kib(of: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix(of)).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The names of this process's threads.
pub fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("tasks").flatten();
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    tasks.filter_map(name).map(|name| name.trim().to_owned()).collect()
}

/// A deadline that is to be short and long enough: AddressSanitizer makes what it is for some
/// twenty times slower.
pub fn scaled(deadline: Duration) -> Duration {
    if has_address_sanitizer() { deadline * 20 } else { deadline }
}

/// Is this process built with AddressSanitizer? Its shadow memory lies where nothing else does.
pub fn has_address_sanitizer() -> bool {
    mappings().iter().any(|line| line.starts_with("7fff7000-"))
}
