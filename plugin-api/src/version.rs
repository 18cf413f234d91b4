//! SemVer, while the compiler runs: a version that the host would refuse is refused where it is
//! written.

/// Is it `1.2.0`, `1.2.0-rc.1` or `1.2.0+5` by the rules of SemVer?
pub(crate) const fn is_version(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut number = 0;
    while number < 3 {
        if number > 0 {
            if at >= bytes.len() || bytes[at] != b'.' {
                return false;
            }
            at += 1;
        }
        let end = end_of_digits(bytes, at);
        if !is_number(bytes, at, end) {
            return false;
        }
        at = end;
        number += 1;
    }
    if at < bytes.len() && bytes[at] == b'-' {
        at = end_of_identifiers(bytes, at + 1, true);
    }
    if at < bytes.len() && bytes[at] == b'+' {
        at = end_of_identifiers(bytes, at + 1, false);
    }
    at == bytes.len()
}

const fn end_of_digits(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at].is_ascii_digit() {
        at += 1;
    }
    at
}

/// No zero before other digits, and no more than a `u64` holds.
const fn is_number(bytes: &[u8], from: usize, to: usize) -> bool {
    if from == to || bytes[from] == b'0' && to - from > 1 {
        return false;
    }
    let (mut value, mut at) = (0_u64, from);
    while at < to {
        value = match value.checked_mul(10) {
            Some(tens) => match tens.checked_add((bytes[at] - b'0') as u64) {
                Some(value) => value,
                None => return false,
            },
            None => return false,
        };
        at += 1;
    }
    true
}

/// Behind the words with dots between them; beyond the end where one is none. In a pre-release a
/// word of digits has no zero before the others.
const fn end_of_identifiers(bytes: &[u8], mut at: usize, is_pre_release: bool) -> usize {
    let none = bytes.len() + 1;
    loop {
        let from = at;
        while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'-') {
            at += 1;
        }
        let zero_first = at - from > 1 && bytes[from] == b'0';
        if at == from || is_pre_release && zero_first && end_of_digits(bytes, from) >= at {
            return none;
        }
        if at >= bytes.len() || bytes[at] != b'.' {
            return at;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn what_semver_reads_is_a_version_and_nothing_else() {
        let versions = [
            "0.0.0",
            "1.2.3",
            "10.20.30",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-0.3.7",
            "1.0.0--",
            "1.0.0+20130313144700",
            "1.0.0-beta+exp.sha.5114f85",
            "1.0.0+001",
            "1.0.0-0a",
            "18446744073709551615.0.0",
        ];
        for version in versions {
            assert!(is_version(version), "{version}");
        }
        let others = [
            "",
            "1",
            "1.2",
            "1.2.",
            "1.2.3.4",
            "banana",
            "01.2.3",
            "1.02.3",
            "1.2.03",
            "v1.2.3",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-a..b",
            "1.2.3-01",
            "1.2.3 ",
            " 1.2.3",
            "1.2.3-ä",
            "1.2.x",
            "1.2.3+a+b",
            "1..3",
            "18446744073709551616.0.0",
            "1.2.3-a.",
            "-1.2.3",
        ];
        for other in others {
            assert!(!is_version(other), "{other}");
        }
    }
}
