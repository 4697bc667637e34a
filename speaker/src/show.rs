//! `/debug/state`: everything this speaker knows and decided, rendered when somebody asks.

use crate::{data_plane::Asked, links::Links, metrics::Gratuitous, net::answer::Answer, ports::Ports};
use herald_api::state::{
    self, AnswerState, ClaimState, DataPlaneState, EvacuationState, GroupState, Health, Known, LinkState, MemberState,
    MoveState, ServiceState, SnapshotState, SpeakerState, VerdictState,
};
use herald_core::{
    LinkName, NodeName,
    membership::Member,
    node::Evacuation,
    ownership::Verdict,
    speaker::{self, Speaker, State},
    time::Moment,
};
use herald_runtime::admin::DebugRequest;
use herald_wire::{Mac, hello::DataPlane};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::atomic::Ordering,
};

/// What the machine does not keep, as no rule needs it. Small: it grows with what is not as it should be.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// When the newest snapshot came.
    pub(crate) snapshot: Option<Moment>,
    /// Peers whose last hello on a link came as a datagram.
    unicast: BTreeSet<(LinkName, NodeName)>,
    /// Last claims of addresses that are answered for here.
    claims: BTreeMap<(LinkName, IpAddr), (Mac, Moment)>,
}

impl Notes {
    /// A hello came, by a frame or by a datagram.
    pub(crate) fn heard(&mut self, link: &LinkName, node: &str, unicast: bool) {
        if unicast {
            self.unicast.insert((link.clone(), node.into()));
        } else if !self.unicast.is_empty() {
            self.unicast.remove(&(link.clone(), node.into()));
        }
    }

    /// Another station claimed an address that is answered for.
    pub(crate) fn claimed(&mut self, link: &LinkName, address: IpAddr, by: Mac, at: Moment) {
        self.claims.insert((link.clone(), address), (by, at));
    }

    /// A link is gone.
    pub(crate) fn forget(&mut self, link: &LinkName) {
        self.unicast.retain(|(other, _)| other != link);
        self.claims.retain(|(other, _), _| other != link);
    }
}

/// What there is to be shown.
pub(crate) struct Shown<'a> {
    pub(crate) node: &'a NodeName,
    pub(crate) speaker: &'a Speaker,
    pub(crate) ports: &'a Ports,
    pub(crate) links: &'a Links,
    pub(crate) data_plane: &'a Asked,
    pub(crate) notes: &'a Notes,
    pub(crate) gratuitous: &'a Gratuitous,
    pub(crate) now: Moment,
}

