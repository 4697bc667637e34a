//! The whole decision with all its reasons, for `/debug/state` and `herald explain`.

use super::{Claim, Speaker, segments};
use crate::{
    LinkName, NodeName, ServiceKey,
    membership::{Member, Membership, Standing},
    ownership::{Announceable, Group, Silent, Verdict},
    reason::Reason,
    time::Moment,
};
use serde::Serializer;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::IpAddr,
};

/// Everything a speaker decided, and why.
#[derive(Debug)]
pub struct State<'a> {
    /// Why it announces nothing at all; empty when nothing is in the way.
    pub obstacles: Vec<Obstacle>,
    /// Its links.
    pub links: BTreeMap<&'a LinkName, LinkState<'a>>,
    /// Groups of Services that can be announced, with the verdict per link.
    pub groups: Vec<(&'a Group, BTreeMap<&'a LinkName, Verdict>)>,
    /// Services of the snapshot, with why nobody announces them.
    pub services: Vec<(&'a ServiceKey, &'a Announceable, Option<&'a Silent>)>,
}

/// A link with its members.
#[derive(Debug)]
pub struct LinkState<'a> {
    /// This speaker's standing there.
    pub standing: Standing,
    /// Members, this speaker included.
    pub members: BTreeMap<NodeName, Member>,
    /// When each of the others was last heard.
    pub heard: BTreeMap<&'a NodeName, Moment>,
    /// Who is heard there and hears nobody: no member.
    pub deaf: BTreeSet<&'a NodeName>,
    /// What this node answers for there.
    pub answers: Option<&'a BTreeMap<IpAddr, Claim>>,
}

/// Why a speaker announces nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Not everything is known that it decides on.
    #[error("it does not know the state of the cluster yet")]
    NoSnapshot,
    /// No key: hellos are neither sent nor believed.
    #[error("it does not have the key of the hellos yet")]
    NoKey,
    /// MetalLB runs, or it is not known whether it does.
    #[error("it stands by, as MetalLB runs in the cluster or that is not known yet")]
    Standby,
    /// The process ends.
    #[error("it is ending")]
    Stopping,
    /// There is no link to announce on.
    #[error("it has no link that can be used")]
    NoLink,
}

impl Obstacle {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NoSnapshot, Self::NoKey, Self::Standby, Self::Stopping, Self::NoLink];
}

impl Reason for Obstacle {
    fn label(&self) -> &'static str {
        match self {
            Self::NoSnapshot => "no_snapshot",
            Self::NoKey => "no_key",
            Self::Standby => "standby",
            Self::Stopping => "stopping",
            Self::NoLink => "no_link",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoSnapshot => "see its log: it reaches the API server, and may list what it watches",
            Self::NoKey => {
                "see whether the controller runs, which creates the Secret with the key, and the speaker's log"
            }
            Self::Standby => "remove MetalLB: kubectl get pods -A -l app=metallb (or app.kubernetes.io/name=metallb)",
            Self::Stopping => "wait for its successor",
            Self::NoLink => "see why each of its links is not used",
        })
    }
}

impl Speaker {
    /// The whole decision with all its reasons, computed anew, of the Services that are wanted and whatever they share an owner with.
    #[must_use]
    pub fn state(&self, wanted: impl Fn(&ServiceKey) -> bool) -> State<'_> {
        let segments = segments::of(&self.links, &self.memberships);
        let links = self.memberships.iter().map(|(name, membership)| {
            let members = self.members(membership, segments.names(name));
            let standing = membership.standing();
            let (heard, deaf) = (membership.heard().collect(), membership.deaf().collect());
            (name, LinkState { standing, members, heard, deaf, answers: self.answers.get(name) })
        });
        let links: BTreeMap<&LinkName, LinkState<'_>> = links.collect();
        let (mut groups, mut services) = (Vec::new(), Vec::new());
        if let Some(plan) = &self.plan {
            for group in plan.groups().iter().filter(|group| group.services.iter().any(&wanted)) {
                let verdict = |(name, link): (&&'_ LinkName, &LinkState<'_>)| plan.desired(group, name, &link.members);
                groups.push((&**group, links.iter().map(|(name, link)| (*name, verdict((name, link)))).collect()));
            }
            let all = plan.snapshot().services.iter().filter(|(key, _)| wanted(key));
            services.extend(all.map(|(key, service)| (key, service, plan.silent(key))));
        }
        State { obstacles: self.obstacles(), links, groups, services }
    }

    /// How often peers were suspected so far, on the links that it has now: for the simulator, which has no metrics.
    #[must_use]
    pub fn suspicions(&self) -> u64 {
        self.memberships.values().map(Membership::suspicions).sum()
    }

    fn obstacles(&self) -> Vec<Obstacle> {
        let found = |obstacle: &Obstacle| match obstacle {
            Obstacle::NoSnapshot => self.plan.is_none(),
            Obstacle::NoKey => !self.key,
            Obstacle::Standby => self.standby,
            Obstacle::Stopping => self.stop.is_some(),
            Obstacle::NoLink => self.links.is_empty(),
        };
        Obstacle::ALL.into_iter().filter(found).collect()
    }
}

pub(super) fn as_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{membership::Identity, reason::tests::check, speaker::Input, time::Timing};
    use std::sync::Arc;

    #[test]
    fn every_obstacle_has_a_label_a_text_and_a_next_step() {
        check(&Obstacle::ALL);
    }

    #[test]
    fn obstacles_are_there_until_they_are_out_of_the_way() {
        let me = Identity { cluster: herald_wire::hello::ClusterId([0; 16]), node: "a".into(), incarnation: 1 };
        let mut speaker = Speaker::new(me, Timing::default());
        let mut after = |input| {
            speaker.handle(input, Moment::default());
            speaker.state(|_| true).obstacles
        };
        use Obstacle::{NoKey, NoLink, NoSnapshot, Standby, Stopping};
        assert_eq!(after(Input::Standby(true)), [NoSnapshot, NoKey, Standby, NoLink]);
        assert_eq!(after(Input::Snapshot(Arc::default())), [NoKey, Standby, NoLink]);
        assert_eq!(after(Input::Key(true)), [Standby, NoLink]);
        assert_eq!(after(Input::Standby(false)), [NoLink]);
        let link = crate::speaker::Link { name: "eth0".into(), mac: herald_wire::Mac::ZERO, addresses: Vec::new() };
        assert_eq!(after(Input::Links(vec![link])), []);
        assert_eq!(after(Input::Stop { leaving: false }), [Stopping]);
    }
}
