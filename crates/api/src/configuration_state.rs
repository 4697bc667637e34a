//! What the parts of the engine say in their ConfigurationState objects: with MetalLB's names, as tools look for them.

use crate::crd::{ConfigurationResult, ConfigurationStateStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};
use std::{fmt, net::IpAddr, str::FromStr};

/// Type of the condition by which a speaker tells of addresses that it cannot announce. It is there while there are such.
const CONFLICTS: &str = "herald.io/AddressConflicts";
/// Most of them in it.
const MAX_CONFLICTS: usize = 64;

/// An address of a Service that a node does not announce because it is no good on its link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The address.
    pub address: IpAddr,
    /// The link.
    pub link: String,
    /// Why, as a label (`held`, `of_node`, `network`, `broadcast`).
    pub why: String,
    /// The MAC address of the station that has it; empty when none is known.
    pub station: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, link, why, station } = self;
        write!(f, "{address} {link} {why}")?;
        if station.is_empty() { Ok(()) } else { write!(f, " {station}") }
    }
}

impl FromStr for Conflict {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let (Some(address), Some(link), Some(why)) = (words.next(), words.next(), words.next()) else { return Err(()) };
        let address = address.parse().map_err(drop)?;
        let station = words.next().unwrap_or_default().to_owned();
        Ok(Self { address, link: link.to_owned(), why: why.to_owned(), station })
    }
}

/// What a speaker tells of addresses that it cannot announce. What is not understood (another version's) is left out.
#[must_use]
pub fn conflicts(status: &ConfigurationStateStatus) -> Vec<Conflict> {
    let told = status.conditions.iter().find(|one| one.type_ == CONFLICTS && one.status == "True");
    let lines = told.into_iter().flat_map(|told| told.message.lines());
    lines.take(MAX_CONFLICTS).filter_map(|line| line.parse().ok()).collect()
}

/// A part of the engine that says whether its configuration is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reporter {
    /// Field manager of the status.
    pub manager: &'static str,
    /// Type of its one condition.
    condition: &'static str,
}

/// The controller.
pub const CONTROLLER: Reporter = Reporter { manager: "poolReconciler", condition: "poolReconcilerValid" };
/// A speaker.
pub const SPEAKER: Reporter = Reporter { manager: "configReconciler", condition: "configReconcilerValid" };

impl Reporter {
    /// Whether a status says this summary (empty: all is well) and these conflicts, whenever it was said.
    #[must_use]
    pub fn says(self, status: &ConfigurationStateStatus, summary: &str, conflicts: &[Conflict]) -> bool {
        let said = |one: &Condition| (one.type_.clone(), one.status.clone(), one.reason.clone(), one.message.clone());
        // Whom a speaker misses is another manager's.
        let ours = || status.conditions.iter().filter(|one| one.type_ != crate::peers::CONDITION);
        let wanted = self.conditions(summary, conflicts, Some(status), Timestamp::UNIX_EPOCH);
        status.result == Some(verdict(summary).0)
            && status.error_summary == summary
            && ours().map(said).eq(wanted.iter().map(said))
    }

