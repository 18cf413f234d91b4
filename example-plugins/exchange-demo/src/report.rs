//! The report: what a run showed, for programs, and whether it was enough.

use crate::answers::{PLUGIN, START_HANGS, V1, V2};
use crate::director::Played;
use crate::ledger::Ledger;
use crate::observer::{Scene, Seen};
use hdrhistogram::Histogram;
use midflight::Status;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const HUNG: &str = "resident(start still running)";

/// One run. Serialised, it is the object that `--json` prints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    /// Answers that were lost, wrong or unexplained, and updates that were not what they had to be.
    pub(crate) failed: u64,
    /// Answers that were the planned fault.
    pub(crate) faults: u64,
    /// Answers in which not all witnesses were the same generation.
    pub(crate) mixed: u64,
    /// Answers that held witnesses.
    pub(crate) witness_calls: u64,
    pub(crate) calls_spanning_a_swap: u64,
    pub(crate) answers_by_version: BTreeMap<String, u64>,
    pub(crate) swaps: u64,
    pub(crate) refused: Vec<RefusedFile>,
    pub(crate) generations: Vec<Generation>,
    /// From the rename until it was seen active.
    pub(crate) swap_ms: SwapTimes,
    /// While versions were swapped.
    pub(crate) latency_us: Latency,
    pub(crate) latency_us_quiet: Latency,
    pub(crate) p99_ratio: f64,
    #[serde(skip)]
    aside: Aside,
}

