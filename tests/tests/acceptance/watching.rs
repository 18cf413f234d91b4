//! Watching: what changes in the plugins' directory, or behind a link there, is seen or said.

use midflight::{Code, Event, EventKind, Host, HostError, Refusal};
use midflight_tests::{
    Apart, Fixture, Rig, check_answers, in_child, mount_memory, run_child, run_child_apart,
    with_children,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Events alone: no look comes within a test.
const NEVER: Duration = Duration::MAX;
/// Looks come at once.
const SOON: Duration = Duration::from_millis(20);

/// A host that watches `plugins`.
fn watching(plugins: &Path, every: Duration) -> Rig {
    let plugins = plugins.to_owned();
    Rig::with(move |builder| builder.plugins(plugins).look_interval(every))
}

/// Links `link` to `target`, whatever was there.
fn link(target: &str, link: &Path) {
    let new = link.with_extension("new");
    symlink(target, &new).expect("a link");
    fs::rename(new, link).expect("the link in its place");
}

/// Puts `fixture` to `path`: written beside, renamed in.
fn put(fixture: Fixture, path: &Path) {
    let new = path.with_extension("new");
    fs::copy(fixture.path(), &new).expect("a copy");
    fs::rename(new, path).expect("the file in its place");
}

#[track_caller]
fn wait_active(rig: &Rig, version: &str) {
    rig.log.wait_for(version, |event| event.kind.name() == "active" && event.version == version);
}

/// The file's refusal, which names it wherever it is told.
#[track_caller]
fn wait_refused(rig: &Rig, code: Code, path: &Path) -> (Event, Refusal) {
    let event = rig.log.wait_for(
        "it is refused",
        |event| matches!(&event.kind, EventKind::Refused(refusal) if refusal.code() == code),
    );
    let EventKind::Refused(refusal) = &event.kind else { panic!("{event}") };
    let name = path.display().to_string();
    for told in [event.to_string(), event.kind.to_string(), refusal.to_string()] {
        assert!(told.contains(&name), "{told}");
    }
    (event.clone(), refusal.clone())
}

#[test]
fn w03_a_link_on_the_way_to_the_directory_is_swapped() {
    let home = tempfile::tempdir().expect("a directory");
    for (release, fixture) in [("1", Fixture::V1), ("2", Fixture::V2)] {
        let plugins = home.path().join("releases").join(release).join("plugins");
        fs::create_dir_all(&plugins).expect("a release");
        fs::copy(fixture.path(), plugins.join("probe.so")).expect("a copy");
    }
    link("releases/1", &home.path().join("current"));
    let plugins = home.path().join("plugins");
    link("current/plugins", &plugins);
    let rig = watching(&plugins, NEVER);
    check_answers(&rig.probe, 1);
    link("releases/2", &home.path().join("current"));
    wait_active(&rig, "2.0.0");
    check_answers(&rig.probe, 2);
    // The watch has gone with it.
    put(Fixture::V3, &home.path().join("releases/2/plugins/probe.so"));
    wait_active(&rig, "3.0.0");
    rig.end();
}

#[test]
fn w03_what_a_link_leads_to_is_built_anew() {
    let home = tempfile::tempdir().expect("a directory");
    let (plugins, release) = (home.path().join("plugins"), home.path().join("target/release"));
    fs::create_dir_all(&release).expect("what cargo makes");
    fs::create_dir(&plugins).expect("a directory");
    let built = release.join("libprobe.so");
    put(Fixture::V1, &built);
    symlink("../target/release/libprobe.so", plugins.join("probe.so")).expect("a link");
    let rig = watching(&plugins, NEVER);
    check_answers(&rig.probe, 1);
    put(Fixture::V2, &built);
    wait_active(&rig, "2.0.0");
    fs::copy(Fixture::V3.path(), &built).expect("written in place");
    wait_active(&rig, "3.0.0");
    // Another link, which leads elsewhere.
    fs::create_dir(home.path().join("elsewhere")).expect("a directory");
    put(Fixture::V1, &home.path().join("elsewhere/probe.so"));
    rig.log.clear();
    link("../elsewhere/probe.so", &plugins.join("probe.so"));
    wait_active(&rig, "1.0.0");
    put(Fixture::V2, &home.path().join("elsewhere/probe.so"));
    wait_active(&rig, "2.0.0");
    check_answers(&rig.probe, 2);
    rig.end();
}

/// A mount over a file, as of a ConfigMap's key by subPath, makes no event.
#[test]
fn w03_what_makes_no_event_is_seen_by_a_look() {
    with_children(
        |_| {
            let home = tempfile::tempdir().expect("a directory");
            let (plugins, mounted) = (home.path().join("plugins"), home.path().join("mounted"));
            fs::create_dir_all(&plugins).expect("a directory");
            fs::create_dir_all(&mounted).expect("a directory");
            let path = plugins.join("probe.so");
            put(Fixture::V1, &path);
            let mount = |fixture: Fixture| {
                let source = mounted.join(format!("{fixture:?}"));
                fs::copy(fixture.path(), &source).expect("a copy");
                let mut mount = Command::new("mount");
                mount.arg("--bind").arg(source).arg(&path);
                assert!(mount.status().expect("mount").success(), "{mount:?}");
            };
            let rig = watching(&plugins, NEVER);
            check_answers(&rig.probe, 1);
            mount(Fixture::V2);
            assert_eq!(rig.host.look(), 1);
            wait_active(&rig, "2.0.0");
            assert_eq!(rig.host.look(), 0, "nothing has changed");
            rig.end();

            let rig = watching(&plugins, SOON);
            check_answers(&rig.probe, 2);
            mount(Fixture::V3);
            wait_active(&rig, "3.0.0");
            rig.end();
        },
        |test| run_child_apart(Apart::Mounts, test, ""),
    );
}

#[test]
fn w03_it_is_said_how_the_directory_is_watched() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    let event = rig.log.wait_for("how", |event| event.kind.name() == "watching");
    let EventKind::Watching { directory, by_events, every, .. } = &event.kind else {
        panic!("{event}")
    };
    assert_eq!((directory, *by_events, *every), (&rig.plugins(), true, Duration::from_secs(5)));
    let expected = format!("watching {} by events and a look every 5s", rig.plugins().display());
    assert!(event.to_string().starts_with(&expected), "{event}");
    rig.end();

    let refused = Host::builder().look_interval(Duration::ZERO).start().expect_err("no time");
    assert!(matches!(refused, HostError::Bound { name: "look_interval", .. }), "{refused}");
    assert_eq!(Host::builder().start().expect("a host").look(), 0, "it watches nothing");
}

