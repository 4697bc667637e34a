//! Labels and the selectors that choose by them (the rules of Kubernetes' `LabelSelector`).

use crate::Set;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The labels of an object. A clone shares them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// `key=value` lines in the order of the keys: one allocation for all of them, as ten thousand Services have theirs. Kubernetes allows
    /// neither character in a label.
    lines: Arc<str>,
}

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// Keys with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.lines().filter_map(|line| line.split_once('='))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Keys must be unique, as they are in an object's metadata.
impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let mut labels: Vec<(K, V)> = labels.into_iter().collect();
        labels.sort_unstable_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        let lines: Vec<String> =
            labels.iter().map(|(key, value)| [key.as_ref(), "=", value.as_ref()].concat()).collect();
        Self { lines: lines.join("\n").into() }
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<Box<str>, Box<str>>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// What labels must be like: all requirements hold. Without requirements every object is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selector {
    /// All of these; `matchLabels` are requirements `In` with one value. Sorted, so that equal selectors compare equal.
    pub requirements: Set<Requirement>,
}

/// One requirement on a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// The label.
    pub key: Box<str>,
    /// What is required of it.
    pub operator: Operator,
}

/// What is required of a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operator {
    /// It is there and has one of these values.
    In(Set<Box<str>>),
    /// It is absent or has none of these values.
    NotIn(Set<Box<str>>),
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let among = |values: &Set<Box<str>>| value.is_some_and(|value| values.iter().any(|one| **one == *value));
        match &self.operator {
            Operator::In(values) => among(values),
            Operator::NotIn(values) => !among(values),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl Selector {
    /// Whether an object with these labels is chosen.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels))
    }
}

/// Whether one of the selectors chooses an object with these labels: none chooses nothing.
#[must_use]
pub fn any_matches(selectors: &[Selector], labels: &Labels) -> bool {
    selectors.iter().any(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(key: &str, operator: Operator) -> Selector {
        Selector { requirements: [Requirement { key: key.into(), operator }].into() }
    }

    #[test]
    fn operators() {
        let labels: Labels = [("zone", "a"), ("disk", "ssd")].into_iter().collect();
        let values = || Set::from(["a".into(), "b".into()]);
        for (key, operator, matches) in [
            ("zone", Operator::In(values()), true),
            ("disk", Operator::In(values()), false),
            ("none", Operator::In(values()), false),
            ("zone", Operator::NotIn(values()), false),
            ("disk", Operator::NotIn(values()), true),
            ("none", Operator::NotIn(values()), true),
            ("zone", Operator::Exists, true),
            ("none", Operator::Exists, false),
            ("zone", Operator::DoesNotExist, false),
            ("none", Operator::DoesNotExist, true),
        ] {
            assert_eq!(selector(key, operator.clone()).matches(&labels), matches, "{key} {operator:?}");
        }
    }

    #[test]
    fn labels_are_found_and_listed_by_key() {
        let labels: Labels = [("a", "1"), ("a.b/c-d", ""), ("a-b", "x.y_z")].into_iter().rev().collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("a-b", "x.y_z"), ("a.b/c-d", "")]);
        assert_eq!((labels.get("a"), labels.get("a.b/c-d"), labels.get("a-")), (Some("1"), Some(""), None));
        assert_eq!(Labels::default().iter().next(), None);
    }

    #[test]
    fn all_requirements_of_one_selector_any_of_several() {
        let labels: Labels = [("zone", "a")].into_iter().collect();
        assert!(Selector::default().matches(&labels), "an empty selector chooses everything");
        assert!(!any_matches(&[], &labels), "no selector chooses nothing");
        let (zone, disk) = (selector("zone", Operator::Exists), selector("disk", Operator::Exists));
        assert!(any_matches(&[disk.clone(), zone.clone()], &labels));
        let both = zone.requirements.iter().chain(&disk.requirements).cloned().collect();
        assert!(!Selector { requirements: both }.matches(&labels));
    }
}
