//! An attribute behind `#[contract]` makes of what is lent for a call what is lent for ever: the
//! instance, each kind of argument, in a method, in an `async fn`, in a default body.
#![forbid(unsafe_code)]
use midflight_plugin::{Sink, contract, record};

#[record]
pub struct Trade {
    pub id: u64,
}

#[contract]
#[midflight_rewrites::written("& self", "& 'static self")]
pub trait Kept {
    async fn keep(&self) -> u64;
}

#[contract]
#[midflight_rewrites::written("& self", "& 'static self")]
pub trait KeptToo {
    fn keep(&self) -> u64;
    async fn wait(&self);
}

/// By a name for the lifetime, and where it is not seen in the receiver.
#[contract]
#[midflight_rewrites::written("keep(& self)", "keep<'a: 'static>(&'a self)")]
pub trait Named {
    async fn keep(&self) -> u64;
}

#[contract]
#[midflight_rewrites::written("keep(& self) -> u64", "keep<'a>(&'a self) -> u64 where 'a: 'static")]
pub trait Bound {
    fn keep(&self) -> u64;
    async fn wait(&self);
}

#[contract]
#[midflight_rewrites::written("(&self)", "(self: &'static Self)")]
pub trait Typed {
    async fn keep(&self) -> u64;
}

#[contract]
#[midflight_rewrites::written("& str", "& 'static str")]
pub trait Texts {
    fn keep(&self, text: &str);
    fn maybe(&self, text: Option<&str>);
    async fn wait(&self, text: &str);
    #[since("0.2")]
    fn later(&self, text: &str) {
        let _ = text;
    }
}

#[contract]
#[midflight_rewrites::written("& [u64]", "& 'static [u64]")]
pub trait Slices {
    fn keep(&self, list: &[u64]);
    async fn wait(&self, list: &[u64]);
}

#[contract]
#[midflight_rewrites::written("& Trade", "& 'static Trade")]
pub trait Records {
    fn keep(&self, trade: &Trade);
    async fn wait(&self, trade: &Trade);
    fn maybe(&self, trade: Option<&Trade>);
}

#[contract]
#[midflight_rewrites::written("'_", "'static")]
pub trait Sinks {
    fn keep(&self, sink: Sink<'_>);
}

#[contract]
#[midflight_rewrites::written(
    "keep(& self, trade: & Trade)",
    "keep<T: 'static>(&self, trade: T) where Self: Sized"
)]
pub trait Generic {
    fn keep(&self, trade: &Trade);
    async fn wait(&self);
}

fn main() {}
