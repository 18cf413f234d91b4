//! Arguments of the tools: numbers with names, and `--json`.

use std::process::ExitCode;

/// The values of `--name N` for each of `names`, in their order, with these defaults; and whether
/// `--json` was given.
///
/// # Errors
/// Something else was given, which was said on standard error: the exit code 2.
pub fn arguments<const N: usize>(
    usage: &str,
    mut names: [(&str, u64); N],
) -> Result<([u64; N], bool), ExitCode> {
    let mut json = false;
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        if argument == "--json" {
            json = true;
            continue;
        }
        let known = names.iter_mut().find(|(name, _)| argument.strip_prefix("--") == Some(*name));
        let number = known.and_then(|(_, value)| Some((value, given.next()?.parse().ok()?)));
        let Some((value, number)) = number else {
            eprintln!("{argument} is not understood\n{usage}");
            return Err(ExitCode::from(2));
        };
        *value = number;
    }
    Ok((names.map(|(_, value)| value), json))
}
