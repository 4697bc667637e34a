//! The steps from the address to the client: what the speakers do, and what lies behind them.

use super::{
    super::{
        facts::{Answering, Herald, RECENT_MS, Service, Subject},
        step::Step,
        trouble::Trouble,
    },
    list,
};
use herald_api::{
    endpoints::serving,
    state::{Known, MoveState, ServiceState, SnapshotState, SpeakerState, VerdictState, Why},
};
use herald_core::{ownership::Dropped, reason::Reason};
use std::{collections::BTreeMap, net::IpAddr};

pub(super) fn addresses(subject: &Subject) -> &[IpAddr] {
    subject.service.as_ref().map(|service| service.addresses.as_slice()).unwrap_or_default()
}

/// What the speakers know of the Service: the first that knows it speaks for all, as all decide alike.
fn known<'a>(herald: &'a Herald, subject: &Subject) -> Option<&'a ServiceState> {
    herald.asked().find_map(|speaker| speaker.services.get(&subject.key))
}

/// Why nobody announces it at all.
fn silent<'a>(herald: &'a Herald, subject: &Subject) -> Option<&'a Why> {
    known(herald, subject)?.silent.as_ref()
}

/// Whether an advertisement is for it.
pub(super) fn advertisement(herald: &Herald, subject: &Subject) -> Step {
    const STEP: &str = "advertisement";
    let Some(service) = known(herald, subject) else {
        let asked = herald.asked().filter(|speaker| speaker.snapshot.is_some()).count();
        return if asked == 0 {
            Step::unknown(STEP, "no speaker that knows the cluster could be asked")
        } else {
            Step::failing(
                STEP,
                "not_known",
                format!("{asked} speakers were asked, and none knows the Service"),
                "ask again in a second; if it lasts, see whether controller and speakers run with the same --lb-class",
            )
        };
    };
    match &service.silent {
        Some(why) if why.code == "no_address" => Step::unknown(STEP, "there is no address to be advertised yet"),
        Some(why) if why.code != "no_endpoints" => Step::refused(STEP, why),
        _ => {
            let pool = herald.leader().and_then(|leader| {
                let pool = leader.services.get(&subject.key)?.pool.as_ref()?;
                Some((pool, leader.configuration.pools.get(pool)?))
            });
            Step::ok(
                STEP,
                match pool {
                    Some((name, pool)) => format!("pool {name} is advertised by {}", list(&pool.l2_advertisements)),
                    None => "its pool is advertised".to_owned(),
                },
            )
        }
    }
}

/// A verdict on the Service's group, with the speakers and links that see it so.
pub(super) type View<'a> = (&'a VerdictState, Vec<(&'a SpeakerState, &'a str)>);

pub(super) fn views<'a>(herald: &'a Herald, subject: &Subject) -> Vec<View<'a>> {
    let mut views: Vec<View<'a>> = Vec::new();
    for speaker in herald.asked() {
        let groups = speaker.groups.iter().filter(|group| group.services.contains(&subject.key));
        for (link, verdict) in groups.flat_map(|group| &group.links) {
            match views.iter_mut().find(|(known, _)| *known == verdict) {
                Some((_, by)) => by.push((speaker, link)),
                None => views.push((verdict, vec![(speaker, link)])),
            }
        }
    }
    views
}

fn places(by: &[(&SpeakerState, &str)]) -> String {
    list(by.iter().map(|(speaker, link)| format!("{}/{link}", speaker.node)))
}

fn reasons(herald: &Herald) -> BTreeMap<&str, &Why> {
    herald.asked().flat_map(|speaker| &speaker.reasons).map(|(code, why)| (code.as_str(), why)).collect()
}

/// How far down the ladder a reason is; one that this program does not know is last.
fn rung(code: &str) -> usize {
    Dropped::ALL.iter().position(|dropped| dropped.label() == code).unwrap_or(Dropped::ALL.len())
}

