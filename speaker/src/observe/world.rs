//! What the watches have told so far.

mod slices;
#[cfg(test)]
mod tests;

use super::{Input, Shown, settings::Settings};
use crate::links::exclude::{Exclude, ExcludeError};
use herald_api::saved::Saved;
use herald_core::{
    NodeName, PoolName, ServiceKey,
    config::Config,
    labels::Labels,
    node::{Evacuation, Node, SpeakerPod},
    ownership::{Announceable, Snapshot},
    service::{Moved, TrafficPolicy},
};
use herald_runtime::watch::{Change, ObjectKey};
use herald_wire::hello::Stamp;
use jiff::Timestamp;
use slices::Slices;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// A Service of type LoadBalancer and of our class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceObject {
    pub(crate) uid: Arc<str>,
    pub(crate) labels: Labels,
    pub(crate) addresses: Arc<[IpAddr]>,
    /// The pool that they are from, as the Service's annotation says.
    pub(crate) allocated_from: Option<PoolName>,
    pub(crate) traffic_policy: TrafficPolicy,
    /// Where `herald move` wants its addresses to be.
    pub(crate) moved: Option<Moved>,
}

/// All objects of one kind.
#[derive(Debug)]
struct Kind<T> {
    objects: BTreeMap<ObjectKey, T>,
    /// Objects came since [`Kind::pack`]: one by one, also those of a list.
    loose: bool,
    /// The first full list has come.
    complete: bool,
    connected: bool,
    newest: u64,
}

impl<T: PartialEq> Kind<T> {
    fn new() -> Self {
        Self { objects: BTreeMap::new(), loose: false, complete: false, connected: false, newest: 0 }
    }

    /// Makes room that nothing is in smaller.
    fn pack(&mut self) {
        if std::mem::take(&mut self.loose) {
            pack(&mut self.objects);
        }
    }

    /// Takes a change; gives back the keys that are not as before.
    fn apply(&mut self, change: Change<T>) -> Vec<ObjectKey> {
        match change {
            Change::Reset { objects, newest } => {
                let (complete, before) = (self.complete, std::mem::replace(&mut self.objects, objects));
                (self.loose, self.complete, self.connected, self.newest) = (true, true, true, newest);
                let keys: BTreeSet<&ObjectKey> = before.keys().chain(self.objects.keys()).collect();
                let differs = |key: &&ObjectKey| !complete || before.get(*key) != self.objects.get(*key);
                keys.into_iter().filter(differs).cloned().collect()
            }
            Change::Set { key, value, newest } => {
                (self.connected, self.newest) = (true, newest);
                if self.objects.get(&key) == Some(&value) {
                    return Vec::new();
                }
                self.loose |= self.objects.insert(key.clone(), value).is_none();
                vec![key]
            }
            Change::Gone { key, newest } => {
                (self.connected, self.newest) = (true, newest);
                self.objects.remove(&key).map(|_| key).into_iter().collect()
            }
            Change::Disconnected(_) => {
                self.connected = false;
                Vec::new()
            }
            // Of custom resources only.
            Change::Connected | Change::Vanished => {
                self.connected = true;
                Vec::new()
            }
        }
    }
}

/// Nodes of a map that grew one by one are little more than half full: with ten thousand Services that are megabytes. Made at once, they are full.
fn pack<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = std::mem::take(map).into_iter().collect();
}

/// Everything observed.
#[derive(Debug)]
pub(crate) struct World {
    services: Kind<ServiceObject>,
    slices: Slices,
    nodes: Kind<Node>,
    speakers: Kind<SpeakerPod>,
    settings: Settings,
    excluded: Kind<Result<Exclude, ExcludeError>>,
    /// Names of pools that Services are from, kept once.
    pools: BTreeSet<PoolName>,
    me: Me,
    published: Option<Stamp>,
    /// When what is announced was saved, while that is what this speaker goes by.
    resumed: Option<Timestamp>,
}

/// What does not change.
#[derive(Debug, Clone)]
pub(crate) struct Me {
    pub(crate) node: NodeName,
    /// Of the configuration.
    pub(crate) namespace: String,
    /// Links that are never used, unless the ConfigMap says otherwise.
    pub(crate) excluded: Arc<Exclude>,
    pub(crate) ignore_exclude_label: bool,
}

impl World {
    pub(crate) fn new(me: Me) -> Self {
        Self {
            services: Kind::new(),
            slices: Slices::new(),
            nodes: Kind::new(),
            speakers: Kind::new(),
            settings: Settings::new(),
            excluded: Kind::new(),
            pools: BTreeSet::new(),
            me,
            published: None,
            resumed: None,
        }
    }

