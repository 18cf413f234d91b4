//! Refusals: why a candidate did not become a release, in words that an operator can act on.

use crate::text;
use std::fmt;
use std::path::{Path, PathBuf};

/// What stopped an update. Nothing was switched: the release that served before serves on.
///
/// The [`code`](Refusal::code) is stable and for machines; [`reason`](Refusal::reason) and
/// [`advice`](Refusal::advice) are for people. `Debug` writes what `Display` does, since a `main`
/// that returns a refusal has it written by `Debug`.
#[derive(Clone)]
pub struct Refusal(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    reason: String,
    plugin: Option<String>,
    version: Option<String>,
    file: Option<PathBuf>,
}

impl Refusal {
    /// A refusal for `reason`, of no plugin and no file yet. The reason is told as [`text`] tells:
    /// on one line, in 2 KiB at most.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        let reason = text::told(&reason.into());
        Refusal(Box::new(Inner { code, reason, plugin: None, version: None, file: None }))
    }

    /// Names the plugin and the version that were refused.
    pub fn of(mut self, plugin: &str, version: &str) -> Self {
        self.0.plugin = Some(text::name(plugin));
        self.0.version = Some(text::name(version));
        self
    }

    /// Names the plugin that was refused, where no version of it is meant.
    pub fn of_plugin(mut self, plugin: &str) -> Self {
        self.0.plugin = Some(text::name(plugin));
        self
    }

    /// Names the file that they came from.
    pub fn in_file(mut self, file: &Path) -> Self {
        self.0.file = Some(file.to_owned());
        self
    }

    /// The stable code, for scripts and alarms.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The stage at which the candidate was stopped.
    pub fn stage(&self) -> Stage {
        self.0.code.stage()
    }

    /// What was found, with both sides named where two things disagree. On one line of at most 2
    /// KiB: what is not printed is escaped in it, and from the middle of a longer one is left out,
    /// with how much that was.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        self.0.code.advice()
    }

    /// The candidate's plugin, if it got far enough to name one.
    pub fn plugin(&self) -> Option<&str> {
        self.0.plugin.as_deref()
    }

    /// The candidate's version, if it got far enough to name one.
    pub fn version(&self) -> Option<&str> {
        self.0.version.as_deref()
    }

    /// The file that the candidate came from.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }
}

/// Who was refused, why, and what to do. `{:#}` leaves out who: for a text that has named plugin
/// and file already.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if f.alternate() { String::new() } else { self.who() };
        if !who.is_empty() {
            write!(f, "{who}: ")?;
        }
        write!(
            f,
            "refused at {} [{}]: {}; {}",
            self.stage(),
            self.code(),
            self.reason(),
            self.advice()
        )
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Refusal {
    /// `flat-fees 2.0.0 in /srv/plugins/fees.so`, or as much of that as is known.
    fn who(&self) -> String {
        let named = [self.plugin(), self.version()].into_iter().flatten();
        let named: Vec<_> = named.filter(|name| !name.is_empty()).collect();
        match (named.join(" "), self.file().map(text::path)) {
            (named, None) => named,
            (named, Some(file)) if named.is_empty() => file,
            (named, Some(file)) => format!("{named} in {file}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Where on its way from file to release a candidate was stopped.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The file was read, once.
    Read,
    /// Its bytes were looked at as data: headers, sections, needed libraries.
    Inspect,
    /// Its own description was read and compared with this host.
    Manifest,
    /// It asked for a place among the generations of its plugin.
    Admit,
    /// Its private image was written.
    Image,
    /// A child process opened it first.
    Preflight,
    /// The loader mapped it and its constructors ran.
    Load,
    /// The layouts of its contracts were compared with the host's.
    Layout,
    /// Its `start` ran.
    Start,
    /// It was to become part of a release.
    Publish,
    /// It served, and could still be switched out by itself.
    Probation,
}

impl Stage {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Read => "read",
            Stage::Inspect => "inspect",
            Stage::Manifest => "manifest",
            Stage::Admit => "admit",
            Stage::Image => "image",
            Stage::Preflight => "preflight",
            Stage::Load => "load",
            Stage::Layout => "layout",
            Stage::Start => "start",
            Stage::Publish => "publish",
            Stage::Probation => "probation",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident $text:literal at $stage:ident $(($passing:ident))?, $advice:literal; )*) => {
        /// The stable code of a [`Refusal`].
        #[non_exhaustive]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $( $(#[$doc])* $name, )* }

        impl Code {
            /// Every code that this version can give.
            pub const ALL: &'static [Code] = &[$( Code::$name, )*];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $( Code::$name => $text, )* }
            }

            /// The stage that gives it.
            pub fn stage(self) -> Stage {
                match self { $( Code::$name => Stage::$stage, )* }
            }

            /// Is it the moment's fault and not the file's: a disk that is full, a limit that is
            /// reached? The watcher tries such a file again, at growing intervals.
            pub fn is_passing(self) -> bool {
                match self { $( Code::$name => !stringify!($($passing)?).is_empty(), )* }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $( Code::$name => $advice, )* }
            }
        }
    };
}