/// Which nodes could announce it, and why the others could not.
pub(super) fn candidates(herald: &Herald, subject: &Subject) -> Step {
    const STEP: &str = "candidates";
    if let Some(why) = silent(herald, subject) {
        return Step::unknown(STEP, format!("no node is a candidate: {}", why.text));
    }
    let (views, reasons) = (views(herald, subject), reasons(herald));
    let lines = views.iter().flat_map(|(verdict, by)| {
        let could: Vec<&String> = verdict.owner.iter().chain(&verdict.others).collect();
        let could = if could.is_empty() { "nobody".to_owned() } else { list(could) };
        let first = format!("seen from {}: {could}", places(by));
        let dropped = verdict.dropped.iter().map(|(code, nodes)| {
            let why = reasons.get(code.as_str()).map_or(code.as_str(), |why| why.text.as_str());
            format!("  not {}: {why}", list(nodes))
        });
        std::iter::once(first).chain(dropped).collect::<Vec<_>>()
    });
    let moved = known(herald, subject).and_then(|service| service.moved.as_ref());
    let moved = moved.map(|MoveState { to, until }| format!("moved to {to} until {until} (herald move)"));
    let lines: Vec<String> = moved.into_iter().chain(lines).collect();
    if views.iter().any(|(verdict, _)| verdict.owner.is_some()) {
        let mut all: Vec<&String> =
            views.iter().flat_map(|(verdict, _)| verdict.owner.iter().chain(&verdict.others)).collect();
        all.sort_unstable();
        all.dedup();
        return Step::ok(STEP, list(all)).also(lines);
    }
    // Who came furthest down the ladder lacks least.
    let codes = views.iter().flat_map(|(verdict, _)| verdict.dropped.keys());
    if let Some(code) = codes.max_by_key(|code| rung(code)) {
        let fix = reasons.get(code.as_str()).map_or("see the reasons", |why| why.next_step.as_str());
        return Step::failing(STEP, code, "no node can announce it", fix).also(lines);
    }
    match herald.asked().find_map(|speaker| speaker.obstacles.first().map(|why| (speaker, why))) {
        Some((speaker, why)) => Step::failing(
            STEP,
            &why.code,
            format!("no speaker takes part; on {}: {}", speaker.node, why.text),
            &*why.next_step,
        ),
        None => Step::unknown(STEP, "no speaker that knows the Service could be asked"),
    }
}

/// Whether exactly one node answers.
pub(super) fn ownership(herald: &Herald, subject: &Subject) -> Step {
    const STEP: &str = "ownership";
    if addresses(subject).is_empty() {
        return Step::unknown(STEP, "there is no address to be owned yet");
    }
    for address in addresses(subject) {
        if let Some((one, other)) = herald.rivals(*address).first() {
            let trouble = Trouble::TwoOwners { address: *address, one: one.place(), other: other.place() };
            return Step::refused(STEP, &(&trouble).into()).also(members(herald, &[*one, *other]));
        }
    }
    let views = views(herald, subject);
    if let Some(step) = disagreement(&views) {
        return step;
    }
    let mut lines = Vec::new();
    for address in addresses(subject) {
        let answering = herald.answering(*address);
        if !answering.is_empty() {
            lines.push(format!("{address} is answered for by {}", list(answering.iter().map(Answering::place))));
            lines.extend(members(herald, &answering));
            continue;
        }
        let standing_in = herald.standing_in(*address);
        if !standing_in.is_empty() {
            let owner = views.iter().find_map(|(verdict, _)| verdict.owner.as_deref()).unwrap_or("its owner");
            lines.push(format!(
                "{address} is on {owner}, whose speaker is away; {} answers on its behalf",
                list(standing_in)
            ));
            continue;
        }
        return unanswered(herald, subject, *address, &views);
    }
    let first = if lines.is_empty() { String::new() } else { lines.remove(0) };
    Step::ok(STEP, first).also(lines)
}

