//! Retries: files that were refused for a passing reason, and when they are tried again.
//!
//! Nobody applies a watched file a second time: without this a disk that was full for a moment
//! would keep a version out until somebody wonders. Each try comes twice as late as the one before,
//! from a second up to ten minutes, and none of them is the last: whatever has to pass may take
//! days.

use crate::command::{Applied, Reply};
use crate::refusal::{Refusal, Stage};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(super) struct Retries(BTreeMap<PathBuf, Retry>);

#[derive(Default)]
struct Retry {
    tries: u32,
    /// The control plane has refused it.
    asked: bool,
    due: Option<Instant>,
    /// What came of the last try, once that is known.
    answer: Option<Receiver<Result<Applied, Refusal>>>,
}

impl Retries {
    /// The file at `path` has just been read: who is to be told what comes of it, and whether it is
    /// asked for once more.
    pub(super) fn awaiting(&mut self, path: &Path) -> (Reply, bool) {
        let (reply, answer) = sync_channel(1);
        let retry = self.0.entry(path.to_owned()).or_default();
        (retry.due, retry.answer) = (None, Some(answer));
        (reply, retry.asked)
    }

    /// The file at `path` was refused at `now`.
    pub(super) fn refused(&mut self, path: &Path, refusal: &Refusal, now: Instant) {
        if !refusal.code().is_passing() {
            return self.forget(path);
        }
        let retry = self.0.entry(path.to_owned()).or_default();
        let pause = FIRST.saturating_mul(1 << retry.tries.min(16)).min(LONGEST);
        retry.tries += 1;
        retry.asked = refusal.stage() != Stage::Read;
        (retry.due, retry.answer) = (Some(now + pause), None);
    }

    /// Another file is there now, or none.
    pub(super) fn forget(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// Takes in what came of the last tries.
    pub(super) fn hear(&mut self, now: Instant) {
        let answered = self.0.iter().filter_map(|(path, retry)| {
            match retry.answer.as_ref()?.try_recv() {
                Ok(Err(refusal)) => Some((path.clone(), Some(refusal))),
                Err(TryRecvError::Empty) => None,
                // It serves, or a newer one has taken its place.
                Ok(Ok(_)) | Err(TryRecvError::Disconnected) => Some((path.clone(), None)),
            }
        });
        for (path, refusal) in answered.collect::<Vec<_>>() {
            match refusal {
                Some(refusal) => self.refused(&path, &refusal, now),
                None => self.forget(&path),
            }
        }
    }

    /// Is the answer to a try still to come?
    pub(super) fn is_awaiting(&self) -> bool {
        self.0.values().any(|retry| retry.answer.is_some())
    }

    /// When the next try is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|retry| retry.due).min()
    }

    /// All that wait for another try, as if they were due.
    pub(super) fn all(&mut self) -> Vec<PathBuf> {
        let waiting = self.0.iter_mut();
        waiting.filter_map(|(path, retry)| retry.due.take().map(|_| path.clone())).collect()
    }

    /// Those that are due at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Vec<PathBuf> {
        let due = self.0.iter_mut().filter(|(_, retry)| retry.due.is_some_and(|due| due <= now));
        due.map(|(path, retry)| {
            retry.due = None;
            path.clone()
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;

    fn refusal(code: Code) -> Refusal {
        Refusal::new(code, "a test")
    }

    #[test]
    fn w05_each_try_comes_later_than_the_one_before_up_to_a_bound() {
        let (mut retries, path) = (Retries::default(), Path::new("/p/x.so"));
        let (mut now, mut pauses) = (Instant::now(), Vec::new());
        for _ in 0..12 {
            retries.refused(path, &refusal(Code::DiskFull), now);
            let next = retries.next().expect("another try");
            assert!(retries.due(next - Duration::from_millis(1)).is_empty());
            pauses.push((next - now).as_secs());
            now = next;
            assert_eq!(retries.due(now), [path]);
            assert!(retries.due(now).is_empty(), "once");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        retries.forget(path);
        retries.refused(path, &refusal(Code::DiskFull), now);
        assert_eq!(retries.next(), Some(now + FIRST), "another file begins anew");
    }

    #[test]
    fn w05_what_came_of_a_try_decides() {
        let (mut retries, path) = (Retries::default(), Path::new("/p/x.so"));
        let now = Instant::now();
        let (reply, again) = retries.awaiting(path);
        assert!(!again);
        retries.hear(now);
        assert_eq!((retries.is_awaiting(), retries.next()), (true, None));
        reply.send(Err(refusal(Code::ThreadUnavailable))).unwrap();
        retries.hear(now);
        assert_eq!((retries.is_awaiting(), retries.next()), (false, Some(now + FIRST)));
        let (reply, again) = retries.awaiting(path);
        assert!(again, "the control plane is told that it has been asked before");
        reply.send(Err(refusal(Code::LayoutMismatch))).unwrap();
        retries.hear(now);
        assert_eq!((retries.is_awaiting(), retries.next()), (false, None), "that lasts");
        drop(retries.awaiting(path));
        retries.hear(now);
        assert!(!retries.is_awaiting(), "a newer one came");
    }
}
