//! Workers: threads for what runs a plugin's code or may block there, and the way back for what
//! they have to say.
//!
//! A thread can be wanting, for a moment or for hours, and that is no plugin's fault. What has not
//! begun is refused then, and changes nothing. What must happen once something was begun (hooks
//! around a switch, a stop, an unmapping) waits for a thread and is tried again ever less often,
//! and no hook's deadline runs meanwhile.

use super::Control;
use crate::event::EventKind;
use crate::mappings::have_room_for_a_thread;
use crate::refusal::{Code, Refusal};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between the first try to start a thread and the second; then twice as long each time.
const AGAIN_MIN: Duration = Duration::from_millis(10);
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// A thread for one job. It ends with the job, so that what a plugin leaves in its thread-locals
/// ends too.
///
/// # Errors
/// No thread can be started (`thread_unavailable`); the job is dropped.
pub(super) fn spawn(
    name: &str,
    job: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Refusal> {
    start(name, job).map_err(|error| Refusal::new(Code::ThreadUnavailable, told(&error)))
}

fn start(name: &str, job: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    have_room_for_a_thread()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(job)
}

fn told(error: &io::Error) -> String {
    format!("can't start a thread: {error}")
}

/// What must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// The hooks of a trial.
    Hooks,
    /// The health of what is on trial or in a canary.
    Check,
    /// The `retiring` of a generation.
    Tell,
    /// The way back of a state, or the end of its copy.
    State,
    /// A generation's stop.
    Stop,
    /// Its unmapping.
    Close,
    /// The filters of its log.
    Filters,
}

impl Duty {
    fn thread(self) -> &'static str {
        match self {
            Duty::Hooks => "midflight-hooks",
            Duty::Check => "midflight-check",
            Duty::Tell => "midflight-tell",
            Duty::State => "midflight-state",
            Duty::Stop => "midflight-retire",
            Duty::Close => "midflight-close",
            Duty::Filters => "midflight-filters",
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// What must be done and waits for a thread, in the order in which it was to be done.
#[derive(Default)]
pub(super) struct Workless {
    waiting: VecDeque<(Duty, u64, Job)>,
    /// Why there is no thread; empty while nothing waits.
    why: String,
    again: Option<(Instant, Duration)>,
}

impl Workless {
    /// Why the `duty` of the generation, trial or hand-over with this number has not begun, where
    /// that is for want of a thread.
    pub(super) fn why(&self, duty: Duty, number: u64) -> Option<&str> {
        let is_it = |(other, of, _): &(Duty, u64, Job)| *other == duty && *of == number;
        self.waiting.iter().any(is_it).then_some(&*self.why)
    }

    /// When it is tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again.map(|(due, _)| due)
    }

    /// What waits must neither run nor be dropped any more.
    pub(super) fn forget(&mut self) {
        mem::forget(mem::take(&mut self.waiting));
    }
}

impl Control {
    /// Has a worker do it; if none can be had now, later.
    pub(super) fn must(&mut self, duty: Duty, number: u64, job: impl FnOnce() + Send + 'static) {
        self.workless.waiting.push_back((duty, number, Box::new(job)));
        // What waits already comes first.
        if self.workless.again.is_none() {
            self.employ();
        }
    }

    pub(super) fn look_at_workless(&mut self) {
        if self.workless.due().is_some_and(|due| Instant::now() >= due) {
            self.employ();
        }
    }

    fn employ(&mut self) {
        while let Some((duty, number, job)) = self.workless.waiting.pop_front() {
            // std drops a job for which there is no thread.
            let job = Arc::new(Mutex::new(Some(job)));
            let taken = Arc::clone(&job);
            let work = move || {
                let job = taken.lock().take();
                job.into_iter().for_each(|job| job());
            };
            let Err(error) = start(duty.thread(), work) else { continue };
            let job = job.lock().take();
            self.workless.waiting.extend(job.map(|job| (duty, number, job)));
            self.workless.waiting.rotate_right(1);
            return self.wait_for_threads(&error);
        }
        self.workless.again = None;
        self.workless.why.clear();
    }

    fn wait_for_threads(&mut self, error: &io::Error) {
        let first = self.workless.again.is_none();
        let pause = self.workless.again.map_or(AGAIN_MIN, |(_, pause)| AGAIN_MAX.min(2 * pause));
        self.workless.again = Some((Instant::now() + pause, pause));
        self.workless.why = told(error);
        if first {
            let about = super::books::about("", "", None);
            let reason = self.workless.why.clone();
            self.shared.events.add(about, Duration::ZERO, EventKind::ThreadsWanting { reason });
        }
    }
}

/// Nobody need be waiting for it any more.
pub(super) fn answer<T>(reply: &SyncSender<T>, with: T) {
    let _ = reply.send(with);
}

pub(super) fn answer_if<T>(reply: Option<&SyncSender<T>>, with: T) {
    if let Some(reply) = reply {
        answer(reply, with);
    }
}
