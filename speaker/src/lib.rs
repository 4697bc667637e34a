//! Membership, ownership and ARP/NDP announcements, wired to sockets and watches.
//!
//! `observe` turns objects into snapshots, [`links`] and [`net`] hold the network, [`driver`] owns the state and carries out what
//! [`herald_core::speaker`] decides.

mod apply;
mod config;
pub mod data_plane;
pub mod driver;
pub mod links;
pub mod metrics;
pub mod net;
mod observe;
mod ports;
mod saved;
mod show;

pub use config::SpeakerConfig;

use driver::Told;
use herald_api::event::{Kind, Notice, ServiceEvent, unread_evacuation};
use herald_core::{
    NodeName, ServiceKey,
    announce::conflict::Withheld,
    membership::Identity,
    ownership::{Moves, Snapshot},
    reason::Reason,
};
use herald_runtime::{
    admin::{self, Admin, AdminError},
    client::Clients,
    events::EventWriter,
    metrics::{ClientMetrics, Gauge, Registry, process::Process},
    pace::Pace,
    readiness::{Readiness, Weight},
    shutdown::Shutdown,
    standby::{self, Standby},
};
use links::{
    exclude::{Exclude, ExcludeError},
    watch::{LinkError, LinkWatch},
};
use metrics::{Scrape, ScrapeCollector};
use net::sys::trim_heap;
use saved::{Offer, SavedMetrics, Saver, Store, offered};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

/// What appears as the source of events: MetalLB's name, as tools filter by it.
const COMPONENT: &str = "metallb-speaker";
/// So long after the cluster or what is announced changed the heap is trimmed: what comes of the change is done by then.
const TRIM: Duration = Duration::from_secs(5);

