use super::*;
use herald_core::{
    allocate,
    net::Family,
    service::{FamilyPolicy, Request, TrafficPolicy},
};
use herald_runtime::watch::ObjectKey;

fn observe(state: &mut State, change: Change<Observed>) -> (bool, Vec<Settled>) {
    let (effect, settled) = state.observe(change);
    assert!(effect.dirty || !effect.invalid);
    (effect.dirty, settled)
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("ns", name)
}

fn assignment(address: &str) -> Assignment {
    Assignment { pool: "pool".into(), addresses: vec![address.parse().unwrap()] }
}

/// A Service at a version, holding an address or none.
fn seen(name: &str, version: u64, address: Option<&str>) -> Observed {
    let service = Service {
        key: key(name),
        labels: [("a", "b")].into_iter().collect(),
        created: 1,
        is_load_balancer: true,
        cluster_families: [Family::V4].into(),
        family_policy: FamilyPolicy::SingleStack,
        primary_family: Family::V4,
        request: Ok(Request::default()),
        sharing_key: None,
        traffic_policy: TrafficPolicy::Cluster,
        selector: String::new(),
        ports: [].into(),
        ingress: address.iter().map(|address| address.parse().unwrap()).collect(),
        ingress_has_other: false,
        allocated_from: address.map(|_| "pool".into()),
    };
    Observed {
        service: Arc::new(service),
        uid: format!("uid-{name}").into(),
        version: version.to_string(),
        deprecated: vec![],
        unread_move: None,
    }
}

fn object(name: &str) -> ObjectKey {
    ObjectKey { namespace: "ns".into(), name: name.into() }
}

fn set(observed: Observed) -> Change<Observed> {
    Change::Set { key: object(&observed.service.key.name), value: observed, newest: 0 }
}

fn reset<const N: usize>(all: [Observed; N]) -> Change<Observed> {
    Change::Reset { objects: all.map(|it| (object(&it.service.key.name), it)).into(), newest: 0 }
}

fn promise() -> Promise {
    let outcome = allocate::Outcome::NotWanted;
    Promise { decision: Decision { outcome, notes: vec![] }, events: vec![Event::Allocated(vec![])] }
}

fn with(all: impl IntoIterator<Item = Observed>) -> State {
    let mut state = State::default();
    observe(&mut state, reset([]));
    for observed in all {
        observe(&mut state, set(observed));
    }
    state
}

fn holds(state: &State, name: &str) -> Vec<String> {
    state.services()[&key(name)].ingress.iter().map(ToString::to_string).collect()
}

fn begin(state: &mut State, name: &str, address: Option<&str>) -> Write {
    state.begin(&key(name), address.map(assignment), promise(), Instant::now()).unwrap()
}

#[tokio::test]
async fn nothing_is_known_before_the_first_list() {
    let mut state = State::default();
    assert!(!state.is_complete());
    assert!(!observe(&mut state, set(seen("a", 1, None))).0, "a change before the list is no knowledge");
    assert!(observe(&mut state, reset([])).0, "also an empty list has to be planned on");
    assert!(state.is_complete() && state.len() == 0);
}

#[tokio::test]
async fn a_write_is_planned_on_at_once_and_its_echo_changes_nothing() {
    let mut state = with([seen("a", 5, None)]);
    let write = begin(&mut state, "a", Some("192.0.2.1"));
    assert_eq!(write.version, "5");
    assert_eq!(holds(&state, "a"), ["192.0.2.1"]);
    assert!(!state.may_write(&key("a"), Instant::now()));
    let (dirty, settled) = state.ended(&write, &Outcome::Done("6".to_owned()), Instant::now());
    assert!(!dirty && settled.is_some());
    let (dirty, settled) = observe(&mut state, set(seen("a", 6, Some("192.0.2.1"))));
    assert!(!dirty && settled.is_empty(), "told once");
    assert!(!state.is_pending(&key("a")));
}

#[tokio::test]
async fn an_echo_before_the_answer_is_told_once() {
    let mut state = with([seen("a", 5, None)]);
    let write = begin(&mut state, "a", Some("192.0.2.1"));
    assert!(observe(&mut state, set(seen("a", 6, Some("192.0.2.1")))).1.is_empty());
    let (_, settled) = state.ended(&write, &Outcome::Done("6".to_owned()), Instant::now());
    assert!(settled.is_some());
    assert!(!state.is_pending(&key("a")));
}

