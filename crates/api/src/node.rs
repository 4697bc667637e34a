//! Nodes.

use crate::pod::Condition;
use herald_core::{NodeName, node::Node};
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::Deserialize;

/// Label that keeps a node out of load balancing, whatever its value (a Kubernetes well-known label).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What is read of a Node: a list of a hundred with all their images would be megabytes.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = "core::Node")]
pub struct Object {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    addresses: Vec<Address>,
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    type_: String,
    address: String,
}

/// What the rules need of a Node. Ready, cordon and taints are not looked at: MetalLB tried cordon and took it back (its 0.15.0).
#[must_use]
pub fn from_object(object: &Object) -> Node {
    let Object { metadata, status } = object;
    let internal = status.addresses.iter().filter(|address| address.type_ == "InternalIP");
    Node {
        name: NodeName::new(metadata.name.clone().unwrap_or_default()),
        labels: metadata.labels.iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        excluded: metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDE_LABEL)),
        network_unavailable: status.conditions.iter().any(|it| it.holds("NetworkUnavailable")),
        internal_ips: internal.filter_map(|address| address.address.parse().ok()).collect(),
    }
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
}
