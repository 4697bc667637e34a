//! One case for each way in which a step can fail, each a change to a cluster where nothing does.

mod announcing;

use super::*;
use crate::diagnose::{
    facts::{Asked, Pod, Proxy, Service},
    text,
};
use herald_api::{
    endpoints::{Endpoint, Slice},
    state::{
        AnswerState, ClaimState, ConfigurationState, ControllerState, DataPlaneState, DecisionState, GroupState,
        Health, Known, LinkState, MemberState, NoteState, PoolState, ProblemState, ServiceState, SnapshotState,
        SpeakerState, VerdictState, Why,
    },
};
use herald_core::{
    ServiceKey,
    allocate::Refusal,
    announce::conflict::Withheld,
    data_plane::NotReady,
    membership::Standing,
    ownership::{Dropped, Silent},
    reason::Reason,
    speaker::Obstacle,
};
use std::net::IpAddr;

const KEY: &str = "shop/web";

fn ip() -> IpAddr {
    "192.0.2.11".parse().unwrap()
}

fn asked<T>(name: &str, node: &str, state: T) -> Asked<T> {
    Asked { pod: Pod { name: name.to_owned(), node: node.to_owned(), ready: true }, state: Ok(state) }
}

fn leader() -> ControllerState {
    let pool = PoolState { l2_advertisements: vec!["lan".to_owned()], ..PoolState::default() };
    let decision = DecisionState { pool: Some("lan".to_owned()), addresses: vec![ip()], ..DecisionState::default() };
    ControllerState {
        leads: true,
        complete: true,
        metallb_pods: Some(vec![]),
        configuration: ConfigurationState {
            in_force: true,
            pools: [("lan".to_owned(), pool)].into(),
            ..ConfigurationState::default()
        },
        services: [(KEY.to_owned(), decision)].into(),
        ..ControllerState::default()
    }
}

/// The speaker of a, b or c; a owns.
fn speaker(node: &str) -> SpeakerState {
    let member = |other: &str| {
        let known = if other == node { Known::Own } else { Known::Hello };
        (
            other.to_owned(),
            MemberState {
                ready: true,
                known,
                silent_ms: None,
                links: vec!["eth0".to_owned()],
                data_plane: Health::Ready,
            },
        )
    };
    let answer = AnswerState { requests: 7, answers: 7, announced: 14, announced_ms: Some(2000), ..Default::default() };
    let link = LinkState {
        mac: format!("02:00:00:00:00:0{node}"),
        addresses: vec!["192.0.2.1/24".to_owned(), "fe80::1/64".to_owned()],
        standing: Some((&Standing::Present).into()),
        members: ["a", "b", "c"].map(member).into(),
        answers: if node == "a" { [(ip(), answer)].into() } else { [].into() },
        ..LinkState::default()
    };
    let verdict = VerdictState {
        owner: Some("a".to_owned()),
        others: ["b".to_owned()].into(),
        dropped: [("excluded".to_owned(), ["c".to_owned()].into())].into(),
    };
    let group = GroupState {
        addresses: vec![ip()],
        services: vec![KEY.to_owned()],
        links: [("eth0".to_owned(), verdict)].into(),
    };
    let announced = if node == "a" { vec![ip()] } else { vec![] };
    SpeakerState {
        node: node.to_owned(),
        snapshot: Some(SnapshotState { connected: true, resource_version: 10, age_ms: 5, ..SnapshotState::default() }),
        links: [("eth0".to_owned(), link)].into(),
        reasons: Dropped::ALL.iter().map(|reason| (reason.label().to_owned(), reason.into())).collect(),
        groups: vec![group],
        services: [(KEY.to_owned(), ServiceState { addresses: vec![ip()], silent: None, announced, moved: None })]
            .into(),
        ..SpeakerState::default()
    }
}

fn endpoint(node: &str, ready: bool) -> Endpoint {
    Endpoint { node: Some(node.into()), address: "10.0.0.1".parse().unwrap(), ready: Some(ready), serving: None }
}

fn slice(endpoints: Vec<Endpoint>) -> Slice {
    Slice { service: ServiceKey::new("shop", "web"), endpoints: endpoints.into() }
}

