//! Wake-ups that come too late.

use super::*;

#[test]
fn a_late_wake_up_answers_nothing_until_it_has_listened() {
    let mut m = membership();
    run(&mut m, start() + ms(1000));
    assert_eq!(m.standing(), Standing::Present);
    let woken = m.last_wake + ms(300);
    m.wake(woken);
    assert_eq!((m.standing(), m.good_until()), (Standing::Late, None));
    assert!(m.takes_part(), "what it had is not given up");
    run(&mut m, woken + ms(75));
    assert_eq!(m.standing(), Standing::Present);
}

#[test]
fn who_was_away_for_long_begins_anew() {
    let mut m = membership();
    run(&mut m, start() + ms(1000));
    let woken = m.last_wake + ms(5000);
    m.wake(woken);
    assert_eq!((m.standing(), m.good_until()), (Standing::Late, None));
    run(&mut m, woken + ms(75));
    assert!(!m.takes_part(), "{:?}", m.standing());
    run(&mut m, woken + ms(150));
    assert_eq!(m.standing(), Standing::Present);
}

#[test]
fn who_woke_up_late_and_finds_others_that_do_not_keep_its_place_begins_anew() {
    for keeps in [true, false] {
        let mut m = membership();
        run(&mut m, start() + ms(1000));
        let woken = m.last_wake + ms(500);
        let mut standings = Vec::new();
        for after in (0..400).step_by(25) {
            let kept = if keeps { vec![m.hash] } else { Vec::new() };
            m.hear(&Hello { kept, ..hello("peer", after + 1) }, MAC, false, woken + ms(after)).unwrap();
            m.wake(woken + ms(after));
            standings.push(m.standing());
        }
        standings.dedup();
        let expected: &[Standing] = if keeps {
            &[Standing::Late, Standing::Present]
        } else {
            &[Standing::Late, Standing::Listening, Standing::Present]
        };
        assert_eq!(standings, expected, "kept: {keeps}");
    }
}

#[test]
fn a_somewhat_late_wake_up_judges_nobody_before_reading() {
    let mut m = membership();
    run(&mut m, start() + ms(900));
    m.hear(&hello("peer", 1), MAC, false, m.last_wake).unwrap();
    let heard = m.last_wake;
    run(&mut m, heard + ms(90));
    // Not woken for a while: the hold time of the peer has passed meanwhile, but its hellos may wait in the socket.
    let late = m.last_wake + ms(150);
    m.wake(late);
    assert!(m.members().contains_key(&"peer".into()));
    m.hear(&hello("peer", 4), MAC, false, late).unwrap();
    run(&mut m, late + ms(90));
    assert!(m.members().contains_key(&"peer".into()));
}
