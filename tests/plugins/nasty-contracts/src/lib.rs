//! The contracts of the tests of unloading.
//!
//! [`Nasty`] is a plugin that leaves things with threads and with the system; [`Ledger`] is where it says so.

midflight_plugin::contract_crate!();

use midflight_plugin::{contract, record};

/// Something that makes unloading hard. The number that comes with it means what is said here.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Puts a value into a thread-local with a destructor, once a thread; answers how often it was
    /// touched on this one.
    Local,
    /// Asks for the current thread, for which std keeps a handle under a pthread key.
    Current,
    /// A map with random state, a line on standard output, a receive with a timeout.
    Everyday,
    /// A thread that touches the thread-local, and is joined.
    Joined,
    /// A detached thread named `nasty-detached`, which touches the thread-local and ends when the
    /// ledger lets go of the number.
    Detached,
    /// A panic that is caught where it happens.
    CaughtPanic,
    /// A backtrace that is captured and shown.
    Backtrace,
    /// Boxes of 64 KiB that are filled and never freed: as many as the number says.
    Leak,
    /// An exit handler that reads what a static has allocated, and says whether it is still what it
    /// was.
    ExitHandler,
    /// A thread-local whose destructor borrows the other one while it asks the ledger, which calls
    /// back.
    BorrowingDestructor,
    /// A thread-local whose destructor touches the other one for the first time.
    LateLocal,
    /// A thread-local whose destructor starts a thread that touches the other one, and ends when
    /// the ledger lets go of the number.
    LateThread,
    /// A pthread key with a value, whose destructor touches the thread-local for the first time.
    Key,
    /// A pthread key with a value that is taken back before the thread ends.
    KeyTakenBack,
    /// A pthread key that can be deleted and made again, by number: 0 makes it and answers the
    /// system's number, 1 deletes it, 2 puts a value under it on this thread, 3 answers how many
    /// values this thread has there, 4 frees what a deleted key left on this thread.
    KeyAgain,
    /// A value under a pthread key without a destructor, which the destructor of another key looks
    /// for and frees.
    KeyBesideKey,
    /// A handler for SIGUSR1, which counts; answers the count.
    Signal,

    /// What C gives to a thread, by number: 0 a key's value, 1 a C11 key's value.
    CKey,
    /// A C thread that ends by: 0 returning, 1 `pthread_exit`, 2 cancellation, 3 returning (C11), 4
    /// `thrd_exit`.
    CThread,
    /// A `thread_local` of C++ with a destructor, and statics that the linker would make unique;
    /// answers how many were destroyed.
    Cxx,

    /// A sum on rayon's global pool.
    Rayon,
    /// A runtime of tokio's with threads of its own; shut down in stop if the number is 1.
    Tokio,
    /// A query on a database in memory.
    Sqlite,
    /// A match.
    Regex,
    /// Numbers from the thread's own generator.
    Rand,
    /// Locks that threads wait for.
    ParkingLot,
    /// Garbage that is collected later.
    CrossbeamEpoch,
    /// A flag that is set by SIGUSR2, registered and taken back.
    SignalHook,
}

/// The plugin.
#[contract]
pub trait Nasty {
    /// The build that answers: 1 or 2.
    fn build(&self) -> u32;

    /// Does it once; the answer is the deed's own.
    fn commit(&self, deed: Deed, number: u64) -> u64;

    /// Touches the thread-local, asks for the current thread and uses a map, as most calls of a
    /// plugin do.
    fn exercise(&self, number: u64) -> u64;

    /// A call with everything in it: what [`exercise`](Nasty::exercise) does, a line, threads that
    /// are joined and that aren't, a receive with a timeout, a caught panic, an event.
    fn heavy(&self, number: u64) -> u64;

    /// How many values its constructor made, and its threads before `start`.
    fn constructed(&self) -> u64;

    /// A text of `length` that it allocates with its own allocator.
    fn text(&self, length: u32) -> String;
}

/// What the test provides.
#[contract]
pub trait Ledger {
    /// A value with a destructor was made.
    fn made(&self);

    /// It was destroyed; on another thread than it was made on?
    fn destroyed(&self, foreign: bool);

    /// Returns when the test lets `token` go.
    fn wait(&self, token: u64);

    /// Calls the plugin.
    fn call_back(&self);
}
