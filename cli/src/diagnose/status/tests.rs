//! What is summed up, and what counts as a problem.

use super::*;
use crate::diagnose::{
    facts::{Asked, Pod},
    text,
};
use herald_api::state::{
    AnswerState, ClaimState, ConfigurationState, ControllerState, PoolState, ProblemState, ServiceState, SnapshotState,
};
use herald_core::{allocate::Refusal, membership::Standing, ownership::Silent, speaker::Obstacle};

fn ip() -> IpAddr {
    "192.0.2.11".parse().unwrap()
}

fn asked<T>(name: &str, node: &str, state: T) -> Asked<T> {
    Asked { pod: Pod { name: name.to_owned(), node: node.to_owned(), ready: true }, state: Ok(state) }
}

fn leader() -> ControllerState {
    let pool = PoolState {
        ranges: vec!["192.0.2.11-192.0.2.13".to_owned()],
        ipv4: CountState { total: 3, assigned: 1 },
        l2_advertisements: vec!["lan".to_owned()],
        ..PoolState::default()
    };
    let has = DecisionState { pool: Some("lan".to_owned()), addresses: vec![ip()], ..DecisionState::default() };
    ControllerState {
        leads: true,
        metallb_pods: Some(vec![]),
        configuration: ConfigurationState {
            in_force: true,
            pools: [("lan".to_owned(), pool)].into(),
            ..ConfigurationState::default()
        },
        services: [("shop/web".to_owned(), has)].into(),
        ..ControllerState::default()
    }
}

/// The speaker of a or b; a announces.
fn speaker(node: &str) -> SpeakerState {
    let owns = node == "a";
    let member = |other: &str| {
        let known = if other == node { Known::Own } else { Known::Hello };
        (other.to_owned(), MemberState { ready: true, known, ..MemberState::default() })
    };
    let link = LinkState {
        mac: format!("02:00:00:00:00:0{node}"),
        addresses: vec!["192.0.2.1/24".to_owned()],
        standing: Some((&Standing::Present).into()),
        members: ["a", "b"].map(member).into(),
        answers: if owns { [(ip(), AnswerState::default())].into() } else { [].into() },
        ..LinkState::default()
    };
    let service = ServiceState {
        addresses: vec![ip()],
        silent: None,
        announced: if owns { vec![ip()] } else { vec![] },
        moved: None,
    };
    SpeakerState {
        node: node.to_owned(),
        snapshot: Some(SnapshotState { connected: true, ..SnapshotState::default() }),
        links: [("eth0".to_owned(), link)].into(),
        services: [("shop/web".to_owned(), service)].into(),
        ..SpeakerState::default()
    }
}

fn herald() -> Herald {
    Herald {
        controllers: vec![asked("controller-x", "a", leader())],
        speakers: ["a", "b"].map(|node| asked(&format!("speaker-{node}"), node, speaker(node))).into(),
        ..Herald::default()
    }
}

fn state<T>(asked: &mut Asked<T>) -> &mut T {
    asked.state.as_mut().unwrap()
}

/// The problems of a cluster with this change, as `about code`.
fn problems(change: impl FnOnce(&mut Herald)) -> Vec<String> {
    let mut herald = herald();
    change(&mut herald);
    let status = status(&herald);
    assert_eq!(status.verdict == Verdict::Ok, status.problems.is_empty());
    for Problem { about, why } in &status.problems {
        assert!(!why.text.is_empty() && !why.next_step.is_empty(), "{about} {why:?}");
        assert!(text::status(&status).contains(&why.next_step));
    }
    status.problems.iter().map(|problem| format!("{} {}", problem.about, problem.why.code)).collect()
}

#[test]
fn the_table() {
    let text = text::status(&status(&herald()));
    let wanted = "\
HERALD
POD           NODE  READY  ROLE        RELEASE
controller-x  a     yes    leads       -
speaker-a     a     yes    takes part  -
speaker-b     b     yes    takes part  -

POOLS
POOL  RANGES                 IPV4    IPV6  ADVERTISED BY
lan   192.0.2.11-192.0.2.13  1 of 3  -     lan

SERVICES
SERVICE   ADDRESSES   POOL  ANNOUNCED BY  REMARK
shop/web  192.0.2.11  lan   a

LINKS
NODE  LINK  MAC                MEMBERS  ANSWERS FOR  REMARK
a     eth0  02:00:00:00:00:0a  2        1
b     eth0  02:00:00:00:00:0b  2        0

Nothing is wrong.
";
    assert_eq!(text, wanted, "\n{text}");
}

#[test]
fn herald_itself() {
    assert_eq!(problems(|_| {}), [""; 0]);
    assert_eq!(problems(|herald| state(&mut herald.controllers[0]).leads = false), ["herald no_leader"]);
    assert_eq!(problems(|herald| herald.controllers.clear()), ["herald no_controller"]);
    let pods = vec!["metallb-system/speaker".to_owned()];
    assert_eq!(problems(|herald| state(&mut herald.controllers[0]).metallb_pods = Some(pods)), ["herald standby"]);
    let obstacle = vec![Why::from(&Obstacle::NoKey)];
    assert_eq!(problems(|herald| state(&mut herald.speakers[1]).obstacles = obstacle), ["speaker on b no_key"]);
    let away = Some(SnapshotState::default());
    assert_eq!(problems(|herald| state(&mut herald.speakers[1]).snapshot = away), ["speaker on b api_away"]);
    let saved = Some(SnapshotState { saved_at: Some("2026-01-01T00:00:00Z".to_owned()), ..SnapshotState::default() });
    let mut from_saved = herald();
    state(&mut from_saved.speakers[1]).snapshot = saved;
    assert!(
        status(&from_saved).problems[0].why.text.ends_with("what it saved at 2026-01-01T00:00:00Z, before its restart")
    );
    assert_eq!(problems(|herald| herald.speakers[1].pod.ready = false), ["speaker on b not_ready"]);
}

