//! Another build of this program, whose rounds alternate with this one's.
//!
//! Runs of two builds, one after the other, compare two hours of a machine. So the other build runs
//! beside this one, waits, and runs one round each time that it is asked to: the neighbours of each
//! of its rounds are rounds of this build. It is asked through its standard input, a line for a
//! round, and answers with a line of JSON for each: the lanes first, then each round's times.
//!
//! A tight loop takes a cycle more or less as the linker places it, and the tenths of a lane that
//! takes nine cycles lie closer together than that. So the verdict is about our own lanes, and a
//! median that is outside by no more than a cycle is said to be so. The peers' code is the same in
//! both builds: what differs there is luck, and shows how much of it there is.

use crate::calls;
use crate::libraries::Libraries;
use crate::rounds::{Rounds, Setting, Timed, Until, quantile, rounded};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// The argument with which this program runs rounds for another.
pub const SERVE: &str = "--rounds-for-another";

/// What the other build says first: in which format it answers, and what it times.
#[derive(Serialize, Deserialize)]
struct Greeting {
    rounds_format: u32,
    lanes: Vec<Setting>,
}

const FORMAT: u32 = 1;

/// The lanes that this project answers for.
const OURS: [&str; 3] = ["slot", "request", "lease"];

/// How far a median is outside of the other build's tenths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outside {
    /// It is between the two.
    No,
    /// By no more than a cycle.
    ByACycle,
    /// By more.
    Yes,
}

/// One lane in both builds.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Lane, loop, threads.
    #[serde(flatten)]
    pub setting: Setting,
    /// Nanoseconds a call: the median over this build's rounds.
    pub median_ns: f64,
    /// The same of the other build.
    pub other_median_ns: f64,
    /// Which share of the other's it takes.
    pub ratio: f64,
    /// A tenth of the other's rounds is below.
    pub other_p10_ns: f64,
    /// A tenth of the other's rounds is above.
    pub other_p90_ns: f64,
    /// Whether the median is between those two.
    pub outside: Outside,
}

impl Compared {
    /// `None` where one of them has no rounds.
    fn of(setting: &Setting, own: &[f64], other: &[f64], cycle_ns: f64) -> Option<Self> {
        let (median, other_median) = (quantile(own, 0.5)?, quantile(other, 0.5)?);
        let (p10, p90) = (quantile(other, 0.1)?, quantile(other, 0.9)?);
        Some(Compared {
            setting: setting.clone(),
            median_ns: rounded(median),
            other_median_ns: rounded(other_median),
            ratio: rounded(median / other_median),
            other_p10_ns: rounded(p10),
            other_p90_ns: rounded(p90),
            outside: match (p10 - median).max(median - p90) {
                by if by <= 0.0 => Outside::No,
                // The cycle is measured too.
                by if by <= cycle_ns * 1.1 => Outside::ByACycle,
                _ => Outside::Yes,
            },
        })
    }
}

impl Compared {
    /// It is ours, and outside by more than luck.
    fn matters(&self) -> bool {
        self.outside == Outside::Yes && OURS.contains(&&*self.setting.lane)
    }
}

/// Every lane in both builds.
#[derive(Debug, Serialize)]
pub struct Against {
    /// The other build.
    pub other: PathBuf,
    /// Of each build.
    pub rounds: usize,
    /// Each lane that both have.
    pub lanes: Vec<Compared>,
    /// Settings of lanes that only one of them has.
    pub alone: Vec<Setting>,
    /// Nanoseconds.
    pub cycle_ns: f64,
    /// No median of ours is outside of the other's tenths by more than a cycle.
    pub alike: bool,
}

impl Against {
    fn new(
        other: &Path,
        rounds: usize,
        own: &[Timed],
        lanes: &[(Setting, Vec<f64>)],
        cycle_ns: f64,
    ) -> Self {
        let find = |setting: &Setting| lanes.iter().find(|(theirs, _)| theirs == setting);
        let compare = |timed: &Timed| {
            let (setting, theirs) = find(&timed.setting())?;
            Compared::of(setting, &timed.rounds, theirs, cycle_ns)
        };
        let compared: Vec<_> = own.iter().filter_map(compare).collect();
        let is_own = |setting: &Setting| own.iter().any(|timed| timed.setting() == *setting);
        let own_alone = own.iter().map(Timed::setting).filter(|setting| find(setting).is_none());
        let alone =
            lanes.iter().map(|(setting, _)| setting.clone()).filter(|setting| !is_own(setting));
        Against {
            other: other.to_owned(),
            rounds,
            alone: own_alone.chain(alone).collect(),
            cycle_ns: rounded(cycle_ns),
            alike: !compared.iter().any(Compared::matters),
            lanes: compared,
        }
    }

