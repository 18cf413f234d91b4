//! Texts as they are told: escaped, and of a bounded length.
//!
//! What a refusal, an event or a line of the log says is mostly somebody else's: a name out of a
//! file, the loader's words, a plugin's own panic, a path. Left as it is, a newline in it begins a
//! line of the log that nobody wrote, an escape sequence is obeyed by the terminal that shows it, a
//! character that turns the direction of writing makes it read as something else, and a name of 300
//! KB is 300 KB in each log. So each such text goes through [`told`] where it becomes part of what
//! is told.
//!
//! Texts are put together of texts that were told already. So to tell one twice is to tell it once:
//! a backslash is left as it is, and what was cut is short enough.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most bytes that one text is told in, with the mark of a cut.
pub const BYTES_MAX: usize = 2048;
/// The same for a name: of a plugin, a version, a file.
pub const NAME_BYTES_MAX: usize = 256;

/// `text` on one line that shows all of it: in at most [`BYTES_MAX`] bytes.
///
/// Characters that are not printed (of control, of direction, of no width, unassigned ones) are
/// told as `\n` or `\u{1b}`. Of a text that is too long the middle is left out, with how much that
/// was.
pub fn told(text: &str) -> String {
    within(text, BYTES_MAX)
}

/// As [`told`], for a name.
pub fn name(text: &str) -> String {
    within(text, NAME_BYTES_MAX)
}

/// As [`told`], for a path, which need not be UTF-8.
pub fn path(path: &Path) -> String {
    bytes(path.as_os_str())
}

fn bytes(text: &OsStr) -> String {
    let mut told = String::new();
    for chunk in text.as_bytes().utf8_chunks() {
        told.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| told.push_str(&format!("\\x{byte:02x}")));
    }
    within(&told, BYTES_MAX)
}

/// Each of `texts`, of the first `max`, and how many were left out.
pub fn list(texts: Vec<String>, max: usize) -> Vec<String> {
    let left = texts.len().saturating_sub(max);
    let mut told: Vec<_> = texts.iter().take(max).map(|text| self::told(text)).collect();
    if left > 0 {
        told.push(format!("and {left} more"));
    }
    told
}

/// As [`told`], in at most `bytes_max` bytes.
///
/// # Panics
/// `bytes_max` has no room for the mark of a cut.
pub fn within(text: &str, bytes_max: usize) -> String {
    assert!(bytes_max > MARK_BYTES_MAX, "a text is told in more than {MARK_BYTES_MAX} bytes");
    // A character takes no less room escaped than plain, so a longer text need not be told to be
    // known as too long.
    if text.len() <= bytes_max {
        let told = escaped(text);
        if told.len() <= bytes_max {
            return told;
        }
    }
    let room = bytes_max - MARK_BYTES_MAX;
    let head = fitting(text.char_indices(), room / 4 * 3, |at, letter| at + letter.len_utf8());
    let rest = &text[head.unwrap_or(0)..];
    let tail = fitting(rest.char_indices().rev(), room / 4, |at, _| at);
    let (left_out, tail) = rest.split_at(tail.unwrap_or(rest.len()));
    let head = &text[..text.len() - left_out.len() - tail.len()];
    format!("{} … ({} bytes left out) … {}", escaped(head), left_out.len(), escaped(tail))
}

/// What [`within`] has in the place of what it leaves out, at most.
const MARK_BYTES_MAX: usize = " … (18446744073709551615 bytes left out) … ".len();

/// Of `letters`, as many as are told in `room` bytes: where `at` says that the last of them is.
fn fitting(
    letters: impl Iterator<Item = (usize, char)>,
    room: usize,
    at: impl Fn(usize, char) -> usize,
) -> Option<usize> {
    let (mut told, mut last) = (String::new(), None);
    for (index, letter) in letters {
        push(&mut told, letter);
        if told.len() > room {
            break;
        }
        last = Some(at(index, letter));
    }
    last
}

fn escaped(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    text.chars().for_each(|letter| push(&mut told, letter));
    told
}

fn push(told: &mut String, letter: char) {
    match letter {
        // Of these std's escapes make two characters each, which would not be told twice alike.
        ' '..='~' => told.push(letter),
        _ => {
            // Behind another letter, so that an accent is left to combine with what is before it.
            let mut pair = [b'a', 0, 0, 0, 0];
            let length = 1 + letter.encode_utf8(&mut pair[1..]).len();
            let pair = std::str::from_utf8(&pair[..length]).unwrap_or_default();
            told.extend(pair.escape_debug().skip(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d03_what_would_be_obeyed_is_shown() {
        let check = |text: &str, expected: &str| {
            assert_eq!(told(text), expected);
            assert_eq!(told(expected), expected, "told twice");
        };
        check(
            "plain, with \"quotes\", a `tick` and a \\",
            "plain, with \"quotes\", a `tick` and a \\",
        );
        check("Gebühr für 手数料, cafe\u{301} 🚀", "Gebühr für 手数料, cafe\u{301} 🚀");
        check("line\nanother\r\tend\0", "line\\nanother\\r\\tend\\0");
        check("\u{1b}[2J\u{9b}31m\u{7f}", "\\u{1b}[2J\\u{9b}31m\\u{7f}");
        for turned in [
            "\u{202e}", "\u{2066}", "\u{200f}", "\u{61c}", "\u{2028}", "\u{2029}", "\u{200b}",
            "\u{feff}",
        ] {
            check(turned, &turned.escape_unicode().to_string());
        }
        check("\u{e0041}\u{e000}", "\\u{e0041}\\u{e000}");
    }

    #[test]
    fn d03_a_long_text_says_how_much_of_it_is_left_out() {
        let long = format!("the head {} the tail", "x".repeat(400_000));
        let told = self::told(&long);
        assert!(told.len() <= BYTES_MAX, "{}", told.len());
        assert!(told.starts_with("the head xxx") && told.ends_with("xxx the tail"), "{told}");
        let kept = told.matches('x').count();
        assert!(told.contains(&format!(" … ({} bytes left out) … ", 400_000 - kept)), "{told}");
        assert_eq!(self::told(&told), told, "told twice");
    }

    #[test]
    fn d03_no_text_is_longer_than_it_may_be() {
        let letters = ['a', '\n', '\u{1b}', '\u{202e}', '手', '🚀', '\u{10ffff}', '\u{301}'];
        for letter in letters {
            for length in (0..600).step_by(23).chain([2_000, 2_047, 2_048, 2_049, 9_000]) {
                let text: String = std::iter::repeat_n(letter, length).collect();
                for max in [MARK_BYTES_MAX + 1, NAME_BYTES_MAX, BYTES_MAX] {
                    let told = within(&text, max);
                    assert!(
                        told.len() <= max,
                        "{letter:?} {length} times in {max}: {}",
                        told.len()
                    );
                    assert_eq!(within(&told, max), told);
                    assert!(!told.contains(['\n', '\u{1b}', '\u{202e}']));
                }
            }
        }
    }

    #[test]
    fn d03_a_path_and_a_list_are_told_as_texts_are() {
        let odd = OsStr::from_bytes(b"/plugins/a\nb\xff\x1b.so");
        assert_eq!(path(odd.as_ref()), "/plugins/a\\nb\\xff\\u{1b}.so");
        let names = |count: usize| (0..count).map(|at| format!("lib{at}\n")).collect();
        assert_eq!(list(names(2), 2), ["lib0\\n", "lib1\\n"]);
        assert_eq!(list(names(5), 2), ["lib0\\n", "lib1\\n", "and 3 more"]);
    }
}
