//! Nodes.

use crate::{
    annotations::{self, EVACUATE_UNTIL},
    pod::Condition,
};
use herald_core::{
    NodeName,
    node::{Evacuation, Node},
};
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::Deserialize;
use std::net::SocketAddr;

/// Label that keeps a node out of load balancing, whatever its value (a Kubernetes well-known label).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Taint, of any effect, that has a node give its addresses away while its speaker stays.
pub const EVACUATE_TAINT: &str = "herald.io/evacuate";
/// Taint of a node that is out of service (a Kubernetes well-known taint).
const OUT_OF_SERVICE_TAINT: &str = "node.kubernetes.io/out-of-service";
/// Taint of the cluster autoscaler on a node that it drains and removes.
const TO_BE_DELETED_TAINT: &str = "ToBeDeletedByClusterAutoscaler";
/// What kubelet says in condition Ready from the beginning of its graceful shutdown on.
const SHUTTING_DOWN: &str = "node is shutting down";

/// What is read of a Node: a list of a hundred with all their images would be megabytes.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = "core::Node")]
pub struct Object {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    #[serde(default)]
    taints: Vec<Taint>,
}

#[derive(Debug, Clone, Deserialize)]
struct Taint {
    key: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    addresses: Vec<Address>,
    #[serde(default, rename = "daemonEndpoints")]
    endpoints: Endpoints,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Endpoints {
    #[serde(rename = "kubeletEndpoint")]
    kubelet: Option<Endpoint>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    port: u16,
}

/// Type of the condition of a Node that Herald fenced.
pub const FENCED: &str = "HeraldFenced";

/// Port of kubelets that do not say theirs.
const KUBELET_PORT: u16 = 10250;

/// Whether Herald fenced it.
#[must_use]
pub fn is_fenced(object: &Object) -> bool {
    object.status.conditions.iter().any(|it| it.holds(FENCED))
}

/// Where its kubelet listens: at each of its InternalIPs.
#[must_use]
pub fn kubelet(object: &Object) -> Vec<SocketAddr> {
    let port = object.status.endpoints.kubelet.as_ref().map_or(KUBELET_PORT, |endpoint| endpoint.port);
    from_object(object).internal_ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    type_: String,
    address: String,
}

/// What the rules need of a Node. Ready, as far as it says no more, cordon and other taints are not looked at: MetalLB tried cordon and took
/// it back (its 0.15.0).
#[must_use]
pub fn from_object(object: &Object) -> Node {
    let Object { metadata, status, .. } = object;
    let internal = status.addresses.iter().filter(|address| address.type_ == "InternalIP");
    Node {
        name: NodeName::new(metadata.name.clone().unwrap_or_default()),
        labels: metadata.labels.iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        excluded: metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDE_LABEL)),
        network_unavailable: status.conditions.iter().any(|it| it.holds("NetworkUnavailable")),
        evacuation: evacuation(object),
        internal_ips: internal.filter_map(|address| address.address.parse().ok()).collect(),
    }
}

/// The first of its reasons; what ends by itself counts last. An annotation that cannot be read counts for nothing:
/// [`problem`] tells.
fn evacuation(object: &Object) -> Option<Evacuation> {
    let has = |key: &str| object.spec.taints.iter().any(|taint| taint.key == key);
    if object.status.conditions.iter().any(|it| it.fails_saying("Ready", SHUTTING_DOWN)) {
        Some(Evacuation::ShuttingDown)
    } else if has(OUT_OF_SERVICE_TAINT) {
        Some(Evacuation::OutOfService)
    } else if has(TO_BE_DELETED_TAINT) {
        Some(Evacuation::ToBeDeleted)
    } else if has(EVACUATE_TAINT) {
        Some(Evacuation::Tainted)
    } else {
        asked(object)?.ok().map(|until| Evacuation::Asked { until })
    }
}

fn asked(object: &Object) -> Option<Result<i64, String>> {
    let value = object.metadata.annotations.as_ref()?.get(EVACUATE_UNTIL)?;
    Some(annotations::moment(EVACUATE_UNTIL, value))
}

