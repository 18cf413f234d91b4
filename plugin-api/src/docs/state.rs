//! What a plugin keeps, and how it comes to the plugin's next version and back.
//!
//! # What is not promised
//!
//! A schema is a number that its author writes down. Whether the bytes of that number are the same
//! in two builds is the author's promise: a field that is added, taken away or moved without a
//! higher number is found out where the bytes run short or are left over, and else it is read as
//! something else. Keep the type of each schema as it was, and write a new one.
//!
//! Bytes are postcard's, which says no names and no types. So serde attributes that need names or
//! look ahead (`untagged`, `flatten`, `skip_serializing_if`) don't come back; `skip` does.
//!
//! What is not in the state is not handed over: caches, threads, connections are made anew by
//! `start` and `warm_up`.
//!
//! # The best state is none
//!
//! State that the host keeps, behind a service that it provides
//! ([`Context::service`](crate::Context::service)), never moves. Hand over what belongs to the
//! plugin's own logic and can't be got from elsewhere.
//!
//! # What happens
//!
//! | state | while calls go on | while calls wait | so the wait grows with |
//! |---|---|---|---|
//! | a [`State`](crate::State) | nothing | saved and restored | the state |
//! | a [`Table`](crate::Table) | copied in chunks; keys that change behind the copy are logged | what was logged is saved and restored | what changes during the copy |
//!
//! - The instance of the new version has its own state from `start` and `warm_up`; what is handed
//!   over replaces it. Where there is no version before, or one without a state, its own stays.
//! - Forward, the old code saves its own schema and the new code migrates it up. On a return the
//!   newer code, which knows both schemas, migrates its state down, and the older reads its own.
//! - A migration that fails or panics leaves the version that serves as it was, with its state. Of
//!   a table it says which item. So does one that takes too long: what it makes in the end is
//!   thrown away.
//! - The states of plugins that are switched together, in a release, go together: where one of them
//!   can't be moved, none is. On a return, what serves again has its state as it was at the switch
//!   then, and an event of each says so.
//! - A guard of the state ([`Handed::write`](crate::Handed::write)) that is kept beyond its call,
//!   or forgotten, stands in the way of each hand-over: the update is refused, with a sentence that
//!   says so, and nothing of it stays.
//!
//! # Two versions
//!
//! Version 1 keeps whole amounts:
//!
//! ```
//! # midflight_plugin::contract_crate!();
//! # #[midflight_plugin::contract] pub trait Accounts { fn pay(&self, name: &str, amount: i64) -> i64; }
//! use midflight_plugin::{Context, Handed, Plugin, StartError, State, Table, plugin};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default, Serialize, Deserialize, State)]
//! #[state(version = 1)]
//! struct Account {
//!     balance: i64,
//! }
//!
//! #[plugin(implements(Accounts), state = accounts)]
//! pub struct Till {
//!     accounts: Handed<Table<String, Account>>,
//! }
//!
//! impl Plugin for Till {
//!     fn start(_cx: &Context<'_>) -> Result<Self, StartError> {
//!         Ok(Till { accounts: Handed::default() })
//!     }
//! }
//!
//! impl Accounts for Till {
//!     fn pay(&self, name: &str, amount: i64) -> i64 {
//!         let mut accounts = self.accounts.write();
//!         if accounts.get(name).is_none() {
//!             accounts.insert(name.to_owned(), Account::default());
//!         }
//!         let pay = |account: &mut Account| {
//!             account.balance += amount;
//!             account.balance
//!         };
//!         accounts.update(name, pay).unwrap_or(amount)
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! Version 2 counts in cents. It knows the schema before it, which it keeps under another name, and
//! the two ways between them:
//!
//! ```
//! use midflight_plugin::State;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, State)]
//! #[state(version = 1)]
//! struct AccountV1 {
//!     balance: i64,
//! }
//!
//! #[derive(Serialize, Deserialize, State)]
//! #[state(version = 2, up = AccountV1, down = AccountV1)]
//! struct Account {
//!     cents: i64,
//! }
//!
//! impl TryFrom<AccountV1> for Account {
//!     type Error = &'static str;
//!
//!     fn try_from(older: AccountV1) -> Result<Self, Self::Error> {
//!         let cents = older.balance.checked_mul(100).ok_or("more than there are cents")?;
//!         Ok(Account { cents })
//!     }
//! }
//!
//! // A way that can't fail is a `From`.
//! impl From<&Account> for AccountV1 {
//!     fn from(newer: &Account) -> Self {
//!         AccountV1 { balance: newer.cents / 100 }
//!     }
//! }
//!
//! let mut bytes = Vec::new();
//! AccountV1 { balance: 3 }.save(1, &mut bytes)?; // in the old code
//! let mut account = Account::restore(1, &mut &bytes[..])?; // in the new code
//! assert_eq!(account.cents, 300);
//!
//! account.cents += 250;
//! bytes.clear();
//! account.save(1, &mut bytes)?; // on a return, in the new code
//! assert_eq!(AccountV1::restore(1, &mut &bytes[..])?.balance, 5);
//! # Ok::<(), midflight_plugin::StateError>(())
//! ```
//!
//! A version 3 names `up = AccountV2, down = AccountV2`, whose own ways lead on to version 1.
//! Whoever takes a way out of the code can't be reached any more from the versions that needed it:
//! an update from them is refused.
