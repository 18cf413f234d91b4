//! Directories and disks as they are: links that are swapped, directories that come and go, file
//! systems that say no.
#![allow(unsafe_code, reason = "the loader is asked what it has open")]

use midflight::{Code, Host, HostError, Stage};
use midflight_tests::{
    Apart, Fixture, Rig, check_answers, in_child, mount_memory, process, run_child_apart,
    with_children,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

#[test]
fn a74_a_link_to_a_directory_is_swapped_as_kubernetes_does_it() {
    let rig = Rig::watching(&[], |builder| builder);
    let plugins = rig.plugins();
    // Files are links into `..data`, which is a link to the current directory of contents.
    mount_like_a_volume(&plugins, Fixture::V1, "..first");
    symlink("..data/probe.so", plugins.join("probe.so")).expect("the file's link");
    rig.log.wait("active", 1);
    check_answers(&rig.probe, 1);

    mount_like_a_volume(&plugins, Fixture::V2, "..second");
    rig.log.wait("active", 2);
    check_answers(&rig.probe, 2);
    fs::remove_dir_all(plugins.join("..first")).expect("the old contents");

    // A third, to be sure that whatever the second could still have set off has been seen.
    mount_like_a_volume(&plugins, Fixture::V3, "..third");
    rig.log.wait("active", 3);
    assert_eq!(rig.log.count("staged"), 3, "one load each\n{}", rig.log.text());
    assert_eq!(rig.log.count("refused"), 0, "{}", rig.log.text());
    rig.end();
}

fn mount_like_a_volume(plugins: &Path, fixture: Fixture, contents: &str) {
    fs::create_dir(plugins.join(contents)).expect("a directory of contents");
    fs::copy(fixture.path(), plugins.join(contents).join("probe.so")).expect("a copy");
    symlink(contents, plugins.join("..data_tmp")).expect("a link");
    fs::rename(plugins.join("..data_tmp"), plugins.join("..data")).expect("the link in its place");
}

#[test]
fn a75_the_watched_directory_is_removed_and_made_again() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    for (fixture, version, generation) in [(Fixture::V2, 2, 2), (Fixture::V3, 3, 3)] {
        fs::remove_dir_all(rig.plugins()).expect("no directory");
        rig.probe.version().expect("what served serves on");
        fs::create_dir(rig.plugins()).expect("the directory again");
        rig.install(fixture, "probe.so");
        rig.log.wait("active", generation);
        check_answers(&rig.probe, version);
    }
    rig.end();
}

#[test]
fn a75_another_directory_is_renamed_into_its_place() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    fs::create_dir(rig.path("next")).expect("another directory");
    fs::copy(Fixture::V2.path(), rig.path("next").join("probe.so")).expect("a copy");
    fs::rename(rig.plugins(), rig.path("previous")).expect("the old out of the way");
    fs::rename(rig.path("next"), rig.plugins()).expect("the new in its place");
    rig.log.wait("active", 2);
    check_answers(&rig.probe, 2);
    rig.install(Fixture::V3, "probe.so");
    rig.log.wait("active", 3);
    rig.end();
}

#[test]
fn a_hard_link_is_complete_when_it_appears() {
    let rig = Rig::watching(&[], |builder| builder);
    let built = rig.copy(Fixture::V1, "built.so");
    fs::hard_link(built, rig.plugins().join("probe.so")).expect("a second name");
    rig.log.wait("active", 1);
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a_run_directory_that_can_be_written_to_by_others_is_not_used() {
    let home = tempfile::tempdir().expect("a directory");
    let shared = home.path().join("shared");
    fs::create_dir(&shared).expect("a directory");
    let everybody: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&shared, everybody).expect("permissions");
    let Err(error) = Host::builder().run_directory(&shared).start() else {
        panic!("a host started there")
    };
    assert!(matches!(error, HostError::RunDirectory { .. }), "{error:?}");
}

/// The system names mappings by the real path: by another one they would not be found, and
/// everything would seem unmapped.
#[test]
fn a_run_directory_behind_a_link_hides_no_mapping() {
    in_child(|| {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir(home.path().join("real")).expect("a directory");
        symlink("real", home.path().join("link")).expect("a link");
        let images = home.path().join("link/../link/images");
        let rig = Rig::with(|builder| builder.run_directory(images));
        rig.apply(Fixture::V1);
        let real = home.path().join("real/images").display().to_string();
        let mapped = || process::mappings().into_iter().filter(|line| line.contains(&real)).count();
        let opened = rig.host.status().generations[0].clone();
        assert!(mapped() > 0, "{opened:?}");
        let images: Vec<_> =
            loaded().into_iter().filter(|name| name.contains("/images/run/")).collect();
        assert!(
            !images.is_empty() && images.iter().all(|name| name.starts_with(&real)),
            "{images:?}"
        );
        rig.end();
        assert_eq!(mapped(), 0);
    });
}

/// The libraries of this process, by the names that the loader was given.
fn loaded() -> Vec<String> {
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _: usize,
        names: *mut std::ffi::c_void,
    ) -> std::ffi::c_int {
        // SAFETY: what `dl_iterate_phdr` passes on: a valid info with a C string, and the list
        // below.
        unsafe {
            let name = std::ffi::CStr::from_ptr((*info).dlpi_name).to_string_lossy().into_owned();
            (*names.cast::<Vec<String>>()).push(name);
        }
        0
    }
    let mut names: Vec<String> = Vec::new();
    // SAFETY: `visit` takes what it is given here.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut names).cast()) };
    names
}

/// What a run directory's file system can say, each with a code of its own.
#[test]
fn file_systems_that_refuse_an_image() {
    with_children(
        |case| {
            let tmpfs = tempfile::tempdir().expect("a directory");
            mount_memory("size=64m,mode=700", tmpfs.path());
            let images = tmpfs.path().join("images");
            let rig = Rig::with(|builder| builder.run_directory(&images));
            rig.apply(Fixture::V1);
            let code = match case {
                "full" => {
                    fs::write(tmpfs.path().join("filler"), vec![1; 64 << 20])
                        .expect_err("a full disk");
                    Code::DiskFull
                }
                "read-only" => {
                    mount_memory("remount,ro", tmpfs.path());
                    Code::RunDirectoryReadOnly
                }
                _ => {
                    mount_memory("remount,noexec", tmpfs.path());
                    Code::RunDirectoryNoexec
                }
            };
            let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
            assert_eq!(refusal.code(), code, "{refusal}");
            let stage = if code == Code::RunDirectoryNoexec { Stage::Load } else { Stage::Image };
            assert_eq!(refusal.stage(), stage, "{refusal}");
            assert_eq!(rig.mappings(2), [""; 0], "nothing of it is mapped");

            match case {
                "full" => fs::remove_file(tmpfs.path().join("filler")).expect("room"),
                "read-only" => mount_memory("remount,rw", tmpfs.path()),
                _ => {
                    let fresh = tmpfs.path().join("fresh");
                    let Err(error) = Host::builder().run_directory(fresh).start() else {
                        panic!("a host started there")
                    };
                    assert!(
                        std::error::Error::source(&error)
                            .expect("a source")
                            .to_string()
                            .contains("noexec")
                    );
                    mount_memory("remount,exec", tmpfs.path());
                }
            }
            rig.apply(Fixture::V2);
            rig.end();
        },
        |test| {
            for case in ["full", "read-only", "noexec"] {
                run_child_apart(Apart::Mounts, test, case);
            }
        },
    );
}
