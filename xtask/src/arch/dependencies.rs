//! R1 from the text of `cargo tree --prefix depth`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, Violation};

/// The packages without I/O.
pub(super) const PURE: [&str; 2] = ["herald-core", "herald-wire"];

/// Every linked crate that the list does not allow, with the chain that brings it in, and every line of the list that nothing
/// uses; and how many crates were looked at.
pub(super) fn check(tree: &str, allowed: &str) -> (Vec<Violation>, usize) {
    let allowed: BTreeMap<&str, usize> = allowed
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#'))
        .filter_map(|(index, line)| line.split_once(':').map(|(name, _)| (name.trim(), index + 1)))
        .collect();
    let mut violations = Vec::new();
    let mut seen = BTreeSet::new();
    let mut chain: Vec<&str> = Vec::new();
    for line in tree.lines() {
        // "2serde v1.0.229 (*)": depth, name, version, marks.
        let name_at = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len());
        let (depth, rest) = line.split_at(name_at);
        let (Ok(depth), Some(name)) = (depth.parse::<usize>(), rest.split_whitespace().next()) else { continue };
        chain.truncate(depth);
        chain.push(name);
        let first = seen.insert(name);
        if first && !PURE.contains(&name) && !allowed.contains_key(name) {
            violations.push(Violation {
                file: "Cargo.toml".to_owned(),
                line: 0,
                rule: Rule::R1PureDependencies,
                found: format!("{} is not on the list", chain.join(" -> ")),
            });
        }
    }
    for (name, line) in &allowed {
        if !seen.contains(name) {
            violations.push(Violation {
                file: "xtask/src/arch/allowed.txt".to_owned(),
                line: *line,
                rule: Rule::R1PureDependencies,
                found: format!("{name} is linked no more: remove the line"),
            });
        }
    }
    (violations, seen.len())
}
