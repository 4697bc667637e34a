//! L2Advertisement and BGPAdvertisement.

use super::NoStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which pools are announced by ARP and NDP, for which Services, by which nodes, on which interfaces. Empty: all of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "L2Advertisement",
    plural = "l2advertisements",
    doc = "Announces the addresses of pools by ARP and NDP.",
    namespaced,
    status = "NoStatus",
    printcolumn = r#"{"name": "IPAddressPools", "type": "string", "jsonPath": ".spec.ipAddressPools"}"#,
    printcolumn = r#"{"name": "IPAddressPool Selectors", "type": "string", "jsonPath": ".spec.ipAddressPoolSelectors"}"#,
    printcolumn = r#"{"name": "Interfaces", "type": "string", "jsonPath": ".spec.interfaces"}"#,
    printcolumn = r#"{"name": "Node Selectors", "type": "string", "jsonPath": ".spec.nodeSelectors", "priority": 10}"#
)]
#[serde(rename_all = "camelCase")]
pub struct L2AdvertisementSpec {
    /// Pools by name. Without names and selectors: all pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address_pools: Option<Vec<String>>,
    /// Pools by label, in addition to those by name: one of the selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address_pool_selectors: Option<Vec<LabelSelector>>,
    /// Nodes that may announce: one of the selectors. Empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selectors: Option<Vec<LabelSelector>>,
    /// Interfaces by name; a node without them announces nothing. Empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<String>>,
    /// Services of the pools by label: one of the selectors. Empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_selectors: Option<Vec<LabelSelector>>,
    /// Which of the nodes are preferred: the weights of all that match a node are added, the highest sum announces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_node_selectors: Option<Vec<PreferredNodeSelector>>,
}

/// A preference for nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PreferredNodeSelector {
    /// 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i64,
    /// For these nodes; empty: for all that the advertisement allows.
    pub preference: LabelSelector,
}

/// Which pools are announced by BGP, for which Services, by which nodes, to which peers, and with what. Empty: all of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    plural = "bgpadvertisements",
    doc = "Announces the addresses of pools by BGP.",
    namespaced,
    status = "NoStatus",
    printcolumn = r#"{"name": "IPAddressPools", "type": "string", "jsonPath": ".spec.ipAddressPools"}"#,
    printcolumn = r#"{"name": "IPAddressPool Selectors", "type": "string", "jsonPath": ".spec.ipAddressPoolSelectors"}"#,
    printcolumn = r#"{"name": "Peers", "type": "string", "jsonPath": ".spec.peers"}"#,
    printcolumn = r#"{"name": "Node Selectors", "type": "string", "jsonPath": ".spec.nodeSelectors", "priority": 10}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || !has(self.aggregationLength) || self.aggregationLength == 32",
        "serviceSelectors and aggregationLength are mutually exclusive: remove one"
    ),
    validation = (
        "!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || !has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128",
        "serviceSelectors and aggregationLengthV6 are mutually exclusive: remove one"
    )
)]
pub struct BGPAdvertisementSpec {
    /// Length of the announced IPv4 prefixes; not shorter than the pool's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), default = "aggregation_length")]
    pub aggregation_length: Option<i64>,
    /// Length of the announced IPv6 prefixes; not shorter than the pool's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default = "aggregation_length_v6")]
    pub aggregation_length_v6: Option<i64>,
    /// LOCAL_PREF for internal peers: the highest wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<i64>,
    /// Communities: 64512:1, large:64512:1:2, or a name from a Community object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<Vec<String>>,
    /// Pools by name. Without names and selectors: all pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address_pools: Option<Vec<String>>,
    /// Pools by label, in addition to those by name: one of the selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address_pool_selectors: Option<Vec<LabelSelector>>,
    /// Nodes that announce: one of the selectors. Empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selectors: Option<Vec<LabelSelector>>,
    /// BGPPeer objects by name. Empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<String>>,
    /// Services of the pools by label: one of the selectors. Empty: all. Only without aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_selectors: Option<Vec<LabelSelector>>,
}

const fn aggregation_length() -> Option<i64> {
    Some(32)
}

const fn aggregation_length_v6() -> Option<i64> {
    Some(128)
}