fn millis(from: Moment, now: Moment) -> u64 {
    u64::try_from(now.since(from).as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since the epoch, as RFC 3339.
fn moment(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

impl Shown<'_> {
    /// The state, of the Services that are asked for.
    pub(crate) fn state(&self, request: &DebugRequest) -> SpeakerState {
        let state = self.speaker.state(|key| request.wants(&key.to_string()));
        let mut reasons = BTreeMap::new();
        let groups = state.groups.iter().map(|(group, verdicts)| GroupState {
            addresses: group.addresses.to_vec(),
            services: group.services.iter().map(ToString::to_string).collect(),
            links: verdicts.iter().map(|(link, it)| (link.to_string(), verdict(it, &mut reasons))).collect(),
        });
        let groups = groups.collect();
        let announcing = self.speaker.announcing();
        let services = state.services.iter().map(|(key, service, silent)| {
            let announced = announcing.get(*key).map(|announced| announced.addresses.to_vec()).unwrap_or_default();
            let moved = service.moved.as_ref();
            let state = ServiceState {
                addresses: service.addresses.to_vec(),
                silent: silent.map(Into::into),
                announced,
                moved: moved.map(|moved| MoveState { to: moved.to.to_string(), until: moment(moved.until) }),
            };
            (key.to_string(), state)
        });
        SpeakerState {
            version: state::VERSION,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.to_string(),
            obstacles: state.obstacles.iter().map(Into::into).collect(),
            snapshot: self.snapshot(),
            links: self.links(&state),
            data_plane: self.data_plane(),
            reasons,
            groups,
            services: services.collect(),
        }
    }

    fn data_plane(&self) -> DataPlaneState {
        let asked = self.data_plane;
        let counts = self.speaker.data_plane() != DataPlane::Ready;
        DataPlaneState {
            url: asked.url.as_deref().map(str::to_owned),
            has_answered: asked.has_health,
            health: health(self.speaker.data_plane()),
            not_ready: asked.why.as_ref().filter(|_| counts).map(Into::into),
        }
    }

    fn snapshot(&self) -> Option<SnapshotState> {
        let snapshot = self.speaker.snapshot()?;
        let stamp = snapshot.stamp;
        let evacuated = snapshot.nodes.values().filter_map(|node| {
            let why = node.evacuation?;
            let until = if let Evacuation::Asked { until } = why { Some(moment(until)) } else { None };
            Some((node.name.to_string(), EvacuationState { why: why.to_string(), until }))
        });
        Some(SnapshotState {
            connected: stamp.connected,
            resource_version: stamp.resource_version,
            age_ms: self.notes.snapshot.map(|came| millis(came, self.now)).unwrap_or_default(),
            saved_at: snapshot.saved_at.map(moment),
            evacuated: evacuated.collect(),
        })
    }

    fn links(&self, state: &State<'_>) -> BTreeMap<String, LinkState> {
        let shown = |name: &LinkName| *name != LinkName::from("lo");
        let links = self.links.iter().filter(|(name, _)| shown(name)).map(|(name, link)| {
            let known = state.links.get(name);
            let shown = LinkState {
                mac: link.mac.to_string(),
                addresses: link.addresses.iter().map(ToString::to_string).collect(),
                not_used: link.usable.as_ref().err().map(Into::into),
                standing: known.map(|known| (&known.standing).into()),
                members: known.map(|known| self.members(name, known)).unwrap_or_default(),
                deaf: known.into_iter().flat_map(|known| &known.deaf).map(ToString::to_string).collect(),
                answers: self.answers(name),
                stands_in: self.stands_in(name),
                withheld: self.speaker.withheld(name).iter().map(|(address, why)| (*address, why.into())).collect(),
            };
            (name.to_string(), shown)
        });
        links.collect()
    }

    fn members(&self, link: &LinkName, state: &speaker::LinkState<'_>) -> BTreeMap<String, MemberState> {
        let member = |(node, member): (&NodeName, &Member)| {
            let known = if node == self.node {
                Known::Own
            } else if member.restarting {
                Known::Restarting
            } else if member.presumed {
                Known::Presumed
            } else if self.notes.unicast.contains(&(link.clone(), node.clone())) {
                Known::Unicast
            } else {
                Known::Hello
            };
            let shown = MemberState {
                ready: member.ready,
                known,
                silent_ms: state.heard.get(node).map(|heard| millis(*heard, self.now)),
                links: member.links.iter().map(ToString::to_string).collect(),
                data_plane: health(member.data_plane),
            };
            (node.to_string(), shown)
        };
        state.members.iter().map(member).collect()
    }

    fn answers(&self, link: &LinkName) -> BTreeMap<IpAddr, AnswerState> {
        let Some(port) = self.ports.get(link) else { return BTreeMap::new() };
        let answer = |(address, Answer { counters, unicast_only, .. }): (&IpAddr, &Answer)| {
            let said = self.gratuitous.of(*address);
            let claim = self.notes.claims.get(&(link.clone(), *address));
            let shown = AnswerState {
                draining: *unicast_only,
                requests: counters.requests_received.load(Ordering::Relaxed),
                answers: counters.responses_sent.load(Ordering::Relaxed),
                announced: said.map_or(0, |(frames, _)| frames),
                announced_ms: said.map(|(_, at)| millis(at, self.now)),
                claims: counters.claims(),
                claim: claim.map(|(mac, at)| ClaimState { mac: mac.to_string(), age_ms: millis(*at, self.now) }),
            };
            (*address, shown)
        };
        let table = port.table();
        let own = |answer: &Answer| answer.claim == table.mac && !answer.withheld;
        table.addresses.iter().filter(|(_, it)| own(it)).map(answer).collect()
    }

    fn stands_in(&self, link: &LinkName) -> BTreeMap<IpAddr, String> {
        let Some(port) = self.ports.get(link) else { return BTreeMap::new() };
        let table = port.table();
        let others = table.addresses.iter().filter(|(_, answer)| answer.claim != table.mac);
        others.map(|(address, answer)| (*address, answer.claim.to_string())).collect()
    }
}

const fn health(plane: DataPlane) -> Health {
    match plane {
        DataPlane::Ready => Health::Ready,
        DataPlane::NotReady => Health::NotReady,
        DataPlane::Failed => Health::Failed,
    }
}

fn verdict(verdict: &Verdict, reasons: &mut BTreeMap<String, state::Why>) -> VerdictState {
    let mut shown = VerdictState {
        owner: verdict.owner.as_ref().map(ToString::to_string),
        others: verdict.others.iter().map(ToString::to_string).collect(),
        dropped: BTreeMap::new(),
    };
    for (node, reason) in &verdict.dropped {
        let why = state::Why::from(reason);
        shown.dropped.entry(why.code.clone()).or_default().insert(node.to_string());
        reasons.entry(why.code.clone()).or_insert(why);
    }
    shown
}

#[cfg(test)]
mod tests;
