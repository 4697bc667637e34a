//! Several speakers and one API server: who writes what, and when nobody does.

use super::*;
use crate::{
    metrics::LinkScrape,
    net::{answer::AnswerTable, hello_io::HelloCounters, responder::ResponderCounters},
};
use herald_api::crd::{NODE_LABEL, NODE_NAME_LABEL};
use herald_core::{
    ServiceKey,
    labels::Labels,
    node::{Node, SpeakerPod},
    ownership::Announceable,
    service::{Serving, TrafficPolicy},
    speaker::{Announced, Announcing},
};
use herald_runtime::served::Served;
use herald_testkit::fake_api::{FakeApi, Id, Wire};
use herald_wire::hello::Stamp;
use serde_json::{Value, json};

const NAMESPACE: &str = "metallb-system";
const SERVED: &[&str] = &["servicel2statuses", "configurationstates"];

/// A speaker's writing, with the other ends of its channels.
struct Speaker {
    scrape: watch::Sender<Arc<Scrape>>,
    observed: watch::Sender<Option<Arc<Snapshot>>>,
    standby: watch::Sender<Option<bool>>,
    summary: watch::Sender<Option<Arc<str>>>,
    wire: Wire,
}

fn api() -> FakeApi {
    let api = FakeApi::new();
    api.serve_custom("metallb.io/v1beta1", SERVED);
    api
}

impl Speaker {
    fn start(api: &FakeApi, node: &str) -> Self {
        let owner = json!([{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "herald-speaker", "uid": "ds", "controller": true }]);
        let pod = Id::new("pods", NAMESPACE, node);
        api.put(&pod, json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "ownerReferences": owner } }));
        let (client, wire) = api.client();
        let shutdown = Shutdown::manual();
        let (scrape, scrape_now) = watch::channel(Arc::default());
        let (observed, observed_now) = watch::channel(Some(Arc::new(snapshot(&["a", "b"], &["web"]))));
        let (standby, standby_now) = watch::channel(Some(false));
        let (summary, summary_now) = watch::channel(None);
        let says = Says {
            node: node.into(),
            namespace: NAMESPACE.to_owned(),
            pod: node.to_owned(),
            scrape: scrape_now,
            observed: observed_now,
            standby: standby_now,
            summary: summary_now,
            served: Served::start(client.clone(), &["metallb.io/v1beta1"], shutdown.clone()),
        };
        super::start(&client, says, shutdown);
        Self { scrape, observed, standby, summary, wire }
    }

    /// Announces these Services of namespace `shop`, on these interfaces.
    fn announces(&self, services: &[(&str, &[&str])]) {
        let announced = |links: &[&str]| Announced {
            addresses: herald_core::Set::default(),
            links: links.iter().map(|link| (*link).into()).collect(),
        };
        let announcing: Announcing =
            services.iter().map(|(name, links)| (ServiceKey::new("shop", *name), announced(links))).collect();
        self.publish(announcing, true);
    }

    fn publish(&self, announcing: Announcing, present: bool) {
        let link = LinkScrape {
            name: "eth0".into(),
            members: 1,
            presumed: 0,
            restarting: 0,
            present,
            withheld: std::collections::BTreeMap::new(),
            table: Arc::new(AnswerTable::default()),
            responder: Arc::new(ResponderCounters::default()),
            hello: Arc::new(HelloCounters::default()),
        };
        let scrape = Scrape { announcing: Arc::new(announcing), links: vec![link], ..Scrape::default() };
        self.scrape.send_replace(Arc::new(scrape));
    }
}

fn snapshot(nodes: &[&str], services: &[&str]) -> Snapshot {
    let node = |name: &&str| Node {
        name: (*name).into(),
        labels: Labels::default(),
        excluded: false,
        network_unavailable: false,
        evacuation: None,
        internal_ips: vec![],
    };
    let service = Announceable {
        uid: "u".into(),
        labels: Labels::default(),
        addresses: Arc::default(),
        traffic_policy: TrafficPolicy::Cluster,
        serving: Arc::new(Serving::default()),
        moved: None,
    };
    Snapshot {
        nodes: nodes.iter().map(|name| ((*name).into(), node(name))).collect(),
        speakers: nodes.iter().map(|name| ((*name).into(), SpeakerPod { node: (*name).into(), ready: true })).collect(),
        services: services.iter().map(|name| (ServiceKey::new("shop", *name), service.clone())).collect(),
        stamp: Stamp { connected: true, resource_version: 1 },
        ..Snapshot::default()
    }
}