/// What is wrong with its annotations, and what to do about it.
#[must_use]
pub fn problem(object: &Object) -> Option<String> {
    asked(object)?.err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(yaml: &str) -> Node {
        from_object(&serde_saphyr::from_str(yaml).unwrap())
    }

    #[test]
    fn plain_node() {
        let node = node(
            "metadata: {name: w1, labels: {a: b}}\nstatus:\n  conditions: [{type: Ready, status: 'False'}, {type: NetworkUnavailable, status: 'False'}]\n  \
             addresses: [{type: Hostname, address: w1}, {type: InternalIP, address: 192.168.56.101}, {type: InternalIP, address: 'fd56::65'}]\n",
        );
        assert_eq!(node.name.as_str(), "w1");
        assert!(!node.excluded && !node.network_unavailable);
        assert_eq!(
            node.internal_ips.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.168.56.101", "fd56::65"]
        );
    }

    #[test]
    fn fenced_and_its_kubelet() {
        let object: Object = serde_saphyr::from_str(
            "metadata: {name: w1}\nstatus:\n  conditions: [{type: HeraldFenced, status: 'True'}]\n  \
             addresses: [{type: InternalIP, address: 192.168.56.101}]\n  daemonEndpoints: {kubeletEndpoint: {Port: 10251}}\n",
        )
        .unwrap();
        assert!(is_fenced(&object));
        assert_eq!(kubelet(&object), ["192.168.56.101:10251".parse().unwrap()]);
        let silent: Object = serde_saphyr::from_str(
            "metadata: {name: w1}\nstatus: {conditions: [{type: HeraldFenced, status: 'False'}], addresses: [{type: InternalIP, address: 'fd56::65'}]}\n",
        )
        .unwrap();
        assert!(!is_fenced(&silent));
        assert_eq!(kubelet(&silent), ["[fd56::65]:10250".parse().unwrap()]);
    }

    #[test]
    fn excluded_by_label_of_any_value_and_network_unavailable() {
        let node = node(
            "metadata: {name: w1, labels: {node.kubernetes.io/exclude-from-external-load-balancers: 'false'}}\n\
             status: {conditions: [{type: NetworkUnavailable, status: 'True'}]}\n",
        );
        assert!(node.excluded && node.network_unavailable);
        let unknown = super::tests::node(
            "metadata: {name: w1}\nstatus: {conditions: [{type: NetworkUnavailable, status: Unknown}]}\n",
        );
        assert!(!unknown.network_unavailable);
    }

    #[test]
    fn a_cordon_and_being_not_ready_move_nothing() {
        let cordoned = "spec: {unschedulable: true, taints: [{key: node.kubernetes.io/unschedulable, effect: NoSchedule},\n\
                        {key: node.kubernetes.io/not-ready, effect: NoExecute}]}\n";
        let status = "status: {conditions: [{type: Ready, status: 'False', message: container runtime is down}]}\n";
        assert_eq!(node(&format!("metadata: {{name: w1}}\n{cordoned}{status}")).evacuation, None);
    }

    #[test]
    fn reasons_to_give_addresses_away() {
        let taint = |key: &str| {
            node(&format!("metadata: {{name: w1}}\nspec: {{taints: [{{key: {key}, effect: NoSchedule}}]}}\n"))
        };
        assert_eq!(taint("node.kubernetes.io/out-of-service").evacuation, Some(Evacuation::OutOfService));
        assert_eq!(taint("ToBeDeletedByClusterAutoscaler").evacuation, Some(Evacuation::ToBeDeleted));
        assert_eq!(taint("herald.io/evacuate").evacuation, Some(Evacuation::Tainted));
        let message = "message: '[container runtime is down, node is shutting down]'";
        let shutdown = node(&format!(
            "metadata: {{name: w1}}\nstatus: {{conditions: [{{type: Ready, status: 'False', {message}}}]}}\n"
        ));
        assert_eq!(shutdown.evacuation, Some(Evacuation::ShuttingDown));
    }

    #[test]
    fn an_annotation_asks_until_a_moment() {
        let asked = |value: &str| -> Object {
            serde_saphyr::from_str(&format!(
                "metadata: {{name: w1, annotations: {{herald.io/evacuate-until: '{value}'}}}}\n"
            ))
            .unwrap()
        };
        let object = asked("1970-01-01T00:01:00Z");
        let evacuation = from_object(&object).evacuation.unwrap();
        assert_eq!((evacuation, problem(&object)), (Evacuation::Asked { until: 60 }, None));
        assert_eq!((evacuation.is_over(59), evacuation.is_over(60)), (false, true));
        let broken = asked("soon");
        assert_eq!(from_object(&broken).evacuation, None);
        assert!(problem(&broken).unwrap().contains("herald.io/evacuate-until is \"soon\""));
    }
}
