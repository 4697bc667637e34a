//! What has to be done so that the API server trusts what the replicas present: pure.

use herald_runtime::certificate::RENEW_AFTER;
use std::time::{Duration, SystemTime};

/// The Secret with the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// `metadata.resourceVersion`.
    pub(super) version: String,
    /// When we made it, and for which DNS name; `None`: somebody else did, who also renews it.
    pub(super) ours: Option<(SystemTime, String)>,
    /// `ca.crt`: the authority, then that of the certificate before.
    pub(super) authority: String,
    /// Whether certificate and key can be used.
    pub(super) usable: bool,
}

/// The ValidatingWebhookConfiguration: the `caBundle` of each webhook by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registered(pub(super) Vec<(String, String)>);

/// What is known; `None`: not yet, `Some(None)`: it does not exist.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) secret: Option<Option<Stored>>,
    pub(super) registered: Option<Option<Registered>>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make a certificate and the Secret.
    Create,
    /// Make a new certificate; the API server trusts the old one as well until all replicas present the new one.
    Renew {
        /// Version of the Secret that is replaced.
        version: String,
        /// What was trusted.
        old: String,
    },
    /// Tell the API server whom to trust.
    Register {
        /// PEM.
        bundle: String,
        /// Names of the webhooks that lack it.
        webhooks: Vec<String>,
    },
}

impl Known {
    /// Nothing while something is not known, or all is well.
    pub(super) fn step(&self, dns: &str, now: SystemTime) -> Option<Step> {
        let Some(stored) = self.secret.as_ref()? else { return Some(Step::Create) };
        if let Some((made, name)) = &stored.ours
            && (!stored.usable || name != dns || is_old(*made, now))
        {
            return Some(Step::Renew { version: stored.version.clone(), old: stored.authority.clone() });
        }
        let Registered(webhooks) = self.registered.as_ref()?.as_ref()?;
        let lack = webhooks.iter().filter(|(_, bundle)| *bundle != stored.authority);
        let webhooks: Vec<String> = lack.map(|(name, _)| name.clone()).collect();
        let bundle = stored.authority.clone();
        (!webhooks.is_empty() && !bundle.is_empty()).then_some(Step::Register { bundle, webhooks })
    }

    /// For `/readyz`: whether the API server can ask, and the detail.
    pub(super) fn detail(&self) -> (bool, &'static str) {
        match (&self.secret, &self.registered) {
            (None, _) | (_, None) => (false, "not known yet"),
            (Some(None), _) => (false, "no certificate yet"),
            (Some(Some(stored)), _) if !stored.usable => (false, "the Secret holds no usable certificate: see the log"),
            (_, Some(None)) => (false, "nobody asks: the ValidatingWebhookConfiguration does not exist"),
            (Some(Some(stored)), Some(Some(Registered(webhooks)))) => {
                match webhooks.iter().all(|(_, bundle)| *bundle == stored.authority) {
                    true => (true, "the API server asks here"),
                    false => (false, "the API server does not trust the certificate yet"),
                }
            }
        }
    }
}

fn is_old(made: SystemTime, now: SystemTime) -> bool {
    // A clock that went back far makes the age unknown: a new one is right in any case.
    let slack = Duration::from_secs(24 * 3600);
    now.duration_since(made).map_or(made > now + slack, |age| age >= RENEW_AFTER)
}

/// The bundle with a new authority: it comes first, and the one before it stays.
pub(super) fn bundle(new: &str, old: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let before = old.find(END).map(|at| &old[..at + END.len()]);
    match before {
        Some(before) => format!("{}\n{}\n", new.trim(), before.trim()),
        None => format!("{}\n", new.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DNS: &str = "herald-webhook.ns.svc";

    fn at(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs((20_000 + days) * 24 * 3600)
    }

    fn known(stored: Stored, bundle: &str) -> Known {
        let registered = Registered(vec![("a".to_owned(), bundle.to_owned()), ("b".to_owned(), "ca".to_owned())]);
        Known { secret: Some(Some(stored)), registered: Some(Some(registered)) }
    }

    fn stored() -> Stored {
        let ours = Some((at(0), DNS.to_owned()));
        Stored { version: "7".to_owned(), ours, authority: "ca".to_owned(), usable: true }
    }

    fn renew() -> Option<Step> {
        Some(Step::Renew { version: "7".to_owned(), old: "ca".to_owned() })
    }

    #[test]
    fn a_certificate_is_made_once_and_renewed_in_time() {
        assert_eq!(Known::default().step(DNS, at(0)), None, "nothing is known");
        assert_eq!(Known { secret: Some(None), registered: None }.step(DNS, at(0)), Some(Step::Create));
        let good = known(stored(), "ca");
        for (day, step) in [(0, None), (242, None), (243, renew()), (400, renew())] {
            assert_eq!(good.step(DNS, at(day)), step, "day {day}");
        }
        assert_eq!(good.step("other.ns.svc", at(1)), renew(), "for another Service");
        assert_eq!(known(Stored { usable: false, ..stored() }, "ca").step(DNS, at(1)), renew());
        let future = Stored { ours: Some((at(9), DNS.to_owned())), ..stored() };
        assert_eq!(known(future, "ca").step(DNS, at(1)), renew(), "made in the future");
    }

    #[test]
    fn what_somebody_else_made_is_used_as_it_is() {
        let theirs = Stored { ours: None, ..stored() };
        assert_eq!(known(theirs.clone(), "ca").step("other", at(1000)), None);
        let broken = known(Stored { usable: false, ..theirs }, "ca");
        assert_eq!(broken.step(DNS, at(0)), None);
        assert!(!broken.detail().0);
    }

    #[test]
    fn the_api_server_is_told_whom_to_trust() {
        let untold = known(stored(), "");
        let register = Step::Register { bundle: "ca".to_owned(), webhooks: vec!["a".to_owned()] };
        assert_eq!(untold.step(DNS, at(0)), Some(register));
        assert!(!untold.detail().0 && known(stored(), "ca").detail().0);
        let nobody = Known { secret: Some(Some(stored())), registered: Some(None) };
        assert_eq!(nobody.step(DNS, at(0)), None);
        assert!(nobody.detail().1.contains("does not exist"));
    }

    #[test]
    fn the_authority_before_is_trusted_a_while() {
        let pem = |name: &str| format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n");
        let (one, two, three) = (pem("one"), pem("two"), pem("three"));
        assert_eq!(bundle(&one, ""), one);
        let both = bundle(&two, &one);
        assert_eq!(both, format!("{two}{one}"));
        assert_eq!(bundle(&three, &both), format!("{three}{two}"));
    }
}