async fn settle() {
    sleep(Duration::from_secs(5)).await;
}

/// Node and interfaces of every report, by Service.
fn reports(api: &FakeApi) -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let report = |object: Value| {
        let status = &object["status"];
        assert_eq!(status["node"], object["metadata"]["labels"][NODE_LABEL], "{object}");
        (text(&status["serviceName"]), text(&status["node"]), status["interfaces"].clone())
    };
    let mut reports: Vec<_> = api.list("servicel2statuses").into_iter().map(report).collect();
    reports.sort_by(|a, b| a.0.cmp(&b.0));
    reports
}

fn reported(service: &str, node: &str) -> (String, String, Value) {
    (service.to_owned(), node.to_owned(), Value::Null)
}

/// A complete report about `shop/web`.
fn report(node: &str) -> Value {
    let labels = json!({
        "metallb.io/node": node, "metallb.io/service-name": "web", "metallb.io/service-namespace": "shop",
    });
    let status = json!({ "node": node, "serviceName": "web", "serviceNamespace": "shop" });
    json!({ "metadata": { "labels": labels }, "status": status })
}

#[tokio::test(start_paused = true)]
async fn a_report_comes_changes_and_goes_with_what_is_announced() {
    let api = api();
    let speaker = Speaker::start(&api, "a");
    speaker.announces(&[("web", &[])]);
    settle().await;
    assert_eq!(reports(&api), [reported("web", "a")]);
    let object = api.list("servicel2statuses").remove(0);
    let metadata = &object["metadata"];
    let labels = json!({
        "metallb.io/node": "a", "metallb.io/service-name": "web", "metallb.io/service-namespace": "shop",
    });
    assert_eq!(metadata["labels"], labels);
    assert_eq!(metadata["ownerReferences"][0]["kind"], "DaemonSet");
    assert!(metadata["name"].as_str().unwrap().starts_with("l2-"), "{metadata}");
    assert!(metadata["ownerReferences"][0]["controller"].is_null(), "nobody else's controller: {metadata}");

    let writes = speaker.wire.writes();
    speaker.announces(&[("web", &[])]);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(speaker.wire.writes(), writes, "written though nothing changed");

    speaker.announces(&[("web", &["eth1", "eth2"]), ("db", &[])]);
    settle().await;
    let interfaces = json!([{ "name": "eth1" }, { "name": "eth2" }]);
    assert_eq!(reports(&api), [reported("db", "a"), ("web".to_owned(), "a".to_owned(), interfaces)]);
    speaker.announces(&[("db", &[])]);
    settle().await;
    assert_eq!(reports(&api), [reported("db", "a")]);
}

#[tokio::test(start_paused = true)]
async fn the_node_that_takes_over_replaces_the_report_and_the_former_one_lets_it_be() {
    let api = api();
    let (a, b) = (Speaker::start(&api, "a"), Speaker::start(&api, "b"));
    a.announces(&[("web", &[])]);
    b.announces(&[]);
    settle().await;
    // The new one is faster than the old one, and the other way round.
    b.announces(&[("web", &[])]);
    settle().await;
    assert_eq!(reports(&api), [reported("web", "b")]);
    a.announces(&[]);
    settle().await;
    assert_eq!(reports(&api), [reported("web", "b")]);
    b.announces(&[]);
    settle().await;
    assert_eq!(reports(&api), []);
    a.announces(&[("web", &[])]);
    settle().await;
    assert_eq!(reports(&api), [reported("web", "a")]);
}

