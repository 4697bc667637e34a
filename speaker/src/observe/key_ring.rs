//! Which keys of the hellos are in force while the Secret changes.
//!
//! Every speaker looks at the Secret at its own pace, so for some time some know a new key and others do not. A new key is accepted at once
//! and seals only when everybody has had the time to read it; the old ones are accepted for twice as long after that. So a key that was replaced, or
//! lost and made anew, is noticed by nobody, without a second key in the Secret.

use herald_wire::hello::Key;
use std::time::Duration;
use tokio::time::Instant;

/// How long it may take until every speaker that reaches the API server has read a changed Secret: longer than between two looks.
pub(super) const SPREAD: Duration = Duration::from_secs(45);

/// The keys of the Secret, and those before.
#[derive(Debug)]
pub(super) struct KeyRing {
    secret: Vec<Key>,
    before: Vec<Key>,
    /// From when on the Secret's key seals.
    seals_from: Instant,
}

impl KeyRing {
    /// With what was in force before a restart.
    pub(super) const fn new(saved: Vec<Key>, now: Instant) -> Self {
        Self { secret: saved, before: Vec::new(), seals_from: now }
    }

    /// The Secret has these keys now, at least one: the first one is to seal.
    pub(super) fn follow(&mut self, secret: Vec<Key>, now: Instant) {
        if self.secret.first() == secret.first() {
            self.secret = secret;
            return;
        }
        let before = self.accepted(now);
        // Known from before: everybody who follows the Secret has read it by now. (Also when there was none at all.)
        let known = before.is_empty() || secret.first().is_some_and(|key| before.contains(key));
        self.seals_from = if known { now } else { now + SPREAD };
        self.secret = secret;
        self.before = before;
    }

    /// The keys in force; the first one seals.
    pub(super) fn accepted(&self, now: Instant) -> Vec<Key> {
        let (first, second): (&[Key], &[Key]) = if now < self.seals_from {
            (&self.before, &self.secret)
        } else if now < self.seals_from + 2 * SPREAD {
            (&self.secret, &self.before)
        } else {
            (&self.secret, &[])
        };
        let mut keys: Vec<Key> = Vec::new();
        for key in first.iter().chain(second) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key::new(&[number; 32]).unwrap()
    }

    fn keys(numbers: &[u8]) -> Vec<Key> {
        numbers.iter().copied().map(key).collect()
    }

    /// Whenever two speakers that look at most `SPREAD` apart read the new key, each accepts what the other seals with.
    #[test]
    fn whoever_reads_later_is_heard_by_whoever_read_before() {
        let start = Instant::now();
        for (late, again) in [(0, 0), (1, 2), (20, 0), (44, 3), (45, 45)] {
            let mut rings = [KeyRing::new(keys(&[1]), start), KeyRing::new(keys(&[1]), start)];
            for second in 0..250 {
                let now = start + Duration::from_secs(second);
                // What stands in the Secret changes at 10 s; one speaker is late, the other one looks twice.
                if second == 10 || second == 10 + again {
                    rings[0].follow(keys(&[2]), now);
                }
                if second == 10 + late {
                    rings[1].follow(keys(&[2]), now);
                }
                let [one, other] = [rings[0].accepted(now), rings[1].accepted(now)];
                assert!(one.contains(&other[0]) && other.contains(&one[0]), "{late} {second}: {one:?} {other:?}");
            }
            let end = start + Duration::from_secs(250);
            assert!(rings.iter().all(|ring| ring.accepted(end) == keys(&[2])), "the old one is not accepted for ever");
        }
    }

    #[test]
    fn the_first_key_seals_at_once_and_so_does_one_that_was_accepted_before() {
        let now = Instant::now();
        let mut ring = KeyRing::new(vec![], now);
        ring.follow(keys(&[1, 9]), now);
        assert_eq!(ring.accepted(now), keys(&[1, 9]));
        // The administrator's second key.
        ring.follow(keys(&[9, 1]), now);
        assert_eq!(ring.accepted(now), keys(&[9, 1]));
        let mut saved = KeyRing::new(keys(&[1, 2]), now);
        saved.follow(keys(&[2]), now);
        assert_eq!(saved.accepted(now), keys(&[2, 1]), "a restart in the middle of a change");
        assert_eq!(saved.accepted(now + 2 * SPREAD), keys(&[2]));
    }

    #[test]
    fn a_change_during_a_change_keeps_what_others_may_still_seal_with() {
        let now = Instant::now();
        let mut ring = KeyRing::new(keys(&[1]), now);
        ring.follow(keys(&[2]), now);
        ring.follow(keys(&[3]), now + SPREAD / 2);
        assert_eq!(ring.accepted(now + SPREAD / 2), keys(&[1, 2, 3]));
        assert_eq!(ring.accepted(now + SPREAD * 2), keys(&[3, 1, 2]));
        assert_eq!(ring.accepted(now + SPREAD * 4), keys(&[3]));
    }
}
