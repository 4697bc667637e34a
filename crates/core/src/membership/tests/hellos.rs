//! What own hellos say, and when.

use super::*;

#[test]
fn a_hello_is_routine_when_nothing_but_the_interval_made_it_due() {
    let mut m = membership();
    m.hear(&hello("peer", 1), MAC, false, start()).unwrap();
    let (mut sequence, mut now) = (0, start());
    let mut said = |m: &mut Membership, speaking: Speaking| {
        m.wake(now);
        let frames = m.frames(&speaking, &mut sequence, now);
        now = now + ms(50);
        frames.into_iter().find_map(|frame| if let Frame::Hello(hello, _) = frame { Some(hello.routine) } else { None })
    };
    assert_eq!(said(&mut m, speaking()), Some(false), "the first one");
    assert_eq!(said(&mut m, speaking()), Some(true));
    assert_eq!(said(&mut m, Speaking { hurries: true, ..speaking() }), Some(false), "a word of a hand-over");
    assert_eq!(said(&mut m, speaking()), Some(true));
    for _ in 0..2 {
        assert_eq!(said(&mut m, Speaking { restarting: true, ..speaking() }), Some(false), "last words, each of them");
    }
}

#[test]
fn well_peers_need_no_wake_up_between_two_hellos_of_ours() {
    let mut m = membership();
    // Each at its own time, 47 ms apart, handed over when this machine wakes.
    let peers = [("a", 3), ("b", 17), ("c", 40)];
    let mut arrivals: Vec<(Moment, &str, u64)> = peers
        .iter()
        .flat_map(|(node, phase)| (0..400_u64).map(move |turn| (start() + ms(phase + 47 * turn), *node, turn + 1)))
        .collect();
    arrivals.sort();
    let (mut arrivals, mut sequence, mut now) = (arrivals.into_iter().peekable(), 0, start());
    let (mut wakes, mut hellos) = (0, 0);
    while now < start() + ms(18_000) {
        while let Some((at, node, sequence)) = arrivals.next_if(|(at, ..)| *at <= now) {
            m.hear(&hello(node, sequence), MAC, false, at).unwrap();
        }
        m.wake(now);
        m.take_changes();
        let frames = m.frames(&speaking(), &mut sequence, now);
        if now > start() + ms(1000) {
            assert!(m.is_settled(), "{now}");
            wakes += 1;
            hellos += frames.iter().filter(|frame| matches!(frame, Frame::Hello(..))).count();
        }
        now = m.next_deadline().max(now);
    }
    assert_eq!(wakes, hellos, "awake for its own hellos only");
    assert!(hellos > 300);
}

#[test]
fn readiness_is_said_at_once_and_hellos_come_every_interval() {
    let mut m = membership();
    let hellos: Vec<(Moment, Flags)> = run(&mut m, start() + ms(2000))
        .into_iter()
        .filter_map(|(at, frame)| match frame {
            Frame::Hello(hello, _) => Some((at, hello.flags)),
            Frame::Ask(..) => None,
        })
        .collect();
    let ready = hellos.iter().position(|(_, flags)| flags.ready).unwrap();
    assert!(ready > 0, "not ready while listening");
    assert_eq!(hellos[ready].0, start() + Timing::default().listen(), "said when it became true");
    for pair in hellos.windows(2) {
        assert!(pair[1].0.since(pair[0].0) <= ms(50), "{pair:?}");
    }
    assert!((39..=46).contains(&hellos.len()), "{} hellos in two seconds", hellos.len());
}

#[test]
fn own_hellos_name_the_links_of_one_segment() {
    let mut m = membership();
    let own = Hello { incarnation: 1, link: 1, ..hello("me", 1) };
    assert_eq!(m.hear(&own, MAC, false, start()), Err(Ignored::OwnFrame));
    assert_eq!(m.twins().collect::<Vec<_>>(), [(1, MAC)]);
    let namesake = Hello { incarnation: 9, ..own };
    assert_eq!(m.hear(&namesake, MAC, false, start()), Err(Ignored::OwnName));
    run(&mut m, start() + ms(600));
    assert_eq!(m.twins().count(), 0);
}

#[test]
fn a_crowded_link_stretches_the_interval() {
    let mut m = membership();
    for peer in 0..300 {
        let hello = Hello { interval_ms: 10_000, ..hello(&format!("p{peer}"), 1) };
        m.hear(&hello, MAC, false, start()).unwrap();
    }
    assert_eq!(m.interval(), ms(301));
}

#[test]
fn more_peers_than_a_hello_holds_take_turns_in_the_heard_set() {
    // Two links count their hellos together: each has all its turns all the same.
    let (mut links, mut sequence) = ([membership(), membership()], 0);
    for m in &mut links {
        for peer in 0..350 {
            m.hear(&Hello { interval_ms: 5000, ..hello(&format!("p{peer}"), 1) }, MAC, false, start()).unwrap();
        }
    }
    let mut named = [BTreeSet::<u32>::new(), BTreeSet::new()];
    for turn in 0..2 {
        for (m, named) in links.iter_mut().zip(&mut named) {
            let frames = m.frames(&speaking(), &mut sequence, start() + ms(turn * 400));
            let Some(Frame::Hello(hello, _)) = frames.first() else { panic!("no hello in turn {turn}") };
            assert!(hello.heard.len() <= herald_wire::hello::MAX_HEARD);
            named.extend(hello.heard.iter().copied());
        }
    }
    assert_eq!(named.map(|named| named.len()), [350, 350]);
}
