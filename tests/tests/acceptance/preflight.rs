//! Preflight: what a candidate does to its process when it is opened, it does to a child's.
//!
//! The line stands in a service's main, and that of tests is libtest's: so the service is a program
//! of its own, `preflighted`.

use midflight_tests::{Fixture, WITHIN, fixtures_for, is_root_to};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One start of the service.
struct Service {
    /// A line for each file.
    lines: Vec<Value>,
    /// `place pid` of each deed.
    journal: Vec<String>,
    /// The file of its deeds.
    deed: String,
    /// How it ended, and what it wrote about that.
    end: String,
    took: Duration,
    ok: bool,
}

fn service(words: &[&str]) -> Service {
    let home = TempDir::new().expect("a directory");
    let deed = home.path().join("deed");
    let mut command = Command::new(env!("CARGO_BIN_EXE_preflighted"));
    fixtures_for(&mut command);
    // A signal is to be that signal under AddressSanitizer, too; what else is set there stays.
    let asan = std::env::var("ASAN_OPTIONS").unwrap_or_default();
    let asan = format!("{asan}:handle_segv=0:handle_abort=0");
    command.args(words).env("PROBE_DEED", &deed).env("ASAN_OPTIONS", asan);
    let began = Instant::now();
    let output = command.output().expect("a service");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let journal = fs::read_to_string(home.path().join("deed.journal")).unwrap_or_default();
    Service {
        lines: lines(&stdout),
        journal: journal.lines().map(str::to_owned).collect(),
        deed: deed.display().to_string(),
        end: format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)),
        took: began.elapsed(),
        ok: output.status.success(),
    }
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// A service with the line that applies one file, which is refused: 1.0.0 serves on and nothing was
/// left.
#[track_caller]
fn refused(words: &[&str], fixture: Fixture) -> (Service, Value) {
    let file = fixture.path().display().to_string();
    let words = [&["line"], words, &[file.as_str()]].concat();
    let service = service(&words);
    assert!(service.ok, "{words:?}\n{:?}\n{}", service.lines, service.end);
    let line = service.lines[0].clone();
    assert_eq!(line["probe"], json!(1), "{line:#}");
    assert_eq!(line["before"], line["after"], "{line:#}");
    assert_eq!(line["after"]["children"], json!(false), "{line:#}");
    let result = line["result"].clone();
    assert_eq!(result["has_file"], json!(true), "{result:#}");
    (service, result)
}

#[track_caller]
fn check(words: &[&str], fixture: Fixture, code: &str, reason: &str) -> Service {
    let (service, result) = refused(words, fixture);
    assert_eq!(result["code"], json!(code), "{result:#}");
    assert!(result["reason"].as_str().expect("a reason").contains(reason), "{result:#}");
    service
}

#[test]
fn a_constructor_that_crashes() {
    let reason =
        "the process died of SIGSEGV in its constructors; its stderr ends with: about to crash";
    let (service, result) = refused(&["do=constructor=crash"], Fixture::Constructor);
    assert!(result["reason"].as_str().expect("a reason").contains(reason), "{result:#}");
    let expected = json!(["preflight_crashed", "preflight", "probe", "2.0.0"]);
    assert_eq!(
        json!([result["code"], result["stage"], result["plugin"], result["version"]]),
        expected
    );
    assert_eq!(service.journal.len(), 1, "it ran in the child alone: {:?}", service.journal);
}

#[test]
fn a_constructor_that_exits() {
    let reason = "the process exited with code 7 in its constructors";
    check(&["do=constructor=exit"], Fixture::Constructor, "preflight_exited", reason);
}

#[test]
fn a_constructor_that_hangs() {
    // Whatever is left to a load: that has not begun.
    let words = ["deadline=1000", "start-deadline=300", "do=constructor=hang"];
    let reason = "its constructors had not returned after 1s";
    let service = check(&words, Fixture::Constructor, "preflight_timed_out", reason);
    assert!(service.took >= Duration::from_secs(1), "{:?}", service.took);
}

