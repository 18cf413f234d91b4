//! The report: a curve for each promise, and whether it holds.

use crate::rounds::rounded;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// What a curve is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Promise {
    /// The same with any number.
    Flat,
    /// In proportion to the number.
    Linear,
}

impl Promise {
    /// The slope in a plot with logarithms on both axes, measured on a machine that others use too.
    pub fn slope_max(self) -> f64 {
        match self {
            Promise::Flat => 0.1,
            Promise::Linear => 1.1,
        }
    }
}

/// What is measured.
pub struct Kind {
    /// As in the report.
    pub name: &'static str,
    /// What it is to be.
    pub promise: Promise,
    /// The loader's figure that is taken off; `None` where what is measured is without that.
    pub loader: Option<&'static str>,
    /// It begins or ends when a thread is being started, which may be in it or not.
    pub has_edge: bool,
}

impl Kind {
    const fn flat(name: &'static str) -> Self {
        Kind { name, promise: Promise::Flat, loader: None, has_edge: false }
    }

    const fn with_edge(name: &'static str) -> Self {
        Kind { has_edge: true, ..Kind::flat(name) }
    }

    const fn linear(name: &'static str, loader: &'static str) -> Self {
        Kind { name, promise: Promise::Linear, loader: Some(loader), has_edge: false }
    }
}

/// How well the same is measured twice: a share of what is taken off.
const DOUBT: f64 = 0.05;

/// What was measured of one kind, with one number.
#[derive(Clone, Copy)]
pub struct Point {
    /// How many.
    pub count: usize,
    /// Of the host's own.
    pub own: f64,
    /// The loader's.
    pub loader: f64,
    /// The start of a thread.
    pub thread: f64,
}

impl Point {
    /// How much of its own may not be.
    fn doubt(&self, kind: &Kind) -> f64 {
        self.loader * DOUBT + if kind.has_edge { self.thread } else { 0.0 }
    }
}

/// By plugins.
pub const PLUGINS: [Kind; 8] = [
    Kind::flat("load"),
    Kind::flat("slot"),
    Kind::flat("update"),
    Kind::with_edge("drain"),
    Kind::with_edge("unmap"),
    Kind::flat("commit"),
    Kind::linear("shutdown", "close_all"),
    Kind::linear("restart", "open_all"),
];

/// By readers of events.
pub const SUBSCRIBERS: Kind = Kind::flat("subscribers");

/// One kind, over the numbers.
#[derive(Debug, Serialize)]
pub struct Curve {
    name: &'static str,
    promise: Promise,
    /// Microseconds of CPU, by number; the loader's are in none of them.
    own_us: BTreeMap<usize, f64>,
    /// The loader's, beside it.
    loader_us: BTreeMap<usize, f64>,
    /// What of the last number's may be taken for the host's and is not.
    doubt_us: f64,
    /// Between the last two numbers, of logarithms: of what is the host's without a doubt.
    slope: f64,
    holds: bool,
}

impl Curve {
    /// Of medians. `slack` is added to what the slope may be.
    ///
    /// # Panics
    /// There are fewer than two numbers.
    pub fn new(kind: &Kind, points: &[Point], slack: f64) -> Self {
        let [.., from, to] = points else { panic!("{} has fewer than two numbers", kind.name) };
        // What is small beside the loader's is a difference of two large numbers.
        let low = from.own.max(from.doubt(kind)).max(1.0);
        let high = (to.own - to.doubt(kind)).max(low);
        let slope = (high / low).ln() / (to.count as f64 / from.count as f64).ln();
        let by = |of: fn(&Point) -> f64| {
            points.iter().map(|point| (point.count, rounded(of(point)))).collect()
        };
        Curve {
            name: kind.name,
            promise: kind.promise,
            slope: rounded(slope),
            holds: slope <= kind.promise.slope_max() + slack,
            own_us: by(|point| point.own),
            loader_us: by(|point| point.loader),
            doubt_us: rounded(to.doubt(kind)),
        }
    }
}

