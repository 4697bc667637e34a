//! Objects, versions and their history.

use super::Id;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

/// Something that happened to an object.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) id: Id,
    /// ADDED, MODIFIED, DELETED.
    pub(super) kind: &'static str,
    pub(super) object: Value,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<Id, Value>,
    history: VecDeque<Entry>,
    /// Versions up to here cannot be resumed from, except the present one.
    compacted: u64,
    pub(super) wake: tokio::sync::watch::Sender<u64>,
    /// Custom resources by `GROUP/VERSION`; what is not in it is not served.
    pub(super) custom: BTreeMap<String, BTreeSet<String>>,
    /// Those whose definitions are being deleted: their objects go first.
    pub(super) terminating: BTreeSet<String>,
}

/// A refused write: an HTTP status code and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    NotFound,
    Conflict,
    AlreadyExists,
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, id: &Id) -> Option<Value> {
        self.objects.get(id).cloned()
    }

    /// Up to `limit` objects that come after one, and whether there are more.
    pub(super) fn list(
        &self,
        (resource, namespace): (&str, Option<&str>),
        after: Option<&Id>,
        limit: usize,
        matches: impl Fn(&Value) -> bool,
    ) -> (Vec<Value>, Option<Id>) {
        let first = Id::new(resource, "", "");
        let from = after.map_or(Bound::Included(&first), Bound::Excluded);
        let all = self.objects.range((from, Bound::Unbounded)).take_while(|(id, _)| id.resource == resource);
        let mut wanted = all.filter(|(id, object)| namespace.is_none_or(|ns| id.namespace == ns) && matches(object));
        let (mut objects, mut last) = (Vec::new(), None);
        for (id, object) in wanted.by_ref().take(limit) {
            objects.push(object.clone());
            last = Some(id);
        }
        (objects, last.filter(|_| wanted.next().is_some()).cloned())
    }

    /// Whether a list or a watch can go on from this version.
    pub(super) fn remembers(&self, version: u64) -> bool {
        version >= self.compacted || version == self.version
    }

    /// What happened after a version; `None` when that is not known any more.
    pub(super) fn since(&self, version: u64) -> Option<Vec<Entry>> {
        if !self.remembers(version) {
            return None;
        }
        Some(self.history.iter().filter(|entry| entry.version > version).cloned().collect())
    }

    pub(super) fn compact(&mut self) {
        self.history.clear();
        self.version += 1;
        self.compacted = self.version;
    }

    pub(super) fn put(&mut self, id: &Id, mut object: Value) -> Value {
        let before = self.objects.get(id);
        // A write that changes nothing has no new version: so does a real one.
        if before.is_some_and(|before| same(before, &object)) {
            return before.cloned().unwrap_or_default();
        }
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        let old = before.map(|object| object["metadata"].clone());
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(id.name);
        if !id.namespace.is_empty() {
            metadata["namespace"] = json!(id.namespace);
        }
        metadata["resourceVersion"] = json!(self.version.to_string());
        for (field, fresh) in
            [("uid", json!(format!("uid-{}", self.version))), ("creationTimestamp", created(self.version))]
        {
            let kept = old.as_ref().map(|old| old[field].clone()).filter(|value| !value.is_null());
            if let Some(kept) = kept {
                metadata[field] = kept;
            } else if metadata[field].is_null() {
                metadata[field] = fresh;
            }
        }
        self.objects.insert(id.clone(), object.clone());
        self.remember(kind, id, object.clone());
        object
    }

    pub(super) fn create(&mut self, id: &Id, object: Value) -> Result<Value, Refused> {
        if self.objects.contains_key(id) { Err(Refused::AlreadyExists) } else { Ok(self.put(id, object)) }
    }

    pub(super) fn replace(&mut self, id: &Id, object: Value) -> Result<Value, Refused> {
        let before = self.objects.get(id).ok_or(Refused::NotFound)?;
        guard(before, &object["metadata"]["resourceVersion"])?;
        Ok(self.put(id, object))
    }

    /// A merge patch; on the status subresource only metadata and status take effect.
    pub(super) fn patch(&mut self, id: &Id, patch: &Value, status_only: bool) -> Result<Value, Refused> {
        let before = self.objects.get(id).ok_or(Refused::NotFound)?;
        guard(before, &patch["metadata"]["resourceVersion"])?;
        let mut object = before.clone();
        if status_only {
            for member in ["metadata", "status"] {
                if let Some(patch) = patch.get(member) {
                    merge(&mut object[member], patch);
                }
            }
        } else {
            merge(&mut object, patch);
        }
        Ok(self.put(id, object))
    }

    pub(super) fn delete(&mut self, id: &Id) -> Option<Value> {
        let mut object = self.objects.remove(id)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.remember("DELETED", id, object.clone());
        Some(object)
    }

    /// Deletes the object unless it is another one than the preconditions (`uid`, `resourceVersion`) mean.
    pub(super) fn delete_if(&mut self, id: &Id, preconditions: &Value) -> Result<Value, Refused> {
        let metadata = &self.objects.get(id).ok_or(Refused::NotFound)?["metadata"];
        let meant = |field: &str| preconditions[field].is_null() || preconditions[field] == metadata[field];
        if !meant("uid") || !meant("resourceVersion") {
            return Err(Refused::Conflict);
        }
        self.delete(id).ok_or(Refused::NotFound)
    }

    fn remember(&mut self, kind: &'static str, id: &Id, object: Value) {
        self.history.push_back(Entry { version: self.version, id: id.clone(), kind, object });
        if self.history.len() > 20_000
            && let Some(dropped) = self.history.pop_front()
        {
            self.compacted = dropped.version;
        }
        self.wake.send_replace(self.version);
    }
}

