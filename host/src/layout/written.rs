//! What an author wrote for a type, read from its layout.
//!
//! A layout names what crosses: `RStr`, `RSlice`, `GrownBox`. Its author wrote `&str`, `&[T]`
//! and a record's name. [`FORMS`] has the one beside the other for each type that
//! `midflight-plugin` lets cross. Whatever is not in it is a number, a record, an enum or a
//! contract, and the names in those layouts are their authors'.

use super::{Both, Description};
use abi::type_layout::{TLData, TLEnum, TLField, TLFunction, TLPrefixType, TLPrimitive};

/// Where a type stands: the same one goes by two names, `Vec` in a signature and `List` in a
/// record.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Signature,
    Record,
}

/// One level of a type.
pub(super) enum Written {
    /// A number, `bool` or `()`: the name of the layout is its own.
    Plain,
    /// Something of the language's or of `midflight-plugin`'s, made of other types.
    Made(&'static Form, Vec<Description>),
    Array(Description, String),
    Record(Vec<Field>),
    Enum(Vec<Variant>),
    Growable(Growable),
    Contract(Contract),
    /// What no author names.
    Other,
}

/// How a type of ours is written.
pub(super) struct Form {
    /// Of its layout.
    name: &'static str,
    /// Each `{}` is a part.
    signature: &'static str,
    record: &'static str,
    pub(super) parts: &'static [Part],
}

pub(super) struct Part {
    /// From the layout of the whole.
    way: &'static [At],
    /// What it is to the whole. Empty where nothing has to be said.
    pub(super) step: &'static str,
}

/// A step in a layout.
enum At {
    /// A field, or what stands for one.
    Named(&'static str),
    /// A field by its place: those of several variants can have one name.
    Nth(usize),
    /// What the function in this field answers with.
    Answer(&'static str),
}
use At::{Answer, Named, Nth};

pub(super) struct Field {
    pub(super) name: String,
    pub(super) written: Description,
}

pub(super) struct Variant {
    pub(super) name: String,
    pub(super) number: String,
    pub(super) fields: Vec<Field>,
}

/// What may grow: a record or an enum.
pub(super) struct Growable {
    pub(super) is_enum: bool,
    pub(super) is_lent: bool,
    /// The description that is compared, which has the author's name.
    pub(super) table: Description,
    /// The types of a record's fields.
    pub(super) fields: Vec<Description>,
    pub(super) items: Items,
}

/// The names of methods, fields or variants, in order, of which the first are there in `always`,
/// every version.
pub(super) struct Items {
    pub(super) names: Vec<String>,
    pub(super) always: usize,
}

pub(super) struct Contract {
    /// The table of functions, which has the author's name.
    pub(super) table: Description,
    pub(super) methods: Vec<Method>,
    pub(super) items: Items,
}

pub(super) struct Method {
    pub(super) arguments: Vec<Description>,
    pub(super) result: Description,
    pub(super) is_async: bool,
}

const fn word(name: &'static str, signature: &'static str, record: &'static str) -> Form {
    made(name, signature, record, &[])
}

const fn made(
    name: &'static str,
    signature: &'static str,
    record: &'static str,
    parts: &'static [Part],
) -> Form {
    Form { name, signature, record, parts }
}

const fn part(step: &'static str, way: &'static [At]) -> Part {
    Part { way, step }
}

const ELEMENT: &[Part] = &[part("element", &[Named("element")])];
const ENTRY: &[Part] = &[part("key", &[Named("key")]), part("value", &[Named("value")])];
const RESULT: &[Part] = &[part("Ok", &[Nth(0)]), part("Err", &[Nth(1)])];
const TABLE: &[At] = &[Named("table")];
const PARTS: &[Part] = &[
    part("part 1", &[Nth(0)]),
    part("part 2", &[Nth(1)]),
    part("part 3", &[Nth(2)]),
    part("part 4", &[Nth(3)]),
    part("part 5", &[Nth(4)]),
    part("part 6", &[Nth(5)]),
];
const fn tuple(name: &'static str, written: &'static str, length: usize) -> Form {
    made(name, written, written, PARTS.split_at(length).0)
}

static FORMS: &[Form] = &[
    word("Text", "String", "Text"),
    word("RStr", "&str", "&str"),
    word("Period", "Duration", "Period"),
    word("RawSink", "Sink<'_>", "Sink<'_>"),
    word("RawTextSink", "TextSink<'_>", "TextSink<'_>"),
    made("List", "Vec<{}>", "List<{}>", ELEMENT),
    made("Set", "HashSet/BTreeSet<{}>", "HashSet/BTreeSet<{}>", ELEMENT),
    made("RSlice", "&[{}]", "&[{}]", ELEMENT),
    made("Maybe", "Option<{}>", "Maybe<{}>", &[part("Some", &[Nth(0)])]),
    made("RResult", "Result<{}, {}>", "Result<{}, {}>", RESULT),
    made("Map", "HashMap/BTreeMap<{}, {}>", "Map<{}, {}>", ENTRY),
    made("&", "&{}", "&{}", &[part("", &[Named("0")])]),
    made("RawCallback", "Callback<dyn {}>", "Callback<dyn {}>", &[part("", TABLE)]),
    made("RawObject", "Box<dyn {}>", "Box<dyn {}>", &[part("", TABLE)]),
    tuple("Tuple2", "({}, {})", 2),
    tuple("Tuple3", "({}, {}, {})", 3),
    tuple("Tuple4", "({}, {}, {}, {})", 4),
    tuple("Tuple5", "({}, {}, {}, {}, {})", 5),
    tuple("Tuple6", "({}, {}, {}, {}, {}, {})", 6),
];

/// The layouts of what may grow, and whether that is lent.
const LENT: (&str, bool) = ("GrownRef", true);
const GROWABLE: [(&str, bool); 3] = [LENT, ("GrownBox", false), (NUMBER, false)];
/// The layout of an enum that may grow, lent or not.
const NUMBER: &str = "GrownNumber";
const DESCRIBED: &[At] = &[Named("described"), Named("0"), Named("0")];
/// A value in an answer that can be a panic as well.
const REPLIED: &[At] = &[Named("value"), Named("value")];
const AWAITED: &[At] = &[Answer("poll"), Named("value"), Named("value"), Nth(0)];

/// Names are as long as their authors like, and this much of one is told.
const NAME_MAX: usize = 48;

impl Written {
    pub(super) fn of(layout: Description) -> Written {
        if is_ours(layout) { Written::ours(layout) } else { Written::authors(layout) }
            .unwrap_or(Written::Other)
    }

    /// `None` is what has not the parts that it should have: another version's.
    fn ours(layout: Description) -> Option<Written> {
        let name = layout.name();
        if let Some((_, is_lent)) = GROWABLE.iter().find(|(growable, _)| *growable == name) {
            return Growable::of(inside(layout, DESCRIBED)?, name == NUMBER, *is_lent);
        }
        if let Some(form) = FORMS.iter().find(|form| form.name == name) {
            let parts = form.parts.iter().map(|part| inside(layout, part.way));
            return Some(Written::Made(form, parts.collect::<Option<_>>()?));
        }
        match layout.data() {
            _ if name == POINTER => Contract::of(table(layout)),
            _ if name == "()" => Some(Written::Plain),
            TLData::Primitive(TLPrimitive::Array) => {
                // A number's own text.
                let length = format!("{:?}", layout.generics().const_params().first()?);
                Some(Written::Array(inside(layout, &[Named("element")])?, clipped(&length)))
            }
            TLData::Primitive(primitive) if !is_pointer(primitive) => Some(Written::Plain),
            _ => None,
        }
    }

    fn authors(layout: Description) -> Option<Written> {
        match layout.data() {
            TLData::Struct { fields } => Some(Written::Record(Field::all(fields.iter()))),
            TLData::Enum(variants) => Some(Written::Enum(Variant::all(variants))),
            _ => None,
        }
    }
}

impl Contract {
    fn of(table: Description) -> Option<Written> {
        let TLData::PrefixType(prefix) = table.data() else { return None };
        let methods: Option<Vec<_>> = prefix.fields.iter().map(Method::of).collect();
        Some(Written::Contract(Contract { table, methods: methods?, items: Items::of(&prefix) }))
    }
}

impl Written {
    /// A type without what lends it.
    pub(super) fn bare(layout: Description) -> (Description, Written) {
        match Written::of(layout) {
            Written::Made(form, parts) if form.signature == "&{}" && parts.len() == 1 => {
                (parts[0], Written::of(parts[0]))
            }
            Written::Growable(growable) => (growable.table, Written::Growable(growable)),
            written => (layout, written),
        }
    }

    /// What stands before the name of a type, to tell it from another one of that name.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Written::Record(_) => "#[record] struct ",
            Written::Enum(_) => "#[record] enum ",
            Written::Growable(growable) if growable.is_enum => "#[record(growable)] enum ",
            Written::Growable(_) => "#[record(growable)] struct ",
            Written::Contract(_) => "#[contract] trait ",
            Written::Plain | Written::Made(..) | Written::Array(..) | Written::Other => "",
        }
    }

