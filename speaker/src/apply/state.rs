//! ConfigurationState `speaker-<node>`: whether the configuration is valid for this node.

use super::{RETRY, Says};
use crate::observe::Client;
use herald_api::crd::{
    COMPONENT_TYPE_LABEL, ConfigurationResult, ConfigurationState, ConfigurationStateStatus, NODE_NAME_LABEL,
};
use herald_runtime::client::{CallError, bounded};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::sleep;

/// Field manager of the status: MetalLB's, as tools look for it.
const MANAGER: &str = "configReconciler";
/// Type of the condition, MetalLB's.
const CONDITION: &str = "configReconcilerValid";
/// What names of speakers' objects begin with.
pub(super) const PREFIX: &str = "speaker-";

/// Writes until nobody says anything any more.
pub(super) async fn run(client: Client, mut says: Says, owner: Option<OwnerReference>) {
    let api: Api<ConfigurationState> = Api::namespaced(client, &says.namespace);
    let name = format!("{PREFIX}{}", says.node);
    loop {
        let mut pause = says.pause();
        let summary = says.summary.borrow_and_update().clone();
        match (says.served.serves::<ConfigurationState>(), summary) {
            (Some(true), Some(summary)) if says.may_write() => {
                if let Err(error) = ensure(&api, &name, &says, owner.as_ref(), &summary).await {
                    tracing::warn!(%error, name, "ConfigurationState cannot be written; retrying");
                    pause = RETRY;
                }
            }
            (Some(false), _) => says.served.look_again(),
            // Soon known.
            _ => pause = RETRY,
        }
        tokio::select! {
            changed = says.summary.changed() => if changed.is_err() { return },
            changed = says.standby.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

async fn ensure(
    api: &Api<ConfigurationState>,
    name: &str,
    says: &Says,
    owner: Option<&OwnerReference>,
    summary: &str,
) -> Result<(), CallError> {
    let found = bounded(api.get_opt(name)).await?;
    let before = match found {
        Some(object) => object.status.unwrap_or_default(),
        None => {
            let labels = [
                (COMPONENT_TYPE_LABEL.to_owned(), "speaker".to_owned()),
                (NODE_NAME_LABEL.to_owned(), says.node.to_string()),
            ];
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.into()),
                owner_references: owner.cloned().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            };
            bounded(api.create(&PostParams::default(), &ConfigurationState { metadata, status: None })).await?;
            ConfigurationStateStatus::default()
        }
    };
    let wanted = status(summary, &before);
    if wanted == before {
        return Ok(());
    }
    let patch = Patch::Apply(json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ConfigurationState",
        "metadata": { "name": name },
        // The summary also when it is empty: another manager's would stay otherwise.
        "status": { "result": wanted.result, "errorSummary": wanted.error_summary, "conditions": wanted.conditions },
    }));
    bounded(api.patch_status(name, &PatchParams::apply(MANAGER).force(), &patch)).await.map(drop)
}

/// The status; the time of the last transition stays while the result does.
fn status(summary: &str, before: &ConfigurationStateStatus) -> ConfigurationStateStatus {
    let (result, holds, reason) = if summary.is_empty() {
        (ConfigurationResult::Valid, "True", "Reconciled")
    } else {
        (ConfigurationResult::Invalid, "False", "ConfigurationError")
    };
    let same = before.conditions.iter().find(|condition| condition.type_ == CONDITION && condition.status == holds);
    let since = same.map(|condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: CONDITION.to_owned(),
        status: holds.to_owned(),
        reason: reason.to_owned(),
        message: summary.to_owned(),
        last_transition_time: since.unwrap_or_else(|| Time(whole_seconds())),
        observed_generation: None,
    };
    ConfigurationStateStatus { result: Some(result), error_summary: summary.to_owned(), conditions: vec![condition] }
}

/// The API keeps whole seconds; what is read back compares equal.
fn whole_seconds() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}
