use midflight_plugin::{Context, Service, StartError};

fn start(cx: &Context<'_>) -> Result<Service<dyn std::fmt::Debug>, StartError> {
    cx.service::<dyn std::fmt::Debug>()
}

fn main() {
    let _ = start;
}
