//! The director: puts files in place, one after the other, and waits to see what becomes of each.

use crate::answers::{PANICS, PLUGIN, V1, V2};
use crate::ledger::Ledger;
use crate::libraries::{Libraries, file};
use crate::observer::{News, Observer, What};
use crate::plan::{Kind, Window};
use crate::report::RefusedFile;
use anyhow::bail;
use hdrhistogram::Histogram;
use midflight::{Host, Refusal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// From one swap to the next.
const SWAP_EVERY: Duration = Duration::from_millis(40);
/// By then a file has been taken or refused.
const VERDICT_DEADLINE: Duration = Duration::from_secs(10);
/// The version that panics serves until this many clients have felt it.
const FAULTS_WANTED: u64 = 20;
const PANICS_SERVE_AT_MOST: Duration = Duration::from_secs(1);

/// The files that have to be refused, and the code for each.
const BAD: [(&str, &str); 6] = [
    ("changed-record", "layout_mismatch"),
    ("start-fails", "start_failed"),
    ("start-hangs", "start_timed_out"),
    ("half", "file_damaged"),
    ("text", "not_elf"),
    ("no-plugin", "not_a_plugin"),
];

/// Renames files into the watched directory.
pub(crate) struct Director<'a> {
    host: &'a Host,
    libraries: &'a Libraries,
    plugins: &'a Path,
    ledger: &'a Ledger,
    observer: &'a Observer,
    played: Played,
}

/// What was done, for the report.
pub(crate) struct Played {
    pub(crate) swaps: u64,
    pub(crate) swap_us: Histogram<u64>,
    pub(crate) refused: Vec<RefusedFile>,
}

impl<'a> Director<'a> {
    pub(crate) fn new(
        host: &'a Host,
        libraries: &'a Libraries,
        plugins: &'a Path,
        ledger: &'a Ledger,
        observer: &'a Observer,
    ) -> Self {
        let swap_us = Histogram::new_with_bounds(1, VERDICT_DEADLINE.as_micros() as u64, 3)
            .expect("bounds that a histogram can have");
        let played = Played { swaps: 0, swap_us, refused: Vec::new() };
        Director { host, libraries, plugins, ledger, observer, played }
    }

    /// Puts the first version in place. Without it there is nothing to show.
    pub(crate) fn open(&self) -> anyhow::Result<()> {
        if let Err(why) = self.replace("v1", PLUGIN, V1) {
            bail!("the first version was not taken: {why}");
        }
        Ok(())
    }

    pub(crate) fn run(&mut self, window: Window) {
        let end = Instant::now() + window.length;
        self.ledger.enter(window.kind);
        match window.kind {
            Kind::WarmUp | Kind::Quiet => {}
            Kind::Swapping => self.swap(window, end),
            Kind::Trials => self.try_bad_ones(),
        }
        thread::sleep(end.saturating_duration_since(Instant::now()));
    }

    pub(crate) fn finish(self) -> Played {
        self.played
    }

    /// An odd number of swaps, so that the quiet parts are served by either version in turn.
    fn swap(&mut self, window: Window, end: Instant) {
        let swaps = (window.length.as_millis() / SWAP_EVERY.as_millis()).saturating_sub(1) | 1;
        let mut next = Instant::now();
        for _ in 0..swaps {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if next >= end {
                return; // a slow machine
            }
            let (name, version) = match self.observer.serving() {
                Some((serving, _)) if serving == V1 => ("v2", V2),
                _ => ("v1", V1),
            };
            match self.replace(name, PLUGIN, version) {
                Ok(took) => {
                    self.played.swaps += 1;
                    self.played.swap_us.saturating_record(took.as_micros() as u64);
                }
                Err(why) => self.ledger.fail(format!("a swap to {version} did not happen: {why}")),
            }
            next = (next + SWAP_EVERY).max(Instant::now());
        }
    }

