//! The memory beside the verdict, one machine alone; the simulated LAN has several.

use super::*;
use crate::time::Moment;
use herald_wire::hello::{ClusterId, DataPlane, Move, Stamp, Word, peer_hash};
use std::time::Duration;

const CLUSTER: ClusterId = ClusterId([7; 16]);

/// One machine, of node `a`, that has settled on a state of the cluster.
struct Machine {
    holder: Holder,
    plan: Plan,
    members: BTreeMap<NodeName, Member>,
    now: Moment,
}

fn talking() -> BTreeMap<NodeName, Member> {
    everybody().into_iter().map(|(node, member)| (node, Member { hands_over: true, ..member })).collect()
}

/// As many Services as asked for; those that `a` does not own alone go elsewhere.
fn services(count: u8) -> Snapshot {
    let all = &["a", "b", "c"];
    let services = (1..=count).map(|n| service(&[&format!("192.0.2.{n}")], TrafficPolicy::Cluster, all));
    let mut snapshot = snapshot();
    snapshot.services = services.enumerate().map(|(n, s)| (ServiceKey::new("ns", format!("s{n}")), s)).collect();
    snapshot
}

fn without(nodes: &[&str], mut snapshot: Snapshot) -> Snapshot {
    for node in nodes {
        snapshot.nodes.get_mut(&NodeName::from(*node)).unwrap().excluded = true;
    }
    snapshot
}

impl Machine {
    fn new(snapshot: &Snapshot) -> Self {
        let now = Moment::default() + Duration::from_secs(100);
        let holder = Holder::new(Moves::default(), now);
        Self { holder, plan: plan(snapshot), members: talking(), now }
    }

    fn view<'a>(&'a self, before: Option<&'a Plan>, me: &'a NodeName, link: &'a LinkName) -> View<'a> {
        let (plan, members, now) = (&self.plan, &self.members, self.now);
        let interval = Duration::from_millis(50);
        let electorate = Electorate::new(plan, link, members);
        View { plan, before, link, me, cluster: CLUSTER, members, electorate, kept: false, interval, now }
    }

    /// What it has to do with every group now.
    fn settle(&mut self, before: Option<&Plan>) -> Vec<Role> {
        let mut holder = std::mem::replace(&mut self.holder, Holder::new(Moves::default(), self.now));
        let (me, link) = ("a".into(), "eth0".into());
        let view = self.view(before, &me, &link);
        holder.begin(&view);
        let roles = self.plan.groups().iter().enumerate().map(|(at, group)| holder.step(&view, (at, group))).collect();
        holder.finish(&view);
        self.holder = holder;
        roles
    }

    fn change(&mut self, snapshot: &Snapshot) -> Vec<Role> {
        let before = std::mem::replace(&mut self.plan, plan(snapshot));
        self.settle(Some(&before))
    }

    fn hear(&mut self, from: &str, word: Word, to: &str) {
        let mut holder = std::mem::replace(&mut self.holder, Holder::new(Moves::default(), self.now));
        let (me, link) = ("a".into(), "eth0".into());
        let peer = if to.is_empty() { 0 } else { peer_hash(CLUSTER, to) };
        let said = Move { word, group: self.plan.groups()[0].key, peer };
        holder.hear(&from.into(), &[said], Stamp::default(), &self.view(None, &me, &link));
        self.holder = holder;
    }

    fn said(&mut self) -> Vec<Move> {
        self.holder.words(CLUSTER, &"a".into(), 2, self.now)
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }
}

const HOLDER: Role = Role::Holder { owner: true, quiet: false };

#[test]
fn the_owner_lives_and_is_asked() {
    let mut a = Machine::new(&without(&["a"], services(1)));
    assert_eq!(a.settle(None), [Role::Elsewhere]);
    assert_eq!(a.change(&without(&["b", "c"], services(1))), [Role::Elsewhere]);
    let asked: Vec<Word> = a.said().into_iter().map(|said| said.word).collect();
    assert_eq!(asked, [Word::Ask]);
    a.hear("b", Word::Release, "c");
    assert_eq!(a.settle(None), [Role::Elsewhere], "somebody else got it");
    a.hear("b", Word::Release, "a");
    assert_eq!(a.settle(None), [Role::Holder { owner: true, quiet: true }]);
    assert_eq!(a.said()[0].word, Word::Own);
    a.pass(30_001);
    assert_eq!(a.settle(None), [HOLDER], "and announces it after the drain");
}

#[test]
fn who_cannot_be_asked_is_not() {
    type Change = fn(&mut Machine);
    let cases: [Change; 4] = [
        // An older speaker, or one that does not hear this node.
        |a| a.members.values_mut().for_each(|member| member.hands_over = false),
        |a| a.members.values_mut().for_each(|member| member.restarting = true),
        |a| a.members.retain(|node, _| *node == NodeName::from("a")),
        // It cannot serve any more.
        |a| {
            let mut snapshot = without(&["b", "c"], services(1));
            let local = service(&["192.0.2.1"], TrafficPolicy::Local, &["a"]);
            snapshot.services.insert(ServiceKey::new("ns", "s0"), local);
            a.plan = plan(&snapshot);
        },
    ];
    for change in cases {
        let mut a = Machine::new(&without(&["a"], services(1)));
        a.settle(None);
        let before = std::mem::replace(&mut a.plan, plan(&without(&["b", "c"], services(1))));
        change(&mut a);
        assert_eq!(a.settle(Some(&before)), [HOLDER]);
    }
}

