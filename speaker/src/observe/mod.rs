//! From Kubernetes objects to the [`Snapshot`] that the driver decides on: the objects end here.

mod cluster;
mod key_ring;
mod settings;
mod world;

pub(crate) use cluster::{cluster_id, keys};
pub(crate) use kube::Client;

use crate::{
    config::SpeakerConfig,
    links::exclude::{Exclude, ExcludeError},
    saved::{Offer, offered},
};
use herald_api::{
    crd::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, Unread},
    endpoints, node, pod, service,
    sources::{Kind, PasswordSource, Source},
};
use herald_core::{NodeName, node::Node, ownership::Snapshot, service::Service};
use herald_runtime::{
    metrics::ClientMetrics,
    readiness::Condition,
    served::{self, Served},
    shutdown::Shutdown,
    watch::{self as objects, Change, Objects},
};
use k8s_openapi::api::{
    core::v1::{self as core, ConfigMap, Secret},
    discovery::v1::EndpointSlice,
};
use kube::{Resource, api::ObjectMeta};
use serde::de::DeserializeOwned;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use world::{Me, ServiceObject, World};

/// Speaker pods carry both labels (the chart's), MetalLB's tooling looks for the second.
const SPEAKERS: &str = "app.kubernetes.io/name=herald,component=speaker";

/// Changes that wait for the world.
const QUEUE: usize = 256;

/// Making a snapshot costs at most a fortieth of the time, and deciding on it about as much again: after one that took long, the next one
/// waits longer. A thousand Services that get their status one by one would otherwise keep a core busy.
const COST_SHARE: u32 = 40;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// After so long without a change the world is packed.
const QUIET: Duration = Duration::from_secs(3);

/// How often the clock is looked at when something is to end: it may be set meanwhile.
const CLOCK: Duration = Duration::from_secs(10);

/// A change of one kind of object.
pub(crate) enum Input {
    Services(Change<ServiceObject>),
    Slices(Change<endpoints::Slice>),
    Nodes(Change<Node>),
    Speakers(Change<herald_core::node::SpeakerPod>),
    Settings(Kind, Change<Source>),
    Secrets(Change<PasswordSource>),
    Excluded(Change<Result<Exclude, ExcludeError>>),
}

/// What the outside sees of the observing.
pub(crate) struct Shown {
    pub(crate) metrics: ClientMetrics,
    pub(crate) api: Condition,
    pub(crate) configuration: Condition,
    pub(crate) exclude_list: Condition,
    /// Which links are not used.
    pub(crate) excluded: watch::Sender<Arc<Exclude>>,
    /// What is wrong with the configuration for this node, in MetalLB's words; empty when nothing is, `None` until it is known.
    pub(crate) summary: watch::Sender<Option<Arc<str>>>,
}

/// The API versions of the custom resources.
const VERSIONS: &[&str] = &["metallb.io/v1beta1", "metallb.io/v1beta2"];
/// The key of the exclude list in its ConfigMap: the name of MetalLB's file.
const EXCLUDE_KEY: &str = "excludel2.yaml";

/// Watches everything that announcing depends on until shutdown. `None` until every watch has delivered its first full list, or what was saved
/// is offered.
pub(crate) fn start(
    client: &Client,
    config: &SpeakerConfig,
    shown: Shown,
    offer: Offer,
    unread: watch::Sender<UnreadNode>,
    shutdown: &Shutdown,
) -> (watch::Receiver<Option<Arc<Snapshot>>>, Served) {
    let (tx, rx) = mpsc::channel(QUEUE);
    let served = watch_all(client, config, &tx, unread, shutdown);
    let secrets = secrets(client, config, &tx, shutdown);
    let (snapshots, receiver) = watch::channel(None);
    let world = World::new(Me {
        node: NodeName::new(config.node_name.as_str()),
        namespace: config.common.namespace(),
        excluded: Arc::clone(&shown.excluded.borrow()),
        ignore_exclude_label: config.ignore_exclude_lb,
    });
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = run(world, rx, snapshots, shown, secrets, offer) => {}
            () = shutdown.wait() => {}
        }
    });
    (receiver, served)
}

