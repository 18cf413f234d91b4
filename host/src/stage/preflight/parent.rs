//! The service's side: starts the child, hears it, ends it.

use super::kept::Kept;
use super::process::Child;
use super::{At, Expected, Task, Word};
use crate::contracts::Known;
use crate::library::{self, ContractNumber};
use crate::refusal::{Code, Refusal};
use crate::stage::draft::Draft;
use crate::stage::{Candidate, Order};
use midflight_inspect::text;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// What of the child's stderr is kept: the end.
const STDERR_BYTES_KEPT: usize = 4 * 1024;
/// What of that is told.
const STDERR_LINES_TOLD: usize = 4;
/// What is read before the next look at the clock.
const READ_BYTES_MAX: usize = 64 * 1024;
/// A verdict is a sentence.
const WORDS_BYTES_MAX: usize = 1024 * 1024;

/// A child that has been started. Dropping it ends it, whatever it is at.
pub(in crate::stage) struct Preflight {
    child: Child,
    /// It was there before it was wanted, so that it may have ended for reasons of its own.
    was_kept: bool,
    limit: Duration,
    until: Instant,
    words: Vec<u8>,
    at: Option<At>,
    last_words: Vec<u8>,
}

impl Preflight {
    /// Takes the child that was kept, or starts one. That comes to its main while the image is
    /// written here.
    pub(in crate::stage) fn begin(kept: &Kept, limit: Duration) -> Result<Self, Refusal> {
        match kept.take() {
            Some(child) => Ok(Preflight::with(child, true, limit)),
            None => Preflight::anew(limit),
        }
    }

    fn anew(limit: Duration) -> Result<Self, Refusal> {
        let child = Child::start().map_err(|error| unavailable("start a child", error))?;
        Ok(Preflight::with(child, false, limit))
    }

    fn with(child: Child, was_kept: bool, limit: Duration) -> Self {
        Preflight {
            child,
            was_kept,
            limit,
            until: Instant::now() + limit,
            words: Vec::new(),
            at: None,
            last_words: Vec::new(),
        }
    }

    /// Says what came of it.
    pub(in crate::stage) fn judge(
        self,
        candidate: &Candidate,
        order: &Order,
        draft: &mut Draft,
    ) -> Result<(), Refusal> {
        let mut preflight = self;
        let mut verdict = preflight.fly(candidate, order, draft);
        if verdict.is_err() && preflight.was_kept && preflight.at().is_none() {
            // Nothing of the candidate's has run: somebody has killed the child, or memory was
            // short. A new one says whether the candidate may come in.
            preflight = Preflight::anew(preflight.limit)?;
            verdict = preflight.fly(candidate, order, draft);
        }
        // What is mapped there still must not see the address that the image gets next: such a
        // child is ended first.
        if verdict? {
            order.kept.spend(preflight);
        }
        Ok(())
    }

    /// Lends the image to the child, and hears what it says to it.
    fn fly(
        &mut self,
        candidate: &Candidate,
        order: &Order,
        draft: &mut Draft,
    ) -> Result<bool, Refusal> {
        let lacks =
            || Refusal::new(Code::PreflightUnavailable, "this program's main lacks the line");
        let program = super::program().ok_or_else(lacks)?;
        let image = match self.word()? {
            Word::Ready(table) => draft.lend(table)?,
            early => return early.verdict(),
        };
        let manifest = candidate.manifest();
        let task = Task {
            program,
            generation: order.generation,
            plugin: manifest.name.clone(),
            version: manifest.version.to_string(),
            image: draft.path().into(),
            familiar: candidate.familiar(),
            stays: !candidate.keeps().is_empty(),
            known: expected(&order.known),
            required: expected(&order.required),
            config: order.config.to_string(),
            start: manifest.preflight_start || order.preflight_start,
            panic_frames_max: order.panic_frames_max,
        };
        let task = serde_json::to_vec(&task).unwrap_or_default();
        self.child.tell(&task, &image, self.limit);
        self.word()?.verdict()
    }

    /// The next word of the child's.
    fn word(&mut self) -> Result<Word, Refusal> {
        let mut ended = false;
        loop {
            if let Some(word) = self.hear() {
                return Ok(word);
            }
            if ended {
                return Err(self.ended());
            }
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.timed_out());
            }
            ended = self.child.listen(left);
        }
    }

    /// Which of the plugin's code the child was about to run last.
    fn at(&mut self) -> Option<At> {
        let mut places = Vec::new();
        read_some(&mut self.child.places, &mut places);
        self.at = places.last().and_then(|byte| At::of(*byte)).or(self.at);
        self.at
    }

    fn hear(&mut self) -> Option<Word> {
        read_some(&mut self.child.stderr, &mut self.last_words);
        let surplus = self.last_words.len().saturating_sub(STDERR_BYTES_KEPT);
        self.last_words.drain(..surplus);
        read_some(&mut self.child.socket, &mut self.words);
        if self.words.len() > WORDS_BYTES_MAX {
            self.child.socket = None;
            self.words.clear();
        }
        while let Some(end) = self.words.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.words.drain(..=end).collect();
            // What is none was written by something else of the child's.
            if let Ok(word) = serde_json::from_slice(&line) {
                return Some(word);
            }
        }
        None
    }

    fn ended(&mut self) -> Refusal {
        let (code, how) = match self.child.process.end() {
            Some(status) => match (status.terminating_signal(), status.exit_status()) {
                (Some(signal), _) => {
                    (Code::PreflightCrashed, format!("died of {}", library::signal_name(signal)))
                }
                (None, exit) => (
                    Code::PreflightExited,
                    format!("exited with code {}", exit.unwrap_or_default()),
                ),
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
        self.refusal(Code::PreflightTimedOut, |during| {
            format!("{during} had not returned after {limit:?}")
        })
    }

    /// What ends before any of the plugin's code ran is the program's own matter.
    fn refusal(&mut self, code: Code, what: impl FnOnce(&str) -> String) -> Refusal {
        let (code, during) = match self.at() {
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

fn unavailable(what: &str, error: io::Error) -> Refusal {
    Refusal::new(Code::PreflightUnavailable, format!("can't {what}: {error}"))
}

/// Those that lie in the program itself; the others are compared in the service alone.
fn expected(known: &[Known]) -> Vec<Expected> {
    let expected = |known: &Known| {
        let number = ContractNumber::of(known.layout)?;
        Some(Expected { name: known.name.to_owned(), version: known.version.to_owned(), number })
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

/// The last lines, as one.
fn told(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(STDERR_LINES_TOLD)..].join(" | ");
    // A part of a reason, which has as much room again for the rest.
    text::within(&last, text::BYTES_MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_stderr_is_told_in_one_line() {
        let check = |stderr: &str, expected: &str| assert_eq!(told(stderr.as_bytes()), expected);
        check("", "");
        check("one\n\n  two \u{1b}[2J\nthree\n", r"one | two \u{1b}[2J | three");
        check("1\n2\n3\n4\n5\n6\n", "3 | 4 | 5 | 6");
        let long = told("ü".repeat(STDERR_BYTES_KEPT).as_bytes());
        assert!(long.len() <= text::BYTES_MAX && long.ends_with("üüü"), "{long}");
    }
}
