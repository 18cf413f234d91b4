midflight_plugin::contract_crate!();
use midflight_plugin::{Service, contract};
use std::future::{Future, ready};
use std::rc::Rc;

#[contract]
pub trait Reports {
    async fn report(&self, name: &str) -> u64;
}

struct Mine;

impl Reports for Mine {
    // Whoever polls it may do so on another thread each time.
    async fn report(&self, name: &str) -> u64 {
        let length = Rc::new(name.len() as u64);
        ready(()).await;
        *length
    }
}

// What is lent is lent until the answer is there.
fn escapes(reports: &Service<dyn Reports>) -> impl Future + use<> {
    let name = String::from("daily");
    reports.report(&name)
}

fn main() {}
