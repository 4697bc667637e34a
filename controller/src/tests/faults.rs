//! Faults of the API server: allocation ends right, nothing is doubled.

use super::{cluster::id, *};

#[tokio::test(start_paused = true)]
async fn services_get_the_lowest_addresses_in_the_order_of_their_creation() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.13");
    let _replica = Replica::start(&cluster, "a").await;
    cluster.service("web");
    cluster.pass(1).await;
    cluster.service("api");
    cluster.pass(1).await;
    assert_eq!(cluster.addresses("web"), ["192.168.56.11"]);
    assert_eq!(cluster.addresses("api"), ["192.168.56.12"]);
    let object = cluster.api.get(&id("web")).unwrap();
    assert_eq!(object["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"], "pool");
    let told = ("IPAllocated".to_owned(), r#"Assigned IP ["192.168.56.11"]"#.to_owned());
    assert_eq!(cluster.events("web"), [told]);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_resolved_by_the_newer_object() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.13");
    let replica = Replica::start(&cluster, "a").await;
    cluster.pass(1).await;
    replica.wire.refuse_next_write(409);
    cluster.service("web");
    cluster.pass(3).await;
    assert_eq!(replica.answered(409), 1);
    assert_eq!(cluster.addresses("web"), ["192.168.56.11"]);
    assert_eq!(cluster.reasons("web"), ["IPAllocated"]);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_failed_write_ends_right_and_is_told_once() {
    for code in [403, 404, 409, 422, 429, 500, 503] {
        let cluster = Cluster::with_pool("192.168.56.11-192.168.56.30");
        let replica = Replica::start(&cluster, "a").await;
        cluster.pass(1).await;
        for _ in 0..15 {
            replica.wire.refuse_next_write(code);
        }
        cluster.services(10);
        cluster.pass(60).await;
        assert_eq!(cluster.assigned(), 10, "after {code}");
        assert!(replica.answered(code) >= 10, "{code} was not met");
        assert_eq!(cluster.reasons("s0003"), ["IPAllocated"], "after {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_answers_double_nothing_and_are_told_once() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.30");
    let replica = Replica::start(&cluster, "a").await;
    cluster.pass(1).await;
    replica.wire.lose_answers(8);
    cluster.services(10);
    cluster.pass(30).await;
    assert_eq!(cluster.assigned(), 10);
    for name in ["s0000", "s0005", "s0009"] {
        assert_eq!(cluster.reasons(name), ["IPAllocated"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_vanishes_behind_a_dropped_watch_frees_its_address() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.11");
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("old");
    cluster.pass(1).await;
    assert_eq!(cluster.addresses("old"), ["192.168.56.11"]);
    cluster.service("new");
    cluster.pass(1).await;
    assert!(cluster.addresses("new").is_empty());
    replica.wire.cut();
    cluster.api.delete(&id("old"));
    // Nobody can tell any more that it was deleted: the list just lacks it.
    cluster.api.compact();
    cluster.pass(5).await;
    replica.wire.restore();
    cluster.pass(15).await;
    assert_eq!(cluster.addresses("new"), ["192.168.56.11"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_watch_lists_again_and_goes_on() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.30");
    let replica = Replica::start(&cluster, "a").await;
    cluster.services(5);
    cluster.pass(1).await;
    let before = cluster.all();
    cluster.api.compact();
    replica.wire.expire_watches();
    cluster.pass(10).await;
    assert_eq!(cluster.all(), before);
    assert_eq!(replica.answered(200), 5, "nothing was written again");
    cluster.service("late");
    cluster.pass(1).await;
    assert_eq!(cluster.assigned(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_slow_api_is_waited_for_and_written_to_once() {
    let cluster = Cluster::with_pool("192.168.56.0/24");
    let replica = Replica::start(&cluster, "a").await;
    cluster.pass(1).await;
    replica.wire.slow(Duration::from_secs(2));
    cluster.services(100);
    cluster.pass(60).await;
    assert_eq!(cluster.assigned(), 100);
    assert_eq!(replica.answered(200), 100);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_restarts_changes_nothing() {
    let cluster = Cluster::with_pool("192.168.56.0/24");
    let replica = Replica::start(&cluster, "a").await;
    cluster.services(20);
    cluster.pass(2).await;
    let before = cluster.all();
    for outage in [1, 8, 40] {
        replica.wire.cut();
        cluster.pass(outage).await;
        replica.wire.restore();
        cluster.pass(30).await;
        assert_eq!(cluster.all(), before);
    }
    assert_eq!(replica.answered(200), 20, "nothing was written twice");
    cluster.service("late");
    cluster.pass(1).await;
    assert_eq!(cluster.assigned(), 21);
}

#[tokio::test(start_paused = true)]
async fn addresses_stay_over_a_restart_of_the_controller() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.60");
    let replica = Replica::start(&cluster, "a").await;
    cluster.services(30);
    cluster.pass(2).await;
    cluster.api.delete(&id("s0000"));
    cluster.pass(1).await;
    let before = cluster.all();
    replica.kill();
    // Created while nobody looks, and older than everybody by name: it takes what is free.
    cluster.service("a-first");
    let replica = Replica::start(&cluster, "a").await;
    cluster.pass(5).await;
    let mut after = cluster.all();
    assert_eq!(after.remove("a-first").unwrap(), ["192.168.56.11"]);
    assert_eq!(after, before);
    assert_eq!(replica.answered(200), 1);
    assert_eq!(cluster.reasons("s0007"), ["IPAllocated"], "nothing is told again");
}

#[tokio::test(start_paused = true)]
async fn a_controller_killed_while_allocating_is_followed_without_doubles() {
    let cluster = Cluster::with_pool("192.168.56.0/24");
    cluster.services(120);
    for _ in 0..6 {
        let replica = Replica::start(&cluster, "a").await;
        replica.wire.slow(Duration::from_millis(30));
        tokio::time::sleep(Duration::from_millis(300)).await;
        replica.kill();
        cluster.assigned();
    }
    assert!(cluster.assigned() > 0, "the killed ones must have done something");
    let _replica = Replica::start(&cluster, "a").await;
    cluster.pass(10).await;
    assert_eq!(cluster.assigned(), 120);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_when_an_address_is_freed() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.12");
    let _replica = Replica::start(&cluster, "a").await;
    for name in ["one", "two", "three", "four"] {
        cluster.service(name);
    }
    cluster.pass(1).await;
    assert_eq!(cluster.assigned(), 2);
    assert_eq!(cluster.reasons("three"), ["AllocationFailed"]);
    cluster.api.patch(&id("one"), &json!({ "spec": { "type": "ClusterIP" } }));
    cluster.pass(1).await;
    assert_eq!(cluster.addresses("three"), ["192.168.56.11"], "a Service that changes its type gives back");
    assert!(cluster.addresses("one").is_empty());
    cluster.api.delete(&id("two"));
    cluster.pass(1).await;
    assert_eq!(cluster.addresses("four"), ["192.168.56.12"]);
    assert_eq!(cluster.reasons("three"), ["AllocationFailed", "IPAllocated"]);
}

#[tokio::test(start_paused = true)]
async fn an_address_in_doubt_is_given_to_nobody() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.11");
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("old");
    cluster.pass(1).await;
    cluster.service("new");
    cluster.pass(1).await;
    // The write that clears it fails on and on: whether it happened is not known.
    replica.wire.refuse_writes_to("/services/old/status", 500);
    cluster.api.patch(&id("old"), &json!({ "spec": { "type": "ClusterIP" } }));
    cluster.pass(1).await;
    // Something to plan for.
    cluster.service("newer");
    cluster.pass(20).await;
    assert_eq!(cluster.addresses("old"), ["192.168.56.11"]);
    assert!(cluster.addresses("new").is_empty() && cluster.addresses("newer").is_empty());
    assert!(replica.answered(500) > 3, "it goes on trying");
    replica.wire.restore();
    cluster.pass(11).await;
    assert!(cluster.addresses("old").is_empty());
    assert_eq!(cluster.addresses("new"), ["192.168.56.11"]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_moves_moves_everybody_in_one_update_each() {
    let cluster = Cluster::with_pool("192.168.56.0/26");
    let replica = Replica::start(&cluster, "a").await;
    cluster.services(50);
    cluster.pass(2).await;
    cluster.configure(&cluster::pool("pool", "192.168.57.0/26"));
    cluster.pass(5).await;
    assert_eq!(cluster.assigned(), 50);
    assert!(cluster.all().values().flatten().all(|address| address.starts_with("192.168.57.")));
    assert_eq!(replica.answered(200), 100, "two writes each: no Service was without an address in between");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_wait_are_served_when_their_pool_appears() {
    let cluster = Cluster::empty();
    cluster.services(1000);
    let replica = Replica::start(&cluster, "a").await;
    cluster.pass(2).await;
    assert_eq!(cluster.assigned(), 0);
    assert_eq!(replica.answered(200), 0);
    assert!(cluster.api.list("events").is_empty(), "without a configuration nobody is bothered");
    replica.wire.slow(Duration::from_millis(5));
    cluster.configure(&cluster::pool("pool", "10.0.0.0/16"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.assigned(), 1000, "32 at a time, 5 ms each");
    assert_eq!(replica.answered(200), 1000, "each once");
}
