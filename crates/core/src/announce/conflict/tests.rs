use super::*;
use crate::reason::tests::check;
use std::{collections::BTreeSet, net::IpAddr};

const FOREIGN: Mac = Mac([2, 0xff, 0, 0, 0, 1]);

fn place(last: u8) -> Place {
    ("eth0".into(), IpAddr::from([192, 0, 2, last]))
}

fn at(millis: u64) -> Moment {
    Moment::from_micros(1_000_000_000) + Duration::from_millis(millis)
}

fn nobody(_: &Place) -> Option<Mac> {
    None
}

fn guard(policy: Policy, origin: Origin) -> Guard {
    let mut guard = Guard::new(policy, 1);
    guard.set(&[(place(1), origin)].into(), nobody, at(0));
    guard
}

/// Runs until then; when the place was probed, and when it became free.
fn run(guard: &mut Guard, until: Moment) -> (Vec<Moment>, Vec<Moment>) {
    let (mut probes, mut free) = (Vec::new(), Vec::new());
    while let Some(next) = guard.next_deadline().filter(|next| *next <= until) {
        let probed = guard.due(next);
        probes.extend(probed.probes.iter().map(|_| next));
        free.extend(probed.free.iter().map(|_| next));
    }
    (probes, free)
}

#[test]
fn a_first_use_waits_for_three_probes_without_an_objection() {
    let mut guard = guard(Policy::Defend, Origin::FirstUse);
    assert!(!guard.is_free(&place(1)));
    assert_eq!(run(&mut guard, at(60_000)), (vec![at(0), at(50), at(100)], vec![at(150)]));
    assert!(guard.is_free(&place(1)));
    assert_eq!(guard.next_deadline(), None);
}

#[test]
fn what_one_of_ours_used_is_used_at_once_and_probed_beside() {
    for policy in [Policy::Defend, Policy::Yield] {
        let mut guard = guard(policy, Origin::Continued);
        assert!(guard.is_free(&place(1)));
        assert_eq!(run(&mut guard, at(60)).0, [at(0), at(50)]);
        // It was never ours alone: it is not fought for.
        assert_eq!(guard.claimed(&place(1), FOREIGN, at(60)), Some(Claimed::Yielded));
        assert!(!guard.is_free(&place(1)));
    }
}

/// Thousands of them, for this reason.
fn many(count: u16, origin: Origin) -> Guard {
    let mut guard = Guard::new(Policy::Defend, 1);
    let place = |n: u16| -> Place { ("eth0".into(), IpAddr::from(u32::to_be_bytes(0x0a00_0000 + u32::from(n)))) };
    guard.set(&(0..count).map(|n| (place(n), origin)).collect(), nobody, at(0));
    guard
}

#[test]
fn thousands_of_first_uses_are_probed_in_portions_that_follow_at_once() {
    let mut guard = many(3000, Origin::FirstUse);
    assert_eq!((guard.due(at(0)).probes.len(), guard.next_deadline()), (PORTION, Some(at(0))));
    let (probes, free) = run(&mut guard, at(10_000));
    assert_eq!((probes.len(), probes.last()), (9000 - PORTION, Some(&at(100))));
    assert_eq!((free.len(), free.first()), (3000, Some(&at(150))));
}

#[test]
fn thousands_that_are_in_use_are_probed_at_a_bounded_rate_and_no_first_use_waits_for_them() {
    let mut guard = many(3000, Origin::Continued);
    let mut wanted: BTreeMap<Place, Origin> =
        guard.places.keys().map(|place| (place.clone(), Origin::Continued)).collect();
    assert_eq!(guard.due(at(0)).probes.len(), PORTION);
    wanted.insert(place(1), Origin::FirstUse);
    guard.set(&wanted, nobody, at(1));
    assert_eq!(guard.due(at(1)).probes, [place(1)]);
    let (probes, free) = run(&mut guard, at(60_000));
    assert_eq!((probes.len(), free), (9000 - PORTION + 2, vec![at(151)]));
    let in_any_second = probes.iter().filter(|when| **when < at(2000) && **when >= at(1000)).count();
    assert!((300..=400 + PORTION).contains(&in_any_second), "{in_any_second} in a second");
    assert_eq!(guard.next_deadline(), None);
}

