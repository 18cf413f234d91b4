//! The service's side: starts the child, hears it, ends it.

use super::{At, Expected, THE_LINE, Task, VARIABLE, Word};
use crate::contained::say;
use crate::library::{self, InProgram, THIS};
use crate::refusal::{Code, Refusal};
use crate::release::Known;
use crate::stage::image::{Image, RunDirectory};
use crate::stage::{Candidate, Order};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open, waitid,
};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

/// What of the child's stderr is kept: the end.
const STDERR_BYTES_KEPT: usize = 4 * 1024;
/// What of that is told.
const STDERR_LINES_TOLD: usize = 4;
const STDERR_CHARS_TOLD: usize = 500;
/// What is read before the next look at the clock.
const READ_BYTES_MAX: usize = 64 * 1024;
/// A verdict is a sentence.
const WORDS_BYTES_MAX: usize = 1024 * 1024;

/// A child that has been started. Dropping it ends it, whatever it is at, and removes what it wrote.
pub(in crate::stage) struct Preflight {
    process: Process,
    /// The child's run directory, in ours.
    directory: PathBuf,
    limit: Duration,
    until: Instant,
    /// `None` once the child has closed it.
    socket: Option<UnixStream>,
    stderr: Option<ChildStderr>,
    words: Vec<u8>,
    at: Option<At>,
    last_words: Vec<u8>,
}

impl Preflight {
    /// Starts the child. It comes to its main while the image is written here.
    pub(in crate::stage) fn begin(
        run: &RunDirectory,
        generation: u64,
        limit: Duration,
    ) -> Result<Self, Refusal> {
        let until = Instant::now() + limit;
        let unavailable = |what: &str, error: io::Error| {
            Refusal::new(Code::PreflightUnavailable, format!("can't {what}: {error}"))
        };
        let (socket, theirs) = UnixStream::pair().map_err(|error| unavailable("make a socket", error))?;
        let (process, stderr) =
            Process::start(theirs).map_err(|error| unavailable("start a child", error))?;
        // Named as a run directory of the child's, so that it knows its own images by their path.
        let directory = run.path().join(format!("{}-preflight-{generation}", process.pid.as_raw_nonzero()));
        let preflight = Preflight {
            process,
            directory,
            limit,
            until,
            socket: Some(socket),
            stderr: Some(stderr),
            words: Vec::new(),
            at: None,
            last_words: Vec::new(),
        };
        rustix::fs::mkdir(&preflight.directory, rustix::fs::Mode::RWXU)
            .map_err(|error| unavailable("make a directory for its image", error.into()))?;
        Ok(preflight)
    }

    /// Has the child open the candidate, and says what came of it.
    pub(in crate::stage) fn judge(
        mut self,
        image: &Image,
        candidate: &Candidate,
        order: &Order,
    ) -> Result<(), Refusal> {
        let Some(program) = THE_LINE.get().copied() else {
            return Err(Refusal::new(Code::PreflightUnavailable, "this program's main lacks the line"));
        };
        let manifest = candidate.manifest();
        self.send(&Task {
            program,
            generation: order.generation,
            plugin: manifest.name.clone(),
            version: manifest.version.to_string(),
            image: image.path().into(),
            table_offset: candidate.inspection.place.table_offset,
            familiar: candidate.familiar(),
            directory: self.directory.clone().into(),
            known: expected(&order.known),
            required: expected(&order.required),
            config: order.config.to_string(),
            start: manifest.preflight_start,
            panic_frames_max: order.panic_frames_max,
        });
        loop {
            let now = Instant::now();
            let ended = self.listen(self.until.saturating_duration_since(now));
            if let Some(verdict) = self.hear() {
                return verdict;
            }
            if ended {
                return Err(self.ended());
            }
            if now >= self.until {
                return Err(self.timed_out());
            }
        }
    }

    /// A child that can't be told has ended, or hangs: that is seen when it is listened to.
    fn send(&mut self, task: &Task) {
        let Some(socket) = &mut self.socket else { return };
        let _ = socket.set_write_timeout(Some(self.limit));
        let task = serde_json::to_vec(task).unwrap_or_default();
        let _ = socket.write_all(&task).and_then(|()| socket.shutdown(Shutdown::Write));
        let _ = socket.set_nonblocking(true);
    }

