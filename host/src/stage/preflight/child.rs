//! The child's side: a start of the program that is no service.

use super::entrance::Parent;
use super::{At, Expected, THE_LINE, Task, VARIABLE, Word};
use crate::contracts::Known;
use crate::frames;
use crate::generation::check;
use crate::generation::{Left, Stopped};
use crate::image::Image;
use crate::layout::{self, Sides};
use crate::library::{self, Library, Program, SameProgram, has_foreign_rights, open_familiar};
use crate::refusal::Refusal;
use crate::runtime::{Of, Owner};
use crate::stage::not_started;
use midflight_plugin::rt::Origin;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Resource, Rlimit, Signal, getpgrp, getpid};
use std::io::{self, IoSliceMut, PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// For how long what a plugin leaves running is waited for before the child gives up closing it.
const LEAVING_MAX: Duration = Duration::from_millis(100);
/// As long as a task mostly is, and some more.
const TASK_BYTES: usize = 4 * 1024;
/// How many contracts are compared with themselves while there is nothing to do.
const CONTRACTS_WARMED: usize = 4;
/// Between two looks at that.
const LEAVING_POLL: Duration = Duration::from_micros(200);

/// The first line of a service's `main`: has every candidate opened and closed in a child process
/// before it is opened in this one.
///
/// A plugin's constructors run while it is opened, its destructors while it is closed, and what
/// crashes, exits or hangs there does so to the whole process. With this line the host has this
/// very program started once more for each candidate. There it is opened, its contracts are
/// compared, and it is closed; the service goes on whatever happens to the child, and what happened
/// is a [`Refusal`](crate::Refusal): `preflight_crashed`, `preflight_exited`,
/// `preflight_timed_out`. It costs an update some 0.6 ms
/// ([`docs::performance`](crate::docs::performance)), and a call nothing.
///
/// In an ordinary start it notes that the line is there, and returns. In such a child it does its
/// work and never returns. What stands before it, and constructors of the program itself, run in
/// the child as well: so let it be the first. A `main` without it works as before, with no
/// preflight; [`HostBuilder::preflight`](crate::HostBuilder::preflight) switches it off.
///
/// ```no_run
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     midflight::preflight();
///     let host = midflight::Host::builder().plugins("plugins").start()?;
///     // …
/// #   drop(host);
///     Ok(())
/// }
/// ```
///
/// With an attribute that starts a runtime first (`#[tokio::main]`) the child starts it too. It
/// works; a plain `main` that has the line and then builds the runtime costs the child less.
///
/// # What it covers
/// The plugin's constructors, what the comparison of its contracts runs, and its unloading. Its
/// `start` and its stop run in the child only where the plugin's author says so
/// (`#[plugin(implements(Fees), preflight_start)]`) or the host does
/// ([`HostBuilder::preflight_start`](crate::HostBuilder::preflight_start)): a start may do what is
/// to be done once, and the host's services are not there. A start that crashes without that ends
/// the service. So does whatever a plugin does in its calls.
///
/// The child has the service's environment, arguments and directory, no input, an output that
/// nobody reads, and writes no core file. It ends with the service. It keeps out what is broken,
/// not what is hostile.
///
/// # The child that is kept
/// Most of the time goes into starting the program. From the first switch on the host therefore
/// keeps one child started, for the next candidate; it waits in this line, and holds its start's
/// memory (1 to 3 MiB, most of it shared with the service), a process number, and four descriptors
/// in the service. Before the first switch there is none: a service that is never updated would
/// keep a process for nothing, and what a first update waits for longer are some milliseconds, in
/// which the old version serves. No two candidates share a child. It is thrown away, and another
/// one started, where the service has changed what a child inherits: user, groups, capabilities,
/// seccomp, umask, limits, working directory, root, namespaces, control groups, environment. (What
/// the kernel keeps by thread is taken as the host's own thread has it.) Whoever kills it refuses
/// no update with that. [`HostBuilder::preflight_kept`](crate::HostBuilder::preflight_kept)
/// switches it off.
///
/// # Whom the child obeys
/// Its parent, if that runs the same program, as the same user, with at least its rights. Who
/// starts a program with a socket and a variable of their own gets nothing by it that they could
/// not have without; and a program that has more rights than who starts it (setuid, setgid, file
/// capabilities) obeys nobody: in a service of that kind there is no preflight. The same holds
/// where the service was started through the system's loader, or by another program that loads
/// programs, and can't be started again. [`HostBuilder::start`](crate::HostBuilder::start) then
/// says so once, as a warning, and candidates are opened in the service alone.
pub fn preflight() {
    match Parent::of_this() {
        Some(Ok(parent)) => Flight::new(parent.socket).serve(&parent.handle),
        Some(Err(why)) => {
            // Its parent reads that, if it is ours.
            let _ = writeln!(
                io::stderr(),
                "midflight: {VARIABLE} is set, and this process obeys nobody: {why}"
            );
            die()
        }
        None => {
            let program = match has_foreign_rights() {
                true => {
                    Err("the program has more rights than who started it (setuid, setgid, capabilities): \
                             a child would have to obey whoever starts it"
                        .to_owned())
                }
                false => Program::startable(),
            };
            let _ = THE_LINE.set(program);
        }
    }
}

/// The way of one candidate through this process.
struct Flight {
    socket: UnixStream,
    /// Into which it says where it is, once it has a task.
    places: Option<PipeWriter>,
}

impl Flight {
    fn new(socket: UnixStream) -> Self {
        Flight { socket, places: None }
    }

    fn serve(mut self, parent: &OwnedFd) -> ! {
        // No core file: not 0, since a core that is piped to a program ignores that, but the one
        // limit that the kernel heeds there too.
        let one = Rlimit { current: Some(1), maximum: Some(1) };
        let _ = rustix::process::setrlimit(Resource::Core, one);
        let _ = rustix::thread::set_name(c"midflight-pre");
        let (Ok(socket), Ok(watched)) = (self.socket.try_clone(), self.socket.try_clone()) else {
            die()
        };
        // On such threads as the service's workers: their stacks are smaller than the main
        // thread's. They are there before there is a task.
        let opener = thread::Builder::new()
            .name("midflight-stage".to_owned())
            .spawn(move || Flight::new(socket).open());
        let Ok(opener) = opener else { die() };
        let closer = thread::Builder::new().name("midflight-close".to_owned()).spawn(move || {
            // A panic of ours is no verdict, and nothing to wait for.
            let Ok(opened) = opener.join() else { die() };
            let verdict = opened.map_or_else(
                |word| word,
                |(stopped, places)| {
                    self.places = places;
                    self.close(stopped)
                },
            );
            self.say(&verdict);
            // Nothing of the plugin runs any more, no exit handler either, until the parent kills
            // this process.
            wait();
        });
        if closer.is_err() {
            die();
        }
        end_with(parent, &watched)
    }

    /// Everything up to the end of a thread that has loaded a plugin, which runs what it left in
    /// thread-locals.
    fn open(mut self) -> Result<(Stopped, Option<PipeWriter>), Word> {
        warm_up();
        let mut received = None;
        // The table lies where it is told before it is known whose it is.
        let owner = Owner::placed(|table| {
            self.say(&Word::Ready(table));
            let task = self.task().unwrap_or_else(|word| {
                self.say(&word);
                wait()
            });
            let of = Of {
                generation: task.0.generation,
                plugin: task.0.plugin.as_str().into(),
                version: task.0.version.as_str().into(),
                services: Arc::from([]),
                panic_frames_max: task.0.panic_frames_max,
                host: None,
            };
            received = Some(task);
            of
        });
        let Some((task, image)) = received else { die() };
        let same = task.program.compare().map_err(|other| {
            let served = task.program;
            Word::Unable(format!("it is another program: {other:?}, the service is {served:?}"))
        })?;
        let stopped =
            self.fly(&image, &task, owner, &same).map_err(|refusal| Word::refused(&refusal))?;
        self.at(At::Locals);
        Ok((stopped, self.places))
    }

    /// Waits for the task, and for the image that it speaks of.
    fn task(&mut self) -> Result<(Task, OwnedFd), Word> {
        let Ok((image, task)) = self.receive() else { die() };
        let image = image.ok_or_else(|| Word::Unable("it was given no image".to_owned()))?;
        let task = serde_json::from_slice(&task);
        let task =
            task.map_err(|error| Word::Unable(format!("its task can't be read: {error}")))?;
        Ok((task, image))
    }

    fn receive(&mut self) -> io::Result<(Option<OwnedFd>, Vec<u8>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut first = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut first)], &mut ancillary, flags)?;
        if received.bytes == 0 {
            // The host has no use for it any more.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut along = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                along.extend(descriptors);
            }
        }
        let mut along = along.into_iter();
        let image = along.next();
        self.places = along.next().map(PipeWriter::from);
        let mut task = Vec::with_capacity(TASK_BYTES);
        self.socket.read_to_end(&mut task)?;
        Ok((image, task))
    }

    fn fly(
        &mut self,
        image: &OwnedFd,
        task: &Task,
        owner: Arc<Owner>,
        same: &SameProgram,
    ) -> Result<Stopped, Refusal> {
        midflight_plugin::rt::use_host_panics();
        midflight_plugin::rt::use_symboliser(frames::symbolise);
        let (plugin, version) = (task.plugin.as_str(), task.version.as_str());
        let image = Image::lent(Path::new(&task.image), image, (plugin, version), task.stays)?;
        self.at(At::Constructors);
        open_familiar(&task.familiar);
        // What is mapped stays if it is refused: this process has nothing else to do.
        let library = Library::open(&image, owner.table()).map_err(|(refusal, _)| refusal)?;
        self.at(At::Layouts);
        check(&library, &known(&task.known, same), &known(&task.required, same))?;
        if task.start {
            self.at(At::Start);
            let instance = library
                .start(owner.table(), &task.config)
                .map_err(|reason| not_started(reason, &owner))?;
            self.at(At::Stop);
            owner.revoke();
            let origin = Origin::new(plugin, version, task.generation);
            // A panic in a stop refuses nothing in the service either.
            let _ = library.stop(instance, &origin);
        }
        Ok(Stopped::never_started(library, Left::of(image, owner)))
    }

    /// As the service closes it: when nothing holds it any more. What does so for good, or for
    /// longer than is waited for here, stays mapped in the service too, for a while at least, and
    /// is no reason to refuse it.
    fn close(&mut self, stopped: Stopped) -> Word {
        let began = Instant::now();
        while !stopped.holds().is_empty() {
            if stopped.is_for_good() || began.elapsed() >= LEAVING_MAX {
                std::mem::forget(stopped);
                return Word::Well { closed: false };
            }
            thread::sleep(LEAVING_POLL);
        }
        self.at(At::Close);
        let left = stopped.close();
        let closed = !library::is_loaded(left.image.path());
        std::mem::forget(left);
        Word::Well { closed }
    }

    fn at(&mut self, at: At) {
        // Six bytes fit into any pipe, so that nobody need be reading there.
        let _ = self.places.as_mut().map(|places| places.write_all(&[at as u8]));
    }

    fn say(&mut self, word: &Word) {
        let mut line = serde_json::to_vec(word).unwrap_or_default();
        line.push(b'\n');
        // Nobody to tell is a parent that has ended, and then this ends.
        let _ = self.socket.write_all(&line);
    }
}

