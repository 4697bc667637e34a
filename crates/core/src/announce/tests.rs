use super::*;

fn place(last: u8) -> Place {
    ("eth0".into(), IpAddr::from([192, 0, 2, last]))
}

fn start() -> Moment {
    Moment::from_micros(1_000_000_000)
}

/// Everything said in so long, as offsets from the start: at every deadline, and when hellos wake this machine.
fn said(announcer: &mut Announcer, how_long: Duration) -> Vec<(Duration, Place)> {
    let (mut said, mut now) = (Vec::new(), start());
    while now <= start() + how_long {
        said.extend(announcer.due(now).into_iter().map(|place| (now.since(start()), place)));
        let hello = now + Duration::from_millis(50);
        now = announcer.next_deadline().map_or(hello, |next| next.min(hello));
    }
    said
}

#[test]
fn a_burst_wakes_and_a_refresh_waits_for_a_second() {
    let mut announcer = Announcer::default();
    announcer.set(&BTreeSet::from([place(1)]), |_| Known::Elsewhere, start());
    for offset in BURST {
        assert_eq!(announcer.next_deadline(), Some(start() + offset));
        assert_eq!(announcer.due(start() + offset), [place(1)]);
    }
    let deadline = announcer.next_deadline().unwrap();
    assert!(deadline > start() + REFRESH * 9 / 10 + NO_HURRY, "{deadline}");
    announcer.set(&BTreeSet::from([place(1), place(2)]), |_| Known::Elsewhere, deadline);
    assert_eq!(announcer.next_deadline(), Some(deadline), "a new one does not wait");
    assert_eq!(announcer.due(deadline), [place(2), place(1)]);
    assert_eq!(announcer.next_deadline(), Some(deadline + BURST[1]));
}

#[test]
fn a_new_address_gets_its_burst_and_then_a_refresh_a_minute() {
    let mut announcer = Announcer::default();
    announcer.set(&BTreeSet::from([place(1)]), |_| Known::Elsewhere, start());
    let said: Vec<Duration> = said(&mut announcer, Duration::from_secs(190)).into_iter().map(|(at, _)| at).collect();
    assert_eq!(said[..BURST.len()], BURST);
    let refreshes = &said[BURST.len()..];
    assert_eq!(refreshes.len(), 3, "{refreshes:?}");
    for pair in said[BURST.len() - 1..].windows(2) {
        assert!(
            pair[1] - pair[0] <= REFRESH + Duration::from_millis(50) && pair[1] - pair[0] > REFRESH * 9 / 10,
            "{pair:?}"
        );
    }
}

#[test]
fn repeating_the_same_set_says_nothing_again() {
    let mut announcer = Announcer::default();
    let owned = BTreeSet::from([place(1)]);
    announcer.set(&owned, |_| Known::Elsewhere, start());
    assert_eq!(announcer.due(start()).len(), 1);
    announcer.set(&owned, |_| Known::Elsewhere, start() + Duration::from_millis(10));
    assert!(announcer.due(start() + Duration::from_millis(10)).is_empty());
}

#[test]
fn what_is_given_up_is_not_said_any_more() {
    let mut announcer = Announcer::default();
    announcer.set(&BTreeSet::from([place(1), place(2)]), |_| Known::Elsewhere, start());
    announcer.set(&BTreeSet::from([place(2)]), |_| Known::Elsewhere, start());
    assert!(said(&mut announcer, Duration::from_secs(70)).iter().all(|(_, p)| *p == place(2)));
    announcer.set(&BTreeSet::new(), |_| Known::Elsewhere, start());
    assert_eq!(announcer.next_deadline(), None);
}

#[test]
fn after_a_pause_what_was_missed_is_said_once() {
    let mut announcer = Announcer::default();
    announcer.set(&BTreeSet::from([place(1)]), |_| Known::Elsewhere, start());
    assert_eq!(announcer.due(start() + Duration::from_secs(3600)), [place(1)]);
    assert!(announcer.next_deadline().unwrap() > start() + Duration::from_secs(3600));
}

#[test]
fn a_link_that_changed_says_its_addresses_again_and_only_those() {
    let mut announcer = Announcer::default();
    let other: Place = ("eth1".into(), IpAddr::from([192, 0, 2, 1]));
    announcer.set(&BTreeSet::from([place(1), other.clone()]), |_| Known::Elsewhere, start());
    let later = start() + Duration::from_secs(10);
    announcer.due(later);
    announcer.again(&"eth0".into(), later);
    assert_eq!(announcer.due(later), [place(1)]);
}

