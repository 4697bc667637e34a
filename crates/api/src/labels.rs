//! Label selectors.

use herald_core::labels::{Operator, Requirement, Selector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// What is wrong with a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorFault {
    /// A requirement without a key.
    #[error("a requirement has no key")]
    NoKey,
    /// Not an operator.
    #[error("unknown operator {0:?}")]
    Operator(String),
    /// `In` or `NotIn` without values.
    #[error("operator {operator} of key {key:?} has no values")]
    NoValues {
        /// The operator.
        operator: &'static str,
        /// The label.
        key: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("operator {operator} of key {key:?} has values")]
    Values {
        /// The operator.
        operator: &'static str,
        /// The label.
        key: String,
    },
    /// A value or requirement that stands twice.
    #[error("{0} stands twice")]
    Twice(String),
}

impl SelectorFault {
    /// What to do about it.
    #[must_use]
    pub const fn next_step(&self) -> &'static str {
        match self {
            Self::NoKey => "add the label's key",
            Self::Operator(_) => "write In, NotIn, Exists or DoesNotExist",
            Self::NoValues { .. } => "add values",
            Self::Values { .. } => "remove the values",
            Self::Twice(_) => "keep one",
        }
    }
}

/// A selector as the rules see it.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn selector(object: &LabelSelector) -> Result<Selector, SelectorFault> {
    let labels = object.match_labels.iter().flatten();
    let mut all: Vec<Requirement> = labels
        .map(|(key, value)| Requirement {
            key: key.as_str().into(),
            operator: Operator::In([value.as_str().into()].into()),
        })
        .collect();
    let mut expressions: Vec<Requirement> = Vec::new();
    for raw in object.match_expressions.iter().flatten() {
        let requirement = requirement(&raw.key, &raw.operator, raw.values.as_deref().unwrap_or_default())?;
        if expressions.contains(&requirement) {
            return Err(SelectorFault::Twice(format!("the requirement on {:?}", raw.key)));
        }
        expressions.push(requirement);
    }
    all.extend(expressions);
    Ok(Selector { requirements: all.into_iter().collect() })
}

/// One requirement of a selector.
///
/// # Errors
/// What is wrong with it.
pub fn requirement(key: &str, operator: &str, values: &[String]) -> Result<Requirement, SelectorFault> {
    if key.is_empty() {
        return Err(SelectorFault::NoKey);
    }
    if let Some(twice) =
        values.iter().enumerate().find(|(index, value)| values.iter().take(*index).any(|v| v == *value))
    {
        return Err(SelectorFault::Twice(format!("value {:?} of key {key:?}", twice.1)));
    }
    let some = |operator: &'static str, make: fn(herald_core::Set<Box<str>>) -> Operator| match values {
        [] => Err(SelectorFault::NoValues { operator, key: key.to_owned() }),
        values => Ok(make(values.iter().map(|value| value.as_str().into()).collect())),
    };
    let none = |name: &'static str, operator: Operator| match values {
        [] => Ok(operator),
        _ => Err(SelectorFault::Values { operator: name, key: key.to_owned() }),
    };
    let operator = match operator {
        "In" => some("In", Operator::In)?,
        "NotIn" => some("NotIn", Operator::NotIn)?,
        "Exists" => none("Exists", Operator::Exists)?,
        "DoesNotExist" => none("DoesNotExist", Operator::DoesNotExist)?,
        _ => return Err(SelectorFault::Operator(operator.to_owned())),
    };
    Ok(Requirement { key: key.into(), operator })
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_core::labels::Labels;

    fn parse(yaml: &str) -> Result<Selector, SelectorFault> {
        selector(&serde_saphyr::from_str(yaml).unwrap())
    }

    #[test]
    fn labels_and_expressions_are_all_required() {
        let selector = parse(
            "matchLabels: {zone: a}\nmatchExpressions: [{key: disk, operator: NotIn, values: [hdd, tape]}, {key: gpu, operator: DoesNotExist}]",
        )
        .unwrap();
        let labels = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Labels>();
        assert!(selector.matches(&labels(&[("zone", "a")])));
        assert!(selector.matches(&labels(&[("zone", "a"), ("disk", "ssd")])));
        assert!(!selector.matches(&labels(&[("zone", "a"), ("disk", "hdd")])));
        assert!(!selector.matches(&labels(&[("zone", "a"), ("gpu", "")])));
        assert!(!selector.matches(&labels(&[("zone", "b")])));
        assert_eq!(parse("{}"), Ok(Selector::default()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (yaml, text) in [
            ("{key: '', operator: Exists}", "a requirement has no key"),
            ("{key: a, operator: in, values: [b]}", "unknown operator \"in\""),
            ("{key: a, operator: In}", "operator In of key \"a\" has no values"),
            ("{key: a, operator: Exists, values: [b]}", "operator Exists of key \"a\" has values"),
            ("{key: a, operator: In, values: [b, c, b]}", "value \"b\" of key \"a\" stands twice"),
            (
                "{key: a, operator: In, values: [b, c]}, {key: a, operator: In, values: [c, b]}",
                "the requirement on \"a\" stands twice",
            ),
        ] {
            assert_eq!(parse(&format!("matchExpressions: [{yaml}]")).unwrap_err().to_string(), text);
        }
    }
}
