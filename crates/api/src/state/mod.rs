//! What `/debug/state` of a daemon answers, and what `herald status` and `herald explain` read back.
//!
//! Plain values without Kubernetes types. Whoever reads them may be newer or older than who wrote them: every field has a default, unknown
//! ones are skipped, and reasons carry their texts with them, so that a reader shows reasons that it does not know.

mod controller;
mod speaker;

pub use controller::{
    ConfigurationState, ControllerState, CountState, DecisionState, NoteState, PoolState, ProblemState,
};
pub use speaker::{
    AnswerState, ClaimState, DataPlaneState, EvacuationState, GroupState, Health, Known, LinkState, MemberState,
    MoveState, ServiceState, SnapshotState, SpeakerState, VerdictState,
};

use herald_core::reason::Reason;
use serde::{Deserialize, Serialize};

/// Version of the format; grows when a field changes its meaning. New fields need no new version.
pub const VERSION: u32 = 1;

/// Why something is not as wanted: a [`Reason`] as a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Why {
    /// Short and stable: what tools compare.
    pub code: String,
    /// What is the case.
    pub text: String,
    /// What to do about it.
    pub next_step: String,
}

impl<R: Reason> From<&R> for Why {
    fn from(reason: &R) -> Self {
        Self { code: reason.label().to_owned(), text: reason.to_string(), next_step: reason.next_step().into_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_core::ownership::Silent;

    #[test]
    fn what_a_newer_daemon_adds_is_skipped_and_what_an_older_one_lacks_has_a_default() {
        let newer = r#"{"version": 2, "node": "a", "links": {"eth0": {"mac": "02:00:00:00:00:01", "speed": 10000}}, "weather": "fine"}"#;
        let state: SpeakerState = serde_json::from_str(newer).unwrap();
        assert_eq!((state.version, state.node.as_str()), (2, "a"));
        assert_eq!(state.links["eth0"].mac, "02:00:00:00:00:01");
        assert_eq!(serde_json::from_str::<SpeakerState>("{}").unwrap(), SpeakerState::default());
        assert_eq!(serde_json::from_str::<ControllerState>("{}").unwrap(), ControllerState::default());
        let known: MemberState = serde_json::from_str(r#"{"known": "telepathy"}"#).unwrap();
        assert_eq!(known.known, Known::Unknown);
    }

    #[test]
    fn a_reason_is_told_with_code_text_and_next_step() {
        let why = Why::from(&Silent::NotAdvertised("gold".into()));
        assert_eq!((why.code.as_str(), why.text.as_str()), ("not_advertised", "no advertisement is for pool gold"));
        assert!(why.next_step.contains("L2Advertisement"));
        let text = serde_json::to_string(&why).unwrap();
        assert_eq!(serde_json::from_str::<Why>(&text).unwrap(), why);
    }
}
