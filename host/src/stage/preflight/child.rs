//! The child's side: a start of the program that is no service.

use super::{At, Expected, THE_LINE, Task, VARIABLE, Word};
use crate::frames;
use crate::library::{Library, Program, SameProgram, open_familiar};
use crate::refusal::Refusal;
use crate::release::Known;
use crate::runtime::Owner;
use crate::stage::check;
use crate::stage::image::Image;
use midflight_plugin::rt::Origin;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Weak};

/// The first line of a service's `main`: has every candidate opened in a child process before it is opened in this one.
///
/// A plugin's constructors run while it is opened, and what crashes, exits or hangs there does so to the whole process. With this line the host
/// starts this very program once more for each candidate, and has it opened and its contracts compared there; the service goes
/// on whatever happens to the child, and what happened is a [`Refusal`](crate::Refusal): `preflight_crashed`,
/// `preflight_exited`, `preflight_timed_out`. It costs a few milliseconds an update, and nothing a call.
///
/// In an ordinary start it notes that the line is there, and returns. In such a child it does its work and never returns. What stands before it, and
/// constructors of the program itself, run in the child as well: so let it be the first. A `main` without it works as before, with no preflight;
/// [`HostBuilder::preflight`](crate::HostBuilder::preflight) switches it off.
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
/// With an attribute that starts a runtime first (`#[tokio::main]`) the child starts it too. It works; a plain `main` that has the line and then
/// builds the runtime costs the child less.
///
/// The plugin's `start` runs in the child only where its author says so, since it may do what is to be done once, and the host's services
/// are not there: `#[plugin(implements(Fees), preflight_start)]`. The instance is dropped there at once.
///
/// The child has the service's environment, arguments and directory, no input, an output that nobody reads, and writes no core file. It ends with
/// the service. It keeps out what is broken, not what is hostile.
pub fn preflight() {
    match Parent::of_this() {
        Some(parent) => parent.serve(),
        None => {
            // Without /proc there is no preflight either.
            if let Ok(program) = Program::this() {
                let _ = THE_LINE.set(program);
            }
        }
    }
}

/// The service that waits for this child's verdict.
struct Parent {
    socket: UnixStream,
}

impl Parent {
    /// `None` in an ordinary start. The variable alone may have been inherited, by what a constructor starts; a socket alone is what a
    /// super-server gives. Together, and with the very number of who made the socket, they come from `Preflight::begin`.
    fn of_this() -> Option<Parent> {
        let said: i32 = std::env::var(VARIABLE).ok()?.parse().ok()?;
        let stdin = io::stdin();
        let peer = rustix::net::sockopt::socket_peercred(&stdin).ok()?.pid;
        if Pid::from_raw(said) != Some(peer) {
            return None;
        }
        // Before the look at the parent: one that ends later is noticed, one that ended earlier is seen.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        if rustix::process::getppid() != Some(peer) {
            die();
        }
        // Away from where constructors read, and from what they start.
        let socket = rustix::io::fcntl_dupfd_cloexec(&stdin, 3).ok();
        let null = std::fs::File::open("/dev/null").ok();
        let (Some(socket), Some(null)) = (socket, null) else { die() };
        if rustix::stdio::dup2_stdin(&null).is_err() {
            die();
        }
        Some(Parent { socket: socket.into() })
    }

    fn serve(mut self) -> ! {
        // No core file: not 0, since a core that is piped to a program ignores that, but the one limit that the kernel heeds there too.
        let one = Rlimit { current: Some(1), maximum: Some(1) };
        let _ = rustix::process::setrlimit(Resource::Core, one);
        let _ = rustix::thread::set_name(c"midflight-pre");
        let mut task = Vec::new();
        if self.socket.read_to_end(&mut task).is_err() {
            die();
        }
        // On such a thread as the service's worker: its stack is smaller than the main thread's.
        let body = move || {
            let verdict = self.judge(&task);
            self.say(&verdict);
            // Nothing of the plugin runs any more, no exit handler either, until the parent kills this process.
            wait();
        };
        match std::thread::Builder::new().name("midflight-stage".to_owned()).spawn(body) {
            // It never returns: a panic of ours is no verdict, and nothing to wait for.
            Ok(worker) => {
                let _ = worker.join();
                die()
            }
            Err(_) => die(),
        }
    }

    fn judge(&mut self, task: &[u8]) -> Word {
        let task: Task = match serde_json::from_slice(task) {
            Ok(task) => task,
            Err(error) => return Word::Unable(format!("its task can't be read: {error}")),
        };
        let same = match task.program.compare() {
            Ok(same) => same,
            Err(other) => {
                let served = task.program;
                return Word::Unable(format!("it is another program: {other:?}, the service is {served:?}"));
            }
        };
        match self.fly(&task, &same) {
            Ok(()) => Word::Well,
            Err(refusal) => Word::refused(&refusal),
        }
    }

    fn fly(&mut self, task: &Task, same: &SameProgram) -> Result<(), Refusal> {
        midflight_plugin::rt::use_host_panics();
        midflight_plugin::rt::use_symboliser(frames::symbolise);
        let (plugin, version): (Arc<str>, Arc<str>) =
            (task.plugin.as_str().into(), task.version.as_str().into());
        let services = Arc::from([]);
        let owner = Owner::new(
            task.generation,
            Arc::clone(&plugin),
            Arc::clone(&version),
            services,
            task.panic_frames_max,
            Weak::new(),
        );
        let image = Image::copied(
            Path::new(&task.image),
            Path::new(&task.directory),
            (&plugin, &version),
            task.table_offset,
            owner.table(),
        )?;
        let image = Arc::new(image);
        self.at(At::Constructors);
        // What is mapped stays: this process has nothing else to do.
        open_familiar(&task.familiar);
        let library = Library::open(&image, owner.table()).map_err(|(refusal, _)| refusal)?;
        self.at(At::Layouts);
        check(&library, &known(&task.known, same), &known(&task.required, same))?;
        if task.start {
            self.at(At::Start);
            let instance = library.start(owner.table(), &task.config).map_err(|reason| reason.refusal())?;
            self.at(At::Stop);
            let origin = Origin::new(&plugin, &version, task.generation);
            // A panic in a stop refuses nothing in the service either.
            let _ = library.stop(instance, &origin);
        }
        std::mem::forget((owner, image));
        Ok(())
    }

    fn at(&mut self, at: At) {
        self.say(&Word::At(at));
    }

    fn say(&mut self, word: &Word) {
        let mut line = serde_json::to_vec(word).unwrap_or_default();
        line.push(b'\n');
        // Nobody to tell is a parent that has ended, and then this ends.
        let _ = self.socket.write_all(&line);
    }
}

fn known(expected: &[Expected], same: &SameProgram) -> Vec<Known> {
    let known = |expected: &Expected| {
        let layout = expected.layout.layout(same)?;
        // For the rest of this process's life.
        let (name, version) = (expected.name.clone().leak(), expected.version.clone().leak());
        Some(Known { name, version, methods: &[], layout })
    };
    expected.iter().filter_map(known).collect()
}

fn wait() -> ! {
    loop {
        std::thread::park();
    }
}

/// Without exit handlers: a plugin's could be among them.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    wait()
}