#[test]
fn a_service_that_is_killed_takes_the_child_with_it() {
    let home = TempDir::new().expect("a directory");
    let (deed, file) = (home.path().join("deed"), Fixture::Constructor.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_preflighted"));
    fixtures_for(&mut command);
    command.args(["line", "do=constructor=hang"]).arg(file).env("PROBE_DEED", &deed);
    let mut service = command.spawn().expect("a service");
    let journal = home.path().join("deed.journal");
    let child = until("the child is in the constructor", || {
        let journal = fs::read_to_string(&journal).ok()?;
        journal.strip_suffix('\n')?.strip_prefix("constructor ").map(str::to_owned)
    });
    service.kill().expect("a service to kill");
    service.wait().expect("its end");
    until("the child has ended", || {
        let status = fs::read_to_string(format!("/proc/{child}/status"));
        // Nobody may wait for it.
        status.map_or(true, |status| status.contains("State:\tZ")).then_some(())
    });
}

#[track_caller]
fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(began.elapsed() < WITHIN, "not within {WITHIN:?}: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_constructor_that_starts_a_process_and_exits() {
    let words = ["do=constructor=litter"];
    let service = check(&words, Fixture::Constructor, "preflight_exited", "exited with code 0");
    assert!(
        service.took < Duration::from_secs(300),
        "what it started holds nobody up: {:?}",
        service.took
    );
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let environments =
        processes.filter_map(|process| fs::read_to_string(process.path().join("environ")).ok());
    let deed = format!("PROBE_DEED={}\0", service.deed);
    assert_eq!(environments.filter(|all| all.contains(&deed)).count(), 0, "it was killed as well");
}

#[test]
fn a_constructor_that_prints_more_than_a_pipe_holds() {
    let words = ["do=constructor=print"];
    let reason = "the process exited with code 8 in its constructors; its stderr ends with: ";
    check(&words, Fixture::Constructor, "preflight_exited", reason);
}

#[test]
fn a_candidate_that_is_well_is_opened_twice() {
    let files =
        [Fixture::Constructor, Fixture::Alone].map(|fixture| fixture.path().display().to_string());
    let service = service(&["line", &files[0], &files[1]]);
    assert!(service.ok, "{}", service.end);
    assert_eq!(service.lines[0]["result"], json!({ "applied": "probe 2.0.0" }));
    assert_eq!(service.lines[0]["probe"], json!(2));
    let places: Vec<_> = service.journal.iter().filter_map(|line| line.split_once(' ')).collect();
    let (child, own) = (places[0], places[1]);
    assert_eq!((child.0, own.0), ("constructor", "constructor"));
    assert_ne!(child.1, own.1, "in two processes");
    // No wish, so its start ran in the service alone.
    assert_eq!(places[2..], [("start", own.1), ("stop", own.1)]);
    let events = service.lines[1]["events"].as_array().expect("events");
    assert_eq!(events.iter().filter(|name| *name == "preflighted").count(), 3, "{events:?}");
}

/// Both open the same file, one after the other.
#[test]
fn an_image_that_its_candidate_has_written_to_is_made_anew() {
    let file = Fixture::Constructor.path().display().to_string();
    let service = service(&["line", "do=constructor=deface", &file, "end"]);
    assert!(service.ok, "{}", service.end);
    assert_eq!(service.lines[0]["result"], json!({ "applied": "probe 2.0.0" }));
    assert_eq!(service.journal.len(), 2, "in the child and here: {:?}", service.journal);
    let end = service.lines.last().expect("an end");
    assert_eq!(*end, json!({ "children": [], "descriptors_left": 0 }));
}

#[test]
fn a_child_in_which_a_candidate_is_mapped_still_has_ended_when_the_service_opens_it() {
    let file = Fixture::Constructor.path().display().to_string();
    let service = service(&["line", "do=constructor=linger", &file]);
    assert!(service.ok, "{}", service.end);
    assert_eq!(service.lines[0]["result"], json!({ "applied": "probe 2.0.0" }));
    let places: Vec<_> = service.journal.iter().filter_map(|line| line.split_once(' ')).collect();
    let places: Vec<_> = places.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, ["constructor", "constructor"]);
}

#[test]
fn another_layout_is_refused_in_the_child() {
    for (fixture, code, reason) in [
        (Fixture::ChangedField, "layout_mismatch", "Trade.quantity: plugin says i32"),
        (Fixture::ExtraVariant, "layout_mismatch", "plugin says"),
    ] {
        let service = check(&[], fixture, code, reason);
        let events = service.lines[0]["events"].as_array().expect("events");
        let names: Vec<_> = events.iter().filter_map(Value::as_str).collect();
        assert_eq!(
            names[names.len() - 2..],
            ["staged", "refused"],
            "nothing was loaded here: {names:?}"
        );
    }
}

