//! The answers as text.

use super::{
    explain::Explanation,
    status::{LinkLine, MoveLine, ServiceLine, Status},
    step::Step,
    table::Table,
};
use herald_api::state::CountState;
use std::fmt::Write as _;

/// Links of pods and containers are many, and say nothing.
const UNREMARKABLE: [&str; 4] = ["excluded_by_name", "not_ethernet", "enslaved", "loopback"];

fn section(out: &mut String, title: &str, text: &str) {
    if !text.is_empty() {
        // Writing to a String cannot fail, here and below.
        let _ = write!(out, "{}{title}\n{text}", if out.is_empty() { "" } else { "\n" });
    }
}

fn lines(all: &[String]) -> String {
    all.iter().map(|line| format!("{line}\n")).collect()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn joined<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    or_dash(all.join(", "))
}

fn used(count: CountState) -> String {
    match count.total {
        0 => "-".to_owned(),
        i64::MAX => format!("{} of many", count.assigned),
        total => format!("{} of {total}", count.assigned),
    }
}

/// `herald status`.
pub(crate) fn status(status: &Status) -> String {
    let mut out = String::new();
    let problems: String = status
        .problems
        .iter()
        .map(|problem| format!("{}: {}\n  fix: {}\n", problem.about, problem.why.text, problem.why.next_step))
        .collect();
    section(&mut out, "PROBLEMS", &problems);
    section(&mut out, "NOT ASKED", &lines(&status.gaps));

    let mut pods = Table::new(["POD", "NODE", "READY", "ROLE", "RELEASE"]);
    for pod in &status.pods {
        let ready = if pod.ready { "yes" } else { "no" };
        pods.row([
            pod.name.clone(),
            pod.node.clone(),
            ready.to_owned(),
            pod.role.to_owned(),
            or_dash(pod.release.clone()),
        ]);
    }
    section(&mut out, "HERALD", &pods.render());

    let mut pools = Table::new(["POOL", "RANGES", "IPV4", "IPV6", "ADVERTISED BY"]);
    for pool in &status.pools {
        let by = joined(&pool.l2_advertisements);
        pools.row([pool.name.clone(), joined(&pool.ranges), used(pool.ipv4), used(pool.ipv6), by]);
    }
    section(&mut out, "POOLS", &pools.render());

    let mut services = Table::new(["SERVICE", "ADDRESSES", "POOL", "ANNOUNCED BY", "REMARK"]);
    for ServiceLine { service, pool, addresses, announced_by, why } in &status.services {
        let remark = why.as_ref().map(|why| why.text.clone()).unwrap_or_default();
        let pool = or_dash(pool.clone().unwrap_or_default());
        services.row([service.clone(), joined(addresses), pool, joined(announced_by), remark]);
    }
    section(&mut out, "SERVICES", &services.render());

    let mut links = Table::new(["NODE", "LINK", "MAC", "MEMBERS", "ANSWERS FOR", "REMARK"]);
    for line in &status.links {
        let LinkLine { node, link, mac, used, why, members, deaf: _, answers } = line;
        let why = why.as_ref();
        if !used && why.is_some_and(|why| UNREMARKABLE.contains(&why.code.as_str())) {
            continue;
        }
        let remark =
            why.map(|why| format!("{}{}", if *used { "" } else { "not used: " }, why.text)).unwrap_or_default();
        let members = if *used { members.len().to_string() } else { "-".to_owned() };
        links.row([node.clone(), link.clone(), mac.clone(), members, answers.to_string(), remark]);
    }
    section(&mut out, "LINKS", &links.render());

    let mut moves = Table::new(["FOR A TIME", "WHAT", "UNTIL"]);
    for MoveLine { about, what, until } in &status.moves {
        moves.row([about.clone(), what.clone(), or_dash(until.clone().unwrap_or_default())]);
    }
    section(&mut out, "MOVED", &moves.render());
    if status.problems.is_empty() && status.gaps.is_empty() {
        out.push_str("\nNothing is wrong.\n");
    }
    out
}

/// `herald explain service`.
pub(crate) fn explanation(explanation: &Explanation) -> String {
    let mut out = String::new();
    let service = &explanation.service;
    match explanation.failing() {
        Some(Step { step, seen, fix, .. }) => {
            let what = seen.first().map(String::as_str).unwrap_or_default();
            let _ = writeln!(out, "Service {service} fails at step {step}: {what}");
            if let Some(fix) = fix {
                let _ = writeln!(out, "Fix: {fix}");
            }
        }
        None => {
            let _ = writeln!(out, "Service {service}: no step fails.");
        }
    }
    let mut steps = Table::new(["STEP", "VERDICT", "SEEN"]);
    for step in &explanation.steps {
        let mut seen = step.seen.iter();
        steps.row([step.step.to_owned(), step.verdict.as_str().to_owned(), seen.next().cloned().unwrap_or_default()]);
        seen.for_each(|line| steps.row([String::new(), String::new(), format!("  {line}")]));
        if let Some(fix) = &step.fix {
            steps.row([String::new(), String::new(), format!("  -> {fix}")]);
        }
    }
    out.push('\n');
    out.push_str(&steps.render());
    section(&mut out, "NOT ASKED", &lines(&explanation.gaps));
    let mut events = Table::new(["LAST SEEN", "REASON", "MESSAGE"]);
    for event in &explanation.events {
        events.row([event.last.clone(), event.reason.clone(), event.message.clone()]);
    }
    section(&mut out, "EVENTS", &events.render());
    out
}
