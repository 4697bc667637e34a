//! Pools -> EXTERNAL-IP: watches Services and pools, writes Service status.
//!
//! `observe` turns objects into inputs, `driver` owns the state and decides with [`herald_core::allocate`], `apply` writes. One replica acts,
//! elected by a Lease; the others wait.

mod apply;
mod config;
mod configuration;
mod deprecated;
mod driver;
mod fence;
mod key_secret;
mod metrics;
mod observe;
mod quarantine;
mod state;
mod unread_move;
mod webhook;

pub use config::ControllerConfig;
pub use webhook::{Mode, WebhookConfig};

use driver::{Conditions, Driver, Parts};
use futures::future::OptionFuture;
use herald_runtime::{
    admin::{self, Admin, AdminError},
    client::Clients,
    events::EventWriter,
    lease::{self, Leadership, LeaseConfig},
    metrics::{Registry, process::Process},
    pace::Pace,
    readiness::{Readiness, Weight},
    shutdown::Shutdown,
    standby,
};
use metrics::Metrics;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What appears as the source of events: MetalLB's name, as tools filter by it.
const COMPONENT: &str = "metallb-controller";

/// Room for inputs; a full channel slows the watches down and loses nothing.
const INPUTS: usize = 256;

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// Its HTTP endpoints failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Runs the controller until shutdown: ends what it has begun, then gives the lease back.
///
/// # Errors
/// An address that cannot be listened on.
pub async fn run(config: ControllerConfig, clients: Clients, shutdown: Shutdown) -> Result<(), ControllerError> {
    let health = admin::any_address(config.common.health_probe_port);
    let admin = Admin::bind(config.common.admin(health, &clients.main)).await?;
    let webhook = webhook::bind(&config.webhook, &config.common.tls).await?;
    run_with(config, clients, admin, webhook, shutdown).await
}

/// [`run`] on listeners that are bound already.
///
/// # Errors
/// A listener that fails.
async fn run_with(
    config: ControllerConfig,
    clients: Clients,
    admin: Admin,
    webhook: Option<webhook::Bound>,
    shutdown: Shutdown,
) -> Result<(), ControllerError> {
    let (namespace, identity) = (config.common.namespace(), config.identity());
    tracing::info!(namespace, identity, class = config.common.lb_class, "controller starts");

    let mut registry = Registry::default();
    let metrics = Metrics::default();
    registry.add(metrics.clone());
    registry.add(Process::new("controller"));
    let reviews = webhook::Reviews::default();
    if webhook.is_some() {
        registry.add(reviews.clone());
    }
    let readiness = Readiness::new();
    let conditions = Conditions {
        leader: readiness.condition("leader", Weight::Blocking),
        standby: readiness.condition("standby", Weight::Blocking),
        services: readiness.condition("services", Weight::Blocking),
        configuration: readiness.condition("configuration", Weight::Informative),
    };

    // These two outlive the driver: the lease is given back after its last write, and its last events are still written.
    let (lease_end, events_end) = (Shutdown::manual(), Shutdown::manual());
    let (leadership, lease_task) = match config.webhook.mode {
        Mode::Onlywebhook => (Leadership::of_another(), None),
        Mode::Enabled | Mode::Disabled => {
            let lease = LeaseConfig::new(&config.lease_name, &identity);
            let (leadership, task) = lease::spawn(clients.lease.clone(), &namespace, lease, lease_end.clone());
            (leadership, Some(task))
        }
    };
    let (events, events_task) =
        EventWriter::start(clients.main.clone(), COMPONENT, &identity, Pace::of_one(), events_end.clone());

    let (debug, debug_requests) = mpsc::channel(4);
    let (sources, sources_requests) = mpsc::channel(4);
    let webhook_task = webhook.map(|webhook| {
        let parts = webhook::Parts {
            client: clients.main.clone(),
            namespace: namespace.clone(),
            config: config.webhook,
            sources,
            metrics: reviews,
            shutdown: shutdown.clone(),
        };
        webhook.start(parts, &readiness)
    });
    let standby = standby::watch(clients.main.clone(), shutdown.clone());
    if let Some(limit) = config.fence_dead_nodes {
        tokio::spawn(fence::run(fence::Fencing {
            client: clients.main.clone(),
            namespace: namespace.clone(),
            limit,
            leadership: leadership.clone(),
            standby: standby.clone(),
            events: events.clone(),
            fenced: metrics.fenced.clone(),
            shutdown: shutdown.clone(),
        }));
    }
    let driver = Driver::new(Parts {
        client: clients.main,
        namespace,
        config_name: config.common.config,
        class: config.common.lb_class,
        key_secret: config.common.hello_key_secret,
        conflict_quarantine: config.conflict_quarantine,
        leadership,
        standby,
        events,
        metrics,
        conditions,
        debug: debug_requests,
        sources: sources_requests,
        inputs: mpsc::channel(INPUTS),
        shutdown: shutdown.clone(),
    });
    let serve = admin.serve(Arc::new(registry), readiness, admin::ask(debug), shutdown.clone());
    let served = async { serve.await.inspect_err(|_| shutdown.trigger()) };
    let (result, ()) = tokio::join!(served, driver.run());
    lease_end.trigger();
    events_end.trigger();
    // No task panics or is aborted.
    let _ = tokio::join!(OptionFuture::from(lease_task), OptionFuture::from(webhook_task), events_task);
    tracing::info!("controller ended");
    result.map_err(ControllerError::from)
}

#[cfg(test)]
mod tests;
