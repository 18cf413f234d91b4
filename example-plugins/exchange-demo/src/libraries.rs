//! The files that the demo hands to the host: every version of the example's plugin, and what only
//! looks like one.

use anyhow::{Context, bail};
use cargo_metadata::{Message, MetadataCommand, TargetKind};
use midflight_inspect::stamp_file;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, process};

/// The built files, in a directory of their own.
pub(crate) struct Libraries {
    directory: PathBuf,
}

/// It has no room for a stamp.
const NO_PLUGIN: &str = "no-plugin";

/// What a build is called, its crate and its feature.
const BUILDS: [(&str, &str, Option<&str>); 7] = [
    ("v1", "flat-fees-plugin", Some("v1")),
    ("v2", "flat-fees-plugin", Some("v2")),
    ("panics", "flat-fees-plugin", Some("panics")),
    ("start-fails", "flat-fees-plugin", Some("start-fails")),
    ("start-hangs", "flat-fees-plugin", Some("start-hangs")),
    ("changed-record", "flat-fees-plugin", Some("changed-record")),
    ("no-plugin", NO_PLUGIN, None),
];

impl Libraries {
    /// Builds them with cargo, in release, from the workspace of the current directory.
    pub(crate) fn build(directory: &Path) -> anyhow::Result<Self> {
        let workspace = MetadataCommand::new().no_deps().exec().context(
            "cargo finds no workspace here that it can read; the demo builds plugins, so it has to run in a checkout of Midflight",
        )?;
        let missing = BUILDS
            .iter()
            .find(|(_, wanted, _)| workspace.packages.iter().all(|p| p.name.as_str() != *wanted));
        if let Some((_, wanted, _)) = missing {
            bail!(
                "the workspace {} has no crate `{wanted}`: run the demo inside of a checkout of Midflight",
                workspace.workspace_root
            );
        }
        fs::create_dir(directory)?;
        for (name, package, feature) in BUILDS {
            eprintln!("building {name}");
            let built = build(workspace.workspace_root.as_std_path(), package, feature)
                .with_context(|| format!("can't build `{name}`"))?;
            // At once: the next build writes to the same path.
            let copy = directory.join(file(name));
            match package {
                NO_PLUGIN => drop(fs::copy(&built, copy)?),
                _ => drop(stamp_file(&built, &copy)?),
            }
        }
        let whole = fs::read(directory.join(file("v2")))?;
        fs::write(directory.join(file("half")), &whole[..whole.len() / 2])?;
        fs::write(directory.join(file("text")), "These are not the bytes of a library.\n")?;
        let libraries = Libraries { directory: directory.to_owned() };
        let _ = fs::remove_file(libraries.mark()); // of an earlier process with this number
        Ok(libraries)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(file(name))
    }

    /// Whether the constructor of the library that is no plugin was run in this process. Takes the
    /// mark away.
    pub(crate) fn mark_left(&self) -> bool {
        fs::remove_file(self.mark()).is_ok()
    }

    fn mark(&self) -> PathBuf {
        env::temp_dir().join(format!("midflight-no-plugin-ran-{}", process::id()))
    }
}

/// The name of a file that the demo hands in.
pub(crate) fn file(name: &str) -> String {
    format!("{name}.so")
}

fn build(workspace: &Path, package: &str, feature: Option<&str>) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace);
    cargo.args([
        "build",
        "--release",
        "--message-format=json-render-diagnostics",
        "--package",
        package,
    ]);
    cargo.args(feature.iter().flat_map(|feature| ["--features", feature]));
    // As for production: what is left out is nine tenths of the file, and the host reads all of it.
    cargo.args(["--config", &format!("profile.release.package.{package}.strip=\"debuginfo\"")]);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("can't start cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut library = None;
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.target.kind.contains(&TargetKind::CDyLib)
            && artifact.target.name == package.replace('-', "_")
        {
            library = artifact.filenames.into_iter().find(|file| file.extension() == Some("so"));
        }
    }
    if !child.wait()?.success() {
        bail!("cargo failed, see above");
    }
    Ok(library.context("cargo built no shared library")?.into())
}
