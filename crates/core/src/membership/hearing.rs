//! Whether a peer that is heard hears anybody itself.
//!
//! One direction of a cable, a transceiver or a switch port can break alone: nothing reaches the node, so nobody reaches its addresses, and yet
//! its hellos come. They say it: their heard-set names nobody of those that speak here. Such a peer is asked through its kernel as a silent one is,
//! and when that does not answer either, it is gone from this link until its hellos name somebody, or its kernel answers. A peer that does
//! not hear *this* node alone names others, and more peers than a hello holds take turns in one that is full: both are none of this.

use super::echo::Verdict;
use crate::time::Moment;
use std::time::Duration;

/// Hellos in a row that name nobody after which the kernel is asked: one is all that a speaker says that just started.
const DOUBTED: u8 = 2;
/// Hellos in a row that name nobody which it takes at least to call a peer deaf.
const DEAF: u8 = 4;

/// What is known of whether a peer hears anybody.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hearing {
    shown: Shown,
    /// Of its last hellos, if they named nobody.
    series: Option<Series>,
}

/// What it has shown so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Shown {
    /// It just came: neither named its hellos anybody nor did its kernel answer.
    #[default]
    Nothing,
    Hears,
    Deaf,
}

/// Hellos in a row that named nobody.
#[derive(Debug, Clone, Copy)]
struct Series {
    /// Since when; or since its kernel answered last.
    since: Moment,
    hellos: u8,
    echo: Verdict,
}

impl Hearing {
    /// Of a peer that was deaf when it was heard last.
    pub(super) const DEAF: Self = Self { shown: Shown::Deaf, series: None };

    /// A hello came that names somebody who is heard here, or does not. Whether its kernel is to be asked from now on.
    pub(super) fn hello(&mut self, names_somebody: bool, now: Moment) -> bool {
        if names_somebody {
            *self = Self { shown: Shown::Hears, series: None };
            return false;
        }
        let series = self.series.get_or_insert(Series { since: now, hellos: 0, echo: Verdict::Open });
        series.hellos = series.hellos.saturating_add(1);
        series.hellos == DOUBTED && self.shown != Shown::Deaf
    }

    /// Its kernel answered an ask, or others vouch for it.
    pub(super) fn trust(&mut self, now: Moment) {
        self.shown = Shown::Hears;
        if let Some(series) = &mut self.series {
            (series.since, series.echo) = (now, Verdict::There);
        }
    }

    /// What it named until now says nothing: it was silent itself, or this node did not speak.
    pub(super) fn excuse(&mut self) {
        self.series = None;
    }

    /// It receives something, as far as it has shown.
    pub(super) fn is_shown(&self) -> bool {
        self.shown == Shown::Hears
    }

    /// It is heard and hears nobody.
    pub(super) fn is_deaf(&self) -> bool {
        self.shown == Shown::Deaf
    }

    /// Its kernel is to be asked because of what its hellos do not say.
    pub(super) fn is_doubted(&self) -> bool {
        !self.is_deaf() && self.series.is_some_and(|series| series.hellos >= DOUBTED)
    }

    /// It does not hear, or that is an open question.
    pub(super) fn may_be_deaf(&self) -> bool {
        self.is_deaf() || self.series.is_some_and(|series| series.echo != Verdict::There)
    }

    /// Judges by what the asks have shown, if its kernel `answers` them at all; whether it is deaf from now on. Both within the hold time `hold`;
    /// of one that cannot be asked twice that.
    pub(super) fn judge(&mut self, echo: Verdict, answers: bool, hold: Duration, now: Moment) -> bool {
        if !self.is_doubted() {
            return false;
        }
        let Some(series) = &mut self.series else { return false };
        // Once unanswered stays so until there is an answer: the next round begins without knowing.
        if answers && echo == Verdict::Silent {
            series.echo = Verdict::Silent;
        }
        let patience = match (series.echo, answers) {
            (Verdict::Silent, _) => hold,
            (_, false) => hold * 2,
            (_, true) => return false,
        };
        if series.hellos < DEAF || now.since(series.since) < patience {
            return false;
        }
        *self = Self::DEAF;
        true
    }

    /// When [`Hearing::judge`] may find what it did not, but for the asks.
    pub(super) fn wakes(&self, hold: Duration) -> impl Iterator<Item = Moment> {
        let doubted = self.series.filter(|_| self.is_doubted());
        doubted.into_iter().flat_map(move |series| [series.since + hold, series.since + hold * 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_millis(200);

    fn at(millis: u64) -> Moment {
        Moment::from_micros(1_000_000 + millis * 1000)
    }

    /// When it is deaf, with hellos every 50 ms that name nobody, and an echo that shows this from that moment on.
    fn deaf_after(hearing: &mut Hearing, echo: (Verdict, u64), answers: bool) -> Option<u64> {
        (0..20).map(|turn| turn * 50).find(|millis| {
            hearing.hello(false, at(*millis));
            let verdict = if *millis >= echo.1 { echo.0 } else { Verdict::Open };
            hearing.judge(verdict, answers, HOLD, at(*millis))
        })
    }

    #[test]
    fn who_names_nobody_for_a_hold_time_and_does_not_answer_is_deaf() {
        assert_eq!(deaf_after(&mut Hearing::default(), (Verdict::Silent, 100), true), Some(200));
        assert_eq!(deaf_after(&mut Hearing::default(), (Verdict::Silent, 300), true), Some(300));
        assert_eq!(deaf_after(&mut Hearing::default(), (Verdict::Open, 0), true), None, "the answer is waited for");
        assert_eq!(deaf_after(&mut Hearing::default(), (Verdict::Silent, 0), false), Some(400), "it cannot be asked");
    }

    #[test]
    fn an_answer_starts_it_over_and_a_name_ends_it() {
        let mut hearing = Hearing::default();
        assert!(!hearing.hello(false, at(0)) && hearing.hello(false, at(50)), "the second one raises the question");
        assert!(hearing.may_be_deaf() && hearing.is_doubted() && !hearing.is_shown());
        hearing.trust(at(60));
        assert!(!hearing.may_be_deaf() && hearing.is_doubted() && hearing.is_shown());
        for turn in 2..6 {
            hearing.hello(false, at(turn * 50));
        }
        assert!(!hearing.judge(Verdict::Silent, true, HOLD, at(259)) && hearing.may_be_deaf());
        assert!(hearing.judge(Verdict::Open, false, HOLD, at(260)), "the round that stayed unanswered counts");
        assert!(hearing.is_deaf() && !hearing.is_doubted());
        hearing.hello(false, at(300));
        assert!(hearing.is_deaf());
        hearing.hello(true, at(350));
        assert!(hearing.is_shown() && !hearing.may_be_deaf());
    }

    #[test]
    fn few_hellos_in_a_long_time_are_no_series() {
        let mut hearing = Hearing::default();
        for turn in 0..3 {
            hearing.hello(false, at(turn * 1000));
            assert!(!hearing.judge(Verdict::Silent, true, HOLD, at(turn * 1000)));
        }
        hearing.excuse();
        assert!(!hearing.is_doubted());
    }
}
