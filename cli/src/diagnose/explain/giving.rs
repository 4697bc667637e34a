//! The steps up to the address: what the controller does.

use super::{
    super::{
        facts::{Herald, Service, Subject},
        step::Step,
        trouble::Trouble,
    },
    list,
};
use herald_api::state::ControllerState;

/// Whether Herald serves it at all.
pub(super) fn service(herald: &Herald, subject: &Subject) -> Step {
    const STEP: &str = "service";
    let Some(service) = &subject.service else {
        let gaps = &subject.gaps;
        if !gaps.is_empty() {
            return Step::unknown(STEP, list(gaps));
        }
        return Step::failing(
            STEP,
            "not_found",
            format!("there is no Service {}", subject.key),
            "correct the name, or give the namespace: NAMESPACE/NAME or -n",
        );
    };
    let Service { kind, class, deleting, local, .. } = service;
    if kind != "LoadBalancer" {
        return Step::failing(
            STEP,
            "not_load_balancer",
            format!("its type is {kind}: only LoadBalancer Services get addresses"),
            "set spec.type: LoadBalancer",
        );
    }
    if *class != herald.class {
        let text = |class: &Option<String>| class.as_ref().map_or("none".to_owned(), |class| format!("{class:?}"));
        return Step::failing(
            STEP,
            "other_class",
            format!("its loadBalancerClass is {}, and Herald serves {}", text(class), text(&herald.class)),
            "create it anew with Herald's class (it cannot be changed), or run Herald with --lb-class",
        );
    }
    if *deleting {
        return Step::failing(
            STEP,
            "deleting",
            "it is being deleted",
            "see its finalizers if it does not go: they are not Herald's",
        );
    }
    Step::ok(STEP, format!("type LoadBalancer, externalTrafficPolicy {}", if *local { "Local" } else { "Cluster" }))
}

/// Whether somebody is there to serve it.
pub(super) fn herald(herald: &Herald, _: &Subject) -> Step {
    const STEP: &str = "herald";
    let places = || if herald.namespaces.is_empty() { "any namespace".to_owned() } else { list(&herald.namespaces) };
    if herald.controllers.is_empty() && herald.gaps.is_empty() {
        return Step::refused(STEP, &(&Trouble::NoController(places())).into());
    }
    if herald.speakers.is_empty() && herald.gaps.is_empty() {
        return Step::failing(
            STEP,
            "no_speaker",
            format!("no pod of Herald's speaker is in {}", places()),
            "see the events of its DaemonSet: kubectl describe daemonset (PodSecurity refuses it in unlabelled namespaces)",
        );
    }
    let (asked, all) = (herald.asked().count(), herald.speakers.len());
    let unready: Vec<String> = herald
        .speakers
        .iter()
        .filter(|speaker| !speaker.pod.ready)
        .map(|speaker| format!("the speaker on {} is not ready", speaker.pod.node))
        .collect();
    match herald.leader() {
        None if herald.controllers.iter().any(|asked| asked.state.is_err()) || herald.controllers.is_empty() => {
            Step::unknown(STEP, "the leading controller could not be asked").also(unready)
        }
        None => Step::refused(STEP, &(&Trouble::NoLeader).into()).also(unready),
        Some(_) if asked < all => {
            Step::unknown(STEP, format!("{asked} of {all} speakers could be asked")).also(unready)
        }
        Some(_) => Step::ok(STEP, format!("a controller leads, {all} speakers")).also(unready),
    }
}

/// Whether Herald stands back for MetalLB.
pub(super) fn standby(herald: &Herald, _: &Subject) -> Step {
    const STEP: &str = "standby";
    let known = herald.controllers.iter().filter_map(|asked| asked.state.as_ref().ok());
    let mut pods = known.filter_map(|state| state.metallb_pods.as_ref());
    match pods.next() {
        None => Step::unknown(STEP, "not known whether MetalLB runs in the cluster"),
        Some(pods) if pods.is_empty() => Step::ok(STEP, "no MetalLB in the cluster"),
        Some(pods) => Step::refused(STEP, &(&Trouble::Standby(list(pods))).into()),
    }
}