/// Nothing fails here.
struct World {
    herald: Herald,
    subject: Subject,
}

impl World {
    fn new() -> Self {
        let service = Service { kind: "LoadBalancer".to_owned(), addresses: vec![ip()], ..Service::default() };
        Self {
            herald: Herald {
                namespaces: ["metallb-system".to_owned()].into(),
                controllers: vec![asked("controller-x", "a", leader())],
                speakers: ["a", "b", "c"].map(|node| asked(&format!("speaker-{node}"), node, speaker(node))).into(),
                ..Herald::default()
            },
            subject: Subject {
                key: KEY.to_owned(),
                service: Some(service),
                slices: Some(vec![slice(vec![endpoint("a", true), endpoint("b", false)])]),
                ..Subject::default()
            },
        }
    }

    fn service(&mut self) -> &mut Service {
        self.subject.service.as_mut().unwrap()
    }

    fn leader(&mut self) -> &mut ControllerState {
        self.herald.controllers[0].state.as_mut().unwrap()
    }

    fn decision(&mut self) -> &mut DecisionState {
        self.leader().services.get_mut(KEY).unwrap()
    }

    fn speaker(&mut self, index: usize) -> &mut SpeakerState {
        self.herald.speakers[index].state.as_mut().unwrap()
    }

    fn link(&mut self, index: usize) -> &mut LinkState {
        self.speaker(index).links.get_mut("eth0").unwrap()
    }

    fn each(&mut self, change: impl Fn(&mut SpeakerState)) {
        self.herald.speakers.iter_mut().for_each(|asked| change(asked.state.as_mut().unwrap()));
    }

    fn silent(&mut self, why: &Silent) {
        self.each(|speaker| {
            speaker.groups.clear();
            speaker.links.values_mut().for_each(|link| link.answers.clear());
            speaker.services.get_mut(KEY).unwrap().silent = Some(why.into());
        });
    }

    fn explain(&self) -> Explanation {
        explain(&self.herald, &self.subject)
    }
}

/// The first failing step, its code, and what is said about it, of a world with this change.
fn after(change: impl FnOnce(&mut World)) -> (&'static str, String, String) {
    let mut world = World::new();
    change(&mut world);
    let explanation = world.explain();
    let step = explanation.failing().unwrap_or_else(|| panic!("no step fails: {explanation:#?}"));
    assert_eq!((explanation.verdict, explanation.first_failing), (Verdict::Failing, Some(step.step)));
    let fix = step.fix.clone().unwrap_or_default();
    assert!(fix.len() > 10, "every failing step has a fix: {step:?}");
    let text = text::explanation(&explanation);
    assert!(text.lines().nth(1).unwrap().contains(&fix), "the fix is on top: {text}");
    (step.step, step.code.clone().unwrap(), format!("{} -> {fix}", step.seen.join("; ")))
}

fn fails(step: &str, code: &str, says: &str, change: impl FnOnce(&mut World)) {
    let (at, with, text) = after(change);
    assert_eq!((at, with.as_str()), (step, code), "{text}");
    assert!(text.contains(says), "{says:?} is not in {text:?}");
}

#[test]
fn nothing_fails_where_all_is_well() {
    let explanation = World::new().explain();
    assert_eq!((explanation.verdict, explanation.first_failing), (Verdict::Ok, None), "{explanation:#?}");
    let verdicts: Vec<&str> = explanation.steps.iter().map(|step| step.verdict.as_str()).collect();
    assert_eq!(verdicts[..11], ["ok"; 11], "{explanation:#?}");
    assert_eq!(verdicts[11], "unknown", "the data plane is not looked at");
    let owner = explanation.steps.iter().find(|step| step.step == "ownership").unwrap();
    assert_eq!(owner.seen, ["192.0.2.11 is answered for by a/eth0"]);
    let candidates = explanation.steps.iter().find(|step| step.step == "candidates").unwrap();
    assert_eq!(
        candidates.seen,
        [
            "a, b",
            "seen from a/eth0, b/eth0, c/eth0: a, b",
            "  not c: it carries the label node.kubernetes.io/exclude-from-external-load-balancers"
        ]
    );
}

