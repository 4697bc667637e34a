//! Why something is not as wanted: one value feeds logs, events, metric labels, status and `explain`.

use std::{borrow::Cow, fmt::Display};

/// A reason. Its `Display` is what is the case, without the next step.
pub trait Reason: Display {
    /// Short and stable, `snake_case`: a metric label, and what tools compare.
    fn label(&self) -> &'static str;

    /// What to do about it, in the imperative.
    fn next_step(&self) -> Cow<'static, str>;

    /// What is the case, and what to do about it: for events and logs.
    fn advice(&self) -> String {
        format!("{self}: {}", self.next_step())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What every list of all reasons of a kind must be like.
    pub(crate) fn check<R: Reason>(all: &[R]) {
        let labels: BTreeSet<&str> = all.iter().map(Reason::label).collect();
        assert_eq!(labels.len(), all.len(), "labels are distinct: {labels:?}");
        for reason in all {
            let (label, text, step) = (reason.label(), reason.to_string(), reason.next_step());
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{label}");
            assert!(text.len() > 10 && !text.ends_with(['.', ':', ' ']), "{label}: {text:?}");
            assert!(step.len() > 10 && !step.ends_with(['.', ':', ' ']), "{label}: {step:?}");
            assert!(!text.contains(&*step), "{label} says its next step twice: {text:?}");
            assert_eq!(reason.advice(), format!("{text}: {step}"));
        }
    }
}
