//! Which dead nodes are fenced: taken out of the endpoints of Services before Kubernetes notices by itself.
//!
//! A node is fenced when a majority of the speakers that could tell misses it on every link, its kubelet does not answer the controller either, and
//! fewer than the limit are fenced already. It is freed as soon as one of the first two ends. Speakers that could tell are those that the API
//! shows ready, on other nodes: when half of a cluster is gone, nobody has a majority and nobody is fenced.

mod limit;
mod lost;
#[cfg(test)]
mod tests;

use crate::{NodeName, reason::Reason};
pub use limit::{InvalidLimit, Limit};
pub use lost::Lost;
use serde::Serialize;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// Whether the kubelet of a node answers a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Kubelet {
    /// Not asked yet.
    #[default]
    Unknown,
    /// It, or at least its node, answers.
    Answers,
    /// No answer at all.
    Silent,
}

/// A node, as far as fencing goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is fenced.
    pub fenced: bool,
    /// Whether its kubelet answers.
    pub kubelet: Kubelet,
}

/// Everything that is decided on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// All nodes.
    pub nodes: BTreeMap<NodeName, Standing>,
    /// The speakers that the API shows ready, by node, with the nodes that each misses on every link.
    pub reports: BTreeMap<NodeName, BTreeSet<NodeName>>,
}

/// What is to be done about a node that somebody misses, or that is fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Ask its kubelet.
    Ask,
    /// Take it out of the endpoints.
    Fence,
    /// It stays fenced.
    Keep,
    /// It is back.
    Free,
    /// It is not fenced.
    Refused(Refusal),
}

/// Why a node that somebody misses is not fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Refusal {
    /// Too few speakers miss it.
    #[error("{votes} of {voters} speakers miss the node on every link, which is no majority")]
    NoMajority {
        /// Who misses it.
        votes: usize,
        /// Who could tell.
        voters: usize,
    },
    /// Its kubelet answers.
    #[error("the speakers miss the node on every link, but its kubelet's port answers")]
    KubeletAnswers,
    /// So many are fenced already.
    #[error("{0} nodes are fenced already, which is the limit")]
    Limit(usize),
}

impl Reason for Refusal {
    fn label(&self) -> &'static str {
        match self {
            Self::NoMajority { .. } => "no_majority",
            Self::KubeletAnswers => "kubelet_answers",
            Self::Limit(_) => "limit",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoMajority { .. } => "see the network between the nodes, if it lasts",
            Self::KubeletAnswers => "see the links that addresses are announced on: the node is cut off from them",
            Self::Limit(_) => {
                "see what the failed nodes have in common; Kubernetes takes this one's endpoints out by itself after its grace period"
            }
        })
    }
}

/// What is to be done, by node; nothing about those that nobody misses.
#[must_use]
pub fn judge(view: &View, limit: Limit) -> BTreeMap<NodeName, Verdict> {
    let most = limit.of(view.nodes.len());
    let mut fenced = view.nodes.values().filter(|node| node.fenced).count();
    let mut verdicts = BTreeMap::new();
    for (name, node) in &view.nodes {
        let others = || view.reports.iter().filter(|(reporter, _)| *reporter != name);
        let (voters, votes) = (others().count(), others().filter(|(_, missed)| missed.contains(name)).count());
        let majority = votes * 2 > voters;
        let verdict = match (node.fenced, majority, node.kubelet) {
            (false, false, _) if votes == 0 => continue,
            (false, false, _) => Verdict::Refused(Refusal::NoMajority { votes, voters }),
            (true, false, _) | (true, true, Kubelet::Answers) => Verdict::Free,
            (_, true, Kubelet::Unknown) => Verdict::Ask,
            (false, true, Kubelet::Answers) => Verdict::Refused(Refusal::KubeletAnswers),
            (false, true, Kubelet::Silent) if fenced >= most => Verdict::Refused(Refusal::Limit(most)),
            (false, true, Kubelet::Silent) => {
                fenced += 1;
                Verdict::Fence
            }
            (true, true, Kubelet::Silent) => Verdict::Keep,
        };
        verdicts.insert(name.clone(), verdict);
    }
    verdicts
}
