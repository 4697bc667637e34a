//! BFDProfile and Community.

use super::NoStatus;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Timing of BFD sessions (RFC 5880).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BFDProfile",
    plural = "bfdprofiles",
    doc = "Settings of BFD sessions, for BGP peers that name it.",
    namespaced,
    status = "NoStatus",
    printcolumn = r#"{"name": "Passive Mode", "type": "boolean", "jsonPath": ".spec.passiveMode"}"#,
    printcolumn = r#"{"name": "Transmit Interval", "type": "integer", "jsonPath": ".spec.transmitInterval"}"#,
    printcolumn = r#"{"name": "Receive Interval", "type": "integer", "jsonPath": ".spec.receiveInterval"}"#,
    printcolumn = r#"{"name": "Multiplier", "type": "integer", "jsonPath": ".spec.detectMultiplier"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BFDProfileSpec {
    /// Milliseconds between packets that we can receive at best.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub receive_interval: Option<i64>,
    /// Milliseconds between packets that we want to send at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub transmit_interval: Option<i64>,
    /// After how many missed packets the session is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 255))]
    pub detect_multiplier: Option<i64>,
    /// Milliseconds between echo packets that we can receive at best.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub echo_interval: Option<i64>,
    /// Use the echo function; not for multi-hop sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo_mode: Option<bool>,
    /// Wait for the peer to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive_mode: Option<bool>,
    /// Lowest TTL of packets that are accepted; for multi-hop sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub minimum_ttl: Option<i64>,
}

/// Names for communities.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "Community",
    plural = "communities",
    doc = "Names for BGP communities, for use in BGPAdvertisement objects.",
    namespaced,
    status = "NoStatus"
)]
pub struct CommunitySpec {
    /// The names with their values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub communities: Option<Vec<CommunityAlias>>,
}

/// A name for a community.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct CommunityAlias {
    /// The name; unique among all Community objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// 64512:1, or large:64512:1:2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(
        validation = (
            "self.matches('^[^:]*:[^:]*(:[^:]*:[^:]*)?$')",
            "invalid community format: write 64512:1 or large:64512:1:2"
        ),
        validation = (
            "!self.matches('^[^:]*:[^:]*$') || self.matches('^[0-9]{1,5}:[0-9]{1,5}$') && self.split(':').all(number, int(number) < 65536)",
            "invalid community value: invalid section: write two numbers below 65536"
        ),
        validation = (
            "!self.matches('^[^:]*:[^:]*:[^:]*:[^:]*$') || self.startsWith('large:')",
            "expected community to be of format large:<uint32>:<uint32>:<uint32>"
        ),
        validation = (
            "!self.startsWith('large:') || self.matches('^large(:[0-9]{1,10}){3}$') && self.split(':').all(number, number == 'large' || int(number) < 4294967296)",
            "invalid community value: invalid section: write three numbers below 4294967296"
        )
    )]
    pub value: Option<String>,
}
