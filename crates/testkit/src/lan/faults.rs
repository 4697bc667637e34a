//! What does not pass on the simulated LAN.

use super::Lan;
use herald_core::NodeName;

impl Lan {
    /// Frames from `from` to `to` do not arrive any more.
    pub fn cut_one_way(&mut self, from: &str, to: &str) {
        self.cut.insert((from.into(), to.into()));
    }

    /// Multicast frames from `from` to `to` do not arrive any more; what is sent to one station does.
    pub fn filter_one_way(&mut self, from: &str, to: &str) {
        self.filtered.insert((from.into(), to.into()));
    }

    /// The node receives nothing any more; what it sends arrives.
    pub fn deafen(&mut self, node: &str) {
        self.deaf.insert(node.into());
    }

    /// Splits the LAN: nobody in `one` hears anybody outside, nor the other way round.
    pub fn partition(&mut self, one: &[&str]) {
        let inside = |node: &NodeName| one.contains(&node.as_str());
        let pairs = self.hosts.keys().flat_map(|a| self.hosts.keys().map(move |b| (a.clone(), b.clone())));
        let cut: Vec<_> = pairs.filter(|(a, b)| inside(a) != inside(b)).collect();
        self.cut.extend(cut);
    }

    /// Everybody hears everybody again.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.filtered.clear();
        self.deaf.clear();
    }

    /// Whether what one sends arrives at the other, but for what is lost.
    pub(super) fn passes(&self, from: &NodeName, to: &NodeName, multicast: bool) -> bool {
        let way = (from.clone(), to.clone());
        let blocked = self.deaf.contains(to) || self.cut.contains(&way) || multicast && self.filtered.contains(&way);
        !blocked
    }
}
