//! What a validating webhook is asked (`admission.k8s.io/v1`), and what it answers: a function of the question and of the configuration as
//! it is known.
//!
//! An object is refused for what turns from right to wrong because of it, in itself or in another object. What was wrong before stays where
//! it is: an old mistake neither blocks other objects nor an edit of its own object that leaves it as it is (a label, a finalizer). References
//! to what may come later are warnings, so that objects can be applied in any order.

use crate::{
    crd::GROUP,
    manifest::{self, Document},
    sources::{Fault, Kind, ObjectId, Problem, Reason, Source, Sources, texts},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, fmt};

const API_VERSION: &str = "admission.k8s.io/v1";
const REVIEW: &str = "AdmissionReview";

/// Longest warning in characters: the API server cuts at 256.
const LONGEST_WARNING: usize = 250;
/// Warnings of one answer: the API server passes 4,096 characters on.
const MOST_WARNINGS: usize = 12;

/// A question of the API server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// To be repeated in the answer.
    pub uid: String,
    kind: GroupVersionKind,
    operation: Operation,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    /// As it would be stored; nothing when it is deleted.
    #[serde(default)]
    object: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct GroupVersionKind {
    #[serde(default)]
    group: String,
    kind: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// `Create Kind/name`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = self.object.as_ref().and_then(|object| object.get("metadata")?.get("name")?.as_str());
        write!(f, "{:?} {}/{}", self.operation, self.kind.kind, metadata.unwrap_or(&self.name))
    }
}

/// What the API server is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Why the object is refused; `None`: it is not.
    pub refusal: Option<String>,
    /// What the user is told anyway.
    pub warnings: Vec<String>,
}

/// Not a question that this can answer.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not of this shape.
    #[error("not an AdmissionReview of {API_VERSION}: {0}")]
    Shape(#[from] serde_json::Error),
    /// Another kind or version.
    #[error("{0:?} {1:?} is not an AdmissionReview of {API_VERSION}")]
    Other(String, String),
}

/// Reads a question.
///
/// # Errors
/// Anything but an AdmissionReview with a request.
pub fn read(bytes: &[u8]) -> Result<Request, Unreadable> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Review {
        api_version: String,
        kind: String,
        request: Request,
    }
    let Review { api_version, kind, request } = serde_json::from_slice(bytes)?;
    if api_version == API_VERSION && kind == REVIEW { Ok(request) } else { Err(Unreadable::Other(api_version, kind)) }
}

impl Answer {
    fn refused(why: String) -> Self {
        Self { refusal: Some(why), warnings: Vec::new() }
    }

    fn warn(&mut self, warning: &str) {
        let line = warning.replace(['\n', '\r'], " ");
        let warning: String = line.chars().take(LONGEST_WARNING).collect();
        if self.warnings.len() < MOST_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The AdmissionReview to a question.
    ///
    /// # Errors
    /// It is no JSON: impossible, but not provable.
    pub fn to_review(&self, uid: &str) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Review<'a> {
            api_version: &'a str,
            kind: &'a str,
            response: Response<'a>,
        }
        #[derive(Serialize)]
        struct Response<'a> {
            uid: &'a str,
            allowed: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            status: Option<Status<'a>>,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            warnings: &'a [String],
        }
        #[derive(Serialize)]
        struct Status<'a> {
            code: u16,
            reason: &'a str,
            message: &'a str,
        }
        let status = self.refusal.as_deref().map(|message| Status { code: 403, reason: "Forbidden", message });
        let response = Response { uid, allowed: self.refusal.is_none(), status, warnings: &self.warnings };
        serde_json::to_vec(&Review { api_version: API_VERSION, kind: REVIEW, response })
    }
}

/// Answers. `sources` is the configuration as it is known and decided, `None` while it is not; `namespace` is Herald's.
#[must_use]
pub fn review(request: &Request, sources: Option<Sources>, namespace: &str) -> Answer {
    let elsewhere = request.namespace != namespace;
    match (request.operation, &request.object) {
        _ if request.kind.group != GROUP => Answer::default(),
        // Before anything else, as MetalLB. What is there already may be changed and deleted: nobody reads it.
        (Operation::Create, _) if elsewhere => Answer::refused(texts::wrong_namespace(namespace)),
        _ if elsewhere => Answer::default(),
        (Operation::Create | Operation::Update, Some(object)) => changed(object, sources, namespace),
        (Operation::Delete, _) => deleted(request, sources),
        (Operation::Create | Operation::Update | Operation::Connect, _) => Answer::default(),
    }
}

