//! IPAddressPool.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a pool has and who may get it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "IPAddressPool",
    plural = "ipaddresspools",
    doc = "A pool of IP addresses that LoadBalancer Services get their addresses from.",
    namespaced,
    status = "IPAddressPoolStatus",
    printcolumn = r#"{"name": "Auto Assign", "type": "boolean", "jsonPath": ".spec.autoAssign"}"#,
    printcolumn = r#"{"name": "Avoid Buggy IPs", "type": "boolean", "jsonPath": ".spec.avoidBuggyIPs"}"#,
    printcolumn = r#"{"name": "Addresses", "type": "string", "jsonPath": ".spec.addresses"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolSpec {
    /// Ranges of addresses, IPv4 and IPv6: a CIDR, or first-last. One address is a.b.c.d/32. No address may be in two ranges.
    #[schemars(length(max = 10000), inner(length(max = 100)))]
    #[x_kube(
        validation = ("self.size() > 0", "a pool has at least one range: add one"),
        validation = (
            "self.all(range, range.contains('/') || range.contains('-'))",
            "write a CIDR (192.0.2.0/24), a range (192.0.2.10-192.0.2.20), or a single address as 192.0.2.10/32"
        )
    )]
    pub addresses: Vec<String>,
    /// Whether Services that name neither pool nor address may get one from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default = "auto_assign")]
    pub auto_assign: Option<bool>,
    /// Leave out IPv4 addresses that end in .0 or .255: some old devices drop them.
    #[serde(rename = "avoidBuggyIPs", skip_serializing_if = "Option::is_none")]
    #[schemars(default = "avoid_buggy_ips")]
    pub avoid_buggy_ips: Option<bool>,
    /// Which Services the pool is for. A pool with this comes before pools without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
}

const fn auto_assign() -> Option<bool> {
    Some(true)
}

const fn avoid_buggy_ips() -> Option<bool> {
    Some(false)
}

/// Which Services a pool is for: the namespace fits and the Service fits. Empty: all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Among the pools that fit, the one with the lowest number comes first; 0 and no number come last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Namespaces by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Namespaces by label, in addition to those by name: one of the selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selectors: Option<Vec<LabelSelector>>,
    /// Services by label: one of the selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_selectors: Option<Vec<LabelSelector>>,
}

/// How much of a pool is in use. Counts addresses, not Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IPAddressPoolStatus {
    /// IPv4 addresses in use.
    #[serde(rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses in use.
    #[serde(rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// Free IPv4 addresses.
    #[serde(rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// Free IPv6 addresses; 9223372036854775807 when there are 2^62 or more.
    #[serde(rename = "availableIPv6")]
    pub available_ipv6: i64,
}