#[test]
fn a_start_that_crashes_where_its_author_wants_it_tested() {
    let words = ["do=start=crash"];
    let service = check(
        &words,
        Fixture::AlonePreflighted,
        "preflight_crashed",
        "died of SIGABRT in its start",
    );
    assert_eq!(service.journal.len(), 1, "{:?}", service.journal);
}

#[test]
fn a_start_that_fails_or_panics_in_the_child() {
    check(
        &["do=start=fail"],
        Fixture::AlonePreflighted,
        "start_failed",
        "start says: it was told to",
    );
    check(&["do=start=panic"], Fixture::AlonePreflighted, "start_panicked", "it was told to");
}

#[test]
fn a_start_that_is_well_is_stopped_in_the_child() {
    let file = Fixture::AlonePreflighted.path().display().to_string();
    let service = service(&["line", &file]);
    assert!(service.ok, "{}", service.end);
    assert_eq!(service.lines[0]["alone"], json!(2));
    let places: Vec<_> = service.journal.iter().filter_map(|line| line.split_once(' ')).collect();
    let (child, own) = (places[0].1, places[2].1);
    assert_ne!(child, own);
    assert_eq!(places, [("start", child), ("stop", child), ("start", own), ("stop", own)]);
}

#[test]
fn a_start_runs_in_the_service_alone_where_its_author_says_nothing() {
    let service =
        check(&["do=start=fail"], Fixture::Alone, "start_failed", "start says: it was told to");
    assert_eq!(service.journal.len(), 1, "{:?}", service.journal);
    let events = service.lines[0]["events"].as_array().expect("events");
    let names: Vec<_> = events.iter().filter_map(Value::as_str).collect();
    assert_eq!(
        names[names.len() - 4..],
        ["staged", "preflighted", "loaded", "refused"],
        "{names:?}"
    );
}

#[test]
fn a_service_that_does_not_wait_for_its_children() {
    let reason =
        "ended unseen (the service ignores SIGCHLD, or waits for every child) in its constructors";
    for how in ["ignore-children", "reap-children"] {
        let (_, result) = refused(&[how, "do=constructor=crash"], Fixture::Constructor);
        // Somebody who reaps may come second.
        let (code, said) = (
            result["code"].as_str().expect("a code"),
            result["reason"].as_str().expect("a reason"),
        );
        let seen = code == "preflight_crashed" && how == "reap-children";
        assert!(seen || code == "preflight_exited" && said.contains(reason), "{result:#}");
        let (_, result) =
            refused(&[how, "deadline=1000", "do=constructor=hang"], Fixture::Constructor);
        assert_eq!(result["code"], json!("preflight_timed_out"), "{result:#}");
    }
}

#[test]
fn without_the_line_or_switched_off_there_is_none() {
    let file = Fixture::Constructor.path().display().to_string();
    for words in [&[file.as_str()][..], &["line", "off", &file]] {
        let service = service(words);
        assert!(service.ok, "{}", service.end);
        assert_eq!(service.lines[0]["probe"], json!(2));
        assert_eq!(service.journal.len(), 1, "in the service alone: {:?}", service.journal);
        let events = service.lines[0]["events"].as_array().expect("events");
        assert!(events.iter().all(|name| name != "preflighted"), "{events:?}");
    }
}

#[test]
fn the_variable_alone_makes_no_child() {
    let file = Fixture::V2.path().display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_preflighted"));
    fixtures_for(&mut command);
    let output =
        command.args(["line", &file]).env("MIDFLIGHT_PREFLIGHT", std::process::id().to_string());
    let output = output.output().expect("a service");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("preflighted"));
}

/// One that was well was closed in the child too, and the service has all of it once more.
#[test]
fn d01_the_preflight_closes_what_it_opened() {
    let reason = "in the preflight the process died of SIGSEGV in its unloading";
    let service =
        check(&["do=destructor=crash"], Fixture::Constructor, "preflight_crashed", reason);
    let places: Vec<_> = service.journal.iter().filter_map(|line| line.split_once(' ')).collect();
    let child = places[0].1;
    assert_eq!(places, [("constructor", child), ("destructor", child)], "in the child alone");
}

#[test]
fn d01_what_a_thread_leaves_runs_in_the_child_before_it_is_closed() {
    let reason = "the process died of SIGABRT in the destructors of its thread-locals";
    check(&["do=local=crash"], Fixture::AlonePreflighted, "preflight_crashed", reason);
}