#[tokio::test]
async fn a_lost_answer_keeps_the_address_until_facts_tell() {
    let mut state = with([seen("a", 5, None)]);
    let write = begin(&mut state, "a", Some("192.0.2.1"));
    state.ended(&write, &Outcome::Unresolved, Instant::now());
    assert_eq!(holds(&state, "a"), ["192.0.2.1"], "it may have arrived");
    let (_, settled) = observe(&mut state, set(seen("a", 6, Some("192.0.2.1"))));
    assert_eq!(settled.len(), 1, "it has arrived, and is told now");
}

#[tokio::test]
async fn a_write_that_lost_the_race_is_given_up_when_the_newer_object_is_seen() {
    for seen_first in [true, false] {
        let mut state = with([seen("a", 5, None)]);
        let write = begin(&mut state, "a", Some("192.0.2.1"));
        if seen_first {
            observe(&mut state, set(seen("a", 7, None)));
        }
        let (mut dirty, settled) = state.ended(&write, &Outcome::Unresolved, Instant::now());
        assert!(settled.is_none());
        if !seen_first {
            assert_eq!(holds(&state, "a"), ["192.0.2.1"]);
            let (changed, settled) = observe(&mut state, set(seen("a", 7, None)));
            assert!(settled.is_empty());
            dirty = changed;
        }
        assert!(dirty);
        assert!(holds(&state, "a").is_empty() && !state.is_pending(&key("a")));
    }
}

#[tokio::test]
async fn an_old_observation_resolves_nothing() {
    let mut state = with([seen("a", 5, None)]);
    let write = begin(&mut state, "a", Some("192.0.2.1"));
    state.ended(&write, &Outcome::Unresolved, Instant::now());
    observe(&mut state, reset([seen("a", 5, None)]));
    assert!(state.is_pending(&key("a")));
    assert_eq!(holds(&state, "a"), ["192.0.2.1"]);
}

#[tokio::test]
async fn an_unresolved_write_is_repeated_as_it_was_with_growing_pauses() {
    let mut state = with([seen("a", 5, None)]);
    let write = begin(&mut state, "a", Some("192.0.2.1"));
    let mut now = Instant::now();
    let mut last = Duration::ZERO;
    for _ in 0..10 {
        state.ended(&write, &Outcome::Unresolved, now);
        let at = state.next_retry().unwrap();
        let pause = at - now;
        assert!(pause >= last && pause <= MAX_RETRY);
        assert!(state.repeat(at - Duration::from_millis(1), 9).is_empty());
        assert_eq!(state.repeat(at, 9), std::slice::from_ref(&write));
        assert!(state.repeat(at, 9).is_empty(), "it is in flight again");
        (now, last) = (at, pause);
    }
    assert_eq!(last, MAX_RETRY);
}

#[tokio::test]
async fn what_is_taken_away_blocks_planning_until_it_is_known_to_be_gone() {
    let mut state = with([seen("a", 5, Some("192.0.2.1")), seen("b", 6, None)]);
    let given = begin(&mut state, "b", Some("192.0.2.2"));
    assert!(!state.frees_unresolved(), "giving takes nothing away");
    state.ended(&given, &Outcome::Unresolved, Instant::now());
    assert!(!state.frees_unresolved());
    let taken = begin(&mut state, "a", None);
    assert!(state.frees_unresolved());
    state.ended(&taken, &Outcome::Unresolved, Instant::now());
    assert!(state.frees_unresolved(), "an error says nothing");
    state.repeat(Instant::now() + MAX_RETRY, 9);
    let (dirty, _) = state.ended(&taken, &Outcome::Done("9".to_owned()), Instant::now());
    assert!(dirty && !state.frees_unresolved());
}

#[tokio::test]
async fn a_deleted_service_is_forgotten_with_its_write() {
    let mut state = with([seen("a", 5, None), seen("b", 6, None)]);
    let write = begin(&mut state, "a", Some("192.0.2.1"));
    let (dirty, _) = observe(&mut state, reset([seen("b", 6, None)]));
    assert!(dirty && state.len() == 1);
    assert!(!state.ended(&write, &Outcome::Done("9".to_owned()), Instant::now()).0);
    assert!(state.begin(&key("a"), None, promise(), Instant::now()).is_none());
}

