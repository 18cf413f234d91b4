//! Fixtures: the libraries that the tests load.
//!
//! They are real builds, and a dozen of them. A build for each test, or for each run, would cost
//! more than all tests; a build that is checked in would prove nothing about today's macros. So
//! they are built when one is asked for and something that they are made of has changed, into a
//! directory that is named after the digest of it all. Tests run in many processes (cargo nextest,
//! children of tests): the first holds a lock, the others find the directory.

use crate::child::FIXTURES;
use cargo_metadata::{Message, TargetKind};
use midflight_inspect::stamp_file;
use midflight_plugin::rt::TARGET;
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A library to load: builds of the plugin `probe`, and what is like one but isn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixture {
    /// `probe` 1.0.0.
    V1,
    /// `probe` 2.0.0.
    V2,
    /// `probe` 3.0.0.
    V3,
    /// `probe` 2.0.0, whose author names the group `billing`.
    Grouped,
    /// `other` 1.0.0: a second plugin, of the same contracts.
    Other,
    /// `other` 2.0.0.
    OtherV2,
    /// `probe` 2.0.0 with a constructor that does what it is told.
    Constructor,
    /// `alone` 1.0.0: it needs nothing of its host, and does what it is told in its start.
    Alone,
    /// `alone` 2.0.0, whose start may run in a preflight.
    AlonePreflighted,
    /// `probe` 2.0.0, linked as it was done long ago: one hash table of the old kind, calls bound
    /// late, no part read-only after that, no build id, and its own names for itself.
    LinkedOld,
    /// `probe` 2.0.0, linked as it may be done tomorrow: packed relocations, and large pages.
    LinkedNew,
    /// A field of a record has another type of the same size.
    ChangedField,
    /// The fields of a record stand in another order.
    ReorderedFields,
    /// An enum has one variant more.
    ExtraVariant,
    /// A contract has one method less.
    MissingMethod,
    /// A contract is not implemented any more.
    MissingContract,
    /// A method takes other arguments.
    ChangedSignature,
    /// A method of the service that it uses takes another type.
    ChangedService,
    /// Built against version 0.2.0 of the contracts.
    NextContracts,
    /// `evolving` 1.1.0: against the evolving contracts as the tests link them.
    Evolving,
    /// `evolving` 1.0.0: against those of before.
    EvolvingOlder,
    /// `evolving` 1.2.0: against those of after.
    EvolvingNewer,
    /// A sound shared library, but no plugin; its constructor leaves a mark.
    NoPlugin,
    /// `nasty` 1.0.0: it does everything that makes unloading hard.
    Nasty,
    /// `nasty` 2.0.0.
    NastyV2,
    /// Its constructor uses thread-locals and threads.
    NastyConstructor,
    /// The same, past the plugin's runtime.
    NastyWithoutHooks,
    /// With objects of C and C++.
    NastyNative,
    /// Linked so that the loader would never unmap it.
    NastyNodelete,
    /// Needs libstdc++ as a shared library.
    NastySharedCxx,
    /// Needs a shared library of libstd's name.
    NastySharedLibstd,
    /// Uses thread-locals of the initial-exec model.
    NastyStaticTls,
    /// Its global allocator is mimalloc.
    NastyMimalloc,
    /// As `NastyMimalloc`, inside of a `Reclaimed`.
    NastyMimallocReclaimed,
    /// With crates of others that leave things behind.
    NastyCrates,
    /// `awaiting` 1.0.0: its calls wait for the host.
    Awaiting,
    /// `awaiting` 2.0.0.
    AwaitingV2,
    /// `handing` 1.0.0: it hands out objects and leaves callbacks.
    Handing,
    /// `handing` 2.0.0.
    HandingV2,
    /// Its start fails, after it has left a callback.
    HandingFails,
    /// `keeping` 1.0.0: it keeps a state, in schema 1.
    Keeping,
    /// `keeping` 2.0.0, in schema 2.
    KeepingV2,
    /// `keeping` 3.0.0, in schema 2 as well.
    KeepingV3,
    /// `keeping` 2.0.1, in schema 2, with no way from schema 1 or to it.
    KeepingStuck,
    /// `keeping-other` 1.0.0: another plugin like `keeping`.
    KeepingOther,
    /// `keeping-other` 2.0.0.
    KeepingOtherV2,
    /// `reaching` 1.0.0: it reaches for the C library past std.
    Reaching,
    /// `reaching` 2.0.0.
    ReachingV2,
    /// `reaching` 2.0.0, which exports a function.
    ReachingExports,
    /// Its hooks look at another place than the one that the host finds.
    ReachingMisplaced,
    /// It imports what no plugin may.
    ReachingForbidden,
    /// `speaking` 1.0.0: it logs and panics as it is told.
    Speaking,
}

