//! Kinds that only report: ServiceL2Status, ServiceBGPStatus, ConfigurationState.
//!
//! They have no spec that means anything, and objects without one must be readable: hence no derived root types.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{KubeSchema, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use std::borrow::Cow;

/// Which node announces a Service by ARP and NDP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceL2StatusStatus {
    /// The announcing node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = ("self == oldSelf", "Value is immutable"))]
    pub node: String,
    /// Name of the Service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = ("self == oldSelf", "Value is immutable"))]
    pub service_name: String,
    /// Namespace of the Service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = ("self == oldSelf", "Value is immutable"))]
    pub service_namespace: String,
    /// The interfaces that it is announced on; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceInfo>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceInfo {
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// To which BGP peers a node is configured to announce a Service; says nothing about the sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBGPStatusStatus {
    /// The announcing node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = ("self == oldSelf", "Value is immutable"))]
    pub node: String,
    /// Name of the Service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = ("self == oldSelf", "Value is immutable"))]
    pub service_name: String,
    /// Namespace of the Service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = ("self == oldSelf", "Value is immutable"))]
    pub service_namespace: String,
    /// BGPPeer objects by name, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}

/// Whether the configuration is valid for one component.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStateStatus {
    /// The result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ConfigurationResult>,
    /// What is wrong; empty when nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_summary: String,
    /// What each part of the component says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Whether a configuration is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfigurationResult {
    /// It is.
    Valid,
    /// It is not.
    Invalid,
    /// Nobody has said.
    Unknown,
}

macro_rules! reports {
    ($(#[$doc:meta])* $kind:ident, $status:ty, $plural:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        pub struct $kind {
            /// Metadata.
            #[serde(default)]
            pub metadata: ObjectMeta,
            /// The report.
            #[serde(default)]
            pub status: Option<$status>,
        }

        impl Resource for $kind {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                stringify!($kind).into()
            }

            fn group((): &()) -> Cow<'_, str> {
                super::GROUP.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                "v1beta1".into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut object = serializer.serialize_struct(stringify!($kind), 4)?;
                object.serialize_field("apiVersion", "metallb.io/v1beta1")?;
                object.serialize_field("kind", stringify!($kind))?;
                object.serialize_field("metadata", &self.metadata)?;
                match &self.status {
                    Some(status) => object.serialize_field("status", status)?,
                    None => object.skip_field("status")?,
                }
                object.end()
            }
        }
    };
}

reports!(
    /// Who announces a Service by ARP and NDP.
    ServiceL2Status,
    ServiceL2StatusStatus,
    "servicel2statuses"
);
reports!(
    /// To whom a Service is announced by BGP.
    ServiceBGPStatus,
    ServiceBGPStatusStatus,
    "servicebgpstatuses"
);
reports!(
    /// Whether the configuration is valid for one component.
    ConfigurationState,
    ConfigurationStateStatus,
    "configurationstates"
);

/// The schemas of these kinds: derived with an empty spec, which `definitions` takes out of what is required.
pub(super) mod schemas {
    use super::{ConfigurationStateStatus, ServiceBGPStatusStatus, ServiceL2StatusStatus};
    use kube::CustomResource;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    /// Nothing.
    #[derive(Debug, Clone, Serialize, Deserialize, CustomResource, JsonSchema)]
    #[kube(
        group = "metallb.io",
        version = "v1beta1",
        kind = "ServiceL2Status",
        plural = "servicel2statuses",
        doc = "Which node announces a Service by ARP and NDP. Written by the speakers.",
        namespaced,
        status = "ServiceL2StatusStatus",
        printcolumn = r#"{"name": "Allocated Node", "type": "string", "jsonPath": ".status.node"}"#,
        printcolumn = r#"{"name": "Service Name", "type": "string", "jsonPath": ".status.serviceName"}"#,
        printcolumn = r#"{"name": "Service Namespace", "type": "string", "jsonPath": ".status.serviceNamespace"}"#
    )]
    pub struct ServiceL2StatusSpec {}

    /// Nothing.
    #[derive(Debug, Clone, Serialize, Deserialize, CustomResource, JsonSchema)]
    #[kube(
        group = "metallb.io",
        version = "v1beta1",
        kind = "ServiceBGPStatus",
        plural = "servicebgpstatuses",
        doc = "To which BGP peers a node is configured to announce a Service. Written by the speakers.",
        namespaced,
        status = "ServiceBGPStatusStatus",
        printcolumn = r#"{"name": "Node", "type": "string", "jsonPath": ".status.node"}"#,
        printcolumn = r#"{"name": "Service Name", "type": "string", "jsonPath": ".status.serviceName"}"#,
        printcolumn = r#"{"name": "Service Namespace", "type": "string", "jsonPath": ".status.serviceNamespace"}"#
    )]
    pub struct ServiceBGPStatusSpec {}

    /// Nothing.
    #[derive(Debug, Clone, Serialize, Deserialize, CustomResource, JsonSchema)]
    #[kube(
        group = "metallb.io",
        version = "v1beta1",
        kind = "ConfigurationState",
        plural = "configurationstates",
        doc = "Whether the configuration is valid, for the controller and for each speaker. Written by them.",
        namespaced,
        status = "ConfigurationStateStatus",
        printcolumn = r#"{"name": "Result", "type": "string", "jsonPath": ".status.result"}"#,
        printcolumn = r#"{"name": "ErrorSummary", "type": "string", "jsonPath": ".status.errorSummary"}"#,
        printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
    )]
    pub struct ConfigurationStateSpec {}
}
