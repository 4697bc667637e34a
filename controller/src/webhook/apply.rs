//! Keeps the Secret with the certificate and the `caBundle` of the ValidatingWebhookConfiguration right.

use super::upkeep::{Known, Registered, Step, Stored, bundle};
use herald_runtime::{
    certificate::{CertificateError, Issued, Shared, issue},
    client::{CallError, bounded},
    readiness::Condition,
    shutdown::Shutdown,
    watch::{self, Change, Objects},
};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
pub(super) use kube::Client;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::mpsc, time::sleep};

/// Pause after a write that failed.
const RETRY: Duration = Duration::from_secs(5);
/// How often the certificate's age is looked at.
const LOOK: Duration = Duration::from_secs(3600);

/// Annotation of a Secret that Herald made: when the certificate was made.
const ISSUED_AT: &str = "herald.metallb.io/issued-at";
/// Annotation of a Secret that Herald made: the DNS name that the certificate is for.
const ISSUED_FOR: &str = "herald.metallb.io/issued-for";

/// What is kept right.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) namespace: String,
    pub(super) secret: String,
    pub(super) configuration: String,
    /// What the certificate is for.
    pub(super) dns: String,
}

enum Input {
    Secret(Change<(Stored, Pair)>),
    Registered(Change<Registered>),
}

/// Certificate and key as PEM.
#[derive(Clone)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Runs until shutdown.
pub(super) async fn run(client: Client, names: Names, shared: Arc<Shared>, condition: Condition, shutdown: Shutdown) {
    let ended = shutdown.clone();
    tokio::select! {
        () = keep(client, names, &shared, &condition, shutdown) => {}
        () = ended.wait() => {}
    }
}

async fn keep(client: Client, names: Names, shared: &Shared, condition: &Condition, shutdown: Shutdown) {
    let (tx, mut inputs) = mpsc::channel(8);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &names.namespace);
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    watch::spawn(
        Objects::<Secret>::namespaced(client.clone(), &names.namespace),
        watch::config().fields(&format!("metadata.name={}", names.secret)),
        |secret: Secret| Some(stored(&secret)),
        Input::Secret,
        tx.clone(),
        shutdown.clone(),
    );
    watch::spawn(
        Objects::<ValidatingWebhookConfiguration>::all(client),
        watch::config().fields(&format!("metadata.name={}", names.configuration)),
        |configuration: ValidatingWebhookConfiguration| Some(registered(&configuration)),
        Input::Registered,
        tx,
        shutdown,
    );
    let mut known = Known::default();
    loop {
        let (ready, detail) = known.detail();
        if ready {
            condition.ready_with(detail);
        } else {
            condition.not_ready(detail);
        }
        let pause = match known.step(&names.dns, SystemTime::now()) {
            None => LOOK,
            Some(step) => match carry_out(step, &names, &secrets, &configurations, &mut known, shared).await {
                Ok(()) => continue,
                // Another replica was faster: what it wrote is on its way here.
                Err(StepError::Call(error)) if error.is_conflict() => RETRY,
                Err(error) => {
                    tracing::warn!(%error, secret = names.secret, configuration = names.configuration, "webhook: not written");
                    RETRY
                }
            },
        };
        let input = tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => input,
                None => return,
            },
            () = sleep(pause) => continue,
        };
        match input {
            Input::Secret(change) => {
                if let Some(now) = of_one(change) {
                    known.secret = Some(now.map(|(stored, pair)| in_force(stored, &pair, shared, &names.secret)));
                }
            }
            Input::Registered(change) => {
                if let Some(now) = of_one(change) {
                    known.registered = Some(now);
                }
            }
        }
    }
}

/// What a change says about the only object that is watched; `None`: nothing.
fn of_one<T>(change: Change<T>) -> Option<Option<T>> {
    match change {
        Change::Reset { mut objects, .. } => Some(objects.pop_first().map(|(_, value)| value)),
        Change::Set { value, .. } => Some(Some(value)),
        Change::Gone { .. } => Some(None),
        _ => None,
    }
}

