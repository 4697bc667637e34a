//! Membership, ownership and ARP/NDP announcements, wired to sockets and watches.
//!
//! `observe` turns objects into snapshots, [`links`] and [`net`] hold the network, [`driver`] owns the state and carries out what
//! [`herald_core::speaker`] decides.

mod config;
pub mod driver;
pub mod links;
pub mod metrics;
pub mod net;
mod observe;
mod ports;

pub use config::SpeakerConfig;

use herald_api::event::{self, Kind, ServiceEvent};
use herald_core::{NodeName, ServiceKey, membership::Identity, time::InvalidTiming};
use herald_runtime::{
    admin::{self, Admin, AdminError},
    client::Clients,
    events::{EventKind, EventWriter, Notice},
    metrics::{ClientMetrics, Registry, process::Process},
    readiness::{Readiness, Weight},
    shutdown::Shutdown,
    standby::{self, Standby},
};
use links::watch::{LinkError, LinkWatch};
use metrics::{Scrape, ScrapeCollector};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::sync::{mpsc, watch};

/// What appears as the source of events: MetalLB's name, as tools filter by it.
const COMPONENT: &str = "metallb-speaker";

/// Why the speaker ended.
#[derive(Debug, thiserror::Error)]
pub enum SpeakerError {
    /// `--hello-interval` or `--hold-intervals`.
    #[error(transparent)]
    Timing(#[from] InvalidTiming),
    /// Its HTTP endpoints failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The links of this node cannot be watched.
    #[error("the network links of this node cannot be watched: {0}")]
    Links(#[from] LinkError),
}

/// Runs the speaker until shutdown.
///
/// # Errors
/// Impossible settings, or something of the system that cannot be had.
pub async fn run(config: SpeakerConfig, clients: Clients, shutdown: Shutdown) -> Result<(), SpeakerError> {
    let timing = config.timing()?;
    let health = SocketAddr::from((Ipv4Addr::LOCALHOST, config.common.health_probe_port));
    let admin = Admin::bind(config.common.admin(health, &clients.main)).await?;
    let link_watch = LinkWatch::start(config.exclude_interfaces.clone()).await?;
    let readiness = Readiness::new();
    let shown = observe::Shown {
        api: readiness.condition("api", Weight::Blocking),
        configuration: readiness.condition("configuration", Weight::Informative),
        metrics: ClientMetrics::default(),
    };
    let key = readiness.condition("hello key", Weight::Blocking);
    let membership = readiness.condition("membership", Weight::Blocking);
    let standing_by = readiness.condition("standby", Weight::Informative);
    let mut registry = Registry::default();
    registry.add(shown.metrics.clone());
    let (scrape, scraped) = watch::channel(Arc::new(Scrape::default()));
    registry.add(Process::new("speaker"));
    let observed = observe::start(&clients.main, &config, shown, &shutdown);
    registry.add(ScrapeCollector { scrape: scraped, observed: observed.clone() });
    let (debug_tx, debug) = mpsc::channel(4);
    let serve = tokio::spawn(admin.serve(Arc::new(registry), readiness, admin::ask(debug_tx), shutdown.clone()));

    let namespace = config.common.namespace();
    let standby = standby_of(standby::watch(clients.main.clone(), shutdown.clone()), standing_by);
    let cluster = tokio::select! {
        cluster = observe::cluster_id(clients.main.clone()) => cluster,
        () = shutdown.wait() => return ended(serve).await,
    };
    let keys = observe::keys(
        clients.main.clone(),
        &namespace,
        &config.common.hello_key_secret,
        cluster,
        key,
        shutdown.clone(),
    );
    let pod = config.common.pod_name().unwrap_or_else(|| config.node_name.clone());
    let (events, _writer) = EventWriter::start(clients.main, COMPONENT, &pod, shutdown.clone());
    let node = NodeName::new(config.node_name.as_str());
    let resources = driver::Resources {
        me: Identity { cluster, node: node.clone(), incarnation: driver::incarnation() },
        timing,
        hello_port: config.hello_port,
        links: link_watch.links(),
        observed,
        keys,
        standby,
        debug,
        scrape,
        membership,
        announcing: Box::new(move |service, uid| events.publish(node_assigned(&node, service, uid))),
    };
    tracing::info!(node = config.node_name, namespace, "speaker started");
    driver::run(resources, shutdown).await;
    tracing::info!("speaker ended");
    ended(serve).await
}

async fn ended(serve: tokio::task::JoinHandle<Result<(), AdminError>>) -> Result<(), SpeakerError> {
    // A task that panicked has said so; there is nothing else to end with.
    serve.await.unwrap_or(Ok(())).map_err(SpeakerError::Admin)
}

fn node_assigned(node: &NodeName, service: &ServiceKey, uid: &str) -> Notice {
    let ServiceEvent { reason, kind, message } = ServiceEvent::node_assigned(node);
    Notice {
        about: event::object_reference("Service", &service.namespace, &service.name, uid),
        kind: match kind {
            Kind::Normal => EventKind::Normal,
            Kind::Warning => EventKind::Warning,
        },
        reason: reason.to_owned(),
        message,
    }
}

/// Whether to stand by, told to `/readyz` too.
fn standby_of(
    mut pods: watch::Receiver<Option<Standby>>,
    condition: herald_runtime::readiness::Condition,
) -> watch::Receiver<Option<bool>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let known = pods.borrow_and_update().clone();
            match &known {
                None => condition.not_ready("not known yet whether MetalLB runs in this cluster"),
                Some(standby) if standby.holds() => {
                    condition.not_ready(format!("MetalLB runs: {}", standby.pods.join(", ")))
                }
                Some(_) => condition.ready(),
            }
            sender.send_replace(known.map(|standby| standby.holds()));
            if pods.changed().await.is_err() {
                return;
            }
        }
    });
    receiver
}
