//! The first difference of two types, in the order in which their author wrote them.
//!
//! The check tells that two tables differ and lists dozens of differences, each where bytes differ.
//! Its reader needs one, with the way to it. So both types are walked side by side, from the
//! contract's methods down, until they differ in something that an author wrote.

use super::written::{self, Field, Growable, Items, Method, Place, Variant, Written};
use super::written::{is_ours, name, shown};
use super::{Both, Description};
use abi::std_types::UTypeId;
use abi::type_layout::TLField;
use std::collections::HashSet;

/// What the two sides say of one place.
#[derive(Debug)]
pub(super) struct Difference {
    /// From the inside out.
    way: Vec<String>,
    pub(super) says: Both<String>,
    pub(super) rule: Rule,
}

/// What both sides would have to keep to, and one has not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// The name of a contract.
    Contract,
    /// A method's arguments and its result.
    Signature,
    FieldType,
    /// What a variant carries.
    Payload,
    GrowableFieldType,
    Fields,
    Variants,
    /// Methods, fields or variants, by their noun, of which there may be more at the end.
    Later(&'static str, Change),
    /// `growable` is given to a record or taken from it.
    Growable,
    /// The versions of a crate.
    Versions,
    /// The crate that a type is of.
    Crates,
    /// What is written alike, and is laid out in two ways.
    Compilers,
}

/// What has become of a list that grows at its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    Order,
    Name,
    More,
    Since,
}

impl Difference {
    /// The first one of two tables of a contract.
    pub(super) fn first(tables: Both<Description>) -> Option<Difference> {
        let mut walk = Walk { seen: HashSet::new(), depth: 0 };
        walk.types(tables, Within { place: Place::Signature, rule: Rule::Contract })
    }

    /// `fee, argument 1, Trade.quantity`
    pub(super) fn way(&self) -> String {
        let steps: Vec<&str> = self.way.iter().rev().map(String::as_str).collect();
        if steps.len() <= STEPS_MAX {
            return steps.join(", ");
        }
        let (first, rest) = steps.split_at(STEPS_MAX / 2);
        let last = &rest[rest.len() - STEPS_MAX / 2..];
        format!("{}, …, {}", first.join(", "), last.join(", "))
    }

    fn new(expected: impl Into<String>, offered: impl Into<String>, rule: Rule) -> Self {
        let says = Both { expected: expected.into(), offered: offered.into() };
        Difference { way: Vec::new(), says, rule }
    }

    /// It lies in what `step` names. An empty one names nothing.
    fn at(mut self, step: impl Into<String>) -> Self {
        let step = step.into();
        if !step.is_empty() {
            self.way.push(step);
        }
        self
    }
}

/// Steps of a way that are told.
const STEPS_MAX: usize = 12;
/// Types within types that are walked.
const DEPTH_MAX: usize = 100;
/// Pairs of types that are walked.
const PAIRS_MAX: usize = 10_000;

struct Walk {
    /// A pair that was walked, or is being walked, has nothing more to tell. So types that contain
    /// themselves come to an end.
    seen: HashSet<(UTypeId, UTypeId)>,
    depth: usize,
}

/// What a type stands in.
#[derive(Clone, Copy)]
struct Within {
    place: Place,
    /// Broken, where the type is another one.
    rule: Rule,
}

impl Walk {
    fn types(&mut self, types: Both<Description>, within: Within) -> Option<Difference> {
        let ids = types.map(|layout| layout.get_utypeid());
        let is_too_much = self.depth == DEPTH_MAX || self.seen.len() == PAIRS_MAX;
        if is_too_much || !self.seen.insert((ids.expected, ids.offered)) {
            return None;
        }
        self.depth += 1;
        let found = self.unseen(types, within);
        self.depth -= 1;
        found
    }