/// The watch of Secrets, to be started when there is a BGPPeer: its password may be in one.
fn secrets(
    client: &Client,
    config: &SpeakerConfig,
    tx: &mpsc::Sender<Input>,
    shutdown: &Shutdown,
) -> impl FnOnce() + Send + 'static {
    let api = Objects::<Secret>::namespaced(client.clone(), &config.common.namespace());
    let (tx, shutdown) = (tx.downgrade(), shutdown.clone());
    move || {
        if let Some(tx) = tx.upgrade() {
            let convert = |object: Secret| Some(PasswordSource::from(&object));
            objects::spawn(api, objects::config(), convert, Input::Secrets, tx, shutdown);
        }
    }
}

fn watch_all(
    client: &Client,
    config: &SpeakerConfig,
    tx: &mpsc::Sender<Input>,
    unread: watch::Sender<UnreadNode>,
    shutdown: &Shutdown,
) -> Served {
    let namespace = config.common.namespace();
    let class = config.common.lb_class.clone();
    objects::spawn(
        Objects::<core::Service>::all(client.clone()),
        objects::config(),
        move |object| service_object(&object, class.as_deref()),
        Input::Services,
        tx.clone(),
        shutdown.clone(),
    );
    objects::spawn(
        Objects::<EndpointSlice>::all(client.clone()),
        objects::config(),
        |object| endpoints::Slice::from_object(&object),
        Input::Slices,
        tx.clone(),
        shutdown.clone(),
    );
    let own = NodeName::new(config.node_name.as_str());
    objects::spawn(
        Objects::<node::Object>::all(client.clone()),
        objects::config(),
        move |object| Some(node_object(&object, &own, &unread)),
        Input::Nodes,
        tx.clone(),
        shutdown.clone(),
    );
    objects::spawn(
        Objects::<pod::Pod>::namespaced(client.clone(), &namespace),
        objects::config().labels(SPEAKERS),
        |object| pod::speaker_from_object(&object),
        Input::Speakers,
        tx.clone(),
        shutdown.clone(),
    );
    let custom = Custom { served: Served::start(client.clone(), VERSIONS, shutdown.clone()), client, tx, shutdown };
    let name = |name: &str| objects::config().fields(&format!("metadata.name={name}"));
    objects::spawn(
        Objects::<ConfigMap>::namespaced(client.clone(), &namespace),
        name(&config.common.config),
        |object: ConfigMap| Some(Source::from(&object)),
        |change| Input::Settings(Kind::ConfigMap, change),
        tx.clone(),
        shutdown.clone(),
    );
    objects::spawn(
        Objects::<ConfigMap>::namespaced(client.clone(), &namespace),
        name(&config.exclude_config),
        |object: ConfigMap| {
            let text = object.data.unwrap_or_default().remove(EXCLUDE_KEY);
            let missing = || ExcludeError::File(format!("there is no data key {EXCLUDE_KEY:?}"));
            Some(text.ok_or_else(missing).and_then(|text| Exclude::from_yaml(&text)))
        },
        Input::Excluded,
        tx.clone(),
        shutdown.clone(),
    );
    custom.watch::<IPAddressPool>(&namespace, Kind::IpAddressPool);
    custom.watch::<L2Advertisement>(&namespace, Kind::L2Advertisement);
    custom.watch::<BGPAdvertisement>(&namespace, Kind::BgpAdvertisement);
    custom.watch::<BGPPeer>(&namespace, Kind::BgpPeer);
    custom.watch::<BFDProfile>(&namespace, Kind::BfdProfile);
    custom.watch::<Community>(&namespace, Kind::Community);
    custom.served
}

/// What the watches of custom resources have in common.
struct Custom<'a> {
    served: Served,
    client: &'a Client,
    tx: &'a mpsc::Sender<Input>,
    shutdown: &'a Shutdown,
}

