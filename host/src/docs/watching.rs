//! What is seen of the plugins' directory, when, and what is said of the rest.
//!
//! # What is not promised
//!
//! - What no event tells of is seen by a look, and so up to two
//!   [`look_interval`](crate::HostBuilder::look_interval)s late: what another machine writes to a
//!   network file system, a file that is mounted over another one (a ConfigMap's key by `subPath`),
//!   the lower directory of an overlay, a directory further up that was renamed.
//! - A file that is written in place over a network file system, with pauses longer than the
//!   interval, can be looked into before it is whole. It is refused then, and looked into again
//!   when it has changed. Write a library beside its place and rename it in.
//! - A file whose bytes were changed while its size, its modification time and its inode stayed is
//!   seen by its writer's close alone.
//! - Who closes descriptors that are not its own can close those of the host's watch. It is begun
//!   anew and says so, but a process that does this from several threads at once can have closed
//!   anything.
//!
//! # When a file is looked into
//!
//! | what happens | when |
//! |---|---|
//! | a `*.so` is renamed in, closed by its writer, linked | at once |
//! | a link on the way to the directory or to a file is replaced, or what it leads to is (`plugins -> current/plugins`, `x.so -> ../target/release/libx.so`) | at once |
//! | the directory is removed and made again, or another one is renamed into its place | at once |
//! | a file that could not be read gets other permissions | at once |
//! | anything else that makes a file another one | when two looks in a row have found the same |
//! | [`Host::look`](crate::Host::look) | now: all that has changed, and all that was refused |
//!
//! A file that was looked into and has not changed is left alone: a backup that makes a link of it
//! or a directory that goes and comes back switches nothing.
//!
//! The event [`Watching`](crate::EventKind::Watching) says how the directory is watched, at the
//! start and whenever that changes: by events and looks, or by looks alone and why. Out of inotify
//! instances or watches (`fs.inotify.max_user_instances`, `fs.inotify.max_user_watches`), without a
//! thread for it, or where its descriptors were closed, a host watches by looks, and tries for
//! events again at each of them.
//!
//! # What is refused, and tried again
//!
//! A file that is refused is named in the refusal, its event and the line of the log, with its
//! plugin as soon as that is known. Where somebody still has it open for writing nothing is said,
//! since its close is to come; the open files of the machine are asked for that once for all files
//! of a look, for two seconds at most, and only where something was refused.
//!
//! Where the reason can pass ([`Code::is_passing`](crate::Code::is_passing): a full disk, no
//! descriptor or thread left, a preflight that was late, a journal that can't be written), the file
//! is tried again, after a second, then two, then four, up to ten minutes, until it is in, it is
//! another one, or somebody else has had the last word on its plugin: a newer file, an operator's
//! `apply`, a rollback. No other refusal is tried again.
//!
//! # What is passed over
//!
//! Of several files of one plugin at the start, of the same version too, one is loaded; of each
//! other one an event says which file it was and why
//! ([`PassedOver`](crate::EventKind::PassedOver)). So it does of a name like `libx.so.1`, which is
//! a library and no plugin by its name. What was rolled back is [`Held`](crate::EventKind::Held)
//! when its file comes again, with the reason; [`Host::apply`](crate::Host::apply) lifts that. A
//! directory with no plugin at all is told as well ([`NoPlugins`](crate::EventKind::NoPlugins)).