/// How one is built.
#[derive(Debug, Hash)]
struct Recipe {
    workspace: &'static str,
    package: &'static str,
    features: &'static str,
}

impl Fixture {
    /// Every one.
    pub const ALL: [Fixture; 52] = [
        Fixture::V1,
        Fixture::V2,
        Fixture::V3,
        Fixture::Grouped,
        Fixture::Other,
        Fixture::OtherV2,
        Fixture::Constructor,
        Fixture::Alone,
        Fixture::AlonePreflighted,
        Fixture::LinkedOld,
        Fixture::LinkedNew,
        Fixture::ChangedField,
        Fixture::ReorderedFields,
        Fixture::ExtraVariant,
        Fixture::MissingMethod,
        Fixture::MissingContract,
        Fixture::ChangedSignature,
        Fixture::ChangedService,
        Fixture::NextContracts,
        Fixture::Evolving,
        Fixture::EvolvingOlder,
        Fixture::EvolvingNewer,
        Fixture::NoPlugin,
        Fixture::Nasty,
        Fixture::NastyV2,
        Fixture::NastyConstructor,
        Fixture::NastyWithoutHooks,
        Fixture::NastyNative,
        Fixture::NastyNodelete,
        Fixture::NastySharedCxx,
        Fixture::NastySharedLibstd,
        Fixture::NastyStaticTls,
        Fixture::NastyMimalloc,
        Fixture::NastyMimallocReclaimed,
        Fixture::NastyCrates,
        Fixture::Awaiting,
        Fixture::AwaitingV2,
        Fixture::Handing,
        Fixture::HandingV2,
        Fixture::HandingFails,
        Fixture::Keeping,
        Fixture::KeepingV2,
        Fixture::KeepingV3,
        Fixture::KeepingStuck,
        Fixture::KeepingOther,
        Fixture::KeepingOtherV2,
        Fixture::Reaching,
        Fixture::ReachingV2,
        Fixture::ReachingExports,
        Fixture::ReachingMisplaced,
        Fixture::ReachingForbidden,
        Fixture::Speaking,
    ];