    fn unseen(&mut self, types: Both<Description>, within: Within) -> Option<Difference> {
        use Written::{Array, Contract, Enum, Growable as MayGrow, Made, Other, Plain, Record};
        let Both { expected, offered } = types.map(Written::of);
        let names = types.map(name);
        let named_alike = names.expected == names.offered;
        let name = &names.expected;
        match (expected, offered) {
            (Plain, Plain) if named_alike => bytes(types),
            (Made(form, expected), Made(other, offered)) if std::ptr::eq(form, other) => {
                let mut parts = form.parts.iter().zip(pairs(expected, offered));
                let inner = Within { place: form.within(within.place), ..within };
                parts.find_map(|(part, parts)| match Written::are_other_contracts(parts) {
                    true => Some(differ(types, within)),
                    false => Some(self.types(parts, inner)?.at(part.step)),
                })
            }
            (Array(expected, length), Array(offered, other)) if length == other => {
                Some(self.types(Both { expected, offered }, within)?.at("element"))
            }
            (Record(expected), Record(offered)) if named_alike => crates(types)
                .or_else(|| self.record(name, Both { expected, offered }))
                .or_else(|| Some(bytes(types)?.at(name))),
            (Enum(expected), Enum(offered)) if named_alike => crates(types)
                .or_else(|| self.variants(name, Both { expected, offered }))
                .or_else(|| Some(bytes(types)?.at(name))),
            (MayGrow(expected), MayGrow(offered))
                if expected.is_enum == offered.is_enum && expected.is_lent == offered.is_lent =>
            {
                let both = Both { expected, offered };
                let tables = both.as_ref().map(|growable| growable.table);
                named(tables, types, within)
                    .or_else(|| self.growable(&written::name(tables.expected), both.as_ref()))
            }
            (Contract(expected), Contract(offered)) => {
                let both = Both { expected, offered };
                named(both.as_ref().map(|contract| contract.table), types, within)
                    .or_else(|| self.methods(name, both.as_ref()))
            }
            (Other, Other) if named_alike => crates(types)
                .or_else(|| bytes(types))
                .or_else(|| self.inside_of_ours(types, within)),
            _ => Some(differ(types, within)),
        }
    }

    fn record(&mut self, owner: &str, fields: Both<Vec<Field>>) -> Option<Difference> {
        let named = List { owner, joint: ".", noun: "field", rule: |_, _| Rule::Fields };
        self.fields(&named, owner, fields, Rule::FieldType)
    }

    fn variants(&mut self, owner: &str, variants: Both<Vec<Variant>>) -> Option<Difference> {
        let list = List { owner, joint: "::", noun: "variant", rule: |_, _| Rule::Variants };
        let name = |variant: &Variant| variant.name.clone();
        let names = variants.as_ref().map(|variants| variants.iter().map(name).collect());
        let all = variants.as_ref();
        let says = all.map(|all| move |at: usize| all.get(at).map(Variant::shown));
        if let Some(found) = list.complete(&names, &says) {
            return Some(found);
        }
        pairs(variants.expected, variants.offered).find_map(|Both { expected, offered }| {
            let owner = format!("{owner}::{}", expected.name);
            if expected.number != offered.number {
                let says = |variant: &Variant| format!("{} = {}", variant.name, variant.number);
                let (ours, theirs) = (says(&expected), says(&offered));
                return Some(Difference::new(ours, theirs, Rule::Variants).at(owner));
            }
            let list =
                List { owner: &owner, joint: ".", noun: "field", rule: |_, _| Rule::Payload };
            let fields = Both { expected: expected.fields, offered: offered.fields };
            self.fields(&list, &expected.name, fields, Rule::Payload)
        })
    }

    /// The fields of a record or of a variant.
    fn fields(
        &mut self,
        list: &List<'_>,
        name: &str,
        fields: Both<Vec<Field>>,
        rule: Rule,
    ) -> Option<Difference> {
        let Both { expected, offered } = fields.as_ref();
        let whole = |fields: &[Field]| format!("{name}{}", shown_fields(fields));
        let is_tuple = |fields: &[Field]| fields.first().is_some_and(|field| field.name == "0");
        let is_variant = rule == Rule::Payload;
        let one_is_empty = expected.is_empty() != offered.is_empty();
        if is_tuple(expected) != is_tuple(offered)
            || is_tuple(expected) && expected.len() != offered.len()
            || is_variant && one_is_empty
        {
            let found = Difference::new(whole(expected), whole(offered), list.broken(Change::More));
            return Some(found.at(list.owner));
        }
        let name = |field: &Field| field.name.clone();
        let names = fields.as_ref().map(|fields| fields.iter().map(name).collect());
        let written = |field: &Field| shown(field.written, Place::Record);
        let says = fields.as_ref().map(|fields| move |at: usize| fields.get(at).map(written));
        if let Some(found) = list.complete(&names, &says) {
            return Some(found);
        }
        pairs(fields.expected, fields.offered).find_map(|Both { expected, offered }| {
            let types = Both { expected: expected.written, offered: offered.written };
            let within = Within { place: Place::Record, rule };
            Some(self.types(types, within)?.at(list.item(&expected.name)))
        })
    }

