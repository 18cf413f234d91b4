//! `midflight stamp`: the last step of a plugin's build.

use midflight_inspect::{Code, Refusal, Spare, Stamp, StampError, Stamping};
use midflight_inspect::{read, stamp_file, verify};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const HELP: &str = "\
A stamp is the hash of the finished file, written into the file. A host refuses a stamped library
of which a single bit was damaged (file_damaged). Stamping comes last: after strip and patchelf, and
again if one of them came later. Files are replaced by a rename and keep their permissions; one that
has the right stamp is not touched.

  midflight stamp dist/fees.so             in the build, as the last step
  midflight stamp --check plugins/*.so     where the files have been copied to

Exit codes:
  0  every file has the right stamp now
  1  one has not: stderr says which and why; the others were stamped all the same
  2  wrong usage";

/// Writes the hash of a plugin's library into it, so that a host sees any damage to it.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Libraries of plugins, for any machine.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Look only: fail if a file has no stamp, or not its own.
    #[arg(long)]
    check: bool,
    /// Print one JSON object on stdout, {"files": [{"file", "result", …}, …]}.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    files: Vec<About>,
}

/// One file. Of what was refused there are code, reason and advice as well.
#[derive(Serialize)]
struct About {
    file: String,
    result: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

#[derive(Serialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Stamped,
    StampedAgain,
    StampedAlready,
    Refused,
    Unwritable,
}

impl Outcome {
    fn words(self) -> &'static str {
        match self {
            Outcome::Stamped => "stamped",
            Outcome::StampedAgain => "stamped again: it was changed after it had been stamped",
            Outcome::StampedAlready => "has the right stamp",
            Outcome::Refused | Outcome::Unwritable => "not stamped",
        }
    }
}

/// Stamps every file, or looks at its stamp; `false` if one of them has none at the end.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut report = Report { files: Vec::new() };
    for file in &arguments.files {
        let done = if arguments.check { check(file) } else { stamp_file(file, file) };
        let about = About::new(file, &done);
        match &done {
            Ok(_) if arguments.json => {}
            Ok(_) => say(format_args!("{}: {}", file.display(), about.result.words())),
            Err(error) => eprintln!("{}: {error}", file.display()),
        }
        report.files.push(about);
    }
    if arguments.json {
        say(format_args!("{}", serde_json::to_string(&report)?));
    }
    let bad = |about: &About| matches!(about.result, Outcome::Refused | Outcome::Unwritable);
    Ok(!report.files.iter().any(bad))
}

/// On stdout, as far as somebody reads it: the files are stamped all the same.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// As stamping does, and changes nothing.
fn check(file: &Path) -> Result<Stamping, StampError> {
    let look = || match verify(&read(file, u64::MAX, &Spare::default())?.data)? {
        Stamp::Stamped => Ok(Stamping::Unchanged),
        Stamp::Unstamped => Err(Refusal::new(Code::NotStamped, "nobody has stamped it")),
    };
    look().map_err(StampError::Refused)
}

impl About {
    fn new(file: &Path, done: &Result<Stamping, StampError>) -> Self {
        let file = file.to_string_lossy().into_owned();
        let about = |result| About { file, result, code: None, reason: None, advice: None };
        match done {
            Ok(Stamping::New) => about(Outcome::Stamped),
            Ok(Stamping::Renewed) => about(Outcome::StampedAgain),
            Ok(Stamping::Unchanged) => about(Outcome::StampedAlready),
            Err(StampError::Refused(refusal)) => About {
                code: Some(refusal.code().as_str()),
                reason: Some(refusal.reason().to_owned()),
                advice: Some(refusal.advice()),
                ..about(Outcome::Refused)
            },
            Err(error) => About { reason: Some(error.to_string()), ..about(Outcome::Unwritable) },
        }
    }
}
