//! Which nodes a speaker misses, told on its ConfigurationState: an object of its own that it has anyway. A condition beside the one about the
//! configuration, of another field manager.

use crate::crd::{ConfigurationState, ConfigurationStateStatus, NODE_NAME_LABEL};
use herald_core::NodeName;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Field manager of the condition.
pub const MANAGER: &str = "peerReconciler";
/// Its type.
pub(crate) const CONDITION: &str = "peersReachable";

fn condition(status: &ConfigurationStateStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == CONDITION)
}

/// The nodes that a status says are missed.
#[must_use]
pub fn missed(status: &ConfigurationStateStatus) -> BTreeSet<NodeName> {
    let condition = condition(status).filter(|condition| condition.status == "False");
    condition.into_iter().flat_map(|condition| condition.message.split(", ")).map(NodeName::from).collect()
}

/// The node of the speaker that an object is of, and what it misses; `None` when it is of none.
#[must_use]
pub fn report(object: &ConfigurationState) -> Option<(NodeName, BTreeSet<NodeName>)> {
    let node = object.metadata.labels.as_ref()?.get(NODE_NAME_LABEL)?;
    // What is of a speaker has the name of its node: another object with that label says nothing.
    (object.metadata.name.as_deref() == Some(&*format!("speaker-{node}")))
        .then(|| (NodeName::from(node.as_str()), object.status.as_ref().map(missed).unwrap_or_default()))
}

/// The object to apply to the status.
#[must_use]
pub fn apply(name: &str, missed: &BTreeSet<NodeName>, now: Timestamp) -> Value {
    let message = missed.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
    let condition = Condition {
        type_: CONDITION.to_owned(),
        status: if missed.is_empty() { "True" } else { "False" }.to_owned(),
        reason: if missed.is_empty() { "Heard" } else { "Silent" }.to_owned(),
        message,
        last_transition_time: Time(now),
        observed_generation: None,
    };
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ConfigurationState",
        "metadata": { "name": name },
        "status": { "conditions": [condition] },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_applied_is_read_back() {
        let read = |names: &[&str]| -> ConfigurationState {
            let names = names.iter().map(|name| NodeName::from(*name)).collect();
            let mut object = apply("speaker-a", &names, Timestamp::UNIX_EPOCH);
            object["metadata"]["labels"] = json!({ NODE_NAME_LABEL: "a" });
            serde_json::from_value(object).unwrap()
        };
        for names in [&[][..], &["b"], &["b", "c.example"]] {
            let (node, missed) = report(&read(names)).unwrap();
            assert_eq!(node, "a".into());
            assert!(missed.iter().map(NodeName::as_str).eq(names.iter().copied()));
        }
        let mut other = read(&["b"]);
        other.metadata.name = Some("mine".to_owned());
        assert_eq!(report(&other), None);
        other.metadata.labels = None;
        assert_eq!(report(&other), None);
    }
}