#[tokio::test(start_paused = true)]
async fn two_that_announce_for_good_do_not_fight() {
    let api = api();
    let (a, b) = (Speaker::start(&api, "a"), Speaker::start(&api, "b"));
    a.announces(&[("web", &[])]);
    settle().await;
    b.announces(&[("web", &[])]);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(reports(&api), [reported("web", "b")], "who began last");
    let writes = a.wire.writes() + b.wire.writes();
    sleep(Duration::from_secs(1200)).await;
    // A refused creation at each look is a try, not a write.
    assert_eq!(a.wire.writes() + b.wire.writes(), writes);
    // The last one dies: the other one speaks again.
    let mut alone = snapshot(&["a"], &["web"]);
    alone.nodes = snapshot(&["a", "b"], &[]).nodes;
    a.observed.send_replace(Some(Arc::new(alone)));
    drop(b);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(reports(&api), [reported("web", "a")]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_report_is_made_again_and_a_foreign_one_of_ours_taken_away() {
    let api = api();
    let speaker = Speaker::start(&api, "a");
    speaker.announces(&[("web", &[])]);
    settle().await;
    let name = api.list("servicel2statuses")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let labels = api.list("servicel2statuses")[0]["metadata"]["labels"].clone();
    api.delete(&Id::new("servicel2statuses", NAMESPACE, &name));
    // As MetalLB names them.
    let object = json!({ "metadata": { "labels": labels }, "status": { "node": "a", "serviceName": "web" } });
    api.put(&Id::new("servicel2statuses", NAMESPACE, "l2-x7z9q"), object);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(reports(&api), [reported("web", "a")]);
    assert_eq!(api.list("servicel2statuses")[0]["metadata"]["name"], *name);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_in_standby_nor_before_taking_part_nor_without_the_kind() {
    let api = api();
    let speaker = Speaker::start(&api, "a");
    speaker.summary.send_replace(Some("".into()));
    speaker.standby.send_replace(Some(true));
    speaker.announces(&[("web", &[])]);
    settle().await;
    let states = api.list("configurationstates").len();
    assert_eq!((reports(&api).len(), states), (0, 0));
    speaker.publish(Announcing::default(), false);
    speaker.standby.send_replace(Some(false));
    let before = Id::new("servicel2statuses", NAMESPACE, &services::name(&ServiceKey::new("shop", "web")));
    api.put(&before, report("a"));
    sleep(Duration::from_secs(60)).await;
    assert!(api.get(&before).is_some(), "its own, from before a restart");

    let none = FakeApi::new();
    let speaker = Speaker::start(&none, "a");
    speaker.summary.send_replace(Some("".into()));
    speaker.announces(&[("web", &[])]);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(speaker.wire.writes(), 0);
    none.serve_custom("metallb.io/v1beta1", SERVED);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(reports(&none), [reported("web", "a")], "installed later");
    assert_eq!(none.list("configurationstates").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_made_good() {
    let api = api();
    let speaker = Speaker::start(&api, "a");
    speaker.announces(&[]);
    settle().await;
    speaker.wire.cut();
    speaker.announces(&[("web", &[])]);
    settle().await;
    speaker.wire.restore();
    settle().await;
    assert_eq!(reports(&api), [reported("web", "a")]);
    // The object was made, its status was not.
    speaker.wire.refuse_writes_to("/status", 500);
    speaker.announces(&[("web", &[]), ("db", &[])]);
    settle().await;
    speaker.wire.restore();
    settle().await;
    assert_eq!(reports(&api), [reported("db", "a"), reported("web", "a")]);
}

#[tokio::test(start_paused = true)]
async fn the_configuration_state_says_what_is_wrong_and_comes_back() {
    let api = api();
    let speaker = Speaker::start(&api, "a");
    speaker.summary.send_replace(Some("".into()));
    settle().await;
    let id = Id::new("configurationstates", NAMESPACE, "speaker-a");
    let state = api.get(&id).unwrap();
    let labels = json!({ "metallb.io/component-type": "speaker", "metallb.io/node-name": "a" });
    assert_eq!(state["metadata"]["labels"], labels);
    assert!(state["metadata"]["annotations"].is_null() && state["metadata"]["generateName"].is_null());
    assert_eq!((&state["status"]["result"], &state["status"]["errorSummary"]), (&json!("Valid"), &json!("")));
    let condition = &state["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("configReconcilerValid"), &json!("True")));

    let writes = speaker.wire.writes();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(speaker.wire.writes(), writes, "written though nothing changed");

    speaker.summary.send_replace(Some("configuration error: x".into()));
    settle().await;
    let status = api.get(&id).unwrap()["status"].clone();
    assert_eq!((&status["result"], &status["errorSummary"]), (&json!("Invalid"), &json!("configuration error: x")));
    assert_eq!(status["conditions"][0]["reason"], "ConfigurationError");

    api.delete(&id);
    sleep(Duration::from_secs(59)).await;
    assert_eq!(api.get(&id).unwrap()["status"]["result"], "Invalid", "back within a minute");
    speaker.summary.send_replace(Some("".into()));
    settle().await;
    assert_eq!(api.get(&id).unwrap()["status"]["result"], "Valid");
}

#[tokio::test(start_paused = true)]
async fn the_configuration_state_says_which_addresses_somebody_else_has() {
    let api = api();
    let speaker = Speaker::start(&api, "a");
    speaker.summary.send_replace(Some("".into()));
    settle().await;
    let id = Id::new("configurationstates", NAMESPACE, "speaker-a");
    let told = || api.get(&id).unwrap()["status"]["conditions"].as_array().unwrap().clone();
    assert_eq!(told().len(), 1);
    let conflict = "192.0.2.1 eth0 held 02:ff:00:00:00:01";
    let scrape = |conflicts: &[&str]| {
        let conflicts = conflicts.iter().map(|it| it.parse().unwrap()).collect();
        speaker.scrape.send_replace(Arc::new(Scrape { conflicts, ..Scrape::default() }));
    };
    scrape(&[conflict]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((&told()[1]["type"], &told()[1]["message"]), (&json!("herald.io/AddressConflicts"), &json!(conflict)));
    assert_eq!(api.get(&id).unwrap()["status"]["result"], "Valid", "the configuration is what it was");
    let writes = speaker.wire.writes();
    scrape(&[conflict]);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(speaker.wire.writes(), writes, "told once");
    scrape(&[]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(told().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn reports_of_nobody_are_cleaned_by_one_speaker() {
    let api = api();
    let (a, b) = (Speaker::start(&api, "a"), Speaker::start(&api, "b"));
    for speaker in [&a, &b] {
        speaker.announces(&[]);
        speaker.summary.send_replace(Some("".into()));
    }
    let orphan = |name: &str, node: &str, service: &str| {
        let labels = json!({ "metallb.io/node": node, "metallb.io/service-name": service, "metallb.io/service-namespace": "shop" });
        let status = json!({ "node": node, "serviceName": service, "serviceNamespace": "shop" });
        api.put(
            &Id::new("servicel2statuses", NAMESPACE, name),
            json!({ "metadata": { "labels": labels }, "status": status }),
        );
    };
    let right = services::name(&ServiceKey::new("shop", "web"));
    orphan(&right, "gone", "web");
    orphan("l2-abc", "b", "web");
    orphan("l2-def", "b", "deleted");
    api.put(
        &Id::new("configurationstates", NAMESPACE, "speaker-gone"),
        json!({ "metadata": { "labels": { NODE_NAME_LABEL: "gone" } } }),
    );
    api.put(&Id::new("configurationstates", NAMESPACE, "controller"), json!({ "metadata": {} }));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(reports(&api), []);
    let states: Vec<Value> =
        api.list("configurationstates").into_iter().map(|o| o["metadata"]["name"].clone()).collect();
    assert_eq!(states, ["controller", "speaker-a", "speaker-b"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_restarts_keeps_its_reports_for_a_while_and_a_dead_one_does_not() {
    let api = api();
    let a = Speaker::start(&api, "a");
    a.announces(&[]);
    let id = Id::new("servicel2statuses", NAMESPACE, &services::name(&ServiceKey::new("shop", "web")));
    api.put(&id, report("b"));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(reports(&api), [reported("web", "b")]);
    let mut down = snapshot(&["a", "b"], &["web"]);
    down.speakers.get_mut(&"b".into()).unwrap().ready = false;
    a.observed.send_replace(Some(Arc::new(down)));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(reports(&api), [reported("web", "b")]);
    sleep(Duration::from_secs(90)).await;
    assert_eq!(reports(&api), []);
}