    /// Takes a change; says whether a new snapshot is worth making.
    pub(crate) fn apply(&mut self, change: Input) -> bool {
        let was_complete = self.is_complete();
        let changed = match change {
            Input::Services(change) => self.apply_services(change),
            Input::Nodes(change) => !self.nodes.apply(change).is_empty(),
            Input::Speakers(change) => !self.speakers.apply(change).is_empty(),
            Input::Settings(kind, change) => self.settings.apply(kind, change),
            Input::Secrets(change) => self.settings.apply_secrets(change),
            Input::Excluded(change) => {
                self.excluded.apply(change);
                false
            }
            Input::Slices(change) => {
                let services = &self.services.objects;
                let known = |service: &ServiceKey| {
                    let key = ObjectKey { namespace: Arc::clone(&service.namespace), name: Arc::clone(&service.name) };
                    let (known, _) = services.get_key_value(&key)?;
                    Some(ServiceKey::new(Arc::clone(&known.namespace), Arc::clone(&known.name)))
                };
                self.slices.apply(change, known)
            }
        };
        self.is_complete()
            && (changed || !was_complete || self.published.map(|s| s.connected) != Some(self.connected()))
    }

    /// Whether [`World::pack`] has something to do.
    pub(crate) fn is_loose(&self) -> bool {
        self.services.loose || self.slices.kind.loose
    }

    /// Makes what is known small, when nothing happens any more.
    pub(crate) fn pack(&mut self) {
        self.services.pack();
        self.slices.pack();
    }

    fn apply_services(&mut self, change: Change<ServiceObject>) -> bool {
        let changed = self.services.apply(change);
        for key in &changed {
            let Some(service) = self.services.objects.get_mut(key) else { continue };
            let Some(pool) = &service.allocated_from else { continue };
            if let Some(known) = self.pools.get(pool) {
                service.allocated_from = Some(known.clone());
            } else {
                self.pools.insert(pool.clone());
            }
        }
        !changed.is_empty()
    }

    /// Whether there ever was a BGPPeer.
    pub(crate) fn has_peers(&self) -> bool {
        self.settings.has_peers()
    }

    fn is_complete(&self) -> bool {
        self.services.complete
            && self.slices.kind.complete
            && self.nodes.complete
            && self.speakers.complete
            && self.settings.is_complete()
            && self.excluded.complete
    }

    fn connected(&self) -> bool {
        self.services.connected
            && self.slices.kind.connected
            && self.nodes.connected
            && self.speakers.connected
            && self.settings.connected()
            && self.excluded.connected
    }

    fn newest(&self) -> u64 {
        let others = [self.slices.kind.newest, self.nodes.newest, self.speakers.newest, self.settings.newest()];
        others.into_iter().fold(self.services.newest, u64::max)
    }

    /// Goes by what was saved, unless the first lists have come meanwhile.
    pub(crate) fn resume(&mut self, saved: &Saved, shown: &Shown) -> Option<Snapshot> {
        if self.is_complete() {
            return None;
        }
        let saved_at = Timestamp::from_second(saved.at).unwrap_or_default();
        self.resumed = Some(saved_at);
        tracing::warn!(saved = %saved_at, "the API server is away: going on from the saved state of the cluster");
        match Exclude::new(&saved.excluded) {
            Ok(excluded) => follow_excluded(shown, Arc::new(excluded)),
            Err(error) => tracing::warn!(%error, "the saved exclude list is not usable"),
        }
        shown.metrics.config_loaded.set(i64::from(!saved.snapshot.config.pools.is_empty()));
        self.show(shown);
        let mut snapshot = saved.clone().into_snapshot();
        snapshot.ignore_exclude_label = self.me.ignore_exclude_label;
        let now = Timestamp::now().as_second();
        snapshot.nodes.values_mut().for_each(|node| *node = without_ended(node, now));
        let services = snapshot.services.values_mut();
        services.for_each(|service| service.moved = service.moved.take().filter(|moved| moved.until > now));
        Some(snapshot)
    }

    /// When the next thing that was asked for a time is over, in seconds since the epoch.
    pub(crate) fn next_end(&self, now: i64) -> Option<i64> {
        let nodes = self.nodes.objects.values().filter_map(|node| match node.evacuation {
            Some(Evacuation::Asked { until }) => Some(until),
            _ => None,
        });
        let services = self.services.objects.values().filter_map(|service| Some(service.moved.as_ref()?.until));
        nodes.chain(services).filter(|until| *until > now).min()
    }

