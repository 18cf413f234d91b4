midflight_plugin::contract_crate!();
use midflight_plugin::{Sink, contract};

#[contract]
pub trait Report {
    fn render(&self, out: Sink<'_>);
    fn both(&self, first: Sink<'_>, second: Sink<'_>);
}

pub struct Writes;

impl Report for Writes {
    fn render(&self, mut out: Sink<'_>) {
        out.append(&[1]);
    }
    fn both(&self, mut first: Sink<'_>, second: Sink<'_>) {
        first.append(&[1]);
        self.render(second);
    }
}

fn one_after_the_other(buffer: &mut Vec<u8>) {
    drop(Sink::from(&mut *buffer));
    let mut second = Sink::from(buffer);
    Writes.both(second.by_ref(), Sink::from(&mut Vec::new()));
    Writes.render(second);
}

fn main() {}