#[test]
fn the_service_itself() {
    fails("service", "not_found", KEY, |world| world.subject.service = None);
    fails("service", "not_load_balancer", "NodePort", |world| world.service().kind = "NodePort".to_owned());
    fails("service", "other_class", "\"x/y\"", |world| world.service().class = Some("x/y".to_owned()));
    fails("service", "other_class", "serves \"x/y\"", |world| world.herald.class = Some("x/y".to_owned()));
    fails("service", "deleting", "deleted", |world| world.service().deleting = true);
}

#[test]
fn what_cannot_be_read_is_a_gap_and_no_failure() {
    let mut world = World::new();
    world.subject.service = None;
    world.subject.gaps = vec!["the Service: forbidden".to_owned()];
    let explanation = world.explain();
    assert_eq!((explanation.verdict, &explanation.gaps[..]), (Verdict::Ok, &world.subject.gaps[..]));
    assert!(explanation.steps.iter().all(|step| step.verdict == Verdict::Unknown));
}

#[test]
fn a_pod_that_cannot_be_asked_is_named_and_the_rest_goes_on() {
    let mut world = World::new();
    world.herald.speakers[1].state = Err("no answer within 15 s".to_owned());
    let explanation = world.explain();
    assert_eq!(explanation.gaps, ["pod speaker-b on b was not asked: no answer within 15 s"]);
    assert_eq!(explanation.first_failing, None);
    assert_eq!(explanation.steps[1].seen, ["2 of 3 speakers could be asked"]);

    // The owner itself.
    world.herald.speakers[0].state = Err("no answer within 15 s".to_owned());
    let explanation = world.explain();
    assert_eq!(explanation.first_failing, None);
    let owner = explanation.steps.iter().find(|step| step.step == "ownership").unwrap();
    assert_eq!(owner.verdict, Verdict::Unknown);
    assert_eq!(owner.seen, ["a is to answer for 192.0.2.11, and could not be asked"]);

    // Nobody at all.
    world.herald.speakers[2].state = Err("gone".to_owned());
    world.herald.controllers[0].state = Err("gone".to_owned());
    let explanation = world.explain();
    assert_eq!((explanation.first_failing, explanation.gaps.len()), (None, 4));
}

#[test]
fn herald_itself() {
    fails("herald", "no_controller", "metallb-system", |world| world.herald.controllers.clear());
    fails("herald", "no_speaker", "metallb-system", |world| world.herald.speakers.clear());
    fails("herald", "no_leader", "Lease", |world| world.leader().leads = false);
    fails("standby", "standby", "metallb-system/speaker", |world| {
        world.leader().metallb_pods = Some(vec!["metallb-system/speaker".to_owned()]);
    });
}

#[test]
fn the_configuration() {
    fails("configuration", "not_read", "IPAddressPool", |world| {
        world.leader().configuration.awaited = vec!["IPAddressPool".to_owned()];
    });
    fails("configuration", "no_configuration", "Services wait", |world| world.leader().configuration.in_force = false);
    let problem = |object: &str, name: &str| ProblemState {
        object: object.to_owned(),
        name: name.to_owned(),
        message: "bad range".to_owned(),
        transient: false,
    };
    for (object, name) in [("IPAddressPool lan", "lan"), ("ConfigMap config", "config")] {
        fails("configuration", "problem", "bad range", |world| {
            world.leader().configuration.problems = vec![problem(object, name)];
        });
    }
    fails("configuration", "problem", "IPAddressPool gold", |world| {
        world.service().pool = Some("gold".to_owned());
        world.leader().configuration.problems = vec![problem("IPAddressPool gold", "gold")];
    });
    let mut world = World::new();
    world.leader().configuration.problems = vec![problem("IPAddressPool other", "other")];
    let explanation = world.explain();
    assert_eq!(explanation.first_failing, None, "a mistake elsewhere is shown and fails nothing");
    assert!(explanation.steps[3].seen.contains(&"IPAddressPool other: bad range".to_owned()), "{explanation:?}");
}