// `(passing)`: it is the moment's fault. Not so a start or a load that was late: each try leaves a
// thread behind.
codes! {
    /// The file could not be opened or read.
    FileUnreadable "file_unreadable" at Read (passing), "check that the file exists and that this process may read it";
    /// A directory, FIFO, socket or device.
    NotAFile "not_a_file" at Read, "give the path of a regular file";
    /// A file of no bytes.
    FileEmpty "file_empty" at Read, "copy the library again; write it beside its place and rename it in";
    /// More bytes than `library_bytes_max`.
    LibraryTooLarge "library_too_large" at Read, "strip the library, or raise library_bytes_max";
    /// Somebody wrote to the file while it was read.
    FileChanged "file_changed" at Read (passing), "write the library beside its place and rename it in";

    /// Its stamp, or its hash, is not that of the file that was stamped.
    FileDamaged "file_damaged" at Inspect, "copy the library again, or build it again; if a tool changed it on purpose, run `midflight stamp` on it after that tool";
    /// It has no stamp, and the host loads none without.
    NotStamped "not_stamped" at Inspect, "run `midflight stamp` on the library as the last step of its build, or start the host without stamps_required";
    /// No ELF file at all.
    NotElf "not_elf" at Inspect, "give a shared library built with crate-type cdylib";
    /// 32-bit, or big-endian.
    WrongClass "wrong_class" at Inspect, "build the plugin for the host's target";
    /// Made for another machine.
    WrongMachine "wrong_machine" at Inspect, "build the plugin for the host's target";
    /// An executable, an object file, a core dump.
    WrongFileType "wrong_file_type" at Inspect, "build the plugin with crate-type cdylib";
    /// A header or section lies outside the file.
    FileTruncated "file_truncated" at Inspect, "the copy is incomplete: copy the library again and rename it into place";
    /// Headers that contradict each other or the loader's rules.
    HeadersInconsistent "headers_inconsistent" at Inspect, "the file is damaged or edited: build or copy it again";
    /// It would make all stacks of the process executable.
    StackExecutable "stack_executable" at Inspect, "link the plugin with -z noexecstack, or give its assembly a section .note.GNU-stack";
    /// Each thread that enters it would get more, or more strictly aligned, thread-locals than a
    /// host gives.
    TlsTooLarge "tls_too_large" at Inspect, "keep large thread-locals on the heap: thread_local! { static BUFFER: Vec<u8> }";
    /// A library that it needs is named by a path.
    NeededPath "needed_path" at Inspect, "link that library by its name (-l), and give it a soname without a slash";
    /// RPATH or RUNPATH is set.
    RunpathSet "runpath_set" at Inspect, "link the plugin without -rpath";
    /// Needs libstd as a shared library.
    SharedLibstd "shared_libstd" at Inspect, "build the plugin without -C prefer-dynamic";

    /// A sound library, but not a plugin of ours.
    NotAPlugin "not_a_plugin" at Manifest, "a plugin's cdylib has one line: midflight_plugin::export!(…)";
    /// The note is there and can't be read.
    ManifestInvalid "manifest_invalid" at Manifest, "build the plugin again with a released midflight-plugin";
    /// The note's format is another one than this host's.
    FormatUnsupported "format_unsupported" at Manifest, "build host and plugin with compatible versions of midflight and midflight-plugin";
    /// Built with `panic = "abort"`.
    PanicAbort "panic_abort" at Manifest, "build the plugin with panic = \"unwind\": an abort would take the host with it";
    /// The manifest names another target than the host's.
    WrongTarget "wrong_target" at Manifest, "build the plugin for the host's target";
    /// Built with `-C target-cpu` or `-C target-feature` for a CPU that this machine has not.
    CpuFeaturesMissing "cpu_features_missing" at Manifest, "build the plugin without -C target-cpu, or for the least CPU that it is to run on";
    /// The entry or the place of the host's table is missing.
    EntryMissing "entry_missing" at Manifest, "export!(…) must stand in the cdylib crate itself, and its symbols must stay exported";

    /// It takes a function from the C library that the plugin's runtime must stand for.
    HookEscaped "hook_escaped" at Manifest, "export!(…) must stand in the cdylib crate itself, and nothing may be linked that hides its symbols";
    /// It takes something from the C library that no plugin may, since it would lead into the
    /// plugin when that is gone.
    ImportForbidden "import_forbidden" at Manifest, "leave it out, or do it in the host; the chapter on unloading says what stands for it";
    /// It exports a name that the process has already: the plugin's own definition would never run.
    ExportTaken "export_taken" at Load, "give it another name, drop #[no_mangle], or link the host without --export-dynamic";

    /// Its thread-locals must lie in the static TLS block, of which a process has some hundred
    /// bytes left, and which is not given back in order.
    StaticTls "static_tls" at Inspect, "build what uses initial-exec TLS with another model: mimalloc's feature local_dynamic_tls, jemalloc's disable_initial_exec_tls, -ftls-model=global-dynamic for C";

    /// `generations_max` of the plugin are in memory already.
    TooManyGenerations "too_many_generations" at Admit (passing), "end what holds the old generations (see status), or raise generations_max";
    /// The process has almost as many mappings as it may have.
    TooManyMappings "too_many_mappings" at Admit (passing), "raise vm.max_map_count (sysctl -w vm.max_map_count=262144), or look in /proc/<pid>/maps for what maps so much";
    /// The version names another group than the one that runs.
    GroupChanged "group_changed" at Admit, "keep the plugin's group, or start the host again: with this file in its plugins' directory, or with HostBuilder::group";
    /// The plugin of that name is linked into the host.
    LinkedIn "linked_in" at Admit, "build the host without it to load it from files";
    /// The host is shutting down.
    ShuttingDown "shutting_down" at Admit, "start the host again";
    /// A newer candidate of the same plugin came first.
    Superseded "superseded" at Admit, "nothing: the newer file is being applied";
    /// No plugin of that name serves.
    UnknownPlugin "unknown_plugin" at Admit, "check the name, or apply its file first";
    /// It is not one that the host waits for in vain.
    NotStalled "not_stalled" at Admit, "only a drain that has been reported as stalled can be given up: see status";
    /// Nothing of the plugin is on its way or on probation.
    NothingToCancel "nothing_to_cancel" at Admit, "what is committed can be rolled back";
    /// Another update of the group is under way, and the caller would not wait.
    Busy "busy" at Admit, "try again later, or wait with apply";
    /// Asked from inside of a call of the group whose state would have to be handed over: that
    /// waits for the call to end.
    InsideCall "inside_call" at Admit, "ask when the call has returned, or on a thread that it does not wait for";
    /// The release file can't be read, or names what can't be.
    ReleaseInvalid "release_invalid" at Read, "correct the release file";
    /// There is no earlier good version to go back to.
    NothingToRollBack "nothing_to_roll_back" at Admit, "apply the file that you want";

    /// The private image could not be written or read back.
    ImageUnwritable "image_unwritable" at Image (passing), "check the run directory and its permissions";
    /// The private image of what is to be loaded again is gone or was changed.
    ImageLost "image_lost" at Image, "apply the library's file again; a host with a journal has a copy of its own";
    /// Others can rename what is on the way to the run directory.
    RunDirectoryUnsafe "run_directory_unsafe" at Image (passing), "give the host a run_directory below directories that only root and this user can write to";
    /// The run directory's file system, or this user's share in it, is full.
    DiskFull "disk_full" at Image (passing), "make room where the run directory is, or give the host another run_directory";
    /// The run directory's file system has become read-only.
    RunDirectoryReadOnly "run_directory_read_only" at Image (passing), "mount it writable, or give the host another run_directory";
    /// The run directory's file system forbids running code.
    RunDirectoryNoexec "run_directory_noexec" at Load (passing), "mount it without noexec, or give the host another run_directory";

    /// The child process that opened it died of a signal.
    PreflightCrashed "preflight_crashed" at Preflight, "it would have taken the service with it: run the plugin's own tests under a debugger, its constructors first";
    /// The child process that opened it exited before it had a verdict.
    PreflightExited "preflight_exited" at Preflight, "it would have ended the service: look for an exit in what the reason names";
    /// The child process that opened it had no verdict within the deadline, and was killed.
    PreflightTimedOut "preflight_timed_out" at Preflight (passing), "look for what blocks in what the reason names, or raise preflight_deadline";
    /// No child process could be started, or it could not try.
    PreflightUnavailable "preflight_unavailable" at Preflight (passing), "check the limits on processes, that /proc is mounted, and that midflight::preflight() is the first line of main; HostBuilder::preflight(false) does without";

    /// The loader said no.
    LoadFailed "load_failed" at Load, "the reason is the dynamic loader's own: check the libraries that the plugin needs";
    /// No thread could be started for it.
    ThreadUnavailable "thread_unavailable" at Load (passing), "check the limits on threads and memory of this process";
    /// A constructor did not return within the deadline.
    LoadTimedOut "load_timed_out" at Load, "look for a constructor that blocks; the thread is left behind and counted";
    /// What the loader mapped is not what was written.
    WrongImage "wrong_image" at Load, "restart the host and report this: another library answered under the image's name";
    /// The library's entry disagrees with its manifest.
    EntryInvalid "entry_invalid" at Load, "build the plugin again with a released midflight-plugin";

    /// A contract's table or a type in it differs between host and plugin.
    LayoutMismatch "layout_mismatch" at Layout, "build the plugin against the contract crate that the host uses";
    /// A contract that the host uses is not offered any more.
    ContractMissing "contract_missing" at Layout, "implement the contract, or restart the host without it";

    /// `start` asked for a service of the host's with another layout than the host's.
    ServiceMismatch "service_mismatch" at Start,
        "build the plugin against the contract crate that the host uses for its service";
    /// `start` asked for a service that the host does not provide.
    ServiceMissing "service_missing" at Start,
        "provide the service in the host, or build the plugin without it";
    /// `start` returned an error.
    StartFailed "start_failed" at Start, "the reason is the plugin's own";
    /// `start` panicked.
    StartPanicked "start_panicked" at Start, "the reason is the plugin's own panic";
    /// `start` did not return within the deadline.
    StartTimedOut "start_timed_out" at Start, "the thread is left behind and counted; fix the start, or raise start_deadline";

    /// `before_switch` returned an error or panicked.
    SwitchRefused "switch_refused" at Publish, "the reason is the plugin's own";
    /// `after_switch` returned an error, panicked or did not return: what served before serves
    /// again.
    AfterSwitchFailed "after_switch_failed" at Publish, "the version was switched out again and is held; apply one that is fixed";
    /// What serves keeps a state that this version can't take over.
    StateIncompatible "state_incompatible" at Publish, "give the version a migration from the schema of the state that serves";
    /// The state could not be saved or restored.
    HandoverFailed "handover_failed" at Publish, "the reason is the plugin's own; the state is as it was";
    /// Calls or leases held what serves for longer than `handover_wait_max`, or the hand-over took
    /// that long.
    HandoverTimedOut "handover_timed_out" at Publish (passing), "try again when no call or lease lasts that long, or raise handover_wait_max";
    /// The journal or the store can't be written: what can't be remembered is not switched in.
    JournalUnavailable "journal_unavailable" at Publish (passing), "the reason names the file and what to do";
    /// Its group has a canary, and a state that goes from version to version, which can't be in
    /// two.
    CanaryWithState "canary_with_state" at Publish, "keep the state in the host, or start the host without a canary for this group";
    /// Another plugin of the same release was refused.
    ReleaseRefused "release_refused" at Publish, "a release is applied whole or not at all: see the plugin that was refused";
    /// An operator cancelled it.
    Cancelled "cancelled" at Publish, "apply it again when you want it";
    /// A health check failed on probation or in a canary: what served before serves again.
    Unhealthy "unhealthy" at Probation, "the version was switched out again and is held; apply one that is fixed";
    /// More calls panicked or returned errors than they may on probation or in a canary, or they
    /// took longer: what served before serves again.
    BudgetExceeded "budget_exceeded" at Probation, "the version was switched out again and is held; apply one that is fixed, or raise panics_max, errors_max or latency_max";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w07_a_refusal_names_plugin_and_file_and_says_them_once() {
        let check = |refusal: Refusal, expected: &str| assert_eq!(refusal.to_string(), expected);
        let plain = || Refusal::new(Code::FileEmpty, "the file has no bytes");
        let rest = format!(
            "refused at read [file_empty]: the file has no bytes; {}",
            Code::FileEmpty.advice()
        );
        let file = Path::new("/srv/plugins/fees.so");
        check(plain(), &rest);
        check(plain().in_file(file), &format!("/srv/plugins/fees.so: {rest}"));
        check(plain().of_plugin("fees"), &format!("fees: {rest}"));
        check(plain().of("fees", "2.0.0"), &format!("fees 2.0.0: {rest}"));
        let whole = plain().of("fees", "2.0.0").in_file(file);
        assert_eq!(format!("{whole:#}"), rest);
        check(whole, &format!("fees 2.0.0 in /srv/plugins/fees.so: {rest}"));
    }

    /// What a retry can't mend, or what each try makes worse, is not passing.
    #[test]
    fn w05_what_passes_is_a_property_of_the_code() {
        let passing: Vec<_> = Code::ALL.iter().filter(|code| code.is_passing()).collect();
        assert!(passing.contains(&&Code::DiskFull) && passing.contains(&&Code::FileUnreadable));
        for lasting in [Code::NotElf, Code::StartTimedOut, Code::LoadTimedOut, Code::Unhealthy] {
            assert!(!lasting.is_passing(), "{lasting}");
        }
    }
}
