//! What the control plane shows: rows, of which a status is made when somebody asks for one.
//!
//! The control plane changes a row or two at a time, and there are as many as plugins. So it hands
//! over the rows that have changed, and whoever wants a status puts it together, once for each
//! change.

use crate::generation::Footprint;
use crate::status::{GenerationStatus, PluginStatus, Status};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows of one host.
#[derive(Default)]
pub(crate) struct Shown(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    plugins: BTreeMap<Arc<str>, Arc<PluginStatus>>,
    generations: BTreeMap<u64, Row>,
    /// How often they were changed.
    changes: u64,
    /// Of the rows as they are.
    status: Option<Arc<Status>>,
}

type Row = (Arc<GenerationStatus>, Option<Footprint>);
type Changed = (GenerationStatus, Option<Footprint>);

/// Rows that have changed. All of one value are shown at once.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) plugins: Vec<(Arc<str>, PluginStatus)>,
    /// `None`: it is shown no more.
    pub(crate) generations: Vec<(u64, Option<Changed>)>,
}

impl Shown {
    pub(crate) fn apply(&self, changes: Changes) {
        let mut rows = self.0.lock();
        let plugins = changes.plugins.into_iter();
        rows.plugins.extend(plugins.map(|(name, plugin)| (name, Arc::new(plugin))));
        for (number, generation) in changes.generations {
            match generation {
                Some((status, footprint)) => {
                    rows.generations.insert(number, (Arc::new(status), footprint));
                }
                None => drop(rows.generations.remove(&number)),
            }
        }
        rows.changes += 1;
        rows.status = None;
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        let rows = self.0.lock();
        if let Some(status) = &rows.status {
            return Arc::clone(status);
        }
        // Shares of rows under the lock, since the control plane waits for it; their texts after.
        let plugins: Vec<_> = rows.plugins.values().cloned().collect();
        let generations: Vec<_> = rows.generations.values().cloned().collect();
        let changes = rows.changes;
        drop(rows);
        let generation = |(status, footprint): &Row| {
            let mut status = GenerationStatus::clone(status);
            footprint.iter().for_each(|footprint| footprint.show(&mut status));
            status
        };
        let status = Arc::new(Status {
            plugins: plugins.iter().map(|plugin| PluginStatus::clone(plugin)).collect(),
            generations: generations.iter().map(generation).collect(),
        });
        let mut rows = self.0.lock();
        if rows.changes == changes {
            rows.status = Some(Arc::clone(&status));
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::Holders;
    use crate::status::{Mapped, Residency};

    fn generation(number: u64, residency: Residency) -> GenerationStatus {
        GenerationStatus {
            plugin: format!("plugin-{number}"),
            version: "1.0.0".to_owned(),
            generation: number,
            build_id: String::new(),
            stamped: true,
            residency,
            held_by: Holders::default(),
            memory: None,
            mapped: Mapped::default(),
        }
    }

    fn show(shown: &Shown, numbers: impl Iterator<Item = u64>, residency: &Residency) {
        let generations = numbers.map(|number| (number, generation(number, residency.clone())));
        let generations = generations.map(|(number, status)| (number, Some((status, None))));
        shown.apply(Changes { generations: generations.collect(), plugins: Vec::new() });
    }

    #[test]
    fn g01_a_change_costs_its_rows_and_a_status_is_made_when_it_is_asked_for() {
        let shown = Shown::default();
        show(&shown, 0..1_000, &Residency::Active);
        let rows = |shown: &Shown| {
            let rows = shown.0.lock();
            rows.generations.values().map(|(row, _)| Arc::clone(row)).collect::<Vec<_>>()
        };
        let before = rows(&shown);
        assert!(shown.0.lock().status.is_none(), "nobody has asked");
        let first = shown.status();
        assert!(Arc::ptr_eq(&first, &shown.status()), "nothing has changed");

        show(&shown, 7..8, &Residency::Standby);
        assert!(shown.0.lock().status.is_none(), "nobody has asked since");
        let (after, status) = (rows(&shown), shown.status());
        let changed = before.iter().zip(&after).filter(|(one, other)| !Arc::ptr_eq(one, other));
        assert_eq!(changed.count(), 1);
        assert_eq!(status.generations[7].residency, Residency::Standby);
        assert_eq!(first.generations[7].residency, Residency::Active, "that was a snapshot");

        shown.apply(Changes { generations: vec![(7, None)], plugins: Vec::new() });
        assert_eq!(shown.status().generations.len(), 999);
    }
}
