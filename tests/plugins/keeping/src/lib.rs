//! A plugin that keeps accounts, in a table that is copied while it is used. Its features choose
//! the build and the schema.

use keeping_contracts::{Account, Clerk, Keeping};
use midflight_plugin::{
    Attached, Context, Handed, Plugin, Service, StartError, State, Table, plugin,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::sync::OnceLock;

const BUILD: u32 = cfg_select! {
    feature = "v3" => { 3 }
    feature = "v2" => { 2 }
    _ => { 1 }
};

midflight_plugin::export!(
    TheKeeping,
    name = if cfg!(feature = "other") { "keeping-other" } else { "keeping" },
    version = if cfg!(feature = "v3") {
        "3.0.0"
    } else if cfg!(feature = "stuck") {
        "2.0.1"
    } else if cfg!(feature = "v2") {
        "2.0.0"
    } else {
        "1.0.0"
    }
);

/// Schema 1.
#[derive(Clone, Default, Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct First {
    total: i64,
    #[serde(serialize_with = "save_name", deserialize_with = "restore_name")]
    name: String,
}

/// Schema 2 counts payments.
#[derive(Clone, Default, Serialize, Deserialize, State)]
#[cfg_attr(not(feature = "stuck"), state(version = 2, up = First, down = First))]
#[cfg_attr(feature = "stuck", state(version = 2))]
pub struct Second {
    total: i64,
    #[serde(serialize_with = "save_name", deserialize_with = "restore_name")]
    name: String,
    payments: u64,
}

/// Whom names ask that wait for something: a state knows no instance.
static CLERK: OnceLock<Service<dyn Clerk>> = OnceLock::new();

fn wait(name: &str, what: &str) {
    if name == what
        && let Some(clerk) = CLERK.get()
    {
        let _ = clerk.leave(what);
    }
}

fn save_name<S: Serializer>(name: &str, to: S) -> Result<S::Ok, S::Error> {
    wait(name, "waits to be saved");
    match name {
        "no save" => Err(ser::Error::custom("the name says no")),
        name => to.serialize_str(name),
    }
}

fn restore_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    wait(&name, "waits to be restored");
    match name.as_str() {
        "no restore" => Err(de::Error::custom("the name says no")),
        _ => Ok(name),
    }
}

impl TryFrom<First> for Second {
    type Error = &'static str;

    fn try_from(First { total, name }: First) -> Result<Self, Self::Error> {
        if name == "no up" {
            Err("the name says no")
        } else {
            Ok(Second { total, name, payments: 0 })
        }
    }
}

impl TryFrom<&Second> for First {
    type Error = &'static str;

    fn try_from(Second { total, name, .. }: &Second) -> Result<Self, Self::Error> {
        if name == "no down" {
            Err("the name says no")
        } else {
            Ok(First { total: *total, name: name.clone() })
        }
    }
}

#[cfg(feature = "v2")]
type Kept = Second;
#[cfg(not(feature = "v2"))]
type Kept = First;

/// The instance.
#[plugin(implements(Keeping), state = accounts)]
pub struct TheKeeping {
    accounts: Handed<Table<u64, Kept>>,
    clerk: Service<dyn Clerk>,
    visits: Attached<u64>,
}

impl Plugin for TheKeeping {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        let (clerk, visits) = (cx.service::<dyn Clerk>()?, cx.attached("visits"));
        CLERK.get_or_init(|| clerk.clone());
        Ok(TheKeeping { accounts: Handed::default(), clerk, visits })
    }
}

impl Keeping for TheKeeping {
    fn version(&self) -> u32 {
        BUILD
    }

    fn open(&self, count: u64) {
        let mut accounts = self.accounts.write();
        for number in 0..count {
            let mut account = Kept::default();
            (account.total, account.name) = (number.cast_signed(), format!("account {number:08}"));
            accounts.insert(number, account);
        }
    }

    fn pay(&self, number: u64, amount: i64) -> i64 {
        let mut accounts = self.accounts.write();
        if accounts.get(&number).is_none() {
            accounts.insert(number, Kept::default());
        }
        let pay = |account: &mut Kept| {
            account.total += amount;
            #[cfg(feature = "v2")]
            {
                account.payments += 1;
            }
            account.total
        };
        accounts.update(&number, pay).unwrap_or_default()
    }

    fn account(&self, number: u64) -> Option<Account> {
        let account = self.accounts.read().get(&number)?.clone();
        let (total, name) = (account.total, account.name.as_str().into());
        #[cfg(feature = "v2")]
        let payments = account.payments;
        #[cfg(not(feature = "v2"))]
        let payments = 0;
        Some(Account { total, name, payments })
    }

    fn name(&self, number: u64, name: &str) {
        self.accounts.write().update(&number, |account| account.name = name.to_owned());
    }

    fn count(&self) -> u64 {
        self.accounts.read().len() as u64
    }

    fn sum(&self) -> i64 {
        self.accounts.read().iter().map(|(_, account)| account.total).sum()
    }

    fn ask_the_clerk(&self) -> i64 {
        self.clerk.sum().expect("the clerk answers")
    }

    fn visit(&self, object: u64) -> u64 {
        let visited = |visits: &mut u64| {
            *visits += 1;
            *visits
        };
        let there = self.visits.get_or_insert_with(object, || 0);
        there.and_then(|_| self.visits.update(object, visited)).ok().flatten().unwrap_or_default()
    }

    fn err(&self, what: &str, times: u64) -> String {
        for number in 0..times {
            match what {
                "forget a guard" => std::mem::forget(self.accounts.write()),
                "update within an update" => return self.update_within(),
                "forget a span" => std::mem::forget(tracing::info_span!("forgotten", number)),
                "forget an entered span" => {
                    std::mem::forget(tracing::info_span!("entered", number).entered());
                }
                _ => tracing::info!(number, "{what}"),
            }
        }
        String::new()
    }

    async fn pay_later(&self, number: u64, amount: i64) -> i64 {
        self.pay(number, amount)
    }

    async fn name_later(&self, number: u64, name: &str) -> u32 {
        self.name(number, name);
        BUILD
    }
}

impl TheKeeping {
    fn update_within(&self) -> String {
        let _ = self.visits.get_or_insert_with(1, || 0);
        let within = self.visits.update(1, |visits| {
            *visits += 1;
            let read = self.visits.get(1);
            let written = self.visits.update(1, |visits| *visits += 10);
            assert!(read.is_ok() && written.is_ok(), "{read:?} {written:?}");
        });
        let now = self.visits.get(1).ok().flatten();
        format!(
            "{} and now {now:?}",
            within.map_or_else(|error| error.to_string(), |_| "done".to_owned())
        )
    }
}