    /// For a terminal.
    pub fn table(&self) -> String {
        let mut out = format!("{} rounds each, against {}\n", self.rounds, self.other.display());
        out += "ns a call, median over rounds of shortest batches (10 %–90 % of the other's)\n";
        out += &format!("{:38}{:>9}{:>9}{:>8}\n", "", "this", "other", "ratio");
        for lane in &self.lanes {
            let Compared { setting, median_ns, other_median_ns, ratio, .. } = lane;
            let tenths = format!("({:.2}–{:.2})", lane.other_p10_ns, lane.other_p90_ns);
            let verdict = match (lane.outside, lane.median_ns < lane.other_p10_ns) {
                (Outside::No, _) => "",
                (Outside::ByACycle, true) => "  a cycle less",
                (Outside::ByACycle, false) => "  a cycle more",
                (Outside::Yes, true) => "  OUTSIDE, faster",
                (Outside::Yes, false) => "  OUTSIDE, slower",
            };
            let setting = setting.to_string();
            out += &format!(
                "{setting:38}{median_ns:>9.2}{other_median_ns:>9.2}{ratio:>8.3}  {tenths:<16}{verdict}\n"
            );
        }
        for setting in &self.alone {
            out += &format!("{setting}: only one of the builds has it\n");
        }
        let (cycle, ours) = (self.cycle_ns, OURS.join(", "));
        let outside = self.lanes.iter().filter(|lane| lane.matters()).count();
        out += &match outside {
            0 => format!(
                "no median of {ours} is outside of the other build's tenths by more than a cycle \
                 ({cycle:.2} ns)\n"
            ),
            _ => format!(
                "{outside} medians of {ours} are outside of the other build's tenths by more than \
                 a cycle ({cycle:.2} ns)\n"
            ),
        };
        out
    }
}

/// Alternates rounds with the build at `path`.
///
/// # Errors
/// It can't be started, or is a build that doesn't know how.
pub fn run(libraries: &Libraries, path: &Path, until: Until) -> Result<Against, String> {
    let mut other = Other::start(path)?;
    let mut theirs: Vec<_> =
        other.lanes.iter().map(|setting| (setting.clone(), Vec::new())).collect();
    calls::with_lanes(libraries, |lanes| {
        let mut own = Rounds::new(lanes);
        let began = Instant::now();
        while !until.is_over(own.count(), began) {
            // Who goes first would else always find what the other left in the caches.
            let own_is_first = own.count().is_multiple_of(2);
            if own_is_first {
                own.once();
            }
            for ((_, rounds), took) in theirs.iter_mut().zip(other.round()?) {
                rounds.extend(took);
            }
            if !own_is_first {
                own.once();
            }
        }
        Ok(Against::new(path, own.count(), own.timed(), &theirs, cycle_ns()))
    })
}

