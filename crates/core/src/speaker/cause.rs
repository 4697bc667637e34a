//! Why it was decided anew who owns what.

use crate::membership::Change;
use herald_wire::hello::DataPlane;
use std::fmt;

/// What made a speaker decide anew. Of several at once the last in this order counts: it alone would have moved something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A planned move between two living nodes, whatever it was planned for.
    HandOver,
    /// Services, endpoints, nodes or the configuration.
    Cluster,
    /// A foreign station claims an address, or ceases to.
    Conflict,
    /// A member is there, or ready, or its data plane is, that was not.
    MemberJoined,
    /// A member is gone, or it or its data plane is not ready any more.
    MemberLeft,
    /// Links of this node, or those of a member.
    Links,
    /// This speaker itself: it begins to take part on a link, or ceases to, stands by, or ends.
    Speaker,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::HandOver,
        Self::Cluster,
        Self::Conflict,
        Self::MemberJoined,
        Self::MemberLeft,
        Self::Links,
        Self::Speaker,
    ];

    /// A metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::HandOver => "hand_over",
            Self::Cluster => "cluster",
            Self::Conflict => "conflict",
            Self::MemberJoined => "member_joined",
            Self::MemberLeft => "member_left",
            Self::Links => "links",
            Self::Speaker => "speaker",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl From<&Change> for Cause {
    fn from(change: &Change) -> Self {
        match change {
            Change::Joined(_)
            | Change::Back(_)
            | Change::Ready(_, true)
            | Change::Presumed(_, true)
            | Change::DataPlane(_, DataPlane::Ready) => Self::MemberJoined,
            Change::Left(..)
            | Change::Restarting(_)
            | Change::Ready(_, false)
            | Change::Presumed(_, false)
            | Change::DataPlane(..) => Self::MemberLeft,
            Change::Links(_) => Self::Links,
            Change::Standing(_) => Self::Speaker,
        }
    }
}
