//! Objects whose content may be malformed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{borrow::Cow, marker::PhantomData};

/// An object of kind `K` of which only the metadata is read yet: a malformed one is then a problem of that object with a name and a reason,
/// and the watch that it comes from goes on. `Api::<Unread<IPAddressPool>>` works as `Api::<IPAddressPool>` does, for reading.
#[derive(Debug, Clone, Deserialize)]
pub struct Unread<K> {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(flatten)]
    rest: Map<String, Value>,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

impl<K: DeserializeOwned> Unread<K> {
    /// The object.
    ///
    /// # Errors
    /// What does not fit its schema; the API server lets such an object pass when it has another version of the CRD.
    pub fn read(self) -> Result<K, String> {
        let mut all = self.rest;
        let metadata = serde_json::to_value(self.metadata).map_err(|error| error.to_string())?;
        all.insert("metadata".to_owned(), metadata);
        // An advertisement of everything needs none; a pool without one says what it lacks.
        all.entry("spec").or_insert_with(|| Value::Object(Map::new()));
        // Its error has neither line nor path: it never says where a password is.
        serde_json::from_value(Value::Object(all)).map_err(|error| error.to_string())
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Unread<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
