//! What is known before anything is judged: from the API and from the daemons themselves. No Kubernetes types.

use super::trouble::Trouble;
use herald_api::{
    endpoints::Slice,
    state::{AnswerState, ClaimState, ControllerState, LinkState, SpeakerState},
};
use ipnetwork::IpNetwork;
use serde::Serialize;
use std::{collections::BTreeSet, net::IpAddr};

/// A claim of an address that is older is history.
pub(crate) const RECENT_MS: u64 = 10 * 60 * 1000;

/// Everything about Herald itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Herald {
    /// Namespaces in which pods of Herald were found, or looked for.
    pub(crate) namespaces: BTreeSet<String>,
    /// `loadBalancerClass` that it serves; `None`: Services without one.
    pub(crate) class: Option<String>,
    pub(crate) controllers: Vec<Asked<ControllerState>>,
    pub(crate) speakers: Vec<Asked<SpeakerState>>,
    pub(crate) proxy: Option<Proxy>,
    /// What could not be read from the API.
    pub(crate) gaps: Vec<String>,
}

/// A pod of Herald, and what it said.
#[derive(Debug, Clone)]
pub(crate) struct Asked<T> {
    pub(crate) pod: Pod,
    /// Its state, or why it could not be asked.
    pub(crate) state: Result<T, String>,
}

/// A pod of Herald, as the API shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) ready: bool,
}

/// kube-proxy's configuration, where there is one as kubeadm makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Empty: the platform's default.
    pub(crate) mode: String,
    pub(crate) strict_arp: bool,
}

/// Everything about one Service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// `namespace/name`.
    pub(crate) key: String,
    /// `None`: it does not exist.
    pub(crate) service: Option<Service>,
    /// Its EndpointSlices; `None`: they could not be read.
    pub(crate) slices: Option<Vec<Slice>>,
    /// Its newest events, newest first.
    pub(crate) events: Vec<Event>,
    /// What could not be read from the API.
    pub(crate) gaps: Vec<String>,
}

/// A Service object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) kind: String,
    pub(crate) class: Option<String>,
    pub(crate) deleting: bool,
    /// externalTrafficPolicy Local.
    pub(crate) local: bool,
    /// Addresses in its status.
    pub(crate) addresses: Vec<IpAddr>,
    /// The pool that it asks for.
    pub(crate) pool: Option<String>,
}

/// An event on a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    pub(crate) reason: String,
    pub(crate) warning: bool,
    pub(crate) message: String,
    /// RFC 3339; empty when it has none.
    pub(crate) last: String,
}

/// Somebody who answers for an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answering<'a> {
    pub(crate) node: &'a str,
    pub(crate) link: &'a str,
    pub(crate) state: &'a LinkState,
    pub(crate) answer: &'a AnswerState,
}

impl Herald {
    /// The replica that leads, if it could be asked.
    pub(crate) fn leader(&self) -> Option<&ControllerState> {
        self.controllers.iter().filter_map(|asked| asked.state.as_ref().ok()).find(|state| state.leads)
    }

    /// Speakers that could be asked.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &SpeakerState> {
        self.speakers.iter().filter_map(|asked| asked.state.as_ref().ok())
    }

    /// Whether the speaker of a node could be asked.
    pub(crate) fn is_asked(&self, node: &str) -> bool {
        self.asked().any(|speaker| speaker.node == node)
    }

    /// One line for everything that could not be asked or read.
    pub(crate) fn gaps(&self) -> Vec<String> {
        fn unasked<T>(asked: &[Asked<T>]) -> impl Iterator<Item = String> + '_ {
            let why = |Asked { pod, state }: &Asked<T>| {
                let why = state.as_ref().err()?;
                Some(format!("pod {} on {} was not asked: {why}", pod.name, pod.node))
            };
            asked.iter().filter_map(why)
        }
        self.gaps.iter().cloned().chain(unasked(&self.controllers)).chain(unasked(&self.speakers)).collect()
    }

    /// Who answers for the address, as far as they could be asked.
    pub(crate) fn answering(&self, address: IpAddr) -> Vec<Answering<'_>> {
        let mut found = Vec::new();
        for speaker in self.asked() {
            for (link, state) in &speaker.links {
                if let Some(answer) = state.answers.get(&address).filter(|answer| !answer.draining) {
                    found.push(Answering { node: &speaker.node, link, state, answer });
                }
            }
        }
        found
    }

    /// Where the address is answered for on behalf of an owner whose speaker is away.
    pub(crate) fn standing_in(&self, address: IpAddr) -> Vec<String> {
        let links =
            self.asked().flat_map(|speaker| speaker.links.iter().map(move |(link, state)| (speaker, link, state)));
        let standing_in = links.filter(|(_, _, state)| state.stands_in.contains_key(&address));
        standing_in.map(|(speaker, link, _)| format!("{}/{link}", speaker.node)).collect()
    }

    /// Pairs that answer for the address on one segment: no two should.
    pub(crate) fn rivals(&self, address: IpAddr) -> Vec<(Answering<'_>, Answering<'_>)> {
        let all = self.answering(address);
        let mut rivals = Vec::new();
        for (index, one) in all.iter().enumerate() {
            for other in all.iter().skip(index + 1).filter(|other| one.shares_segment(other)) {
                rivals.push((*one, *other));
            }
        }
        rivals
    }

    /// The node that has this MAC address on one of its links.
    pub(crate) fn node_of(&self, mac: &str) -> Option<&str> {
        let has = |speaker: &&SpeakerState| speaker.links.values().any(|link| link.mac == mac);
        self.asked().find(has).map(|speaker| speaker.node.as_str())
    }
}

impl Answering<'_> {
    /// `node/link`.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.node, self.link)
    }

    /// What there is to say about a claim of a station that is no node.
    pub(crate) fn claimed(&self, address: IpAddr, claim: &ClaimState) -> Trouble {
        let (mac, ago) = (claim.mac.clone(), claim.age_ms / 1000);
        Trouble::Claimed { address, mac, claims: self.answer.claims, ago, place: self.place() }
    }

    /// Whether both are on one segment, as far as can be told: one hears the other there, or their subnets are the same.
    fn shares_segment(&self, other: &Self) -> bool {
        let hears = |one: &Self, other: &Self| {
            let member = one.state.members.get(other.node);
            member.is_some_and(|member| member.links.is_empty() || member.links.iter().any(|link| link == other.link))
        };
        let subnets = |state: &LinkState| -> BTreeSet<(IpAddr, u8)> {
            let subnets = state.addresses.iter().filter_map(|text| text.parse::<IpNetwork>().ok());
            // Every link has the same link-local subnet.
            let global = subnets.filter(|net| !matches!(net, IpNetwork::V6(v6) if v6.ip().is_unicast_link_local()));
            global.map(|net| (net.network(), net.prefix())).collect()
        };
        self.node != other.node
            && (hears(self, other) || hears(other, self) || !subnets(self.state).is_disjoint(&subnets(other.state)))
    }
}