#[test]
fn u03_a_start_that_crashes_where_the_host_wants_it_tested() {
    let reason = "died of SIGABRT in its start";
    let [alone, two] = [Fixture::Alone, Fixture::V2].map(|it| it.path().display().to_string());
    // Without `probe` 1.0.0, which needs the host's services, and gets none there.
    let service =
        service(&["line", "start", "bare", "do=start=crash", &alone, &two, "do=", &alone]);
    assert!(service.ok, "{}", service.end);
    let results: Vec<_> = service.lines.iter().map(|line| &line["result"]).collect();
    assert_eq!(results[0]["code"], json!("preflight_crashed"), "{:#}", results[0]);
    assert!(results[0]["reason"].as_str().expect("a reason").contains(reason), "{:#}", results[0]);
    assert_eq!(results[1]["code"], json!("service_missing"), "{:#}", results[1]);
    assert_eq!(*results[2], json!({ "applied": "alone 1.0.0" }));
    let places: Vec<_> = service.journal.iter().filter_map(|line| line.split_once(' ')).collect();
    let (crashed, child, own) = (places[0].1, places[1].1, places[3].1);
    let lives =
        [("start", crashed), ("start", child), ("stop", child), ("start", own), ("stop", own)];
    assert_eq!(places, lives);
}

/// After `words`, which end with a `kept`, the next candidate with a constructor: who was kept, and
/// who opened it.
#[track_caller]
fn kept_and_used(words: &[&str]) -> (Service, String, String) {
    let file = |fixture: Fixture| fixture.path().display().to_string();
    let (first, second) = (file(Fixture::V2), file(Fixture::Constructor));
    let words = [&["line", first.as_str(), "kept"], words, &[second.as_str(), "end"]].concat();
    let service = service(&words);
    assert!(service.ok, "{words:?}\n{}", service.end);
    let kept = service.lines[1]["kept"].to_string();
    let applied = &service.lines[service.lines.len() - 2]["result"];
    assert_eq!(*applied, json!({ "applied": "probe 2.0.0" }), "{words:?}");
    let used = service.journal[0].strip_prefix("constructor ").expect("its constructor").to_owned();
    let end = service.lines.last().expect("an end");
    assert_eq!(*end, json!({ "children": [], "descriptors_left": 0 }), "{words:?}");
    (service, kept, used)
}

#[test]
fn a_child_is_kept_and_serves_one_candidate() {
    let (_, kept, used) = kept_and_used(&[]);
    assert_eq!(kept, used, "the next candidate is its own");
    let file = |fixture: Fixture| fixture.path().display().to_string();
    let (two, three, opened) = (file(Fixture::V2), file(Fixture::V3), file(Fixture::Constructor));
    let service =
        service(&["line", &two, "kept", &opened, "kept", &three, "kept", &opened, "kept"]);
    assert!(service.ok, "{}", service.end);
    let kept: Vec<_> = service.lines.iter().filter_map(|line| line.get("kept")).collect();
    let mut different = kept.clone();
    different.dedup();
    assert_eq!(different, kept, "one child, one candidate");
    let children: Vec<_> = service.lines.iter().filter_map(|line| line.get("children")).collect();
    let alone: Vec<_> = kept.iter().map(|kept| json!([[kept, false]])).collect();
    assert_eq!(children, alone.iter().collect::<Vec<_>>(), "and there is no other");
}

#[test]
fn nothing_is_kept_where_nothing_was_switched_or_nobody_wants_it() {
    let file = |fixture: Fixture| fixture.path().display().to_string();
    let (two, three) = (file(Fixture::V2), file(Fixture::V3));
    let changed = file(Fixture::ChangedField);
    for words in [&["line", changed.as_str()][..], &["line", "unkept", &two, &three]] {
        let service = service(words);
        assert!(service.ok, "{}", service.end);
        for line in &service.lines {
            assert_eq!(line["after"]["children"], json!(false), "{words:?}: {line:#}");
        }
    }
}

#[test]
fn a_kept_child_that_was_killed_refuses_nothing() {
    let (_, kept, used) = kept_and_used(&["kill-kept"]);
    assert_ne!(kept, used);
}

