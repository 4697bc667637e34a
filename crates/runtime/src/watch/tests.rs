use super::*;
use futures::{Stream, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

fn object(name: &str, version: u64) -> Raw {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "namespace": "ns", "name": name, "resourceVersion": version.to_string() },
        "data": { "value": version.to_string() },
    }))
    .unwrap()
}

fn malformed(name: &str) -> Raw {
    let raw: Raw = serde_json::from_value(json!({
        "metadata": { "namespace": "ns", "name": name, "resourceVersion": "5" }, "data": "no map",
    }))
    .unwrap();
    assert!(raw.clone().read::<ConfigMap>().is_err(), "the test object must be malformed");
    raw
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "ns".into(), name: name.into() }
}

/// What the value of an object's data is; objects called `other` are not ours.
fn read(raw: Raw) -> Result<Option<String>, serde_json::Error> {
    let object: ConfigMap = raw.read()?;
    let ours = object.metadata.name.as_deref() != Some("other");
    Ok(ours.then(|| object.data.unwrap_or_default()["value"].clone()))
}

fn source(events: impl Stream<Item = watcher::Result<Event<Raw>>> + Send + 'static, answers: bool) -> Source {
    Source {
        events: events.boxed(),
        answers: Box::new(move || Box::pin(async move { answers })),
        kind: "ConfigMap".into(),
    }
}

async fn changes(events: Vec<watcher::Result<Event<Raw>>>) -> Vec<Change<String>> {
    let (tx, mut rx) = mpsc::channel(100);
    follow(source(stream::iter(events), false), &read, &|change| change, &tx, &mut 0).await;
    drop(tx);
    let mut out = Vec::new();
    while let Some(change) = rx.recv().await {
        out.push(change);
    }
    out
}

fn reset<const N: usize>(objects: [(&str, &str); N], newest: u64) -> Change<String> {
    Change::Reset { objects: objects.map(|(name, value)| (key(name), value.to_owned())).into(), newest }
}

#[tokio::test]
async fn a_list_is_one_reset_and_a_second_one_lacks_what_vanished() {
    let seen = changes(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(object("a", 3))),
        Ok(Event::InitApply(object("b", 7))),
        Ok(Event::InitApply(object("other", 9))),
        Ok(Event::InitDone),
        Ok(Event::Init),
        Ok(Event::InitApply(object("b", 7))),
        Ok(Event::InitDone),
    ])
    .await;
    assert_eq!(seen, [reset([("a", "3"), ("b", "7")], 9), reset([("b", "7")], 9)]);
}

#[tokio::test]
async fn an_interrupted_list_shows_nothing() {
    let seen = changes(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(object("a", 3))),
        Err(watcher::Error::NoResourceVersion),
        Ok(Event::Init),
        Ok(Event::InitApply(object("b", 4))),
        Ok(Event::InitDone),
    ])
    .await;
    assert!(matches!(seen[0], Change::Disconnected(_)));
    assert_eq!(seen[1..], [reset([("b", "4")], 4)]);
}

#[tokio::test]
async fn an_object_that_is_ours_no_more_is_gone() {
    let seen = changes(vec![
        Ok(Event::Apply(object("a", 3))),
        Ok(Event::Apply(object("other", 4))),
        Ok(Event::Delete(object("a", 8))),
    ])
    .await;
    assert_eq!(
        seen,
        [
            Change::Set { key: key("a"), value: "3".to_owned(), newest: 3 },
            Change::Gone { key: key("other"), newest: 4 },
            Change::Gone { key: key("a"), newest: 8 },
        ]
    );
}

#[tokio::test]
async fn a_malformed_object_ends_nothing() {
    let seen = changes(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(malformed("bad"))),
        Ok(Event::InitApply(object("a", 3))),
        Ok(Event::InitDone),
        Ok(Event::Apply(malformed("a"))),
        Ok(Event::Apply(object("b", 6))),
    ])
    .await;
    assert_eq!(seen, [reset([("a", "3")], 5), Change::Set { key: key("b"), value: "6".to_owned(), newest: 6 }]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_after_a_failure_is_found_connected() {
    let events = vec![Ok(Event::Init), Ok(Event::InitDone), Err(watcher::Error::NoResourceVersion)];
    let stream = stream::iter(events).chain(stream::pending());
    let (tx, mut rx) = mpsc::channel(100);
    let task = tokio::spawn(async move { follow(source(stream, true), &read, &|change| change, &tx, &mut 0).await });
    assert_eq!(rx.recv().await, Some(reset([], 0)));
    assert!(matches!(rx.recv().await, Some(Change::Disconnected(_))));
    assert_eq!(rx.recv().await, Some(Change::Connected));
    task.abort();
}

#[tokio::test]
async fn a_kind_that_is_not_served_ends_the_watch() {
    let status = kube::core::Status::failure("the server could not find the requested resource", "NotFound");
    let error = watcher::Error::InitialListFailed(kube::Error::Api(status.with_code(404).boxed()));
    let (tx, _rx) = mpsc::channel(100);
    let events = stream::iter(vec![Err(error)]).chain(stream::pending());
    let mut newest = 7;
    let ended = follow(source(events, true), &read, &|change| change, &tx, &mut newest).await;
    assert_eq!((ended, newest), (Ended::NotServed, 7));
}
