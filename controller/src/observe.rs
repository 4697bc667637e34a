//! From Kubernetes objects to the driver's inputs: the objects end here.

use herald_api::{
    config_map::{self, ConfigErrors, ConfigFile},
    service,
};
use herald_core::service::Service;
use herald_runtime::{
    shutdown::Shutdown,
    watch::{self, Change, Guarded},
};
use k8s_openapi::api::core::v1::{self as core, ConfigMap};
pub(crate) use kube::Client;
use kube::{Api, api::ObjectMeta};
use tokio::{sync::mpsc, task::JoinHandle};

/// A Service as the rules see it, with what a write needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    /// What it asks for and has.
    pub(crate) service: Service,
    /// Identity of this incarnation, for events.
    pub(crate) uid: String,
    /// `metadata.resourceVersion`: the precondition of a write.
    pub(crate) version: String,
}

impl Observed {
    pub(crate) fn of(object: &core::Service, class: Option<&str>) -> Option<Self> {
        let service = service::from_object(object, class)?;
        let ObjectMeta { uid, resource_version, .. } = &object.metadata;
        Some(Self {
            service,
            uid: uid.clone().unwrap_or_default(),
            version: resource_version.clone().unwrap_or_default(),
        })
    }
}

/// The configuration's ConfigMap, read.
#[derive(Debug, Clone)]
pub(crate) struct ConfigObject {
    /// For events.
    pub(crate) uid: String,
    /// What it says, or what is wrong with it.
    pub(crate) content: Result<ConfigFile, ConfigErrors>,
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
    /// The one ConfigMap.
    Config(Change<ConfigObject>),
}

/// Watches the ConfigMap until shutdown.
pub(crate) fn config(
    client: Client,
    namespace: &str,
    name: &str,
    tx: mpsc::Sender<Input>,
    shutdown: Shutdown,
) -> JoinHandle<()> {
    watch::spawn(
        Api::<Guarded<ConfigMap>>::namespaced(client, namespace),
        watch::config().fields(&format!("metadata.name={name}")),
        |object: ConfigMap| {
            Some(ConfigObject {
                content: config_map::from_object(&object),
                uid: object.metadata.uid.unwrap_or_default(),
            })
        },
        Input::Config,
        tx,
        shutdown,
    )
}

/// Watches the Services of our class, in all namespaces, until shutdown. Starts with a consistent list.
pub(crate) fn services(
    client: Client,
    class: Option<String>,
    number: u64,
    tx: mpsc::Sender<Input>,
    shutdown: Shutdown,
) -> JoinHandle<()> {
    watch::spawn(
        Api::<Guarded<core::Service>>::all(client),
        watch::config(),
        move |object: core::Service| Observed::of(&object, class.as_deref()),
        move |change| Input::Services { watch: number, change },
        tx,
        shutdown,
    )
}
