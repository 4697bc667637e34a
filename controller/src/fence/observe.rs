//! What fencing is decided on: nodes, ready speakers, and whom they miss.

use herald_api::{
    crd::ConfigurationState,
    node::{self, Object},
    peers,
    pod::{self, Pod},
};
use herald_core::NodeName;
use herald_runtime::{
    served::{self, Served},
    shutdown::Shutdown,
    watch::{self, Change, ObjectKey, Objects},
};
pub(super) use kube::Client;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};
use tokio::sync::mpsc;

/// Speaker pods carry both labels (the chart's).
const SPEAKERS: &str = "app.kubernetes.io/name=herald,component=speaker";
const VERSIONS: &[&str] = &["metallb.io/v1beta1"];

/// A Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) uid: Arc<str>,
    pub(super) fenced: bool,
    pub(super) kubelet: Vec<SocketAddr>,
}

/// A change of one kind of object.
pub(super) enum Input {
    Nodes(Change<Node>),
    Speakers(Change<herald_core::node::SpeakerPod>),
    Reports(Change<(NodeName, BTreeSet<NodeName>)>),
}

/// Everything observed, once every watch has delivered its first full list.
#[derive(Debug, Default)]
pub(super) struct Observed {
    nodes: Option<BTreeMap<ObjectKey, Node>>,
    speakers: Option<BTreeMap<ObjectKey, herald_core::node::SpeakerPod>>,
    reports: Option<BTreeMap<ObjectKey, (NodeName, BTreeSet<NodeName>)>>,
}

fn follow<T>(objects: &mut Option<BTreeMap<ObjectKey, T>>, change: Change<T>) {
    match (change, objects) {
        (Change::Reset { objects: now, .. }, objects) => *objects = Some(now),
        (Change::Set { key, value, .. }, Some(objects)) => {
            objects.insert(key, value);
        }
        (Change::Gone { key, .. }, Some(objects)) => {
            objects.remove(&key);
        }
        // All objects of the kind went with its definition.
        (Change::Vanished, objects) => *objects = Some(BTreeMap::new()),
        (Change::Set { .. } | Change::Gone { .. } | Change::Disconnected(_) | Change::Connected, _) => {}
    }
}

impl Observed {
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Nodes(change) => follow(&mut self.nodes, change),
            Input::Speakers(change) => follow(&mut self.speakers, change),
            Input::Reports(change) => follow(&mut self.reports, change),
        }
    }

    /// What was just written, before the watch tells it.
    pub(super) fn set_fenced(&mut self, name: &NodeName, fenced: bool) {
        let nodes = self.nodes.iter_mut().flatten().filter(|(key, _)| *key.name == *name.as_str());
        nodes.for_each(|(_, node)| node.fenced = fenced);
    }

    /// Nodes by name; `None` while something is not known yet.
    pub(super) fn nodes(&self) -> Option<impl Iterator<Item = (NodeName, &Node)>> {
        let (Some(nodes), Some(_), Some(_)) = (&self.nodes, &self.speakers, &self.reports) else { return None };
        Some(nodes.iter().map(|(key, node)| (NodeName::new(Arc::clone(&key.name)), node)))
    }

    /// Ready speakers by node, with whom they miss.
    pub(super) fn reports(&self) -> BTreeMap<NodeName, BTreeSet<NodeName>> {
        let ready = self.speakers.iter().flat_map(BTreeMap::values).filter(|pod| pod.ready);
        let missed = |node: &NodeName| {
            let reports = self.reports.iter().flat_map(BTreeMap::values);
            reports.filter(|(of, _)| of == node).flat_map(|(_, missed)| missed.iter().cloned()).collect()
        };
        ready.map(|pod| (pod.node.clone(), missed(&pod.node))).collect()
    }
}

/// Watches until shutdown.
pub(super) fn start(client: &Client, namespace: &str, shutdown: &Shutdown) -> mpsc::Receiver<Input> {
    let (tx, rx) = mpsc::channel(64);
    watch::spawn(
        Objects::<Object>::all(client.clone()),
        watch::config(),
        |object: Object| {
            let uid = object.metadata.uid.as_deref().unwrap_or_default().into();
            Some(Node { uid, fenced: node::is_fenced(&object), kubelet: node::kubelet(&object) })
        },
        Input::Nodes,
        tx.clone(),
        shutdown.clone(),
    );
    watch::spawn(
        Objects::<Pod>::namespaced(client.clone(), namespace),
        watch::config().labels(SPEAKERS),
        |object: Pod| pod::speaker_from_object(&object),
        Input::Speakers,
        tx.clone(),
        shutdown.clone(),
    );
    served::spawn(
        Served::start(client.clone(), VERSIONS, shutdown.clone()),
        Objects::<ConfigurationState>::namespaced(client.clone(), namespace),
        watch::config(),
        |object: ConfigurationState| peers::report(&object),
        Input::Reports,
        tx,
        shutdown.clone(),
    );
    rx
}
