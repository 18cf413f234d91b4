//! The description of a type, packed as abi_stable has it: see `described` of midflight-plugin.

use crate::local;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::collections::HashMap;
use syn::ext::IdentExt;
use syn::{Error, Result};

/// Places in the text have 16 bits, a name's length has 10, a type's number has 10.
const TEXT_BYTES_MAX: usize = (1 << 16) - 1;
const NAME_BYTES_MAX: usize = (1 << 10) - 1;
const TYPES_MAX: usize = (1 << 10) - 1;

/// How a field of a table is reached: by a method, or by one that says whether it is there.
pub(crate) const ALWAYS_THERE: u64 = 1;
pub(crate) const MAYBE_THERE: u64 = 3;
/// A field of a record is simply there.
const PLAIN: u64 = 0;

/// The struct of a table's pointers, in a scope of its own.
pub(crate) fn fields() -> Ident {
    Ident::new("__Fields", Span::call_site())
}

/// A function of `Described`, found through the table that has it: whatever the path to that trait
/// leads to, it is the one that the table implements.
pub(crate) fn of_table(function: &str) -> TokenStream {
    let (fields, function) = (fields(), Ident::new(function, Span::call_site()));
    quote!(<#fields as ::midflight_plugin::rt::described::Described>::#function)
}

/// What is collected of one type.
#[derive(Default)]
pub(crate) struct Description {
    names: String,
    types: Vec<TokenStream>,
    numbers: HashMap<String, u64>,
    fields: Vec<u64>,
    functions: Vec<TokenStream>,
}

impl Description {
    /// The names of an enum's variants, which come first; and how many bytes they take.
    pub(crate) fn variants<'a>(&mut self, names: impl Iterator<Item = &'a Ident>) -> u16 {
        names.for_each(|name| self.names.extend([&name.unraw().to_string(), ";"]));
        self.names.len() as u16
    }

    /// A field that is no function, whose type is described by what `getter` names.
    pub(crate) fn field(&mut self, name: &str, reached: u64, getter: TokenStream) {
        let name = self.name(name);
        let number = self.number(getter);
        self.fields.push(name | reached << 47 | number << 50);
    }

    /// A field that is a function; its parameters have no names, or renaming one would be a
    /// refusal. They and the result are given by what describes them.
    pub(crate) fn function(
        &mut self,
        name: &str,
        reached: u64,
        parameters: &[TokenStream],
        result: &TokenStream,
    ) {
        let place = self.name(name);
        let pointer = self.number(of_table("POINTER"));
        self.fields.push(place | reached << 47 | pointer << 50 | 1 << 60);
        let separators = self.names.len();
        self.names.extend(parameters.iter().map(|_| ","));
        // The first five are numbers; of more than five, those from the fifth on stand in the list
        // together.
        let inline = if parameters.len() > 5 { 4 } else { parameters.len() };
        let mut packed = [0; 5];
        for (place, parameter) in packed.iter_mut().zip(&parameters[..inline]) {
            *place = self.number(parameter.clone());
        }
        if parameters.len() > 5 {
            packed[4] = self.types.len() as u64;
            self.types.extend(parameters[inline..].iter().cloned());
        }
        let bits = [10, 20, 32, 42, 52];
        let packed =
            packed.iter().zip(bits).fold(parameters.len() as u64, |all, (one, at)| all | one << at);
        let result = self.number(result.clone()) as u16;
        let tell = of_table("TELL");
        let (name, separators, count) = (place as u32, separators as u16, parameters.len() as u16);
        self.functions.push(quote! {
            #tell.function(#name, #separators, #count, #result, #packed)
        });
    }

    /// Its place and its length.
    fn name(&mut self, name: &str) -> u64 {
        let place = self.names.len() as u64 & 0xFFFF | (name.len() as u64 & 0x3FF) << 16;
        self.names.extend([name, ";"]);
        place
    }

    /// A field of a record, which is shown to what describes it: so its type has its place.
    pub(crate) fn shown(&mut self, name: &str) {
        let (name, number) = (self.name(name), self.fields.len() as u64);
        self.fields.push(name | PLAIN << 47 | number << 50);
    }

    fn number(&mut self, getter: TokenStream) -> u64 {
        let next = self.types.len() as u64;
        *self.numbers.entry(getter.to_string()).or_insert_with(|| {
            self.types.push(getter);
            next
        })
    }

    /// What does not fit is refused.
    pub(crate) fn check(
        &self,
        owner: &Ident,
        names: impl IntoIterator<Item = Ident>,
    ) -> Result<()> {
        if let Some(long) = names.into_iter().find(|name| name.to_string().len() > NAME_BYTES_MAX) {
            return Err(Error::new(
                long.span(),
                format!("a name has at most {NAME_BYTES_MAX} bytes"),
            ));
        }
        let types = self.types.len().max(self.fields.len());
        let problem = match (self.names.len(), types) {
            (TEXT_BYTES_MAX.., _) => {
                format!("its names come to more than {TEXT_BYTES_MAX} bytes: split it")
            }
            (_, TYPES_MAX..) => format!("it is made of more than {TYPES_MAX} types: split it"),
            _ => return Ok(()),
        };
        Err(Error::new(owner.span(), problem))
    }

    /// All but the types.
    fn text(&self, name: &str) -> TokenStream {
        let (names, fields) = (&self.names, &self.fields);
        quote! {
            ::midflight_plugin::rt::described::Text {
                name: #name,
                written: ::midflight_plugin::rt::described::Written {
                    package: ::midflight_plugin::rt::core::concat!(
                        ::midflight_plugin::rt::core::env!("CARGO_PKG_NAME"), ";", ::midflight_plugin::rt::core::env!("CARGO_PKG_VERSION")
                    ),
                    line: ::midflight_plugin::rt::core::line!(),
                    module: ::midflight_plugin::rt::core::concat!(::midflight_plugin::rt::core::module_path!(), "\0"),
                },
                names: #names,
                fields: &[#(#fields),*],
            }
        }
    }

    /// `unsafe impl LaidOut` for a record, of which `begun` is begun with what `fields` shows.
    ///
    /// All of it is called through the record: whatever the path to `LaidOut` leads to, it is the
    /// trait that the record implements.
    fn record(&self, name: &Ident, begun: TokenStream, shown: TokenStream) -> TokenStream {
        let (shape, count) = (local("shape"), self.fields.len());
        quote! {
            #[allow(unreachable_patterns, unused_mut)]
            const __PROVEN: &'static ::midflight_plugin::rt::Proven<#name, #count> = &{
                // SAFETY: the text is of the item that this macro sees, and what follows shows that
                // it is of the item as it is.
                let mut #shape = unsafe {
                    <#name as ::midflight_plugin::rt::LaidOut>::TELL.#begun
                };
                #shown
                #shape.ended()
            };
            const __SHARED: &'static ::midflight_plugin::rt::described::Shared = &__PROVEN.shared();
            const __DRAWN: &'static ::midflight_plugin::rt::Drawn<#name> = &__PROVEN.drawn(__SHARED);
            // SAFETY: what is said of it is proven of it, beside this.
            unsafe impl ::midflight_plugin::rt::LaidOut for #name {
                const LAYOUT: ::midflight_plugin::rt::LayoutOf<Self> = __DRAWN.layout();
            }
        }
    }

    pub(crate) fn structure(&self, name: &Ident, shown: TokenStream) -> TokenStream {
        let (text, count) = (self.text(&name.unraw().to_string()), self.fields.len());
        self.record(name, quote!(structure::<#count>(#text)), shown)
    }

    pub(crate) fn enumeration(
        &self,
        name: &Ident,
        names_bytes: u16,
        counts: &[u8],
        numbers: &[TokenStream],
        shown: TokenStream,
    ) -> TokenStream {
        let (text, count) = (self.text(&name.unraw().to_string()), self.fields.len());
        let begun = quote! {
            enumeration::<#count>(#text, #names_bytes, &[#(#counts),*], &[#(#numbers),*])
        };
        self.record(name, begun, shown)
    }

    /// `unsafe impl Described` for the struct of pointers, said under the name `name`. All versions
    /// have the first `first_suffix` fields.
    pub(crate) fn table(&self, name: &str, first_suffix: usize) -> TokenStream {
        let (fields, tell) = (fields(), of_table("TELL"));
        let (types, functions, count) = (&self.types, &self.functions, self.fields.len() as u32);
        let text = self.text(name);
        let ranges = (0..functions.len() as u32).map(|number| number | 1 << 16);
        // Of a record that may grow there are no functions.
        let (all, mono) = match functions.is_empty() {
            true => (None, quote!(#tell.fields(#text, #first_suffix))),
            false => (
                Some(quote! {
                    const __FUNCTIONS: &'static ::midflight_plugin::rt::described::Functions =
                        &#tell.functions(&[#(#functions),*], &[#(#ranges),*]);
                }),
                quote!(#tell.table(#text, #first_suffix, __FUNCTIONS)),
            ),
        };
        quote! {
            #all
            // SAFETY: pointers, as they stand in the struct above.
            unsafe impl ::midflight_plugin::rt::described::Described for #fields {
                const MONO: &'static ::midflight_plugin::rt::described::Mono = &#mono;
                const SHARED: &'static ::midflight_plugin::rt::described::Shared =
                    &#tell.shared(<Self as ::midflight_plugin::rt::described::Described>::MONO, &[#(#types),*]);
                const COUNT: ::midflight_plugin::rt::core::primitive::u32 = #count;
            }
        }
    }
}
