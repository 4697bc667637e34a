//! Nodes.

use herald_core::{NodeName, node::Node};
use k8s_openapi::api::core::v1 as core;

/// Label that keeps a node out of load balancing, whatever its value (a Kubernetes well-known label).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What the rules need of a Node. Ready, cordon and taints are not looked at: MetalLB tried cordon and took it back (its 0.15.0).
#[must_use]
pub fn from_object(object: &core::Node) -> Node {
    let status = object.status.as_ref();
    Node {
        name: NodeName::new(object.metadata.name.clone().unwrap_or_default()),
        labels: object.metadata.labels.iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        excluded: object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDE_LABEL)),
        network_unavailable: status
            .and_then(|status| status.conditions.as_ref())
            .is_some_and(|all| all.iter().any(|c| c.type_ == "NetworkUnavailable" && c.status == "True")),
        internal_ips: status
            .and_then(|status| status.addresses.as_ref())
            .map(|all| {
                all.iter()
                    .filter(|address| address.type_ == "InternalIP")
                    .filter_map(|address| address.address.parse().ok())
                    .collect()
            })
            .unwrap_or_default(),
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