/// Pools that matter to the Service.
fn pools<'a>(leader: &'a ControllerState, subject: &'a Subject) -> impl Iterator<Item = &'a str> {
    let decided = leader.services.get(&subject.key).and_then(|decision| decision.pool.as_deref());
    let asked = subject.service.as_ref().and_then(|service| service.pool.as_deref());
    decided.into_iter().chain(asked)
}

/// Whether the configuration is in force, and right where it matters here.
pub(super) fn configuration(herald: &Herald, subject: &Subject) -> Step {
    const STEP: &str = "configuration";
    let Some(leader) = herald.leader() else { return Step::unknown(STEP, "the leading controller could not be asked") };
    let configuration = &leader.configuration;
    let problems = || configuration.problems.iter().map(|problem| format!("{}: {}", problem.object, problem.message));
    if !configuration.awaited.is_empty() {
        return Step::failing(
            STEP,
            "not_read",
            format!("the controller has not read all of it: {}", list(&configuration.awaited)),
            "see the controller's log: it may lack the rights to list these",
        );
    }
    if !configuration.in_force {
        return Step::refused(STEP, &(&Trouble::NoConfiguration).into()).also(problems());
    }
    let concerns =
        |name: &str, object: &str| object.starts_with("ConfigMap") || pools(leader, subject).any(|pool| pool == name);
    let own = configuration.problems.iter().find(|problem| concerns(&problem.name, &problem.object));
    let count = match configuration.pools.len() {
        1 => "1 pool".to_owned(),
        count => format!("{count} pools"),
    };
    match own {
        Some(problem) => Step::failing(
            STEP,
            "problem",
            format!("{}: {}", problem.object, problem.message),
            format!("correct {} (herald validate checks it offline)", problem.object),
        ),
        None => Step::ok(STEP, format!("{count} in force")).also(problems()),
    }
}

/// Whether it has the address that it asks for.
pub(super) fn allocation(herald: &Herald, subject: &Subject) -> Step {
    const STEP: &str = "allocation";
    let has = subject.service.as_ref().map(|service| service.addresses.as_slice()).unwrap_or_default();
    let Some(leader) = herald.leader() else {
        return Step::unknown(STEP, format!("the leading controller could not be asked; status has [{}]", list(has)));
    };
    let Some(decision) = leader.services.get(&subject.key) else {
        let seen = if leader.complete { "the controller has not decided on it yet" } else { "not all is known yet" };
        return Step::failing(
            STEP,
            "not_decided",
            seen,
            "ask again in a second; if it lasts, see the controller's log and its configuration",
        );
    };
    if let Some(why) = &decision.waiting {
        let lost = decision.notes.iter().filter(|note| note.kind == "lost" && note.why != *why);
        return Step::refused(STEP, why).also(lost.map(|note| format!("it lost what it had: {}", note.why.text)));
    }
    if decision.addresses != has {
        let tries = leader.pending.get(&subject.key).copied().unwrap_or_default();
        return Step::failing(
            STEP,
            "not_written",
            format!(
                "it is to have [{}], and its status has [{}] ({tries} writes tried)",
                list(&decision.addresses),
                list(has)
            ),
            "ask again in a second; if it lasts, see the controller's log: the API server refuses the write",
        );
    }
    let pool = decision.pool.as_deref().unwrap_or("(none)");
    let seen = format!("has {} of pool {pool}", list(has));
    if let Some(note) = decision.notes.iter().find(|note| note.kind == "kept") {
        let why = &note.why;
        return Step::failing(
            STEP,
            &why.code,
            format!("what it asks for cannot be had: {}", why.text),
            &*why.next_step,
        )
        .also([format!("it keeps working: {seen}")]);
    }
    let remarks = decision.notes.iter().map(|note| format!("only one family: {}", note.why.text));
    Step::ok(STEP, seen).also(remarks)
}
