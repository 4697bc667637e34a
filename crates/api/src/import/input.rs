//! What the input holds: configurations as text, and objects that are taken over.

use super::{DEFAULT_NAMESPACE, ImportError, Note, clean};
use crate::{
    config_map::DATA_KEY,
    crd::GROUP,
    manifest::{self, Skip},
    sources::Kind,
};
use serde_json::{Map, Value, json};

/// A text of the ConfigMap's format.
#[derive(Debug)]
pub(super) struct Configuration {
    /// File, and object where it is in one.
    pub(super) origin: String,
    /// The object's name.
    name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) text: String,
}

/// Everything found.
#[derive(Debug, Default)]
pub(super) struct Found {
    configurations: Vec<Configuration>,
    /// Pools of MetalLB 0.13's first kind, as configurations.
    pools: Vec<Configuration>,
    /// Custom resources, without what a cluster adds.
    pub(super) objects: Vec<Value>,
    pub(super) notes: Vec<Note>,
}

impl Found {
    /// Takes in a file.
    pub(super) fn read(&mut self, file: &str, text: &str) -> Result<(), ImportError> {
        for (line, document) in manifest::split(text) {
            let broken =
                |reason: &str| ImportError::Document { file: file.to_owned(), line, reason: reason.to_owned() };
            match manifest::value(&document) {
                Ok(Value::Null) => {}
                Ok(Value::Object(object)) if object.contains_key("kind") && object.contains_key("apiVersion") => {
                    self.object(file, object);
                }
                // Values of MetalLB's chart up to 0.12.
                Ok(Value::Object(object)) if object.contains_key("configInline") => {
                    let text = object.get("configInline").map(Value::to_string).unwrap_or_default();
                    self.plain(format!("{file}: configInline"), text);
                }
                // The text, and not what was read of it: it has line numbers.
                Ok(Value::Object(object)) if clean::is_configuration(&object) => self.plain(file.to_owned(), document),
                Ok(_) => return Err(broken("it is neither a Kubernetes object nor a MetalLB configuration")),
                Err(reason) => return Err(broken(&reason)),
            }
        }
        Ok(())
    }

    fn plain(&mut self, origin: String, text: String) {
        self.configurations.push(Configuration { origin, name: None, namespace: None, text });
    }

    fn object(&mut self, file: &str, mut object: Map<String, Value>) {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text(object.get("apiVersion")), text(object.get("kind")));
        if kind.ends_with("List")
            && let Some(Value::Array(items)) = object.get_mut("items").map(Value::take)
        {
            for item in items {
                if let Value::Object(item) = item {
                    self.object(file, item);
                }
            }
            return;
        }
        let metadata = object.get("metadata").and_then(Value::as_object);
        let of = |key: &str| metadata.and_then(|metadata| metadata.get(key)).and_then(Value::as_str).map(str::to_owned);
        let (name, namespace) = (of("name").unwrap_or_default(), of("namespace"));
        let title = format!("{kind}/{name}");
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let reason = match (group, &*kind) {
            ("", "ConfigMap") => {
                let data = object.get("data").and_then(|data| data.get(DATA_KEY)).and_then(Value::as_str);
                if let Some(text) = data {
                    let (origin, name) = (format!("{file}: {title}"), Some(name));
                    self.configurations.push(Configuration { origin, name, namespace, text: text.to_owned() });
                    return;
                }
                Skip::OtherConfigMap
            }
            (GROUP, "AddressPool") => {
                let mut pool = object.get_mut("spec").map(Value::take).unwrap_or_default();
                if let Some(pool) = pool.as_object_mut() {
                    pool.insert("name".to_owned(), name.clone().into());
                }
                let text = json!({"address-pools": [pool]}).to_string();
                let origin = format!("{file}: {title}");
                self.pools.push(Configuration { origin, name: None, namespace, text });
                self.notes.push(Note::AddressPool(name));
                return;
            }
            (GROUP, "ServiceL2Status" | "ServiceBGPStatus" | "ConfigurationState") => Skip::Report,
            (GROUP, kind) if Kind::ALL.iter().skip(1).any(|known| known.as_str() == kind) => {
                self.objects.push(stripped(object));
                return;
            }
            _ => Skip::Kind,
        };
        self.notes.push(Note::Skipped { object: title, reason });
    }

    /// The configurations to convert: one, and the pools beside it.
    pub(super) fn configurations(&mut self, config: &str) -> Result<Vec<Configuration>, ImportError> {
        let mut all = std::mem::take(&mut self.configurations);
        if all.len() > 1 {
            let number = all.len();
            let (one, others): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|configuration| configuration.name.as_deref() == Some(config));
            if one.len() != 1 {
                return Err(ImportError::Several(number, config.to_owned()));
            }
            let skipped = |other: Configuration| Note::Skipped { object: other.origin, reason: Skip::OtherConfigMap };
            self.notes.extend(others.into_iter().map(skipped));
            all = one;
        }
        all.append(&mut self.pools);
        Ok(all)
    }
}

/// What the user wrote, without what the API server, kubectl and MetalLB added.
fn stripped(object: Map<String, Value>) -> Value {
    let metadata = object.get("metadata").and_then(Value::as_object);
    let of = |key: &str| metadata.and_then(|metadata| metadata.get(key)).cloned();
    let mut kept = Map::new();
    for key in ["labels", "annotations", "name", "namespace"] {
        kept.extend(of(key).map(|value| (key.to_owned(), value)));
    }
    kept.entry("namespace").or_insert_with(|| DEFAULT_NAMESPACE.into());
    if let Some(Value::Object(annotations)) = kept.get_mut("annotations") {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            kept.remove("annotations");
        }
    }
    let mut all: Map<String, Value> =
        object.into_iter().filter(|(key, _)| matches!(&**key, "apiVersion" | "kind" | "spec")).collect();
    all.insert("metadata".to_owned(), Value::Object(kept));
    Value::Object(all)
}

/// Puts the object elsewhere.
pub(super) fn set_namespace(object: &mut Value, namespace: &str) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
}
