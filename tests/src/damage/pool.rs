//! The pool: a service for each damaged library, and an end to each service.

use super::cases::Case;
use super::count::{Counts, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A service that says nothing for so long hangs. It has less processor time than that.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A service is replaced after so many files that it refused: each has a processor time for all of
/// them.
const FILES_MAX: usize = 500;
const PROGRESS_EACH: u64 = 1000;

/// How to start a service that ends in [`live`](super::life::live).
pub struct Pool<'a> {
    /// Makes the command.
    pub service: &'a (dyn Fn() -> Command + Sync),
    /// Where the damaged files lie meanwhile.
    pub directory: &'a Path,
    /// How many services run at once.
    pub workers: usize,
}

impl Pool<'_> {
    /// Runs each of `cases` through a life, and counts what became of them.
    pub fn run(&self, cases: impl Iterator<Item = Case> + Send) -> Counts {
        let (cases, counts) = (Mutex::new(cases), Mutex::new(Counts::default()));
        thread::scope(|scope| {
            for worker in 0..self.workers {
                let (cases, counts) = (&cases, &counts);
                scope.spawn(move || self.work(worker, cases, counts));
            }
        });
        counts.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(
        &self,
        worker: usize,
        cases: &Mutex<impl Iterator<Item = Case>>,
        counts: &Mutex<Counts>,
    ) {
        let path = self.directory.join(format!("damaged-{worker}.so"));
        let mut ready: Option<Service> = None;
        loop {
            let case = cases.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(case) = case else { break };
            fs::write(&path, &case.bytes).expect("the damaged file");
            let service = ready.take().unwrap_or_else(|| Service::start((self.service)()));
            let (mut outcome, mut left) = service.meet(&path);
            if outcome == Outcome::Killed(HANGS.to_owned()) {
                // Once more, for a machine that was busy with others.
                (outcome, left) = Service::start((self.service)()).meet(&path);
            }
            ready = left;
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.add(&case, &outcome);
            if counts.cases().is_multiple_of(PROGRESS_EACH) {
                eprintln!("{}", counts.line());
            }
        }
        let _ = fs::remove_file(path);
    }
}

const HANGS: &str = "hangs";

/// A running service that has met no library that it accepted.
struct Service {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// Of its output, and not a whole line yet.
    read: Vec<u8>,
    files: usize,
}

impl Service {
    fn start(mut command: Command) -> Service {
        let command = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("a service");
        let input = child.stdin.take().expect("its input");
        let output = child.stdout.take().expect("its output");
        Service { child, input, output, read: Vec::new(), files: 0 }
    }

    /// Gives it the file at `path`. It comes back if it can meet another one.
    fn meet(mut self, path: &Path) -> (Outcome, Option<Service>) {
        if self.files == 0 {
            match self.line() {
                Ok(word) if word == "ready" => {}
                other => panic!("a service does not start: {other:?}, {:?}", self.end()),
            }
        }
        self.files += 1;
        // One that has ended says so on its output.
        let _ = writeln!(self.input, "{}", path.display());
        let outcome = match self.line() {
            Ok(word) => outcome(&word),
            Err(how) => Outcome::Killed(how),
        };
        match &outcome {
            Outcome::Refused { stage, .. }
                if ["read", "inspect", "manifest"].contains(&stage.as_str()) =>
            {
                let next = (self.files < FILES_MAX).then_some(self);
                return (outcome, next);
            }
            Outcome::Killed(_) => {
                self.kill();
                return (outcome, None);
            }
            _ => {}
        }
        match self.line() {
            Ok(word) if word == "ended" => {}
            Ok(word) => return (Outcome::Killed(format!("says {word}")), None),
            Err(how) => return (Outcome::Killed(format!("at its end: {how}")), None),
        }
        match self.end() {
            Ok(status) if status.success() => (outcome, None),
            Ok(status) => (Outcome::Killed(format!("at its exit: {}", named(status))), None),
            Err(how) => (Outcome::Killed(format!("at its exit: {how}")), None),
        }
    }

    /// The next line of its output; or how it ended instead.
    fn line(&mut self) -> Result<String, String> {
        let until = Instant::now() + SILENCE_MAX;
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut bytes = [0; 4096];
            let count = match self.readable(until) {
                true => self.output.read(&mut bytes).unwrap_or(0),
                false => return Err(HANGS.to_owned()),
            };
            if count == 0 {
                return Err(self.end().map_or_else(|how| how, named));
            }
            self.read.extend(&bytes[..count]);
        }
    }

    fn readable(&self, until: Instant) -> bool {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left =
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&left)) {
                Ok(count) => return count > 0,
                Err(error) => assert_eq!(error, rustix::io::Errno::INTR, "a poll"),
            }
        }
    }

    /// Waits for its end, for which it has closed its output or said that it comes.
    fn end(&mut self) -> Result<ExitStatus, String> {
        let until = Instant::now() + SILENCE_MAX;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return Ok(status);
            }
            thread::sleep(Duration::from_micros(100));
        }
        Err(HANGS.to_owned())
    }

    fn kill(&mut self) {
        // Not waited for yet, or gone: then nobody has its number but its own group.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

fn outcome(word: &str) -> Outcome {
    let mut words = word.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("served"), None, None) => Outcome::Served,
        (Some("refused"), Some(code), Some(stage)) => {
            Outcome::Refused { code: code.to_owned(), stage: stage.to_owned() }
        }
        (Some("wrong"), ..) => Outcome::Wrong(word.to_owned()),
        _ => Outcome::Killed(format!("says {word}")),
    }
}

fn named(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, code) => format!("exit {}", code.unwrap_or(-1)),
    }
}

/// The path of this very program, for a service of it.
pub fn this() -> PathBuf {
    std::env::current_exe().expect("this binary")
}
