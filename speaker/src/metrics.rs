//! The speaker's metrics, written when they are scraped, from what the driver published: series go with their object.

use crate::net::{
    answer::{AddressCounters, AnswerTable},
    hello_io::HelloCounters,
    responder::ResponderCounters,
};
use herald_api::configuration_state::Conflict;
use herald_core::{
    LinkName, NodeName,
    announce::conflict::Withheld,
    membership::{Change, Gone, Standing},
    ownership::{HandOver, Snapshot, silent_services},
    reason::Reason,
    speaker::{Announcing, Cause},
    time::Moment,
};
use herald_runtime::metrics::{
    Collect,
    text::{Exposition, Kind},
};
use herald_wire::hello::DataPlane;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// How often each address was said unasked, and when last. Clones share it: a refresh is no reason to publish everything anew.
#[derive(Debug, Clone, Default)]
pub struct Gratuitous(Arc<Mutex<BTreeMap<IpAddr, (u64, Moment)>>>);

impl Gratuitous {
    /// MetalLB counts frames: an ARP round is a request and a reply.
    pub(crate) fn count(&self, address: IpAddr, now: Moment) {
        let mut counts = self.counts();
        let (frames, last) = counts.entry(address).or_default();
        *frames += if address.is_ipv4() { 2 } else { 1 };
        *last = now;
    }

    /// Frames so far, and when the last one was sent.
    pub(crate) fn of(&self, address: IpAddr) -> Option<(u64, Moment)> {
        self.counts().get(&address).copied()
    }

    /// A panic elsewhere leaves whole counts behind.
    fn counts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, (u64, Moment)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happened to this speaker since it started. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<Mutex<Changed>>);

