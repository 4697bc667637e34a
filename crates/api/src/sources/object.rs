//! Configuration objects as they arrive: read, each by itself.

use super::{
    Fault, Reason,
    convert::{self, Content},
};
use crate::{
    config_map,
    crd::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, Unread},
};
use herald_core::{config::Password, labels::Labels};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Serialize;
use std::{fmt, sync::Arc};

/// Kinds of configuration objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The ConfigMap of MetalLB up to 0.12.
    ConfigMap,
    /// Pools.
    #[serde(rename = "IPAddressPool")]
    IpAddressPool,
    /// ARP and NDP.
    #[serde(rename = "L2Advertisement")]
    L2Advertisement,
    /// BGP.
    #[serde(rename = "BGPAdvertisement")]
    BgpAdvertisement,
    /// Routers.
    #[serde(rename = "BGPPeer")]
    BgpPeer,
    /// BFD.
    #[serde(rename = "BFDProfile")]
    BfdProfile,
    /// Names of communities.
    #[serde(rename = "Community")]
    Community,
}

impl Kind {
    /// All kinds. Each has to be listed before anything is decided.
    pub const ALL: [Self; 7] = [
        Self::ConfigMap,
        Self::IpAddressPool,
        Self::L2Advertisement,
        Self::BgpAdvertisement,
        Self::BgpPeer,
        Self::BfdProfile,
        Self::Community,
    ];

    /// The kind's name in Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::IpAddressPool => "IPAddressPool",
            Self::L2Advertisement => "L2Advertisement",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::BgpPeer => "BGPPeer",
            Self::BfdProfile => "BFDProfile",
            Self::Community => "Community",
        }
    }

    /// The kind's API version that is read.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::ConfigMap => "v1",
            Self::BgpPeer => "metallb.io/v1beta2",
            _ => "metallb.io/v1beta1",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A configuration object in Herald's namespace; written `Kind/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectId {
    /// An object of a kind.
    pub fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl Serialize for ObjectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An object as it arrived: what it says or what is wrong with it, by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// For events on it.
    pub uid: Arc<str>,
    /// When it was last changed, status aside; by the API server's clock.
    pub(super) changed: Option<Timestamp>,
    /// Its labels: advertisements choose pools by them.
    pub(super) labels: Labels,
    /// Its parts: a custom resource has one, a ConfigMap one for each pool, profile, peer and community.
    pub(super) content: Result<Vec<Part>, Vec<Fault>>,
}

/// A part of an object: what can conflict with others, or be in force, by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Which part of a ConfigMap: section and name; empty for custom resources.
    pub(super) name: Arc<str>,
    pub(super) content: Arc<Content>,
}

impl Source {
    fn new(metadata: &ObjectMeta, content: Result<Vec<Part>, Vec<Fault>>) -> Self {
        let uid = metadata.uid.as_deref().unwrap_or_default().into();
        let labels = metadata.labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Self { uid, changed: changed(metadata), labels, content }
    }

    fn read<K>(object: Unread<K>, convert: fn(&K) -> Result<Content, Vec<Fault>>) -> Self
    where
        K: serde::de::DeserializeOwned,
    {
        let metadata = object.metadata.clone();
        let content = object.read().map_err(|error| vec![Fault::whole(Reason::Malformed(error))]);
        let content = content.and_then(|object| convert(&object));
        let part = |content| vec![Part { name: "".into(), content: Arc::new(content) }];
        Self::new(&metadata, content.map(part))
    }

    /// An object that could not be read at all.
    pub(crate) fn malformed(reason: String) -> Self {
        Self::new(&ObjectMeta::default(), Err(vec![Fault::whole(Reason::Malformed(reason))]))
    }

    /// What is wrong with the object by itself.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        self.content.as_ref().err().map_or(&[], Vec::as_slice)
    }
}

/// When something else than the status was changed: an edited object that conflicts with another one is the one to blame, also after a
/// restart, when nobody remembers which of the two was in force.
fn changed(metadata: &ObjectMeta) -> Option<Timestamp> {
    let fields = metadata.managed_fields.iter().flatten();
    let edits = fields.filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty());
    let newest = edits.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max();
    newest.or_else(|| metadata.creation_timestamp.as_ref().map(|time| time.0))
}

impl From<&ConfigMap> for Source {
    fn from(object: &ConfigMap) -> Self {
        let content = match config_map::from_object(object) {
            Ok(file) => Ok(convert::config_map(file)),
            Err(errors) => {
                Err(errors.all().iter().map(|error| Fault::whole(Reason::ConfigMap(Box::new(error.clone())))).collect())
            }
        };
        Self::new(&object.metadata, content)
    }
}

impl From<Unread<IPAddressPool>> for Source {
    fn from(object: Unread<IPAddressPool>) -> Self {
        Self::read(object, convert::pool)
    }
}

impl From<Unread<L2Advertisement>> for Source {
    fn from(object: Unread<L2Advertisement>) -> Self {
        Self::read(object, convert::l2_advertisement)
    }
}

impl From<Unread<BGPAdvertisement>> for Source {
    fn from(object: Unread<BGPAdvertisement>) -> Self {
        Self::read(object, convert::bgp_advertisement)
    }
}

impl From<Unread<BGPPeer>> for Source {
    fn from(object: Unread<BGPPeer>) -> Self {
        Self::read(object, convert::bgp_peer)
    }
}

impl From<Unread<BFDProfile>> for Source {
    fn from(object: Unread<BFDProfile>) -> Self {
        Self::read(object, convert::bfd_profile)
    }
}

impl From<Unread<Community>> for Source {
    fn from(object: Unread<Community>) -> Self {
        Self::read(object, convert::community)
    }
}

/// A Secret that may hold the password of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordSource {
    /// Whether it is of type `kubernetes.io/basic-auth`.
    pub(super) basic_auth: bool,
    /// Its key `password`, where that is text.
    pub(super) password: Option<Password>,
}

impl From<&Secret> for PasswordSource {
    fn from(object: &Secret) -> Self {
        let basic_auth = object.type_.as_deref() == Some("kubernetes.io/basic-auth");
        let bytes = object.data.as_ref().and_then(|data| data.get("password")).filter(|_| basic_auth);
        // Of any other Secret nothing is kept.
        let password = bytes.and_then(|bytes| std::str::from_utf8(&bytes.0).ok()).map(Password::new);
        Self { basic_auth, password }
    }
}
