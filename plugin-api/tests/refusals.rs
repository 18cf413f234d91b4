//! Everything that can't cross is refused by the compiler, and the message says why and what to do.
//! Beside each refusal stands its twin in `accept`, which compiles: so that a refusal can't come
//! from something else.

#[test]
fn refusals_teach_and_their_twins_compile() {
    let names = |folder: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = files.filter(|name| name.ends_with(".rs")).collect();
        names.sort();
        names
    };
    assert_eq!(names("refuse"), names("accept"), "each refusal has its twin");

    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/refuse/*.rs");
    cases.pass("tests/accept/*.rs");
}
