//! `herald status`: who announces what where, pools and their use, who takes part on which link, and what is wrong. Pure.

use super::{
    facts::{Asked, Herald, RECENT_MS},
    step::Verdict,
    trouble::Trouble,
};
use herald_api::state::{
    CountState, DecisionState, EvacuationState, Known, LinkState, MemberState, MoveState, SpeakerState, Why,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The answer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// `failing` when there is a problem, else `ok`.
    pub(crate) verdict: Verdict,
    pub(crate) problems: Vec<Problem>,
    pub(crate) pods: Vec<PodLine>,
    pub(crate) pools: Vec<PoolLine>,
    pub(crate) services: Vec<ServiceLine>,
    pub(crate) links: Vec<LinkLine>,
    /// Nodes and Services that are not as usual for a time.
    pub(crate) moves: Vec<MoveLine>,
    /// What could not be asked or read.
    pub(crate) gaps: Vec<String>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// What it is about, for example `service shop/web`.
    pub(crate) about: String,
    #[serde(flatten)]
    pub(crate) why: Why,
}

/// A pod of Herald.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodLine {
    pub(crate) component: &'static str,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) ready: bool,
    /// `leads`, `waits`, `takes part` or `does not take part`; `not asked` when it could not be.
    pub(crate) role: &'static str,
    pub(crate) release: String,
}

/// A pool.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolLine {
    pub(crate) name: String,
    pub(crate) ranges: Vec<String>,
    pub(crate) auto_assign: bool,
    pub(crate) ipv4: CountState,
    pub(crate) ipv6: CountState,
    pub(crate) l2_advertisements: Vec<String>,
}

/// A Service.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceLine {
    pub(crate) service: String,
    pub(crate) pool: Option<String>,
    pub(crate) addresses: Vec<IpAddr>,
    /// Nodes that announce it.
    pub(crate) announced_by: BTreeSet<String>,
    /// Why it has no address, or is announced by nobody.
    pub(crate) why: Option<Why>,
}

/// A node that gives its addresses away, or a Service that was moved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MoveLine {
    /// What it is about, for example `node w1-k8s`.
    pub(crate) about: String,
    pub(crate) what: String,
    /// RFC 3339; `None` when no end is known.
    pub(crate) until: Option<String>,
}

/// A link of a node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LinkLine {
    pub(crate) node: String,
    pub(crate) link: String,
    pub(crate) mac: String,
    pub(crate) used: bool,
    /// Why it is not used, or what keeps the speaker from answering there.
    pub(crate) why: Option<Why>,
    pub(crate) members: BTreeMap<String, MemberState>,
    /// Nodes that are heard there and hear nobody.
    pub(crate) deaf: Vec<String>,
    /// Addresses that the node answers for there.
    pub(crate) answers: usize,
}

fn why(code: &str, text: impl Into<String>, next_step: &str) -> Why {
    Why { code: code.to_owned(), text: text.into(), next_step: next_step.to_owned() }
}

/// Sums everything up.
pub(crate) fn status(herald: &Herald) -> Status {
    let services = services(herald);
    let links: Vec<LinkLine> = herald.asked().flat_map(links).collect();
    let mut problems = Vec::new();
    of_herald(herald, &mut problems);
    of_services(herald, &services, &mut problems);
    of_links(&links, &mut problems);
    let pools = herald.leader().into_iter().flat_map(|leader| &leader.configuration.pools);
    let pools = pools.map(|(name, pool)| PoolLine {
        name: name.clone(),
        ranges: pool.ranges.clone(),
        auto_assign: pool.auto_assign,
        ipv4: pool.ipv4,
        ipv6: pool.ipv6,
        l2_advertisements: pool.l2_advertisements.clone(),
    });
    Status {
        verdict: if problems.is_empty() { Verdict::Ok } else { Verdict::Failing },
        problems,
        pods: pods(herald),
        pools: pools.collect(),
        services,
        links,
        moves: moves(herald),
        gaps: herald.gaps(),
    }
}

