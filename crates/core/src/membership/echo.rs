//! Asking a node's kernel whether it is there, whatever its speaker does.
//!
//! Linux answers ARP requests and Neighbor Solicitations for its own addresses in softirq: a node whose speaker is slow, frozen, restarting or
//! dead still answers, and still forwards. So only who does not answer is replaced. The same asks find out about peers that are never heard.

use crate::time::{Moment, Timing};
use std::time::Duration;

/// Asks that may stay unanswered on a link that loses nothing.
const TRIES: u32 = 3;
/// Most asks of one round, whatever the loss.
const MOST_TRIES: u32 = 20;
/// All asks of a round may be lost though the node is there once in so many rounds.
const ONCE_IN: u64 = 1_000_000;
/// One, in the fixed point of [`Loss`].
const ONE: u64 = 1 << 30;

/// Asks and answers of one peer on one link.
#[derive(Debug, Clone, Default)]
pub(super) struct Echo {
    asked: Option<Moment>,
    /// Asks since the last answer, or since the round began.
    unanswered: u32,
    /// What whole rounds showed: one that stays unanswered does not count against those before it, two do.
    answers: Option<bool>,
    /// Whether the last whole round stayed unanswered.
    failed: bool,
    /// Whether that of this round is noted already.
    noted: bool,
}

/// What the asks of a round have shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answered.
    There,
    /// Asks are out.
    Open,
    /// None of them was answered.
    Silent,
}

/// When to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Between an answer, or a round without one, and the next ask.
    pub(super) every: Duration,
    /// Between the asks of a round.
    pub(super) gap: Duration,
    /// For the answer to the last one.
    pub(super) patience: Duration,
    /// Asks of a round.
    pub(super) tries: u32,
}

impl Pace {
    pub(super) fn new(every: Duration, timing: Timing, loss: Loss) -> Self {
        Self { every, gap: timing.echo_gap(), patience: timing.echo_patience(), tries: loss.tries() }
    }
}

impl Echo {
    /// Begins a round now, whatever was known before.
    pub(super) fn begin(&mut self) {
        self.asked = None;
        self.unanswered = 0;
        self.noted = false;
    }

    /// Takes an answer; whether one was waited for.
    pub(super) fn answered(&mut self) -> bool {
        let expected = self.unanswered > 0;
        if expected {
            self.unanswered = 0;
            self.answers = Some(true);
            (self.failed, self.noted) = (false, false);
        }
        expected
    }

    /// Whether its kernel answers such asks at all, as far as known.
    pub(super) fn answers(&self) -> Option<bool> {
        self.answers
    }

    pub(super) fn verdict(&self, pace: Pace, now: Moment) -> Verdict {
        match self.asked {
            Some(_) if self.unanswered == 0 => Verdict::There,
            Some(asked) if self.unanswered >= pace.tries && now.since(asked) >= pace.patience => Verdict::Silent,
            _ => Verdict::Open,
        }
    }

    /// Whether to ask now, and then whether it is the last ask of its round; that it was asked is noted.
    pub(super) fn due(&mut self, pace: Pace, now: Moment) -> Option<bool> {
        if self.next(pace) > now {
            return None;
        }
        if self.unanswered >= pace.tries {
            // The round ended without an answer: another one.
            self.fail();
            self.unanswered = 0;
            self.noted = false;
        }
        self.asked = Some(now);
        self.unanswered += 1;
        Some(self.unanswered >= pace.tries)
    }

    /// When the next ask is due.
    pub(super) fn next(&self, pace: Pace) -> Moment {
        let Some(asked) = self.asked else { return Moment::default() };
        match self.unanswered {
            0 => asked + pace.every,
            asks if asks < pace.tries => asked + pace.gap,
            _ => asked + pace.every.max(pace.patience),
        }
    }

    /// When [`Echo::verdict`] or [`Echo::due`] has something new.
    pub(super) fn wakes(&self, pace: Pace, now: Moment) -> Moment {
        let judged = self.asked.map(|asked| asked + pace.patience);
        let judged = judged.filter(|judged| self.unanswered >= pace.tries && *judged > now);
        let next = self.next(pace);
        judged.map_or(next, |judged| judged.min(next))
    }

    /// Notes that its kernel answers no asks, if a whole round stayed unanswered though it was there: `heard` after the last ask.
    pub(super) fn learn(&mut self, pace: Pace, heard: Moment, now: Moment) {
        if self.verdict(pace, now) == Verdict::Silent && self.asked.is_some_and(|asked| heard >= asked) {
            self.fail();
        }
    }

