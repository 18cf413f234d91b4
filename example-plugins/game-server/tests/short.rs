//! A few seconds of the game. How late a tick is is the machine's affair; what is lost is not.

use serde_json::Value;
use std::process::Command;

#[test]
fn nothing_is_lost_while_the_rules_are_replaced() {
    let mut game = Command::new(env!("CARGO_BIN_EXE_game-server"));
    let played =
        game.args(["--seconds", "4", "--clients", "50", "--swap-every", "100", "--json"]).output();
    let played = played.expect("it runs");
    let report: Value = serde_json::from_slice(&played.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&played.stderr)));
    let lost = [
        "clients_dropped",
        "snapshots_lost",
        "inputs_lost",
        "inputs_disordered",
        "points_lost",
        "mixed",
        "calls_failed",
        "switches_refused",
    ];
    for what in lost {
        assert_eq!(report[what], 0, "{what}: {report:#}");
    }
    let at_least = |what: &str, least: u64| {
        assert!(report[what].as_u64().is_some_and(|count| count >= least), "{what}: {report:#}");
    };
    at_least("switches", 2);
    at_least("clients", 50);
    at_least("moves", 50 * 60);
    // Its exit says the same, and besides whether switches stalled the game.
    let stalled = report["stalls_by_switches"] != 0;
    assert_eq!(played.status.code(), Some(i32::from(stalled)), "{report:#}");
}

#[test]
fn wrong_usage_is_told() {
    let told = Command::new(env!("CARGO_BIN_EXE_game-server"))
        .args(["--clients", "0"])
        .output()
        .expect("it runs");
    assert_eq!(told.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&told.stderr).contains("--clients"));
}
