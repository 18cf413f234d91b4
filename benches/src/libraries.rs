//! The libraries that are called: built by cargo when a benchmark starts, each in two versions.
//!
//! A dependency on a cdylib can't be declared, and one that is checked in would prove nothing about
//! today's macros.

use midflight_inspect::stamp_file;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tempfile::TempDir;

/// Version 1 and version 2 of each.
pub struct Libraries {
    /// For us.
    pub plugin: [PathBuf; 2],
    /// For hot-lib-reloader, dynamic_reload and a bare dlopen.
    pub peers: [PathBuf; 2],
    /// For relib.
    pub relib: [PathBuf; 2],
    directory: TempDir,
}

/// The one for us.
pub(crate) const OURS: &str = "bench-plugin";
const PACKAGES: [&str; 3] = [OURS, "bench-peers", "bench-relib"];

impl Libraries {
    /// Builds them, with the profile that this program was built with.
    ///
    /// # Panics
    /// Cargo can't build them.
    pub fn build() -> Self {
        let directory = tempfile::tempdir().expect("a directory for libraries");
        let place = Place::of_this_program();
        let built = ["", "v2"].map(|feature| {
            place.build(&PACKAGES, feature);
            PACKAGES.map(|package| {
                let file = format!("lib{}.so", package.replace('-', "_"));
                let kept = directory.path().join(format!("{package}-{feature}.so"));
                let built = place.artifacts.join(file);
                match package {
                    OURS => {
                        stamp_file(&built, &kept).expect("a stamped copy of what was built");
                    }
                    _ => {
                        fs::copy(&built, &kept).expect("a copy of what was built");
                    }
                }
                kept
            })
        });
        let [[plugin1, peers1, relib1], [plugin2, peers2, relib2]] = built;
        Libraries {
            plugin: [plugin1, plugin2],
            peers: [peers1, peers2],
            relib: [relib1, relib2],
            directory,
        }
    }

    /// A new directory beside them, on the same file system.
    pub fn new_directory(&self, name: &str) -> PathBuf {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let path = self.directory.path().join(format!("{name}-{}", MADE.fetch_add(1, Relaxed)));
        fs::create_dir(&path).expect("a directory");
        path
    }
}

/// Puts a copy of `library` at `path` as a deployment does: written beside it, then renamed over
/// it.
pub fn place(library: &Path, path: &Path) {
    fs::rename(prepare(library, path), path).expect("a rename");
}

/// The first half of [`place`]: what is left is the rename. It is on the disk, or the rename would
/// put it there first.
pub fn prepare(library: &Path, path: &Path) -> PathBuf {
    let hidden = path.with_file_name(".new");
    fs::copy(library, &hidden).expect("a copy beside");
    File::open(&hidden).and_then(|file| file.sync_all()).expect("on the disk");
    hidden
}

/// The second half, and the moment before it. The file that was there is to be kept open until the
/// time is taken, or its pages are freed within the rename.
pub fn replace(prepared: &Path, path: &Path) -> (Instant, File) {
    let old = File::open(path).expect("the file that was there");
    let began = Instant::now();
    fs::rename(prepared, path).expect("a rename");
    (began, old)
}

/// Where and how this program was built.
pub(crate) struct Place {
    /// `<target>/<profile>`
    pub(crate) artifacts: PathBuf,
    target: PathBuf,
    profile: String,
}

impl Place {
    pub(crate) fn of_this_program() -> Self {
        let program = env::current_exe().expect("the path of this program");
        let mut artifacts = program.parent().expect("a directory");
        if artifacts.ends_with("deps") {
            artifacts = artifacts.parent().expect("<profile>/deps");
        }
        let profile =
            artifacts.file_name().and_then(|name| name.to_str()).expect("a profile's directory");
        Place {
            profile: if profile == "debug" { "dev" } else { profile }.to_owned(),
            target: artifacts.parent().expect("<target>/<profile>").to_owned(),
            artifacts: artifacts.to_owned(),
        }
    }

    /// With some of their features, separated by commas.
    pub(crate) fn build(&self, packages: &[&str], features: &str) {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args([
            "build",
            "--quiet",
            "--profile",
            &self.profile,
        ]);
        cargo.arg("--target-dir").arg(&self.target);
        for package in packages {
            cargo.args(["--package", package]);
            for feature in features.split(',').filter(|feature| !feature.is_empty()) {
                cargo.args(["--features", &format!("{package}/{feature}")]);
            }
            // Without the debug information that this workspace's release profile keeps: what users
            // ship.
            let strip = format!("profile.{}.package.{package}.strip=\"debuginfo\"", self.profile);
            cargo.args(["--config", &strip]);
        }
        let status = cargo.status().expect("cargo");
        assert!(status.success(), "{cargo:?}: {status}");
    }
}
