//! The validating webhook: the API server asks about configuration objects before it stores them.
//!
//! Every replica answers, from the configuration as its driver knows it. All present the certificate in one Secret; which replica makes it,
//! and writes its authority where the API server reads it, does not matter: both writes are safe to repeat and to lose a race with. That is
//! why no leader is needed for it, and why it is also done in standby: neither object is MetalLB's.

mod apply;
mod upkeep;

use clap::{Args, ValueEnum};
use futures::FutureExt;
use herald_api::{admission, sources::Sources};
use herald_runtime::{
    admin::{AdminError, Review, Webhook, any_address},
    certificate::{Certificate, Shared, Source},
    metrics::{
        Collect, Counter,
        text::{Exposition, Kind},
    },
    readiness::{Readiness, Weight},
    shutdown::Shutdown,
    tls::TlsOptions,
};
use rustls::server::ResolvesServerCert;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How long the driver may take to answer: the API server waits a few seconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it takes until what the API server has is known here: a deleted object is first looked into (herald_runtime::served).
const HEARSAY: Duration = Duration::from_millis(700);

/// A request for the configuration as it is known; the driver answers `None` while it is not complete.
pub(crate) type SourcesRequest = oneshot::Sender<Option<Sources>>;

/// What the controller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Allocates, and answers the webhook.
    Enabled,
    /// Allocates.
    Disabled,
    /// Answers the webhook, and leaves everything else to another controller.
    Onlywebhook,
}

/// Settings of the webhook; MetalLB's names where the meaning is the same.
#[derive(Debug, Clone, Args)]
pub struct WebhookConfig {
    /// enabled, disabled, or onlywebhook: answer the webhook and leave everything else to another controller
    #[arg(long = "webhook-mode", value_enum, default_value_t = Mode::Enabled, hide_possible_values = true)]
    pub mode: Mode,
    /// Port of the webhook on all addresses; 0 = none
    #[arg(long = "webhook-port", default_value_t = 9443)]
    pub port: u16,
    /// Name of the Secret with the webhook's certificate; made when it is missing, renewed in time
    #[arg(long = "webhook-secret", default_value = "herald-webhook-cert")]
    pub secret: String,
    /// Name of the ValidatingWebhookConfiguration in which the certificate's authority is kept right
    #[arg(long = "webhook-configuration", default_value = "herald-webhook")]
    pub configuration: String,
    /// Name of the Service by which the API server reaches the webhook: what the certificate is for
    #[arg(long = "cert-service-name", default_value = "herald-webhook")]
    pub service: String,
    /// Present the certificate in --cert-dir and write neither Secret nor authority: somebody else does
    #[arg(long, requires = "cert_dir")]
    pub disable_cert_rotation: bool,
    /// Folder with tls.crt and tls.key for the webhook
    #[arg(long, requires = "disable_cert_rotation")]
    pub cert_dir: Option<PathBuf>,
}

/// A webhook that listens.
pub(crate) struct Bound {
    webhook: Webhook,
    /// `None`: the certificate is somebody else's business.
    shared: Option<Arc<Shared>>,
}

/// Listens; `None` when there shall be no webhook.
///
/// # Errors
/// An address that cannot be had, a certificate that cannot.
pub(crate) async fn bind(config: &WebhookConfig, tls: &TlsOptions) -> Result<Option<Bound>, AdminError> {
    match config.mode {
        Mode::Enabled | Mode::Onlywebhook if config.port != 0 => {
            listen(any_address(config.port), config, tls).await.map(Some)
        }
        _ => Ok(None),
    }
}

/// Listens at this address.
///
/// # Errors
/// See [`bind`].
pub(crate) async fn listen(address: SocketAddr, config: &WebhookConfig, tls: &TlsOptions) -> Result<Bound, AdminError> {
    let (certificates, shared): (Arc<dyn ResolvesServerCert>, _) = match &config.cert_dir {
        Some(folder) => (Arc::new(Certificate::new(Source::Files(folder.clone()), SystemTime::now())?), None),
        None => {
            let shared = Arc::new(Shared::default());
            (shared.clone(), Some(shared))
        }
    };
    Ok(Bound { webhook: Webhook::bind(address, certificates, tls).await?, shared })
}

/// What the webhook works with.
pub(crate) struct Parts {
    pub(crate) client: apply::Client,
    pub(crate) namespace: String,
    pub(crate) config: WebhookConfig,
    pub(crate) sources: mpsc::Sender<SourcesRequest>,
    pub(crate) metrics: Reviews,
    pub(crate) shutdown: Shutdown,
}

impl Bound {
    /// Where it listens.
    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.webhook.address().unwrap()
    }

    /// Serves until shutdown.
    pub(crate) fn start(self, parts: Parts, readiness: &Readiness) -> JoinHandle<()> {
        let Parts { client, namespace, config, sources, metrics, shutdown } = parts;
        // What is wrong here never keeps addresses from Services.
        let condition = readiness.condition("webhook", Weight::Informative);
        let review = review(sources, namespace.clone().into(), metrics);
        let certificate = match self.shared {
            Some(shared) => {
                let names = apply::Names {
                    dns: format!("{}.{namespace}.svc", config.service),
                    namespace,
                    secret: config.secret,
                    configuration: config.configuration,
                };
                apply::run(client, names, shared, condition, shutdown.clone()).boxed()
            }
            None => {
                condition.ready_with("certificate from --cert-dir");
                futures::future::ready(()).boxed()
            }
        };
        let serve = self.webhook.serve(review, shutdown);
        tokio::spawn(async move {
            tokio::join!(serve, certificate);
        })
    }
}

/// Answers questions from what the driver knows.
fn review(sources: mpsc::Sender<SourcesRequest>, namespace: Arc<str>, metrics: Reviews) -> Review {
    Arc::new(move |body| {
        let (sources, namespace, metrics) = (sources.clone(), namespace.clone(), metrics.clone());
        Box::pin(async move {
            let request = admission::read(&body).map_err(|error| {
                metrics.unreadable.inc();
                error.to_string()
            })?;
            let ask = async || {
                let exchange = async {
                    let (answer, receive) = oneshot::channel();
                    sources.send(answer).await.ok()?;
                    receive.await.ok().flatten()
                };
                let known = timeout(PATIENCE, exchange).await.ok().flatten();
                admission::review(&request, known, &namespace)
            };
            let mut answer = ask().await;
            let alone = || admission::review(&request, Some(Sources::default()), &namespace);
            if answer.refusal.is_some() && alone().refusal.is_none() {
                // Because of another object: who deletes one and creates another in its place at once is right, and we hear of it in a moment.
                sleep(HEARSAY).await;
                answer = ask().await;
            }
            match &answer.refusal {
                Some(refusal) => {
                    metrics.refused.inc();
                    // Whoever asked is told; anybody who reaches the port may ask.
                    tracing::debug!(%request, refusal, "refused");
                }
                None => metrics.allowed.inc(),
            }
            answer.to_review(&request.uid).map_err(|error| error.to_string())
        })
    })
}

/// How reviews ended. Clones share the numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reviews {
    allowed: Counter,
    refused: Counter,
    unreadable: Counter,
}

impl Collect for Reviews {
    fn collect(&self, out: &mut Exposition) {
        let mut family = out.family(
            Kind::Counter,
            "herald_webhook_reviews_total",
            "Questions of the API server about configuration objects, by how they were answered.",
        );
        for (result, count) in
            [("allowed", &self.allowed), ("refused", &self.refused), ("unreadable", &self.unreadable)]
        {
            family.sample(&[("result", &result)], count.get());
        }
    }
}
