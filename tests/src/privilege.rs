//! What a test may need that not everybody may do. One that can't be tried says so: nobody should
//! take it for one that has passed.

use rustix::process::geteuid;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Namespaces that a child may have of its own.
#[derive(Debug, Clone, Copy)]
pub enum Apart {
    /// It may mount file systems that nobody else sees.
    Mounts,
    /// It sees no processes but its own, and is number 1 among them, as in a container.
    Processes,
}

impl Apart {
    /// What a command is started through for that.
    pub(crate) fn through(self) -> &'static [&'static str] {
        match self {
            Apart::Mounts => &["unshare", "--map-root-user", "--mount", "--"],
            Apart::Processes => &[
                "unshare",
                "--map-root-user",
                "--mount-proc",
                "--pid",
                "--fork",
                "--kill-child",
                "--",
            ],
        }
    }

    /// Some systems let only root have namespaces, and some containers nobody. The test is skipped
    /// there.
    pub(crate) fn is_allowed_to(self, test: &str) -> bool {
        let (program, options) = self.through().split_first().expect("a program");
        let tried = Command::new(program).args(options).arg("true").stdin(Stdio::null()).output();
        let why = match tried {
            Ok(tried) if tried.status.success() => return true,
            Ok(tried) => String::from_utf8_lossy(&tried.stderr).trim().to_owned(),
            Err(error) => format!("{program}: {error}"),
        };
        say(test, &format!("no namespaces for it: {why}"));
        false
    }
}

/// Mounts a file system in memory at `path`, or changes the options of one (`remount,…`), for a child
/// with [`Apart::Mounts`].
#[track_caller]
pub fn mount_memory(options: &str, path: &Path) {
    let mut mount = Command::new("mount");
    // Without a source `mount` adds all the options that are there, among them the numbers of users
    // that this namespace does not have.
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path);
    assert!(mount.status().expect("mount").success(), "{mount:?}");
}

/// Is this root? If not, the test is skipped, since only root can do `what`.
pub fn is_root_to(what: &str) -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        skip(&format!("only root can {what}"));
    }
    is_root
}

/// The test that runs on this thread is skipped, and why.
pub fn skip(why: &str) {
    say(std::thread::current().name().unwrap_or("a test"), why);
}

/// Not with `eprintln!`: the harness keeps that for itself while tests pass.
fn say(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}
