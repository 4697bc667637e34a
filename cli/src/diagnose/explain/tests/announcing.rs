//! Who announces, and what lies behind it.

use super::*;

#[test]
fn the_ownership() {
    // b does not hear a, and a not b: both answer on one subnet.
    let split = |world: &mut World| {
        let answers = world.link(0).answers.clone();
        world.link(1).answers = answers;
        world.link(0).members.remove("b");
        world.link(1).members.remove("a");
    };
    fails("ownership", "two_owners", "a/eth0 and b/eth0 both answer", split);
    let mut apart = World::new();
    split(&mut apart);
    apart.link(1).addresses = vec!["198.51.100.1/24".to_owned(), "fe80::2/64".to_owned()];
    apart.speaker(1).groups[0].links.get_mut("eth0").unwrap().owner = Some("b".to_owned());
    apart.speaker(2).links.clear();
    apart.speaker(2).groups.clear();
    assert_eq!(apart.explain().first_failing, None, "two segments have an owner each: {:#?}", apart.explain());

    fails("ownership", "disagreement", "b/eth0 (cut off from the API server) says b", |world| {
        world.speaker(1).snapshot.as_mut().unwrap().connected = false;
        world.speaker(1).groups[0].links.get_mut("eth0").unwrap().owner = Some("b".to_owned());
    });
    for standing in [Standing::Listening, Standing::Late, Standing::Unheard] {
        fails("ownership", standing.label(), &standing.to_string(), |world| {
            world.link(0).answers.clear();
            world.link(0).standing = Some((&standing).into());
        });
    }
    fails("ownership", "not_answering", "a is to answer", |world| world.link(0).answers.clear());
    fails("ownership", "held", "02:ff:00:00:00:01", |world| {
        let why = Withheld::Held("02:ff:00:00:00:01".parse().unwrap());
        world.link(0).answers.clear();
        world.link(0).withheld = [(ip(), (&why).into())].into();
    });
}

#[test]
fn who_stands_in_for_an_owner_whose_speaker_is_away_is_told() {
    let mut world = World::new();
    world.link(0).answers.clear();
    world.herald.speakers[0].state = Err("connection refused".to_owned());
    world.link(1).stands_in = [(ip(), "02:00:00:00:00:0a".to_owned())].into();
    let explanation = world.explain();
    let ownership = explanation.steps.iter().find(|step| step.step == "ownership").unwrap();
    assert_eq!(ownership.verdict, Verdict::Ok, "{ownership:?}");
    assert!(
        ownership.seen[0].ends_with("is on a, whose speaker is away; b/eth0 answers on its behalf"),
        "{ownership:?}"
    );
}

#[test]
fn members_that_are_not_heard_as_they_should_are_told() {
    let mut world = World::new();
    world.link(0).members.get_mut("b").unwrap().known = Known::Presumed;
    world.link(0).members.get_mut("c").unwrap().known = Known::Unicast;
    let explanation = world.explain();
    let owner = explanation.steps.iter().find(|step| step.step == "ownership").unwrap();
    assert!(owner.seen[1].starts_with("a/eth0 knows c by datagrams only"), "{owner:?}");
    assert!(owner.seen[2].starts_with("a/eth0 knows b by ARP only"), "{owner:?}");
    world.link(0).members.remove("b");
    let explanation = world.explain();
    let owner = explanation.steps.iter().find(|step| step.step == "ownership").unwrap();
    assert_eq!(owner.seen[2], "a/eth0 hears 2 of 3 speakers");
    world.link(0).deaf.push("b".to_owned());
    let explanation = world.explain();
    let owner = explanation.steps.iter().find(|step| step.step == "ownership").unwrap();
    assert_eq!(owner.seen[2], "a/eth0 hears b, which hears nobody there");
}

