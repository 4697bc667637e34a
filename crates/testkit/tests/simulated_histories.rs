//! Invariants 3 to 5 of ARCHITECTURE.md over random histories: a million moments and more, with the invariants looked at after each of them.
//!
//! `HERALD_HISTORY_SEED=7` runs that history alone, and says what happens in it; `HERALD_HISTORIES=5000` runs so many.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

use herald_core::{
    LinkName, NodeName,
    ownership::{Moves, Snapshot, rank},
    time::{FORCE, Moment, Timing},
};
use herald_testkit::{
    build,
    lan::{Lan, Random},
};
use herald_wire::hello::DataPlane;
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::Write as _,
    net::IpAddr,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const NODES: [&str; 5] = ["m-k8s", "w1-k8s", "w2-k8s", "w3-k8s", "w4-k8s"];
/// Enough for some seven million moments.
const HISTORIES: u64 = 1_500;
/// Whatever the number of histories is set to in this file.
const LEAST_MOMENTS: u64 = 1_000_000;
const HAPPENINGS: u64 = 25;
/// Shorter than by default, so that more happens.
const MOVES: Moves = Moves { drain: ms(700), hold_off: ms(400) };
/// A planned move: hold-off, asks, release; or force.
const PLANNED: Duration = ms(5000);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn addresses() -> Vec<IpAddr> {
    (11..=14).map(|last| IpAddr::from([192, 168, 56, last])).collect()
}

fn cluster(nodes: &[&str], excluded: Option<&str>, version: u64) -> Snapshot {
    let mut snapshot = build::snapshot(nodes);
    for address in addresses() {
        build::announce(&mut snapshot, &format!("s{address}"), &[&address.to_string()]);
    }
    if let Some(node) = excluded.and_then(|node| snapshot.nodes.get_mut(&NodeName::from(node))) {
        node.excluded = true;
    }
    snapshot.stamp.resource_version = version;
    snapshot.stamp.connected = true;
    snapshot
}

