//! The only writer: Service status, Events, and what is reported about pools and configuration.

pub(crate) mod report;

use crate::{
    deprecated::News,
    state::{Outcome, Settled, Write},
};
use herald_api::{
    event::{About, Kind, Notice, ServiceEvent},
    service,
    sources::Problem,
};
use herald_core::{ServiceKey, allocate::Event};
use herald_runtime::{
    client::{CallError, within},
    events::EventWriter,
};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, ResourceExt,
    api::{PartialObjectMeta, Patch, PatchParams},
};
use std::{sync::Arc, time::Duration};

/// Bound of one write. Together with the 10 s for which a leader goes on without renewing its lease this is no more than the 15 s after
/// which another may take over: whatever an old leader sent has arrived or failed when the new one makes its first list.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Carries out a write.
pub(crate) async fn write(client: Client, write: Write) -> (Write, Outcome) {
    // Of the answer only the resourceVersion is of interest.
    let api: Api<PartialObjectMeta<Service>> = Api::namespaced(client, &write.key.namespace);
    let patch = Patch::Merge(service::status_patch(write.assignment.as_ref(), &write.version));
    let result = within(WRITE_TIMEOUT, api.patch_status(&write.key.name, &PatchParams::default(), &patch)).await;
    let outcome = match result {
        Ok(object) => {
            let addresses = write.assignment.as_ref().map(|assignment| &assignment.addresses);
            let pool = write.assignment.as_ref().map_or("", |assignment| assignment.pool.as_str());
            tracing::info!(service = %write.key, ?addresses, pool, "status written");
            Outcome::Done(object.resource_version().unwrap_or_default())
        }
        Err(error) => {
            let outcome = judge(&error);
            tracing::warn!(service = %write.key, %error, ?outcome, "status not written");
            outcome
        }
    };
    (write, outcome)
}

/// What an error says about the write. Only a refusal of the request as such says that nothing happened.
fn judge(error: &CallError) -> Outcome {
    match error {
        CallError::Api(kube::Error::Api(status))
            if (400..500).contains(&status.code) && !matches!(status.code, 404 | 408 | 409 | 429) =>
        {
            Outcome::Refused
        }
        _ => Outcome::Unresolved,
    }
}

/// The metric label of how a write ended.
pub(crate) const fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) => "done",
        Outcome::Unresolved => "unresolved",
        Outcome::Refused => "refused",
    }
}

/// Tells the user what a settled write was about.
pub(crate) fn tell_settled(events: &EventWriter, settled: &Settled) {
    tell(events, &settled.key, &settled.uid, &settled.promise.events);
}

/// Tells the user what happened to a Service.
pub(crate) fn tell(writer: &EventWriter, key: &ServiceKey, uid: &Arc<str>, events: &[Event]) {
    for event in events {
        publish(writer, key, uid, ServiceEvent::from_allocation(key, event));
    }
}

/// Tells the user that a Service has an annotation under MetalLB's old prefix.
pub(crate) fn tell_deprecated(writer: &EventWriter, news: &News) {
    publish(writer, &news.service, &news.uid, ServiceEvent::deprecated_annotation(news.key));
}

/// Tells the user that annotations of `herald move` on a Service cannot be read.
pub(crate) fn tell_unread_move(writer: &EventWriter, service: &ServiceKey, uid: &Arc<str>, problem: &str) {
    publish(writer, service, uid, ServiceEvent::unread_move(problem));
}

fn publish(writer: &EventWriter, key: &ServiceKey, uid: &Arc<str>, event: ServiceEvent) {
    let ServiceEvent { reason, kind, message } = &event;
    match kind {
        // What was assigned is logged when it is written.
        Kind::Normal => tracing::debug!(service = %key, reason, "{message}"),
        Kind::Warning => tracing::warn!(service = %key, reason, "{message}"),
    }
    writer.publish(event.on(key, uid));
}

/// Tells the user that a configuration object has a mistake. Logged elsewhere.
pub(crate) fn tell_problem(writer: &EventWriter, namespace: &str, problem: &Problem, message: &str) {
    // Events are limited to 1,024 bytes of message by the API.
    let message: String = message.chars().take(900).collect();
    writer.publish(Notice {
        about: About::config(&problem.object, namespace, &problem.uid),
        kind: Kind::Warning,
        reason: "InvalidConfiguration",
        message,
    });
}
