//! Whether this node's data plane can take addresses over: by the health endpoint of kube-proxy, or of what replaces it.
//!
//! Only what the endpoint *says* counts against a node that has addresses, and only when it goes on saying it. That it is not there is not
//! said by anybody: kube-proxy is being updated, and its rules stay in the kernel meanwhile. For taking over it is enough that it is not there:
//! on a node that just came back there are no rules yet.
//!
//! 1. Where no node's endpoint ever answered that all is well there is no filter: something else passes the packets (Cilium, kube-router). Whether
//!    one did, hellos say, so that a node which is new or came back waits for its own ([`crate::speaker::Speaker::data_plane`]).
//! 2. A node is *not ready* to take over while its endpoint answers otherwise or not at all, and for [`SETTLE`] after: kube-proxy says that it is
//!    well also before it has written its first rules (`pkg/proxy/healthcheck`: nothing is late yet).
//! 3. It has *failed* after it said so for [`FAILED_AFTER`] without a break, and until it said the opposite for [`RECOVERED_AFTER`]. A speaker that
//!    starts does not know since when: what fails from the beginning has failed.
//!
//! What follows for addresses is in [`crate::ownership`].

use crate::{reason::Reason, time::Moment};
use herald_wire::hello;
use std::{borrow::Cow, time::Duration};

/// All has to be well for so long after it was not known to be.
pub const SETTLE: Duration = Duration::from_secs(2);
/// After so long without a break a failure takes addresses away. kube-proxy itself reports one only when its rules are a minute late.
pub const FAILED_AFTER: Duration = Duration::from_secs(15);
/// All has to be well for so long before a failure is over, so that an endpoint that changes its mind does not pull addresses back and forth.
pub const RECOVERED_AFTER: Duration = Duration::from_secs(10);
/// How often the endpoint is asked, while nothing waits for it, and while something may.
const EVERY: Duration = Duration::from_secs(2);
const OFTEN: Duration = Duration::from_secs(1);
/// A machine that runs for less is starting.
const BOOT: Duration = Duration::from_secs(120);
/// Answers further apart than this do not follow each other: this machine slept.
const APART: Duration = Duration::from_secs(8);

/// What came of asking the endpoint once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Healthy,
    /// It says that it fails, with this HTTP status (500 to 599).
    Failing(u16),
    /// It says that the node is about to be deleted (`nodeEligible` of kube-proxy since 1.28), which hides how the data plane is: nothing is known.
    NotEligible,
    /// Nothing answers: refused, too late, or not HTTP.
    Absent,
    /// Something answers that is no health endpoint, with this HTTP status.
    Other(u16),
}

/// Why a node's data plane is not to be given addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NotReady {
    /// The endpoint is not there.
    #[error("its health endpoint does not answer")]
    Absent,
    /// Another HTTP status.
    #[error("its health endpoint answers with HTTP status {0}, which says nothing")]
    Other(u16),
    /// It fails, not for long yet.
    #[error("its health endpoint says that it fails (HTTP status {0})")]
    Failing(u16),
    /// It is well, not for long yet.
    #[error("its health endpoint says that all is well, but only since a moment")]
    Settling,
    /// It fails, or did until lately.
    #[error("its health endpoint has said for a while that it fails (HTTP status {0})")]
    Failed(u16),
}

impl NotReady {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Absent, Self::Other(404), Self::Failing(503), Self::Settling, Self::Failed(503)];
}

impl Reason for NotReady {
    fn label(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Other(_) => "other_status",
            Self::Failing(_) => "failing",
            Self::Settling => "settling",
            Self::Failed(_) => "failed",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Absent => "see kube-proxy on that node; if it is gone for good, set speaker.dataPlaneHealth to \"\"",
            Self::Other(_) => {
                "see what listens there, and set speaker.dataPlaneHealth to the health endpoint, or to \"\""
            }
            Self::Failing(_) | Self::Failed(_) => "see the log of kube-proxy on that node: it does not write its rules",
            Self::Settling => "nothing to do: it takes a few seconds",
        })
    }
}

/// What follows for taking over.
#[must_use]
pub const fn follows(why: Option<NotReady>) -> hello::DataPlane {
    match why {
        None => hello::DataPlane::Ready,
        Some(NotReady::Failed(_)) => hello::DataPlane::Failed,
        Some(_) => hello::DataPlane::NotReady,
    }
}

/// What is known of this node's data plane.
#[derive(Debug, Clone)]
pub struct DataPlane {
    /// Whether all was ever well.
    answered: bool,
    /// Why it is not ready; `None`: it is.
    why: Option<NotReady>,
    /// Since when all is well, or since when it says that it fails; `None` when neither is the last word.
    since: Option<Moment>,
    last: Option<Moment>,
}

impl Default for DataPlane {
    /// Nothing was asked yet.
    fn default() -> Self {
        Self { answered: false, why: Some(NotReady::Absent), since: None, last: None }
    }
}

impl DataPlane {
    /// Takes what came of asking.
    pub fn take(&mut self, outcome: Outcome, now: Moment) {
        let first = self.last.is_none();
        let follows = self.last.replace(now).is_some_and(|last| now.since(last) <= APART);
        if !follows {
            self.since = None;
        }
        match outcome {
            Outcome::Healthy => {
                let goes_on = matches!(self.why, None | Some(NotReady::Settling | NotReady::Failed(_)));
                let since = self.since.filter(|_| goes_on).unwrap_or(now);
                let needed = match self.why {
                    None => Duration::ZERO,
                    Some(NotReady::Failed(_)) => RECOVERED_AFTER,
                    // This speaker is new, and what it asks is not.
                    Some(_) if first && now.since(Moment::default()) > BOOT => Duration::ZERO,
                    Some(_) => SETTLE,
                };
                self.answered = true;
                self.since = Some(since);
                if now.since(since) >= needed {
                    self.why = None;
                } else if !matches!(self.why, Some(NotReady::Failed(_))) {
                    self.why = Some(NotReady::Settling);
                }
            }
            Outcome::Failing(status) => {
                let since = self.since.filter(|_| matches!(self.why, Some(NotReady::Failing(_)))).unwrap_or(now);
                let lasts = matches!(self.why, Some(NotReady::Failed(_))) || now.since(since) >= FAILED_AFTER;
                let failed = first || lasts;
                self.why = Some(if failed { NotReady::Failed(status) } else { NotReady::Failing(status) });
                self.since = (!failed).then_some(since);
            }
            Outcome::Absent => self.is_away(NotReady::Absent),
            Outcome::Other(status) => self.is_away(NotReady::Other(status)),
            Outcome::NotEligible => self.since = None,
        }
    }

    /// A failure is not over because nobody says so any more.
    fn is_away(&mut self, why: NotReady) {
        self.since = None;
        if !matches!(self.why, Some(NotReady::Failed(_))) {
            self.why = Some(why);
        }
    }

    /// Why it is not to be given addresses, by its endpoint alone; `None` when it may be.
    #[must_use]
    pub const fn why(&self) -> Option<NotReady> {
        self.why
    }

    /// Whether it was ever told that all is well.
    #[must_use]
    pub const fn has_health(&self) -> bool {
        self.answered
    }

    /// What follows for taking over.
    #[must_use]
    pub const fn is(&self) -> hello::DataPlane {
        follows(self.why)
    }

    /// When to ask again after this.
    #[must_use]
    pub const fn pause(&self) -> Duration {
        if self.why.is_some() && self.answered { OFTEN } else { EVERY }
    }
}

#[cfg(test)]
mod tests;