    fn try_bad_ones(&mut self) {
        for (name, code) in BAD {
            let before = self.observer.serving();
            match self.offer(name, name) {
                Ok((_, News { what: What::Refused(refusal), .. })) => {
                    if refusal.code().as_str() != code {
                        self.ledger
                            .fail(format!("{name} was refused as {}, not {code}", refusal.code()));
                    }
                    self.played.refused.push(refused_file(name, &refusal));
                }
                Ok((_, news)) => {
                    self.ledger.fail(format!("{name} was not refused but {}", told(&news)))
                }
                Err(why) => self.ledger.fail(format!("{name}: {why}")),
            }
            if self.observer.serving() != before {
                self.ledger.fail(format!("{name} was refused, and yet something else serves now"));
            }
        }
        if let Err(why) = self.serve_the_one_that_panics() {
            self.ledger.fail(format!("the version that panics: {why}"));
        }
    }

    fn serve_the_one_that_panics(&self) -> Result<(), String> {
        let before = self.observer.serving().map(|(version, _)| version);
        self.ledger.faults_begin();
        self.replace("panics", "panics", PANICS)?;
        let patience = Instant::now() + PANICS_SERVE_AT_MOST;
        while self.ledger.faults() < FAULTS_WANTED && Instant::now() < patience {
            thread::sleep(Duration::from_millis(5));
        }
        let rolled_back = self.host.rollback(PLUGIN).map_err(|refusal| refusal.to_string())?;
        if Some(&rolled_back.version) != before.as_ref() {
            return Err(format!("rolled back to {}, not to {before:?}", rolled_back.version));
        }
        self.expect_active(&rolled_back.version)?;
        self.ledger.faults_end();
        Ok(())
    }

    /// Puts a build under a name in the watched directory, and waits until that version is seen
    /// active. Returns how long that took from the rename on.
    fn replace(&self, name: &str, place: &str, version: &str) -> Result<Duration, String> {
        match self.offer(name, place)? {
            (renamed, News { seen, version: active, what: What::Active }) if active == version => {
                Ok(seen - renamed)
            }
            (_, news) => Err(told(&news)),
        }
    }

    /// Renames a copy of a file into the watched directory, as an operator would, and waits for the
    /// verdict on it.
    fn offer(&self, name: &str, place: &str) -> Result<(Instant, News), String> {
        let copy = self.copy(name).map_err(|error| format!("can't copy: {error}"))?;
        let renamed = Instant::now();
        fs::rename(copy, self.plugins.join(file(place)))
            .map_err(|error| format!("can't rename: {error}"))?;
        let news = self.observer.next_news(renamed + VERDICT_DEADLINE);
        news.map(|news| (renamed, news))
            .ok_or_else(|| format!("no verdict within {VERDICT_DEADLINE:?}"))
    }

    /// Beside the watched directory: a rename is only one within a file system.
    fn copy(&self, name: &str) -> io::Result<PathBuf> {
        let copy = self.plugins.with_extension("incoming");
        fs::copy(self.libraries.path(name), &copy)?;
        Ok(copy)
    }

    fn expect_active(&self, version: &str) -> Result<(), String> {
        match self.observer.next_news(Instant::now() + VERDICT_DEADLINE) {
            Some(News { version: active, what: What::Active, .. }) if active == version => Ok(()),
            Some(news) => Err(told(&news)),
            None => Err(format!("{version} was not seen active within {VERDICT_DEADLINE:?}")),
        }
    }
}

fn told(news: &News) -> String {
    match &news.what {
        What::Active => format!("{} became active", news.version),
        What::Refused(refusal) => refusal.to_string(),
        What::Passed(how) => format!("{}: {how}", news.version),
    }
}

fn refused_file(name: &str, refusal: &Refusal) -> RefusedFile {
    RefusedFile {
        file: file(name),
        stage: refusal.stage().as_str(),
        code: refusal.code().as_str(),
        message: refusal.reason().to_owned(),
    }
}