/// Optimistic locking: a version that was given must be the present one.
fn guard(before: &Value, given: &Value) -> Result<(), Refused> {
    match given.as_str() {
        Some(given) if before["metadata"]["resourceVersion"].as_str() != Some(given) => Err(Refused::Conflict),
        _ => Ok(()),
    }
}

/// Equal but for the version.
fn same(before: &Value, after: &Value) -> bool {
    let without = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        object
    };
    without(before) == without(after)
}

/// Creation times grow with the version, so that tests do not depend on a clock.
fn created(version: u64) -> Value {
    let (minute, second) = (version / 60, version % 60);
    json!(format!("2026-01-01T{:02}:{:02}:{second:02}Z", (minute / 60) % 24, minute % 60))
}

/// JSON merge patch, RFC 7386.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_patch_follows_the_examples_of_rfc_7386() {
        for (target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, result, "{target} + {patch}");
        }
    }

    #[test]
    fn a_stale_writer_is_refused_and_an_idle_write_has_no_version() {
        let mut store = Store::default();
        let id = Id::new("services", "ns", "a");
        let first = store.create(&id, json!({"spec":{}})).unwrap();
        let version = first["metadata"]["resourceVersion"].clone();
        let patch = json!({"metadata":{"resourceVersion":version},"status":{"x":1}});
        store.patch(&id, &patch, true).unwrap();
        assert_eq!(store.patch(&id, &patch, true), Err(Refused::Conflict));
        let before = store.version();
        store.patch(&id, &json!({"status":{"x":1}}), true).unwrap();
        assert_eq!(store.version(), before);
        assert_eq!(store.create(&id, json!({})), Err(Refused::AlreadyExists));
    }

    #[test]
    fn pages_hold_each_object_of_a_kind_once() {
        let mut store = Store::default();
        for (resource, namespace, name) in [
            ("nodes", "", "n"),
            ("services", "x", "a"),
            ("services", "x", "b"),
            ("services", "y", "a"),
            ("zones", "", "z"),
        ] {
            store.put(&Id::new(resource, namespace, name), json!({ "name": name }));
        }
        let names =
            |objects: &[Value]| objects.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<String>();
        let (first, last) = store.list(("services", None), None, 2, |_| true);
        assert_eq!((&*names(&first), &last), ("ab", &Some(Id::new("services", "x", "b"))));
        let (second, last) = store.list(("services", None), last.as_ref(), 2, |_| true);
        assert_eq!((&*names(&second), last), ("a", None));
        let (full, last) = store.list(("services", Some("x")), None, 2, |_| true);
        assert_eq!((&*names(&full), last), ("ab", None), "nothing follows in this namespace");
        let (chosen, last) = store.list(("services", None), None, 1, |it| it["name"] == "b");
        assert_eq!((&*names(&chosen), last), ("b", None));
    }

    #[test]
    fn history_before_a_compaction_is_gone() {
        let mut store = Store::default();
        store.put(&Id::new("services", "ns", "a"), json!({}));
        assert_eq!(store.since(0).unwrap().len(), 1);
        store.compact();
        assert!(store.since(1).is_none());
        assert!(store.since(store.version()).unwrap().is_empty());
    }
}
