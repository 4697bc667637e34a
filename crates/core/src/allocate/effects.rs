//! From a plan to what has to be written and told.

use super::{Assignment, Decision, Effect, Event, Note, Outcome, Plan, Refusal};
use crate::{
    ServiceKey,
    service::{Service, Services},
};

/// What has to be written so that the Services become as planned, in order: who gives up an address before who gets one. Events arise from
/// the difference to what was `told` before (the previous plan of this process), so that nothing is told twice.
///
/// An event follows the write that it is about; events without a write come last. Services that the snapshot does not have are left out.
#[must_use]
pub fn effects(services: &Services, told: &Plan, plan: &Plan) -> Vec<Effect> {
    let (mut clears, mut moves, mut news, mut talk) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, decision) in &plan.decisions {
        let Some(service) = services.get(key) else { continue };
        let write = write(service, decision);
        let group = match &write {
            None => &mut talk,
            Some(None) => &mut clears,
            Some(Some(_)) if service.ingress.is_empty() => &mut news,
            Some(Some(_)) => &mut moves,
        };
        if let Some(assignment) = write {
            group.push(Effect::WriteStatus { service: key.clone(), assignment });
        }
        tell(key, service, told.decisions.get(key), decision, group);
    }
    clears.into_iter().chain(moves).chain(news).chain(talk).collect()
}

/// What to write: nothing, or an assignment, or its absence.
#[expect(
    clippy::option_option,
    reason = "the outer one is whether to write, the inner one is what Effect::WriteStatus carries"
)]
fn write(service: &Service, decision: &Decision) -> Option<Option<Assignment>> {
    match &decision.outcome {
        Outcome::Assigned(assignment) => {
            let right = service.ingress == assignment.addresses
                && !service.ingress_has_other
                && service.allocated_from.as_ref() == Some(&assignment.pool);
            (!right).then(|| Some(assignment.clone()))
        }
        Outcome::Waiting(Refusal::HeldByOther(_) | Refusal::HeldByOtherName) => None,
        Outcome::Waiting(Refusal::PoolBroken(_))
            if !decision.notes.iter().any(|note| matches!(note, Note::Lost(_))) =>
        {
            None
        }
        Outcome::NotWanted if !decision.notes.is_empty() => None,
        Outcome::Waiting(_) | Outcome::NotWanted => {
            let clean = service.ingress.is_empty() && !service.ingress_has_other && service.allocated_from.is_none();
            (!clean).then_some(None)
        }
    }
}

/// Events for what is new in the decision: what was lost, what came, what could not be had.
fn tell(key: &ServiceKey, service: &Service, before: Option<&Decision>, now: &Decision, effects: &mut Vec<Effect>) {
    let mut say = |event| effects.push(Effect::Event { service: key.clone(), event });
    let fresh = |note: &&Note| !before.is_some_and(|before| before.notes.contains(note));
    let news = || now.notes.iter().filter(fresh);
    if now.outcome == Outcome::NotWanted {
        return;
    }
    for note in news() {
        if let Note::Lost(why) = note {
            say(Event::Cleared(why.clone()));
        }
    }
    let same = before.is_some_and(|before| same_story(&before.outcome, &now.outcome));
    match &now.outcome {
        Outcome::Assigned(assignment) if !same && service.ingress != assignment.addresses => {
            say(Event::Allocated(assignment.addresses.clone()));
        }
        // Over in a moment, and nobody's concern.
        Outcome::Waiting(Refusal::NamespaceUnknown(_)) => {}
        Outcome::Waiting(why) if !same => say(Event::Failed(why.clone())),
        _ => {}
    }
    for note in news() {
        match note {
            Note::Kept(why) => say(Event::RequestRefused(why.clone())),
            Note::SingleFamily(why) => say(Event::SecondFamilyFailed(why.clone())),
            Note::Lost(_) => {}
        }
    }
}

/// Whether the one outcome says nothing new after the other: an address that cannot be shared for the same reason, now with another holder
/// of it, is no news.
fn same_story(before: &Outcome, now: &Outcome) -> bool {
    match (before, now) {
        (
            Outcome::Waiting(Refusal::InUse { address: before, why: because, .. }),
            Outcome::Waiting(Refusal::InUse { address: now, why, .. }),
        ) => before == now && because == why,
        _ => before == now,
    }
}