    /// The built library. Not to be written to: all tests share it.
    pub fn path(self) -> PathBuf {
        directory().join(self.file())
    }

    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        fs::read(self.path()).expect("a built fixture")
    }

    /// Its bytes without the stamp, which would tell of each change to them.
    pub fn unstamped(self) -> Vec<u8> {
        let mut bytes = self.bytes();
        midflight_inspect::unstamp(&mut bytes).expect("a plugin");
        bytes
    }

    /// Builds some alone, for a program that needs no others, into `directory`, and gives their
    /// paths.
    pub fn build<const N: usize>(fixtures: [Fixture; N], directory: &Path) -> [PathBuf; N] {
        Place::of_this_test().build_all(&fixtures, directory);
        fixtures.map(|fixture| directory.join(fixture.file()))
    }

    fn file(self) -> String {
        format!("{self:?}.so")
    }

    fn recipe(self) -> Recipe {
        let probe = |features| Recipe { workspace: "", package: "probe-plugin", features };
        let evolving = |features| Recipe { workspace: "", package: "evolving-plugin", features };
        let awaiting = |features| Recipe { workspace: "", package: "awaiting", features };
        let handing = |features| Recipe { workspace: "", package: "handing", features };
        let keeping = |features| Recipe { workspace: "", package: "keeping", features };
        let reaching = |features| Recipe { workspace: "", package: "reaching", features };
        let nasty = |features| Recipe { workspace: "", package: "nasty", features };
        match self {
            Fixture::V1 => probe(""),
            Fixture::V2 => probe("v2"),
            Fixture::V3 => probe("v3"),
            Fixture::Grouped => probe("v2,grouped"),
            Fixture::Other => probe("other"),
            Fixture::OtherV2 => probe("other,v2"),
            Fixture::Constructor => probe("v2,constructor"),
            Fixture::Alone => probe("alone"),
            Fixture::AlonePreflighted => probe("alone,v2,preflight-start"),
            Fixture::LinkedOld => probe("v2,linked-old"),
            Fixture::LinkedNew => probe("v2,linked-new"),
            Fixture::ChangedField => probe("v2,changed-field"),
            Fixture::ReorderedFields => probe("v2,reordered-fields"),
            Fixture::ExtraVariant => probe("v2,extra-variant"),
            Fixture::MissingMethod => probe("v2,missing-method"),
            Fixture::MissingContract => probe("v2,missing-contract"),
            Fixture::ChangedSignature => probe("v2,changed-signature"),
            Fixture::ChangedService => probe("v2,changed-service"),
            Fixture::NextContracts => {
                Recipe { workspace: "tests/next-contracts", package: "next-probe", features: "v2" }
            }
            Fixture::Evolving => evolving(""),
            Fixture::EvolvingOlder => evolving("older"),
            Fixture::EvolvingNewer => evolving("newer"),
            Fixture::Nasty => nasty(""),
            Fixture::NastyV2 => nasty("v2"),
            Fixture::NastyConstructor => nasty("constructor"),
            Fixture::NastyWithoutHooks => nasty("constructor,without-hooks"),
            Fixture::NastyNative => nasty("native"),
            Fixture::NastyNodelete => nasty("nodelete"),
            Fixture::NastySharedCxx => nasty("shared-cxx"),
            Fixture::NastySharedLibstd => nasty("shared-libstd"),
            Fixture::NastyStaticTls => nasty("static-tls"),
            Fixture::NastyMimalloc => nasty("mimalloc"),
            Fixture::NastyMimallocReclaimed => nasty("mimalloc,reclaimed"),
            Fixture::NastyCrates => nasty("crates"),
            Fixture::Awaiting => awaiting(""),
            Fixture::AwaitingV2 => awaiting("v2"),
            Fixture::Handing => handing(""),
            Fixture::HandingV2 => handing("v2"),
            Fixture::HandingFails => handing("v2,fails"),
            Fixture::Keeping => keeping(""),
            Fixture::KeepingV2 => keeping("v2"),
            Fixture::KeepingV3 => keeping("v3"),
            Fixture::KeepingStuck => keeping("stuck"),
            Fixture::KeepingOther => keeping("other"),
            Fixture::KeepingOtherV2 => keeping("other,v2"),
            Fixture::Reaching => reaching(""),
            Fixture::ReachingV2 => reaching("v2"),
            Fixture::ReachingExports => reaching("v2,exports"),
            Fixture::ReachingMisplaced => reaching("misplaced"),
            Fixture::ReachingForbidden => reaching("forbidden"),
            Fixture::Speaking => Recipe { workspace: "", package: "speaking", features: "" },
            Fixture::NoPlugin => Recipe { workspace: "", package: "no-plugin", features: "" },
        }
    }
}

/// Where the built ones lie; a child is told by its parent.
pub(crate) fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| std::env::var_os(FIXTURES).map_or_else(built, PathBuf::from))
}

/// Tells `command`, a program of these tests, where the built ones lie.
pub fn fixtures_for(command: &mut Command) {
    command.env(FIXTURES, directory());
}

