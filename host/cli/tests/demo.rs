//! `midflight demo`, with a cargo that only says that it has built something.

use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A workspace in which `sh` stands for cargo: `sh build …` runs the file `build`. And for the
/// program: `sh 7 …` runs the file `7`.
fn workspace(packages: &[&str], build: &str, program: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| fs::write(place.path().join(name), text).expect("a file");
    let packages: Vec<_> = packages.iter().map(|name| json!({ "name": name })).collect();
    let metadata = json!({ "packages": packages, "workspace_root": "/w" });
    file("metadata", &format!("echo '{metadata}'\n"));
    file("build", build);
    file("7", program);
    place
}

/// What cargo says when it has built a program.
fn built(name: &str, executable: &str) -> String {
    let message = json!({ "target": { "name": name }, "executable": executable });
    format!("echo '{message}'\n")
}

fn demo(place: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midflight"));
    command.current_dir(place).env("CARGO", "/bin/sh").args(["demo", "--seconds", "7"]);
    command
}

/// Its exit code and its signals are the program's, since it has become the program.
#[test]
fn u18_the_demo_becomes_the_program_that_it_builds() {
    let build = format!("{}{}", built("exchange-demo", "/bin/sh"), built("other", "/bin/false"));
    let place = workspace(&["exchange-demo"], &build, "echo $$ \"$@\"; exit 5\n");
    let child = demo(place.path())
        .args(["--json", "--plant", "stale"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command");
    let id = child.id();
    let output = child.wait_with_output().expect("its end");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{id} json stale\n"));
    assert_eq!(output.status.code(), Some(5));
}

#[test]
fn u18_what_keeps_the_demo_from_running_is_told() {
    let refused = |place: tempfile::TempDir| {
        let output = demo(place.path()).output().expect("the command");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("text")
    };
    let elsewhere = refused(workspace(&["other"], "", ""));
    assert_eq!(
        elsewhere,
        "midflight: the workspace /w has no crate `exchange-demo`: run the demo inside of a \
         checkout of Midflight\n"
    );
    let broken = refused(workspace(&["exchange-demo"], "echo broken >&2; exit 101\n", ""));
    assert_eq!(
        broken,
        "building the exchange\nbroken\nmidflight: can't build the exchange: see above\n"
    );
}

/// Who stamps files does not build a service.
#[test]
fn u18_the_command_links_no_service() {
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(env!("CARGO_MANIFEST_DIR"));
    tree.args(["tree", "--offline", "--package=midflight-cli", "--edges=normal,build"]);
    let output = tree.args(["--prefix=none", "--format={p}"]).output().expect("cargo");
    let listed = String::from_utf8(output.stdout).expect("text");
    let names: Vec<_> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"midflight-inspect"), "{listed}");
    for service in ["midflight", "exchange", "axum", "hyper", "tokio", "tracing-subscriber"] {
        assert!(!names.contains(&service), "{service} is linked by the command");
    }
}
