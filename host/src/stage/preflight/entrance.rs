//! The entrance: is this start of the program a preflight's, and whom does it obey?
//!
//! Anybody can start a program with a socket as its stdin and any environment, and a program that
//! did what it is told there would run their code. Where the program is setuid it would do so as
//! its owner. So the child takes nothing for granted:
//!
//! | what | shuts out |
//! |---|---|
//! | `AT_SECURE` is not set | who starts a program that has more rights than they have: setuid, setgid, file capabilities |
//! | the environment names the maker of the socket, which is this process's parent | a variable that was inherited, a socket of a super-server's |
//! | the socket was made by this process's user and group | a helper between the two that changes the user, as `sudo` does |
//! | this process has no user, group or capability that its parent hasn't | a parent that has given up rights which an exec gives back |
//! | its parent runs the same file | another program of the same user's |
//!
//! What is left is a process of the same user with at least the same rights, and that can do by
//! itself whatever it could have done here. It is no boundary, then, but the last row still holds
//! wherever `/proc` lets a child look at its parent.
//!
//! A start that looks like a preflight's and is not as it should be ends at once. It is nothing
//! that happens by accident, and must be no second service.

use super::VARIABLE;
use super::circumstances::Rights;
use crate::library::{Maker, Program, close_inherited, has_foreign_rights};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// The service that waits for this child's verdict, and has been found to be what it says.
pub(super) struct Parent {
    /// No other process has its other end.
    pub(super) socket: UnixStream,
    /// Readable once the parent has ended.
    pub(super) handle: OwnedFd,
}

impl Parent {
    /// `None` in an ordinary start.
    ///
    /// # Errors
    /// Somebody wants a preflight, and must not have it.
    pub(super) fn of_this() -> Option<Result<Parent, String>> {
        let said: i32 = std::env::var(VARIABLE).ok()?.parse().ok()?;
        let maker = Maker::of(io::stdin())?;
        let process = maker.process.filter(|process| process.as_raw_nonzero().get() == said)?;
        Some(Parent::proven(process, &maker))
    }

    fn proven(process: Pid, maker: &Maker) -> Result<Parent, String> {
        if has_foreign_rights() {
            return Err("this program has rights of its own, and obeys nobody".to_owned());
        }
        let no_parent = |error| format!("its parent can't be found: {error}");
        // First the handle, then the look: one that has ended before is seen here, one that ends
        // later is seen there.
        let handle = pidfd_open(process, PidfdFlags::empty()).map_err(no_parent)?;
        if getppid() != Some(process) {
            return Err("the socket at its stdin is not its parent's".to_owned());
        }
        have_equal_rights(process, maker)?;
        runs_the_same(process)?;
        close_inherited();
        let socket =
            socket_from_stdin().map_err(|error| format!("its socket can't be used: {error}"))?;
        Ok(Parent { socket, handle })
    }
}

fn have_equal_rights(parent: Pid, maker: &Maker) -> Result<(), String> {
    let own = Rights::of_this().map_err(|error| format!("its rights can't be told: {error}"))?;
    if !own.are_of(maker.user, maker.group) {
        return Err("the socket at its stdin was made by another user".to_owned());
    }
    match Rights::of(parent) {
        Ok(parent) if own.are_within(&parent) => Ok(()),
        Ok(_) => Err("it has rights that its parent hasn't".to_owned()),
        // /proc may hide a parent that has changed its user. Who has that user can do all that this
        // process can.
        Err(_) if own.are_ordinary() => Ok(()),
        Err(error) => Err(format!("its parent's rights can't be told: {error}")),
    }
}

fn runs_the_same(parent: Pid) -> Result<(), String> {
    let own = Program::this().map_err(|error| format!("its own program can't be told: {error}"))?;
    match Program::of(parent) {
        Ok(program) if program == own => Ok(()),
        Ok(_) => Err("its parent runs another program".to_owned()),
        // The kernel shows that to nobody of a parent that has changed its user, or that has rights
        // which this process hasn't.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(format!("its parent's program can't be told: {error}")),
    }
}

/// Away from where constructors read, and from what they start.
fn socket_from_stdin() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(socket.into())
}
