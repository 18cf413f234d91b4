//! The watcher: turns what happens in a directory into candidates.
//!
//! It acts on a file when its writer closes it or renames it into place, at once and with no
//! settling time. What it reads then is complete, unless the writer has it open a second time; so
//! where the bytes are refused it asks whether anybody still writes, and if so waits for the close
//! that must come.
//!
//! A watch is on a directory, not on a name. So the directory's parent is watched too: when the
//! directory goes away and comes back, or another one is renamed into its place, the watch moves
//! over and everything in it is looked at again. And where a link in the directory is replaced,
//! every library there may be another one, as in the volumes of Kubernetes, whose files are links
//! through a link that is swapped.

mod election;
mod files;

use crate::contained::say;
use crate::control::{By, Command};
use crate::shared::Shared;
use crate::stage::{Candidate, writers};
pub(crate) use election::initial;
use files::{identity, is_library, libraries};
use midflight_inspect::text;
use notify::event::{AccessKind, AccessMode, EventKind as Seen, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

/// A watched directory. Dropping it ends the watch and its thread.
pub(crate) struct Watch {
    messages: Sender<Message>,
}

enum Message {
    Seen(notify::Result<notify::Event>),
    End,
}

impl Watch {
    pub(crate) fn start(directory: &Path, shared: Arc<Shared>) -> notify::Result<Self> {
        let (messages, receive) = channel();
        let seen = messages.clone();
        let mut watcher = notify::recommended_watcher(move |event| {
            // An error is a thread that has ended, and the watcher with it.
            let _ = seen.send(Message::Seen(event));
        })?;
        // The names in events are then comparable, whatever the current directory becomes.
        let directory = std::path::absolute(directory).map_err(notify::Error::io)?;
        watcher.watch(&directory, RecursiveMode::NonRecursive)?;
        if let Some(parent) = directory.parent() {
            watcher.watch(parent, RecursiveMode::NonRecursive)?;
        }
        let mut follower = Follower { directory, watcher, shared };
        std::thread::Builder::new()
            .name("midflight-watch".to_owned())
            .spawn(move || follower.follow(&receive))
            .map_err(notify::Error::io)?;
        Ok(Watch { messages })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::End);
    }
}

struct Follower {
    directory: PathBuf,
    watcher: RecommendedWatcher,
    shared: Arc<Shared>,
}

/// What an event asks for.
enum Look {
    At(PathBuf),
    /// At all that is in the directory.
    Everywhere,
    /// The directory itself is another one.
    Anew,
}

impl Follower {
    fn follow(&mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            // A burst is one look at each file, in the order of the last writes.
            let mut due = Vec::new();
            for message in std::iter::once(first).chain(messages.try_iter()) {
                let Message::Seen(event) = message else { return };
                for look in self.asked_by(event) {
                    self.collect(look, &mut due);
                }
            }
            for path in due {
                consider(&self.shared, &path);
            }
        }
    }

    fn collect(&mut self, look: Look, due: &mut Vec<PathBuf>) {
        match look {
            Look::At(path) => {
                due.retain(|earlier| *earlier != path);
                due.push(path);
            }
            Look::Everywhere => *due = libraries(&self.directory).unwrap_or_default(),
            Look::Anew => {
                let _ = self.watcher.unwatch(&self.directory);
                match self.watcher.watch(&self.directory, RecursiveMode::NonRecursive) {
                    Ok(()) => *due = libraries(&self.directory).unwrap_or_default(),
                    Err(error) => self.disturbed(&error),
                }
            }
        }
    }

    fn asked_by(&self, event: notify::Result<notify::Event>) -> Vec<Look> {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                self.disturbed(&error);
                return vec![Look::Everywhere];
            }
        };
        if event.need_rescan() {
            return vec![Look::Everywhere];
        }
        event.paths.iter().filter_map(|path| self.asked_of(path, event.kind)).collect()
    }

    fn asked_of(&self, path: &Path, kind: Seen) -> Option<Look> {
        let closed = kind == Seen::Access(AccessKind::Close(AccessMode::Write));
        let renamed_in = kind == Seen::Modify(ModifyKind::Name(RenameMode::To));
        let created = matches!(kind, Seen::Create(_));
        if path == self.directory {
            return (created || renamed_in).then_some(Look::Anew);
        }
        if path.parent() != Some(&self.directory) {
            return None;
        }
        let found = path.symlink_metadata().ok()?;
        if !is_library(path) {
            let link = found.is_symlink() && (created || renamed_in);
            return link.then_some(Look::Everywhere);
        }
        // A link is complete when it appears, and nobody closes it. Another new file has one name,
        // and a writer.
        let linked = created && (found.is_symlink() || found.nlink() > 1);
        (closed || renamed_in || linked).then(|| Look::At(path.to_owned()))
    }

    fn disturbed(&self, error: &notify::Error) {
        let _ =
            say!(warn, %error, directory = text::path(&self.directory), "the watch is disturbed");
    }
}

/// How often a file that changes under the reader's hands is read anew.
const LOOKS_MAX: usize = 8;

fn consider(shared: &Shared, path: &Path) {
    for _ in 0..LOOKS_MAX {
        let (began, before) = (Instant::now(), identity(path));
        let refusal = match Candidate::read(path, &shared.bounds, &shared.spare) {
            Ok(candidate) => {
                let (candidate, took) = (Box::new(candidate), began.elapsed());
                // A host that is ending wants no more candidates.
                let _ = shared.send(Command::Update { candidate, by: By::Watcher, took });
                return;
            }
            Err(refusal) => refusal,
        };
        if !is_final(path) {
            return;
        }
        // Last, since a writer that ends before it is asked for is not seen as one.
        if identity(path) == before {
            return shared.refused(&refusal, began.elapsed());
        }
    }
    // Whoever does that goes on, and each time there is an event.
    let _ = say!(debug, path = text::path(path), "it is replaced faster than it is read");
}

/// Is there anything to say of a file that was refused? Not where it is gone, nor where a close is
/// yet to come.
fn is_final(path: &Path) -> bool {
    if !path.exists() {
        let _ = say!(debug, path = text::path(path), "gone before it was read");
        return false;
    }
    let open = writers::is_open_for_writing(path);
    if open {
        let _ = say!(debug, path = text::path(path), "its writer has not closed it yet");
    }
    !open
}
