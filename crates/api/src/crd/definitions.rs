//! The CustomResourceDefinitions, made from the types.

use super::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, status::schemas, v1beta1,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

/// All definitions as JSON, ordered by name. Objects that MetalLB's definitions accept are accepted; some more are refused at once with a
/// reason, which MetalLB refuses in its webhook.
///
/// # Errors
/// A definition is no JSON: impossible, but not provable.
pub fn definitions() -> Result<Vec<Value>, serde_json::Error> {
    let pool = definition(IPAddressPool::crd(), true)?;
    let mut peer = definition(BGPPeer::crd(), false)?;
    // Two versions of one shape: no conversion webhook is needed, the API server renames.
    let old = definition(v1beta1::BGPPeer::crd(), false)?;
    if let (Some(all), Some([old])) = (
        peer.pointer_mut("/spec/versions").and_then(Value::as_array_mut),
        old.pointer("/spec/versions").and_then(Value::as_array).map(Vec::as_slice),
    ) {
        all.insert(0, old.clone());
    }
    let mut all = vec![
        definition(BFDProfile::crd(), false)?,
        definition(BGPAdvertisement::crd(), false)?,
        peer,
        definition(Community::crd(), false)?,
        definition(schemas::ConfigurationState::crd(), false)?,
        pool,
        definition(L2Advertisement::crd(), false)?,
        definition(schemas::ServiceBGPStatus::crd(), false)?,
        definition(schemas::ServiceL2Status::crd(), false)?,
    ];
    all.iter_mut().for_each(without_empty);
    Ok(all)
}

fn definition(crd: CustomResourceDefinition, needs_spec: bool) -> Result<Value, serde_json::Error> {
    let mut crd = serde_json::to_value(crd)?;
    if let Some(versions) = crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") else { continue };
            adjust(schema);
            // An advertisement without spec is one of everything, and whoever reports has none.
            if let Some(object) = schema.as_object_mut().filter(|_| !needs_spec) {
                object.remove("required");
            }
        }
    }
    Ok(crd)
}

/// What the derived schema does not say as the API server needs it.
fn adjust(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    // An explicit null is as good as nothing: pruned, and the default applies.
    object.remove("nullable");
    // The API server knows no unsigned numbers.
    if matches!(object.get("format").and_then(Value::as_str), Some("uint8" | "uint16" | "uint32" | "uint64")) {
        object.remove("format");
    }
    let properties = object.get("properties").and_then(Value::as_object);
    if properties.is_some_and(|all| all.contains_key("matchLabels") && all.contains_key("matchExpressions")) {
        object.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
    }
    for (name, property) in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        match (name.as_str(), property.as_object_mut()) {
            // Written by server-side apply, by one manager for each type.
            ("conditions", Some(list)) => {
                list.insert("x-kubernetes-list-type".to_owned(), json!("map"));
                list.insert("x-kubernetes-list-map-keys".to_owned(), json!(["type"]));
            }
            ("matchExpressions" | "values", Some(list)) => {
                list.insert("x-kubernetes-list-type".to_owned(), json!("atomic"));
            }
            _ => {}
        }
        adjust(property);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            adjust(inner);
        }
    }
}

/// Without what kube writes for nothing: `categories: []`, `shortNames: []`.
fn without_empty(value: &mut Value) {
    fn clean(map: &mut Map<String, Value>) {
        map.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
    }
    if let Some(names) = value.pointer_mut("/spec/names").and_then(Value::as_object_mut) {
        clean(names);
    }
    for version in value.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(version) = version.as_object_mut() {
            clean(version);
        }
    }
}
