//! Annotations of `herald move` that cannot be read: told when they, or what is wrong with them, change.

use crate::observe::Observed;
use herald_core::ServiceKey;
use herald_runtime::watch::Change;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Who was told of what.
#[derive(Debug, Default)]
pub(crate) struct UnreadMoves {
    /// By Service: its incarnation, and what is wrong.
    told: BTreeMap<ServiceKey, (Arc<str>, String)>,
    /// Not told yet: the Service with its UID, what is wrong and what to do about it.
    news: Vec<(ServiceKey, Arc<str>, String)>,
}

impl UnreadMoves {
    /// Looks at what is observed.
    pub(crate) fn observe(&mut self, change: &Change<Observed>) {
        match change {
            Change::Reset { objects, .. } => {
                let all: BTreeSet<&ServiceKey> = objects.values().map(|observed| &observed.service.key).collect();
                self.told.retain(|key, _| all.contains(key));
                objects.values().for_each(|observed| self.look(observed));
            }
            Change::Set { value, .. } => self.look(value),
            Change::Gone { key, .. } => {
                self.told.remove(&ServiceKey::new(key.namespace.clone(), key.name.clone()));
            }
            Change::Disconnected(_) | Change::Connected | Change::Vanished => {}
        }
    }

    fn look(&mut self, observed: &Observed) {
        let (key, uid) = (&observed.service.key, &observed.uid);
        let Some(problem) = &observed.unread_move else {
            self.told.remove(key);
            return;
        };
        let now = (Arc::clone(uid), problem.clone());
        if self.told.get(key) != Some(&now) {
            self.told.insert(key.clone(), now);
            self.news.push((key.clone(), Arc::clone(uid), problem.clone()));
        }
    }

    /// What is to be told now.
    pub(crate) fn take(&mut self) -> Vec<(ServiceKey, Arc<str>, String)> {
        std::mem::take(&mut self.news)
    }
}