#[test]
fn a_thousand_addresses_are_not_refreshed_in_one_moment() {
    let mut announcer = Announcer::default();
    announcer.set(&many(1000), |_| Known::Elsewhere, start());
    let moments: BTreeSet<Duration> = said(&mut announcer, Duration::from_secs(65))
        .into_iter()
        .map(|(at, _)| at)
        .filter(|at| *at > Duration::from_secs(10))
        .collect();
    assert!(moments.len() > 50, "{} moments", moments.len());
}

fn many(count: u16) -> BTreeSet<Place> {
    (0..count).map(|n| ("eth0".into(), IpAddr::from([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]]))).collect()
}

#[test]
fn thousands_of_addresses_are_said_in_portions_the_first_words_at_once() {
    let mut announcer = Announcer::default();
    let owned = many(3000);
    announcer.set(&owned, |_| Known::Elsewhere, start());
    let mut firsts = BTreeSet::new();
    for _ in 0..owned.len().div_ceil(PORTION) {
        assert_eq!(announcer.next_deadline(), Some(start()), "the next portion waits for nothing");
        let portion = announcer.due(start());
        assert!(portion.len() <= PORTION, "{}", portion.len());
        firsts.extend(portion);
    }
    assert_eq!(firsts, owned);
    assert!(announcer.next_deadline() > Some(start()));
}

#[test]
fn repeats_of_thousands_of_addresses_are_paced_and_none_goes_without_its_last() {
    let mut announcer = Announcer::default();
    let owned = many(3000);
    announcer.set(&owned, |_| Known::Elsewhere, start());
    let said = said(&mut announcer, Duration::from_secs(20));
    let repeats: Vec<_> = said.iter().filter(|(at, _)| !at.is_zero()).collect();
    let most = (Duration::from_secs(1).as_micros() / REPEATS_APART.as_micros()) as usize + PORTION;
    for second in 0..20 {
        let whole = Duration::from_secs(second)..Duration::from_secs(second + 1);
        let count = repeats.iter().filter(|(at, _)| whole.contains(at)).count();
        assert!(count <= most, "{count} in second {second}");
    }
    // Also what came too late for its time was said once more after all of the burst was due.
    let last = BURST[BURST.len() - 1];
    let late: BTreeSet<Place> = repeats.iter().filter(|(at, _)| *at >= last).map(|(_, place)| place.clone()).collect();
    assert_eq!(late, owned);
    let (mut seen, mut worst) = (BTreeSet::new(), Duration::ZERO);
    for (at, place) in repeats {
        if seen.insert(place) {
            worst = worst.max(*at);
        }
    }
    assert!(worst <= REPEATS_APART * 3200, "the first repeat of the last one after {worst:?}");
}

#[test]
fn what_is_taken_does_not_wait_for_repeats_of_others() {
    let mut announcer = Announcer::default();
    announcer.set(&many(3000), |_| Known::Elsewhere, start());
    let later = start() + Duration::from_secs(2);
    said(&mut announcer, later.since(start()));
    let mut more = many(3000);
    more.insert(place(1));
    announcer.set(&more, |_| Known::Elsewhere, later);
    assert_eq!(announcer.due(later).first(), Some(&place(1)));
}

#[test]
fn what_is_likely_known_waits_behind_what_is_new() {
    let mut announcer = Announcer::default();
    announcer.set(&many(3000), |_| Known::Likely, start());
    let first = announcer.due(start());
    assert_eq!(first.len(), PORTION, "a portion at once");
    assert!(announcer.next_deadline() > Some(start()), "the next one waits");
    let mut more = many(3000);
    more.insert(place(1));
    announcer.set(&more, |_| Known::Elsewhere, start());
    assert_eq!(announcer.due(start()), [place(1)]);
    let said: BTreeSet<Place> =
        said(&mut announcer, REPEATS_APART * 3200).into_iter().map(|(_, place)| place).collect();
    assert_eq!(said.union(&first.into_iter().collect()).count(), more.len(), "all of them are said");
}

#[test]
fn what_was_kept_gets_no_burst() {
    let mut announcer = Announcer::default();
    announcer.set(&BTreeSet::from([place(1), place(2)]), |_| Known::Here, start());
    let said = said(&mut announcer, Duration::from_secs(50));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|(at, _)| *at <= REFRESH / 10), "{said:?}");
}
