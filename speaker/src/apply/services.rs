//! ServiceL2Status: one object per announced Service, written by the node that announces it.
//!
//! Its name follows from the Service, so that there cannot be two. Its node cannot be changed (the CRD forbids it): who begins to announce
//! deletes the object of the former owner and makes its own.

use super::{PAGE, RETRY, Says, delete, label};
use crate::observe::Client;
use herald_api::crd::{
    InterfaceInfo, NODE_LABEL, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL, ServiceL2Status, ServiceL2StatusStatus,
};
use herald_core::{LinkName, NodeName, ServiceKey, Set, speaker::Announcing};
use herald_runtime::{
    client::{CallError, bounded},
    pace::Pace,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// Field manager of the status.
const MANAGER: &str = "herald-speaker";
/// After a start, links begin to take part one after the other: what was written before is not taken away meanwhile.
const START: Duration = Duration::from_secs(2);

/// What is known of the object of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// It is ours and says these interfaces.
    Ours(Set<LinkName>),
    /// It was ours, and is not there any more or incomplete.
    Missing,
    /// Another node, which is alive, announces the Service of record too (two LANs, say): the newest speaks.
    Others,
}

struct Services {
    api: Api<ServiceL2Status>,
    says: Says,
    owner: Option<OwnerReference>,
    known: BTreeMap<ServiceKey, Known>,
    /// A node that takes hundreds over must not make the API server slow for others.
    pace: Pace,
    /// Since when this speaker takes part.
    since: Option<Instant>,
}

/// Writes until nobody says anything any more.
pub(super) async fn run(client: Client, mut says: Says, owner: Option<OwnerReference>) {
    let api = Api::namespaced(client, &says.namespace);
    let mut services =
        Services { api, says: says.clone(), owner, known: BTreeMap::new(), pace: Pace::of_each(), since: None };
    let mut look = Instant::now();
    loop {
        if services.may_write() {
            let result = if Instant::now() >= look {
                look = Instant::now() + says.pause();
                services.look().await
            } else {
                Ok(())
            };
            let result = match result {
                Ok(()) => services.catch_up().await,
                failed => failed,
            };
            if let Err(error) = result {
                tracing::warn!(%error, "who announces what cannot be written (ServiceL2Status); retrying");
                sleep(RETRY).await;
                // What was written meanwhile is not known.
                look = Instant::now();
                continue;
            }
        }
        tokio::select! {
            changed = says.scrape.changed() => if changed.is_err() { return },
            changed = says.standby.changed() => if changed.is_err() { return },
            () = sleep_until(look) => {
                if !services.may_write() {
                    look = Instant::now() + START;
                }
            }
        }
    }
}

