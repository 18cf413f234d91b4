//! A plugin that logs and panics as it is told. Its configuration says what its start does.

use midflight_plugin::{Context, Plugin, StartError, Text, plugin};
use speaking_contracts::Speaking;
use std::panic;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context as Polled, Waker};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tracing::{Instrument, Span, info, info_span};

midflight_plugin::export!(TheSpeaking, name = "speaking", version = "1.0.0");

/// The instance.
#[plugin(implements(Speaking))]
pub struct TheSpeaking {
    runtime: Option<Runtime>,
}

/// What hooks of its own were called with.
static HOOKED: Mutex<String> = Mutex::new(String::new());

struct Deaf;

impl log::Log for Deaf {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        false
    }
    fn log(&self, _: &log::Record<'_>) {}
    fn flush(&self) {}
}

/// As color_eyre and its like: what was there before is not called.
fn set_hook() {
    panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        let mut hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
        hooked.push_str(text);
        hooked.push('\n');
    }));
}

impl Plugin for TheSpeaking {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        match cx.config_text() {
            "# hook" => set_hook(),
            "# subscriber" => tracing_subscriber::fmt().init(),
            "# logger" => log::set_boxed_logger(Box::new(Deaf)).expect("the first logger"),
            "# logger, tried" => log::set_boxed_logger(Box::new(Deaf))?,
            _ => {}
        }
        let runtime = || Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = (cx.config_text() == "# runtime").then(runtime).transpose()?;
        Ok(TheSpeaking { runtime })
    }
}

impl Drop for TheSpeaking {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(60));
        }
    }
}

impl Speaking for TheSpeaking {
    fn record(&self, user: &str) -> Text {
        let span = Span::current();
        span.record("user", user);
        span.metadata().map_or("", |metadata| metadata.name()).into()
    }

    fn elsewhere(&self) {
        let future = async { info!("polled elsewhere") }.in_current_span();
        let poll = || {
            let polled = pin!(future).as_mut().poll(&mut Polled::from_waker(Waker::noop()));
            assert!(polled.is_ready());
        };
        thread::spawn(poll).join().expect("no panic");
    }

    fn say(&self, number: u64) {
        info!(number, text = "a text", "said");
    }

    fn within(&self, user: &str) {
        let span = info_span!("own", user = tracing::field::Empty);
        let _entered = span.enter();
        Span::current().record("user", user);
    }

    fn log(&self, number: u64) {
        log::info!(number, text = "a text", list:? = [1, 2]; "logged");
    }

    fn whisper(&self) {
        log::debug!("whispered");
    }

    fn panic(&self, text: &str) {
        panic!("{text}");
    }

    fn hook(&self) {
        set_hook();
    }

    fn hooked(&self) -> Text {
        HOOKED.lock().unwrap_or_else(PoisonError::into_inner).as_str().into()
    }

    async fn wait(&self) {
        let sleep = async { tokio::time::sleep(Duration::from_millis(1)).await };
        match &self.runtime {
            Some(runtime) => runtime.spawn(sleep).await.expect("no panic"),
            None => sleep.await,
        }
    }
}
