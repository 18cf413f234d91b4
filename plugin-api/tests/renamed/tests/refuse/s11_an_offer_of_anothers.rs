//! A crate under midflight-plugin's name whose offers are another type's: the host would pass an
//! instance of this one to them.
use midflight_plugin::{Context, Plugin, StartError, plugin};
use midflight_renamed::one::{Fees, Limits, Trade};

#[plugin(implements(Fees))]
pub struct Mine;
impl Plugin for Mine {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Mine)
    }
}
impl Fees for Mine {
    fn fee(&self, _: &Trade) -> u64 {
        0
    }
    fn limit(&self, _: &Limits) -> u64 {
        0
    }
}

fn main() {}
