//! What the parts of the engine say in their ConfigurationState objects: with MetalLB's names, as tools look for them.

use crate::crd::{ConfigurationResult, ConfigurationStateStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

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
    /// Whether a status says this summary (empty: all is well), whenever it was said.
    #[must_use]
    pub fn says(self, status: &ConfigurationStateStatus, summary: &str) -> bool {
        let (result, holds, reason) = verdict(summary);
        status.result == Some(result)
            && status.error_summary == summary
            && matches!(&*status.conditions, [one] if one.type_ == self.condition && one.status == holds
                && one.reason == reason && one.message == summary)
    }

    /// The object to apply to the status. The time of the last transition stays while the result does.
    #[must_use]
    pub fn apply(self, name: &str, summary: &str, before: Option<&ConfigurationStateStatus>, now: Timestamp) -> Value {
        let (result, holds, reason) = verdict(summary);
        let mut before = before.into_iter().flat_map(|status| &status.conditions);
        let same = before.find(|one| one.type_ == self.condition && one.status == holds);
        let condition = Condition {
            type_: self.condition.to_owned(),
            status: holds.to_owned(),
            reason: reason.to_owned(),
            message: summary.to_owned(),
            last_transition_time: same.map_or(Time(now), |condition| condition.last_transition_time.clone()),
            observed_generation: None,
        };
        json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ConfigurationState",
            "metadata": { "name": name },
            // The summary also when it is empty: another manager's would stay otherwise.
            "status": { "result": result, "errorSummary": summary, "conditions": [condition] },
        })
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
        let bad = CONTROLLER.apply("controller", "one", None, first);
        assert_eq!(bad["status"]["result"], "Invalid");
        assert!(CONTROLLER.says(&status(&bad), "one") && !CONTROLLER.says(&status(&bad), ""));
        assert!(!SPEAKER.says(&status(&bad), "one"), "another reporter's condition");
        // Another mistake is no transition; none is.
        let other = CONTROLLER.apply("controller", "other", Some(&status(&bad)), later);
        assert_eq!((since(&other), &other["status"]["errorSummary"]), (since(&bad), &json!("other")));
        let good = CONTROLLER.apply("controller", "", Some(&status(&other)), later);
        assert_ne!(since(&good), since(&bad));
        assert_eq!(good["status"]["errorSummary"], "", "told, so that nobody's stays");
        assert!(CONTROLLER.says(&status(&good), ""));
    }
}