impl Custom<'_> {
    fn watch<K>(&self, namespace: &str, kind: Kind)
    where
        K: Clone + fmt::Debug + DeserializeOwned + Send + 'static,
        Unread<K>: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        Source: From<Unread<K>>,
    {
        served::spawn(
            self.served.clone(),
            Objects::<Unread<K>>::namespaced(self.client.clone(), namespace),
            objects::config(),
            |object: Unread<K>| Some(Source::from(object)),
            move |change| Input::Settings(kind, change),
            self.tx.clone(),
            self.shutdown.clone(),
        );
    }
}

/// What is wrong with the annotations of this speaker's own Node, with the UID of the Node.
pub(crate) type UnreadNode = Option<(Arc<str>, String)>;

/// Of all speakers the node's own tells what is wrong with its annotations.
fn node_object(object: &node::Object, own: &NodeName, unread: &watch::Sender<UnreadNode>) -> Node {
    let node = node::from_object(object);
    if node.name == *own {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let now = node::problem(object).map(|problem| (Arc::from(uid), problem));
        unread.send_if_modified(|before| {
            let changed = *before != now;
            if let Some((_, problem)) = now.as_ref().filter(|_| changed) {
                tracing::warn!(node = %node.name, problem, "the node keeps its addresses");
            }
            *before = now;
            changed
        });
    }
    node
}

/// A Service that wants to be announced.
fn service_object(object: &core::Service, class: Option<&str>) -> Option<ServiceObject> {
    let Service { key, labels, is_load_balancer, traffic_policy, ingress, allocated_from, .. } =
        service::from_object(object, class)?;
    let ObjectMeta { uid, .. } = &object.metadata;
    let moved = service::moved(object).unwrap_or_else(|problem| {
        tracing::warn!(service = %key, problem, "the Service is not moved");
        None
    });
    is_load_balancer.then(|| ServiceObject {
        uid: uid.as_deref().unwrap_or_default().into(),
        labels,
        addresses: ingress.into(),
        allocated_from,
        traffic_policy,
        moved,
    })
}

/// Seconds since the epoch.
fn clock() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// For how long to sleep before the clock is looked at.
fn remaining(end: Option<i64>) -> Duration {
    let seconds = end.map_or(0, |end| end.saturating_sub(clock()));
    u64::try_from(seconds).map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds).min(CLOCK))
}

/// Applies changes and publishes what comes of them, many at once when they come fast.
async fn run(
    mut world: World,
    mut changes: mpsc::Receiver<Input>,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    shown: Shown,
    secrets: impl FnOnce(),
    offer: Offer,
) {
    let (mut secrets, mut offer) = (Some(secrets), Some(offer));
    let mut not_before = Instant::now();
    let mut pending = false;
    let mut next_end = None;
    loop {
        tokio::select! {
            change = changes.recv() => {
                let Some(change) = change else { return };
                shown.metrics.updates.inc();
                pending |= world.apply(change);
                while let Ok(change) = changes.try_recv() {
                    shown.metrics.updates.inc();
                    pending |= world.apply(change);
                }
                world.show(&shown);
                if world.has_peers()
                    && let Some(start) = secrets.take()
                {
                    start();
                }
            }
            saved = offered(&mut offer) => {
                if let Some(snapshot) = world.resume(&saved, &shown) {
                    snapshots.send_replace(Some(Arc::new(snapshot)));
                }
            }
            () = sleep_until(not_before), if pending => {}
            () = sleep(QUIET), if !pending && world.is_loose() => world.pack(),
            () = sleep(remaining(next_end)), if !pending && next_end.is_some() => pending |= next_end.is_some_and(|end| end <= clock()),
        }
        if pending && Instant::now() >= not_before {
            let started = Instant::now();
            let now = clock();
            if let Some(snapshot) = world.snapshot(now) {
                snapshots.send_replace(Some(Arc::new(snapshot)));
            }
            next_end = world.next_end(now);
            pending = false;
            not_before = Instant::now() + (started.elapsed() * COST_SHARE).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests;
