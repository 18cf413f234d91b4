midflight_plugin::contract_crate!();
use midflight_plugin::{Service, contract};
use std::future::{Future, ready};
use std::sync::Arc;

#[contract]
pub trait Reports {
    async fn report(&self, name: &str) -> u64;
}

struct Mine;

impl Reports for Mine {
    async fn report(&self, name: &str) -> u64 {
        let length = Arc::new(name.len() as u64);
        ready(()).await;
        *length
    }
}

fn stays<'n>(reports: &Service<dyn Reports>, name: &'n str) -> impl Future + use<'n> {
    reports.report(name)
}

fn main() {}