    fn growable(&mut self, owner: &str, both: Both<&Growable>) -> Option<Difference> {
        let Both { expected, offered } = both;
        let (noun, joint) = if expected.is_enum { ("variant", "::") } else { ("field", ".") };
        let list = List { owner, joint, noun, rule: Rule::Later };
        let says = both.map(|growable| {
            move |at: usize| match growable.is_enum {
                true => growable.items.names.get(at).cloned(),
                false => growable.fields.get(at).map(|field| shown(field, Place::Record)),
            }
        });
        if let Some(found) = list.growing(both.map(|growable| &growable.items), &says) {
            return Some(found);
        }
        let within = Within { place: Place::Record, rule: Rule::GrowableFieldType };
        let types = expected.fields.iter().zip(&offered.fields).zip(&expected.items.names);
        types.filter(|_| !expected.is_enum).find_map(|((expected, offered), name)| {
            Some(self.types(Both { expected, offered }, within)?.at(list.item(name)))
        })
    }

    fn methods(&mut self, contract: &str, both: Both<&written::Contract>) -> Option<Difference> {
        // The outermost contract is named by whoever tells the difference.
        let owner = if self.depth == 1 { "" } else { contract };
        let list = List { owner, joint: ".", noun: "method", rule: Rule::Later };
        let says = both.map(|contract| move |at: usize| contract.methods.get(at).map(signature));
        if let Some(found) = list.growing(both.map(|contract| &contract.items), &says) {
            return Some(found);
        }
        let Both { expected, offered } = both.map(|contract| contract.methods.iter());
        let methods = expected.zip(offered).zip(&both.expected.items.names);
        methods.into_iter().find_map(|((expected, offered), name)| {
            Some(self.method(&Both { expected, offered })?.at(list.item(name)))
        })
    }

    fn method(&mut self, methods: &Both<&Method>) -> Option<Difference> {
        let Both { expected, offered } = methods;
        let rule = Rule::Signature;
        let count = |method: &Method| (method.is_async, method.arguments.len());
        if count(expected) != count(offered) {
            return Some(Difference::new(signature(expected), signature(offered), rule));
        }
        let within = Within { place: Place::Signature, rule };
        let arguments = expected.arguments.iter().zip(&offered.arguments).enumerate();
        let argument = arguments.into_iter().find_map(|(number, (expected, offered))| {
            let found = self.types(Both { expected, offered }, within)?;
            Some(found.at(format!("argument {}", number + 1)))
        });
        let results = Both { expected: expected.result, offered: offered.result };
        argument.or_else(|| Some(self.types(results, within)?.at("result")))
    }

    /// What an author wrote inside of a type of ours that has no form. Its own fields are nobody's
    /// words.
    fn inside_of_ours(&mut self, types: Both<Description>, within: Within) -> Option<Difference> {
        let fields = types.map(|layout| {
            layout
                .phantom_fields()
                .iter()
                .chain(layout.get_fields().into_iter().flatten())
                .collect::<Vec<_>>()
        });
        pairs(fields.expected, fields.offered).find_map(|fields: Both<TLField>| {
            let functions = pairs(
                fields.expected.function_range().iter().collect(),
                fields.offered.function_range().iter().collect(),
            );
            let mut crossing = functions.into_iter().flat_map(|functions| {
                let crossing = functions.map(|function| {
                    let arguments = function.param_type_layouts.iter();
                    let crossing = arguments.chain(function.return_type_layout());
                    crossing.map(|layout| layout()).collect::<Vec<_>>()
                });
                pairs(crossing.expected, crossing.offered)
            });
            crossing
                .find_map(|types| self.types(types, within))
                .or_else(|| self.types(fields.map(|field| field.layout()), within))
        })
    }
}