async fn carry_out(
    step: Step,
    names: &Names,
    secrets: &Api<Secret>,
    configurations: &Api<ValidatingWebhookConfiguration>,
    known: &mut Known,
    shared: &Shared,
) -> Result<(), StepError> {
    let parameters = PostParams::default();
    let written = match step {
        Step::Create => {
            let secret = secret(names, "", None)?;
            let written = bounded(secrets.create(&parameters, &secret)).await?;
            tracing::info!(secret = names.secret, dns = names.dns, "webhook: certificate made");
            written
        }
        Step::Renew { version, old } => {
            let secret = secret(names, &old, Some(version))?;
            let written = bounded(secrets.replace(&names.secret, &parameters, &secret)).await?;
            tracing::info!(secret = names.secret, dns = names.dns, "webhook: certificate renewed");
            written
        }
        Step::Register { bundle, webhooks } => {
            let ca = ByteString(bundle.into_bytes());
            let webhooks: Vec<_> =
                webhooks.iter().map(|name| json!({ "name": name, "clientConfig": { "caBundle": ca } })).collect();
            // Strategic: the list is merged by name, and everything else in it stays.
            let patch = Patch::Strategic(json!({ "webhooks": webhooks }));
            let parameters = PatchParams::default();
            let patched = bounded(configurations.patch(&names.configuration, &parameters, &patch)).await?;
            known.registered = Some(Some(registered(&patched)));
            tracing::info!(configuration = names.configuration, "webhook: the API server knows whom to trust");
            return Ok(());
        }
    };
    let (stored, pair) = stored(&written);
    known.secret = Some(Some(in_force(stored, &pair, shared, &names.secret)));
    Ok(())
}

/// From here on handshakes get it.
fn in_force(stored: Stored, pair: &Pair, shared: &Shared, name: &str) -> Stored {
    match shared.put(&format!("Secret {name}"), &pair.certificate, &pair.key) {
        Ok(()) => Stored { usable: true, ..stored },
        Err(error) => {
            tracing::warn!(%error, "webhook: the certificate cannot be used");
            Stored { usable: false, ..stored }
        }
    }
}

fn secret(names: &Names, old: &str, version: Option<String>) -> Result<Secret, CertificateError> {
    let Issued { authority, certificate, key } = issue(std::slice::from_ref(&names.dns), SystemTime::now())?;
    let data = [("ca.crt", bundle(&authority, old)), ("tls.crt", certificate), ("tls.key", key)];
    let annotations = [(ISSUED_AT, Timestamp::now().to_string()), (ISSUED_FOR, names.dns.clone())];
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(names.secret.clone()),
            resource_version: version,
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value)).into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).into()),
        ..Secret::default()
    })
}

fn stored(secret: &Secret) -> (Stored, Pair) {
    let data = |key: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value.map(|value| value.0.clone()).unwrap_or_default()
    };
    let none = BTreeMap::new();
    let annotations = secret.metadata.annotations.as_ref().unwrap_or(&none);
    let made = annotations.get(ISSUED_AT).and_then(|text| text.parse::<Timestamp>().ok());
    let stored = Stored {
        version: secret.metadata.resource_version.clone().unwrap_or_default(),
        ours: made.map(SystemTime::from).zip(annotations.get(ISSUED_FOR).cloned()),
        authority: String::from_utf8(data("ca.crt")).unwrap_or_default(),
        usable: false,
    };
    (stored, Pair { certificate: data("tls.crt"), key: data("tls.key") })
}

fn registered(configuration: &ValidatingWebhookConfiguration) -> Registered {
    let bundle = |bundle: Option<&ByteString>| {
        bundle.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
    };
    let webhooks = configuration.webhooks.iter().flatten();
    let bundles = webhooks.map(|webhook| (webhook.name.clone(), bundle(webhook.client_config.ca_bundle.as_ref())));
    Registered(bundles.collect())
}
