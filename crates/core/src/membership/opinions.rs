//! What others say of a peer that this node does not hear: while one who is heard here hears it, it is not gone.

use super::peer::Peer;
use crate::{NodeName, time::Moment};
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};

/// Of a peer that is suspected or restarts.
#[derive(Debug, Default)]
pub(super) struct Opinions {
    /// Whether each peer's last hello says that it hears it, since it is suspected here.
    said: BTreeMap<NodeName, bool>,
    /// Who vouched for it last. The next look begins there: of a thousand peers all before it have said that they do not hear it.
    voucher: Option<NodeName>,
}

impl Opinions {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A peer's hello names it as heard, or does not.
    pub(super) fn say(&mut self, by: &NodeName, hears: bool) {
        match self.said.get_mut(by) {
            Some(said) => *said = hears,
            None => drop(self.said.insert(by.clone(), hears)),
        }
    }

    /// Whether any of the `others` vouches for `node`. Everybody who is heard has a say, and is waited for while it has not `fallen` silent for
    /// the hold time.
    pub(super) fn vouch(
        &mut self,
        node: &NodeName,
        others: &BTreeMap<NodeName, Peer>,
        fallen: bool,
        now: Moment,
    ) -> bool {
        let vouches = |(other, peer): &(&NodeName, &Peer)| {
            *other != node
                && now.since(peer.heard) < peer.hold()
                && self.said.get(*other).copied().unwrap_or_else(|| !fallen && peer.is_speaking(now))
        };
        let found = match &self.voucher {
            Some(last) => others
                .range::<NodeName, _>((Included(last), Unbounded))
                .chain(others.range::<NodeName, _>((Unbounded, Excluded(last))))
                .find(vouches),
            None => others.iter().find(vouches),
        };
        let found = found.map(|(other, _)| other.clone());
        let vouched = found.is_some();
        self.voucher = found;
        vouched
    }
}