/// Root may read everything, unless it has given that up.
fn obey_permissions() {
    let mut sets = capabilities(None).expect("what this thread may do");
    sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    sets.permitted = sets.effective;
    set_capabilities(None, sets).expect("less of it");
}

#[test]
fn w04_a_file_that_may_be_read_later_is_looked_at_again() {
    in_child(|| {
        obey_permissions();
        let rig =
            Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder.look_interval(NEVER));
        let (new, path) = (rig.copy(Fixture::V2, "new"), rig.plugins().join("v2.so"));
        fs::set_permissions(&new, Permissions::from_mode(0o000)).expect("no permissions");
        fs::rename(new, &path).expect("a new file");
        wait_refused(&rig, Code::FileUnreadable, &path);
        check_answers(&rig.probe, 1);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("permissions");
        wait_active(&rig, "2.0.0");
        assert_eq!(rig.log.count("refused"), 1, "{}", rig.log.text());
        rig.end();
    });
}

/// With no descriptor left no file can be read.
#[test]
fn w05_a_file_that_was_refused_for_want_of_descriptors_is_tried_again() {
    in_child(|| {
        let rig =
            Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder.look_interval(NEVER));
        let new = rig.copy(Fixture::V2, "new");
        let path = rig.plugins().join("v2.so");
        let next = File::open("/").expect("a descriptor").as_raw_fd();
        let limit = getrlimit(Resource::Nofile);
        let none = Some(u64::try_from(next).expect("a number"));
        setrlimit(Resource::Nofile, Rlimit { current: none, ..limit }).expect("no more of them");
        fs::rename(new, &path).expect("a new file");
        let (_, refusal) = wait_refused(&rig, Code::FileUnreadable, &path);
        assert!(refusal.reason().contains("Too many open files"), "{refusal}");
        check_answers(&rig.probe, 1);
        setrlimit(Resource::Nofile, limit).expect("as many as before");
        wait_active(&rig, "2.0.0");
        assert_eq!(rig.log.count("refused"), 1, "it is told once\n{}", rig.log.text());
        rig.end();
    });
}

/// A library that is too large for the file system where images go.
fn padded(fixture: Fixture) -> Vec<u8> {
    let mut bytes = fixture.unstamped();
    bytes.resize(bytes.len() + (80 << 20), 0);
    bytes
}