#[test]
fn without_consent_it_is_taken_when_the_cluster_rules_the_other_out() {
    let mut a = Machine::new(&without(&["a"], services(1)));
    a.settle(None);
    a.change(&without(&["b", "c"], services(1)));
    a.pass(1999);
    assert_eq!(a.settle(None), [Role::Elsewhere]);
    a.pass(1);
    assert_eq!(a.settle(None), [HOLDER]);
    assert_eq!(a.holder.take_told().last().unwrap().1, HandOver::Forced);
}

#[test]
fn a_holder_answers_until_the_new_one_does_and_then_drains() {
    let mut a = Machine::new(&without(&["b", "c"], services(1)));
    assert_eq!(a.settle(None), [HOLDER]);
    a.pass(20_000);
    assert_eq!(a.change(&without(&["a", "c"], services(1))), [Role::Holder { owner: false, quiet: false }]);
    a.hear("b", Word::Ask, "a");
    let to_b = |said: &Move| said.peer == peer_hash(CLUSTER, "b");
    assert_eq!(a.said().into_iter().find(to_b).unwrap().word, Word::Release);
    assert_eq!(a.settle(None), [Role::Holder { owner: false, quiet: false }]);
    a.hear("b", Word::Own, "");
    assert_eq!(a.settle(None), [Role::Draining]);
    a.pass(31_001);
    assert_eq!(a.settle(None), [Role::Elsewhere]);
}

#[test]
fn who_came_back_waits_and_who_is_not_the_owner_gets_nothing() {
    let mut a = Machine::new(&without(&["b", "c"], services(1)));
    a.members.remove(&NodeName::from("b"));
    a.settle(None);
    a.pass(20_000);
    a.members = talking();
    a.change(&without(&["a", "c"], services(1)));
    let mut answer = |from: &str, pass| {
        a.pass(pass);
        a.hear(from, Word::Ask, "a");
        a.said().into_iter().find(|said| said.peer == peer_hash(CLUSTER, from)).unwrap().word
    };
    assert_eq!(answer("c", 0), Word::Hold, "it is not the owner");
    assert_eq!(answer("b", 9_999), Word::Hold, "it came back lately");
    assert_eq!(answer("b", 1), Word::Release);
}

#[test]
fn more_than_a_hello_holds_is_said_in_turns() {
    let mut a = Machine::new(&without(&["b", "c"], services(200)));
    a.settle(None);
    let mut said: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for _ in 0..40 {
        a.said().into_iter().for_each(|word| *said.entry(word.group).or_default() += 1);
    }
    assert_eq!(said.len(), 200);
    assert!(said.values().all(|count| *count >= 5), "{said:?}");
    // Then a few in every hello, so that a rival is noticed whatever was lost.
    let later: BTreeSet<IpAddr> = (0..80).flat_map(|_| a.said()).map(|word| word.group).collect();
    assert_eq!(later.len(), 200);
}

#[test]
fn results_have_labels_of_their_own() {
    let labels: BTreeSet<&str> = HandOver::ALL.iter().map(|what| what.label()).collect();
    assert_eq!(labels.len(), HandOver::ALL.len());
}

impl Machine {
    /// The nodes of the only group, in its order.
    fn order(&self) -> Vec<NodeName> {
        let mut nodes: Vec<NodeName> = self.plan.snapshot().nodes.keys().cloned().collect();
        let key = self.plan.groups()[0].key.to_string();
        nodes.sort_by_key(|node| rank(node, &key));
        nodes
    }

    fn set_plane(&mut self, node: &str, data_plane: DataPlane) {
        self.members.get_mut(&NodeName::from(node)).unwrap().data_plane = data_plane;
    }
}

/// The state of the cluster in which these come in this order; `a` is the machine.
fn ordered(order: [&str; 3]) -> Snapshot {
    let addresses = (1..=254).map(|n| format!("192.0.2.{n}"));
    let fits = |address: &String| {
        let mut nodes = order;
        nodes.sort_by_key(|node| rank(&NodeName::from(*node), address));
        nodes == order
    };
    let address = addresses.into_iter().find(fits).unwrap();
    with(&[("s", service(&[&address], TrafficPolicy::Cluster, &["a", "b", "c"]))])
}

