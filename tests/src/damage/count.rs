//! Counts: what became of damaged libraries, by the place of the damage.

use super::cases::Case;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many of those that went wrong are named.
const NAMED_MAX: usize = 200;

/// What became of one damaged library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Refused, and what served before served on.
    Refused {
        /// The refusal's.
        code: String,
        /// The refusal's.
        stage: String,
    },
    /// It served right, was replaced, and went.
    Served,
    /// It gave a wrong answer, or stayed, and did no harm to the service.
    Wrong(String),
    /// The service ended or hung.
    Killed(String),
}

/// What became of many.
#[derive(Debug, Default)]
pub struct Counts {
    places: BTreeMap<String, Count>,
    killed: Vec<Value>,
    wrong: Vec<Value>,
}

#[derive(Debug, Default)]
struct Count {
    is_code: bool,
    cases: u64,
    refused: BTreeMap<String, u64>,
    served: u64,
    wrong: u64,
    killed: BTreeMap<String, u64>,
}

impl Counts {
    /// One more.
    pub fn add(&mut self, case: &Case, outcome: &Outcome) {
        let place =
            if case.is_code { format!("{} (code)", case.place) } else { case.place.clone() };
        let count = self.places.entry(place).or_default();
        count.is_code = case.is_code;
        count.cases += 1;
        let named = |how: &str| json!({ "case": case.label, "place": case.place, "how": how });
        match outcome {
            Outcome::Refused { code, .. } => *count.refused.entry(code.clone()).or_default() += 1,
            Outcome::Served => count.served += 1,
            Outcome::Wrong(how) => {
                count.wrong += 1;
                if !case.is_code && self.wrong.len() < NAMED_MAX {
                    self.wrong.push(named(how));
                }
            }
            Outcome::Killed(how) => {
                *count.killed.entry(how.clone()).or_default() += 1;
                if !case.is_code && self.killed.len() < NAMED_MAX {
                    self.killed.push(named(how));
                }
            }
        }
    }

    /// Those outside of code that ended the service.
    pub fn killed(&self) -> u64 {
        self.sum(false, |count| count.killed.values().sum())
    }

    /// Those in code that did.
    pub fn killed_as_code(&self) -> u64 {
        self.sum(true, |count| count.killed.values().sum())
    }

    /// All of them.
    pub fn cases(&self) -> u64 {
        self.places.values().map(|count| count.cases).sum()
    }

    /// Those that were refused.
    pub fn refused(&self) -> u64 {
        self.places.values().flat_map(|count| count.refused.values()).sum()
    }

    /// As JSON: the sums, each place, and those outside of code that went wrong, by name.
    pub fn report(&self) -> Value {
        let places: BTreeMap<_, _> =
            self.places.iter().map(|(name, count)| (name, count.report())).collect();
        json!({
            "cases": self.cases(),
            "refused": self.refused(),
            "served": self.places.values().map(|count| count.served).sum::<u64>(),
            "wrong": self.sum(false, |count| count.wrong),
            "wrong_as_code": self.sum(true, |count| count.wrong),
            "killed": self.killed(),
            "killed_as_code": self.killed_as_code(),
            "places": places,
            "killed_cases": self.killed,
            "wrong_cases": self.wrong,
        })
    }

    /// The sums, in one line.
    pub fn line(&self) -> String {
        let (cases, refused) = (self.cases(), self.refused());
        let (killed, as_code) = (self.killed(), self.killed_as_code());
        let wrong = self.places.values().map(|count| count.wrong).sum::<u64>();
        format!(
            "{cases} cases, {refused} refused, {wrong} wrong, {killed} killed, {as_code} killed as code"
        )
    }

    fn sum(&self, is_code: bool, of: impl Fn(&Count) -> u64) -> u64 {
        self.places.values().filter(|count| count.is_code == is_code).map(of).sum()
    }
}

impl Count {
    fn report(&self) -> Value {
        json!({
            "cases": self.cases, "refused": self.refused, "served": self.served,
            "wrong": self.wrong, "killed": self.killed,
        })
    }
}