/// What happens to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    PowerOff(&'static str),
    PowerOn(&'static str),
    /// The speaker's process ends with or without its last words, and starts again after so many ms.
    Restart(&'static str, bool, u64),
    /// The process does not run for so many ms.
    Freeze(&'static str, u64),
    /// The machine does not.
    Suspend(&'static str, u64),
    Partition(&'static str),
    OneWay(&'static str, &'static str),
    /// It receives nothing, and is heard.
    Deaf(&'static str),
    Heal,
    Loss(u64),
    Carrier(&'static str, bool),
    /// A label that excludes a node from announcing, or nobody, and everybody knows.
    Exclude(Option<&'static str>),
    /// Only this node knows yet.
    ExcludeKnownTo(&'static str, Option<&'static str>),
    /// A node's data plane is like this, and it says so.
    Plane(&'static str, DataPlane),
    Nothing,
}

/// A cluster with its history so far.
struct History {
    lan: Lan,
    random: Random,
    nodes: Vec<&'static str>,
    off: BTreeSet<&'static str>,
    unplugged: BTreeSet<&'static str>,
    /// Restarting, and when they are back.
    away: BTreeMap<&'static str, Moment>,
    excluded: Option<&'static str>,
    version: u64,
    /// Whether everybody decides on the same state of the cluster.
    agreed: bool,
    watch: Watch,
    told: bool,
}

/// Since when two who hear each other say different things about an address.
#[derive(Default)]
struct Watch {
    since: BTreeMap<IpAddr, Moment>,
    worst: Duration,
    /// Frames may be lost, or views differ: what is bounded then is the time after.
    disturbed: bool,
}

impl Watch {
    fn look(&mut self, lan: &Lan) {
        for address in addresses() {
            let claims = lan.claims(0, address);
            let contradict = |(a, at): &(NodeName, NodeName), (b, other): &(NodeName, NodeName)| {
                at != other && lan.hear_each_other(a, b)
            };
            if self.disturbed || !claims.iter().any(|a| claims.iter().any(|b| contradict(a, b))) {
                self.since.remove(&address);
                continue;
            }
            let since = *self.since.entry(address).or_insert(lan.now);
            self.worst = self.worst.max(lan.now.since(since));
            let bound = Timing::default().overlap_bound();
            assert!(self.worst <= bound, "{address} is answered by {claims:?} for {:?} at {}", self.worst, lan.now);
        }
    }
}

impl History {
    fn new(seed: u64, told: bool) -> Self {
        let mut random = Random::new(seed);
        let nodes = NODES[..usize::try_from(2 + random.below(4)).unwrap()].to_vec();
        let mut lan = Lan::new(Timing::default(), cluster(&nodes, None, 1), seed);
        lan.moves = MOVES;
        lan.max_delay = ms(1 + random.below(20));
        let mut history = Self {
            lan,
            random,
            nodes: nodes.clone(),
            off: BTreeSet::new(),
            unplugged: BTreeSet::new(),
            away: BTreeMap::new(),
            excluded: None,
            version: 1,
            agreed: true,
            watch: Watch::default(),
            told,
        };
        for (number, node) in (101..).zip(nodes) {
            history.lan.add(node, vec![build::link(0, number)]);
            if history.random.below(2) == 0 {
                history.pass(ms(40));
            }
        }
        history
    }

    fn any(&mut self) -> &'static str {
        let count = u64::try_from(self.nodes.len()).unwrap();
        self.nodes[usize::try_from(self.random.below(count)).unwrap()]
    }

    fn choose(&mut self) -> Happening {
        let node = self.any();
        let other = self.any();
        let runs = !self.off.contains(node) && !self.away.contains_key(node);
        let excluded = Some(node).filter(|_| self.random.below(3) > 0);
        let millis = self.random.below(3000);
        match self.random.below(19) {
            0 if self.off.len() + 1 < self.nodes.len() && runs => Happening::PowerOff(node),
            1 | 2 if self.off.contains(node) => Happening::PowerOn(node),
            3 if runs => Happening::Restart(node, true, millis),
            4 if runs => Happening::Restart(node, false, millis),
            5 if runs => Happening::Freeze(node, millis),
            6 if runs => Happening::Suspend(node, millis),
            7 => Happening::Partition(node),
            8 => Happening::OneWay(node, other),
            9 | 10 => Happening::Heal,
            11 => Happening::Loss([0, 10, 100][usize::try_from(millis % 3).unwrap()]),
            12 if runs => Happening::Carrier(node, self.unplugged.contains(node)),
            13 => Happening::Exclude(excluded),
            14 => Happening::ExcludeKnownTo(other, excluded),
            15 => Happening::Deaf(node),
            16 | 17 => {
                let planes = [DataPlane::Ready, DataPlane::NotReady, DataPlane::Failed];
                Happening::Plane(node, planes[usize::try_from(millis % 3).unwrap()])
            }
            _ => Happening::Nothing,
        }
    }

    fn happen(&mut self, happening: Happening) {
        if self.told {
            say(&format!("{} {happening:?}", self.lan.now));
        }
        let lan = &mut self.lan;
        match happening {
            Happening::PowerOff(node) => {
                self.off.insert(node);
                lan.power_off(node);
            }
            Happening::PowerOn(node) => {
                self.off.remove(node);
                lan.power_on(node);
            }
            Happening::Restart(node, told, millis) => {
                if told {
                    lan.stop(node, false);
                } else {
                    lan.kill(node);
                }
                self.away.insert(node, lan.now + ms(millis));
            }
            Happening::Freeze(node, millis) => lan.pause(node, ms(millis)),
            Happening::Suspend(node, millis) => lan.suspend(node, ms(millis)),
            Happening::Partition(node) => lan.partition(&[node]),
            Happening::OneWay(from, to) => lan.cut_one_way(from, to),
            Happening::Deaf(node) => lan.deafen(node),
            Happening::Heal => lan.heal(),
            Happening::Loss(per_mille) => lan.loss_per_mille = per_mille,
            Happening::Carrier(node, there) => {
                if there {
                    self.unplugged.remove(node);
                } else {
                    self.unplugged.insert(node);
                }
                lan.set_carrier(node, &LinkName::from("eth0"), there);
            }
            Happening::Exclude(node) => {
                (self.excluded, self.version, self.agreed) = (node, self.version + 1, true);
                lan.set_snapshot(cluster(&self.nodes, node, self.version));
            }
            Happening::ExcludeKnownTo(knows, node) => {
                (self.version, self.agreed) = (self.version + 1, false);
                lan.set_snapshot_of(knows, cluster(&self.nodes, node, self.version));
            }
            Happening::Plane(node, plane) => lan.set_data_plane(node, plane),
            Happening::Nothing => {}
        }
    }

    /// Lets time pass; who restarts is back in time.
    fn pass(&mut self, how_long: Duration) {
        let end = self.lan.now + how_long;
        loop {
            let back = self.away.iter().min_by_key(|(_, when)| **when).map(|(node, when)| (*node, *when));
            let until = back.map_or(end, |(_, when)| when.min(end));
            self.watch.disturbed = self.lan.loss_per_mille > 10 || !self.agreed;
            self.lan.run(until.since(self.lan.now), |lan| self.watch.look(lan));
            match back.filter(|(_, when)| *when <= until) {
                Some((node, _)) => {
                    self.away.remove(node);
                    self.lan.power_on(node);
                }
                None => return,
            }
        }
    }

    /// Everything is well again: within a bounded time exactly one answers for each address, and it is the right one.
    fn end(&mut self) {
        self.lan.heal();
        self.lan.loss_per_mille = 0;
        for node in std::mem::take(&mut self.unplugged) {
            self.lan.set_carrier(node, &LinkName::from("eth0"), true);
        }
        for node in std::mem::take(&mut self.off) {
            self.lan.power_on(node);
        }
        self.nodes.iter().for_each(|node| self.lan.set_data_plane(node, DataPlane::Ready));
        self.happen(Happening::Exclude(self.excluded));
        // Who was suspended or restarts comes back within three seconds.
        self.pass(ms(3000) + MOVES.hold_off + FORCE + PLANNED);
        let may = self.nodes.iter().filter(|node| Some(**node) != self.excluded).map(|node| NodeName::from(*node));
        let may: Vec<NodeName> = may.collect();
        for address in addresses() {
            let right = may.iter().min_by_key(|node| rank(node, &address.to_string())).unwrap();
            let claims = self.lan.claims(0, address);
            assert_eq!(claims, [(right.clone(), right.clone())].into(), "{address} in the end");
        }
    }

    /// How many moments were looked at, and how much happened.
    fn run(mut self) -> (u64, u64, Duration) {
        let mut happened = 0;
        for _ in 0..HAPPENINGS {
            let happening = self.choose();
            happened += u64::from(happening != Happening::Nothing);
            self.happen(happening);
            let longest = [20, 300, 1500][usize::try_from(self.random.below(3)).unwrap()];
            let pause = self.random.below(longest);
            self.pass(ms(pause));
        }
        self.end();
        (self.lan.steps(), happened, self.watch.worst)
    }
}

/// Past the capture of the test harness: how much was tried is worth knowing where it passed, too.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn whatever_happens_at_most_one_answers_and_in_the_end_the_right_one() {
    let one = number("HERALD_HISTORY_SEED");
    let histories = number("HERALD_HISTORIES").unwrap_or(HISTORIES);
    let (moments, happened, worst) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let next = AtomicU64::new(one.unwrap_or(0));
    let end = one.map_or(histories, |seed| seed + 1);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let run = AssertUnwindSafe(|| History::new(seed, one.is_some()).run());
                    let (steps, happenings, overlap) = panic::catch_unwind(run).unwrap_or_else(|cause| {
                        say(&format!(
                            "again: HERALD_HISTORY_SEED={seed} cargo test -p herald-testkit --test simulated_histories"
                        ));
                        next.store(end, Ordering::Relaxed);
                        panic::resume_unwind(cause)
                    });
                    moments.fetch_add(steps, Ordering::Relaxed);
                    happened.fetch_add(happenings, Ordering::Relaxed);
                    worst.fetch_max(u64::try_from(overlap.as_millis()).unwrap(), Ordering::Relaxed);
                }
            });
        }
    });
    let moments = moments.into_inner();
    say(&format!(
        "{moments} moments of {} histories with {} disturbances; longest overlap {} ms",
        end - one.unwrap_or(0),
        happened.into_inner(),
        worst.into_inner()
    ));
    assert!(one.is_some() || moments >= LEAST_MOMENTS, "only {moments} moments: more histories are needed");
}