#[tokio::test]
async fn another_object_of_the_same_name_inherits_no_write() {
    let mut state = with([seen("a", 5, None)]);
    let write = begin(&mut state, "a", Some("192.0.2.1"));
    let again = Observed { uid: "uid-new".into(), ..seen("a", 9, None) };
    observe(&mut state, reset([again]));
    assert!(holds(&state, "a").is_empty());
    state.ended(&write, &Outcome::Unresolved, Instant::now());
    assert!(!state.is_pending(&key("a")));
}

#[tokio::test]
async fn a_refused_write_pauses_its_service_until_time_or_change() {
    let mut state = with([seen("a", 5, None)]);
    let write = begin(&mut state, "a", Some("192.0.2.1"));
    let now = Instant::now();
    assert!(state.ended(&write, &Outcome::Refused, now).0);
    assert!(holds(&state, "a").is_empty(), "nothing happened");
    assert!(!state.may_write(&key("a"), now));
    let at = state.next_retry().unwrap();
    assert!(!state.end_hold_offs(now) && state.end_hold_offs(at));
    assert!(state.may_write(&key("a"), at));
    assert!(state.next_retry().is_none() && !state.end_hold_offs(at), "once");
    let write = begin(&mut state, "a", Some("192.0.2.1"));
    state.ended(&write, &Outcome::Refused, now);
    assert!(state.next_retry().unwrap() - now > at - now, "longer the second time");
    assert!(observe(&mut state, set(seen("a", 6, None))).0, "a change is a new chance");
    assert!(state.may_write(&key("a"), now));
}

#[tokio::test]
async fn a_second_write_before_the_first_echo_names_the_version_of_the_first() {
    let mut state = with([seen("a", 5, None)]);
    let first = begin(&mut state, "a", Some("192.0.2.1"));
    state.ended(&first, &Outcome::Done("8".to_owned()), Instant::now());
    let second = begin(&mut state, "a", Some("192.0.2.2"));
    assert_eq!(second.version, "8");
    observe(&mut state, set(seen("a", 8, Some("192.0.2.1"))));
    assert_eq!(holds(&state, "a"), ["192.0.2.2"]);
    let (_, settled) = state.ended(&second, &Outcome::Done("9".to_owned()), Instant::now());
    assert!(settled.is_some());
}

#[tokio::test]
async fn only_changes_of_known_services_make_a_plan_invalid() {
    let mut state = with([seen("a", 5, None)]);
    let invalid = |state: &mut State, change| state.observe(change).0.invalid;
    assert!(!invalid(&mut state, set(seen("new", 6, None))), "one more that waits");
    assert!(invalid(&mut state, set(seen("holds", 7, Some("192.0.2.9")))), "it may stand on a planned address");
    let other = Service { is_load_balancer: false, ..Service::clone(&seen("a", 8, None).service) };
    assert!(invalid(&mut state, set(Observed { service: Arc::new(other), ..seen("a", 8, None) })));
    assert!(!invalid(&mut state, Change::Gone { key: object("new"), newest: 9 }), "it only frees");
}

#[tokio::test]
async fn changes_of_sharing_terms_are_remembered_in_their_order() {
    let terms = |name: &str, version, address, key: &str| {
        let mut observed = seen(name, version, address);
        Arc::make_mut(&mut observed.service).sharing_key = Some(key.to_owned());
        set(observed)
    };
    let mut state = with([seen("a", 5, Some("192.0.2.1")), seen("b", 6, Some("192.0.2.1")), seen("c", 7, None)]);
    for change in [
        terms("b", 8, Some("192.0.2.1"), "x"),
        terms("c", 9, None, "x"),
        terms("a", 10, Some("192.0.2.1"), "x"),
        set(seen("new", 11, Some("192.0.2.1"))),
    ] {
        observe(&mut state, change);
    }
    let order: Vec<(&str, u64)> = state.changed_terms().iter().map(|(key, number)| (&*key.name, *number)).collect();
    assert_eq!(order, [("a", 2), ("b", 1)]);
    let again = seen("a", 12, Some("192.0.2.1"));
    observe(&mut state, set(Observed { uid: "uid-new".into(), ..again }));
    observe(&mut state, Change::Gone { key: object("b"), newest: 13 });
    assert!(state.changed_terms().is_empty());
}
