//! What is had instead: `List` and `Text`, whose safe methods are safe.
#![forbid(unsafe_code)]
use midflight_plugin::{List, Text};

fn main() {
    let list: List<u64> = vec![1, 2].into();
    let text = Text::from("two");
    assert_eq!((list.len(), text.as_str()), (2, "two"));
}