/// Why the speaker ended.
#[derive(Debug, thiserror::Error)]
pub enum SpeakerError {
    /// `--exclude-interfaces`.
    #[error(transparent)]
    Exclude(#[from] ExcludeError),
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
    let health = SocketAddr::from((Ipv4Addr::LOCALHOST, config.common.health_probe_port));
    let admin = Admin::bind(config.common.admin(health, &clients.main)).await?;
    let (excluded, excluded_now) = watch::channel(Arc::new(Exclude::new(&config.exclude_interfaces)?));
    let link_watch = LinkWatch::start(excluded_now.clone()).await?;
    let readiness = Readiness::new();
    let node = NodeName::new(config.node_name.as_str());
    let wait = Instant::now() + saved::FIRST_LISTS;
    let (summary, summary_now) = watch::channel(None);
    let shown = observe::Shown {
        api: readiness.condition("api", Weight::Blocking),
        configuration: readiness.condition("configuration", Weight::Informative),
        exclude_list: readiness.condition("exclude list", Weight::Informative),
        metrics: ClientMetrics::default(),
        excluded,
        summary,
    };
    let key = readiness.condition("hello key", Weight::Blocking);
    let membership = readiness.condition("membership", Weight::Blocking);
    let standing_by = readiness.condition("standby", Weight::Informative);
    let saving = readiness.condition("saved state", Weight::Informative);
    let plane = readiness.condition("data plane", Weight::Informative);
    let store = config.state_dir.clone().map(Store::new);
    let found = saved::load(store.as_ref(), &node, &saving);
    let (offer, offer_now) = watch::channel(None);
    let mut registry = Registry::default();
    registry.add(shown.metrics.clone());
    let (scrape, scraped) = watch::channel(Arc::new(Scrape::default()));
    registry.add(Process::new("speaker"));
    let asks = data_plane::AskMetrics::default();
    registry.add(asks.clone());
    let data_plane = data_plane::start(config.data_plane_health.0.clone(), plane, asks);
    let (unread, unread_now) = watch::channel(None);
    let (observed, served) = observe::start(&clients.main, &config, shown, offer_now.clone(), unread, &shutdown);
    registry.add(ScrapeCollector { scrape: scraped.clone(), observed: observed.clone() });
    let saved_at = Gauge::default();
    registry.add(SavedMetrics { observed: observed.clone(), saved_at: saved_at.clone() });
    let (debug_tx, debug) = mpsc::channel(4);
    let serve = tokio::spawn(admin.serve(Arc::new(registry), readiness, admin::ask(debug_tx), shutdown.clone()));

    let namespace = config.common.namespace();
    let standby = standby_of(standby::watch(clients.main.clone(), shutdown.clone()), offer_now, standing_by);
    let found_cluster = found.as_ref().map(|saved| saved.cluster);
    let cluster = tokio::select! {
        cluster = observe::cluster_id(clients.main.clone()) => cluster,
        Some(cluster) = async { sleep_until(wait).await; found_cluster } => cluster,
        () = shutdown.wait() => return ended(serve).await,
    };
    let found = saved::of_cluster(found, cluster, &saving);
    let keys = observe::keys(
        clients.main.clone(),
        &namespace,
        &config.common.hello_key_secret,
        (cluster, found.as_ref().map(|saved| saved.keys.clone()).unwrap_or_default()),
        key,
        shutdown.clone(),
    );
    tokio::spawn(trim(observed.clone(), scraped.clone()));
    let pod = config.common.pod_name().unwrap_or_else(|| config.node_name.clone());
    let says = apply::Says {
        node: node.clone(),
        namespace: namespace.clone(),
        pod: pod.clone(),
        scrape: scraped,
        observed: observed.clone(),
        standby: standby.clone(),
        summary: summary_now,
        served,
    };
    apply::start(&clients.main, says, shutdown.clone());
    if let Some(store) = store {
        let saver = Saver {
            store,
            node: node.clone(),
            observed: observed.clone(),
            keys: keys.clone(),
            excluded: excluded_now,
            standby: standby.clone(),
            condition: saving,
            saved_at,
        };
        tokio::spawn(saver.run());
    }
    tokio::spawn(async move {
        sleep_until(wait).await;
        offer.send_replace(found.map(Arc::new));
    });
    let (events, _writer) = EventWriter::start(clients.main, COMPONENT, &pod, Pace::of_each(), shutdown.clone());
    tokio::spawn(tell_unread(node.clone(), unread_now, events.clone()));
    let resources = driver::Resources {
        me: Identity { cluster, node: node.clone(), incarnation: driver::incarnation() },
        timing: config.failover_target,
        moves: Moves { drain: config.drain, hold_off: config.hold_off },
        conflict_policy: config.conflict_policy,
        hello_port: config.hello_port,
        links: link_watch.links(),
        observed,
        keys,
        standby,
        data_plane,
        debug,
        scrape,
        membership,
        on_service: Box::new(move |service, uid, told| events.publish(notice(&node, service, uid, told))),
    };
    tracing::info!(node = config.node_name, namespace, "speaker started");
    driver::run(resources, shutdown).await;
    tracing::info!("speaker ended");
    ended(serve).await
}

/// Where thousands of Services change, decisions leave holes of megabytes between what stays: they are not left resident until the driver gives
/// back everything that was used once, code included, every minute.
async fn trim(mut observed: watch::Receiver<Option<Arc<Snapshot>>>, mut scrape: watch::Receiver<Arc<Scrape>>) {
    loop {
        let changed = tokio::select! {
            changed = observed.changed() => changed,
            changed = scrape.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        sleep(TRIM).await;
        trim_heap();
    }
}

/// Tells on the Node what is wrong with its annotations, whenever that changed.
async fn tell_unread(node: NodeName, mut unread: watch::Receiver<observe::UnreadNode>, events: EventWriter) {
    loop {
        let now = unread.borrow_and_update().clone();
        if let Some((uid, problem)) = now {
            events.publish(unread_evacuation(&node, &uid, &problem));
        }
        if unread.changed().await.is_err() {
            return;
        }
    }
}

async fn ended(serve: tokio::task::JoinHandle<Result<(), AdminError>>) -> Result<(), SpeakerError> {
    // A task that panicked has said so; there is nothing else to end with.
    serve.await.unwrap_or(Ok(())).map_err(SpeakerError::Admin)
}

fn notice(node: &NodeName, service: &ServiceKey, uid: &Arc<str>, told: Told<'_>) -> Notice {
    let event = match told {
        Told::Announcing => ServiceEvent::node_assigned(node),
        Told::LacksInterface(addresses) => lacks_interface(node, addresses),
        Told::Withheld(address, link, why) => conflict(
            "addressConflict",
            Kind::Warning,
            format!("{address} is not announced from {node}/{link}: {}", why.advice()),
        ),
        Told::Defended(address, link, from) => conflict(
            "addressConflict",
            Kind::Warning,
            format!(
                "a foreign station, {from}, claimed {address} on {node}/{link}, and was told that it is here; a second claim within 10 s is \
                 yielded to: {}",
                Withheld::Held(from).next_step()
            ),
        ),
        Told::ConflictOver(address, link) => conflict(
            "addressConflictOver",
            Kind::Normal,
            format!("nobody else claims {address} on {link} any more: announced from {node} again"),
        ),
    };
    event.on(service, uid)
}

fn conflict(reason: &'static str, kind: Kind, message: String) -> ServiceEvent {
    ServiceEvent { reason, kind, message }
}

/// MetalLB's reason, and its text at the start.
fn lacks_interface(node: &NodeName, addresses: &[IpAddr]) -> ServiceEvent {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    ServiceEvent {
        reason: "announceFailed",
        kind: Kind::Warning,
        message: format!(
            "the interfaces specified by LB IP \"{}\" doesn't exist in assigned node \"{node}\" with protocol \"layer2\", nor in another node: \
             correct spec.interfaces of the L2Advertisement, or bring such an interface up",
            addresses.join(", ")
        ),
    }
}

/// Whether to stand by, told to `/readyz` too. What was saved was saved while MetalLB did not run, and without an API server it was not
/// started since.
fn standby_of(
    mut pods: watch::Receiver<Option<Standby>>,
    offer: Offer,
    condition: herald_runtime::readiness::Condition,
) -> watch::Receiver<Option<bool>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let (mut resumed, mut offer) = (false, Some(offer));
        loop {
            let known = pods.borrow_and_update().clone();
            match &known {
                None if resumed => condition.ready_with("MetalLB did not run when the state was saved"),
                None => condition.not_ready("not known yet whether MetalLB runs in this cluster"),
                Some(standby) if standby.holds() => {
                    condition.not_ready(format!("MetalLB runs: {}", standby.pods.join(", ")))
                }
                Some(_) => condition.ready(),
            }
            sender.send_replace(known.map(|standby| standby.holds()).or(resumed.then_some(false)));
            tokio::select! {
                changed = pods.changed() => if changed.is_err() { return },
                _ = offered(&mut offer) => resumed = true,
            }
        }
    });
    receiver
}
