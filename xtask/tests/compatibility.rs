//! docs/compatibility.md: its figures are its rows, and what the code calls by a name is in it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const VERDICTS: [&str; 4] = ["same", "better", "different", "not yet"];

type Counts = BTreeMap<String, [usize; 4]>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// Rows by section and verdict, and what the table at the top says.
fn counts(text: &str) -> (Counts, Counts) {
    let (mut rows, mut told) = (Counts::new(), Counts::new());
    let mut section: Option<&str> = None;
    for line in text.lines() {
        section = line.strip_prefix("## ").or(section);
        let cells = cells(line);
        match (section, &*cells) {
            (Some(section), [_, verdict, ..]) if line.starts_with('|') && !matches!(*verdict, "" | "---") => {
                let index = VERDICTS.iter().position(|known| known == verdict);
                rows.entry(section.to_owned()).or_default()[index.unwrap_or_else(|| panic!("{line}"))] += 1;
            }
            (None, [name, numbers @ ..]) if numbers.len() == 4 && numbers[0].parse::<usize>().is_ok() => {
                let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
                told.insert((*name).to_owned(), numbers.try_into().unwrap());
            }
            _ => {}
        }
    }
    (rows, told)
}

#[test]
fn the_figures_are_those_of_the_rows() {
    let (mut rows, told) = counts(&read("docs/compatibility.md"));
    let all = rows.values().fold([0; 4], |sum: [usize; 4], row| std::array::from_fn(|i| sum[i] + row[i]));
    rows.insert("All".to_owned(), all);
    let table = |counts: &Counts| -> String {
        counts.iter().map(|(name, [a, b, c, d])| format!("| {name} | {a} | {b} | {c} | {d} |\n")).collect()
    };
    assert_eq!(table(&told), table(&rows), "the rows say:\n{}", table(&rows));
}

#[test]
fn nothing_of_layer_2_is_missing() {
    let text = read("docs/compatibility.md");
    for line in text.lines().filter(|line| line.starts_with('|') && cells(line).get(1) == Some(&"not yet")) {
        let bgp = ["BGP", "bgp", "frr"].iter().any(|word| line.contains(word));
        assert!(bgp, "{line}");
    }
}

/// All sources below these folders, tests aside.
fn sources(folders: &[&str]) -> String {
    fn walk(path: &Path, text: &mut String) {
        let mut entries: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "tests" {
                walk(&path, text);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let file = fs::read_to_string(&path).unwrap();
                text.push_str(file.split("#[cfg(test)]\nmod tests {").next().unwrap());
            }
        }
    }
    let mut text = String::new();
    folders.iter().for_each(|folder| walk(&root().join(folder), &mut text));
    text
}

const CODE: [&str; 5] = ["controller/src", "speaker/src", "crates/runtime/src", "crates/api/src", "crates/core/src"];

/// What stands between two quotation marks, each with what stands before and behind it.
fn literals(code: &str) -> Vec<(&str, &str, &str)> {
    let parts: Vec<&str> = code.split('"').collect();
    parts.windows(3).map(|three| (three[0], three[1], three[2])).collect()
}

#[test]
fn every_metric_is_listed() {
    let code = sources(&CODE);
    let (compatibility, metrics) = (read("docs/compatibility.md"), read("docs/metrics.md"));
    let name = |text: &&str| text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
    let names: BTreeSet<&str> = literals(&code).into_iter().map(|(_, text, _)| text).filter(name).collect();
    let of = |prefix: &'static str| names.iter().filter(move |name| name.starts_with(prefix));
    assert!(of("metallb_").count() > 10 && of("herald_").count() > 10);
    for metric in of("metallb_") {
        assert!(compatibility.contains(&format!("`{metric}`")), "{metric} is not in docs/compatibility.md");
    }
    for metric in of("herald_") {
        assert!(metrics.contains(&format!("`{metric}`")), "{metric} is not in docs/metrics.md");
    }
}

#[test]
fn every_annotation_and_label_is_listed() {
    let text = read("docs/compatibility.md");
    let code = read("crates/api/src/annotations.rs");
    let keys: Vec<&str> = code.split("key!(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(keys.len() >= 4);
    for key in keys {
        assert!(text.contains(&format!("`metallb.io/{key}`")), "annotation {key} is not in docs/compatibility.md");
    }
    let code = read("crates/api/src/crd/mod.rs");
    for (_, label, _) in literals(&code).into_iter().filter(|(_, text, _)| text.starts_with("metallb.io/")) {
        assert!(text.contains(label), "label {label} is not in docs/compatibility.md");
    }
}

#[test]
fn every_event_is_listed() {
    let code = sources(&["crates/api/src", "controller/src", "speaker/src"]);
    let code: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = |(before, _, behind): &(&str, &str, &str)| {
        let field = before.trim_end().ends_with("reason:");
        let kind_follows = behind.trim_start().starts_with(", Kind::");
        let kind = behind.trim_start().starts_with(", kind: Kind::") || before.trim_end().ends_with(", reason:");
        kind_follows || (field && kind && (before.contains("kind: Kind::") || behind.contains("kind: Kind::")))
    };
    let reasons: BTreeSet<&str> = literals(&code).into_iter().filter(told).map(|(_, reason, _)| reason).collect();
    for known in ["IPAllocated", "nodeAssigned", "announceFailed", "InvalidConfiguration", "ClearAssignment"] {
        assert!(reasons.contains(known), "{known} is not found in the code: {reasons:?}");
    }
    let text = read("docs/compatibility.md");
    for reason in reasons {
        assert!(text.contains(&format!("`{reason}`")), "event {reason} is not in docs/compatibility.md");
    }
}

/// A name of a test in docs/traps.md is a name of a test.
#[test]
fn the_tests_that_cover_traps_exist() {
    fn walk(path: &Path, text: &mut String) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut code = String::new();
    ["crates", "controller", "speaker", "cli", "tests"].iter().for_each(|folder| walk(&root().join(folder), &mut code));
    let text = read("docs/traps.md");
    let table = text.split_once("\n|").unwrap().1;
    let names: Vec<&str> = table.split('`').skip(1).step_by(2).collect();
    let tests: Vec<&str> =
        names.into_iter().filter(|name| name.contains('_') && !name.starts_with("herald_")).collect();
    assert!(tests.len() > 80);
    for name in tests {
        let function = code.contains(&format!("fn {name}("));
        assert!(function || code.contains(&format!("(\"{name}\", ")), "{name} is no test");
    }
    let rows: Vec<&str> =
        text.lines().filter_map(|line| cells(line).first()?.parse::<u32>().ok().map(|_| line)).collect();
    assert_eq!(rows.len(), 60, "every line of MetalLB's history");
}
