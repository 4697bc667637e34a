use super::*;
use herald_testkit::fake_api::{FakeApi, Id, Wire};
use serde_json::{Value, json};

/// A candidate on a wire of its own.
struct Candidate {
    leadership: Leadership,
    wire: Wire,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Candidate {
    fn start(api: &FakeApi, identity: &str) -> Self {
        let (client, wire) = api.client();
        let shutdown = Shutdown::manual();
        let (leadership, task) = spawn(client, "ns", LeaseConfig::new("herald", identity), shutdown.clone());
        Self { leadership, wire, shutdown, task }
    }

    fn leads(&self) -> bool {
        self.leadership.current().is_some()
    }

    async fn wins(&mut self) -> Term {
        loop {
            if let Some(term) = self.leadership.current() {
                return term;
            }
            self.leadership.changed().await;
        }
    }
}

fn spec(api: &FakeApi) -> Value {
    api.get(&Id::new("leases", "ns", "herald")).unwrap()["spec"].clone()
}

async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn two_candidates_never_lead_at_once_whatever_the_wires_do() {
    let api = FakeApi::new();
    let (mut a, mut b) = (Candidate::start(&api, "a"), Candidate::start(&api, "b"));
    let mut led = [0_u32; 2];
    let mut at_once = 0_u32;
    for step in 0_u32..6000 {
        // Cut, silent and refusing phases of changing lengths, overlapping in all ways.
        for (wire, phase) in [(&a.wire, step % 700), (&b.wire, (step + 300) % 1100)] {
            match phase {
                100 => wire.cut(),
                300 => wire.silence(),
                500 => wire.refuse_all(503),
                260 | 420 | 620 => wire.restore(),
                _ => {}
            }
        }
        sleep(Duration::from_millis(100)).await;
        let leads = [a.leads(), b.leads()];
        led[0] += u32::from(leads[0]);
        led[1] += u32::from(leads[1]);
        at_once += u32::from(leads == [true, true]);
    }
    assert_eq!(at_once, 0);
    assert!(led.iter().all(|&steps| steps > 50), "both must have led for a while: {led:?}");
    a.wire.restore();
    b.wire.restore();
    tokio::select! { _ = a.wins() => {}, _ = b.wins() => {} }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_api_fails_steps_down_before_others_may_take_over() {
    let api = FakeApi::new();
    let mut a = Candidate::start(&api, "a");
    a.wins().await;
    a.wire.silence();
    let began = Instant::now();
    a.leadership.changed().await;
    assert!(!a.leads());
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(10), "the renew deadline is 10 s, it took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_costs_no_leadership() {
    let api = FakeApi::new();
    let mut a = Candidate::start(&api, "a");
    let term = a.wins().await;
    a.wire.cut();
    pass(6).await;
    a.wire.restore();
    pass(30).await;
    assert_eq!(a.leadership.current(), Some(term));
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_hands_over_at_once_and_counts_a_transition() {
    let api = FakeApi::new();
    let mut a = Candidate::start(&api, "a");
    let first = a.wins().await;
    let mut b = Candidate::start(&api, "b");
    pass(5).await;
    assert!(!b.leads());
    a.shutdown.trigger();
    a.task.await.unwrap();
    assert_eq!(spec(&api)["holderIdentity"], "");
    let began = Instant::now();
    let second = b.wins().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(second.number, first.number + 1);
    assert_eq!(spec(&api)["holderIdentity"], "b");
    assert_eq!(spec(&api)["leaseDurationSeconds"], 15);
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_replaced_when_its_record_has_not_changed_for_the_duration() {
    let api = FakeApi::new();
    let mut a = Candidate::start(&api, "a");
    a.wins().await;
    let mut b = Candidate::start(&api, "b");
    pass(5).await;
    a.task.abort();
    let began = Instant::now();
    b.wins().await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(12), "too early: {took:?}");
    assert!(took <= Duration::from_secs(20), "too late: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn wall_clocks_of_others_mean_nothing() {
    let api = FakeApi::new();
    // Renewed in the distant past by its own account, but alive: it changes now and then.
    let lease = |n: u32| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "annotations": { "n": n.to_string() } },
            "spec": { "holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": "2001-01-01T00:00:00.000000Z" },
        })
    };
    let id = Id::new("leases", "ns", "herald");
    api.put(&id, lease(0));
    let a = Candidate::start(&api, "a");
    for n in 1..6 {
        pass(10).await;
        assert!(!a.leads());
        api.put(&id, lease(n));
    }
    assert_eq!(a.leadership.holder().as_deref(), Some("x"));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_container_leads_again_at_once() {
    let api = FakeApi::new();
    let mut a = Candidate::start(&api, "a");
    let term = a.wins().await;
    a.task.abort();
    let mut again = Candidate::start(&api, "a");
    let began = Instant::now();
    assert_eq!(again.wins().await, term);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_touched_lease_is_kept_and_a_stolen_one_is_lost() {
    let api = FakeApi::new();
    let id = Id::new("leases", "ns", "herald");
    let mut a = Candidate::start(&api, "a");
    let term = a.wins().await;
    api.patch(&id, &json!({ "metadata": { "annotations": { "note": "hello" } } }));
    pass(12).await;
    assert_eq!(a.leadership.current(), Some(term));
    api.patch(&id, &json!({ "spec": { "holderIdentity": "thief" } }));
    pass(5).await;
    assert!(!a.leads());
}
