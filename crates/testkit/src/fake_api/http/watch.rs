//! Watches as streams of lines.

use super::{Answer, Break, FakeApi, Target, Wire, status_value};
use crate::fake_api::store::Entry;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible};
use tokio::sync::watch;

/// Streams what happens after the given version until the wire breaks.
pub(super) fn stream(api: FakeApi, wire: &Wire, target: &Target, query: &BTreeMap<String, String>) -> Answer {
    let from = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let wake = api.store().wake.subscribe();
    let follow = Follow {
        api,
        from,
        resource: target.resource.clone(),
        namespace: target.namespace.clone(),
        selected: Selected::new(query),
        wake,
        breaks: wire.state.watches.subscribe(),
        ended: false,
    };
    let frames = follow.lines().map(|line| Ok::<_, Infallible>(Frame::data(Bytes::from(line))));
    Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)))
}

struct Follow {
    api: FakeApi,
    from: u64,
    resource: String,
    namespace: Option<String>,
    selected: Selected,
    wake: watch::Receiver<u64>,
    breaks: watch::Receiver<Break>,
    ended: bool,
}

impl Follow {
    fn lines(self) -> impl Stream<Item = String> + Send {
        stream::unfold(self, |mut follow| async move {
            let lines = follow.next().await?;
            Some((stream::iter(lines), follow))
        })
        .flatten()
    }

    /// The next batch of lines; `None` when the watch is over.
    async fn next(&mut self) -> Option<Vec<String>> {
        loop {
            if self.ended || self.breaks.has_changed().unwrap_or(true) {
                let expired = self.breaks.borrow_and_update().expired && !self.ended;
                self.ended = true;
                return expired.then(|| vec![line("ERROR", &status_value(410, "Expired", "too old resource version"))]);
            }
            self.wake.mark_unchanged();
            let entries = self.api.store().since(self.from);
            let Some(entries) = entries else {
                // As a real one: an event in the stream, not a status of the answer.
                self.ended = true;
                return Some(vec![line("ERROR", &status_value(410, "Expired", "too old resource version"))]);
            };
            let mut lines = Vec::new();
            for entry in entries {
                self.from = entry.version;
                lines.extend(self.line(&entry));
            }
            if !lines.is_empty() {
                return Some(lines);
            }
            tokio::select! {
                _ = self.wake.changed() => {}
                _ = self.breaks.changed() => {
                    // Seen by the check above: `changed` marks it as seen, so say it again.
                    self.breaks.mark_changed();
                }
            }
        }
    }

    fn line(&self, entry: &Entry) -> Option<String> {
        let ours = entry.id.resource == self.resource
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == entry.id.namespace);
        if !ours {
            return None;
        }
        let matches = self.selected.matches(&entry.object);
        match (entry.kind, matches) {
            (kind, true) => Some(line(kind, &entry.object)),
            // It may have matched before; a watch is told so. Once too often harms nobody.
            ("MODIFIED", false) => Some(line("DELETED", &entry.object)),
            (_, false) => None,
        }
    }
}

/// Label selectors of the forms `key=value` and `key`, joined by commas; field selectors only by `metadata.name`.
#[derive(Debug)]
pub(super) struct Selected {
    labels: Vec<(String, Option<String>)>,
    name: Option<String>,
}

impl Selected {
    pub(super) fn new(query: &BTreeMap<String, String>) -> Self {
        let labels = query
            .get("labelSelector")
            .into_iter()
            .flat_map(|text| text.split(','))
            .filter(|part| !part.is_empty())
            .map(|part| match part.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.trim_start_matches('=').to_owned())),
                None => (part.to_owned(), None),
            })
            .collect();
        let name = query.get("fieldSelector").and_then(|text| text.strip_prefix("metadata.name=")).map(str::to_owned);
        Self { labels, name }
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        self.name.as_ref().is_none_or(|name| metadata["name"] == name.as_str())
            && self.labels.iter().all(|(key, value)| match (&metadata["labels"][key], value) {
                (Value::Null, _) => false,
                (label, Some(value)) => label == value.as_str(),
                (_, None) => true,
            })
    }
}

fn line(kind: &str, object: &Value) -> String {
    // The type first, as every Kubernetes API server writes it.
    format!("{{\"type\":{},\"object\":{object}}}\n", json!(kind))
}
