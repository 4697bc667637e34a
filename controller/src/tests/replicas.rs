//! Several replicas: one acts, and whoever follows continues.

use super::{cluster::id, *};

fn holder(cluster: &Cluster) -> String {
    let lease = cluster.api.get(&Id::new("leases", "ns", "herald-controller")).unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes() {
    let cluster = Cluster::with_pool("192.168.56.0/24");
    let a = Replica::start(&cluster, "a").await;
    cluster.pass(1).await;
    let b = Replica::start(&cluster, "b").await;
    cluster.services(10);
    cluster.pass(30).await;
    assert_eq!(cluster.assigned(), 10);
    assert_eq!(holder(&cluster), "a");
    assert_eq!((a.answered(200), b.wire.writes()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_hands_over_in_seconds() {
    let cluster = Cluster::with_pool("192.168.56.0/24");
    let a = Replica::start(&cluster, "a").await;
    cluster.pass(1).await;
    let b = Replica::start(&cluster, "b").await;
    cluster.services(10);
    cluster.pass(1).await;
    let before = cluster.all();
    a.stop().await;
    cluster.service("late");
    cluster.pass(4).await;
    assert_eq!(holder(&cluster), "b");
    assert_eq!(cluster.assigned(), 11);
    assert_eq!(b.answered(200), 1);
    assert!(before.iter().all(|(name, addresses)| cluster.addresses(name) == *addresses));
    assert_eq!(cluster.reasons("s0003"), ["IPAllocated"], "the new leader tells nothing again");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_and_is_followed() {
    let cluster = Cluster::with_pool("192.168.56.0/24");
    let a = Replica::start(&cluster, "a").await;
    cluster.pass(1).await;
    let b = Replica::start(&cluster, "b").await;
    cluster.services(10);
    cluster.pass(3).await;
    a.wire.cut();
    cluster.services(20);
    cluster.pass(25).await;
    assert_eq!(holder(&cluster), "b");
    assert_eq!(cluster.assigned(), 20);
    let writes = a.wire.writes();
    a.wire.restore();
    cluster.services(30);
    cluster.pass(30).await;
    assert_eq!(a.wire.writes(), writes, "deposed");
    assert_eq!(cluster.assigned(), 30);
    assert_eq!(b.answered(200), 20);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_wire_is_silent_writes_nothing_after_its_term() {
    let cluster = Cluster::with_pool("192.168.56.0/24");
    let a = Replica::start(&cluster, "a").await;
    cluster.pass(1).await;
    let _b = Replica::start(&cluster, "b").await;
    // Its watches go on, its calls hang: it sees the Services and would love to write.
    a.wire.silence();
    cluster.services(10);
    cluster.pass(40).await;
    assert_eq!(cluster.assigned(), 10);
    assert_eq!(holder(&cluster), "b");
    assert_eq!(a.answered(200), 0);
}

#[tokio::test(start_paused = true)]
async fn replicas_that_come_and_go_double_nothing() {
    let cluster = Cluster::with_pool("192.168.56.0/24");
    let mut a = Replica::start(&cluster, "a").await;
    let mut b = Replica::start(&cluster, "b").await;
    for round in 0_usize..12 {
        cluster.services(10 * (round + 1));
        let victim = format!("s{:04}", round * 3);
        cluster.api.delete(&id(&victim));
        for wire in [&a.wire, &b.wire] {
            wire.slow(Duration::from_millis(200));
        }
        match round % 4 {
            0 => a.wire.cut(),
            1 => {
                a.kill();
                a = Replica::start(&cluster, "a").await;
            }
            2 => b.wire.lose_answers(5),
            _ => {
                b.stop().await;
                b = Replica::start(&cluster, "b").await;
            }
        }
        cluster.pass(9).await;
        a.wire.restore();
    }
    cluster.pass(40).await;
    assert_eq!(cluster.assigned(), cluster.all().len());
}
