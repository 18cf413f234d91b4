//! Floors: which module of the host stands on which.

use super::Exceptions;
use super::source::Source;
use std::collections::{BTreeMap, BTreeSet};

/// From the ground up. A module imports those below it, and never one above.
const FLOORS: &[&str] = &[
    "contained",
    "permit",
    "mappings",
    "settings",
    "contracts",
    "holder",
    "status",
    "event",
    "run",
    "image",
    "layout",
    "holds",
    "meter",
    "runtime",
    "library",
    "generation",
    "gate",
    "shown",
    "journal",
    "frames",
    "stage",
    "release_file",
    "command",
    "shared",
    "control",
    "watch",
    "start",
    "host",
    "docs",
];

/// The most files that may import each other in a circle, where a folder's `mod.rs` and its files
/// are not counted as one.
const CIRCLE: usize = 3;

/// Of a file, as the path of its module.
type Module = Vec<String>;

pub(crate) fn upwards(sources: &[Source]) -> Exceptions {
    let floor = |module: &Module| {
        let at = FLOORS.iter().position(|floor| *floor == module[0]);
        at.unwrap_or_else(|| panic!("{} is on no floor: say which, in FLOORS", module[0]))
    };
    let mut found = Exceptions::new();
    for (from, to) in imports(sources) {
        if floor(&from) < floor(&to) {
            *found.entry(format!("upwards {} {}", from.join("/"), to.join("/"))).or_default() += 1;
        }
    }
    found
}

pub(crate) fn circles(sources: &[Source]) -> Exceptions {
    let mut reached = BTreeMap::<Module, BTreeSet<Module>>::new();
    for (from, to) in imports(sources) {
        // A folder is read as one; that its parts are used by it is what it is for.
        if !to.starts_with(&from) && !from.starts_with(&to) {
            reached.entry(from).or_default().insert(to);
        }
    }
    loop {
        let mut grown = false;
        for from in reached.keys().cloned().collect::<Vec<_>>() {
            let next = reached[&from].iter().filter_map(|to| reached.get(to)).flatten();
            let next: Vec<_> = next.cloned().collect();
            let own = reached.entry(from).or_default();
            let before = own.len();
            own.extend(next);
            grown |= own.len() > before;
        }
        if !grown {
            break;
        }
    }
    let circle = |module: &Module| {
        let others = reached[module].iter();
        let back = others.filter(|other| reached.get(*other).is_some_and(|it| it.contains(module)));
        back.cloned().collect::<BTreeSet<_>>()
    };
    let circles: BTreeSet<_> = reached.keys().map(circle).collect();
    let large = circles.into_iter().filter(|circle| circle.len() > CIRCLE);
    let first = |circle: &BTreeSet<Module>| circle.first().map(|it| it.join("/"));
    large.map(|it| (format!("circle {}", first(&it).unwrap_or_default()), it.len())).collect()
}

/// Each pair of modules of which the first names the second, tests aside.
fn imports(sources: &[Source]) -> BTreeSet<(Module, Module)> {
    let of_host = |source: &&Source| !source.is_test() && source.path.starts_with("host/src/");
    let modules: BTreeMap<Module, &Source> = sources
        .iter()
        .filter(of_host)
        .map(|source| (module(&source.path), source))
        .filter(|(module, _)| !module.is_empty())
        .collect();
    let mut found = BTreeSet::new();
    for (module, source) in &modules {
        for name in names(module, &uncommented(source.code())) {
            let file = (1..=name.len()).rev().find_map(|end| {
                let path = name[..end].to_vec();
                modules.contains_key(&path).then_some(path)
            });
            found.extend(file.filter(|file| file != module).map(|file| (module.clone(), file)));
        }
    }
    found
}

fn module(path: &str) -> Module {
    let path = path.trim_start_matches("host/src/").trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
}

fn uncommented(code: &str) -> String {
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + "\n";
    code.lines().map(line).collect()
}

/// Every path that begins with `crate` or `super`, from the crate's root, use trees spelled out.
fn names(module: &Module, code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            let is_inside = code[..at].ends_with(|one: char| one.is_alphanumeric() || one == ':');
            if is_inside {
                continue;
            }
            let mut base = if root == "crate::" { Vec::new() } else { above(module) };
            let mut rest = &code[at + root.len()..];
            while let Some(up) = rest.strip_prefix("super::") {
                base.pop();
                rest = up;
            }
            spell(&base, rest, &mut found);
        }
    }
    found
}

fn above(module: &Module) -> Module {
    module[..module.len() - 1].to_vec()
}

/// Reads one tree of paths, and gives what comes after it.
fn spell<'c>(base: &[String], code: &'c str, found: &mut Vec<Vec<String>>) -> &'c str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = spell(base, rest, found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                more => return more.unwrap_or(rest).trim_start().trim_start_matches('}'),
            }
        }
    }
    let end = code.find(|one: char| !one.is_alphanumeric() && one != '_').unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let mut path = base.to_vec();
    if name != "self" && !name.is_empty() {
        path.push(name.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(rest) if !name.is_empty() && !rest.starts_with('<') => spell(&path, rest, found),
        _ => {
            found.push(path);
            rest
        }
    }
}

#[test]
fn trees_of_paths_are_spelled_out() {
    let module = ["gate".to_owned(), "pin".to_owned()].to_vec();
    let code =
        "use crate::a::{self, b::C, d::{E, F},};\nuse super::cell;\nlet x = crate::g::h();\n";
    let mut found: Vec<_> = names(&module, code).iter().map(|name| name.join("/")).collect();
    found.sort();
    assert_eq!(found, ["a", "a/b/C", "a/d/E", "a/d/F", "g/h", "gate/cell"]);
}

#[test]
fn a_circle_is_seen_and_a_folder_is_none() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let ring = |n: usize| {
        let file = |at: usize| {
            file(&format!("host/src/m{at}.rs"), &format!("use crate::m{}::X;\n", (at + 1) % n))
        };
        circles(&(0..n).map(file).collect::<Vec<_>>())
    };
    assert_eq!(ring(3), Exceptions::new());
    assert_eq!(ring(4), Exceptions::from([("circle m0".to_owned(), 4)]));
    let folder = [
        file("host/src/m/mod.rs", "use crate::m::a::A;\n"),
        file("host/src/m/a.rs", "use super::M;\n"),
        file("host/src/m/b.rs", "use super::M;\n"),
        file("host/src/m/c.rs", "use super::M;\n"),
    ];
    assert_eq!(circles(&folder), Exceptions::new());
}
