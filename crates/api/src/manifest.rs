//! Manifests: text as it is given to `kubectl apply` -> configuration objects. For what works offline.
//!
//! Stricter than the API server in one thing: an unknown field is a mistake. The API server drops it, and a misspelt `autoAssign` would
//! hand out addresses.

use crate::{
    crd::{BFDProfile, BGPAdvertisement, BGPPeer, Community, GROUP, IPAddressPool, L2Advertisement, Unread, v1beta1},
    sources::{Fault, Kind, ObjectId, Reason, Source},
};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Options};

/// A document of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A configuration object.
    Object {
        /// Which.
        id: ObjectId,
        /// The namespace that it names.
        namespace: Option<String>,
        /// What it says.
        source: Box<Source>,
        /// What is wrong with it that the source does not know: fields that do not exist.
        faults: Vec<Fault>,
    },
    /// An object that is no configuration.
    Skipped {
        /// Its kind with its name.
        object: String,
        /// Why.
        reason: Skip,
    },
    /// Not an object.
    Broken {
        /// Line of the text at which the document begins, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why an object is no configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// Another kind.
    #[error("Herald does not read this kind")]
    Kind,
    /// A version that does not exist.
    #[error("Herald does not read this version of the kind: use metallb.io/v1beta1, for BGPPeer metallb.io/v1beta2")]
    Version,
    /// MetalLB's kind before IPAddressPool.
    #[error("MetalLB dropped this kind: write an IPAddressPool and an L2Advertisement or BGPAdvertisement instead")]
    AddressPool,
    /// A ConfigMap of another name.
    #[error("the configuration is in the ConfigMap of another name (option --config)")]
    OtherConfigMap,
    /// Written by Herald.
    #[error("Herald writes objects of this kind itself")]
    Report,
}

/// Reads all documents of a text; `config` is the name of the configuration's ConfigMap.
#[must_use]
pub fn read(text: &str, config: &str) -> Vec<Document> {
    let mut all = Vec::new();
    for (line, document) in split(text) {
        match value(&document) {
            Ok(Value::Null) => {}
            Ok(value) => object(value, line, config, &mut all),
            Err(reason) => all.push(Document::Broken { line, reason }),
        }
    }
    all
}

/// The documents with their first lines. They are split before they are read, so that one that is no YAML does not hide the next ones.
pub(crate) fn split(text: &str) -> Vec<(usize, String)> {
    let mut all = vec![(1, String::new())];
    for (index, line) in text.lines().enumerate() {
        // Inside of a document such a line would be indented.
        let rest = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if let Some(rest) = rest {
            all.push((index + 2, format!("{}\n", rest.trim())));
        } else if let Some((_, document)) = all.last_mut().filter(|_| line.trim_end() != "...") {
            document.push_str(line);
            document.push('\n');
        }
    }
    all
}

pub(crate) fn value(text: &str) -> Result<Value, String> {
    let options: Options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::Error, with_snippet: false };
    let value = serde_saphyr::from_str_with_options::<Option<Value>>(text, options);
    value.map(Option::unwrap_or_default).map_err(|error| error.to_string().replace('\n', " "))
}

/// An object that is read already, as the API server shows it; `None` for nothing.
pub(crate) fn one(object: Map<String, Value>) -> Option<Document> {
    let mut all = Vec::new();
    self::object(Value::Object(object), 1, "", &mut all);
    all.pop()
}

