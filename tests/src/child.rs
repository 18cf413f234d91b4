//! Children: a test's body in a process of its own.
//!
//! Tests share a process, so one that counts mappings counts those of all. The child is this very
//! test binary, told to run this very test; what it leaves behind is an exit status and its output.

use crate::{Apart, fixture};
use std::any::type_name;
use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// The child's environment: the test that it runs, with the argument of its body, and where the
/// fixtures are.
const CHILD: &str = "MIDFLIGHT_TESTS_CHILD";
/// Where the built fixtures lie.
pub const FIXTURES: &str = "MIDFLIGHT_TESTS_FIXTURES";
/// What the child prints when its body has returned. An exit status of 0 alone could be a child
/// that ran no test at all.
const RETURNED: &str = "the child's body has returned";
/// A child that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(180);

/// Runs `body` in a process of its own, and asserts that it returns and the process exits with 0.
///
/// It must be the test function's own closure: its name is the test's.
#[track_caller]
pub fn in_child<F: FnOnce()>(body: F) {
    let test = name_of::<F>();
    match argument(test) {
        Some(_) => finish(body),
        None => run_child(test, "").assert_ok(),
    }
}

/// As [`in_child`], many times: `parent`, the test function's own closure, starts the children that
/// it wants with [`run_child`]. They run `body` with their argument.
pub fn with_children<F: FnOnce(&'static str)>(body: impl FnOnce(&str), parent: F) {
    let test = name_of::<F>();
    match argument(test) {
        Some(argument) => finish(|| body(&argument)),
        None => parent(test),
    }
}

/// Runs the test `test` as a child, with an argument for its body.
pub fn run_child(test: &str, argument: &str) -> Exit {
    run(&[], test, argument, |child| child)
}

/// Runs the test `test` as a child with namespaces of its own, and asserts that it ends well; or
/// skips it, where it may have none.
#[track_caller]
pub fn run_child_apart(apart: Apart, test: &str, argument: &str) {
    if apart.is_allowed_to(test) {
        run(apart.through(), test, argument, |child| child).assert_ok();
    }
}

/// As [`run_child`], after `prepare`, which may add to the child's environment.
pub fn run_child_with(
    test: &str,
    argument: &str,
    prepare: impl FnOnce(&mut Command) -> &mut Command,
) -> Exit {
    run(&[], test, argument, prepare)
}

/// How a child ended.
#[derive(Debug)]
pub struct Exit {
    status: ExitStatus,
    /// All that it printed.
    pub output: String,
}

impl Exit {
    /// It returned from its body and exited with 0.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert!(
            self.is_ok(),
            "the child: {}, signal {:?}\n{}",
            self.status,
            self.status.signal(),
            self.output
        );
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Has it returned from its body, and exited with 0?
    pub fn is_ok(&self) -> bool {
        self.status.success() && self.output.contains(RETURNED)
    }
}

fn argument(test: &str) -> Option<String> {
    let child = std::env::var(CHILD).ok()?;
    let (running, argument) = child.split_once(' ').expect("a test and an argument");
    assert_eq!(running, test, "a child runs the one test that it was started for");
    Some(argument.to_owned())
}

fn finish(body: impl FnOnce()) {
    body();
    println!("{RETURNED}");
}

fn run(
    through: &[&str],
    test: &str,
    argument: &str,
    prepare: impl FnOnce(&mut Command) -> &mut Command,
) -> Exit {
    let this = std::env::current_exe().expect("the path of this test");
    let mut words = through.iter().map(OsStr::new).chain([this.as_os_str()]);
    let mut command = Command::new(words.next().expect("at least this test"));
    command.args(words).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, format!("{test} {argument}")).env(FIXTURES, fixture::directory());
    prepare(&mut command);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let pid = rustix::process::Pid::from_child(&child);
    let (send, ended) = channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    let output = match ended.recv_timeout(DEADLINE) {
        Ok(output) => output,
        Err(_) => {
            // Not waited for yet, so that the number is still its own.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            ended.recv().expect("the killed child's end")
        }
    };
    let output = output.expect("the child's output");
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    Exit { status: output.status, output: text }
}

/// `acceptance::drain::a53::{{closure}}` → `drain::a53`
fn name_of<F>() -> &'static str {
    let name = type_name::<F>().strip_suffix("::{{closure}}").expect("the test's own closure");
    name.split_once("::").expect("a test's path").1
}
