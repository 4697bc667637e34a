//! `herald explain service`: from the Service to its clients, step by step; the first that fails is the one to repair. Pure.

mod announcing;
mod data_plane;
mod giving;
#[cfg(test)]
mod tests;

use super::{
    facts::{Event, Herald, Subject},
    step::{Step, Verdict},
};
use serde::Serialize;

/// The answer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub(crate) service: String,
    /// `failing` when a step fails, else `ok`.
    pub(crate) verdict: Verdict,
    /// Name of the first step that fails.
    pub(crate) first_failing: Option<&'static str>,
    pub(crate) steps: Vec<Step>,
    /// What could not be asked or read.
    pub(crate) gaps: Vec<String>,
    pub(crate) events: Vec<Event>,
}

type Judge = fn(&Herald, &Subject) -> Step;

/// After the first, which all others need.
const STEPS: [(&str, Judge); 11] = [
    ("herald", giving::herald),
    ("standby", giving::standby),
    ("configuration", giving::configuration),
    ("allocation", giving::allocation),
    ("advertisement", announcing::advertisement),
    ("candidates", announcing::candidates),
    ("ownership", announcing::ownership),
    ("answers", announcing::answers),
    ("conflict", announcing::conflict),
    ("endpoints", announcing::endpoints),
    ("data plane", data_plane::data_plane),
];

/// Walks all steps.
pub(crate) fn explain(herald: &Herald, subject: &Subject) -> Explanation {
    let first = giving::service(herald, subject);
    let goes_on = first.verdict == Verdict::Ok;
    let rest = STEPS.into_iter().map(|(name, judge)| {
        if goes_on { judge(herald, subject) } else { Step::unknown(name, "not looked at: step service comes first") }
    });
    let steps: Vec<Step> = std::iter::once(first).chain(rest).collect();
    let first_failing = steps.iter().find(|step| step.verdict == Verdict::Failing).map(|step| step.step);
    Explanation {
        service: subject.key.clone(),
        verdict: if first_failing.is_some() { Verdict::Failing } else { Verdict::Ok },
        first_failing,
        steps,
        gaps: herald.gaps().into_iter().chain(subject.gaps.iter().cloned()).collect(),
        events: subject.events.clone(),
    }
}

impl Explanation {
    /// The step to be repaired first.
    pub(crate) fn failing(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.verdict == Verdict::Failing)
    }
}

fn list<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    all.join(", ")
}