#[derive(Debug, Default)]
struct Changed {
    ownership: BTreeMap<(bool, Cause), u64>,
    membership: BTreeMap<(LinkName, &'static str), u64>,
    hand_overs: BTreeMap<(LinkName, HandOver), u64>,
    conflicts: BTreeMap<(LinkName, &'static str), u64>,
}

impl Changes {
    /// A Service is announced from here now, or not any more.
    pub(crate) fn ownership(&self, announcing: bool, cause: Cause) {
        *self.lock().ownership.entry((announcing, cause)).or_default() += 1;
    }

    /// Something changed about who is on a link.
    pub(crate) fn membership(&self, link: &LinkName, change: &Change) {
        *self.lock().membership.entry((link.clone(), label(change))).or_default() += 1;
    }

    /// What became of a planned move.
    pub(crate) fn hand_over(&self, link: &LinkName, what: HandOver) {
        *self.lock().hand_overs.entry((link.clone(), what)).or_default() += 1;
    }

    /// An address conflict on a link, and what came of it.
    pub(crate) fn conflict(&self, link: &LinkName, outcome: &'static str) {
        *self.lock().conflicts.entry((link.clone(), outcome)).or_default() += 1;
    }

    /// A link is gone, and its counts go with it.
    pub(crate) fn forget(&self, link: &LinkName) {
        let mut counts = self.lock();
        counts.membership.retain(|(other, _), _| other != link);
        counts.hand_overs.retain(|(other, _), _| other != link);
        counts.conflicts.retain(|(other, _), _| other != link);
    }

    /// A panic elsewhere leaves whole counts behind.
    fn lock(&self) -> MutexGuard<'_, Changed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn label(change: &Change) -> &'static str {
    match change {
        Change::Joined(_) => "joined",
        Change::Left(_, Gone::Silent) => "left_silent",
        Change::Left(_, Gone::Leaving) => "left_leaving",
        Change::Left(_, Gone::GraceOver) => "left_grace_over",
        Change::Left(_, Gone::Deaf) => "left_deaf",
        Change::Restarting(_) => "restarting",
        Change::Back(_) => "back",
        Change::Ready(_, true) => "ready",
        Change::Ready(_, false) => "not_ready",
        Change::DataPlane(_, DataPlane::Ready) => "data_plane_ready",
        Change::DataPlane(_, DataPlane::NotReady) => "data_plane_not_ready",
        Change::DataPlane(_, DataPlane::Failed) => "data_plane_failed",
        Change::Presumed(_, true) => "presumed",
        Change::Presumed(_, false) => "not_presumed",
        Change::Links(_) => "links",
        Change::Standing(Standing::Listening) => "own_listening",
        Change::Standing(Standing::Late) => "own_late",
        Change::Standing(Standing::Unheard) => "own_unheard",
        Change::Standing(Standing::Present) => "own_present",
    }
}

/// What is known about one link.
#[derive(Debug, Clone)]
pub struct LinkScrape {
    /// Its name.
    pub name: LinkName,
    /// Members, this speaker included.
    pub members: usize,
    /// Members among them that are never heard here.
    pub presumed: usize,
    /// Members among them whose speaker is away while their node is there.
    pub restarting: usize,
    /// Whether this speaker takes part there.
    pub present: bool,
    /// What is this node's and not answered for, with the reason.
    pub withheld: BTreeMap<IpAddr, Withheld>,
    /// What is answered, with the counters of each address.
    pub table: Arc<AnswerTable>,
    /// What was not answered.
    pub responder: Arc<ResponderCounters>,
    /// What happened to hellos.
    pub hello: Arc<HelloCounters>,
}

/// Everything the driver publishes for metrics.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// This node.
    pub node: Option<NodeName>,
    /// What this node announces.
    pub announcing: Arc<Announcing>,
    /// What it cannot announce because somebody else has it or it is no good, where it is of record.
    pub conflicts: Vec<Conflict>,
    /// Its links.
    pub links: Vec<LinkScrape>,
    /// What was said unasked.
    pub gratuitous: Gratuitous,
    /// What happened.
    pub changes: Changes,
    /// Nodes that this speaker misses on every link.
    pub lost: BTreeSet<NodeName>,
    /// How this node's data plane is, as far as that counts.
    pub data_plane: DataPlane,
    /// What happened to unicast hellos.
    pub datagrams: Option<Arc<HelloCounters>>,
}

/// Writes a [`Scrape`], and what follows from the state of the cluster.
#[derive(Debug)]
pub(crate) struct ScrapeCollector {
    pub(crate) scrape: watch::Receiver<Arc<Scrape>>,
    pub(crate) observed: watch::Receiver<Option<Arc<Snapshot>>>,
}

impl Collect for ScrapeCollector {
    fn collect(&self, out: &mut Exposition) {
        let scrape = Arc::clone(&self.scrape.borrow());
        let observed = self.observed.borrow().clone();
        if let (Some(snapshot), Some(node)) = (observed, &scrape.node) {
            services_silent(&snapshot, node, out);
        }
        scrape.announced(out);
        scrape.data_plane(out);
        scrape.addresses(out);
        scrape.links(out);
        scrape.hellos(out);
        scrape.changes(out);
    }
}

/// Services that nobody announces. All speakers know the same; the first of those that are ready reports it for all, so that such a Service is
/// one series and not one a node.
fn services_silent(snapshot: &Snapshot, node: &NodeName, out: &mut Exposition) {
    let mut family = out.family(
        Kind::Gauge,
        "herald_service_silent",
        "1 for every Service that no node announces, by reason; from one of the speakers.",
    );
    if snapshot.speakers.iter().find(|(_, pod)| pod.ready).is_none_or(|(first, _)| first != node) {
        return;
    }
    for (service, why) in silent_services(snapshot) {
        family.sample(&[("service", service), ("reason", &why.label())], 1);
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Scrape {
    fn announced(&self, out: &mut Exposition) {
        let mut family = out.family(
            Kind::Gauge,
            "metallb_speaker_announced",
            "Services being announced from this node. This is desired state, it does not guarantee that the routing protocols have converged.",
        );
        let Some(node) = &self.node else { return };
        for (service, announced) in self.announcing.iter() {
            for ip in &announced.addresses {
                family.sample(&[("service", service), ("protocol", &"layer2"), ("node", node), ("ip", ip)], 1);
            }
        }
    }

    fn data_plane(&self, out: &mut Exposition) {
        let mut family = out.family(
            Kind::Gauge,
            "herald_data_plane",
            "1 for how this node's data plane is: ready, not_ready (addresses do not move here) or failed (they move away, if another node's is better).",
        );
        for (plane, state) in
            [(DataPlane::Ready, "ready"), (DataPlane::NotReady, "not_ready"), (DataPlane::Failed, "failed")]
        {
            family.sample(&[("state", &state)], u8::from(self.data_plane == plane));
        }
    }

    fn addresses(&self, out: &mut Exposition) {
        let mut requests: BTreeMap<IpAddr, u64> = BTreeMap::new();
        let mut responses: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (ip, answer) in self.links.iter().flat_map(|link| &link.table.addresses) {
            *requests.entry(*ip).or_default() += read(&answer.counters.requests_received);
            *responses.entry(*ip).or_default() += read(&answer.counters.responses_sent);
        }
        let counts = self.gratuitous.counts();
        let gratuitous = requests.keys().map(|ip| (*ip, counts.get(ip).map_or(0, |(frames, _)| *frames))).collect();
        drop(counts);
        let families = [
            ("metallb_layer2_requests_received", "Number of layer2 requests received for owned IPs.", requests),
            (
                "metallb_layer2_responses_sent",
                "Number of layer2 responses sent for owned IPs in response to requests.",
                responses,
            ),
            (
                "metallb_layer2_gratuitous_sent",
                "Number of gratuitous layer2 packets sent for owned IPs as a result of failovers.",
                gratuitous,
            ),
        ];
        for (name, help, series) in families {
            let mut family = out.family(Kind::Counter, name, help);
            series.iter().for_each(|(ip, count)| family.sample(&[("ip", ip)], count));
        }
    }

    fn links(&self, out: &mut Exposition) {
        let mut family =
            out.family(Kind::Gauge, "herald_link_members", "Speakers that take part on the link, this one included.");
        self.links.iter().for_each(|link| family.sample(&[("link", &link.name)], link.members));
        let mut family = out.family(
            Kind::Gauge,
            "herald_link_members_presumed",
            "Members whose hellos are not heard on the link, counted because the API shows their speaker and their address answers.",
        );
        self.links.iter().for_each(|link| family.sample(&[("link", &link.name)], link.presumed));
        let mut family = out.family(
            Kind::Gauge,
            "herald_link_members_restarting",
            "Members whose speaker is away while their node answers: their place is kept.",
        );
        self.links.iter().for_each(|link| family.sample(&[("link", &link.name)], link.restarting));
        let mut family = out.family(
            Kind::Gauge,
            "herald_addresses_stood_in",
            "Addresses that this speaker answers for on behalf of owners whose speakers are away.",
        );
        self.links.iter().for_each(|link| family.sample(&[("link", &link.name)], link.table.stood_in()));
        let mut family = out.family(
            Kind::Gauge,
            "herald_addresses_draining",
            "Addresses that this speaker has handed over and still answers unicast requests for.",
        );
        self.links.iter().for_each(|link| family.sample(&[("link", &link.name)], link.table.drained()));
        let mut family = out.family(
            Kind::Gauge,
            "herald_address_withheld",
            "1 for every address of this node that it does not answer for, by reason: a foreign station has it, or nobody may use it.",
        );
        for link in &self.links {
            for (ip, why) in &link.withheld {
                family.sample(&[("link", &link.name), ("ip", ip), ("reason", &why.label())], 1);
            }
        }
        let mut family = out.family(Kind::Gauge, "herald_link_present", "1 if this speaker may answer on the link.");
        self.links.iter().for_each(|link| family.sample(&[("link", &link.name)], u8::from(link.present)));
        let mut family = out.family(
            Kind::Counter,
            "herald_requests_unanswered_total",
            "ARP and NDP frames that got no answer, by reason.",
        );
        for link in &self.links {
            for (reason, count) in link.responder.unanswered() {
                family.sample(&[("link", &link.name), ("reason", &reason.label())], count);
            }
        }
        let mut family =
            out.family(Kind::Counter, "herald_answers_failed_total", "Answers that the kernel did not take.");
        for link in &self.links {
            family.sample(&[("link", &link.name)], read(&link.responder.send_failed));
        }
        let mut family = out.family(
            Kind::Counter,
            "herald_address_claims_total",
            "ARP and NDP frames in which another station claims an address that this node announces.",
        );
        for link in &self.links {
            for (ip, answer) in link.table.addresses.iter().collect::<BTreeMap<_, _>>() {
                let AddressCounters { claims_by_members, claims_by_others, .. } = &*answer.counters;
                for (by, count) in [("member", claims_by_members), ("other", claims_by_others)] {
                    family.sample(&[("link", &link.name), ("ip", ip), ("by", &by)], read(count));
                }
            }
        }
    }

    fn changes(&self, out: &mut Exposition) {
        let changed = self.changes.lock();
        let mut family = out.family(
            Kind::Counter,
            "herald_ownership_changes_total",
            "Times that this node began or ceased to announce a Service, by what made it decide anew.",
        );
        for (announcing, change) in [(true, "announcing"), (false, "withdrawn")] {
            for cause in Cause::ALL {
                let count = changed.ownership.get(&(announcing, cause)).copied().unwrap_or_default();
                family.sample(&[("change", &change), ("reason", &cause)], count);
            }
        }
        let mut family = out.family(
            Kind::Counter,
            "herald_membership_changes_total",
            "Changes of who is on a link, and of this speaker's own standing there.",
        );
        for ((link, change), count) in &changed.membership {
            family.sample(&[("link", link), ("change", change)], count);
        }
        let mut family = out.family(
            Kind::Counter,
            "herald_hand_overs_total",
            "Planned moves of groups of addresses between living nodes, by what became of them here.",
        );
        for link in &self.links {
            for what in HandOver::ALL {
                let count = changed.hand_overs.get(&(link.name.clone(), what)).copied().unwrap_or_default();
                family.sample(&[("link", &link.name), ("result", &what.label())], count);
            }
        }
        let mut family = out.family(
            Kind::Counter,
            "herald_address_conflicts_total",
            "Address conflicts that this node found: withheld for a reason, or defended.",
        );
        for ((link, outcome), count) in &changed.conflicts {
            family.sample(&[("link", link), ("outcome", outcome)], count);
        }
    }

    fn hellos(&self, out: &mut Exposition) {
        let mut family = out.family(Kind::Counter, "herald_hellos_total", "Hellos received, by what became of them.");
        let links = self.links.iter().map(|link| (link.name.as_str(), &link.hello));
        for (link, counters) in links.chain(self.datagrams.iter().map(|counters| ("udp", counters))) {
            for (result, count) in [
                ("heard", &counters.heard),
                ("malformed", &counters.malformed),
                ("foreign_cluster", &counters.foreign_cluster),
                ("wrong_key", &counters.wrong_hmac),
                ("version", &counters.version),
                ("no_key", &counters.no_key),
                ("no_link", &counters.no_link),
                ("lost", &counters.lost),
            ] {
                family.sample(&[("link", &link), ("result", &result)], read(count));
            }
        }
    }
}