#[test]
fn answers_and_conflicts() {
    let answer =
        |world: &mut World, change: fn(&mut AnswerState)| change(world.link(0).answers.get_mut(&ip()).unwrap());
    fails("answers", "not_answered", "a/eth0", |world| answer(world, |answer| answer.answers = 0));
    fails("conflict", "claimed", "02:aa", |world| {
        answer(world, |answer| {
            (answer.claims, answer.claim) = (2, Some(ClaimState { mac: "02:aa".to_owned(), age_ms: 1000 }));
        });
    });

    // Nobody asked yet, an old claim, and a claim by a node that owned it before: to be told, and no failure.
    for (mac, age_ms) in [("02:aa", u64::from(u32::MAX)), ("02:00:00:00:00:0b", 10)] {
        let mut world = World::new();
        let state = world.link(0).answers.get_mut(&ip()).unwrap();
        (state.requests, state.answers) = (0, 0);
        state.claim = Some(ClaimState { mac: mac.to_owned(), age_ms });
        let explanation = world.explain();
        assert_eq!(explanation.first_failing, None, "{explanation:#?}");
        let [.., answers, conflict, _, _] = &explanation.steps[..] else { panic!() };
        assert_eq!((answers.verdict, answers.code.as_deref()), (Verdict::Unknown, Some("never_asked")));
        assert_eq!(conflict.seen.len(), 2, "{conflict:?}");
    }
}

#[test]
fn the_endpoints_and_what_lies_behind() {
    fails("endpoints", "no_pods", "spec.selector", |world| {
        world.subject.slices = Some(vec![]);
        world.silent(&Silent::NoEndpoints);
    });
    fails("endpoints", "no_endpoints", "none of its 1", |world| {
        world.subject.slices = Some(vec![slice(vec![endpoint("a", false)])]);
        world.silent(&Silent::NoEndpoints);
    });
    fails("endpoints", "no_local_endpoint", "a announces it", |world| {
        world.service().local = true;
        world.subject.slices = Some(vec![slice(vec![endpoint("b", true)])]);
    });
    let proxy = |mode: &str, strict_arp| Some(Proxy { mode: mode.to_owned(), strict_arp });
    fails("data plane", "strict_arp", "strictARP", |world| world.herald.proxy = proxy("ipvs", false));
    for proxy in [proxy("ipvs", true), proxy("nftables", false), proxy("", false), None] {
        let mut world = World::new();
        world.herald.proxy = proxy;
        assert_eq!(world.explain().first_failing, None);
    }
}

#[test]
fn data_planes_that_are_not_ready() {
    let plane = |why: NotReady, health| DataPlaneState {
        url: Some("http://127.0.0.1:10256/healthz".to_owned()),
        has_answered: true,
        health,
        not_ready: Some((&why).into()),
    };
    fails("data plane", "failed", "a announces it, and its data plane fails", |world| {
        world.speaker(0).data_plane = plane(NotReady::Failed(503), Health::Failed);
    });
    // One that neither answers nor is to answer, then one that answers, and one that waits.
    let seen = |change: &dyn Fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        let explanation = world.explain();
        assert_eq!(explanation.first_failing, None);
        explanation.steps.last().unwrap().seen.clone()
    };
    let absent = |index: usize| {
        move |world: &mut World| {
            world.speaker(index).data_plane = plane(NotReady::Absent, Health::NotReady);
        }
    };
    assert_eq!(seen(&absent(1)), ["not looked at"]);
    let text = "its data plane is not ready: its health endpoint does not answer";
    assert_eq!(seen(&absent(0)), ["not looked at".to_owned(), format!("a announces it; {text}")]);
    let waits = |world: &mut World| {
        absent(1)(world);
        for index in 0..3 {
            let group = &mut world.speaker(index).groups[0];
            group.links.get_mut("eth0").unwrap().owner = Some("b".to_owned());
        }
    };
    assert_eq!(seen(&waits), ["not looked at".to_owned(), format!("b is to have it, and waits; {text}")]);
}
