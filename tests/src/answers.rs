//! Answers: everything that a plugin can be asked, and what it has to say.

use crate::Way;
use midflight::{CallError, Fault};
use midflight_plugin::rt::Gate;
use probe_contracts::{ProbeCalls, Refused, Side, Trade};

/// A trade of `quantity`.
pub fn trade(quantity: u32) -> Trade {
    Trade {
        symbol: "ABC".into(),
        side: Side::Buy,
        quantity,
        price_ticks: 1_001,
        tags: ["x".into()].into_iter().collect(),
        limit: None.into(),
    }
}

/// Asks `probe` everything, and asserts that build `version` answers each time, and rightly.
#[track_caller]
pub fn check_answers<G: Gate>(probe: &ProbeCalls<G>, version: u32) {
    check(probe, version, Way::Dynamic);
}

#[track_caller]
pub(crate) fn check<G: Gate>(probe: &ProbeCalls<G>, version: u32, way: Way) {
    let build = u64::from(version);
    assert_eq!(probe.version(), Ok(version));
    assert_eq!(probe.fee(&trade(20)), Ok(20 * build));
    assert_eq!(probe.total(&[trade(1), trade(2), trade(3)]), Ok(6 * build));
    assert_eq!(probe.total(&[]), Ok(0));
    assert_eq!(
        probe.names("n", &[0, u64::MAX]),
        Ok(vec!["n0".to_owned(), format!("n{}", u64::MAX)])
    );
    assert_eq!(probe.maybe(4), Ok(Some(format!("4 is even for {version}"))));
    assert_eq!(probe.maybe(5), Ok(None));
    let tagged = probe.tagged(trade(5), "y".to_owned()).expect("a trade");
    assert_eq!(tagged.tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(Trade { tags: trade(5).tags, ..tagged }, trade(5));
    let quote = probe.quote("XYZ").expect("a quote");
    assert_eq!((quote.symbol.as_str(), quote.side, quote.quantity), ("XYZ", Side::Sell, version));
    assert_eq!((quote.price_ticks, quote.limit.into_option()), (-7, Some(i64::from(version))));
    assert_eq!(quote.tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>(), ["a", "tag"]);
    assert_eq!(probe.quote("what?"), Err(CallError::Declined(Refused::Unknown("what?".into()))));
    assert_eq!(probe.quote("ALL"), Err(CallError::Declined(Refused::TooLarge { limit: build })));
    assert_eq!(probe.quote(""), Err(CallError::Declined(Refused::Closed)));
    let generation = probe.generation().expect("a generation");
    assert_eq!(probe.nested(3), Ok(vec![generation; 4]));
    let fault =
        probe.panic(crate::desk::OPEN, probe_contracts::Panic::Formatted).expect_err("a panic");
    let Fault::Panicked(report) = fault else { panic!("{fault:?} is no panic") };
    assert_eq!(report.message, format!("a panic of build {version}"));
    assert!(way.knows(&report.location), "{report}");
    assert_eq!((report.version, report.generation), (format!("{version}.0.0"), generation));
}
