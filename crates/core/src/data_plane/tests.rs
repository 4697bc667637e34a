use super::*;
use crate::reason::tests::check;
use Outcome::{Absent, Failing, Healthy, NotEligible, Other};
use proptest::{collection::vec, prelude::*};

/// A data plane, and a clock.
struct Asked {
    plane: DataPlane,
    now: Moment,
}

impl Asked {
    fn new() -> Self {
        Self { plane: DataPlane::default(), now: Moment::default() + Duration::from_secs(60) }
    }

    /// One that was well for long.
    fn well() -> Self {
        let mut asked = Self::new();
        assert_eq!(asked.hears(Healthy, 3), None);
        asked
    }

    /// Asks once a second for so long; what is known then.
    fn hears(&mut self, outcome: Outcome, seconds: u64) -> Option<NotReady> {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            self.plane.take(outcome, self.now);
        }
        self.plane.why()
    }
}

#[test]
fn every_reason_has_a_label_a_text_and_a_next_step() {
    check(&NotReady::ALL);
}

#[test]
fn an_endpoint_that_never_said_that_all_is_well_is_none() {
    for outcome in [Absent, Other(404), Failing(503), NotEligible] {
        let mut asked = Asked::new();
        asked.hears(outcome, 3600);
        assert!(!asked.plane.has_health(), "{outcome:?}");
        asked.hears(Healthy, 1);
        assert!(asked.plane.has_health());
    }
}

#[test]
fn a_node_that_starts_waits_until_what_answers_had_time_to_begin() {
    let mut asked = Asked::new();
    assert_eq!(asked.plane.is(), hello::DataPlane::NotReady, "before anything was asked");
    assert_eq!(asked.hears(Absent, 5), Some(NotReady::Absent));
    // kube-proxy says that it is well before it has written anything.
    assert_eq!(asked.hears(Healthy, 2), Some(NotReady::Settling));
    assert_eq!(asked.hears(Healthy, 1), None);
    assert_eq!(asked.plane.is(), hello::DataPlane::Ready);
}

#[test]
fn a_speaker_that_starts_on_a_node_that_runs_for_long_believes_the_first_word() {
    for (outcome, why) in [(Healthy, None), (Failing(503), Some(NotReady::Failed(503)))] {
        let mut asked = Asked::new();
        asked.now = asked.now + Duration::from_secs(3600);
        assert_eq!(asked.hears(outcome, 1), why);
    }
}

#[test]
fn an_endpoint_that_is_not_there_is_not_ready_and_never_failed() {
    for (outcome, why) in [(Absent, NotReady::Absent), (Other(404), NotReady::Other(404))] {
        let mut asked = Asked::well();
        assert_eq!(asked.hears(outcome, 3600), Some(why));
        assert_eq!(asked.plane.is(), hello::DataPlane::NotReady);
    }
}

#[test]
fn a_failure_has_to_be_said_without_a_break() {
    let mut asked = Asked::well();
    assert_eq!(asked.hears(Failing(503), 15), Some(NotReady::Failing(503)));
    for outcome in [Healthy, Absent, NotEligible, Other(404)] {
        asked.hears(outcome, 1);
        assert_eq!(asked.hears(Failing(503), 15), Some(NotReady::Failing(503)), "after {outcome:?}");
    }
    // Nothing was heard for a while: this machine slept.
    asked.now = asked.now + Duration::from_secs(60);
    assert_eq!(asked.hears(Failing(503), 15), Some(NotReady::Failing(503)), "after a sleep");
    assert_eq!(asked.hears(Failing(500), 1), Some(NotReady::Failed(500)));
    assert_eq!(asked.plane.is(), hello::DataPlane::Failed);
}

#[test]
fn a_failure_is_over_when_all_was_well_for_a_while() {
    let mut asked = Asked::well();
    asked.hears(Failing(503), 16);
    assert_eq!(asked.hears(Absent, 100), Some(NotReady::Failed(503)), "nobody says that it is over");
    assert_eq!(asked.hears(Healthy, 10), Some(NotReady::Failed(503)));
    assert_eq!(asked.hears(Failing(503), 1), Some(NotReady::Failed(503)));
    assert_eq!(asked.hears(Healthy, 10), Some(NotReady::Failed(503)), "from the beginning");
    assert_eq!(asked.hears(Healthy, 1), None);
}

#[test]
fn a_node_that_is_about_to_be_deleted_says_nothing_about_its_data_plane() {
    let mut asked = Asked::well();
    assert_eq!(asked.hears(NotEligible, 3600), None);
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    proptest::sample::select(vec![Healthy, Failing(503), NotEligible, Absent, Other(404)])
}

proptest! {
    /// As it is said in words: over all histories, a failure needs all of the last answers to say so, for long.
    #[test]
    fn it_fails_only_by_its_own_words(history in vec((any_outcome(), 1_u64..20), 1..40)) {
        let mut asked = Asked::well();
        let mut failing = 0;
        for (outcome, seconds) in history {
            for _ in 0..seconds {
                let failed = asked.plane.is() == hello::DataPlane::Failed;
                failing = if matches!(outcome, Failing(_)) { failing + 1 } else { 0 };
                asked.hears(outcome, 1);
                let fails = asked.plane.is() == hello::DataPlane::Failed;
                prop_assert!(failed || !fails || failing > 15, "{failing}");
                if outcome != Healthy {
                    prop_assert!(!failed || fails, "only health ends a failure");
                }
            }
        }
    }
}