#[test]
fn the_allocation() {
    let why = Why::from(&Refusal::UnknownPool("gold".into()));
    fails("allocation", "unknown_pool", "pool gold does not exist -> correct annotation address-pool", |world| {
        world.service().addresses.clear();
        *world.decision() = DecisionState { waiting: Some(why.clone()), ..DecisionState::default() };
        world.silent(&Silent::NoAddress);
    });
    fails("allocation", "unknown_pool", "keeps working", |world| {
        world.decision().notes = vec![NoteState { kind: "kept".to_owned(), why: why.clone() }];
    });
    fails("allocation", "not_decided", "not decided", |world| world.leader().services.clear());
    fails("allocation", "not_decided", "not all is known", |world| {
        world.leader().services.clear();
        world.leader().complete = false;
    });
    fails("allocation", "not_written", "3 writes", |world| {
        world.service().addresses.clear();
        world.leader().pending = [(KEY.to_owned(), 3)].into();
    });
    let mut world = World::new();
    world.decision().notes = vec![NoteState { kind: "single_family".to_owned(), why }];
    let explanation = world.explain();
    assert_eq!(explanation.first_failing, None);
    assert_eq!(explanation.steps[4].seen[1], "only one family: pool gold does not exist");
}

#[test]
fn the_advertisement() {
    let pool = || "lan".into();
    for why in
        [Silent::NotInAnyPool(ip()), Silent::Bgp(pool()), Silent::NotAdvertised(pool()), Silent::NotSelected(pool())]
    {
        fails("advertisement", why.label(), &why.to_string(), |world| world.silent(&why));
    }
    fails("advertisement", "not_known", "--lb-class", |world| world.each(|speaker| speaker.services.clear()));
}

#[test]
fn candidates_fail_with_the_reason_of_who_came_furthest() {
    for dropped in &Dropped::ALL {
        fails("candidates", dropped.label(), &dropped.next_step(), |world| {
            world.each(|speaker| {
                let first = Dropped::ALL[0].label().to_owned();
                let verdict = speaker.groups[0].links.get_mut("eth0").unwrap();
                *verdict = VerdictState::default();
                verdict.dropped.insert(first, ["c".to_owned()].into());
                verdict.dropped.insert(dropped.label().to_owned(), ["a".to_owned(), "b".to_owned()].into());
                speaker.links.values_mut().for_each(|link| link.answers.clear());
            });
        });
    }
}

#[test]
fn speakers_that_take_no_part_say_why() {
    for obstacle in Obstacle::ALL {
        fails("candidates", obstacle.label(), &obstacle.to_string(), |world| {
            world.each(|speaker| {
                (speaker.groups, speaker.obstacles) = (vec![], vec![(&obstacle).into()]);
                speaker.links.values_mut().for_each(|link| link.answers.clear());
            });
        });
    }
}

#[test]
fn what_follows_from_a_failure_is_not_another_one() {
    let mut world = World::new();
    world.service().addresses.clear();
    *world.decision() = DecisionState { waiting: Some((&Refusal::NoPools).into()), ..DecisionState::default() };
    world.silent(&Silent::NoAddress);
    let failing: Vec<&str> =
        world.explain().steps.iter().filter(|step| step.verdict == Verdict::Failing).map(|step| step.step).collect();
    assert_eq!(failing, ["allocation"]);
}

#[test]
fn the_table() {
    let mut world = World::new();
    world.service().local = true;
    world.subject.slices = Some(vec![slice(vec![endpoint("a", false)])]);
    world.silent(&Silent::NoEndpoints);
    world.herald.speakers[2].state = Err("no port-forward: forbidden".to_owned());
    world.subject.events = vec![Event {
        reason: "IPAllocated".to_owned(),
        warning: false,
        message: "Assigned IP [\"192.0.2.11\"]".to_owned(),
        last: "2026-01-02T03:04:05Z".to_owned(),
    }];
    let text = text::explanation(&world.explain());
    let wanted = include_str!("table.txt");
    assert_eq!(text, wanted, "\n{text}");
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&world.explain()).unwrap()).unwrap();
    assert_eq!(json["firstFailing"], "endpoints");
    assert_eq!(json["steps"][0]["verdict"], "ok");
}