fn changed(object: &Map<String, Value>, sources: Option<Sources>, namespace: &str) -> Answer {
    let mut answer = Answer::default();
    // Finalizers are taken off an object that is wrong, too.
    if object.get("metadata").is_some_and(|metadata| !metadata["deletionTimestamp"].is_null()) {
        return answer;
    }
    let (id, source, unknown) = match manifest::one(object.clone()) {
        Some(Document::Object { id, source, faults, .. }) => (id, *source, faults),
        // The rules of the webhook name what is read; whatever else comes is not for us to judge.
        Some(Document::Skipped { reason, .. }) => {
            answer.warn(&reason.to_string());
            return answer;
        }
        Some(Document::Broken { .. }) | None => return answer,
    };
    for fault in unknown {
        answer.warn(&format!("Herald does not know the field {}", fault.field));
    }
    if id.kind == Kind::BgpPeer && object.get("spec").is_some_and(|spec| spec["disableMP"] == true) {
        answer.warn("spec.disableMP is deprecated and does nothing; use spec.dualStackAddressFamily");
    }
    judge(&id, source, sources, namespace, &mut answer);
    answer
}

/// What the configuration would be with the object.
fn judge(id: &ObjectId, source: Source, sources: Option<Sources>, namespace: &str, answer: &mut Answer) {
    let Some(mut sources) = sources else {
        answer.warn("Herald has not read its configuration yet: this object was not checked");
        return;
    };
    let before = sources.outcome().problems.clone();
    sources.set(id.clone(), Some(source));
    let after = &sources.merge().problems;
    let known: Vec<&Fault> = before.iter().filter(|problem| problem.object == *id).map(|it| &it.fault).collect();
    let was_wrong: BTreeSet<&ObjectId> =
        before.iter().filter(|problem| !problem.is_transient()).map(|problem| &problem.object).collect();
    let mut refusals = Vec::new();
    for problem in after {
        let own = problem.object == *id;
        let text = if own {
            texts::text(problem, namespace)
        } else {
            format!("{}: {}", problem.object, texts::text(problem, namespace))
        };
        let old = if own { known.contains(&&problem.fault) } else { is_known(&before, problem) };
        match (old, problem.is_transient()) {
            // Worth saying to whoever works on this object.
            (true, _) if own => answer.warn(&format!("as before: {text}")),
            (true, _) => {}
            (false, true) => answer.warn(&text),
            // Who moves from the ConfigMap to objects creates these first: they wait until it is deleted.
            (false, false) if own && conflicts_with_config_map(&problem.fault.reason) => {
                answer.warn(&format!("it waits until the ConfigMap gives way: {text}"));
            }
            (false, false) if own || !was_wrong.contains(&problem.object) => refusals.push(text),
            // Wrong before, and now in other words.
            (false, false) => {}
        }
    }
    if !refusals.is_empty() {
        answer.refusal = Some(refusals.join("\n"));
    }
}

fn conflicts_with_config_map(reason: &Reason) -> bool {
    let other = match reason {
        Reason::NameTaken { other, .. } => Some(other),
        Reason::DuplicateCommunity { other, .. } => other.as_ref(),
        Reason::Overlap(overlap) => Some(&overlap.owner.object),
        _ => None,
    };
    other.is_some_and(|other| other.kind == Kind::ConfigMap)
}

fn is_known(before: &[Problem], problem: &Problem) -> bool {
    before.iter().any(|known| known.object == problem.object && known.fault == problem.fault)
}

/// Only a profile that a peer uses is kept (as MetalLB): the session would go on without what its owner wanted it to have.
fn deleted(request: &Request, sources: Option<Sources>) -> Answer {
    let (true, Some(mut sources)) = (request.kind.kind == Kind::BfdProfile.as_str(), sources) else {
        return Answer::default();
    };
    let before = sources.outcome().problems.clone();
    sources.set(ObjectId::new(Kind::BfdProfile, &*request.name), None);
    let missing =
        |problem: &&Problem| matches!(&problem.fault.reason, Reason::UnknownBfdProfile(name) if *name == request.name);
    let user = sources.merge().problems.iter().filter(missing).find(|problem| !is_known(&before, problem));
    user.map(|problem| Answer::refused(texts::profile_in_use(&request.name, &problem.object.name))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
