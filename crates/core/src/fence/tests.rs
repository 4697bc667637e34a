use super::*;
use crate::{
    LinkName,
    membership::{Change, Gone},
    reason::tests::check,
};

const ONE: Limit = Limit::Count(1);

fn names(names: &[&str]) -> BTreeSet<NodeName> {
    names.iter().map(|name| NodeName::from(*name)).collect()
}

/// Nodes a to e, all with ready speakers, of which these miss these.
fn view(reports: &[(&str, &[&str])]) -> View {
    let nodes = ["a", "b", "c", "d", "e"].map(NodeName::from);
    let mut view = View {
        nodes: nodes.iter().map(|node| (node.clone(), Standing::default())).collect(),
        reports: nodes.iter().map(|node| (node.clone(), BTreeSet::new())).collect(),
    };
    for (node, missed) in reports {
        view.reports.insert((*node).into(), names(missed));
    }
    view
}

fn set(view: &mut View, node: &str, fenced: bool, kubelet: Kubelet) {
    view.nodes.insert(node.into(), Standing { fenced, kubelet });
}

fn only(view: &View, limit: Limit) -> Verdict {
    let verdicts = judge(view, limit);
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    verdicts.into_values().next().unwrap()
}

#[test]
fn a_node_is_fenced_when_a_majority_misses_it_and_its_kubelet_is_silent() {
    assert!(judge(&view(&[]), ONE).is_empty());
    let few = view(&[("a", &["e"]), ("b", &["e"])]);
    assert_eq!(only(&few, ONE), Verdict::Refused(Refusal::NoMajority { votes: 2, voters: 4 }), "half is no majority");
    let mut most = view(&[("a", &["e"]), ("b", &["e"]), ("c", &["e"])]);
    assert_eq!(only(&most, ONE), Verdict::Ask);
    set(&mut most, "e", false, Kubelet::Answers);
    assert_eq!(only(&most, ONE), Verdict::Refused(Refusal::KubeletAnswers));
    set(&mut most, "e", false, Kubelet::Silent);
    assert_eq!(only(&most, ONE), Verdict::Fence);
    set(&mut most, "e", true, Kubelet::Silent);
    assert_eq!(only(&most, ONE), Verdict::Keep, "once is enough, and it counts");
}

#[test]
fn what_a_node_says_about_itself_and_what_dead_speakers_said_does_not_count() {
    let mut own = view(&[("a", &["e"]), ("b", &["e"]), ("e", &["e"])]);
    assert_eq!(only(&own, ONE), Verdict::Refused(Refusal::NoMajority { votes: 2, voters: 4 }));
    own.reports.remove(&NodeName::from("c"));
    assert_eq!(only(&own, ONE), Verdict::Ask, "two of the three that could tell");
    let alone = View { reports: BTreeMap::new(), ..view(&[]) };
    assert!(judge(&alone, ONE).is_empty(), "nobody could tell");
}

#[test]
fn half_of_a_cluster_fences_nobody() {
    let lost: &[&str] = &["c", "d", "e"];
    for node in ["c", "d", "e"] {
        let verdicts = judge(&view(&[("a", lost), ("b", lost)]), Limit::Count(9));
        assert_eq!(verdicts[&node.into()], Verdict::Refused(Refusal::NoMajority { votes: 2, voters: 4 }));
    }
}

#[test]
fn never_more_than_the_limit_whatever_is_fenced_already() {
    let lost: &[&str] = &["d", "e"];
    let mut two = view(&[("a", lost), ("b", lost), ("c", lost)]);
    set(&mut two, "d", false, Kubelet::Silent);
    set(&mut two, "e", false, Kubelet::Silent);
    let both = |first, second| BTreeMap::from([("d".into(), first), ("e".into(), second)]);
    assert_eq!(judge(&two, ONE), both(Verdict::Fence, Verdict::Refused(Refusal::Limit(1))));
    assert_eq!(judge(&two, Limit::Share(20)), both(Verdict::Fence, Verdict::Refused(Refusal::Limit(1))));
    assert_eq!(judge(&two, Limit::Count(2)), both(Verdict::Fence, Verdict::Fence));
    set(&mut two, "e", true, Kubelet::Silent);
    assert_eq!(judge(&two, ONE), both(Verdict::Refused(Refusal::Limit(1)), Verdict::Keep));
}

#[test]
fn a_fenced_node_is_freed_when_it_is_seen_or_answers() {
    let mut back = view(&[]);
    set(&mut back, "e", true, Kubelet::Silent);
    assert_eq!(only(&back, ONE), Verdict::Free);
    let mut missed = view(&[("a", &["e"]), ("b", &["e"]), ("c", &["e"])]);
    set(&mut missed, "e", true, Kubelet::Answers);
    assert_eq!(only(&missed, ONE), Verdict::Free);
    // After a change of the leader.
    set(&mut missed, "e", true, Kubelet::Unknown);
    assert_eq!(only(&missed, ONE), Verdict::Ask);
}

#[test]
fn limits_are_numbers_or_shares() {
    for (text, of_ten) in [("1", 1), ("3", 3), ("10%", 1), ("25%", 2), ("9%", 0)] {
        let limit: Limit = text.parse().unwrap();
        assert_eq!((limit.of(10), limit.to_string()), (of_ten, text.to_owned()));
    }
    for bad in ["", "0", "-1", "0%", "50%", "100%", "1 %", "many"] {
        assert!(bad.parse::<Limit>().is_err(), "{bad}");
    }
}

#[test]
fn reasons() {
    check(&[Refusal::NoMajority { votes: 1, voters: 4 }, Refusal::KubeletAnswers, Refusal::Limit(1)]);
}

#[test]
fn lost_is_who_died_on_every_link() {
    let (one, two) = (LinkName::from("eth0"), LinkName::from("eth1"));
    let mut lost = Lost::default();
    let joined = Change::Joined("e".into());
    let silent = Change::Left("e".into(), Gone::Silent);
    lost.note(&one, &silent);
    assert!(lost.nodes().is_empty(), "never met");
    lost.note(&one, &joined);
    lost.note(&two, &joined);
    lost.note(&one, &silent);
    assert!(lost.nodes().is_empty(), "still there on the other link");
    lost.note(&two, &silent);
    assert_eq!(*lost.nodes(), names(&["e"]));
    lost.note(&two, &joined);
    assert!(lost.nodes().is_empty(), "back");
    lost.note(&two, &Change::Left("e".into(), Gone::Deaf));
    assert_eq!(*lost.nodes(), names(&["e"]), "its endpoints are not reached either");
    lost.note(&two, &joined);

    for why in [Gone::Leaving, Gone::GraceOver] {
        lost.note(&two, &Change::Left("e".into(), why));
        assert!(lost.nodes().is_empty(), "{why:?}: its node lives");
        lost.note(&two, &joined);
    }
    lost.forget(&two);
    lost.note(&two, &silent);
    assert!(lost.nodes().is_empty(), "it was this node that lost its link");
}