fn on_a_small_disk(body: impl FnOnce(&Path, &dyn Fn(&str))) {
    let tmpfs = tempfile::tempdir().expect("a directory");
    mount_memory("size=64m,mode=700", tmpfs.path());
    let remount = |options: &str| mount_memory(&format!("remount,{options}"), tmpfs.path());
    body(&tmpfs.path().join("images"), &remount);
    let unmounted = Command::new("umount").arg("--lazy").arg(tmpfs.path()).status();
    assert!(unmounted.expect("umount").success());
}

#[test]
fn w05_a_file_that_was_refused_by_a_full_disk_is_tried_again() {
    with_children(
        |_| {
            on_a_small_disk(|images, remount| {
                let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| {
                    builder.run_directory(images).look_interval(NEVER)
                });
                check_answers(&rig.probe, 1);
                fs::write(rig.path("new"), padded(Fixture::V2)).expect("a large library");
                let path = rig.plugins().join("v2.so");
                fs::rename(rig.path("new"), &path).expect("a new file");
                wait_refused(&rig, Code::DiskFull, &path);
                check_answers(&rig.probe, 1);
                remount("size=256m");
                wait_active(&rig, "2.0.0");
                check_answers(&rig.probe, 2);
                rig.end();
            });
        },
        |test| run_child_apart(Apart::Mounts, test, ""),
    );
}

/// Who came after the file that waits has the last word.
#[test]
fn w05_a_file_that_is_tried_again_replaces_no_newer_one() {
    with_children(
        |_| {
            on_a_small_disk(|images, _| {
                let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| {
                    builder.run_directory(images).look_interval(NEVER)
                });
                fs::write(rig.path("new"), padded(Fixture::V2)).expect("a large library");
                let path = rig.plugins().join("v2.so");
                fs::rename(rig.path("new"), &path).expect("a new file");
                wait_refused(&rig, Code::DiskFull, &path);
                rig.apply(Fixture::V3);
                // It is tried again without that as well.
                rig.host.look();
                rig.log.wait_for("the older one", |event| {
                    event.kind.name() == "superseded" && event.version == "2.0.0"
                });
                check_answers(&rig.probe, 3);
                rig.end();
            });
        },
        |test| run_child_apart(Apart::Mounts, test, ""),
    );
}

#[test]
fn w07_a_refused_file_is_named_wherever_it_is_told() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    let text = rig.plugins().join("text.so");
    fs::write(&text, "this is text\n").expect("a file");
    let (event, _) = wait_refused(&rig, Code::NotElf, &text);
    let name = text.display().to_string();
    assert!(event.to_string().starts_with(&format!("{name}: refused at inspect")), "{event}");
    let other = rig.plugins().join("other.so");
    put(Fixture::ChangedField, &other);
    let (event, refusal) = wait_refused(&rig, Code::LayoutMismatch, &other);
    let name = other.display().to_string();
    let who = format!("probe 2.0.0 in {name}: refused at layout");
    assert!(refusal.to_string().starts_with(&who), "{refusal}");
    let number = event.generation.expect("a generation");
    let who = format!("probe 2.0.0 (generation {number}) in {name}: refused at layout");
    assert!(event.to_string().starts_with(&who), "{event}");
    rig.end();
}

#[test]
fn u04_what_can_not_be_rolled_back_is_named() {
    let rig = Rig::serving(Fixture::V1);
    let refusal = rig.refused(|host| host.rollback("probe"));
    assert_eq!((refusal.code(), refusal.plugin()), (Code::NothingToRollBack, Some("probe")));
    assert!(refusal.to_string().starts_with("probe: refused at admit"), "{refusal}");
    let event = rig.log.wait_for("it", |event| event.kind.name() == "refused");
    assert!(event.to_string().starts_with("probe: refused at admit"), "{event}");
    let cancelled = rig.host.cancel("probe").expect_err("nothing to cancel");
    assert_eq!(cancelled.plugin(), Some("probe"), "{cancelled}");
    let forced = rig.host.force("probe", 1).expect_err("it has not stalled");
    assert_eq!(forced.plugin(), Some("probe"), "{forced}");
    rig.end();
}