    fn fail(&mut self) {
        if !std::mem::replace(&mut self.noted, true) {
            if self.failed || self.answers.is_none() {
                self.answers = Some(false);
            }
            self.failed = true;
        }
    }
}

/// The share of frames that are lost on the way from a peer, from the hellos that did not come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loss(u64);

impl Loss {
    /// Weight of a hello: some thirty of them make the figure.
    const WEIGHT: u64 = 32;
    /// A longer silence is no loss but a pause.
    const MOST_MISSED: u128 = 3;

    /// A hello came so long after the one before.
    pub(super) fn hello(&mut self, after: Duration, interval: Duration) {
        let slots = (after.as_micros() + interval.as_micros() / 2).checked_div(interval.as_micros()).unwrap_or(1);
        let missed = slots.saturating_sub(1).min(Self::MOST_MISSED);
        for _ in 0..missed {
            self.0 += (ONE - self.0) / Self::WEIGHT;
        }
        self.0 -= self.0 / Self::WEIGHT;
    }

    /// So many asks that all of them, or their answers, are lost less often than once in a million rounds.
    pub(super) fn tries(self) -> u32 {
        let through = (ONE - self.0) * (ONE - self.0) / ONE;
        let fails = ONE - through;
        let mut all_fail = fails;
        let mut tries = 1;
        while tries < TRIES || (tries < MOST_TRIES && all_fail > ONE / ONCE_IN) {
            all_fail = all_fail * fails / ONE;
            tries += 1;
        }
        tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(per_mille: u64) -> Loss {
        Loss(ONE * per_mille / 1000)
    }

    #[test]
    fn more_loss_takes_more_asks() {
        let tries: Vec<u32> = [0, 3, 10, 100, 300, 900].map(|share| loss(share).tries()).into();
        assert_eq!(tries, [3, 3, 4, 9, 20, 20]);
    }

    #[test]
    fn loss_is_learnt_from_hellos_and_forgotten() {
        let interval = Duration::from_millis(50);
        let mut learnt = Loss::default();
        for turn in 0..600 {
            // Every tenth is missing.
            learnt.hello(if turn % 9 == 0 { interval * 2 } else { interval - interval / 20 }, interval);
        }
        assert!((6..=11).contains(&learnt.tries()), "{learnt:?}");
        for _ in 0..300 {
            learnt.hello(interval, interval);
        }
        assert_eq!(learnt.tries(), 3);
    }

    #[test]
    fn one_round_without_an_answer_does_not_make_a_kernel_one_that_never_answers() {
        let timing = Timing::default();
        let pace = Pace::new(Duration::from_secs(3), timing, Loss::default());
        let mut now = Moment::from_micros(1_000_000);
        let mut round = |echo: &mut Echo, answered: bool| {
            while echo.due(pace, now).is_none_or(|last| !last) {
                now = echo.wakes(pace, now);
            }
            if answered {
                echo.answered();
            }
            now = now + timing.echo_patience();
            echo.learn(pace, now, now);
            echo.learn(pace, now, now);
            echo.answers()
        };
        let mut echo = Echo::default();
        assert_eq!(
            [false, true, false].map(|answered| round(&mut echo, answered)),
            [Some(false), Some(true), Some(true)]
        );
        assert_eq!(
            [false, false, true].map(|answered| round(&mut echo, answered)),
            [Some(false), Some(false), Some(true)]
        );
    }

    #[test]
    fn a_round_ends_with_an_answer_or_after_its_last_ask() {
        let timing = Timing::default();
        let pace = Pace::new(Duration::from_secs(3), timing, Loss::default());
        let (mut echo, mut now) = (Echo::default(), Moment::from_micros(1_000_000));
        let mut asks = Vec::new();
        let start = now;
        while echo.verdict(pace, now) == Verdict::Open {
            if let Some(last) = echo.due(pace, now) {
                asks.push((now.since(start).as_millis(), last));
            }
            now = echo.wakes(pace, now);
        }
        assert_eq!(asks, [(0, false), (10, false), (20, true)]);
        assert_eq!((echo.verdict(pace, now), now.since(start).as_millis()), (Verdict::Silent, 40));
        assert!(echo.answered(), "late, but an answer");
        assert_eq!(echo.verdict(pace, now), Verdict::There);
        assert!(!echo.answered(), "not asked for");
        assert_eq!(echo.next(pace).since(start).as_millis(), 3020);
    }
}
