//! Keys as older versions, and users, wrote them -> keys of MetalLB 0.12.

use super::Note;
use crate::manifest;
use serde_json::{Map, Value};

/// A configuration that has only known keys.
pub(super) struct Cleaned {
    pub(super) text: String,
    pub(super) notes: Vec<Note>,
}

/// What may stand under a key.
struct Key {
    name: &'static str,
    /// Keys of the mappings in its list; empty: not looked into.
    of: &'static [Self],
    /// Older names.
    old: &'static [&'static str],
}

const fn key(name: &'static str) -> Key {
    Key { name, of: &[], old: &[] }
}

const fn list(name: &'static str, of: &'static [Key]) -> Key {
    Key { name, of, old: &[] }
}

const fn renamed(old: &'static [&'static str], key: Key) -> Key {
    Key { old, ..key }
}

const ADVERTISEMENT: &[Key] =
    &[key("aggregation-length"), key("aggregation-length-v6"), key("localpref"), key("communities")];
const POOL: &[Key] = &[
    key("name"),
    key("protocol"),
    // Renamed in MetalLB 0.5.
    renamed(&["cidr"], key("addresses")),
    key("avoid-buggy-ips"),
    key("auto-assign"),
    // Renamed in MetalLB 0.3.
    renamed(&["advertisements"], list("bgp-advertisements", ADVERTISEMENT)),
];
const EXPRESSION: &[Key] = &[key("key"), key("operator"), key("values")];
const SELECTOR: &[Key] = &[key("match-labels"), list("match-expressions", EXPRESSION)];
const PEER: &[Key] = &[
    key("my-asn"),
    key("peer-asn"),
    key("peer-address"),
    key("source-address"),
    key("peer-port"),
    key("hold-time"),
    key("keepalive-time"),
    key("router-id"),
    list("node-selectors", SELECTOR),
    key("password"),
    key("bfd-profile"),
    key("ebgp-multihop"),
];
const PROFILE: &[Key] = &[
    key("name"),
    key("receive-interval"),
    key("transmit-interval"),
    key("detect-multiplier"),
    key("echo-interval"),
    key("echo-mode"),
    key("passive-mode"),
    key("minimum-ttl"),
];
/// The whole document.
const FILE: &[Key] = &[
    list("address-pools", POOL),
    list("peers", PEER),
    renamed(&["communities"], key("bgp-communities")),
    list("bfd-profiles", PROFILE),
];

/// Letters and digits decide: `bfdProfile` (so in the sample file of MetalLB 0.12 itself), `autoAssign`.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

fn find(keys: &'static [Key], text: &str) -> Option<&'static Key> {
    let means = |name: &&str| plain(name) == plain(text);
    keys.iter().find(|key| means(&key.name)).or_else(|| keys.iter().find(|key| key.old.iter().any(means)))
}

/// Whether the mapping looks like a configuration.
pub(super) fn is_configuration(object: &Map<String, Value>) -> bool {
    object.keys().any(|key| find(FILE, key).is_some())
}

/// `None` when it is no mapping at all.
pub(super) fn clean(text: &str) -> Option<Cleaned> {
    let Value::Object(object) = manifest::value(text).ok()? else { return None };
    let mut notes = Vec::new();
    let cleaned = mapping(object, FILE, "configuration", &mut notes);
    Some(Cleaned { text: Value::Object(cleaned).to_string(), notes })
}

fn mapping(object: Map<String, Value>, keys: &'static [Key], place: &str, notes: &mut Vec<Note>) -> Map<String, Value> {
    let mut cleaned = Map::new();
    for (name, value) in object {
        let Some(known) = find(keys, &name) else {
            notes.push(Note::Dropped { place: place.to_owned(), key: name });
            continue;
        };
        if known.name != name {
            notes.push(Note::Respelt { place: place.to_owned(), key: name, known: known.name });
        }
        let value = match value {
            Value::Array(items) if !known.of.is_empty() => {
                let item = |(index, item)| match item {
                    Value::Object(object) => {
                        let place = format!("{}: {}", known.name, title(&object, index));
                        Value::Object(mapping(object, known.of, &place, notes))
                    }
                    other => other,
                };
                Value::Array(items.into_iter().enumerate().map(item).collect())
            }
            other => other,
        };
        cleaned.insert(known.name.to_owned(), value);
    }
    if let Some(Value::String(protocol)) = cleaned.get_mut("protocol") {
        // MetalLB before 0.5.
        if matches!(&**protocol, "arp" | "ndp") {
            let was = std::mem::replace(protocol, "layer2".to_owned());
            notes.push(Note::Protocol { place: place.to_owned(), was, now: "layer2" });
        }
    }
    cleaned
}

/// What tells the user which entry of a list it is.
fn title(object: &Map<String, Value>, index: usize) -> String {
    let named = ["name", "peer-address", "key"].iter().find_map(|key| object.get(*key)?.as_str());
    named.map_or_else(|| format!("#{}", index + 1), str::to_owned)
}
