//! How planned moves go, and what a node has to do with a group meanwhile.

use crate::{NodeName, time::Moment};
use std::time::Duration;

/// How planned moves go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moves {
    /// For how long the old owner goes on serving neighbours that use it.
    pub drain: Duration,
    /// A node that returned gets addresses back after it was ready for so long, so that a flapping one does not pull them back and forth.
    pub hold_off: Duration,
}

impl Default for Moves {
    /// Half a minute, and ten seconds.
    fn default() -> Self {
        Self { drain: Duration::from_secs(30), hold_off: Duration::from_secs(10) }
    }
}

/// What a node has to do with a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// It is the owner; another node, which lives, has it and is asked.
    Asking {
        /// Who.
        of: NodeName,
        /// Since when.
        since: Moment,
        /// Asks so far.
        tries: u8,
        /// When to ask next.
        next: Moment,
        /// When it said that it does not have it.
        free: Option<Moment>,
        /// Whether that node said no.
        refused: bool,
        /// Until when this node still drains what it had itself.
        draining: Option<Moment>,
        /// That nobody has it is not believed before.
        patience: Moment,
    },
    /// It answers.
    Held {
        /// Whether it is the owner; otherwise it goes on until it is asked.
        owner: bool,
        /// Who drains, and until when: nothing is announced unasked before that.
        from: Option<(NodeName, Moment)>,
    },
    /// It answers unicast requests alone.
    Draining {
        /// Who has it.
        to: NodeName,
        /// Until when.
        until: Moment,
    },
}

/// What follows for answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing is answered, by nobody.
    Nothing,
    /// Nothing is answered here: another node has it, or is to have it.
    Elsewhere,
    /// Every request is answered.
    Holder {
        /// As the owner; otherwise until it is asked.
        owner: bool,
        /// Nothing is said unasked.
        quiet: bool,
    },
    /// Unicast requests are answered.
    Draining,
}

/// What became of a planned move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HandOver {
    /// This node asks.
    Asked,
    /// It was refused (counted once a move).
    Refused,
    /// It was given.
    Received,
    /// This node gave it away and drains.
    Given,
    /// Taken without consent: who had it may not, by the state of the cluster.
    Forced,
    /// Taken, as nobody had it.
    Unheld,
    /// Who had it is gone, and the owner's data plane is not ready: this node has it until then.
    FilledIn,
    /// Who had received it is gone: this node goes on.
    Resumed,
    /// Two held it, and this node yielded.
    Yielded,
}

impl HandOver {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Asked,
        Self::Refused,
        Self::Received,
        Self::Given,
        Self::Forced,
        Self::Unheld,
        Self::FilledIn,
        Self::Resumed,
        Self::Yielded,
    ];

    /// A metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Refused => "refused",
            Self::Received => "received",
            Self::Given => "given",
            Self::Forced => "forced",
            Self::Unheld => "unheld",
            Self::FilledIn => "filled_in",
            Self::Resumed => "resumed",
            Self::Yielded => "yielded",
        }
    }
}
