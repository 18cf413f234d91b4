midflight_plugin::contract_crate!();
use midflight_plugin::{Sink, contract};
use std::sync::Mutex;

#[contract]
pub trait Report {
    fn render(&self, out: Sink<'_>);
    fn both(&self, first: Sink<'_>, second: Sink<'_>);
}

pub struct Keeps(Mutex<Option<Sink<'static>>>);

impl Report for Keeps {
    fn render(&self, out: Sink<'_>) {
        *self.0.lock().unwrap() = Some(out);
    }
    fn both(&self, mut first: Sink<'_>, second: Sink<'_>) {
        std::thread::spawn(move || first.append(&[1]));
    }
}

fn reads(sink: Sink<'_>) -> Vec<u8> {
    sink.to_vec()
}

fn two_at_once(buffer: &mut Vec<u8>) {
    let first = Sink::from(&mut *buffer);
    let second = Sink::from(&mut *buffer);
    drop((first, second));
}

fn main() {}
