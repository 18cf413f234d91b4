//! What runs after a restart, and what is kept for it.
//!
//! # What is not promised
//!
//! - A state that a plugin keeps itself. It ends with the process; what has to outlive it belongs
//!   to the host.
//! - That a disk which acknowledges what it has not written keeps it. What was committed counts
//!   when the disk has said so.
//! - That a journal which somebody has edited means what was committed. Each line has a checksum
//!   against damage, which anybody can make.
//!
//! # What runs
//!
//! Without [`HostBuilder::journal`](crate::HostBuilder::journal) the highest version of each plugin
//! in the directory runs, the later one of equals. With it:
//!
//! 1. **What was committed last comes back**, from the journal's own copy of the library, or from a
//!    file in the plugins' directory that has the same content; with the configuration that was
//!    committed with it; and all plugins of a group with one store. What was on probation does not
//!    come back, and is held if the process died meanwhile.
//! 2. Where that can't be had, since a library is damaged or a start fails, **what was committed
//!    before comes back**, and the event `fell_back` says so for each plugin. Where that can't be
//!    had either, each plugin comes back by itself, so that one keeps no other away. Nothing of it
//!    is written down: the next start tries what was committed last once more.
//! 3. **A file in the plugins' directory that beats what serves is an ordinary update after that**,
//!    with probation and canary as ever. It beats it by its version, and of equal versions by the
//!    time when it was last written. What was decided about before never does: what is held, what
//!    was committed once, what was superseded. Whatever else lies there stays where it lies.
//!
//! A whole directory is looked at again where it was renamed, where a link in it was replaced, or
//! where the system has lost its events. That elects by the same rule. A file that is written or
//! renamed in is an update in any case: somebody has just put it there.
//!
//! # Slots and contracts
//!
//! The journal remembers which contracts the program's slots have got of each plugin. What the next
//! start loads is compared with them before the first slot asks. A version that the first slot of
//! its plugin can't use is refused (`layout_mismatch`, `contract_missing`) and held, and what
//! served before it comes back; where nothing did, the plugin is not loaded. So a service with
//! `host.slot::<dyn Fees>("flat-fees")?` after its start is up whatever lies in its directory.
//!
//! # Configurations
//!
//! What was changed last counts. Where the builder gives another configuration than at the start
//! before, that one is used, and committed. Where it gives the same, what was committed since is
//! used, as [`Host::configure`](crate::Host::configure) or a release file had it, and the event
//! `config_kept` says so. A configuration with which a plugin does not start is refused as ever,
//! and the committed one is used.
//!
//! # Groups
//!
//! A plugin belongs to one committed set, and leaves it when it is committed in another group. A
//! plugin that runs can't change its group (`group_changed`). It does at a start: with
//! [`HostBuilder::group`](crate::HostBuilder::group), or with a file in the plugins' directory that
//! names another group and beats what was committed.
//!
//! # The journal's directory
//!
//! ```text
//! lock                who has it; the lock on it is what counts
//! journal             a line for each decision, with a checksum: for people to read
//! journal.format-1    the journal as a host of an older format left it
//! store/<hash>.so     the libraries that a restart would bring back, or go back to
//! ```
//!
//! It belongs to one host at a time. A host looks for all of it before it writes:
//!
//! - A journal that was removed, moved away, cut or written to is written anew with all that is
//!   true, before the next answer. A tool that rotates logs does no harm.
//! - Another file in its place is not written over, another directory or another lock in the place
//!   of its own is not used: each update is refused with `journal_unavailable`, and the reason says
//!   what to do.
//! - A last line that was cut off never counted. Damage before it is an error of the start that
//!   names the byte; nothing is guessed.
//! - A damaged library in the store takes no room from what is put there, and is written anew when
//!   its version is loaded from anywhere else.
//!
//! # Formats
//!
//! Each host reads the journals of all hosts before it, and writes its own format from its start
//! on. The journal as it was stays beside it, up to 4 MiB. Who goes back to the older host moves
//! that back into its place; what was decided since is forgotten then. A host that finds a newer
//! format than its own does not start, changes nothing, and says that.
//!
//! | format | since | |
//! |---|---|---|
//! | 1 | the first | |
//! | 2 | 0.1 | sets belong to plugins; contracts, configurations of the builder, dates of files |
//!
//! # Bounds
//!
//! | | at most |
//! |---|---|
//! | the journal | 1 MiB, or twice what is still true |
//! | one line of it, with the configurations of a group | 341 KiB, else `journal_unavailable` |
//! | a reason | 512 bytes |
//! | versions of a plugin that are held, or known | 64 each, the latest |
//! | contracts of a plugin | 64 |
//! | plugins that are remembered and not committed | 256 |
//! | the store | [`HostBuilder::store_bytes_max`](crate::HostBuilder::store_bytes_max) |
//! | libraries in memory while a host starts | one |
