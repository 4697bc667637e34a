//! BGPPeer.

use super::NoStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A router that BGP sessions are kept with.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    plural = "bgppeers",
    doc = "A router that BGP sessions are kept with.",
    namespaced,
    status = "NoStatus",
    printcolumn = r#"{"name": "Address", "type": "string", "jsonPath": ".spec.peerAddress"}"#,
    printcolumn = r#"{"name": "ASN", "type": "string", "jsonPath": ".spec.peerASN"}"#,
    printcolumn = r#"{"name": "BFD Profile", "type": "string", "jsonPath": ".spec.bfdProfile"}"#,
    printcolumn = r#"{"name": "Multi Hops", "type": "string", "jsonPath": ".spec.ebgpMultiHop"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerSpec {
    /// Our AS number.
    #[serde(rename = "myASN")]
    #[schemars(range(min = 0, max = 4294967295_i64))]
    pub my_asn: i64,
    /// The peer's AS number; this or dynamicASN.
    #[serde(rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4294967295_i64))]
    pub peer_asn: Option<i64>,
    /// Accept any AS number of the peer: internal = our own, external = any other.
    #[serde(rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(internal|external)$"))]
    pub dynamic_asn: Option<String>,
    /// Another AS number of ours that this peer sees.
    #[serde(rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4294967295_i64))]
    pub local_asn: Option<i64>,
    /// The peer's address; this or interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// The interface of an unnumbered session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Our address in the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// The peer's TCP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384), default = "peer_port")]
    pub peer_port: Option<i64>,
    /// BGP hold time (RFC 4271): 0 or at least 3s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// BGP keepalive interval: at most the hold time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// Time between two attempts to connect: 1s to 65535s, whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = (
            "duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535",
            "connect time should be between 1 seconds to 65535"
        ),
        validation = (
            "duration(self).getMilliseconds() % 1000 == 0",
            "connect time should contain a whole number of seconds"
        )
    )]
    pub connect_time: Option<String>,
    /// Our router ID in the session.
    #[serde(rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Nodes that keep the session: one of the selectors. Empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selectors: Option<Vec<LabelSelector>>,
    /// Password of the session (RFC 2385). Better in a Secret: passwordSecret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Secret of type kubernetes.io/basic-auth in this namespace that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<PasswordSecret>,
    /// BFDProfile object of the session; none: no BFD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Graceful restart (RFC 4724); cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self == oldSelf", "EnableGracefulRestart cannot be changed after creation"))]
    pub enable_graceful_restart: Option<bool>,
    /// Whether an external peer is more than one hop away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// The VRF of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Deprecated; use dualStackAddressFamily.
    #[serde(rename = "disableMP", skip_serializing_if = "Option::is_none")]
    #[schemars(default = "off")]
    pub disable_mp: Option<bool>,
    /// Exchange both address families in the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default = "off")]
    pub dual_stack_address_family: Option<bool>,
}

const fn peer_port() -> Option<i64> {
    Some(179)
}

const fn off() -> Option<bool> {
    Some(false)
}

/// Where a password is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordSecret {
    /// Name of the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace; must be this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Without the password: objects end up in logs (MetalLB 0.13.9).
impl fmt::Debug for BGPPeerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BGPPeerSpec")
            .field("my_asn", &self.my_asn)
            .field("peer_asn", &self.peer_asn)
            .field("peer_address", &self.peer_address)
            .field("interface", &self.interface)
            .field("password", &self.password.as_ref().map(|_| "(set)"))
            .finish_non_exhaustive()
    }
}

/// The deprecated version. A newer object differs from it only by having more fields, so that the API server converts by renaming.
pub mod v1beta1 {
    use super::{super::NoStatus, Deserialize, LabelSelector, Serialize, fmt};
    use kube::{CustomResource, KubeSchema};

    /// A router that BGP sessions are kept with.
    #[derive(Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
    #[kube(
        group = "metallb.io",
        version = "v1beta1",
        kind = "BGPPeer",
        plural = "bgppeers",
        doc = "A router that BGP sessions are kept with.",
        namespaced,
        status = "NoStatus",
        deprecated = "v1beta1 is deprecated, please use v1beta2",
        storage = false,
        printcolumn = r#"{"name": "Address", "type": "string", "jsonPath": ".spec.peerAddress"}"#,
        printcolumn = r#"{"name": "ASN", "type": "string", "jsonPath": ".spec.peerASN"}"#,
        printcolumn = r#"{"name": "BFD Profile", "type": "string", "jsonPath": ".spec.bfdProfile"}"#,
        printcolumn = r#"{"name": "Multi Hops", "type": "string", "jsonPath": ".spec.ebgpMultiHop"}"#
    )]
    #[serde(rename_all = "camelCase")]
    pub struct BGPPeerSpec {
        /// Our AS number.
        #[serde(rename = "myASN")]
        #[schemars(range(min = 0, max = 4294967295_i64))]
        pub my_asn: i64,
        /// The peer's AS number.
        #[serde(rename = "peerASN")]
        #[schemars(range(min = 0, max = 4294967295_i64))]
        pub peer_asn: i64,
        /// The peer's address.
        pub peer_address: String,
        /// Our address in the session.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub source_address: Option<String>,
        /// The peer's TCP port.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = 16384))]
        pub peer_port: Option<i64>,
        /// BGP hold time (RFC 4271): 0 or at least 3s.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub hold_time: Option<String>,
        /// BGP keepalive interval: at most the hold time.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub keepalive_time: Option<String>,
        /// Our router ID in the session.
        #[serde(rename = "routerID", skip_serializing_if = "Option::is_none")]
        pub router_id: Option<String>,
        /// Nodes that keep the session: one of the selectors. Empty: all.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub node_selectors: Option<Vec<LabelSelector>>,
        /// Password of the session (RFC 2385).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub password: Option<String>,
        /// BFDProfile object of the session; none: no BFD.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub bfd_profile: Option<String>,
        /// Whether an external peer is more than one hop away.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub ebgp_multi_hop: Option<bool>,
    }

    impl fmt::Debug for BGPPeerSpec {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("BGPPeerSpec").field("peer_address", &self.peer_address).finish_non_exhaustive()
        }
    }

    impl From<BGPPeer> for super::BGPPeer {
        fn from(old: BGPPeer) -> Self {
            let spec = super::BGPPeerSpec {
                my_asn: old.spec.my_asn,
                peer_asn: Some(old.spec.peer_asn),
                peer_address: Some(old.spec.peer_address),
                source_address: old.spec.source_address,
                peer_port: old.spec.peer_port,
                hold_time: old.spec.hold_time,
                keepalive_time: old.spec.keepalive_time,
                router_id: old.spec.router_id,
                node_selectors: old.spec.node_selectors,
                password: old.spec.password,
                bfd_profile: old.spec.bfd_profile,
                ebgp_multi_hop: old.spec.ebgp_multi_hop,
                ..super::BGPPeerSpec::default()
            };
            Self { metadata: old.metadata, spec, status: old.status }
        }
    }
}
