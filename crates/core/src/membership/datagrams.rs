//! When a peer that does not hear this node's frames gets its hellos as datagrams too.
//!
//! While it does it names this node again, so whether it still needs them is found out by trying without: soon after the first time, as a node
//! that was starved or restarting does not need them any more, and ever later where something on the way filters multicast.

use crate::time::Moment;
use std::time::Duration;

/// At first.
const FIRST: Duration = Duration::from_secs(10);
/// Each time twice as long as before, and no longer than this.
const LONGEST: Duration = Duration::from_secs(600);
/// Who needs them again so soon after they ended has needed them all along.
const AGAIN: Duration = Duration::from_secs(10);

/// The datagrams to one peer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Datagrams(Option<Term>);

#[derive(Debug, Clone, Copy)]
struct Term {
    until: Moment,
    lasts: Duration,
}

impl Datagrams {
    /// The peer does not hear this node's frames.
    pub(super) fn begin(&mut self, now: Moment) {
        let lasts = match self.0 {
            Some(term) if now < term.until => term.lasts,
            Some(term) if now.since(term.until) < AGAIN => (term.lasts * 2).min(LONGEST),
            _ => FIRST,
        };
        self.0 = Some(Term { until: now + lasts, lasts });
    }

    /// Whether it gets them now.
    pub(super) fn are_on(&self, now: Moment) -> bool {
        self.0.is_some_and(|term| now < term.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_tried_ever_less_often_and_a_pause_is_forgotten() {
        let mut datagrams = Datagrams::default();
        let mut now = Moment::from_micros(1_000_000);
        assert!(!datagrams.are_on(now));
        let mut terms = Vec::new();
        for _ in 0..8 {
            let began = now;
            datagrams.begin(now);
            while datagrams.are_on(now) {
                now = now + Duration::from_secs(1);
            }
            terms.push(now.since(began).as_secs());
            now = now + Duration::from_millis(400);
        }
        assert_eq!(terms, [10, 20, 40, 80, 160, 320, 600, 600]);
        now = now + AGAIN;
        datagrams.begin(now);
        assert!(datagrams.are_on(now) && !datagrams.are_on(now + FIRST));
        datagrams.begin(now + FIRST / 2);
        assert!(datagrams.are_on(now + FIRST) && !datagrams.are_on(now + FIRST * 2), "the same need, not another one");
    }
}