#[test]
fn u10_a_file_that_is_held_says_why_and_what_to_do() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    rig.install(Fixture::V2, "probe.so");
    wait_active(&rig, "2.0.0");
    rig.host.rollback("probe").expect("the way back");
    rig.install(Fixture::V2, "again.so");
    let held = rig.log.wait_for("it is held", |event| event.kind.name() == "held");
    let EventKind::Held { reason } = &held.kind else { panic!("{held}") };
    assert_eq!(reason, "an operator rolled it back");
    let expected = "probe 2.0.0: held, and not taken from the directory: an operator rolled it \
                    back; apply the file (Host::apply) to bring it back all the same, or install \
                    another build";
    assert_eq!(held.to_string(), expected);
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn u13_a_name_that_is_misspelt_is_answered_with_those_that_are_loaded() {
    let rig = Rig::serving(Fixture::V1);
    let slot = rig.host.slot::<dyn probe_contracts::Probe>("Probe").expect("a slot");
    let fault = slot.version().expect_err("there is none");
    assert_eq!(fault.to_string(), "plugin `Probe` is not loaded; loaded are: probe");
    assert_eq!(fault.plugin(), Some("Probe"));
    let group = rig.host.lease("Probe").expect_err("no group");
    assert_eq!(group.to_string(), "plugin `Probe` is not loaded; loaded are: probe");
    let refusal = rig.refused(|host| host.rollback("Probe"));
    assert_eq!(refusal.code(), Code::UnknownPlugin);
    assert_eq!(refusal.reason(), "no plugin Probe was ever loaded; loaded are: probe");
    rig.end();
    let fault = slot.version().expect_err("nothing is");
    assert_eq!(fault.to_string(), "plugin `Probe` is not loaded");
}

#[test]
fn u13_a_directory_without_a_plugin_is_said() {
    let rig = Rig::watching(&[], |builder| builder);
    let event = rig.log.wait_for("it", |event| event.kind.name() == "no_plugins");
    let expected = format!("no plugin in {}: ", rig.plugins().display());
    assert!(event.to_string().starts_with(&expected), "{event}");
    rig.end();
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    assert_eq!(rig.log.count("no_plugins"), 0, "{}", rig.log.text());
    rig.end();
}

#[test]
fn u13_files_that_are_passed_over_are_said() {
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| home.path().join(name);
    fs::copy(Fixture::V2.path(), path("b.so")).expect("a copy");
    fs::copy(Fixture::V2.path(), path("same-bytes.so")).expect("a copy");
    fs::copy(Fixture::V1.path(), path("a.so")).expect("a copy");
    fs::write(path("c.so"), Fixture::V2.unstamped()).expect("a file");
    let later = fs::metadata(path("b.so")).expect("it").modified().expect("a time");
    let later = later + Duration::from_secs(1);
    File::options().write(true).open(path("c.so")).expect("it").set_modified(later).expect("it");
    fs::copy(Fixture::Other.path(), path("libother.so.1.2")).expect("a copy");
    fs::write(path("README.so.md"), "no library").expect("a file");
    let rig = watching(home.path(), SOON);
    fs::copy(Fixture::Other.path(), path("libother.so.2")).expect("a copy");
    let wait = |name: &str, expected: &str| {
        let file = path(name);
        let event = rig.log.wait_for(
            name,
            |event| matches!(&event.kind, EventKind::PassedOver { file: of, .. } if *of == file),
        );
        let text = event.kind.to_string();
        let of = |name: &str| path(name).display().to_string();
        let expected = expected.replace("BETTER", &of("c.so"));
        assert_eq!(text, format!("passed over: {}, because {expected}", of(name)));
    };
    wait("a.so", "BETTER has version 2.0.0 of the same plugin");
    wait("libother.so.1.2", "its name does not end in .so");
    wait("libother.so.2", "its name does not end in .so");
    let same = |event: &Event| match &event.kind {
        EventKind::PassedOver { reason, .. } => reason.contains("same version"),
        _ => false,
    };
    let event = rig.log.wait_for("of two builds of one version", same);
    assert!(event.to_string().starts_with("probe 2.0.0: passed over: "), "{event}");
    check_answers(&rig.probe, 2);
    let odd = rig.log.seen().iter().any(|event| event.to_string().contains("README"));
    assert!(!odd, "{}", rig.log.text());
    rig.end();
}

/// Makes this thread, and those that it starts, another user's, who has no other process, so that
/// limits are counted anew. False where that may not be done.
fn become_somebody() -> bool {
    const USERS_FROM: u32 = 1_000_000;
    let uid = rustix::process::Uid::from_raw(USERS_FROM + std::process::id());
    rustix::thread::set_thread_uid(uid).is_ok()
}

