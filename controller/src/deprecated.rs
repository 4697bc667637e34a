//! Annotations under MetalLB's old prefix: told once for each Service and key, of the first few of a namespace.

use crate::observe::Observed;
use herald_core::ServiceKey;
use herald_runtime::watch::Change;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Of so many Services of a namespace each annotation is told: who reads ten knows where to look, and thousands would delay other events by minutes.
const FEW: u32 = 10;

/// Who was told of what.
#[derive(Debug, Default)]
pub(crate) struct Deprecated {
    /// By Service: its incarnation, and keys that were told.
    told: BTreeMap<ServiceKey, (Arc<str>, BTreeSet<&'static str>)>,
    /// How often that was, by namespace and annotation.
    count: BTreeMap<(Arc<str>, &'static str), u32>,
    /// Not told yet.
    news: Vec<News>,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) service: ServiceKey,
    pub(crate) uid: Arc<str>,
    /// The annotation.
    pub(crate) key: &'static str,
}

impl Deprecated {
    /// Looks at what is observed, before the driver takes it in. Of a list, those that have addresses count as told: whoever gave them told.
    pub(crate) fn observe(&mut self, change: &Change<Observed>) {
        match change {
            Change::Reset { objects, .. } => {
                let all: BTreeSet<&ServiceKey> = objects.values().map(|observed| &observed.service.key).collect();
                self.told.retain(|key, _| all.contains(key));
                for observed in objects.values() {
                    self.look(observed, !observed.service.ingress.is_empty());
                }
            }
            Change::Set { value, .. } => self.look(value, false),
            Change::Gone { key, .. } => {
                self.told.remove(&ServiceKey::new(key.namespace.clone(), key.name.clone()));
            }
            Change::Disconnected(_) | Change::Connected | Change::Vanished => {}
        }
    }

    fn look(&mut self, observed: &Observed, silent: bool) {
        let Observed { service, uid, deprecated, .. } = observed;
        if deprecated.is_empty() {
            return;
        }
        let (known, keys) = self.told.entry(service.key.clone()).or_insert_with(|| (Arc::clone(uid), BTreeSet::new()));
        if known != uid {
            *known = Arc::clone(uid);
            keys.clear();
        }
        for &key in deprecated {
            if !keys.insert(key) || silent {
                continue;
            }
            let count = self.count.entry((service.key.namespace.clone(), key)).or_default();
            *count += 1;
            if *count <= FEW {
                self.news.push(News { service: service.key.clone(), uid: Arc::clone(uid), key });
            }
        }
    }

    /// What is to be told now.
    pub(crate) fn take(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }
}
