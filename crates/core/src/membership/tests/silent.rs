//! Peers that are silent, and whether their place is kept.

use super::*;

#[test]
fn a_silent_peer_whose_node_answers_keeps_its_place() {
    let mut m = membership();
    m.hear(&there("peer", 1, READY), MAC, false, start()).unwrap();
    answering(&mut m, start() + ms(5000), MAC);
    assert_eq!(state_of(&m), Some((true, true)));
    assert_eq!(m.take_changes().into_iter().filter(|c| *c == Change::Restarting("peer".into())).count(), 1);
    // Not ready yet is no reason to take its place away, ready is the end of it.
    let next = Hello { incarnation: 6, ..there("peer", 1, Flags::default()) };
    m.hear(&next, MAC, false, m.last_wake).unwrap();
    assert_eq!(state_of(&m), Some((true, true)));
    m.hear(&Hello { sequence: 2, flags: READY, ..next }, MAC, false, m.last_wake).unwrap();
    assert_eq!(state_of(&m), Some((true, false)));
    assert!(m.take_changes().contains(&Change::Back("peer".into())));
}

#[test]
fn a_silent_peer_whose_node_does_not_answer_is_gone_after_three_asks() {
    let mut m = membership();
    m.hear(&there("peer", 1, READY), MAC, false, start()).unwrap();
    answering(&mut m, start() + ms(30), MAC);
    let asks = run(&mut m, start() + ms(200)).into_iter().filter_map(|(at, frame)| match frame {
        Frame::Ask(_, to) => Some((at.since(start()).as_millis(), to)),
        Frame::Hello(..) => None,
    });
    assert_eq!(asks.collect::<Vec<_>>(), [(100, Some(MAC)), (110, Some(MAC)), (120, None)]);
    assert_eq!(state_of(&m), None);
    assert!(m.take_changes().contains(&Change::Left("peer".into(), Gone::Silent)));
}

#[test]
fn an_answer_of_another_station_does_not_count() {
    let mut m = membership();
    m.hear(&there("peer", 1, READY), MAC, false, start()).unwrap();
    answering(&mut m, start() + ms(250), Mac([2, 0, 0, 0, 0, 77]));
    assert_eq!(state_of(&m), None);
}

#[test]
fn who_is_heard_by_a_peer_is_not_gone() {
    let mut m = membership();
    m.hear(&there("peer", 1, READY), MAC, false, start()).unwrap();
    answering(&mut m, start() + ms(30), MAC);
    let names = |heard: &[&str], turn: u64| Hello {
        heard: heard.iter().chain(&["me"]).map(|node| peer_hash(CLUSTER, node)).collect(),
        ..hello("other", 1 + turn)
    };
    for turn in 1..20 {
        let now = start() + ms(30 + 40 * turn);
        run(&mut m, now);
        m.hear(&names(&["peer"], turn), MAC, false, now).unwrap();
    }
    assert_eq!(state_of(&m), Some((true, false)), "suspected, no more");
    let now = m.last_wake + ms(40);
    m.hear(&names(&[], 30), MAC, false, now).unwrap();
    run(&mut m, now + ms(10));
    assert_eq!(state_of(&m), None);
}

#[test]
fn who_says_that_it_restarts_keeps_its_place_at_once_and_others_are_told() {
    let mut m = membership();
    m.hear(&there("peer", 1, READY), MAC, false, start()).unwrap();
    let leaving = Flags { restarting: true, ..Flags::default() };
    m.hear(&there("peer", 2, leaving), MAC, false, start() + ms(10)).unwrap();
    assert_eq!(state_of(&m), Some((true, true)));
    answering(&mut m, start() + ms(1000), MAC);
    let mut sequence = 0;
    let frames = m.frames(&speaking(), &mut sequence, m.last_wake + ms(60));
    let kept = frames.into_iter().find_map(|frame| match frame {
        Frame::Hello(hello, _) => Some(hello.kept),
        Frame::Ask(..) => None,
    });
    assert_eq!(kept, Some(vec![peer_hash(CLUSTER, "peer")]));
}

#[test]
fn a_place_that_others_keep_is_known_to_who_restarted() {
    let mut m = membership();
    m.hear(&Hello { kept: vec![peer_hash(CLUSTER, "me")], ..hello("peer", 1) }, MAC, false, start()).unwrap();
    assert!(m.was_kept(start() + ms(199)) && !m.was_kept(start() + ms(200)));
}