    pub(super) fn are_other_contracts(types: Both<Description>) -> bool {
        let names = types.map(name);
        let are = types.map(|layout| matches!(Written::of(layout), Written::Contract(_)));
        are.expected && are.offered && names.expected != names.offered
    }
}

impl Form {
    /// Where its parts stand. What is lent is read as it lies there, and so is what is in a record.
    pub(super) fn within(&self, place: Place) -> Place {
        if self.signature.starts_with('&') { Place::Record } else { place }
    }
}

impl Growable {
    fn of(table: Description, is_enum: bool, is_lent: bool) -> Option<Written> {
        let TLData::PrefixType(prefix) = table.data() else { return None };
        // Each field is a pointer to the type that it stands for.
        let fields: Option<Vec<_>> =
            prefix.fields.iter().map(|field| inside(field.layout(), &[Named("0")])).collect();
        let items = Items::of(&prefix);
        Some(Written::Growable(Growable { is_enum, is_lent, table, fields: fields?, items }))
    }
}

impl Items {
    fn of(prefix: &TLPrefixType) -> Items {
        let names = prefix.fields.iter().map(|field| clipped(field.name())).collect();
        Items { names, always: usize::from(prefix.first_suffix_field) }
    }
}

impl Field {
    /// Those of a tuple have their numbers for names, as in `pair.0`.
    fn all(fields: impl Iterator<Item = TLField>) -> Vec<Field> {
        let fields: Vec<_> = fields.enumerate().collect();
        let is_tuple = fields.iter().all(|(at, field)| field.name() == format!("field_{at}"));
        let named = |(at, field): (usize, TLField)| {
            let name = if is_tuple { at.to_string() } else { clipped(field.name()) };
            Field { name, written: field.layout() }
        };
        fields.into_iter().map(named).collect()
    }
}

impl Variant {
    fn all(variants: TLEnum) -> Vec<Variant> {
        // The numbers have no other way out than their text, `[0, 1]`.
        let numbers = format!("{:?}", variants.discriminants);
        let mut numbers = numbers.trim_matches(['[', ']']).split(", ");
        let mut fields = variants.fields.iter();
        let counts = variants.field_count.as_slice();
        variants
            .variant_names_iter()
            .zip(counts)
            .map(|(name, count)| Variant {
                name: clipped(name),
                number: clipped(numbers.next().unwrap_or_default()),
                fields: Field::all(fields.by_ref().take(usize::from(*count))),
            })
            .collect()
    }
}

impl Method {
    fn of(field: TLField) -> Option<Method> {
        let function = field.function_range().iter().next()?;
        let answer = inside(answer(&function)?, REPLIED)?;
        let is_async = is_ours(answer) && answer.name() == "RawFuture";
        let result = if is_async { inside(answer, AWAITED)? } else { answer };
        // The first argument is the instance.
        let arguments = function.param_type_layouts.iter().skip(1).map(|layout| layout()).collect();
        Some(Method { arguments, result, is_async })
    }
}

fn answer(function: &TLFunction) -> Option<Description> {
    function.return_type_layout().map(|layout| layout())
}

/// What lies at the end of `way` in a layout.
fn inside(layout: Description, way: &[At]) -> Option<Description> {
    way.iter().try_fold(layout, |layout, at| {
        let fields = || {
            let written = layout.get_fields();
            layout.phantom_fields().iter().chain(written.into_iter().flatten())
        };
        match at {
            Named(name) => Some(fields().find(|field| field.name() == *name)?.layout()),
            Nth(place) => Some(fields().nth(*place)?.layout()),
            Answer(name) => {
                let function = fields().find(|field| field.name() == *name)?;
                answer(&function.function_range().iter().next()?)
            }
        }
    })
}

fn is_pointer(primitive: TLPrimitive) -> bool {
    use TLPrimitive::{ConstPtr, MutPtr, MutRef, SharedRef};
    matches!(primitive, SharedRef | MutRef | ConstPtr | MutPtr)
}

/// Does the type belong to the language or to `midflight-plugin`?
pub(super) fn is_ours(layout: Description) -> bool {
    matches!(layout.package().as_str(), "std" | "abi_stable" | "midflight-plugin")
}

/// A text of the library's, of which a bounded part is told.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(NAME_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What crosses of a contract points to its table.
const POINTER: &str = "PrefixRef";

/// The table of a contract; of anything else the thing itself.
pub(super) fn table(layout: Description) -> Description {
    let table = if layout.name() == POINTER { inside(layout, &[Named("0")]) } else { None };
    table.unwrap_or(layout)
}

/// The author's name of a record, an enum or a contract.
pub(super) fn name(layout: Description) -> String {
    let layout = table(layout);
    let name = layout.name();
    match name.strip_suffix("Fields") {
        Some(name) if layout.is_prefix_kind() => clipped(name),
        _ => clipped(name),
    }
}

/// Levels of a type that are told.
const LEVELS_MAX: usize = 6;

/// A type as its author wrote it, as far as it is told.
pub(super) fn shown(layout: Description, place: Place) -> String {
    level(layout, place, LEVELS_MAX)
}

fn level(layout: Description, place: Place, levels: usize) -> String {
    let Some(deeper) = levels.checked_sub(1) else { return "…".to_owned() };
    match Written::of(layout) {
        Written::Made(form, parts) => {
            let inner = form.within(place);
            let form = if place == Place::Signature { form.signature } else { form.record };
            let part = |part: &Description| level(part, inner, deeper);
            parts.iter().fold(form.to_owned(), |text, of| text.replacen("{}", &part(of), 1))
        }
        Written::Array(element, length) => format!("[{}; {length}]", level(element, place, deeper)),
        Written::Growable(growable) => {
            let lent = if growable.is_lent { "&" } else { "" };
            format!("{lent}{}", name(growable.table))
        }
        Written::Other => "a type of midflight-plugin's".to_owned(),
        _ => name(layout),
    }
}
