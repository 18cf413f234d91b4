//! What came of it, for people and for machines.

use crate::clients::Seen;
use crate::director::Switches;
use crate::tick::Ticks;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt;

pub(crate) struct Report {
    pub(crate) ticks: Ticks,
    pub(crate) clients: Seen,
    pub(crate) switches: Switches,
}

impl Report {
    /// What must be 0.
    fn faults(&self) -> [(&'static str, u64); 9] {
        let Report { ticks, clients, switches } = self;
        [
            ("stalls_by_switches", ticks.missed.by_switches()),
            ("clients_dropped", clients.dropped.max(ticks.dropped)),
            ("snapshots_lost", clients.snapshots_lost),
            ("inputs_lost", clients.inputs_lost),
            ("inputs_disordered", ticks.disordered),
            ("points_lost", ticks.points_lost),
            ("mixed", ticks.mixed),
            ("calls_failed", ticks.faults.len() as u64),
            ("switches_refused", switches.refused.len() as u64),
        ]
    }

    /// Nothing went wrong, and there was something that could have.
    pub(crate) fn is_good(&self) -> bool {
        self.faults().iter().all(|(_, count)| *count == 0)
            && self.switches.switched > 0
            && self.ticks.moves > 0
            && self.clients.snapshots > 0
    }

    pub(crate) fn json(&self) -> Value {
        let Report { ticks, clients, switches } = self;
        let mut report = json!({
            "ticks": ticks.run,
            "late_ms": quantiles(&ticks.late),
            "tick_ms": quantiles(&ticks.took),
            "switch_ms": quantiles(&ticks.switching),
            "switches": switches.switched,
            "ticks_missed_quiet": ticks.missed.while_quiet(),
            "ticks_missed_switching": ticks.missed.while_switching(),
            "clients": clients.clients,
            "snapshots": clients.snapshots,
            "inputs": clients.inputs,
            "moves": ticks.moves,
        });
        for (name, count) in self.faults() {
            report[name] = count.into();
        }
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { ticks, clients, switches } = self;
        writeln!(
            f,
            "{} ticks, {} clients, {} moves, {} snapshots",
            ticks.run, clients.clients, ticks.moves, clients.snapshots
        )?;
        writeln!(
            f,
            "{} switches of the rules, between two ticks, with the points of all players",
            switches.switched
        )?;
        for (what, histogram) in [
            ("a tick began late by", &ticks.late),
            ("a tick took", &ticks.took),
            ("a switch took", &ticks.switching),
        ] {
            let ms = |quantile| millis(histogram.value_at_quantile(quantile));
            writeln!(
                f,
                "{what:22} p50 {:6.2} ms   p99 {:6.2} ms   max {:6.2} ms",
                ms(0.5),
                ms(0.99),
                ms(1.0)
            )?;
        }
        writeln!(
            f,
            "{:22} {} while nothing changed, {} while rules were switched",
            "ticks missed",
            ticks.missed.while_quiet(),
            ticks.missed.while_switching()
        )?;
        for (name, count) in self.faults() {
            writeln!(f, "{name:22} {count}")?;
        }
        let refused = switches.refused.iter().map(|refusal| format!("refused: {refusal}"));
        let failed = ticks.faults.iter().map(|fault| format!("failed: {fault}"));
        refused.chain(failed).take(10).try_for_each(|line| writeln!(f, "{line}"))?;
        f.write_str(if self.is_good() {
            "nothing was lost, and no switch was felt"
        } else {
            "see above for what went wrong"
        })
    }
}

fn quantiles(histogram: &Histogram<u64>) -> Value {
    let ms = |quantile| millis(histogram.value_at_quantile(quantile));
    json!({ "p50": ms(0.5), "p99": ms(0.99), "max": ms(1.0) })
}

/// Of microseconds.
fn millis(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::{Report, Seen, Switches, Ticks};
    use crate::windows::{Missed, Window};
    use hdrhistogram::Histogram;

    fn good() -> Report {
        let histogram = || Histogram::new(3).expect("a histogram");
        let ticks = Ticks {
            run: 1,
            missed: Missed::default(),
            late: histogram(),
            took: histogram(),
            switching: histogram(),
            moves: 1,
            mixed: 0,
            points_lost: 0,
            disordered: 0,
            dropped: 0,
            faults: Vec::new(),
        };
        let clients = Seen { clients: 1, snapshots: 1, inputs: 1, ..Seen::default() };
        Report { ticks, clients, switches: Switches { switched: 1, refused: Vec::new() } }
    }

    #[test]
    fn anything_that_is_wrong_is_not_good() {
        assert!(good().is_good());
        let spoils: [fn(&mut Report); 12] = [
            |report| {
                for missed in [true, false].into_iter().cycle().take(20) {
                    report.ticks.missed.note(Window::Switching, missed);
                }
            },
            |report| report.ticks.mixed = 1,
            |report| report.ticks.points_lost = 1,
            |report| report.ticks.disordered = 1,
            |report| report.ticks.dropped = 1,
            |report| report.ticks.faults.push(midflight::Fault::NestedTooDeep { bound: 1 }),
            |report| report.clients.dropped = 1,
            |report| report.clients.snapshots_lost = 1,
            |report| report.clients.inputs_lost = 1,
            |report| report.switches.switched = 0,
            |report| report.ticks.moves = 0,
            |report| report.clients.snapshots = 0,
        ];
        for (at, spoil) in spoils.iter().enumerate() {
            let mut report = good();
            spoil(&mut report);
            assert!(!report.is_good(), "{at}");
            assert!(report.to_string().contains("went wrong"));
        }
    }
}