fn object(value: Value, line: usize, config: &str, all: &mut Vec<Document>) {
    let Value::Object(object) = value else {
        all.push(Document::Broken { line, reason: "it is not a Kubernetes object".to_owned() });
        return;
    };
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() || version.is_empty() {
        all.push(Document::Broken {
            line,
            reason: "it has no apiVersion or no kind: it is not a Kubernetes object".to_owned(),
        });
        return;
    }
    if kind.ends_with("List") && object.get("items").is_some_and(Value::is_array) {
        let Some(Value::Array(items)) = object.into_iter().find(|(key, _)| key == "items").map(|(_, items)| items)
        else {
            return;
        };
        for item in items {
            self::object(item, line, config, all);
        }
        return;
    }
    let metadata = object.get("metadata").and_then(Value::as_object);
    let of = |key: &str| metadata.and_then(|metadata| metadata.get(key)).and_then(Value::as_str);
    let (name, namespace) = (of("name").unwrap_or_default().to_owned(), of("namespace").map(str::to_owned));
    if name.is_empty() {
        all.push(Document::Broken { line, reason: format!("{kind} without metadata.name") });
        return;
    }
    let skipped = |reason| Document::Skipped { object: format!("{kind}/{name}"), reason };
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let read = match (group, version, kind.as_str()) {
        ("", "v1", "ConfigMap") if name != config => Err(Skip::OtherConfigMap),
        ("", "v1", "ConfigMap") => Ok((Kind::ConfigMap, config_map(object.clone()))),
        (GROUP, "v1beta1", "IPAddressPool") => Ok((Kind::IpAddressPool, custom::<IPAddressPool>(&object))),
        (GROUP, "v1beta1", "L2Advertisement") => Ok((Kind::L2Advertisement, custom::<L2Advertisement>(&object))),
        (GROUP, "v1beta1", "BGPAdvertisement") => Ok((Kind::BgpAdvertisement, custom::<BGPAdvertisement>(&object))),
        (GROUP, "v1beta2", "BGPPeer") => Ok((Kind::BgpPeer, custom::<BGPPeer>(&object))),
        (GROUP, "v1beta1", "BGPPeer") => Ok((Kind::BgpPeer, old_peer(&object))),
        (GROUP, "v1beta1", "BFDProfile") => Ok((Kind::BfdProfile, custom::<BFDProfile>(&object))),
        (GROUP, "v1beta1", "Community") => Ok((Kind::Community, custom::<Community>(&object))),
        (GROUP, _, "AddressPool") => Err(Skip::AddressPool),
        (GROUP, _, "ServiceL2Status" | "ServiceBGPStatus" | "ConfigurationState") => Err(Skip::Report),
        (
            GROUP,
            _,
            "IPAddressPool" | "L2Advertisement" | "BGPAdvertisement" | "BGPPeer" | "BFDProfile" | "Community",
        ) => Err(Skip::Version),
        _ => Err(Skip::Kind),
    };
    all.push(match read {
        Err(reason) => skipped(reason),
        Ok((kind, (source, faults))) => {
            Document::Object { id: ObjectId::new(kind, name), namespace, source: Box::new(source), faults }
        }
    });
}

fn config_map(object: Map<String, Value>) -> (Source, Vec<Fault>) {
    match serde_json::from_value::<ConfigMap>(Value::Object(object)) {
        Ok(object) => (Source::from(&object), Vec::new()),
        Err(error) => malformed(&error.to_string()),
    }
}

fn custom<K: DeserializeOwned + Serialize>(object: &Map<String, Value>) -> (Source, Vec<Fault>)
where
    Source: From<Unread<K>>,
{
    let Ok(unread) = serde_json::from_value::<Unread<K>>(Value::Object(object.clone())) else {
        return malformed("metadata is malformed");
    };
    let faults = serde_json::from_value::<K>(with_spec(object)).ok().and_then(|read| serde_json::to_value(read).ok());
    let faults = faults.map(|known| unknown(object, &known)).unwrap_or_default();
    (Source::from(unread), faults)
}

fn old_peer(object: &Map<String, Value>) -> (Source, Vec<Fault>) {
    match serde_json::from_value::<v1beta1::BGPPeer>(with_spec(object)) {
        Ok(old) => {
            let faults = serde_json::to_value(&old).map(|known| unknown(object, &known)).unwrap_or_default();
            let new = serde_json::to_value(BGPPeer::from(old)).and_then(serde_json::from_value::<Unread<BGPPeer>>);
            match new {
                Ok(new) => (Source::from(new), faults),
                Err(error) => malformed(&error.to_string()),
            }
        }
        Err(error) => malformed(&error.to_string()),
    }
}

fn malformed(reason: &str) -> (Source, Vec<Fault>) {
    (Source::malformed(reason.to_owned()), Vec::new())
}

fn with_spec(object: &Map<String, Value>) -> Value {
    let mut object = object.clone();
    object.entry("spec").or_insert_with(|| Value::Object(Map::new()));
    Value::Object(object)
}

