//! An in-process API server that keeps objects as JSON and fails on demand.
//!
//! It exists to inject faults that a real one does not offer on demand: conflicts, expired and dropped watches, slowness, silence. It knows
//! create, get, list, watch, replace, merge patch, delete, resourceVersions, labels in selectors, pages (of what there is then, not of a
//! snapshot: a watch from the version of the first page tells the rest), the `status` subresource; no validation, no authentication. What a real API server does is tested against a real one.
//!
//! The same store serves many clients, each with switches of its own: [`FakeApi::client`] gives a client and its [`Wire`], so that one
//! replica can be cut off while another goes on.

mod http;
mod serve;
mod store;

pub use http::{Seen, Wire};
use kube::Client;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use store::Store;

/// The server: cheap to clone, clones share everything.
#[derive(Debug, Clone, Default)]
pub struct FakeApi {
    store: Arc<Mutex<Store>>,
}

/// Where an object lives: plural resource name (`services`), namespace (empty for cluster-wide kinds) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Plural, as in the URL: `services`, `configmaps`, `leases`.
    pub resource: String,
    /// Empty for cluster-wide kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Id {
    /// An id from its parts.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl FakeApi {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client, and the switches of its wire.
    #[must_use]
    pub fn client(&self) -> (Client, Wire) {
        http::connect(self.clone())
    }

    /// Creates or replaces an object as a user would, whatever its version; answers its new state. Watchers see it.
    pub fn put(&self, id: &Id, object: Value) -> Value {
        self.store().put(id, object)
    }

    /// Changes an object by a merge patch (RFC 7386) as a user would; nothing when it does not exist.
    pub fn patch(&self, id: &Id, patch: &Value) {
        let mut store = self.store();
        if let Some(mut object) = store.get(id) {
            store::merge(&mut object, patch);
            store.put(id, object);
        }
    }

    /// Deletes an object; whether it was there. Watchers see it.
    pub fn delete(&self, id: &Id) -> bool {
        self.store().delete(id).is_some()
    }

    /// An object as it is.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<Value> {
        self.store().get(id)
    }

    /// All objects of a resource, in order of namespace and name.
    #[must_use]
    pub fn list(&self, resource: &str) -> Vec<Value> {
        self.store().list((resource, None), None, usize::MAX, |_| true).0
    }

    /// Installs custom resources (plurals) of `GROUP/VERSION` in place of those it had; none at all: the version is not served. Groups of
    /// Kubernetes itself are always served.
    pub fn serve_custom(&self, version: &str, resources: &[&str]) {
        let resources: BTreeSet<String> = resources.iter().map(|name| (*name).to_owned()).collect();
        let mut store = self.store();
        store.terminating.remove(version);
        if resources.is_empty() {
            store.custom.remove(version);
        } else {
            store.custom.insert(version.to_owned(), resources);
        }
    }

    /// The definitions of `GROUP/VERSION` are being deleted: nothing can be created any more, and the API server will delete their objects
    /// one by one before it stops serving them.
    pub fn terminate_custom(&self, version: &str) {
        self.store().terminating.insert(version.to_owned());
    }

    /// Forgets the history: a watch that resumes from before now is answered 410 and has to list again.
    pub fn compact(&self) {
        self.store().compact();
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A panicking test must not hide behind the poison of another.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