fn pods(herald: &Herald) -> Vec<PodLine> {
    fn line<T>(component: &'static str, asked: &Asked<T>, said: impl Fn(&T) -> (&'static str, &str)) -> PodLine {
        let (role, release) = asked.state.as_ref().map_or(("not asked", ""), said);
        PodLine {
            component,
            name: asked.pod.name.clone(),
            node: asked.pod.node.clone(),
            ready: asked.pod.ready,
            role,
            release: release.to_owned(),
        }
    }
    let controllers = herald
        .controllers
        .iter()
        .map(|asked| line("controller", asked, |state| (if state.leads { "leads" } else { "waits" }, &state.release)));
    let speakers = herald.speakers.iter().map(|asked| {
        let part = |state: &SpeakerState| if state.obstacles.is_empty() { "takes part" } else { "does not take part" };
        line("speaker", asked, move |state| (part(state), &state.release))
    });
    controllers.chain(speakers).collect()
}

fn services(herald: &Herald) -> Vec<ServiceLine> {
    let mut lines: BTreeMap<&str, ServiceLine> = BTreeMap::new();
    let empty = |service: &str| ServiceLine {
        service: service.to_owned(),
        pool: None,
        addresses: Vec::new(),
        announced_by: BTreeSet::new(),
        why: None,
    };
    for (key, decision) in herald.leader().into_iter().flat_map(|leader| &leader.services) {
        let DecisionState { pool, addresses, waiting, .. } = decision;
        let line = lines.entry(key).or_insert_with(|| empty(key));
        (line.pool, line.addresses, line.why) = (pool.clone(), addresses.clone(), waiting.clone());
    }
    for speaker in herald.asked() {
        for (key, service) in &speaker.services {
            let line = lines.entry(key).or_insert_with(|| empty(key));
            if line.addresses.is_empty() {
                line.addresses.clone_from(&service.addresses);
            }
            if line.why.is_none() {
                line.why.clone_from(&service.silent);
            }
            if !service.announced.is_empty() {
                line.announced_by.insert(speaker.node.clone());
            }
        }
    }
    lines.into_values().collect()
}

/// As the speakers see it: each line once.
fn moves(herald: &Herald) -> Vec<MoveLine> {
    let nodes = herald.asked().filter_map(|speaker| speaker.snapshot.as_ref()).flat_map(|snapshot| &snapshot.evacuated);
    let nodes = nodes.map(|(node, EvacuationState { why, until })| MoveLine {
        about: format!("node {node}"),
        what: format!("gives its addresses to others: {why}"),
        until: until.clone(),
    });
    let services = herald.asked().flat_map(|speaker| &speaker.services);
    let services = services.filter_map(|(key, service)| {
        let MoveState { to, until } = service.moved.as_ref()?;
        Some(MoveLine {
            about: format!("service {key}"),
            what: format!("is to be on {to}"),
            until: Some(until.clone()),
        })
    });
    nodes.chain(services).collect::<BTreeSet<_>>().into_iter().collect()
}

fn links(speaker: &SpeakerState) -> impl Iterator<Item = LinkLine> {
    speaker.links.iter().map(|(name, link)| {
        let LinkState { mac, not_used, standing, members, deaf, answers, .. } = link;
        let standing = standing.as_ref().filter(|standing| standing.code != "present");
        LinkLine {
            node: speaker.node.clone(),
            link: name.clone(),
            mac: mac.clone(),
            used: not_used.is_none(),
            why: not_used.as_ref().or(standing).cloned(),
            members: members.clone(),
            deaf: deaf.clone(),
            answers: answers.len(),
        }
    })
}

