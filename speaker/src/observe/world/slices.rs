//! EndpointSlices by Service, and what follows from them.

use super::{Kind, pack};
use herald_api::endpoints::{Slice, serving};
use herald_core::{ServiceKey, service::Serving};
use herald_runtime::watch::{Change, ObjectKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// All of them.
#[derive(Debug)]
pub(super) struct Slices {
    pub(super) kind: Kind<Slice>,
    /// So that one change costs only its own Service.
    services: BTreeMap<ServiceKey, OfService>,
    /// What Services share: most have their endpoints where others have theirs.
    shared: BTreeSet<Arc<Serving>>,
}

/// The slices of one Service.
#[derive(Debug)]
struct OfService {
    /// Their names; they are in its namespace.
    names: Vec<Arc<str>>,
    serving: Arc<Serving>,
}

impl OfService {
    fn keys<'a>(&'a self, service: &'a ServiceKey) -> impl Iterator<Item = ObjectKey> + 'a {
        let key = |name| ObjectKey { namespace: Arc::clone(&service.namespace), name: Arc::clone(name) };
        self.names.iter().map(key)
    }
}

impl Slices {
    pub(super) fn new() -> Self {
        Self { kind: Kind::new(), services: BTreeMap::new(), shared: BTreeSet::new() }
    }

    /// Makes room that nothing is in smaller.
    pub(super) fn pack(&mut self) {
        if self.kind.loose {
            pack(&mut self.services);
        }
        self.kind.pack();
    }

    /// Which endpoints of a Service can serve.
    pub(super) fn serving(&self, service: &ServiceKey) -> Arc<Serving> {
        self.services.get(service).map(|of| Arc::clone(&of.serving)).unwrap_or_default()
    }

    /// Takes a change; says whether anything can serve that could not before, or the other way round. `known` gives a Service's key as it is
    /// kept already: names are kept once where that is easy.
    pub(super) fn apply(&mut self, change: Change<Slice>, known: impl Fn(&ServiceKey) -> Option<ServiceKey>) -> bool {
        // Whom a slice belonged to before is known only before it is replaced.
        let owner = |(key, slice): (&ObjectKey, &Slice)| (key.clone(), slice.service.clone());
        let owners: BTreeMap<ObjectKey, ServiceKey> = match &change {
            Change::Reset { .. } => self.kind.objects.iter().map(owner).collect(),
            Change::Set { key, .. } | Change::Gone { key, .. } => {
                self.kind.objects.get_key_value(key).map(owner).into_iter().collect()
            }
            Change::Disconnected(_) | Change::Connected | Change::Vanished => BTreeMap::new(),
        };
        let mut services = BTreeSet::new();
        for key in self.kind.apply(change) {
            if let Some(owner) = owners.get(&key) {
                if let Some(of) = self.services.get_mut(owner) {
                    of.names.retain(|other| *other != key.name);
                }
                services.insert(owner.clone());
            }
            if let Some(slice) = self.kind.objects.get_mut(&key) {
                if let Some(known) = known(&slice.service) {
                    slice.service = known;
                }
                let none = || OfService { names: Vec::new(), serving: shared(&mut self.shared, Serving::default()) };
                let of = self.services.entry(slice.service.clone()).or_insert_with(none);
                // Nearly always the only one.
                of.names.reserve_exact(1);
                of.names.push(key.name);
                services.insert(slice.service.clone());
            }
        }
        let mut any = false;
        for service in &services {
            any |= self.sum_up(service);
        }
        any
    }

    fn sum_up(&mut self, service: &ServiceKey) -> bool {
        let Some(of) = self.services.get_mut(service) else { return false };
        let keys: Vec<ObjectKey> = of.keys(service).collect();
        let now = serving(keys.iter().filter_map(|key| self.kind.objects.get(key)));
        let changed = *of.serving != now;
        if changed {
            of.serving = shared(&mut self.shared, now);
        }
        let nodes = Arc::clone(&of.serving);
        if keys.is_empty() {
            self.services.remove(service);
        }
        for key in &keys {
            let endpoints = self.kind.objects.get_mut(key).into_iter().flat_map(|slice| &mut slice.endpoints);
            for node in endpoints.filter_map(|endpoint| endpoint.node.as_mut()) {
                if let Some(same) = nodes.nodes.iter().find(|same| **same == *node) {
                    *node = same.clone();
                }
            }
        }
        changed
    }
}

/// The same, as it is kept already.
fn shared(all: &mut BTreeSet<Arc<Serving>>, serving: Serving) -> Arc<Serving> {
    if let Some(known) = all.get(&serving) {
        return Arc::clone(known);
    }
    // Now and then, what nobody has any more.
    if all.len().is_power_of_two() {
        all.retain(|known| Arc::strong_count(known) > 1);
    }
    let new = Arc::new(serving);
    all.insert(Arc::clone(&new));
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_api::endpoints::Endpoint;

    fn set(name: &str, nodes: &[&str]) -> Change<Slice> {
        let endpoint = |node: &&str| Endpoint {
            node: Some((*node).into()),
            address: "192.0.2.1".parse().unwrap(),
            ready: None,
            serving: None,
        };
        let value = Slice { service: ServiceKey::new("ns", name), endpoints: nodes.iter().map(endpoint).collect() };
        Change::Set { key: ObjectKey { namespace: "ns".into(), name: format!("{name}-1").into() }, value, newest: 1 }
    }

    fn gone(name: &str) -> Change<Slice> {
        Change::Gone { key: ObjectKey { namespace: "ns".into(), name: format!("{name}-1").into() }, newest: 2 }
    }

    #[test]
    fn services_with_endpoints_on_the_same_nodes_share_what_follows() {
        let mut slices = Slices::new();
        let nobody = |_: &ServiceKey| None;
        for (name, nodes) in [("a", &["n1", "n2"][..]), ("b", &["n2", "n1"]), ("c", &["n1"])] {
            assert!(slices.apply(set(name, nodes), nobody));
        }
        let of = |slices: &Slices, name| slices.serving(&ServiceKey::new("ns", name));
        assert!(Arc::ptr_eq(&of(&slices, "a"), &of(&slices, "b")));
        assert_ne!(of(&slices, "a"), of(&slices, "c"));
        assert!(slices.apply(gone("b"), nobody));
        assert_eq!(*of(&slices, "b"), Serving::default());
        assert!(of(&slices, "a").any);
    }

    #[test]
    fn what_nobody_has_any_more_is_not_kept() {
        let mut slices = Slices::new();
        for n in 0..1000 {
            slices.apply(set("a", &[&format!("n{n}")]), |_| None);
        }
        assert!(slices.shared.len() < 20, "{}", slices.shared.len());
    }
}
