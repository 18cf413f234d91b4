midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait Public {
    fn fee(&self) -> u64;
}

#[contract]
trait Private {
    fn rate(&self) -> u64;
}

mod inner {
    #[midflight_plugin::contract]
    pub(crate) trait Inner {
        fn fee(&self) -> u64;
    }
}

struct Flat;
impl Private for Flat {
    fn rate(&self) -> u64 {
        1
    }
}
impl inner::Inner for Flat {
    fn fee(&self) -> u64 {
        self.rate()
    }
}

fn main() {
    // A contract is a trait like any other, and its objects go where threads can reach them.
    let object: Box<dyn inner::Inner> = Box::new(Flat);
    std::thread::spawn(move || object.fee()).join().unwrap();
}