fn of_herald(herald: &Herald, problems: &mut Vec<Problem>) {
    let mut add = |about: String, why: Why| problems.push(Problem { about, why });
    let controllers: Vec<_> = herald.controllers.iter().filter_map(|asked| asked.state.as_ref().ok()).collect();
    let mut trouble = |about: &str, trouble: &Trouble| add(about.to_owned(), trouble.into());
    if herald.controllers.is_empty() && herald.gaps.is_empty() {
        let places: Vec<&str> = herald.namespaces.iter().map(String::as_str).collect();
        let places = if places.is_empty() { "any namespace".to_owned() } else { places.join(", ") };
        trouble("herald", &Trouble::NoController(places));
    } else if herald.leader().is_none() && !controllers.is_empty() && controllers.len() == herald.controllers.len() {
        trouble("herald", &Trouble::NoLeader);
    }
    let mut metallb = controllers.iter().filter_map(|state| state.metallb_pods.as_ref());
    if let Some(pods) = metallb.find(|pods| !pods.is_empty()) {
        trouble("herald", &Trouble::Standby(pods.join(", ")));
    }
    if let Some(leader) = herald.leader() {
        if !leader.configuration.in_force {
            trouble("configuration", &Trouble::NoConfiguration);
        }
        for problem in &leader.configuration.problems {
            let code = if problem.transient { "reference" } else { "problem" };
            add(problem.object.clone(), why(code, &*problem.message, "correct it (herald validate checks it offline)"));
        }
    }
    for speaker in &herald.speakers {
        let about = format!("speaker on {}", speaker.pod.node);
        match &speaker.state {
            Ok(state) if !state.obstacles.is_empty() => {
                state.obstacles.iter().for_each(|why| add(about.clone(), why.clone()));
            }
            Ok(state) if state.snapshot.as_ref().is_some_and(|snapshot| !snapshot.connected) => {
                let saved = state.snapshot.as_ref().and_then(|snapshot| snapshot.saved_at.as_ref());
                let knew = saved.map_or_else(|| "knew".to_owned(), |at| format!("saved at {at}, before its restart"));
                let text = format!("it is cut off from the API server and announces what it {knew}");
                add(about, why("api_away", text, "see the API server, and the network between them"));
            }
            _ if !speaker.pod.ready => {
                add(about, why("not_ready", "its pod is not ready", "see kubectl describe pod, and its log"));
            }
            _ => {}
        }
    }
}

fn of_services(herald: &Herald, services: &[ServiceLine], problems: &mut Vec<Problem>) {
    let everybody = herald.speakers.iter().all(|speaker| speaker.state.is_ok());
    let mut shared = BTreeSet::new();
    for line in services {
        let about = format!("service {}", line.service);
        if let Some(why) = &line.why {
            problems.push(Problem { about, why: why.clone() });
        } else if line.announced_by.is_empty() && !line.addresses.is_empty() && everybody && !herald.speakers.is_empty()
        {
            let text = "it has an address and endpoints, and no node announces it";
            problems.push(Problem { about, why: why("not_announced", text, "herald explain service says why") });
        }
        for address in line.addresses.iter().filter(|address| shared.insert(**address)) {
            let about = format!("address {address}");
            for (one, other) in herald.rivals(*address) {
                let trouble = Trouble::TwoOwners { address: *address, one: one.place(), other: other.place() };
                problems.push(Problem { about: about.clone(), why: (&trouble).into() });
            }
            for one in herald.answering(*address) {
                let foreign = one.answer.claim.as_ref().filter(|claim| herald.node_of(&claim.mac).is_none());
                if let Some(claim) = foreign.filter(|claim| claim.age_ms <= RECENT_MS) {
                    problems.push(Problem { about: about.clone(), why: (&one.claimed(*address, claim)).into() });
                }
            }
        }
    }
}

fn of_links(links: &[LinkLine], problems: &mut Vec<Problem>) {
    for line in links.iter().filter(|line| line.used) {
        let about = format!("link {}/{}", line.node, line.link);
        let mut add = |why: Why| problems.push(Problem { about: about.clone(), why });
        line.why.iter().for_each(|why| add(why.clone()));
        let known = |wanted: Known| -> Vec<&str> {
            let members = line.members.iter().filter(|(_, member)| member.known == wanted);
            members.map(|(node, _)| node.as_str()).collect()
        };
        if !line.deaf.is_empty() {
            let text = format!("{} sends there and receives nothing: its addresses have moved", line.deaf.join(", "));
            add(why("deaf", text, "see the cable, the switch port and the network card of that node"));
        }
        let next = "see whether the switch or hypervisor drops multicast (EtherType 0x88B5)";
        let presumed = known(Known::Presumed);
        if !presumed.is_empty() {
            add(why("presumed", format!("the hellos of {} are never heard", presumed.join(", ")), next));
        }
        let unicast = known(Known::Unicast);
        if !unicast.is_empty() {
            add(why("unicast", format!("the hellos of {} come as datagrams only", unicast.join(", ")), next));
        }
    }
}

#[cfg(test)]
mod tests;
