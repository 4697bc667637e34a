//! The steps of an explanation.

use herald_api::state::Why;
use serde::Serialize;

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    Failing,
    /// Not known, or not to be told from here.
    Unknown,
}

impl Verdict {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing => "FAILING",
            Self::Unknown => "unknown",
        }
    }
}

/// One step on the way from the Service to its clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Step {
    pub(crate) step: &'static str,
    pub(crate) verdict: Verdict,
    /// Why it is not ok: short and stable, for tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// What was seen, most important first.
    pub(crate) seen: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

impl Step {
    pub(crate) fn ok(step: &'static str, seen: impl Into<String>) -> Self {
        Self { step, verdict: Verdict::Ok, code: None, seen: vec![seen.into()], fix: None }
    }

    pub(crate) fn unknown(step: &'static str, seen: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::ok(step, seen) }
    }

    pub(crate) fn failing(step: &'static str, code: &str, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failing, code: Some(code.to_owned()), fix: Some(fix.into()), ..Self::ok(step, seen) }
    }

    /// Fails for a reason that a daemon gave.
    pub(crate) fn refused(step: &'static str, why: &Why) -> Self {
        Self::failing(step, &why.code, &*why.text, &*why.next_step)
    }

    /// With a code and something to try, whatever the verdict.
    pub(crate) fn hint(self, code: &str, fix: impl Into<String>) -> Self {
        Self { code: Some(code.to_owned()), fix: Some(fix.into()), ..self }
    }

    /// With further things that were seen.
    pub(crate) fn also(mut self, seen: impl IntoIterator<Item = String>) -> Self {
        self.seen.extend(seen);
        self
    }
}