    /// Waits until there is something to hear. True: the child has ended, and whatever it said is there.
    fn listen(&self, at_most: Duration) -> bool {
        let mut sources = vec![PollFd::new(&self.process.handle, PollFlags::IN)];
        sources.extend(self.socket.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        sources.extend(self.stderr.iter().map(|stderr| PollFd::new(stderr, PollFlags::IN)));
        let at_most = Timespec::try_from(at_most).ok();
        // An interruption is an early look.
        let _ = poll(&mut sources, at_most.as_ref());
        !sources[0].revents().is_empty()
    }

    fn hear(&mut self) -> Option<Result<(), Refusal>> {
        read_some(&mut self.stderr, &mut self.last_words);
        let surplus = self.last_words.len().saturating_sub(STDERR_BYTES_KEPT);
        self.last_words.drain(..surplus);
        read_some(&mut self.socket, &mut self.words);
        if self.words.len() > WORDS_BYTES_MAX {
            self.socket = None;
            self.words.clear();
        }
        while let Some(end) = self.words.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.words.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Word::At(at)) => self.at = Some(at),
                Ok(word) => return word.verdict(),
                // Something else of the child's wrote there.
                Err(_) => {}
            }
        }
        None
    }

    fn ended(&mut self) -> Refusal {
        let (code, how) = match self.process.end() {
            Some(status) => match (status.terminating_signal(), status.exit_status()) {
                (Some(signal), _) => {
                    (Code::PreflightCrashed, format!("died of {}", library::signal_name(signal)))
                }
                (None, exit) => {
                    (Code::PreflightExited, format!("exited with code {}", exit.unwrap_or_default()))
                }
            },
            // SIGCHLD is ignored, or somebody else waits for all children of the service's.
            None => (
                Code::PreflightExited,
                "ended unseen (the service ignores SIGCHLD, or waits for every child)".to_owned(),
            ),
        };
        self.refusal(code, |during| format!("the process {how} in {during}"))
    }

    fn timed_out(&mut self) -> Refusal {
        let limit = self.limit;
        self.refusal(Code::PreflightTimedOut, |during| format!("{during} had not returned after {limit:?}"))
    }

    /// What ends before any of the plugin's code ran is the program's own matter.
    fn refusal(&self, code: Code, what: impl FnOnce(&str) -> String) -> Refusal {
        let (code, during) = match self.at {
            Some(at) => (code, at.as_str()),
            None => (Code::PreflightUnavailable, "the program's way to midflight::preflight()"),
        };
        let mut reason = format!("in the preflight {}", what(during));
        let last_words = told(&self.last_words);
        if !last_words.is_empty() {
            reason += &format!("; its stderr ends with: {last_words}");
        }
        Refusal::new(code, reason)
    }
}

impl Drop for Preflight {
    fn drop(&mut self) {
        self.process.end();
        if let Err(error) = std::fs::remove_dir_all(&self.directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            let path = self.directory.display();
            let _ = say!(warn, %path, %error, "a preflight's directory can't be removed");
        }
    }
}

/// The child, until it was waited for. Nobody else's children are touched, and nothing that the service does about SIGCHLD.
struct Process {
    pid: Pid,
    handle: OwnedFd,
    /// The status where the service let us have it.
    ended: Option<Option<WaitIdStatus>>,
}

impl Process {
    fn start(socket: UnixStream) -> io::Result<(Process, ChildStderr)> {
        let mut arguments = std::env::args_os();
        let mut command = Command::new(THIS);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        // No step between fork and exec: std takes posix_spawn, which is sound in a process of many threads, and quick in a large one.
        let mut child = command
            .args(arguments)
            .env(VARIABLE, std::process::id().to_string())
            .stdin(OwnedFd::from(socket))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // With what it starts it can be killed, and a terminal's Ctrl-C is not for it.
            .process_group(0)
            .spawn()?;
        let pid = Pid::from_child(&child);
        let opened = pidfd_open(pid, PidfdFlags::empty()).and_then(|handle| {
            // Where SIGCHLD is ignored a number is free at once. Then this is no child of ours, or none.
            waitid(WaitId::PidFd(handle.as_fd()), EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)?;
            Ok(handle)
        });
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        match opened {
            Ok(handle) => {
                rustix::io::ioctl_fionbio(&stderr, true)?;
                Ok((Process { pid, handle, ended: None }, stderr))
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Kills it, with all of its group, and waits for it.
    fn end(&mut self) -> Option<WaitIdStatus> {
        if let Some(ended) = self.ended {
            return ended;
        }
        let handle = WaitId::PidFd(self.handle.as_fd());
        let look = waitid(handle.clone(), EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
        // Running, or not waited for yet: the number is still its own, and its group's.
        if look.is_ok() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        let ended = loop {
            match waitid(handle.clone(), EXITED) {
                Err(Errno::INTR) => {}
                other => break other.ok().flatten(),
            }
        };
        self.ended = Some(ended);
        ended
    }
}

const EXITED: WaitIdOptions = WaitIdOptions::EXITED;

/// Those that lie in the program itself; the others are compared in the service alone.
fn expected(known: &[Known]) -> Vec<Expected> {
    let expected = |known: &Known| {
        let layout = InProgram::of(known.layout)?;
        Some(Expected { name: known.name.to_owned(), version: known.version.to_owned(), layout })
    };
    known.iter().filter_map(expected).collect()
}

/// Reads what is there. A source at its end, or broken, becomes `None`.
fn read_some(source: &mut Option<impl Read>, into: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    let mut read = 0;
    while let Some(open) = source
        && read < READ_BYTES_MAX
    {
        match open.read(&mut buffer) {
            Ok(0) => *source = None,
            Ok(more) => {
                into.extend_from_slice(&buffer[..more]);
                read += more;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => *source = None,
        }
    }
}

/// The last lines, as one, with nothing in them that a terminal would obey.
fn told(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(STDERR_LINES_TOLD)..].join(" | ");
    let surplus = last.chars().count().saturating_sub(STDERR_CHARS_TOLD);
    last.chars().skip(surplus).filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_stderr_is_told_in_one_line() {
        let check = |stderr: &str, expected: &str| assert_eq!(told(stderr.as_bytes()), expected);
        check("", "");
        check("one\n\n  two \u{1b}[2J\nthree\n", "one | two [2J | three");
        check("1\n2\n3\n4\n5\n6\n", "3 | 4 | 5 | 6");
        check(&"ü".repeat(600), &"ü".repeat(STDERR_CHARS_TOLD));
    }
}