/// A figure that may be so many times another.
#[derive(Debug, Serialize)]
pub struct Step {
    name: &'static str,
    before: f64,
    after: f64,
    ratio: f64,
    ratio_max: f64,
    holds: bool,
}

impl Step {
    /// `ratio` is a median of its own.
    pub fn new(name: &'static str, before: f64, after: f64, ratio: f64, ratio_max: f64) -> Self {
        Step {
            name,
            before: rounded(before),
            after: rounded(after),
            ratio: rounded(ratio),
            ratio_max: rounded(ratio_max),
            holds: ratio <= ratio_max,
        }
    }
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How often each was measured.
    pub rounds: usize,
    /// Slopes.
    pub curves: Vec<Curve>,
    /// Ratios.
    pub steps: Vec<Step>,
    /// Every promise does.
    pub holds: bool,
}

impl Report {
    /// From what was measured.
    pub fn new(rounds: usize, curves: Vec<Curve>, steps: Vec<Step>) -> Self {
        let holds = curves.iter().all(|curve| curve.holds) && steps.iter().all(|step| step.holds);
        Report { rounds, curves, steps, holds }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "µs of CPU of the host's own, by number (and the loader's beside it)")?;
        for curve in &self.curves {
            let promise = if curve.promise == Promise::Flat { "flat" } else { "linear" };
            write!(f, "{:12} {promise:7} slope {:6.2}", curve.name, curve.slope)?;
            write!(f, "{}", if curve.holds { "         " } else { " TOO MUCH" })?;
            for (number, own) in &curve.own_us {
                let loader = curve.loader_us.get(number).copied().unwrap_or(0.0);
                write!(f, "  {number}: {own:.0} ({loader:.0})")?;
            }
            writeln!(f)?;
        }
        for Step { name, before, after, ratio, ratio_max, holds } in &self.steps {
            let verdict = if *holds { "" } else { "  TOO MUCH" };
            writeln!(
                f,
                "{name:20} {before:10.2} → {after:10.2}: {ratio:.2}, at most {ratio_max}{verdict}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slope(kind: &Kind, own: [f64; 2], loader: [f64; 2]) -> (f64, bool) {
        let point = |at: usize| Point {
            count: [100, 1_000][at],
            own: own[at],
            loader: loader[at],
            thread: 50.0,
        };
        let curve = Curve::new(kind, &[point(0), point(1)], 0.0);
        (curve.slope, curve.holds)
    }

    #[test]
    fn g09_what_is_in_doubt_is_no_growth_and_what_grows_is_found_beside_it() {
        let [flat, edge] = [Kind::flat("flat"), Kind::with_edge("edge")];
        assert_eq!(slope(&flat, [1000.0, 1200.0], [0.0, 0.0]), (0.079, true));
        assert_eq!(slope(&flat, [1000.0, 1300.0], [0.0, 0.0]), (0.114, false));
        // A difference of two large numbers, on either side of nothing.
        assert_eq!(slope(&flat, [-20.0, 150.0], [700.0, 3000.0]), (0.0, true));
        assert_eq!(slope(&flat, [40.0, 190.0], [700.0, 3000.0]), (0.0, true));
        // A third of a microsecond for each plugin.
        assert!(!slope(&flat, [40.0, 340.0], [700.0, 3000.0]).1);
        assert_eq!(slope(&edge, [60.0, 120.0], [0.0, 0.0]), (0.067, true));
        assert!(!slope(&edge, [60.0, 360.0], [0.0, 0.0]).1);
        let linear = Kind::linear("linear", "all");
        assert_eq!(slope(&linear, [1e5, 1e6], [1e4, 1e5]), (0.998, true));
        assert!(!slope(&linear, [1e5, 2e6], [1e4, 1e5]).1);
    }
}
