//! The custom resources of group `metallb.io`, field for field as MetalLB's: the same objects serve both engines.
//!
//! Objects of these types are read and written; what they mean, and what is wrong with them, is [`crate::sources`]. Numbers are wider than
//! what they may be, so that a value out of range is an answer with its range and not a malformed object. Unknown fields are ignored: a
//! newer MetalLB's CRDs may be installed.

#![expect(unreachable_pub, reason = "KubeSchema copies each struct, with its visibility, to where nobody sees it")]

mod advertisement;
mod bgp;
mod definitions;
mod peer;
mod pool;
mod status;
mod unread;

pub use advertisement::{
    BGPAdvertisement, BGPAdvertisementSpec, L2Advertisement, L2AdvertisementSpec, PreferredNodeSelector,
};
pub use bgp::{BFDProfile, BFDProfileSpec, Community, CommunityAlias, CommunitySpec};
pub use definitions::definitions;
pub use peer::{BGPPeer, BGPPeerSpec, PasswordSecret, v1beta1};
pub use pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use status::{
    ConfigurationResult, ConfigurationState, ConfigurationStateStatus, InterfaceInfo, ServiceBGPStatus,
    ServiceBGPStatusStatus, ServiceL2Status, ServiceL2StatusStatus,
};
pub use unread::Unread;

/// The API group.
pub const GROUP: &str = "metallb.io";
/// Label of status objects: the Service's name.
pub const SERVICE_NAME_LABEL: &str = "metallb.io/service-name";
/// Label of status objects: the Service's namespace.
pub const SERVICE_NAMESPACE_LABEL: &str = "metallb.io/service-namespace";
/// Label of status objects: the announcing node.
pub const NODE_LABEL: &str = "metallb.io/node";
/// Label of `ConfigurationState` objects: `controller` or `speaker`.
pub const COMPONENT_TYPE_LABEL: &str = "metallb.io/component-type";
/// Label of speakers' `ConfigurationState` objects: the node.
pub const NODE_NAME_LABEL: &str = "metallb.io/node-name";

/// Nothing: this kind reports nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct NoStatus {}

#[cfg(test)]
mod tests;