/// Names in order: of methods, fields or variants.
struct List<'l> {
    owner: &'l str,
    /// Between the owner and one of them.
    joint: &'l str,
    noun: &'static str,
    /// That is broken, by the noun.
    rule: fn(&'static str, Change) -> Rule,
}

impl List<'_> {
    fn broken(&self, change: Change) -> Rule {
        (self.rule)(self.noun, change)
    }

    fn item(&self, name: &str) -> String {
        match self.owner {
            "" => name.to_owned(),
            owner => format!("{owner}{}{name}", self.joint),
        }
    }

    /// Both sides have the same ones. `says` tells what stands in a place.
    fn complete(
        &self,
        names: &Both<Vec<String>>,
        says: &Both<impl Fn(usize) -> Option<String>>,
    ) -> Option<Difference> {
        let Both { expected, offered } = names;
        self.among(Both { expected, offered }, expected.len().max(offered.len()), says)
    }

    /// One side may have more, at the end and with `#[since]`.
    fn growing(
        &self,
        items: Both<&Items>,
        says: &Both<impl Fn(usize) -> Option<String>>,
    ) -> Option<Difference> {
        let Both { expected, offered } = items;
        let names = items.map(|items| &*items.names);
        let common = expected.names.len().min(offered.names.len());
        if let Some(found) = self.among(names, common, says) {
            return Some(found);
        }
        if expected.always == offered.always {
            return None;
        }
        let at = expected.always.min(offered.always);
        let missing = || format!("no such {}", self.noun);
        let since = |items: &Items, says: Option<String>, both: bool| match says {
            None => missing(),
            Some(_) if both && at < items.always => format!("a {} without #[since]", self.noun),
            Some(_) if both => format!("a {} with #[since]", self.noun),
            Some(says) => format!("{says} without #[since]"),
        };
        let (ours, theirs) = ((says.expected)(at), (says.offered)(at));
        let both = ours.is_some() && theirs.is_some();
        let (ours, theirs) = (since(expected, ours, both), since(offered, theirs, both));
        let name = expected.names.get(at).or(offered.names.get(at))?;
        Some(Difference::new(ours, theirs, self.broken(Change::Since)).at(self.item(name)))
    }

    /// The first `length` names.
    fn among(
        &self,
        names: Both<&[String]>,
        length: usize,
        told: &Both<impl Fn(usize) -> Option<String>>,
    ) -> Option<Difference> {
        let Both { expected, offered } = names;
        let at = (0..length).find(|at| expected.get(*at) != offered.get(*at))?;
        let (ours, theirs) = (expected.get(at), offered.get(at));
        let only_ours = ours.filter(|name| !offered.contains(name));
        let only_theirs = theirs.filter(|name| !expected.contains(name));
        let missing = format!("no such {}", self.noun);
        let says = |told: Option<String>| told.unwrap_or_default();
        let found = |ours, theirs, change| Difference::new(ours, theirs, self.broken(change));
        let numbered = |change| {
            let name = |name: Option<&String>| name.unwrap_or(&missing).clone();
            let found = found(name(ours), name(theirs), change);
            found.at(format!("{} {}", self.noun, at + 1)).at(self.owner)
        };
        Some(match (only_ours, only_theirs) {
            (Some(name), None) => {
                let ours = says((told.expected)(at));
                found(ours, missing, Change::More).at(self.item(name))
            }
            (None, Some(name)) => {
                let theirs = says((told.offered)(at));
                found(missing, theirs, Change::More).at(self.item(name))
            }
            (Some(_), Some(_)) => numbered(Change::Name),
            (None, None) => numbered(Change::Order),
        })
    }
}

fn pairs<T>(expected: Vec<T>, offered: Vec<T>) -> impl Iterator<Item = Both<T>> {
    expected.into_iter().zip(offered).map(|(expected, offered)| Both { expected, offered })
}

