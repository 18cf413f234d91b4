//! What is asked of a plugin beside its contracts, of one that is linked in: the same functions as
//! a mapped one's.

use super::*;
use crate::runtime::Owner;
use midflight_plugin::{Context, Handed, Plugin, StartError, State, contract, plugin};
use serde::{Deserialize, Serialize};

#[contract]
pub(crate) trait Counts {
    fn count(&self) -> u64;
}

#[derive(Default, Serialize, Deserialize, State)]
#[state(version = 4)]
struct Counter(u64);

/// Its hooks count, and fail as it was configured.
#[plugin(implements(Counts), state = counter)]
struct Counting {
    counter: Handed<Counter>,
    fails: String,
}

impl Plugin for Counting {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(Counting { counter: Handed::default(), fails: cx.config_text().to_owned() })
    }
    fn before_switch(&self) -> Result<(), StartError> {
        self.hooked(1)
    }
    fn after_switch(&self) -> Result<(), StartError> {
        self.hooked(10)
    }
    fn before_return(&self) {
        self.hooked(100).unwrap();
    }
    fn after_return(&self) {
        self.hooked(1_000).unwrap();
    }
    fn health(&self) -> Result<(), StartError> {
        self.hooked(10_000)
    }
}

impl Counting {
    fn hooked(&self, adds: u64) -> Result<(), StartError> {
        match &*self.fails {
            "no" => {
                self.counter.write().0 += adds;
                Ok(())
            }
            "panics" => panic!("not well"),
            reason => Err(StartError::new(reason)),
        }
    }
}

impl Counts for Counting {
    fn count(&self) -> u64 {
        self.counter.read().0
    }
}

#[plugin(implements(Counts))]
struct Stateless;

impl Plugin for Stateless {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Stateless)
    }
}

impl Counts for Stateless {
    fn count(&self) -> u64 {
        0
    }
}

const HOOKS: [Hook; 5] =
    [Hook::BeforeSwitch, Hook::AfterSwitch, Hook::BeforeReturn, Hook::AfterReturn, Hook::Health];

/// Runs `test` with a started plugin, and stops it.
fn with(linked: Linked, config: &str, test: impl FnOnce(&Library, &Instance, &Origin)) {
    midflight_plugin::rt::use_host_panics();
    let image = Arc::new(Image::linked("counting", "1.0.0"));
    let owner = Owner::new(7, "counting".into(), "1.0.0".into(), Arc::from([]), 0, None);
    let library = Library::linked(linked, &image);
    let Ok(instance) = library.start(owner.table(), config) else { panic!("no start") };
    let origin = Origin::new("counting", "1.0.0", 7);
    test(&library, &instance, &origin);
    assert_eq!(library.stop(instance, &origin), Ok(()));
}

#[test]
fn each_hook_runs_once_and_the_state_that_it_changed_is_handed_over() {
    let counting = Linked::of::<Counting>();
    with(counting, "no", |old, old_instance, origin| {
        for which in HOOKS {
            assert_eq!(old.hook(old_instance, origin, which), Ok(()));
        }
        let state = old.state().expect("a state");
        assert_eq!(
            (state.version, state.restores_from, state.saves_to, state.ahead),
            (4, 4, 4, false)
        );
        let (bytes, more) = old.save(old_instance, origin, 4, Part::Whole, &|| true).unwrap();
        assert!(!more);
        with(counting, "no", |new, new_instance, origin| {
            assert_eq!(new.restore(new_instance, origin, 4, Part::Whole, &bytes), Ok(()));
            assert_eq!(Counter::restore(4, &mut &*bytes).unwrap().0, 11_111);
            let refused = new.install(new_instance, origin, &|| true, &|| false).unwrap_err();
            assert_eq!(refused, "the hand-over was given up");
            assert_eq!(new.install(new_instance, origin, &|| true, &|| true), Ok(()));
            let saved = new.save(new_instance, origin, 4, Part::Whole, &|| true);
            assert_eq!(saved, Ok((bytes, false)));
        });
    });
}

#[test]
fn a_hook_that_fails_or_panics_says_why() {
    with(Linked::of::<Counting>(), "too hot", |library, instance, origin| {
        assert_eq!(library.hook(instance, origin, Hook::Health), Err("too hot".to_owned()));
    });
    with(Linked::of::<Counting>(), "panics", |library, instance, origin| {
        for which in HOOKS {
            let report = library.hook(instance, origin, which).unwrap_err();
            assert_eq!(report, "plugin `counting` 1.0.0 (generation 7) panicked: not well");
        }
        let refused = library.restore(instance, origin, 5, Part::Whole, &[]).unwrap_err();
        assert_eq!(refused, "this code restores the schemas 4 to 4, not 5");
    });
}

#[test]
fn a_plugin_without_a_state_says_so() {
    with(Linked::of::<Stateless>(), "", |library, instance, origin| {
        assert!(library.state().is_none());
        let saved = library.save(instance, origin, 1, Part::Whole, &|| true);
        assert_eq!(saved.unwrap_err(), STATELESS);
        assert_eq!(library.restore(instance, origin, 1, Part::Whole, &[]).unwrap_err(), STATELESS);
        assert_eq!(HOOKS.map(|which| library.hook(instance, origin, which)), [(); 5].map(Ok));
    });
}
