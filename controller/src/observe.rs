//! From Kubernetes objects to the driver's inputs: the objects end here.

use herald_api::{
    annotations,
    configuration_state::{self, Conflict},
    crd::{
        BFDProfile, BGPAdvertisement, BGPPeer, COMPONENT_TYPE_LABEL, Community, ConfigurationState,
        ConfigurationStateStatus, IPAddressPool, IPAddressPoolStatus, L2Advertisement, Unread,
    },
    service,
    sources::{Kind, Source},
};
use herald_core::{labels::Labels, service::Service};
use herald_runtime::{
    served::{self, Served},
    shutdown::Shutdown,
    watch::{self, Change, Objects},
};
use k8s_openapi::api::core::v1::{self as core, ConfigMap, Namespace};
pub(crate) use kube::Client;
use kube::{Resource, api::ObjectMeta};
use serde::de::DeserializeOwned;
use std::{fmt, sync::Arc};
use tokio::sync::mpsc;

/// A Service as the rules see it, with what a write needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    /// What it asks for and has.
    pub(crate) service: Arc<Service>,
    /// Identity of this incarnation, for events.
    pub(crate) uid: Arc<str>,
    /// `metadata.resourceVersion`: the precondition of a write.
    pub(crate) version: String,
    /// Annotation keys under MetalLB's old prefix that are read from it.
    pub(crate) deprecated: Vec<&'static str>,
    /// What is wrong with its annotations of `herald move`, and what to do about it.
    pub(crate) unread_move: Option<String>,
}

impl Observed {
    pub(crate) fn of(object: &core::Service, class: Option<&str>) -> Option<Self> {
        let service = Arc::new(service::from_object(object, class)?);
        let ObjectMeta { uid, resource_version, annotations, .. } = &object.metadata;
        Some(Self {
            unread_move: service::moved(object).err().filter(|_| service.is_load_balancer),
            service,
            uid: uid.as_deref().unwrap_or_default().into(),
            version: resource_version.clone().unwrap_or_default(),
            deprecated: annotations.as_ref().map(annotations::deprecated_in_use).unwrap_or_default(),
        })
    }
}

/// What is reported on an object, and the version of the object that says so.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reported<S> {
    /// The status; `None` when it has none or nobody can read it.
    pub(crate) status: Option<S>,
    /// `metadata.resourceVersion`.
    pub(crate) version: String,
}

impl<S> Reported<S> {
    fn new(metadata: &ObjectMeta, status: Option<S>) -> Self {
        Self { status, version: metadata.resource_version.clone().unwrap_or_default() }
    }
}

/// What the driver is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// Services, from the watch of this term.
    Services {
        /// Number of the watch: what an older one still sends is dropped.
        watch: u64,
        /// What changed.
        change: Change<Observed>,
    },
    /// Configuration objects of a kind.
    Source(Kind, Change<Source>),
    /// Pools, with their reported usage.
    Pools(Change<(Source, Reported<IPAddressPoolStatus>)>),
    /// Namespaces, by their labels.
    Namespaces(Change<Labels>),
    /// Addresses that speakers cannot announce, as their ConfigurationStates tell.
    Conflicts(Change<Vec<Conflict>>),
    /// Our ConfigurationState.
    State(Change<Reported<ConfigurationStateStatus>>),
}

/// Name of our ConfigurationState.
pub(crate) const STATE_NAME: &str = "controller";

/// API versions whose kinds are configuration.
const VERSIONS: &[&str] = &["metallb.io/v1beta1", "metallb.io/v1beta2"];

/// What the watches of the whole run need.
pub(crate) struct Watches {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) config_name: String,
    pub(crate) tx: mpsc::Sender<Input>,
    pub(crate) shutdown: Shutdown,
}

impl Watches {
    /// Watches the configuration (the ConfigMap, and custom resources where they are served), our report on it, and namespaces, until
    /// shutdown. Answers who knows what is served.
    pub(crate) fn start(self) -> Served {
        let Self { client, namespace, config_name, tx, shutdown } = &self;
        let served = Served::start(client.clone(), VERSIONS, shutdown.clone());
        watch::spawn(
            Objects::<ConfigMap>::namespaced(client.clone(), namespace),
            watch::config().fields(&format!("metadata.name={config_name}")),
            |object: ConfigMap| Some(Source::from(&object)),
            |change| Input::Source(Kind::ConfigMap, change),
            tx.clone(),
            shutdown.clone(),
        );
        watch::spawn(
            Objects::<Namespace>::all(client.clone()),
            watch::config(),
            |object: Namespace| Some(object.metadata.labels.into_iter().flatten().collect::<Labels>()),
            Input::Namespaces,
            tx.clone(),
            shutdown.clone(),
        );
        self.custom::<L2Advertisement>(&served, Kind::L2Advertisement);
        self.custom::<BGPAdvertisement>(&served, Kind::BgpAdvertisement);
        self.custom::<BGPPeer>(&served, Kind::BgpPeer);
        self.custom::<BFDProfile>(&served, Kind::BfdProfile);
        self.custom::<Community>(&served, Kind::Community);
        served::spawn(
            served.clone(),
            Objects::<Unread<IPAddressPool>>::namespaced(client.clone(), namespace),
            watch::config(),
            |object: Unread<IPAddressPool>| {
                let status = object.clone().read().ok().and_then(|pool| pool.status);
                let reported = Reported::new(&object.metadata, status);
                Some((Source::from(object), reported))
            },
            Input::Pools,
            tx.clone(),
            shutdown.clone(),
        );
        served::spawn(
            served.clone(),
            Objects::<ConfigurationState>::namespaced(client.clone(), namespace),
            watch::config().fields(&format!("metadata.name={STATE_NAME}")),
            |object: ConfigurationState| Some(Reported::new(&object.metadata, object.status)),
            Input::State,
            tx.clone(),
            shutdown.clone(),
        );
        served::spawn(
            served.clone(),
            Objects::<ConfigurationState>::namespaced(client.clone(), namespace),
            watch::config().labels(&format!("{COMPONENT_TYPE_LABEL}=speaker")),
            |object: ConfigurationState| Some(configuration_state::conflicts(&object.status.unwrap_or_default())),
            Input::Conflicts,
            tx.clone(),
            shutdown.clone(),
        );
        served
    }

    fn custom<K>(&self, served: &Served, kind: Kind)
    where
        K: Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Send + 'static,
        K::Scope: Send,
        Unread<K>: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        Source: From<Unread<K>>,
    {
        served::spawn(
            served.clone(),
            Objects::<Unread<K>>::namespaced(self.client.clone(), &self.namespace),
            watch::config(),
            |object: Unread<K>| Some(Source::from(object)),
            move |change| Input::Source(kind, change),
            self.tx.clone(),
            self.shutdown.clone(),
        );
    }
}

/// Watches the Services of our class, in all namespaces, until shutdown. Starts with a consistent list.
pub(crate) fn services(
    client: Client,
    class: Option<String>,
    number: u64,
    tx: mpsc::Sender<Input>,
    shutdown: Shutdown,
) {
    watch::spawn(
        Objects::<core::Service>::all(client),
        watch::config(),
        move |object: core::Service| Observed::of(&object, class.as_deref()),
        move |change| Input::Services { watch: number, change },
        tx,
        shutdown,
    );
}
