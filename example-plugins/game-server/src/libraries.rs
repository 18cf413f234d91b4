//! The two versions of the rules, built from this checkout.

use anyhow::{Context, bail};
use cargo_metadata::{Message, TargetKind};
use midflight_inspect::stamp_file;
use std::env;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct Libraries {
    pub(crate) v1: PathBuf,
    pub(crate) v2: PathBuf,
}

impl Libraries {
    pub(crate) fn build(directory: &Path) -> anyhow::Result<Self> {
        let build = |version: &str| {
            eprintln!("building the rules {version}");
            let built = build(version).with_context(|| {
                format!(
                    "can't build the rules {version}: the game has to run inside of a checkout of Midflight"
                )
            })?;
            let copy = directory.join(format!("rules-{version}.so"));
            // At once: the next build writes to the same path.
            stamp_file(&built, &copy)?;
            Ok::<_, anyhow::Error>(copy)
        };
        Ok(Libraries { v1: build("v1")?, v2: build("v2")? })
    }
}

fn build(version: &str) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--package", "game-rules-plugin", "--features", version]);
    cargo.arg("--message-format=json-render-diagnostics");
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("can't start cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut library = None;
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.target.kind.contains(&TargetKind::CDyLib)
        {
            library = artifact.filenames.into_iter().find(|file| file.extension() == Some("so"));
        }
    }
    if !child.wait()?.success() {
        bail!("cargo failed, see above");
    }
    Ok(library.context("cargo built no shared library")?.into())
}
