//! The child as a process: started, told, waited for.

use super::VARIABLE;
use crate::library::THIS;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open,
    waitid,
};
use std::io::{self, IoSlice, PipeReader, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, Command, Stdio};
use std::time::Duration;

/// A start of this program that waits for a task, and for nothing else. Dropping it ends it.
pub(super) struct Child {
    pub(super) process: Process,
    /// `None` once the child has closed it.
    pub(super) socket: Option<UnixStream>,
    pub(super) stderr: Option<ChildStderr>,
    /// Where it says which of the plugin's code it is about to run.
    pub(super) places: Option<PipeReader>,
}

impl Child {
    pub(super) fn start() -> io::Result<Child> {
        let (socket, theirs) = UnixStream::pair()?;
        let (process, stderr) = Process::start(theirs)?;
        socket.set_nonblocking(true)?;
        Ok(Child { process, socket: Some(socket), stderr: Some(stderr), places: None })
    }

    /// Gives it its task, and the image that the task speaks of. A child that can't be told has
    /// ended, or hangs: that is seen when it is listened to.
    pub(super) fn tell(&mut self, task: &[u8], image: impl AsFd, at_most: Duration) {
        let Ok((places, place)) = io::pipe() else {
            // It ends when nobody is at the other end.
            self.socket = None;
            return;
        };
        let Some(socket) = &mut self.socket else { return };
        let _ = rustix::io::ioctl_fionbio(&places, true);
        self.places = Some(places);
        let _ = socket.set_nonblocking(false);
        let _ = socket.set_write_timeout(Some(at_most));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let along = [image.as_fd(), place.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&along));
        // What is sent along goes with a first byte, which says nothing.
        let sent = sendmsg(&*socket, &[IoSlice::new(b" ")], &mut ancillary, SendFlags::NOSIGNAL);
        if sent.is_ok() {
            let _ = socket.write_all(task).and_then(|()| socket.shutdown(Shutdown::Write));
        }
        let _ = socket.set_nonblocking(true);
    }

    /// Waits until there is something to hear. True: the child has ended, and whatever it said is
    /// there.
    pub(super) fn listen(&self, at_most: Duration) -> bool {
        let mut sources = vec![PollFd::new(&self.process.handle, PollFlags::IN)];
        sources.extend(self.socket.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        sources.extend(self.stderr.iter().map(|stderr| PollFd::new(stderr, PollFlags::IN)));
        let at_most = Timespec::try_from(at_most).ok();
        // An interruption is an early look.
        let _ = poll(&mut sources, at_most.as_ref());
        !sources[0].revents().is_empty()
    }

    pub(super) fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(&self.process.handle, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut ended, Some(&now)) != Ok(0)
    }
}

/// The child, until it was waited for. Nobody else's children are touched, and nothing that the
/// service does about SIGCHLD.
pub(super) struct Process {
    pub(super) pid: Pid,
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
        // No step between fork and exec: std takes posix_spawn, which is sound in a process of many
        // threads, and quick in a large one.
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
            // Where SIGCHLD is ignored a number is free at once. Then this is no child of ours, or
            // none.
            waitid(
                WaitId::PidFd(handle.as_fd()),
                EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
            )?;
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
    pub(super) fn end(&mut self) -> Option<WaitIdStatus> {
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

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

const EXITED: WaitIdOptions = WaitIdOptions::EXITED;