#[test]
fn a_kept_child_is_thrown_away_when_what_it_inherited_has_changed() {
    let mut changes = vec!["directory", "limits", "umask", "environment"];
    if is_root_to("change the groups, too") {
        changes.push("groups");
    }
    for what in changes {
        let (_, kept, used) = kept_and_used(&[&format!("change={what}")]);
        assert_ne!(kept, used, "{what} has changed");
    }
}

#[test]
fn a_hundred_updates_leave_one_child_and_a_shutdown_none() {
    let files = [Fixture::V2, Fixture::V3].map(|fixture| fixture.path().display().to_string());
    let mut words = vec!["line", &files[0], &files[1], "kept"];
    words.extend(files.iter().map(String::as_str).cycle().take(100));
    words.extend(["kept", "end"]);
    let service = service(&words);
    assert!(service.ok, "{}", service.end);
    let rests: Vec<_> = service.lines.iter().filter(|line| line.get("kept").is_some()).collect();
    for what in ["descriptors", "files"] {
        assert_eq!(rests[0][what], rests[1][what], "{what}: {rests:#?}");
    }
    assert_eq!(rests[1]["children"], json!([[rests[1]["kept"], false]]), "one, and no zombie");
    let end = service.lines.last().expect("an end");
    assert_eq!(*end, json!({ "children": [], "descriptors_left": 0 }));
}

#[test]
fn a_service_that_is_killed_takes_the_kept_child_with_it() {
    let (mut service, kept) = service_that_waits();
    service.kill().expect("a service to kill");
    service.wait().expect("its end");
    until("the child has ended", || {
        let status = fs::read_to_string(format!("/proc/{kept}/status"));
        status.map_or(true, |status| status.contains("State:\tZ")).then_some(())
    });
}

/// A lock or a socket that the service closes is closed.
#[test]
fn a_kept_child_holds_nothing_open_for_the_service() {
    let (_read, write) = std::io::pipe().expect("a pipe");
    // Without the mark that it ends with an exec, so that it comes to the service and on.
    let given = rustix::io::dup(&write).expect("one more");
    let pipe = |process: &str, descriptor: i32| {
        fs::read_link(format!("/proc/{process}/fd/{descriptor}")).expect("a descriptor")
    };
    let given_is = pipe("self", given.as_raw_fd());
    let (mut service, kept) = service_that_waits();
    let opened = |process: &str| {
        let all = fs::read_dir(format!("/proc/{process}/fd")).expect("descriptors").flatten();
        all.filter_map(|one| fs::read_link(one.path()).ok()).any(|one| one == given_is)
    };
    let (by_service, by_child) = (opened(&service.id().to_string()), opened(&kept));
    service.kill().expect("a service to kill");
    service.wait().expect("its end");
    assert_eq!((by_service, by_child), (true, false));
}

/// A service that waits to be killed, and the child that it keeps.
fn service_that_waits() -> (Child, String) {
    let file = Fixture::V2.path().display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_preflighted"));
    fixtures_for(&mut command);
    command.args(["line", &file, "kept", "wait"]).stdout(Stdio::piped());
    let mut service = command.spawn().expect("a service");
    let mut stdout = BufReader::new(service.stdout.take().expect("its output")).lines();
    let said = stdout.nth(1).expect("a line").expect("text");
    let kept = lines(&said)[0]["kept"].to_string();
    (service, kept)
}

/// The loader's own file is what `/proc/self/exe` is then, and its first argument what a child
/// would run.
#[test]
fn r07_a_service_that_was_started_through_the_loader() {
    let home = TempDir::new().expect("a directory");
    let (deed, mark) = (home.path().join("deed"), home.path().join("mark"));
    let loader = match cfg!(target_arch = "x86_64") {
        true => "/lib64/ld-linux-x86-64.so.2",
        false => "/lib/ld-linux-aarch64.so.1",
    };
    let mut command = Command::new(loader);
    fixtures_for(&mut command);
    command.arg(env!("CARGO_BIN_EXE_preflighted")).arg("/bin/touch").arg(&mark);
    command.arg("line").arg(Fixture::Constructor.path()).env("PROBE_DEED", &deed);
    let output = command.output().expect("a service");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let line = &lines(&String::from_utf8(output.stdout).expect("text"))[0];
    assert_eq!(line["result"], json!({ "applied": "probe 2.0.0" }), "{line:#}");
    assert!(!mark.exists(), "nothing else was run");
    let events = line["events"].as_array().expect("events");
    let count = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!((count("no_preflight"), count("preflighted")), (1, 0), "{events:?}");
}