#[test]
fn who_asks_gets_nothing_while_its_data_plane_is_not_ready_for_a_time() {
    let answer = |plane: DataPlane, pass: Duration| {
        let mut a = Machine::new(&without(&["b", "c"], services(1)));
        a.set_plane("b", plane);
        a.settle(None);
        a.pass(60_000);
        a.change(&without(&["a", "c"], services(1)));
        a.now = a.now + pass;
        a.hear("b", Word::Ask, "a");
        a.said().into_iter().find(|said| said.peer == peer_hash(CLUSTER, "b")).unwrap().word
    };
    let minute = Duration::from_secs(60);
    assert_eq!(answer(DataPlane::Ready, Duration::ZERO), Word::Release);
    assert_eq!(answer(DataPlane::NotReady, Duration::ZERO), Word::Hold);
    // It has not been ready for a minute already.
    assert_eq!(answer(DataPlane::NotReady, PLANE_WAIT - minute - Duration::from_millis(1)), Word::Hold);
    assert_eq!(answer(DataPlane::NotReady, PLANE_WAIT - minute), Word::Release, "and not for ever");
    assert_eq!(answer(DataPlane::Failed, PLANE_WAIT * 10), Word::Hold, "who says that it fails gets nothing");
}

#[test]
fn nothing_is_forced_to_a_data_plane_that_is_not_ready() {
    let mut a = Machine::new(&without(&["a"], services(1)));
    a.set_plane("a", DataPlane::NotReady);
    a.settle(None);
    a.change(&without(&["b", "c"], services(1)));
    a.pass(299_999);
    assert_eq!(a.settle(None), [Role::Elsewhere], "though the state of the cluster rules the other out");
    a.pass(1);
    assert_eq!(a.settle(None), [HOLDER]);
}

#[test]
fn a_kube_proxy_that_restarts_changes_nothing() {
    for planes in [["a"].as_slice(), &["b", "c"], &["a", "b", "c"]] {
        let snapshot = ordered(["a", "b", "c"]);
        let mut a = Machine::new(&without(&["b", "c"], snapshot.clone()));
        a.settle(None);
        assert_eq!(a.change(&snapshot), [HOLDER]);
        a.holder.take_told();
        planes.iter().for_each(|node| a.set_plane(node, DataPlane::NotReady));
        assert_eq!(a.settle(None), [HOLDER]);
        planes.iter().for_each(|node| a.set_plane(node, DataPlane::Ready));
        assert_eq!(a.settle(None), [HOLDER]);
        assert!(a.holder.take_told().is_empty());
    }
}

#[test]
fn of_a_dead_owner_the_first_with_a_ready_data_plane_takes_it_until_the_next_owners_is() {
    // b has it; c is next, and not ready; a is last.
    let mut a = Machine::new(&ordered(["b", "c", "a"]));
    assert_eq!(a.order(), ["b", "c", "a"].map(NodeName::from));
    a.settle(None);
    a.set_plane("c", DataPlane::NotReady);
    assert_eq!(a.settle(None), [Role::Elsewhere], "b lives");
    a.members.remove(&NodeName::from("b"));
    assert_eq!(a.settle(None), [Role::Holder { owner: false, quiet: false }]);
    assert_eq!(a.holder.take_told().pop().unwrap().1, HandOver::FilledIn);
    // Kept from c as long as that is not ready.
    a.pass(20_000);
    let to_c = |a: &mut Machine| {
        a.hear("c", Word::Ask, "a");
        a.said().into_iter().find(|said| said.peer == peer_hash(CLUSTER, "c")).unwrap().word
    };
    assert_eq!(to_c(&mut a), Word::Hold);
    a.set_plane("c", DataPlane::Ready);
    assert_eq!(a.settle(None), [Role::Holder { owner: false, quiet: false }]);
    assert_eq!(to_c(&mut a), Word::Release);
}

#[test]
fn an_owner_that_is_not_ready_asks_who_is_and_takes_it_when_that_has_nothing() {
    // b has it; a is next, and not ready; c is last.
    let next = || {
        let mut a = Machine::new(&ordered(["b", "a", "c"]));
        a.settle(None);
        a.set_plane("a", DataPlane::NotReady);
        a.settle(None);
        a
    };
    let mut a = next();
    a.members.remove(&NodeName::from("b"));
    assert_eq!(a.settle(None), [Role::Elsewhere]);
    assert_eq!(a.said()[0].peer, peer_hash(CLUSTER, "c"), "who is to have it");
    a.hear("c", Word::Free, "a");
    a.pass(100);
    assert_eq!(a.settle(None), [Role::Elsewhere], "it may not have noticed yet");
    a.pass(300);
    assert_eq!(a.settle(None), [HOLDER], "rather here than nowhere");

    let mut a = next();
    a.members.remove(&NodeName::from("b"));
    a.settle(None);
    a.hear("c", Word::Free, "a");
    a.hear("c", Word::Hold, "a");
    a.pass(60_000);
    assert_eq!(a.settle(None), [Role::Elsewhere], "c has it");

    for gone in [&["b", "c"][..], &["b"]] {
        let mut a = next();
        gone.iter().for_each(|node| drop(a.members.remove(&NodeName::from(*node))));
        if gone.len() == 1 {
            a.set_plane("c", DataPlane::NotReady);
        }
        assert_eq!(a.settle(None), [HOLDER], "nobody's is ready");
    }
}