fn built() -> PathBuf {
    let place = Place::of_this_test();
    let all = place.artifacts.join("fixtures");
    fs::create_dir_all(&all).expect("a directory for fixtures");
    let lock = File::create(all.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");

    let directory = all.join(format!("{:016x}", digest()));
    if !directory.exists() {
        // What was built of other sources is of no use any more.
        for old in fs::read_dir(&all).expect("the directory of fixtures").flatten() {
            let _ = fs::remove_dir_all(old.path()); // the lock is no directory
        }
        let unfinished = all.join("unfinished");
        fs::create_dir(&unfinished).expect("a directory for new fixtures");
        place.build_all(&Fixture::ALL, &unfinished);
        fs::rename(&unfinished, &directory).expect("the fixtures' final name");
    }
    directory
}

/// Where and how the test that runs was built, so that its plugins are built alike.
struct Place {
    target: PathBuf,
    /// `<target>/[<triple>/]<profile>`
    artifacts: PathBuf,
    triple: bool,
    profile: String,
}

impl Place {
    /// Tests lie in `<target>/[<triple>/]<profile>/deps`. Under a triple RUSTFLAGS are for the
    /// target alone, not for build scripts and macros, and so it has to stay for plugins.
    fn of_this_test() -> Place {
        let test = std::env::current_exe().expect("the path of this test");
        let directory = test.parent().expect("a directory").to_owned();
        let artifacts = match directory.ends_with("deps") {
            true => directory.parent().expect("…/deps/<test>").to_owned(),
            false => directory, // a program's
        };
        let profile =
            artifacts.file_name().and_then(|name| name.to_str()).expect("a profile's directory");
        let above = artifacts.parent().expect("…/<profile>/deps/<test>");
        let triple = above.ends_with(TARGET);
        Place {
            profile: if profile == "debug" { "dev" } else { profile }.to_owned(),
            target: if triple { above.parent().expect("a target directory") } else { above }
                .to_owned(),
            artifacts,
            triple,
        }
    }

    fn build_all(&self, fixtures: &[Fixture], directory: &Path) {
        for fixture in fixtures {
            // Copied at once: the next build of the same package has the same file name.
            let library = self.build(&fixture.recipe());
            let copy = directory.join(fixture.file());
            match fixture {
                Fixture::NoPlugin => {
                    fs::copy(&library, copy).expect("a copy of what was built");
                }
                _ => {
                    stamp_file(&library, &copy).expect("a stamped copy of what was built");
                }
            }
        }
    }

    fn build(&self, recipe: &Recipe) -> PathBuf {
        let workspace = root().join(recipe.workspace);
        if !recipe.workspace.is_empty() {
            fs::copy(root().join("Cargo.lock"), workspace.join("Cargo.lock"))
                .expect("a copy of the lock file");
        }
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&workspace).args([
            "build",
            "--quiet",
            "--message-format=json-render-diagnostics",
        ]);
        cargo.args([
            "--profile",
            &self.profile,
            "--package",
            recipe.package,
            "--features",
            recipe.features,
        ]);
        cargo.arg("--target-dir").arg(&self.target);
        // The debug information of std alone makes libraries of 12 MB, which the tests read and
        // write thousands of times.
        let strip =
            format!("profile.{}.package.{}.strip=\"debuginfo\"", self.profile, recipe.package);
        cargo.args(["--config", &strip]);
        if self.triple {
            cargo.args(["--target", TARGET]);
        }
        let mut build = cargo.stdout(Stdio::piped()).spawn().expect("cargo");
        let messages = BufReader::new(build.stdout.take().expect("cargo's output"));
        // To the end, or cargo's pipe breaks.
        let libraries = Message::parse_stream(messages)
            .filter_map(|message| library(message.ok()?, recipe.package));
        let library = libraries.last();
        let status = build.wait().expect("cargo's end");
        assert!(status.success(), "{cargo:?}: {status}");
        library.expect("cargo names the library that it built")
    }
}

fn library(message: Message, package: &str) -> Option<PathBuf> {
    let Message::CompilerArtifact(artifact) = message else { return None };
    let ours = artifact.target.is_kind(TargetKind::CDyLib)
        && artifact.target.name.replace('_', "-") == package;
    let mut files = artifact.filenames.into_iter().filter(|file| file.extension() == Some("so"));
    files.next().filter(|_| ours).map(Into::into)
}

/// Of all that a fixture is made of, but for the compiler and the libraries of others, which
/// Cargo.lock names.
fn digest() -> u64 {
    let mut digest = DefaultHasher::new();
    for fixture in Fixture::ALL {
        (fixture.file(), fixture.recipe()).hash(&mut digest);
    }
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN", "RUSTC_BOOTSTRAP"]
    {
        std::env::var_os(variable).hash(&mut digest);
    }
    for source in [
        "Cargo.toml",
        "Cargo.lock",
        "plugin-api",
        "host/inspect/src/stamp",
        "host/inspect/src/stamp.rs",
        "tests/plugins",
        "tests/next-contracts",
        "example-plugins/no-plugin",
    ] {
        add(&root().join(source), &mut digest);
    }
    digest.finish()
}

fn add(path: &Path, digest: &mut DefaultHasher) {
    if path.ends_with("next-contracts/Cargo.lock") {
        return; // made by the build
    }
    path.hash(digest);
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path)
            .expect("sources")
            .map(|entry| entry.expect("sources").path())
            .collect();
        entries.sort();
        entries.iter().for_each(|entry| add(entry, digest));
    } else {
        fs::read(path).expect("a source").hash(digest);
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}
