use super::*;
use proptest::prelude::*;

fn range(text: &str) -> IpRange {
    text.parse().unwrap()
}

#[test]
fn the_grammar() {
    for (text, shown, size) in [
        ("10.0.0.0/24", "10.0.0.0-10.0.0.255", 256),
        // Host bits are masked away.
        ("10.20.30.40/24", "10.20.30.0-10.20.30.255", 256),
        ("10.0.0.7/32", "10.0.0.7", 1),
        (" 10.0.0.1 - 10.0.0.3 ", "10.0.0.1-10.0.0.3", 3),
        ("0.0.0.0/0", "0.0.0.0-255.255.255.255", 1 << 32),
        ("fd00::/126", "fd00::-fd00::3", 4),
        ("fd00::1-fd00::1", "fd00::1", 1),
        ("::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", u128::MAX),
    ] {
        let range = range(text);
        assert_eq!((range.to_string().as_str(), range.size()), (shown, size), "{text}");
    }
}

#[test]
fn what_is_no_range() {
    let wrong = |text: &str| text.parse::<IpRange>().unwrap_err();
    assert_eq!(wrong("10.0.0.1"), InvalidRange::Shape("10.0.0.1".to_owned()));
    assert_eq!(wrong(""), InvalidRange::Shape(String::new()));
    assert_eq!(wrong("10.0.0.1/33"), InvalidRange::Address("10.0.0.1/33".to_owned(), "10.0.0.1/33".to_owned()));
    assert_eq!(wrong("10.0.0.1-x"), InvalidRange::Address("x".to_owned(), "10.0.0.1-x".to_owned()));
    assert_eq!(
        wrong("010.0.0.1-10.0.0.2"),
        InvalidRange::Address("010.0.0.1".to_owned(), "010.0.0.1-10.0.0.2".to_owned())
    );
    assert_eq!(wrong("10.0.0.1-fd00::1"), InvalidRange::Families("10.0.0.1-fd00::1".to_owned()));
    assert_eq!(wrong("10.0.0.2-10.0.0.1"), InvalidRange::Order("10.0.0.2-10.0.0.1".to_owned()));
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|number| IpAddr::V4(number.into())),
        any::<u128>().prop_map(|number| IpAddr::V6(number.into())),
        // Near the ends, where arithmetic goes wrong.
        (0u32..3).prop_map(|number| IpAddr::V4((u32::MAX - number).into())),
        (0u128..3).prop_map(|number| IpAddr::V6((u128::MAX - number).into())),
        (0u128..3).prop_map(|number| IpAddr::V6(number.into())),
    ]
}

fn any_range() -> impl Strategy<Value = IpRange> {
    (any_address(), any_address(), 0u8..=128).prop_map(|(one, two, prefix)| {
        let (low, high) = (one.min(two), one.max(two));
        IpRange::new(low, high).unwrap_or_else(|| {
            let longest = if low.is_ipv4() { 32 } else { 128 };
            IpRange::from(IpNetwork::new(low, prefix.min(longest)).unwrap())
        })
    })
}

proptest! {
    #[test]
    fn addresses_are_numbers(address in any_address()) {
        prop_assert_eq!(from_number(Family::of(address), to_number(address)), Some(address));
    }

    #[test]
    fn ranges_contain_their_ends_and_nothing_beyond(range in any_range(), address in any_address()) {
        let at = |number| from_number(range.family(), number);
        prop_assert!(range.contains(at(range.first()).unwrap()) && range.contains(at(range.last()).unwrap()));
        let before = range.first().checked_sub(1).and_then(at);
        let after = range.last().checked_add(1).and_then(at);
        prop_assert!(!before.into_iter().chain(after).any(|outside| range.contains(outside)));
        let single = IpRange::new(address, address).unwrap();
        prop_assert_eq!(range.contains(address), range.overlaps(&single));
    }

    #[test]
    fn overlap_is_symmetric_and_means_a_common_end(one in any_range(), two in any_range()) {
        prop_assert_eq!(one.overlaps(&two), two.overlaps(&one));
        let ends = |range: &IpRange| [range.first(), range.last()].map(|number| from_number(range.family(), number).unwrap());
        let common = ends(&one).into_iter().any(|end| two.contains(end)) || ends(&two).into_iter().any(|end| one.contains(end));
        prop_assert_eq!(one.overlaps(&two), common);
        prop_assert!(one.overlaps(&one));
    }

    #[test]
    fn text_round_trips(range in any_range()) {
        let first = from_number(range.family(), range.first()).unwrap();
        let last = from_number(range.family(), range.last()).unwrap();
        prop_assert_eq!(format!("{first} - {last}").parse(), Ok(range));
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,40}", almost in "[0-9a-f:./ -]{0,40}") {
        let _ = text.parse::<IpRange>();
        let _ = almost.parse::<IpRange>();
    }
}