    /// The snapshot of a moment, in seconds since the epoch, once every watch has delivered its first full list.
    pub(crate) fn snapshot(&mut self, now: i64) -> Option<Snapshot> {
        if !self.is_complete() {
            return None;
        }
        if let Some(at) = self.resumed.take() {
            tracing::info!(saved = %at, "the API server is back: the saved state is replaced by what it says");
        }
        let stamp = Stamp { connected: self.connected(), resource_version: self.newest() };
        self.published = Some(stamp);
        let services = self.services.objects.iter().map(|(key, service)| {
            let key = ServiceKey::new(Arc::clone(&key.namespace), Arc::clone(&key.name));
            let announceable = Announceable {
                uid: Arc::clone(&service.uid),
                labels: service.labels.clone(),
                addresses: Arc::clone(&service.addresses),
                traffic_policy: service.traffic_policy,
                serving: self.slices.serving(&key),
                moved: service.moved.clone().filter(|moved| moved.until > now),
            };
            (key, announceable)
        });
        Some(Snapshot {
            config: self.config(),
            services: services.collect(),
            nodes: self.nodes.objects.values().map(|node| (node.name.clone(), without_ended(node, now))).collect(),
            speakers: self.speakers_by_node(),
            ignore_exclude_label: self.me.ignore_exclude_label,
            stamp,
            saved_at: None,
        })
    }

    /// What is in force, and what Services hold from pools that only a mistake keeps from being in force.
    fn config(&self) -> Arc<Config> {
        let (broken, unread) = (self.settings.broken_pools(), self.settings.has_unread_pools());
        if broken.is_empty() && !unread {
            return Arc::clone(self.settings.config());
        }
        let held =
            self.services.objects.values().filter_map(|service| Some((service.allocated_from.as_ref()?, service)));
        let held = held.flat_map(|(pool, service)| service.addresses.iter().map(move |address| (pool, *address)));
        Arc::new(self.settings.config().with_held(broken, unread, held))
    }

    /// While a DaemonSet is rolled out a node has two pods for a moment: a ready one counts.
    fn speakers_by_node(&self) -> BTreeMap<NodeName, SpeakerPod> {
        let mut speakers: BTreeMap<NodeName, SpeakerPod> = BTreeMap::new();
        for pod in self.speakers.objects.values() {
            let entry = speakers.entry(pod.node.clone()).or_insert_with(|| pod.clone());
            entry.ready |= pod.ready;
        }
        speakers
    }

    /// Tells probes and metrics how things stand.
    pub(crate) fn show(&self, shown: &Shown) {
        match (self.is_complete(), self.connected()) {
            (false, _) => match self.resumed {
                Some(at) => shown.api.ready_with(format!(
                    "the API server is away: announcing what was saved at {at}; waiting for the first full list of every watch"
                )),
                None => shown.api.not_ready("waiting for the first full list of every watch"),
            },
            (true, true) => shown.api.ready(),
            (true, false) => shown.api.ready_with("the API server is away: announcing what was known"),
        }
        self.show_settings(shown);
        self.show_excluded(shown);
    }

    fn show_settings(&self, shown: &Shown) {
        if !self.is_complete() {
            return;
        }
        let none = Labels::default();
        let labels =
            self.nodes.objects.values().find(|node| node.name == self.me.node).map_or(&none, |own| &own.labels);
        let problem = self.settings.first_problem(labels);
        shown.metrics.config_loaded.set(i64::from(!self.settings.is_empty()));
        shown.metrics.config_stale.set(i64::from(problem.is_some()));
        match problem {
            Some((first, count)) => shown.configuration.not_ready(format!("{count} configuration problems: {first}")),
            None if self.settings.is_empty() => {
                shown.configuration.not_ready("there are neither address pools nor a ConfigMap with them yet");
            }
            None => shown.configuration.ready(),
        }
        let summary: Arc<str> = self.settings.error_summary(labels, &self.me.namespace).into();
        shown.summary.send_if_modified(|before| {
            let changed = before.as_ref() != Some(&summary);
            *before = Some(summary);
            changed
        });
    }

    /// Which links are not used: the ConfigMap's list while there is one; a wrong one changes nothing.
    fn show_excluded(&self, shown: &Shown) {
        let excluded = match self.excluded.objects.values().next() {
            Some(Ok(excluded)) => Arc::new(excluded.clone()),
            Some(Err(error)) => {
                return shown.exclude_list.not_ready(format!("the last good list stays in force: {error}"));
            }
            None if self.excluded.complete => Arc::clone(&self.me.excluded),
            None => return,
        };
        shown.exclude_list.ready();
        follow_excluded(shown, excluded);
    }
}

fn follow_excluded(shown: &Shown, excluded: Arc<Exclude>) {
    shown.excluded.send_if_modified(|before| {
        let changed = **before != *excluded;
        if changed {
            tracing::info!(?excluded, "the exclude list of links changed");
            *before = excluded;
        }
        changed
    });
}

/// The node without what is over.
fn without_ended(node: &Node, now: i64) -> Node {
    Node { evacuation: node.evacuation.filter(|why| !why.is_over(now)), ..node.clone() }
}