/// The two are different types.
fn differ(types: Both<Description>, within: Within) -> Difference {
    let bare = types.map(|layout| {
        let (bare, written) = Written::bare(layout);
        (name(bare), written.kind(), matches!(written, Written::Growable(_)))
    });
    let ((name, kind, grows), (other, other_kind, other_grows)) = (&bare.expected, &bare.offered);
    if name != other || kind == other_kind {
        let says = types.map(|layout| shown(layout, within.place));
        return Difference::new(says.expected, says.offered, within.rule);
    }
    // Of one name, and of different kinds: what may grow says of itself whether it is lent, or not
    // even that.
    let rule = if grows == other_grows { within.rule } else { Rule::Growable };
    let says = |kind: &str| format!("{kind}{name}");
    Difference::new(says(kind), says(other_kind), rule)
}

/// `tables` have the names and the crates of `types`.
fn named(
    tables: Both<Description>,
    types: Both<Description>,
    within: Within,
) -> Option<Difference> {
    let names = tables.map(name);
    (names.expected != names.offered).then(|| differ(types, within)).or_else(|| crates(tables))
}

/// The crates that two types of one name are of.
fn crates(types: Both<Description>) -> Option<Difference> {
    let packages = types.map(|layout| written::clipped(layout.package().as_str()));
    if packages.expected != packages.offered {
        let says = |layout, package| format!("{} of the crate {package}", name(layout));
        let expected = says(types.expected, &packages.expected);
        return Some(Difference::new(
            expected,
            says(types.offered, &packages.offered),
            Rule::Crates,
        ));
    }
    let versions = types.map(|layout| layout.package_version());
    let fit = match (versions.expected.parsed(), versions.offered.parsed()) {
        (Ok(expected), Ok(offered)) => expected.is_loosely_compatible(offered),
        _ => false,
    };
    let package = if is_ours(types.expected) { "midflight-plugin" } else { &packages.expected };
    let says = versions.map(|version| format!("{package} {version}"));
    (!fit).then(|| Difference::new(says.expected, says.offered, Rule::Versions))
}

/// What is written alike has the same size, and stands at the same addresses.
fn bytes(types: Both<Description>) -> Option<Difference> {
    let says = types.map(|layout| (layout.size(), layout.alignment()));
    let (says, what) = match (says.expected, says.offered) {
        (ours, theirs) if ours.0 != theirs.0 => (says.map(|says| says.0), "a size of"),
        (ours, theirs) if ours.1 != theirs.1 => (says.map(|says| says.1), "an alignment of"),
        _ => return None,
    };
    let says = says.map(|says| format!("{what} {says}"));
    Some(Difference::new(says.expected, says.offered, Rule::Compilers))
}

/// Longer than this, a signature is only counted.
const SIGNATURE_MAX: usize = 100;

/// `fn(u32, &str) -> u64`
fn signature(method: &Method) -> String {
    let shown = |layout: &Description| shown(layout, Place::Signature);
    let arguments: Vec<_> = method.arguments.iter().map(shown).collect();
    let result = match shown(&method.result) {
        unit if unit == "()" => String::new(),
        result => format!(" -> {result}"),
    };
    let word = if method.is_async { "async fn" } else { "fn" };
    let whole = format!("{word}({}){result}", arguments.join(", "));
    match whole.chars().count() <= SIGNATURE_MAX {
        true => whole,
        false => format!("{word} with {} arguments", arguments.len()),
    }
}

impl Variant {
    fn shown(&self) -> String {
        format!("{}{}", self.name, shown_fields(&self.fields))
    }
}

/// Fields of a record or a variant that are told.
const FIELDS_MAX: usize = 5;

/// `(u32, Text)` and ` with why: Text`, behind a name.
fn shown_fields(fields: &[Field]) -> String {
    let mut is_tuple = false;
    let mut all: Vec<_> = fields
        .iter()
        .take(FIELDS_MAX)
        .map(|field| {
            let written = shown(field.written, Place::Record);
            is_tuple |= field.name == "0";
            if is_tuple { written } else { format!("{}: {written}", field.name) }
        })
        .collect();
    if fields.len() > FIELDS_MAX {
        all.push("…".to_owned());
    }
    match all.join(", ") {
        none if none.is_empty() => none,
        all if is_tuple => format!("({all})"),
        all => format!(" with {all}"),
    }
}