/// A host that may start so many threads either starts and sees the file, or says why not; and the
/// process lives.
#[test]
fn r05_a_host_without_threads_for_its_watch_ends_no_process() {
    with_children(
        |argument| {
            let (threads, home) = argument.split_once(' ').expect("a number and a directory");
            become_somebody();
            let limit = Some(threads.parse().expect("a number"));
            let limit = Rlimit { current: limit, maximum: limit };
            setrlimit(Resource::Nproc, limit).expect("a limit");
            let (plugins, images) =
                (Path::new(home).join("plugins"), Path::new(home).join(threads));
            match Host::builder().plugins(plugins).run_directory(images).start() {
                Ok(host) => {
                    let how = host.events_kept().into_iter().map(|event| event.to_string());
                    let how: Vec<_> = how.filter(|text| text.contains("watching")).collect();
                    assert!(!how.is_empty(), "nothing is said");
                    println!("started: {how:?}");
                }
                Err(error) => println!("refused: {error:?}"),
            }
        },
        |test| {
            let home = tempfile::tempdir().expect("a directory");
            fs::create_dir(home.path().join("plugins")).expect("a directory");
            fs::set_permissions(home.path(), Permissions::from_mode(0o1777)).expect("for all");
            for threads in 1..8 {
                let exit = run_child(test, &format!("{threads} {}", home.path().display()));
                exit.assert_ok();
            }
        },
    );
}

/// Every inotify instance that a user may have.
#[test]
fn r10_a_host_without_inotify_says_what_to_raise_and_looks_by_itself() {
    in_child(|| {
        if !become_somebody() {
            return;
        }
        let mut taken = Vec::new();
        while let Ok(instance) =
            rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC)
        {
            taken.push(instance);
        }
        let home = tempfile::tempdir().expect("a directory");
        let rig = watching(home.path(), SOON);
        let how = rig.log.wait_for("how", |event| event.kind.name() == "watching");
        let text = how.to_string();
        assert!(text.contains("by a look every 20ms alone"), "{text}");
        assert!(text.contains("fs.inotify.max_user_instances"), "{text}");
        put(Fixture::V1, &home.path().join("probe.so"));
        wait_active(&rig, "1.0.0");
        drop(taken);
        rig.log.wait_for("events again", |event| {
            matches!(event.kind, EventKind::Watching { by_events: true, .. })
        });
        put(Fixture::V2, &home.path().join("probe.so"));
        wait_active(&rig, "2.0.0");
        rig.end();
    });
}

/// As code does that makes a daemon of the service, after its host has started.
#[test]
fn r13_a_watch_whose_descriptors_were_closed_is_begun_anew_and_says_so() {
    in_child(|| {
        // The next look is not near: std ends a process whose directory is closed while it is read.
        let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| {
            builder.look_interval(Duration::from_secs(1))
        });
        close_all();
        rig.log.wait_for("it notices", |event| match &event.kind {
            EventKind::Watching { by_events: true, reason: Some(reason), .. } => {
                reason.contains("begun anew")
            }
            _ => false,
        });
        rig.install(Fixture::V2, "probe.so");
        wait_active(&rig, "2.0.0");
        check_answers(&rig.probe, 2);
        rig.end();
    });
}

/// All but the standard ones.
#[allow(unsafe_code, reason = "no descriptor of this process's is safe from it")]
fn close_all() {
    // SAFETY: what it closes are numbers; who uses them later is told that they are closed.
    let closed = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    assert_eq!(closed, 0);
}

/// Without /proc nobody can tell where a signal's handler lies.
#[test]
fn r10_a_host_without_proc_says_so_in_its_reasons() {
    with_children(
        |_| {
            let rig = Rig::with(|builder| builder.stop_deadline(Duration::ZERO));
            rig.apply(Fixture::V1);
            mount_memory("mode=755", Path::new("/proc"));
            rig.apply(Fixture::V2);
            let resident = rig.log.wait_for("why it stays", |event| {
                event.to_string().contains("resident(/proc is not mounted")
            });
            assert!(!resident.to_string().contains("signal: SIG"), "{resident}");
            let unmounted = Command::new("umount").arg("/proc").status();
            assert!(unmounted.expect("umount").success());
            // No orderly end here: its deadline for a stop is over at once as well.
            rig.log.wait("unmapped", 1);
        },
        |test| run_child_apart(Apart::Mounts, test, ""),
    );
}
