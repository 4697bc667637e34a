//! Names of objects: RFC 1123 subdomains, unique by kind.

use serde_json::Value;
use std::collections::BTreeSet;

/// RFC 1123, as Kubernetes has it.
const LONGEST: usize = 253;

/// Names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<(String, String)>);

impl Names {
    /// The names of these objects.
    pub(super) fn of(objects: &[Value]) -> Self {
        let name = |object: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&object["kind"]), text(&object["metadata"]["name"]))
        };
        Self(objects.iter().map(name).collect())
    }

    /// A free name for an object of this kind, as near to `wanted` as may be.
    pub(super) fn take(&mut self, kind: &str, wanted: &str) -> String {
        let base = subdomain(wanted, kind);
        let mut name = base.clone();
        for number in 2_u32.. {
            if self.0.insert((kind.to_owned(), name.clone())) {
                break;
            }
            let suffix = format!("-{number}");
            let cut: String = base.chars().take(LONGEST.saturating_sub(suffix.len())).collect();
            name = format!("{}{suffix}", cut.trim_end_matches(['-', '.']));
        }
        name
    }
}

/// The text where it is a valid name, else the nearest one: lower case, hyphens for what is not allowed.
fn subdomain(wanted: &str, kind: &str) -> String {
    let allowed = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let label = |label: &str| {
        let label: String = label.chars().flat_map(char::to_lowercase).map(allowed).collect();
        label.trim_matches('-').to_owned()
    };
    let labels: Vec<String> = wanted.split('.').map(label).filter(|label| !label.is_empty()).collect();
    let name: String = labels.join(".").chars().take(LONGEST).collect();
    let name = name.trim_end_matches(['-', '.']);
    if name.is_empty() { kind.to_ascii_lowercase() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names_stay_and_others_come_near() {
        let long = "a".repeat(300);
        for (wanted, name) in [
            ("lan", "lan"),
            ("1st.pool-2", "1st.pool-2"),
            ("My_Pool", "my-pool"),
            ("-Büro 3-", "b-ro-3"),
            ("..", "ipaddresspool"),
            ("", "ipaddresspool"),
            (&*long, &long[..253]),
        ] {
            assert_eq!(Names::default().take("IPAddressPool", wanted), name);
        }
    }

    #[test]
    fn names_that_become_equal_get_a_number() {
        let mut names = Names::default();
        let taken = ["my_pool", "my-pool", "My.Pool", "my pool"].map(|name| names.take("IPAddressPool", name));
        assert_eq!(taken, ["my-pool", "my-pool-2", "my.pool", "my-pool-3"]);
        assert_eq!(names.take("L2Advertisement", "my-pool"), "my-pool", "each kind has its own");
        let long = "a".repeat(253);
        assert_eq!(names.take("IPAddressPool", &long), long);
        assert_eq!(names.take("IPAddressPool", &long), format!("{}-2", &long[..251]));
    }
}