#[test]
fn an_objection_withholds_and_is_asked_about_with_growing_pauses() {
    let mut guard = guard(Policy::Defend, Origin::FirstUse);
    guard.due(at(0));
    assert_eq!(guard.claimed(&place(1), FOREIGN, at(1)), Some(Claimed::Yielded));
    assert_eq!(guard.held().collect::<Vec<_>>(), [(&place(1), FOREIGN)]);
    // A claim while nothing is asked is no news, and no reason to ask later.
    assert_eq!(guard.claimed(&place(1), FOREIGN, at(5000)), None);
    let mut last = at(1);
    for pause in [10, 20, 40, 60, 60] {
        let next = guard.next_deadline().unwrap();
        let waited = next.since(last);
        let longest = Duration::from_secs(pause);
        assert!(waited <= longest && waited > longest * 9 / 10, "{waited:?} of {longest:?}");
        assert_eq!(guard.due(next).probes, [place(1)]);
        assert_eq!(guard.claimed(&place(1), FOREIGN, next), None, "it was told once");
        last = next;
    }
    let (probes, free) = run(&mut guard, last + Duration::from_secs(61));
    assert_eq!((probes.len(), free.len()), (3, 1), "nobody claims it any more");
    assert!(guard.is_free(&place(1)));
}

#[test]
fn the_end_of_a_conflict_is_told_and_that_of_a_first_probing_is_not() {
    let mut guard = guard(Policy::Defend, Origin::FirstUse);
    guard.due(at(0));
    guard.claimed(&place(1), FOREIGN, at(1));
    guard.set(&[(place(1), Origin::FirstUse), (place(2), Origin::FirstUse)].into(), nobody, at(10));
    let mut over = Vec::new();
    while let Some(next) = guard.next_deadline() {
        over.extend(guard.due(next).over);
    }
    assert_eq!(over, [place(1)]);
}

#[test]
fn an_address_in_use_is_defended_once_in_ten_seconds() {
    let mut guard = guard(Policy::Defend, Origin::FirstUse);
    run(&mut guard, at(1000));
    let mut claim = |millis| guard.claimed(&place(1), FOREIGN, at(millis));
    assert_eq!(claim(1000), Some(Claimed::Defended));
    assert_eq!(claim(1001), None, "the second frame of one announcement");
    assert_eq!(claim(12_000), Some(Claimed::Defended));
    assert_eq!(claim(20_000), Some(Claimed::Yielded));
}

#[test]
fn who_yields_does_so_at_once() {
    let mut guard = guard(Policy::Yield, Origin::FirstUse);
    run(&mut guard, at(1000));
    assert_eq!(guard.claimed(&place(1), FOREIGN, at(1000)), Some(Claimed::Yielded));
}

#[test]
fn what_is_stood_in_for_is_not_defended_until_it_is_ones_own() {
    let mut guard = guard(Policy::Defend, Origin::StoodIn);
    assert!(guard.is_free(&place(1)), "no broadcast request goes unanswered meanwhile");
    run(&mut guard, at(1000));
    guard.set(&[(place(1), Origin::Continued)].into(), nobody, at(1000));
    assert_eq!(guard.claimed(&place(1), FOREIGN, at(1000)), Some(Claimed::Defended));
    guard.set(&[(place(1), Origin::StoodIn)].into(), nobody, at(60_000));
    assert_eq!(guard.claimed(&place(1), FOREIGN, at(60_000)), Some(Claimed::Yielded));
}

#[test]
fn a_station_that_turns_out_to_be_ours_was_no_conflict() {
    let mut guard = guard(Policy::Defend, Origin::FirstUse);
    guard.due(at(0));
    guard.claimed(&place(1), FOREIGN, at(1));
    guard.forgive(Mac([2, 0, 0, 0, 0, 9]), at(500));
    assert!(run(&mut guard, at(2000)).1.is_empty(), "that is another one");
    guard.forgive(FOREIGN, at(2000));
    assert_eq!(run(&mut guard, at(3000)), (vec![at(2000), at(2050), at(2100)], vec![at(2150)]));
}