/// What decides on the run beside the numbers above.
#[derive(Debug, Clone, Default)]
struct Aside {
    served: BTreeSet<u64>,
    complaints: Vec<String>,
    events_lost: u64,
    constructor_ran: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct RefusedFile {
    pub(crate) file: String,
    pub(crate) stage: &'static str,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Generation {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) generation: u64,
    pub(crate) residency: String,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct SwapTimes {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Report {
    pub(crate) fn new(
        ledger: &Ledger,
        played: Played,
        scene: Scene,
        status: &Status,
        constructor_ran: bool,
    ) -> Self {
        ledger.read(|tally| Report {
            requests: tally.requests,
            failed: tally.failed,
            faults: tally.faults,
            mixed: tally.mixed,
            witness_calls: tally.witness_calls,
            calls_spanning_a_swap: tally.calls_spanning_a_swap,
            answers_by_version: tally.answers_by_version.clone(),
            swaps: played.swaps,
            refused: played.refused,
            generations: generations(scene.generations, status),
            swap_ms: SwapTimes {
                p50: played.swap_us.value_at_quantile(0.5) as f64 / 1e3,
                p99: played.swap_us.value_at_quantile(0.99) as f64 / 1e3,
                max: played.swap_us.max() as f64 / 1e3,
            },
            latency_us: Latency::of(&tally.swapping_us),
            latency_us_quiet: Latency::of(&tally.quiet_us),
            p99_ratio: ratio(
                tally.swapping_us.value_at_quantile(0.99),
                tally.quiet_us.value_at_quantile(0.99),
            ),
            aside: Aside {
                served: scene.served,
                complaints: tally.complaints.clone(),
                events_lost: scene.lost,
                constructor_ran,
            },
        })
    }

    /// What keeps this run from being a success.
    pub(crate) fn shortcomings(&self, seconds: u64) -> Vec<String> {
        let mut short = Vec::new();
        let mut must = |holds: bool, otherwise: String| {
            if !holds {
                short.push(otherwise);
            }
        };
        must(
            self.failed == 0,
            format!(
                "{} failed, {} mixed; the first: {}",
                self.failed,
                self.mixed,
                self.complaints()
            ),
        );
        must(
            self.mixed == 0,
            format!(
                "{} answers came from more than one generation: {}",
                self.mixed,
                self.complaints()
            ),
        );
        for version in [V1, V2] {
            must(
                self.answers_by_version.contains_key(version),
                format!("{version} never answered"),
            );
        }
        must(self.faults > 0, "the version that panics was never felt".into());
        let swaps_wanted = 5 * seconds;
        must(
            self.swaps >= swaps_wanted,
            format!("{} swaps, {swaps_wanted} were to be", self.swaps),
        );
        let codes: BTreeSet<_> = self.refused.iter().map(|refused| refused.code).collect();
        must(
            codes.len() >= 6,
            format!("{} codes of refusal, 6 were to be: {codes:?}", codes.len()),
        );
        must(
            self.calls_spanning_a_swap >= self.swaps,
            format!("{} calls spanned a swap, of {} swaps", self.calls_spanning_a_swap, self.swaps),
        );
        let listed: BTreeSet<_> =
            self.generations.iter().map(|generation| generation.generation).collect();
        for missing in self.aside.served.difference(&listed) {
            must(false, format!("generation {missing} served, and nobody knows what became of it"));
        }
        for Generation { plugin, version, generation, residency } in &self.generations {
            let hung = version == START_HANGS && !self.aside.served.contains(generation);
            let wanted = if hung { HUNG } else { "unmapped" };
            must(
                residency == wanted,
                format!(
                    "{plugin} {version} (generation {generation}) is {residency}, not {wanted}"
                ),
            );
        }
        let hung =
            self.generations.iter().filter(|g| g.plugin == PLUGIN && g.residency == HUNG).count();
        must(hung == 1, format!("{hung} starts are still running, one was to be"));
        must(self.aside.events_lost == 0, format!("{} events were lost", self.aside.events_lost));
        must(
            !self.aside.constructor_ran,
            "the constructor of the library that is no plugin was run".into(),
        );
        short
    }

    fn complaints(&self) -> String {
        self.aside.complaints.iter().take(5).map(|complaint| format!("\n  {complaint}")).collect()
    }
}

impl Latency {
    fn of(us: &Histogram<u64>) -> Self {
        Latency {
            p50: us.value_at_quantile(0.5),
            p99: us.value_at_quantile(0.99),
            p999: us.value_at_quantile(0.999),
            max: us.max(),
        }
    }
}

fn ratio(swapping: u64, quiet: u64) -> f64 {
    (swapping as f64 / quiet.max(1) as f64 * 1e3).round() / 1e3
}

/// The host's own last word where it has one; what was seen before where it keeps only the last few
/// hundred.
fn generations(seen: BTreeMap<u64, Seen>, status: &Status) -> Vec<Generation> {
    let mut all: BTreeMap<u64, Generation> = seen
        .into_iter()
        .map(|(generation, Seen { plugin, version, residency })| {
            (generation, Generation { plugin, version, generation, residency })
        })
        .collect();
    for last in &status.generations {
        let (plugin, version) = (last.plugin.clone(), last.version.clone());
        let (generation, residency) = (last.generation, last.residency.to_string());
        all.insert(generation, Generation { plugin, version, generation, residency });
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(version: &str, generation: u64, residency: &str) -> Generation {
        Generation {
            plugin: PLUGIN.into(),
            version: version.into(),
            generation,
            residency: residency.into(),
        }
    }

    fn good() -> Report {
        let codes = [
            "layout_mismatch",
            "start_failed",
            "start_timed_out",
            "file_damaged",
            "not_elf",
            "not_a_plugin",
        ];
        let refused =
            |code| RefusedFile { file: "a.so".into(), stage: "load", code, message: "why".into() };
        Report {
            requests: 1_000,
            failed: 0,
            faults: 20,
            mixed: 0,
            witness_calls: 970,
            calls_spanning_a_swap: 60,
            answers_by_version: [(V1.into(), 500), (V2.into(), 470)].into(),
            swaps: 50,
            refused: codes.map(refused).into(),
            generations: vec![
                generation(V1, 1, "unmapped"),
                generation(V2, 2, "unmapped"),
                generation(START_HANGS, 3, HUNG),
            ],
            swap_ms: SwapTimes::default(),
            latency_us: Latency::default(),
            latency_us_quiet: Latency::default(),
            p99_ratio: 1.0,
            aside: Aside { served: [1, 2].into(), ..Aside::default() },
        }
    }

    fn short(spoil: impl FnOnce(&mut Report)) -> String {
        let mut report = good();
        spoil(&mut report);
        report.shortcomings(10).join("; ")
    }

    #[test]
    fn a_good_run_has_no_shortcomings() {
        assert_eq!(short(|_| {}), "");
    }

    #[test]
    fn each_condition_can_fail() {
        assert!(short(|r| r.failed = 1).contains("1 failed"));
        assert!(short(|r| r.mixed = 1).contains("more than one generation"));
        assert!(
            short(|r| r.answers_by_version.retain(|version, _| version != V1))
                .contains("1.0.0 never answered")
        );
        assert!(short(|r| r.faults = 0).contains("never felt"));
        assert!(short(|r| r.swaps = 49).contains("49 swaps, 50 were to be"));
        assert!(short(|r| r.refused.truncate(5)).contains("5 codes"));
        assert!(short(|r| r.calls_spanning_a_swap = 49).contains("49 calls"));
        assert!(short(|r| drop(r.generations.remove(0))).contains("generation 1 served"));
        assert!(
            short(|r| r.generations[1].residency = "retiring".into())
                .contains("is retiring, not unmapped")
        );
        assert!(
            short(|r| r.generations[2].residency = "unmapped".into())
                .contains("0 starts are still running")
        );
        assert!(
            short(|r| r.generations.push(generation(START_HANGS, 4, HUNG))).contains("2 starts")
        );
        assert!(short(|r| r.aside.events_lost = 1).contains("1 events were lost"));
        assert!(short(|r| r.aside.constructor_ran = true).contains("constructor"));
    }

    #[test]
    fn the_object_has_these_keys() {
        let object = serde_json::to_value(good()).unwrap();
        let mut keys: Vec<_> = object.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        let wanted = "answers_by_version calls_spanning_a_swap failed faults generations latency_us latency_us_quiet \
                      mixed p99_ratio refused requests swap_ms swaps witness_calls";
        assert_eq!(keys.join(" "), wanted);
        assert_eq!(
            object["generations"][0],
            serde_json::json!({ "plugin": PLUGIN, "version": V1, "generation": 1, "residency": "unmapped" })
        );
        assert_eq!(
            object["refused"][0],
            serde_json::json!({ "file": "a.so", "stage": "load", "code": "layout_mismatch", "message": "why" })
        );
        assert_eq!(
            object["latency_us"],
            serde_json::json!({ "p50": 0, "p99": 0, "p999": 0, "max": 0 })
        );
        assert_eq!(object["swap_ms"], serde_json::json!({ "p50": 0.0, "p99": 0.0, "max": 0.0 }));
    }
}
