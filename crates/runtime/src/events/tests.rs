use super::*;
use herald_api::event::{About, Kind};
use herald_core::ServiceKey;
use herald_testkit::fake_api::FakeApi;

fn notice(name: &str, message: &str) -> Notice {
    Notice {
        about: About::service(&ServiceKey::new("ns", name), &format!("uid-{name}").into()),
        kind: Kind::Warning,
        reason: "AllocationFailed",
        message: message.to_owned(),
    }
}

fn worker() -> Worker {
    Worker {
        client: FakeApi::new().client().0,
        component: "herald-controller".to_owned(),
        instance: "pod".to_owned(),
        known: BTreeMap::new(),
        sequence: 0,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test]
async fn a_repeat_counts_and_keeps_name_and_first_time() {
    let mut worker = worker();
    let (first, _) = worker.next(&notice("a", "full"), at(10));
    let (again, known) = worker.next(&notice("a", "full"), at(20));
    assert_eq!(known.count, 2);
    assert_eq!(again.metadata.name, first.metadata.name);
    assert_eq!(again.first_timestamp, Some(Time(at(10))));
    assert_eq!(again.last_timestamp, Some(Time(at(20))));
}

#[tokio::test]
async fn another_message_or_object_is_another_event() {
    let mut worker = worker();
    let names: std::collections::BTreeSet<_> = [notice("a", "full"), notice("a", "empty"), notice("b", "full")]
        .iter()
        .map(|notice| worker.next(notice, at(10)).0.metadata.name)
        .collect();
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn an_event_carries_what_tools_sort_and_filter_by() {
    let (event, _) = worker().next(&notice("a", "full"), at(10));
    assert_eq!(event.metadata.namespace.as_deref(), Some("ns"));
    assert_eq!(event.source.unwrap().component.as_deref(), Some("herald-controller"));
    assert_eq!(event.reporting_component.as_deref(), Some("herald-controller"));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.last_timestamp, Some(Time(at(10))));
    assert_eq!(event.count, Some(1));
}

#[tokio::test]
async fn memory_is_bounded_and_the_newest_is_remembered() {
    let mut worker = worker();
    for i in 0..=REMEMBERED {
        let _ = worker.next(&notice(&format!("s{i}"), "full"), at(10));
    }
    assert!(worker.known.len() <= REMEMBERED);
    let (_, known) = worker.next(&notice(&format!("s{REMEMBERED}"), "full"), at(11));
    assert_eq!(known.count, 2);
}

#[tokio::test(start_paused = true)]
async fn repeats_become_one_object_and_an_expired_one_is_written_anew() {
    let api = FakeApi::new();
    let (client, _) = api.client();
    let shutdown = Shutdown::manual();
    let (writer, task) = EventWriter::start(client, "herald-controller", "pod", Pace::of_one(), shutdown.clone());
    let settle = async || tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    for _ in 0..3 {
        writer.publish(notice("a", "full"));
        settle().await;
    }
    let events = api.list("events");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["count"], 3);
    let name = events[0]["metadata"]["name"].as_str().unwrap();
    assert!(api.delete(&herald_testkit::fake_api::Id::new("events", "ns", name)));
    writer.publish(notice("a", "full"));
    settle().await;
    assert_eq!(api.list("events")[0]["count"], 4);
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_and_counts_and_never_waits() {
    let api = FakeApi::new();
    let (client, _) = api.client();
    let (writer, _task) = EventWriter::start(client, "herald-controller", "pod", Pace::of_one(), Shutdown::manual());
    for i in 0..QUEUE + 100 {
        writer.publish(notice(&format!("s{i}"), "full"));
    }
    assert_eq!(writer.dropped(), 100);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let names: Vec<String> =
        api.list("events").iter().map(|event| event["involvedObject"]["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.contains(&"s100".to_owned()), "the oldest of those that are left comes first: {names:?}");
    assert!(!names.contains(&"s99".to_owned()), "it gave way: {names:?}");
}
