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

/// What is measured, and what of it is the loader's.
pub struct Kind {
    /// As in the report.
    pub name: &'static str,
    /// What it is to be.
    pub promise: Promise,
    /// The loader's figures that are taken off.
    pub loader: &'static [&'static str],
}

/// By plugins.
pub const PLUGINS: [Kind; 8] = [
    Kind { name: "load", promise: Promise::Flat, loader: &["open", "thread", "thread"] },
    Kind { name: "slot", promise: Promise::Flat, loader: &["thread"] },
    Kind { name: "update", promise: Promise::Flat, loader: &["open", "thread", "thread"] },
    Kind { name: "drain", promise: Promise::Flat, loader: &[] },
    Kind {
        name: "unmap",
        promise: Promise::Flat,
        loader: &["close", "look", "thread", "thread", "thread"],
    },
    Kind { name: "commit", promise: Promise::Flat, loader: &["open", "thread", "thread"] },
    Kind { name: "shutdown", promise: Promise::Linear, loader: &["close_all"] },
    Kind { name: "restart", promise: Promise::Linear, loader: &["open_all"] },
];

/// By readers of events.
pub const SUBSCRIBERS: Kind = Kind { name: "subscribers", promise: Promise::Flat, loader: &[] };

/// One kind, over the numbers.
#[derive(Debug, Serialize)]
pub struct Curve {
    name: &'static str,
    promise: Promise,
    /// Microseconds of CPU, by number; the loader's are in none of them.
    own_us: BTreeMap<usize, f64>,
    /// The loader's, beside it.
    loader_us: BTreeMap<usize, f64>,
    /// Between the last two numbers, of logarithms.
    slope: f64,
    holds: bool,
}

impl Curve {
    /// Of medians. `slack` is added to what the slope may be.
    ///
    /// # Panics
    /// There are fewer than two numbers.
    pub fn new(
        kind: &Kind,
        own: BTreeMap<usize, f64>,
        loader: BTreeMap<usize, f64>,
        slack: f64,
    ) -> Self {
        let mut last = own.iter().rev();
        let (Some((to, high)), Some((from, low))) = (last.next(), last.next()) else {
            panic!("{} has fewer than two numbers", kind.name)
        };
        // Of what is left beside the loader's, less than a microsecond is nothing.
        let slope = (high.max(1.0) / low.max(1.0)).ln() / (*to as f64 / *from as f64).ln();
        Curve {
            name: kind.name,
            promise: kind.promise,
            slope: rounded(slope),
            holds: slope <= kind.promise.slope_max() + slack,
            own_us: own.into_iter().map(|(n, us)| (n, rounded(us))).collect(),
            loader_us: loader.into_iter().map(|(n, us)| (n, rounded(us))).collect(),
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
            ratio_max,
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