/// Walks through the code of a flight, with nothing of a plugin's, while nobody waits for it: pages
/// of a program that was just started are mapped when they are first used.
fn warm_up() {
    for layout in library::first_contracts(CONTRACTS_WARMED) {
        let _ = layout::check("", layout, layout, Sides::HostCalls);
    }
    library::open_familiar_of_this();
    let _ = Image::linked("", "");
    let _ = library::signals_into(Path::new("/nowhere"));
    let _ = library::Maps::now().has(Path::new("/nowhere"));
}

fn known(expected: &[Expected], same: &SameProgram) -> Vec<Known> {
    let known = |expected: &Expected| {
        let layout = expected.number.layout(same)?;
        // For the rest of this process's life.
        let (name, version) = (expected.name.clone().leak(), expected.version.clone().leak());
        Some(Known { name, version, methods: &[], layout })
    };
    expected.iter().filter_map(known).collect()
}

/// Ends this process when its parent has ended, or has closed its end of the socket. Not by a
/// signal of the kernel's at the parent's death: that comes when the *thread* ends which has
/// started this process, and a worker does so soon.
fn end_with(parent: &OwnedFd, socket: &UnixStream) -> ! {
    loop {
        // No event is asked for of the socket: a hang-up is told anyway.
        let mut sources =
            [PollFd::new(parent, PollFlags::IN), PollFd::new(socket, PollFlags::empty())];
        if poll(&mut sources, None).is_ok() {
            die();
        }
    }
}

fn wait() -> ! {
    loop {
        thread::park();
    }
}

/// Without exit handlers: a plugin's could be among them. With what constructors have started,
/// where this process leads a group of its own.
fn die() -> ! {
    if getpgrp() == getpid() {
        let _ = rustix::process::kill_current_process_group(Signal::KILL);
    }
    let _ = rustix::process::kill_process(getpid(), Signal::KILL);
    wait()
}