    /// The object to apply to the status. The time of the last transition stays while the result does.
    #[must_use]
    pub fn apply(
        self,
        name: &str,
        summary: &str,
        conflicts: &[Conflict],
        before: Option<&ConfigurationStateStatus>,
        now: Timestamp,
    ) -> Value {
        json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ConfigurationState",
            "metadata": { "name": name },
            // The summary also when it is empty: another manager's would stay otherwise.
            "status": {
                "result": verdict(summary).0,
                "errorSummary": summary,
                "conditions": self.conditions(summary, conflicts, before, now),
            },
        })
    }

    fn conditions(
        self,
        summary: &str,
        conflicts: &[Conflict],
        before: Option<&ConfigurationStateStatus>,
        now: Timestamp,
    ) -> Vec<Condition> {
        let condition = |kind: &str, holds: &str, reason: &str, message: String| {
            let mut before = before.into_iter().flat_map(|status| &status.conditions);
            let same = before.find(|one| one.type_ == kind && one.status == holds);
            Condition {
                type_: kind.to_owned(),
                status: holds.to_owned(),
                reason: reason.to_owned(),
                message,
                last_transition_time: same.map_or(Time(now), |condition| condition.last_transition_time.clone()),
                observed_generation: None,
            }
        };
        let (_, holds, reason) = verdict(summary);
        let mut all = vec![condition(self.condition, holds, reason, summary.to_owned())];
        if !conflicts.is_empty() {
            let lines: Vec<String> = conflicts.iter().take(MAX_CONFLICTS).map(ToString::to_string).collect();
            all.push(condition(CONFLICTS, "True", "AddressConflict", lines.join("\n")));
        }
        all
    }
}

/// The result, and status and reason of the condition, that go with a summary.
const fn verdict(summary: &str) -> (ConfigurationResult, &'static str, &'static str) {
    if summary.is_empty() {
        (ConfigurationResult::Valid, "True", "Reconciled")
    } else {
        (ConfigurationResult::Invalid, "False", "ConfigurationError")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(applied: &Value) -> ConfigurationStateStatus {
        serde_json::from_value(applied["status"].clone()).unwrap()
    }

    #[test]
    fn what_was_applied_is_said_and_nothing_else() {
        let [first, later] = [1_000_000, 2_000_000].map(|second| Timestamp::from_second(second).unwrap());
        let since = |applied: &Value| applied["status"]["conditions"][0]["lastTransitionTime"].clone();
        let bad = CONTROLLER.apply("controller", "one", &[], None, first);
        assert_eq!(bad["status"]["result"], "Invalid");
        assert!(CONTROLLER.says(&status(&bad), "one", &[]) && !CONTROLLER.says(&status(&bad), "", &[]));
        assert!(!SPEAKER.says(&status(&bad), "one", &[]), "another reporter's condition");
        // Another mistake is no transition; none is.
        let other = CONTROLLER.apply("controller", "other", &[], Some(&status(&bad)), later);
        assert_eq!((since(&other), &other["status"]["errorSummary"]), (since(&bad), &json!("other")));
        let good = CONTROLLER.apply("controller", "", &[], Some(&status(&other)), later);
        assert_ne!(since(&good), since(&bad));
        assert_eq!(good["status"]["errorSummary"], "", "told, so that nobody's stays");
        assert!(CONTROLLER.says(&status(&good), "", &[]));
    }

    #[test]
    fn conflicts_are_told_and_read_as_long_as_there_are_any() {
        let now = Timestamp::UNIX_EPOCH;
        let told: Vec<Conflict> = ["192.0.2.1 eth0 held 02:ff:00:00:00:01", "fd00::1 eth0 of_node"]
            .iter()
            .map(|it| it.parse().unwrap())
            .collect();
        assert_eq!((&*told[0].station, &*told[1].station), ("02:ff:00:00:00:01", ""));
        let with = status(&SPEAKER.apply("speaker-a", "", &told, None, now));
        assert_eq!((conflicts(&with), with.result), (told.clone(), Some(ConfigurationResult::Valid)));
        assert!(
            SPEAKER.says(&with, "", &told) && !SPEAKER.says(&with, "", &told[..1]) && !SPEAKER.says(&with, "", &[])
        );
        let without = status(&SPEAKER.apply("speaker-a", "", &[], Some(&with), now));
        assert_eq!((conflicts(&without), without.conditions.len()), (vec![], 1));
        // What is not understood is nobody's address.
        let mut strange = with;
        strange.conditions[1].message = "everything\n192.0.2.1\nfd00::2 eth1 held".to_owned();
        assert_eq!(conflicts(&strange), ["fd00::2 eth1 held".parse().unwrap()]);
    }
}