/// Fields of the spec that reading lost.
fn unknown(object: &Map<String, Value>, known: &Value) -> Vec<Fault> {
    fn walk(given: &Value, known: Option<&Value>, path: &str, faults: &mut Vec<Fault>) {
        match given {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let inner = known.and_then(|known| known.get(name));
                    match inner {
                        None if !value.is_null() => {
                            faults.push(Fault::at(format!("{path}.{name}"), Reason::UnknownField));
                        }
                        _ => walk(value, inner, &format!("{path}.{name}"), faults),
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, known.and_then(|known| known.get(index)), &format!("{path}[{index}]"), faults);
                }
            }
            _ => {}
        }
    }
    let mut faults = Vec::new();
    if let Some(spec) = object.get("spec") {
        walk(spec, known.get("spec"), "spec", &mut faults);
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(text: &str) -> Vec<String> {
        let documents = read(text, "config");
        documents
            .into_iter()
            .map(|document| match document {
                Document::Object { id, namespace, source, faults } => {
                    let all: Vec<_> = faults.iter().chain(source.faults()).map(ToString::to_string).collect();
                    format!("{id} {namespace:?} {all:?}")
                }
                Document::Skipped { object, reason } => format!("{object} {reason:?}"),
                Document::Broken { line, .. } => format!("broken at {line}"),
            })
            .collect()
    }

    #[test]
    fn documents_stand_by_themselves() {
        let text = "# a comment\n---\napiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: all, namespace: metallb-system}\n\
                    --- # another\nkind: [\n---\n- a list\n---\nfoo: bar\n---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\n...\n---\n\
                    apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec:\n  addresses:\n  - 10.0.0.0/24\n";
        assert_eq!(
            summary(text),
            [
                "L2Advertisement/all Some(\"metallb-system\") []",
                "broken at 7",
                "broken at 9",
                "broken at 11",
                "Service/s Kind",
                "IPAddressPool/p None []",
            ]
        );
        assert_eq!(summary(""), [""; 0]);
        assert_eq!(summary("---\n---\n"), [""; 0]);
    }

    #[test]
    fn lists_json_and_versions() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: config}, data: {config: ''}}\n\
                    - {apiVersion: v1, kind: ConfigMap, metadata: {name: other}}\n\
                    - {apiVersion: metallb.io/v1beta1, kind: BGPPeer, metadata: {name: old}, spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, vrf: red}}\n\
                    - {apiVersion: metallb.io/v1beta1, kind: AddressPool, metadata: {name: x}}\n\
                    - {apiVersion: metallb.io/v1, kind: IPAddressPool, metadata: {name: x}}\n\
                    - {apiVersion: metallb.io/v1beta1, kind: ServiceL2Status, metadata: {name: x}}\n";
        assert_eq!(
            summary(text),
            [
                "ConfigMap/config None []",
                "ConfigMap/other OtherConfigMap",
                "BGPPeer/old None [\"spec.vrf: no such field; correct or remove it\"]",
                "AddressPool/x AddressPool",
                "IPAddressPool/x Version",
                "ServiceL2Status/x Report",
            ]
        );
        let json = r#"{"apiVersion": "metallb.io/v1beta1", "kind": "Community", "metadata": {"name": "c"}, "spec": {"communities": []}}"#;
        assert_eq!(summary(json), ["Community/c None []"]);
    }

    #[test]
    fn unknown_fields_and_repeated_keys() {
        let pool = |spec: &str| {
            summary(&format!(
                "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: p}}\nspec: {spec}\n"
            ))
        };
        let no = |field: &str| format!("IPAddressPool/p None [\"{field}: no such field; correct or remove it\"]");
        assert_eq!(pool("{addresses: [10.0.0.0/24], autoassign: false}"), [no("spec.autoassign")]);
        assert_eq!(
            pool(
                "{addresses: [10.0.0.0/24], serviceAllocation: {namespaceSelectors: [{matchLabels: {a: b}}, {matchlabels: {}}]}}"
            ),
            [no("spec.serviceAllocation.namespaceSelectors[1].matchlabels")]
        );
        assert_eq!(pool("{addresses: [10.0.0.0/24], autoAssign: null}"), ["IPAddressPool/p None []"]);
        assert_eq!(pool("{addresses: [10.0.0.0/24], addresses: []}"), ["broken at 1"]);
    }
}
