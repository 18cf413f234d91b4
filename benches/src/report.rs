//! The report: one value for machines, one table for people.

use crate::blackout::{Blackout, Drain};
use crate::calls::Payload;
use crate::reload::Reload;
use crate::rounds::{Call, Ratio};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many rounds of calls, and on what.
    pub run: Run,
    /// The trivial call in every lane.
    pub calls: Vec<Call>,
    /// Lanes against each other, round by round.
    pub ratios: Vec<Ratio>,
    /// Calls that carry something.
    pub payload: Vec<Payload>,
    /// From the rename to new code.
    pub reload: Vec<Reload>,
    /// `ours` to `floor`: the median of the ratios of neighbours.
    pub reload_to_floor: f64,
    /// What callers feel of publications.
    pub blackout: Blackout,
    /// How long calls stay inside of what was replaced.
    pub drain_us: Drain,
}

/// What a figure can't be compared without.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Rounds of calls.
    pub rounds: usize,
    /// How long the whole run took.
    pub seconds: f64,
    /// Cores.
    pub cores: usize,
    /// What the processor calls itself.
    pub processor: String,
    /// Runnable tasks beside this one: the load average over a minute, at the start.
    pub load: f64,
}

impl Report {
    /// For a terminal.
    pub fn table(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes everything");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let value = serde_json::to_value(self).unwrap_or_default();
        let Run { rounds, seconds, cores, processor, load } = &self.run;
        writeln!(out, "{processor}, {cores} cores, load {load}; {rounds} rounds, {seconds:.0} s")?;

        writeln!(out, "\nns a call, shortest (median) batch")?;
        let settings = [("tight", 1), ("dependent", 1), ("tight", 2), ("dependent", 2)];
        write!(out, "{:18}", "")?;
        for (around, threads) in settings {
            write!(out, "{:>20}", format!("{around}, {threads} thr."))?;
        }
        writeln!(out)?;
        let calls = array(&value["calls"]);
        let mut lanes: Vec<&str> = Vec::new();
        for call in calls {
            let lane = text(&call["lane"]);
            if !lanes.contains(&lane) {
                lanes.push(lane);
            }
        }
        for lane in lanes {
            write!(out, "{lane:18}")?;
            for (around, threads) in settings {
                let call = calls.iter().find(|call| {
                    call["lane"] == lane && call["loop"] == around && call["threads"] == threads
                });
                let (min, median) = call.map_or((None, None), |call| {
                    (call["min_ns"].as_f64(), call["median_ns"].as_f64())
                });
                let cell = min
                    .zip(median)
                    .map_or("–".into(), |(min, median)| format!("{min:.2} ({median:.2})"));
                write!(out, "{cell:>20}")?;
            }
            writeln!(out)?;
        }

        writeln!(out, "\nratios, median over rounds of shortest batches (10 %–90 % of rounds)")?;
        for ratio in array(&value["ratios"]) {
            let (median, p10, p90) =
                (number(&ratio["median"]), number(&ratio["p10"]), number(&ratio["p90"]));
            let setting = format!("{}, {} thr.", text(&ratio["loop"]), ratio["threads"]);
            writeln!(
                out,
                "{:26}{setting:>20}{median:>9.3}  ({p10:.2}–{p90:.2})",
                text(&ratio["ratio"])
            )?;
        }

        writeln!(out, "\npayload, ns a call, shortest (median) batch")?;
        for payload in array(&value["payload"]) {
            let (min, median) = (number(&payload["min_ns"]), number(&payload["median_ns"]));
            writeln!(
                out,
                "{:14}{:10}{min:>10.2} ({median:.2})",
                text(&payload["what"]),
                text(&payload["lane"])
            )?;
        }

        writeln!(out, "\nreload, ms from the rename to new code")?;
        for reload in array(&value["reload"]) {
            let cell = |value: &Value| value.as_f64().map_or("–".into(), |ms| format!("{ms:.2}"));
            let (p50, p99) = (cell(&reload["p50_ms"]), cell(&reload["p99_ms"]));
            let note = reload["note"].as_str().unwrap_or_default();
            writeln!(
                out,
                "{:18}n={:<5}p50 {p50:>9}  p99 {p99:>9}  {note}",
                text(&reload["lane"]),
                reload["n"]
            )?;
        }
        writeln!(out, "ours/floor {:.2}", self.reload_to_floor)?;

        let blackout = &value["blackout"];
        writeln!(out, "\nblackout, µs for 1,000 calls (p50, p99, p99.9, max)")?;
        for state in ["quiet", "waking", "swapping"] {
            let one = &blackout[state];
            let cells = ["p50_us", "p99_us", "p999_us", "max_us"]
                .map(|q| format!("{:>10.2}", number(&one[q])));
            writeln!(out, "{state:10}{}", cells.concat())?;
        }
        writeln!(
            out,
            "p99.9 swapping/quiet {}, swapping/waking {}",
            blackout["p999_ratio"], blackout["p999_ratio_to_waking"]
        )?;
        let drain = &value["drain_us"];
        writeln!(
            out,
            "\ndrain, µs: p50 {}, p99 {}, max {}",
            drain["p50"], drain["p99"], drain["max"]
        )
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
