//! A plugin whose calls wait for the host.

use awaiting_contracts::{Awaiting, Bells, Panic, Refused};
use futures_util::stream::{FuturesUnordered, StreamExt};
use midflight_plugin::{Context, Plugin, Service, StartError, plugin};
use std::future::poll_fn;
use std::task::Poll;

const BUILD: u32 = if cfg!(feature = "v2") { 2 } else { 1 };

midflight_plugin::export!(
    TheAwaiting,
    name = "awaiting",
    version = if cfg!(feature = "v2") { "2.0.0" } else { "1.0.0" }
);

/// The instance.
#[plugin(implements(Awaiting))]
pub struct TheAwaiting {
    bells: Service<dyn Bells>,
}

impl Plugin for TheAwaiting {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(TheAwaiting { bells: cx.service::<dyn Bells>()? })
    }
}

impl Awaiting for TheAwaiting {
    fn build(&self) -> u32 {
        BUILD
    }

    async fn wait(&self, number: u64) -> Vec<u32> {
        let mut seen = vec![BUILD, self.asked()];
        self.bells.rung(number).await.expect("the host rings");
        seen.extend([self.asked(), BUILD]);
        seen
    }

    async fn lend(
        &self,
        text: &str,
        numbers: &[u64],
        refused: Option<&Refused>,
    ) -> Result<String, Refused> {
        for number in numbers {
            self.bells.rung(*number).await.expect("the host rings");
        }
        match refused {
            Some(refused) => Err(refused.clone()),
            None => Ok(format!("{text} {BUILD}")),
        }
    }

    async fn join(&self, numbers: Vec<u64>) -> u64 {
        let all: FuturesUnordered<_> =
            numbers.into_iter().map(|number| self.bells.rung(number)).collect();
        all.fold(0, async |sum, number| sum + number.expect("the host rings")).await
    }

    async fn forget(&self, number: u64) -> u64 {
        let mut all: FuturesUnordered<_> = [self.bells.rung(number)].into_iter().collect();
        let begun = poll_fn(|cx| Poll::Ready(all.poll_next_unpin(cx).is_pending())).await;
        std::mem::forget(all);
        u64::from(begun)
    }

    async fn panics(&self, at: Panic, number: u64) -> u64 {
        let _at_the_end = Breaks(matches!(at, Panic::Drop | Panic::PollAndDrop));
        if matches!(at, Panic::FirstPoll | Panic::PollAndDrop) {
            panic!("at the first poll");
        }
        let rung = self.bells.rung(number).await.expect("the host rings");
        if at == Panic::SecondPoll {
            panic!("at the second poll");
        }
        rung
    }

    fn poll_kept(&self) -> Vec<u32> {
        let before = self.asked();
        let kept = self.bells.poll_kept().expect("the host polls");
        vec![BUILD, before, kept, self.asked()]
    }

    fn drop_kept(&self, depth: u32) -> u32 {
        self.bells.deeper(depth).expect("the host goes deeper")
    }
}

impl TheAwaiting {
    /// Which build the host gets from this plugin's group when it is asked from here.
    fn asked(&self) -> u32 {
        self.bells.build().expect("the host asks")
    }
}

struct Breaks(bool);

impl Drop for Breaks {
    fn drop(&mut self) {
        if self.0 && !std::thread::panicking() {
            panic!("at the drop");
        }
    }
}