#[test]
fn the_configuration() {
    let configuration = |herald: &mut Herald, change: fn(&mut ConfigurationState)| {
        change(&mut state(&mut herald.controllers[0]).configuration);
    };
    let none = problems(|herald| configuration(herald, |it| it.in_force = false));
    assert_eq!(none, ["configuration no_configuration"]);
    let problem = problems(|herald| {
        configuration(herald, |it| {
            let message = "bad range".to_owned();
            let object = "IPAddressPool x".to_owned();
            it.problems = vec![ProblemState { object, message, ..ProblemState::default() }];
        });
    });
    assert_eq!(problem, ["IPAddressPool x problem"]);
}

#[test]
fn services() {
    let waits = problems(|herald| {
        let decision = state(&mut herald.controllers[0]).services.get_mut("shop/web").unwrap();
        *decision = DecisionState { waiting: Some((&Refusal::NoPools).into()), ..DecisionState::default() };
    });
    assert_eq!(waits, ["service shop/web no_pools"]);
    let silent = |herald: &mut Herald, why: Option<&Silent>| {
        for speaker in &mut herald.speakers {
            let service = state(speaker).services.get_mut("shop/web").unwrap();
            (service.silent, service.announced) = (why.map(Into::into), vec![]);
        }
    };
    assert_eq!(problems(|herald| silent(herald, Some(&Silent::NoEndpoints))), ["service shop/web no_endpoints"]);
    assert_eq!(problems(|herald| silent(herald, None)), ["service shop/web not_announced"]);
    let unasked = problems(|herald| {
        silent(herald, None);
        herald.speakers[0].state = Err("gone".to_owned());
    });
    assert_eq!(unasked, [""; 0], "who could not be asked may announce it");
}

#[test]
fn addresses_and_links() {
    let two = problems(|herald| {
        let answers = state(&mut herald.speakers[0]).links["eth0"].answers.clone();
        state(&mut herald.speakers[1]).links.get_mut("eth0").unwrap().answers = answers;
    });
    assert_eq!(two, ["address 192.0.2.11 two_owners"]);
    let claimed = |mac: &str| {
        problems(|herald| {
            let link = state(&mut herald.speakers[0]).links.get_mut("eth0").unwrap();
            link.answers.get_mut(&ip()).unwrap().claim = Some(ClaimState { mac: mac.to_owned(), age_ms: 5 });
        })
    };
    assert_eq!(claimed("02:aa"), ["address 192.0.2.11 claimed"]);
    assert_eq!(claimed("02:00:00:00:00:0b"), [""; 0], "one of our nodes");
    for (known, code) in [(Known::Presumed, "presumed"), (Known::Unicast, "unicast")] {
        let heard = problems(|herald| {
            let link = state(&mut herald.speakers[0]).links.get_mut("eth0").unwrap();
            link.members.get_mut("b").unwrap().known = known;
        });
        assert_eq!(heard, [format!("link a/eth0 {code}")]);
    }
    let deaf = problems(|herald| {
        let link = state(&mut herald.speakers[0]).links.get_mut("eth0").unwrap();
        link.members.remove("b");
        link.deaf.push("b".to_owned());
    });
    assert_eq!(deaf, ["link a/eth0 deaf"]);
    let unheard = problems(|herald| {
        state(&mut herald.speakers[1]).links.get_mut("eth0").unwrap().standing = Some((&Standing::Unheard).into());
    });
    assert_eq!(unheard, ["link b/eth0 unheard"]);
    let unused = problems(|herald| {
        let not_used = Some(Why { code: "no_carrier".to_owned(), ..Why::default() });
        let link = LinkState { not_used, ..LinkState::default() };
        state(&mut herald.speakers[1]).links.insert("eth1".to_owned(), link);
    });
    assert_eq!(unused, [""; 0], "a link that is not used is shown and no problem");
}

#[test]
fn what_is_elsewhere_for_a_time_is_shown_once_and_is_no_problem() {
    let mut herald = herald();
    for speaker in &mut herald.speakers {
        let state = state(speaker);
        let why =
            EvacuationState { why: "it was asked for".to_owned(), until: Some("2030-01-31T12:00:00Z".to_owned()) };
        state.snapshot.as_mut().unwrap().evacuated = [("b".to_owned(), why)].into();
        let moved = MoveState { to: "a".to_owned(), until: "2030-01-31T13:00:00Z".to_owned() };
        state.services.get_mut("shop/web").unwrap().moved = Some(moved);
    }
    let status = status(&herald);
    assert_eq!(status.verdict, Verdict::Ok);
    let text = text::status(&status);
    let shown = "MOVED\n\
        FOR A TIME        WHAT                                            UNTIL\n\
        node b            gives its addresses to others: it was asked for  2030-01-31T12:00:00Z\n\
        service shop/web  is to be on a                                   2030-01-31T13:00:00Z\n";
    for line in shown.lines() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(text.lines().filter(|other| words(other) == words(line)).count(), 1, "{line}: {text}");
    }
}
