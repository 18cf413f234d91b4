//! Whom a preflight's child obeys: its own parent, and nobody else who starts the program.

use midflight_tests::{Fixture, fixtures_for, is_root_to};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use tempfile::TempDir;

/// Nobody: a user who owns nothing here.
const NOBODY: u32 = 65_534;

/// What somebody has prepared who wants code of their own to run.
struct Attack {
    home: TempDir,
    program: PathBuf,
}

impl Attack {
    /// A copy of the service, which `equip` may give rights.
    fn on(equip: impl FnOnce(&Path)) -> Attack {
        let home = TempDir::new().expect("a directory");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("open to all");
        let program = home.path().join("service");
        fs::copy(env!("CARGO_BIN_EXE_preflighted"), &program).expect("a copy");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("open to all");
        fs::copy(Fixture::Constructor.path(), home.path().join("mine.so")).expect("a library");
        let own = home.path().join("own");
        fs::create_dir(&own).expect("a directory");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).expect("open to all");
        equip(&program);
        Attack { home, program }
    }

    /// A task as the host's own would be, but for what it is to open.
    fn task(&self) -> Value {
        let file = fs::metadata(&self.program).expect("the service");
        let name = |text: &str| json!({ "Unix": text.as_bytes() });
        let mine = self.home.path().join("mine.so").display().to_string();
        json!({
            "program": {
                "device": file.dev(), "inode": file.ino(), "bytes": file.len(),
                "modified_s": file.mtime(), "modified_ns": file.mtime_nsec(),
            },
            "generation": 7, "plugin": "probe", "version": "2.0.0",
            "image": name(&mine), "familiar": [], "stays": false,
            "known": [{ "name": "x::X", "version": "0.1.0", "number": 0x1000 }],
            "required": [], "config": "", "start": false, "panic_frames_max": 0,
        })
    }

    /// Starts the service as a preflight is started, and gives what it said to whom it should not
    /// hear.
    fn run(&self, prepare: impl FnOnce(&mut Command) -> &mut Command) -> (String, Output) {
        let (mut ours, theirs) = UnixStream::pair().expect("sockets");
        let mut command = Command::new(&self.program);
        fixtures_for(&mut command);
        command.env("MIDFLIGHT_PREFLIGHT", std::process::id().to_string());
        command.env("PROBE_DEED", self.home.path().join("own/deed")).arg("line");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawned(prepare(&mut command));
        // The command has its own share of the socket.
        drop(command);
        // Whoever does not listen has ended.
        let _ = ours.write_all(self.task().to_string().as_bytes());
        let _ = ours.shutdown(Shutdown::Write);
        // Who does as it is told says so at last, and then waits to be killed.
        let said = BufReader::new(ours).lines().map_while(Result::ok);
        let is_verdict = |line: &str| !line.contains("\"At\"");
        let mut words = Vec::new();
        for line in said {
            let is_last = is_verdict(&line);
            words.push(line);
            if is_last {
                break;
            }
        }
        let _ = child.kill();
        (words.concat(), child.wait_with_output().expect("its end"))
    }

    /// Nothing of the library has run, and the process was no second service either.
    #[track_caller]
    fn came_to_nothing(&self, (said, output): &(String, Output), why: &str) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(why), "{why}: {stderr}");
        assert_eq!(said, "", "{stderr}");
        assert!(!self.home.path().join("own/deed.journal").exists(), "{stderr}");
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
}

/// Starts a program that was copied a moment ago. What another test starts meanwhile may have the
/// copy open for writing until it runs a program of its own.
fn spawned(command: &mut Command) -> Child {
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => thread::yield_now(),
            child => return child.expect("a service"),
        }
    }
}

#[test]
fn s02_another_program_of_the_same_user_is_not_obeyed() {
    let attack = Attack::on(|_| {});
    let came = attack.run(|command| command);
    attack.came_to_nothing(&came, "obeys nobody: its parent runs another program");
}

/// As root makes a setuid program or gives one capabilities, and another user starts it.
#[test]
fn s02_a_program_with_more_rights_than_who_starts_it_obeys_nobody() {
    if !is_root_to("give a program rights") {
        return;
    }
    let setuid = |program: &Path| {
        fs::set_permissions(program, fs::Permissions::from_mode(0o4755)).expect("setuid");
    };
    let setgid = |program: &Path| {
        fs::set_permissions(program, fs::Permissions::from_mode(0o2755)).expect("setgid");
    };
    // As `setcap cap_net_bind_service+ep` writes them: revision 2, effective, permitted below 32,
    // and nothing else.
    let capable = |program: &Path| {
        let words: [u32; 5] = [0x0200_0001, 1 << 10, 0, 0, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(program, "security.capability", &bytes, flags).expect("capabilities");
    };
    let equip: [&dyn Fn(&Path); 3] = [&setuid, &setgid, &capable];
    for equip in equip {
        let attack = Attack::on(|program| equip(program));
        let came = attack.run(|command| command.uid(NOBODY).gid(NOBODY));
        attack.came_to_nothing(&came, "this program has rights of its own, and obeys nobody");
    }
}

/// A helper between the two has changed the user, as `sudo` does.
#[test]
fn s02_a_socket_of_another_users_is_not_obeyed() {
    if !is_root_to("change the user") {
        return;
    }
    let attack = Attack::on(|_| {});
    let came = attack.run(|command| command.uid(NOBODY).gid(NOBODY));
    attack.came_to_nothing(&came, "the socket at its stdin was made by another user");
}

/// Such a service runs, and says once that it has no preflight.
#[test]
fn s02_a_setuid_service_has_no_preflight() {
    if !is_root_to("give a program rights") {
        return;
    }
    let home = TempDir::new().expect("a directory");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("open to all");
    let program = home.path().join("service");
    fs::copy(env!("CARGO_BIN_EXE_preflighted"), &program).expect("a copy");
    chown(&program, Some(NOBODY), Some(NOBODY)).expect("another owner");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("setuid");
    let files = home.path().join("fixtures");
    fs::create_dir(&files).expect("a directory");
    for fixture in [Fixture::V1, Fixture::V2] {
        fs::copy(fixture.path(), files.join(fixture.path().file_name().expect("a name")))
            .expect("a copy");
    }
    let mut command = Command::new(&program);
    fixtures_for(&mut command);
    command.env("MIDFLIGHT_TESTS_FIXTURES", &files).arg("line").arg(files.join("V2.so"));
    // Root, that acts as nobody.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawned(&mut command).wait_with_output().expect("its end");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let line: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    assert_eq!(line["result"], json!({ "applied": "probe 2.0.0" }), "{line:#}");
    let events = line["events"].as_array().expect("events");
    let count = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!((count("no_preflight"), count("preflighted")), (1, 0), "{events:?}");
}