/// How long the processor takes for one cycle, at its speed of this moment: a chain of exclusive
/// ors and multiplications, of which none can begin before the last has ended, takes 1 and 3 of
/// them on every x86-64 of these years, and no less elsewhere.
fn cycle_ns() -> f64 {
    const STEPS: u32 = 100_000;
    let once = |_| {
        let began = Instant::now();
        let key = black_box(0x9E37_79B9_7F4A_7C15_u64);
        let end =
            (0..STEPS).fold(key, |value, _| (value ^ key).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        black_box(end);
        began.elapsed().as_secs_f64() * 1e9 / f64::from(STEPS) / 4.0
    };
    // What nothing has interrupted.
    (0..100).map(once).fold(f64::INFINITY, f64::min)
}

/// Runs a round for each line of standard input, until that ends.
///
/// # Panics
/// Standard output is closed before.
pub fn serve(libraries: &Libraries) {
    calls::with_lanes(libraries, |lanes| {
        let mut rounds = Rounds::new(lanes);
        let lanes = rounds.timed().iter().map(Timed::setting).collect();
        tell(&Greeting { rounds_format: FORMAT, lanes });
        for _ in io::stdin().lines().map_while(Result::ok) {
            rounds.once();
            let last = |timed: &Timed| timed.rounds.last().copied();
            tell(&rounds.timed().iter().map(last).collect::<Vec<_>>());
        }
    });
}

fn tell(what: &impl Serialize) {
    println!("{}", serde_json::to_string(what).expect("plain figures"));
    io::stdout().flush().expect("somebody reads");
}

/// How a program ends that does not know an argument.
const USAGE: i32 = 2;

/// The other build, between two rounds.
struct Other {
    path: PathBuf,
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    lanes: Vec<Setting>,
}

impl Other {
    fn start(path: &Path) -> Result<Self, String> {
        let mut command = Command::new(path);
        command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("can't start {}: {error}", path.display()))?;
        let (asks, answers) = (child.stdin.take(), child.stdout.take());
        let (Some(asks), Some(answers)) = (asks, answers) else {
            return Err("no pipes".to_owned());
        };
        let answers = BufReader::new(answers).lines();
        let mut other = Other { path: path.to_owned(), child, asks, answers, lanes: Vec::new() };
        let said = other.answer();
        if said.is_err()
            && let Ok(status) = other.child.wait()
            && status.code() != Some(USAGE)
        {
            return Err(format!(
                "{} has ended before its first round ({status}): a build takes the plugins of its \
                 own worktree as they are now, so build it anew if that has changed",
                path.display()
            ));
        }
        let greeting = said.ok().and_then(|line| serde_json::from_str::<Greeting>(&line).ok());
        let Some(greeting) = greeting.filter(|greeting| greeting.rounds_format == FORMAT) else {
            return Err(format!(
                "{} does not run rounds for another build: build it from a commit whose `compare` \
                 has `--against`, in the format {FORMAT}",
                path.display()
            ));
        };
        other.lanes = greeting.lanes;
        Ok(other)
    }

    /// The shortest batch of each lane, where it can run.
    fn round(&mut self) -> Result<Vec<Option<f64>>, String> {
        let asked = writeln!(self.asks).and_then(|()| self.asks.flush());
        asked.map_err(|error| format!("{} has ended: {error}", self.path.display()))?;
        let line = self.answer()?;
        serde_json::from_str(&line)
            .map_err(|error| format!("{}: {error}: {line}", self.path.display()))
    }

    fn answer(&mut self) -> Result<String, String> {
        let ended = || format!("{} has ended before it answered", self.path.display());
        self.answers
            .next()
            .ok_or_else(ended)?
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn setting(lane: &str) -> Setting {
        Setting { around: "tight".to_owned(), threads: 1, lane: lane.to_owned() }
    }

    #[test]
    fn a_median_is_outside_beyond_a_tenth_of_the_others_rounds() {
        let theirs: Vec<f64> = (0..100).map(f64::from).collect();
        let of = |lane, own: &[f64]| Compared::of(&setting(lane), own, &theirs, 2.0);
        let check = |own: &[f64], outside: Outside| {
            let compared = of("slot", own).expect("both have rounds");
            assert_eq!(compared.outside, outside, "{own:?}: {compared:?}");
        };
        check(&[50.0], Outside::No);
        check(&[10.0], Outside::No);
        check(&[9.9], Outside::ByACycle);
        check(&[7.7], Outside::Yes);
        check(&[90.0], Outside::No);
        check(&[92.1], Outside::ByACycle);
        check(&[92.3], Outside::Yes);
        // Of this build only the median counts.
        check(&[1_000.0, 50.0, 0.0], Outside::No);
        check(&[95.0, 95.0, 0.0], Outside::Yes);
        assert!(of("relib", &[]).is_none());
        let compared = of("slot", &[25.0]).expect("both have rounds");
        assert_eq!((compared.ratio, compared.other_median_ns), (0.5, 50.0));
    }

    fn timed(lane: &'static str, rounds: &[f64]) -> Timed {
        Timed::with_rounds(lane, rounds)
    }

    #[test]
    fn lanes_are_compared_by_what_they_are() {
        let own = [timed("slot", &[1.0, 2.0, 3.0]), timed("new", &[1.0])];
        let theirs = [(setting("old"), vec![1.0]), (setting("slot"), vec![1.0, 2.0, 9.0])];
        let against = Against::new(Path::new("other"), 3, &own, &theirs, 0.25);
        assert_eq!(against.lanes.len(), 1);
        assert!(against.alike);
        assert_eq!(against.alone, [setting("new"), setting("old")]);
        let table = against.table();
        assert!(table.contains("new, tight, 1 thr.: only one of the builds has it"), "{table}");
        assert!(table.contains("no median of slot, request, lease is outside"), "{table}");
        let slower = [timed("slot", &[10.0])];
        let against = Against::new(Path::new("other"), 1, &slower, &theirs, 0.25);
        assert!(!against.alike);
        assert!(against.table().contains("OUTSIDE, slower"), "{}", against.table());
        // Code that is not ours is the same in both.
        let theirs = [(setting("rwlock"), vec![1.0])];
        let peer = [timed("rwlock", &[10.0])];
        assert!(Against::new(Path::new("other"), 1, &peer, &theirs, 0.25).alike);
    }

    #[test]
    fn a_build_that_runs_no_rounds_for_another_is_told_so() {
        let directory = tempfile::tempdir().expect("a directory");
        let older = directory.path().join("older");
        fs::write(
            &older,
            "#!/bin/sh\necho \"error: unexpected argument '$1' found\" >&2\nexit 2\n",
        )
        .expect("a script");
        fs::set_permissions(&older, fs::Permissions::from_mode(0o755)).expect("a program");
        let told = Other::start(&older).err().expect("it can't");
        assert!(told.contains("build it from a commit whose `compare` has `--against`"), "{told}");
        assert!(Other::start(&directory.path().join("none")).is_err());
        fs::write(&older, "#!/bin/sh\nexit 101\n").expect("a script");
        let told = Other::start(&older).err().expect("it can't");
        assert!(told.contains("ended before its first round (exit status: 101)"), "{told}");
    }
}
