//! From Kubernetes objects to the [`Snapshot`] that the driver decides on: the objects end here.

mod cluster;
mod world;

pub(crate) use cluster::{cluster_id, keys};

use crate::config::SpeakerConfig;
use herald_api::{config_map, endpoints, node, pod, service};
use herald_core::{ownership::Snapshot, service::Service};
use herald_runtime::{
    metrics::ClientMetrics,
    readiness::Condition,
    shutdown::Shutdown,
    watch::{self as objects, Change, Guarded},
};
use k8s_openapi::api::{
    core::v1::{self as core, ConfigMap, Node, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, api::ObjectMeta};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use world::{ServiceObject, World};

/// Speaker pods carry both labels (the chart's), MetalLB's tooling looks for the second.
const SPEAKERS: &str = "app.kubernetes.io/name=herald,component=speaker";

/// Changes that wait for the world.
const QUEUE: usize = 256;

/// Making a snapshot costs at most a fortieth of the time, and deciding on it about as much again: after one that took long, the next one
/// waits longer. A thousand Services that get their status one by one would otherwise keep a core busy.
const COST_SHARE: u32 = 40;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A change of one kind of object.
pub(crate) enum Input {
    Services(Change<ServiceObject>),
    Slices(Change<endpoints::Slice>),
    Nodes(Change<herald_core::node::Node>),
    Speakers(Change<herald_core::node::SpeakerPod>),
    Config(Change<Result<config_map::ConfigFile, config_map::ConfigErrors>>),
}

/// What the outside sees of the observing.
pub(crate) struct Shown {
    pub(crate) metrics: ClientMetrics,
    pub(crate) api: Condition,
    pub(crate) configuration: Condition,
}

/// Watches everything that announcing depends on until shutdown. `None` until every watch has delivered its first full list.
pub(crate) fn start(
    client: &Client,
    config: &SpeakerConfig,
    shown: Shown,
    shutdown: &Shutdown,
) -> watch::Receiver<Option<Arc<Snapshot>>> {
    let (tx, rx) = mpsc::channel(QUEUE);
    watch_all(client, config, &tx, shutdown);
    let (snapshots, receiver) = watch::channel(None);
    let world = World::new(config.ignore_exclude_lb);
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = run(world, rx, snapshots, shown) => {}
            () = shutdown.wait() => {}
        }
    });
    receiver
}

fn watch_all(client: &Client, config: &SpeakerConfig, tx: &mpsc::Sender<Input>, shutdown: &Shutdown) {
    let namespace = config.common.namespace();
    let class = config.common.lb_class.clone();
    objects::spawn(
        Api::<Guarded<core::Service>>::all(client.clone()),
        objects::config(),
        move |object| service_object(&object, class.as_deref()),
        Input::Services,
        tx.clone(),
        shutdown.clone(),
    );
    objects::spawn(
        Api::<Guarded<EndpointSlice>>::all(client.clone()),
        objects::config(),
        |object| endpoints::Slice::from_object(&object),
        Input::Slices,
        tx.clone(),
        shutdown.clone(),
    );
    objects::spawn(
        Api::<Guarded<Node>>::all(client.clone()),
        objects::config(),
        |object| Some(node::from_object(&object)),
        Input::Nodes,
        tx.clone(),
        shutdown.clone(),
    );
    objects::spawn(
        Api::<Guarded<Pod>>::namespaced(client.clone(), &namespace),
        objects::config().labels(SPEAKERS),
        |object| pod::speaker_from_object(&object),
        Input::Speakers,
        tx.clone(),
        shutdown.clone(),
    );
    objects::spawn(
        Api::<Guarded<ConfigMap>>::namespaced(client.clone(), &namespace),
        objects::config().fields(&format!("metadata.name={}", config.common.config)),
        |object| Some(config_map::from_object(&object)),
        Input::Config,
        tx.clone(),
        shutdown.clone(),
    );
}

/// A Service that wants to be announced.
fn service_object(object: &core::Service, class: Option<&str>) -> Option<ServiceObject> {
    let Service { labels, is_load_balancer, traffic_policy, ingress, .. } = service::from_object(object, class)?;
    let ObjectMeta { uid, .. } = &object.metadata;
    is_load_balancer.then(|| ServiceObject {
        uid: uid.as_deref().unwrap_or_default().into(),
        labels,
        addresses: ingress.into(),
        traffic_policy,
    })
}

/// Applies changes and publishes what comes of them, many at once when they come fast.
async fn run(
    mut world: World,
    mut changes: mpsc::Receiver<Input>,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    shown: Shown,
) {
    let mut not_before = Instant::now();
    let mut pending = false;
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
            }
            () = sleep_until(not_before), if pending => {}
        }
        if pending && Instant::now() >= not_before {
            let started = Instant::now();
            if let Some(snapshot) = world.snapshot() {
                snapshots.send_replace(Some(Arc::new(snapshot)));
            }
            pending = false;
            not_before = Instant::now() + (started.elapsed() * COST_SHARE).min(LONGEST_PAUSE);
        }
    }
}