#[test]
fn what_was_used_here_lately_needs_no_probe_first() {
    let mut guard = guard(Policy::Defend, Origin::FirstUse);
    run(&mut guard, at(1000));
    let wanted = [(place(1), Origin::FirstUse)].into();
    for (away, free) in [(1000, true), (11_000, false)] {
        let now = guard.next_deadline().unwrap_or(at(2000)).max(at(2000));
        run(&mut guard, now + Duration::from_secs(1));
        let now = now + Duration::from_secs(1);
        guard.set(&BTreeMap::new(), nobody, now);
        let back = now + Duration::from_millis(away);
        guard.set(&BTreeMap::new(), nobody, back);
        guard.set(&wanted, nobody, back);
        assert_eq!(guard.is_free(&place(1)), free, "after {away} ms");
    }
}

#[test]
fn what_is_given_up_is_not_probed_any_more() {
    let mut guard = guard(Policy::Defend, Origin::FirstUse);
    guard.due(at(0));
    guard.set(&BTreeMap::new(), nobody, at(10));
    assert_eq!(guard.next_deadline(), None);
    assert_eq!(guard.claimed(&place(1), FOREIGN, at(20)), None);
}

#[test]
fn after_a_pause_silence_counts_only_for_what_was_asked() {
    let mut guard = guard(Policy::Defend, Origin::FirstUse);
    let late = at(600_000);
    assert_eq!(guard.due(late), Probed { probes: vec![place(1)], ..Probed::default() });
    assert!(!guard.is_free(&place(1)));
}

#[test]
fn two_nodes_do_not_ask_in_chorus() {
    let next = |seed| {
        let mut guard = Guard::new(Policy::Defend, seed);
        guard.set(&[(place(1), Origin::FirstUse)].into(), nobody, at(0));
        guard.claimed(&place(1), FOREIGN, at(0));
        guard.next_deadline()
    };
    let moments: BTreeSet<_> = (0..20).map(next).collect();
    assert!(moments.len() > 10, "{moments:?}");
}

#[test]
fn every_reason_has_a_label_a_text_and_a_next_step() {
    let subnet = || "192.0.2.0/24".parse().unwrap();
    let all = [
        Withheld::Held(FOREIGN),
        Withheld::OfNode("a".into()),
        Withheld::Network(subnet()),
        Withheld::Broadcast(subnet()),
    ];
    check(&all);
    // A new variant belongs into the list above.
    for reason in all {
        match reason {
            Withheld::Held(_) | Withheld::OfNode(_) | Withheld::Network(_) | Withheld::Broadcast(_) => {}
        }
    }
}

#[test]
fn policies_have_names() {
    for policy in [Policy::Defend, Policy::Yield] {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    assert_eq!(
        "fight".parse::<Policy>().unwrap_err().to_string(),
        "\"fight\" is no conflict policy: use defend or yield"
    );
}

#[test]
fn what_one_of_ours_found_claimed_is_not_used_before_it_was_asked() {
    let known = |wanted: &Place| (*wanted == place(1)).then_some(FOREIGN);
    for origin in [Origin::FirstUse, Origin::Continued, Origin::StoodIn] {
        let mut guard = Guard::new(Policy::Defend, 1);
        let wanted = [(place(1), origin), (place(2), Origin::Continued)].into();
        assert_eq!(guard.set(&wanted, known, at(0)), [(place(1), FOREIGN)]);
        assert_eq!((guard.is_free(&place(1)), guard.is_free(&place(2))), (false, true));
        // Told once.
        assert_eq!(guard.set(&wanted, known, at(1)), []);
        assert_eq!(guard.claimed(&place(1), FOREIGN, at(1)), None, "before it is asked that is no news");
        assert_eq!(run(&mut guard, at(200)).1, [at(150)], "nobody objects");
        assert!(guard.is_free(&place(1)));
    }
}

#[test]
fn what_is_drained_is_neither_asked_about_nor_given_up() {
    let mut guard = guard(Policy::Yield, Origin::Drained);
    assert_eq!(run(&mut guard, at(60_000)), (vec![], vec![]));
    assert_eq!(guard.claimed(&place(1), FOREIGN, at(60_001)), None);
    assert!(guard.is_free(&place(1)));
    // It comes back: then it is this node's to fight for again.
    guard.set(&[(place(1), Origin::Continued)].into(), nobody, at(60_002));
    assert_eq!(guard.claimed(&place(1), FOREIGN, at(60_003)), Some(Claimed::Yielded));
}