/// Why nobody answers for the address.
fn unanswered(herald: &Herald, subject: &Subject, address: IpAddr, views: &[View<'_>]) -> Step {
    const STEP: &str = "ownership";
    let mut owners = views.iter().filter_map(|(verdict, by)| Some((verdict.owner.as_deref()?, by)));
    let Some((owner, by)) = owners.next() else {
        let why = silent(herald, subject).map(|why| format!(": {}", why.text)).unwrap_or_default();
        return Step::unknown(STEP, format!("nobody is known to answer for {address}{why}"));
    };
    if !herald.is_asked(owner) {
        return Step::unknown(STEP, format!("{owner} is to answer for {address}, and could not be asked"));
    }
    let own = by.iter().find(|(speaker, _)| speaker.node == owner);
    let standing = own.and_then(|(speaker, link)| speaker.links.get(*link)?.standing.as_ref());
    if let Some(why) = own.and_then(|(speaker, _)| speaker.links.values().find_map(|link| link.withheld.get(&address)))
    {
        return Step::failing(
            STEP,
            &why.code,
            format!("{owner} does not answer for {address}: {}", why.text),
            &*why.next_step,
        );
    }
    let seen = format!("{owner} is to answer for {address}, and does not");
    match standing.filter(|standing| standing.code != "present") {
        Some(why) => Step::failing(STEP, &why.code, format!("{seen}: {}", why.text), &*why.next_step),
        None => Step::failing(
            STEP,
            "not_answering",
            seen,
            "ask again in a second; if it lasts, see the log of that node's speaker",
        ),
    }
}

/// Two speakers that hear each other, and do not say the same.
fn disagreement(views: &[View<'_>]) -> Option<Step> {
    let owners =
        views.iter().flat_map(|(verdict, by)| by.iter().map(|(speaker, link)| (&verdict.owner, *speaker, *link)));
    let owners: Vec<_> = owners.collect();
    let hears = |one: &SpeakerState, link: &str, other: &SpeakerState, there: &str| {
        let member = one.links.get(link).and_then(|link| link.members.get(&other.node));
        member.is_some_and(|member| member.links.iter().any(|name| name == there))
    };
    for (index, (owner, speaker, link)) in owners.iter().enumerate() {
        let rest = owners.iter().skip(index + 1);
        let found =
            rest.filter(|(_, other, there)| hears(speaker, link, other, there)).find(|(theirs, ..)| theirs != owner);
        if let Some((theirs, other, there)) = found {
            let name = |owner: &Option<String>| owner.clone().unwrap_or_else(|| "nobody".to_owned());
            let age = |speaker: &SpeakerState| match &speaker.snapshot {
                Some(snapshot) if snapshot.connected => format!("at resourceVersion {}", snapshot.resource_version),
                Some(SnapshotState { saved_at: Some(at), .. }) => format!("from what it saved at {at}"),
                Some(_) => "cut off from the API server".to_owned(),
                None => "without knowledge of the cluster".to_owned(),
            };
            return Some(Step::failing(
                "ownership",
                "disagreement",
                format!(
                    "{}/{link} ({}) says {}, and {}/{there} ({}) says {}",
                    speaker.node,
                    age(speaker),
                    name(owner),
                    other.node,
                    age(other),
                    name(theirs)
                ),
                "ask again in a second; if it lasts, see why one of them does not follow the API server",
            ));
        }
    }
    None
}

/// Members of the links of those that answer whose hellos do not come as they should.
fn members(herald: &Herald, answering: &[Answering<'_>]) -> Vec<String> {
    let expected = herald.speakers.iter().filter(|speaker| speaker.pod.ready).count();
    let line = |one: &Answering<'_>| {
        let known = |wanted: Known| {
            let members = one.state.members.iter().filter(move |(_, member)| member.known == wanted);
            members.map(|(node, _)| node.clone()).collect::<Vec<_>>()
        };
        let mut lines = Vec::new();
        for (how, nodes) in [("by datagrams only", known(Known::Unicast)), ("by ARP only", known(Known::Presumed))] {
            if !nodes.is_empty() {
                lines.push(format!(
                    "{} knows {} {how}: the link does not carry their hellos",
                    one.place(),
                    list(nodes)
                ));
            }
        }
        if !one.state.deaf.is_empty() {
            lines.push(format!("{} hears {}, which hears nobody there", one.place(), list(one.state.deaf.clone())));
        }
        if one.state.members.len() < expected {
            lines.push(format!("{} hears {} of {expected} speakers", one.place(), one.state.members.len()));
        }
        lines
    };
    answering.iter().flat_map(line).collect()
}

/// Whether anybody asked, and was answered.
pub(super) fn answers(herald: &Herald, subject: &Subject) -> Step {
    const STEP: &str = "answers";
    let (mut lines, mut unasked, mut unanswered) = (Vec::new(), false, None);
    for address in addresses(subject) {
        let protocol = if address.is_ipv4() { "ARP" } else { "NDP" };
        let all = herald.answering(*address);
        for one in &all {
            let state = one.answer;
            let unasked_for = state.announced_ms.map_or("never".to_owned(), |ms| format!("{} s ago", ms / 1000));
            lines.push(format!(
                "{}: {protocol} requests for {address}: {}, answers: {}; frames that announce it: {}, last {unasked_for}",
                one.place(),
                state.requests,
                state.answers,
                state.announced
            ));
            if state.requests > 0 && state.answers == 0 {
                unanswered = Some(one.place());
            }
        }
        unasked |= !all.is_empty() && all.iter().all(|one| one.answer.requests == 0);
    }
    match (lines.is_empty(), unanswered) {
        (true, _) => Step::unknown(STEP, "nobody is known to answer"),
        (false, Some(place)) => Step::failing(
            STEP,
            "not_answered",
            format!("{place} is asked and does not answer"),
            "see the log of that node's speaker and the metric herald_answers_failed_total: the kernel refuses the frames",
        )
        .also(lines),
        (false, None) if unasked => Step::unknown(STEP, "nobody has asked for it yet").also(lines).hint(
            "never_asked",
            "ask from the LAN (arping -I eth0 ADDRESS, ndisc6): if no request arrives, the client is in another subnet or VLAN, or its router has no route to this LAN",
        ),
        (false, None) => {
            let first = lines.remove(0);
            Step::ok(STEP, first).also(lines)
        }
    }
}

/// Whether somebody else claims the address.
pub(super) fn conflict(herald: &Herald, subject: &Subject) -> Step {
    const STEP: &str = "conflict";
    let mut lines = Vec::new();
    let mut answered = false;
    for address in addresses(subject) {
        for one in herald.answering(*address) {
            answered = true;
            let Some(claim) = &one.answer.claim else { continue };
            let (claims, mac, ago) = (one.answer.claims, &claim.mac, claim.age_ms / 1000);
            match herald.node_of(mac) {
                Some(node) => lines.push(format!("{node} claimed {address} {ago} s ago, too: it owned it before")),
                None if claim.age_ms <= RECENT_MS => {
                    return Step::refused(STEP, &(&one.claimed(*address, claim)).into());
                }
                None => lines.push(format!("{mac} claimed {address} {claims} times, last {ago} s ago")),
            }
        }
    }
    if !answered {
        return Step::unknown(STEP, "nobody is known to answer, so nobody was seen to claim it");
    }
    Step::ok(STEP, "no foreign station claims it").also(lines)
}

/// Whether there is something behind it.
pub(super) fn endpoints(herald: &Herald, subject: &Subject) -> Step {
    const STEP: &str = "endpoints";
    let Some(slices) = &subject.slices else { return Step::unknown(STEP, "its EndpointSlices could not be read") };
    let all: usize = slices.iter().map(|slice| slice.endpoints.len()).sum();
    let serving = serving(slices);
    if all == 0 {
        return Step::failing(
            STEP,
            "no_pods",
            "it has no endpoints",
            "compare spec.selector with the labels of the pods, and see whether they are scheduled",
        );
    }
    if !serving.any {
        return Step::failing(
            STEP,
            "no_endpoints",
            format!("none of its {all} endpoints is ready"),
            "see the readiness of its pods: kubectl describe pod",
        );
    }
    let nodes = list(&serving.nodes);
    let local = subject.service.as_ref().is_some_and(|service: &Service| service.local);
    let elsewhere = addresses(subject)
        .iter()
        .flat_map(|address| herald.answering(*address))
        .find(|one| local && !serving.nodes.contains(&one.node.into()));
    match elsewhere {
        Some(one) => Step::failing(
            STEP,
            "no_local_endpoint",
            format!(
                "{} announces it and has no endpoint that can serve, with externalTrafficPolicy Local; {nodes} have",
                one.node
            ),
            "ask again in a second; if it lasts, see whether that speaker follows the API server",
        ),
        None => Step::ok(STEP, format!("endpoints: {all}, ready on {nodes}")),
    }
}
