//! Workers: threads for what runs a plugin's code or may block there, and the way back for what
//! they have to say.

use super::Command;
use crate::refusal::{Code, Refusal};
use crate::stage::Refused;
use std::mem;
use std::sync::mpsc::{Sender, SyncSender};
use std::thread::JoinHandle;

/// A thread for one job. It ends with the job, so that what a plugin leaves in its thread-locals
/// ends too.
pub(super) fn spawn(
    name: &str,
    job: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Refusal> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(job);
    let failed =
        |error| Refusal::new(Code::ThreadUnavailable, format!("can't start a thread: {error}"));
    spawned.map_err(failed)
}

pub(super) fn post(commands: &Sender<Command>, command: Command) {
    if let Err(unsent) = commands.send(command) {
        unsent.0.leave();
    }
}

impl Command {
    /// Drops what may be dropped. A generation whose end nobody is left to see stays mapped, with
    /// what its code may use.
    fn leave(self) {
        match self {
            Command::Prepared { result: Ok(generation), .. } => mem::forget(generation),
            Command::Prepared { result: Err(Refused { stopped, .. }), .. } => mem::forget(stopped),
            Command::Told { generation, .. } => mem::forget(generation),
            Command::Stopped { stopped, .. } => mem::forget(stopped),
            Command::Closed { left, .. } => mem::forget(left),
            other => drop(other),
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
