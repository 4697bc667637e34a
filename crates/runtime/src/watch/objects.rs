//! Objects as they come, of every kind alike.

use kube::{
    Api, Client, Resource,
    api::ObjectMeta,
    core::{ApiResource, DynamicResourceScope, NamespaceResourceScope},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use std::{borrow::Cow, fmt, marker::PhantomData};

/// The objects of a kind, in a namespace or everywhere: what [`super::spawn`] watches.
pub struct Objects<K> {
    pub(super) api: Api<Raw>,
    /// For messages.
    pub(super) kind: String,
    read_as: PhantomData<fn() -> K>,
}

impl<K: Resource<DynamicType = ()>> Objects<K> {
    /// Of all namespaces, or of a kind that has none.
    #[must_use]
    pub fn all(client: Client) -> Self {
        Self::of(|resource| Api::all_with(client, resource))
    }

    /// Of one namespace.
    #[must_use]
    pub fn namespaced(client: Client, namespace: &str) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope>,
    {
        Self::of(|resource| Api::namespaced_with(client, namespace, resource))
    }

    fn of(api: impl FnOnce(&ApiResource) -> Api<Raw>) -> Self {
        Self { api: api(&ApiResource::erase::<K>(&())), kind: K::kind(&()).into_owned(), read_as: PhantomData }
    }
}

impl<K> fmt::Debug for Objects<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.api.resource_url()).finish()
    }
}

/// An object that is not read yet. Lists and watches of it exist once in the program instead of once for each kind (they are the larger
/// part of a small daemon), and an object that cannot be read is no failure of the watch.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    /// Name, namespace and resourceVersion: what a watch goes by.
    metadata: ObjectMeta,
    object: Value,
}

impl Raw {
    pub(super) fn read<K: DeserializeOwned>(self) -> Result<K, serde_json::Error> {
        serde_json::from_value(self.object)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let entries = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
        // Often half of an object, and of no interest beside who wrote when.
        for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.remove("fieldsV1");
        }
        let text = |key| object["metadata"][key].as_str().map(str::to_owned);
        let (name, namespace, resource_version) = (text("name"), text("namespace"), text("resourceVersion"));
        Ok(Self { metadata: ObjectMeta { name, namespace, resource_version, ..ObjectMeta::default() }, object })
    }
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    #[test]
    fn who_wrote_when_stays_and_what_was_written_goes() {
        let raw: Raw = serde_json::from_value(json!({
            "metadata": {
                "name": "a", "resourceVersion": "7",
                "managedFields": [{ "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:data": {} } }],
            },
            "data": { "k": "v" },
        }))
        .unwrap();
        assert_eq!(raw.metadata.resource_version.as_deref(), Some("7"));
        let map: ConfigMap = raw.read().unwrap();
        assert_eq!(map.data.unwrap()["k"], "v");
        let fields = map.metadata.managed_fields.unwrap();
        assert_eq!((fields[0].manager.as_deref(), &fields[0].fields_v1), (Some("kubectl"), &None));
    }
}
