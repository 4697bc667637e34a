//! Which peers a speaker misses on every link.

use crate::{
    LinkName, NodeName,
    membership::{Change, Gone},
};
use std::collections::{BTreeMap, BTreeSet};

/// Peers that were there and died, or that nothing reaches any more, as far as this speaker sees. One that said it leaves, or whose node answers while its speaker does not, is not
/// among them; nor is one that this speaker never met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    /// Peers that are there, with the links on which they are.
    seen: BTreeMap<NodeName, BTreeSet<LinkName>>,
    lost: BTreeSet<NodeName>,
}

impl Lost {
    /// Takes note of what changed on a link.
    pub fn note(&mut self, link: &LinkName, change: &Change) {
        match change {
            Change::Joined(node) | Change::Presumed(node, true) | Change::Restarting(node) | Change::Back(node) => {
                self.seen.entry(node.clone()).or_default().insert(link.clone());
                self.lost.remove(node);
            }
            Change::Left(node, why) => {
                let Some(links) = self.seen.get_mut(node) else { return };
                links.remove(link);
                if links.is_empty() {
                    self.seen.remove(node);
                    if matches!(why, Gone::Silent | Gone::Deaf) {
                        self.lost.insert(node.clone());
                    }
                }
            }
            Change::Presumed(_, false)
            | Change::Ready(..)
            | Change::DataPlane(..)
            | Change::Links(_)
            | Change::Standing(_) => {}
        }
    }

    /// One of this node's own links is gone: who was seen there alone is neither there nor lost.
    pub fn forget(&mut self, link: &LinkName) {
        self.seen.retain(|_, links| {
            links.remove(link);
            !links.is_empty()
        });
    }

    /// The peers that are missed on every link.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeSet<NodeName> {
        &self.lost
    }
}