impl Services {
    /// While this speaker takes part on no link it does not know what it announces.
    fn may_write(&mut self) -> bool {
        if !self.says.scrape.borrow().links.iter().any(|link| link.present) {
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let served = self.says.served.serves::<ServiceL2Status>();
        if served == Some(false) {
            self.says.served.look_again();
        }
        served == Some(true) && self.says.may_write() && since.elapsed() >= START
    }

    fn announcing(&self) -> Arc<Announcing> {
        Arc::clone(&self.says.scrape.borrow().announcing)
    }

    /// What there is of ours.
    async fn look(&mut self) -> Result<(), CallError> {
        let announcing = self.announcing();
        let mut found = BTreeMap::new();
        let mut params = ListParams::default().labels(&format!("{NODE_LABEL}={}", self.says.node)).limit(PAGE);
        loop {
            let page = bounded(self.api.list(&params)).await?;
            for object in page.items {
                let key = key_of(&object.metadata);
                if object.metadata.name.as_deref() != Some(&*name(&key)) {
                    delete(&self.api, &object.metadata).await?;
                    continue;
                }
                // The announced key's text is shared.
                let key = announcing.get_key_value(&key).map_or(key, |(shared, _)| shared.clone());
                let status = object.status.unwrap_or_default();
                let ours = status.node == self.says.node.as_str();
                found.insert(key, if ours { Known::Ours(links(&status)) } else { Known::Missing });
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        let lost = self.known.keys().filter(|key| announcing.contains_key(*key) && !found.contains_key(*key)).cloned();
        let lost: Vec<ServiceKey> = lost.collect();
        found.extend(lost.into_iter().map(|key| (key, Known::Missing)));
        self.known = found;
        Ok(())
    }

    /// Until everything is said.
    async fn catch_up(&mut self) -> Result<(), CallError> {
        while self.may_write() {
            let todo = differences(&self.known, &self.announcing());
            if todo.is_empty() {
                break;
            }
            for key in todo {
                self.pace.turn().await;
                if !self.may_write() {
                    return Ok(());
                }
                // What is said now may be something else than when the list was made.
                let announced = self.announcing().get(&key).map(|announced| announced.links.clone());
                let began = Instant::now();
                match announced {
                    Some(links) => self.ensure(&key, links).await?,
                    None => self.remove(&key).await?,
                }
                self.pace.took(began.elapsed());
            }
        }
        Ok(())
    }

    async fn ensure(&mut self, key: &ServiceKey, links: Set<LinkName>) -> Result<(), CallError> {
        // Who begins to announce knows better than who did so before; who merely finds its object missing does not.
        let begins = !self.known.contains_key(key);
        let name = name(key);
        let mut ours = false;
        for _ in 0..2 {
            match bounded(self.api.create(&PostParams::default(), &self.object(key))).await {
                Ok(_) => {
                    ours = true;
                    break;
                }
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
            let Some(found) = self.find(&name).await? else { continue };
            let node = NodeName::from(label(&found.metadata, NODE_LABEL));
            if node == self.says.node {
                ours = true;
                break;
            }
            if !begins && self.is_alive(&node) {
                self.known.insert(key.clone(), Known::Others);
                return Ok(());
            }
            delete(&self.api, &found.metadata).await?;
        }
        if !ours {
            // Others are faster; the next look decides.
            self.known.insert(key.clone(), Known::Missing);
            return Ok(());
        }
        let status = ServiceL2StatusStatus {
            node: self.says.node.to_string(),
            service_name: key.name.to_string(),
            service_namespace: key.namespace.to_string(),
            interfaces: links.iter().map(|link| InterfaceInfo { name: link.to_string() }).collect(),
        };
        let patch = Patch::Apply(json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ServiceL2Status",
            "metadata": { "name": name },
            "status": status,
        }));
        match bounded(self.api.patch_status(&name, &PatchParams::apply(MANAGER).force(), &patch)).await {
            Ok(_) => {
                self.known.insert(key.clone(), Known::Ours(links));
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.known.insert(key.clone(), Known::Missing);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn remove(&mut self, key: &ServiceKey) -> Result<(), CallError> {
        if let Some(found) = self.find(&name(key)).await?
            && label(&found.metadata, NODE_LABEL) == self.says.node.as_str()
        {
            delete(&self.api, &found.metadata).await?;
        }
        self.known.remove(key);
        Ok(())
    }

    async fn find(&self, name: &str) -> Result<Option<ServiceL2Status>, CallError> {
        bounded(self.api.get_opt(name)).await
    }

    /// Whether the API shows that the node's speaker works.
    fn is_alive(&self, node: &NodeName) -> bool {
        let observed = self.says.observed.borrow();
        observed.as_ref().is_some_and(|snapshot| snapshot.speakers.get(node).is_some_and(|pod| pod.ready))
    }

    fn object(&self, key: &ServiceKey) -> ServiceL2Status {
        let labels = [
            (NODE_LABEL.to_owned(), self.says.node.to_string()),
            (SERVICE_NAME_LABEL.to_owned(), key.name.to_string()),
            (SERVICE_NAMESPACE_LABEL.to_owned(), key.namespace.to_string()),
        ];
        ServiceL2Status {
            metadata: ObjectMeta {
                name: Some(name(key)),
                labels: Some(labels.into()),
                owner_references: self.owner.clone().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            status: None,
        }
    }
}

/// Services of which something else is said than what is written.
fn differences(known: &BTreeMap<ServiceKey, Known>, announcing: &Announcing) -> BTreeSet<ServiceKey> {
    let right = |key: &ServiceKey, links: &Set<LinkName>| match known.get(key) {
        Some(Known::Ours(written)) => written == links,
        Some(Known::Others) => true,
        Some(Known::Missing) | None => false,
    };
    let new = announcing.iter().filter(|(key, announced)| !right(key, &announced.links)).map(|(key, _)| key);
    let gone = known.keys().filter(|key| !announcing.contains_key(*key));
    new.chain(gone).cloned().collect()
}

/// The name of a Service's object: `l2-` as MetalLB's, and a hash, as the two names together may be too long.
pub(super) fn name(key: &ServiceKey) -> String {
    let hash = Sha256::digest(key.to_string());
    hash.iter().take(10).fold("l2-".to_owned(), |mut name, byte| {
        // Writing to a String does not fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// The Service that an object is about.
pub(super) fn key_of(object: &ObjectMeta) -> ServiceKey {
    ServiceKey::new(label(object, SERVICE_NAMESPACE_LABEL), label(object, SERVICE_NAME_LABEL))
}

fn links(status: &ServiceL2StatusStatus) -> Set<LinkName> {
    status.interfaces.iter().map(|interface| LinkName::from(interface.name.as_str())).collect()
}
