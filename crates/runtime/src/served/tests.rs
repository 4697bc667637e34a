use super::*;
use herald_testkit::fake_api::{FakeApi, Id};
use serde_json::json;

const VERSION: &str = "example.test/v1";

#[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
struct Thing {
    metadata: kube::api::ObjectMeta,
}

impl Resource for Thing {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        "Thing".into()
    }
    fn group((): &()) -> std::borrow::Cow<'_, str> {
        "example.test".into()
    }
    fn version((): &()) -> std::borrow::Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        "things".into()
    }
    fn meta(&self) -> &kube::api::ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut kube::api::ObjectMeta {
        &mut self.metadata
    }
}

fn start(api: &FakeApi) -> (mpsc::Receiver<Change<String>>, herald_testkit::fake_api::Wire, Served) {
    let (client, wire) = api.client();
    let shutdown = Shutdown::manual();
    let served = Served::start(client.clone(), &[VERSION], shutdown.clone());
    let (tx, rx) = mpsc::channel(16);
    let name = |thing: Thing| thing.metadata.name;
    let api = Objects::<Thing>::namespaced(client, "ns");
    let _task = spawn(served.clone(), api, objects::config(), name, |change| change, tx, shutdown);
    (rx, wire, served)
}

async fn next(rx: &mut mpsc::Receiver<Change<String>>) -> Change<String> {
    rx.recv().await.unwrap()
}

fn names(change: &Change<String>) -> Vec<String> {
    match change {
        Change::Reset { objects, .. } => objects.values().cloned().collect(),
        other => panic!("no list: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_complete_and_comes_later() {
    let api = FakeApi::new();
    let (mut rx, wire, served) = start(&api);
    assert!(names(&next(&mut rx).await).is_empty());
    assert_eq!(served.serves::<Thing>(), Some(false));

    // An hour of waiting costs one discovery request every ten seconds, and no list.
    sleep(Duration::from_secs(3600)).await;
    let seen = wire.seen();
    assert!(seen.len() <= 362, "{} requests", seen.len());
    assert!(seen.iter().all(|request| request.path == "/apis/example.test/v1"), "{seen:?}");

    api.serve_custom(VERSION, &["things"]);
    api.put(&Id::new("things", "ns", "a"), json!({ "apiVersion": VERSION, "kind": "Thing" }));
    assert_eq!(names(&next(&mut rx).await), ["a"]);
    assert_eq!(served.serves::<Thing>(), Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_removed_vanishes_and_may_return() {
    let api = FakeApi::new();
    api.serve_custom(VERSION, &["things", "others"]);
    let id = Id::new("things", "ns", "a");
    api.put(&id, json!({ "apiVersion": VERSION, "kind": "Thing" }));
    let (mut rx, wire, _served) = start(&api);
    assert_eq!(names(&next(&mut rx).await), ["a"]);

    api.serve_custom(VERSION, &["others"]);
    wire.drop_watches();
    assert!(matches!(next(&mut rx).await, Change::Vanished));

    api.serve_custom(VERSION, &["things"]);
    assert_eq!(names(&next(&mut rx).await), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_is_no_answer() {
    let api = FakeApi::new();
    let (client, wire) = api.client();
    wire.cut();
    let served = Served::start(client, &[VERSION], Shutdown::manual());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(served.serves::<Thing>(), None);
    wire.restore();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(served.serves::<Thing>(), Some(false));
}

/// What the API server does when a CRD is deleted: the objects first, one by one.
#[tokio::test(start_paused = true)]
async fn objects_that_go_with_their_definition_vanish() {
    let api = FakeApi::new();
    api.serve_custom(VERSION, &["things"]);
    let (a, b) = (Id::new("things", "ns", "a"), Id::new("things", "ns", "b"));
    for id in [&a, &b] {
        api.put(id, json!({ "apiVersion": VERSION, "kind": "Thing" }));
    }
    let (mut rx, wire, served) = start(&api);
    assert_eq!(names(&next(&mut rx).await), ["a", "b"]);

    api.terminate_custom(VERSION);
    api.delete(&a);
    assert!(matches!(next(&mut rx).await, Change::Vanished));
    // What follows is no news to anybody.
    api.delete(&b);
    assert!(matches!(next(&mut rx).await, Change::Gone { .. }));
    api.serve_custom(VERSION, &[]);
    wire.drop_watches();
    assert!(matches!(next(&mut rx).await, Change::Vanished));
    assert_eq!(served.serves::<Thing>(), Some(false));

    api.serve_custom(VERSION, &["things"]);
    assert!(names(&next(&mut rx).await).is_empty());
    // And objects that somebody deletes are gone: looked into together.
    let many: Vec<Id> = (0..10).map(|number| Id::new("things", "ns", &format!("t{number}"))).collect();
    for id in &many {
        api.put(id, json!({ "apiVersion": VERSION, "kind": "Thing" }));
        assert!(matches!(next(&mut rx).await, Change::Set { .. }));
    }
    let began = tokio::time::Instant::now();
    many.iter().for_each(|id| assert!(api.delete(id)));
    for _ in &many {
        assert!(matches!(next(&mut rx).await, Change::Gone { .. }));
    }
    assert!(began.elapsed() <= DOUBTS.iter().sum::<Duration>() * 2, "{:?} of virtual time", began.elapsed());
}
