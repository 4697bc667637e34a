//! `herald validate` on the samples, the broken samples, and what else it may be given.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use std::path::Path;

fn validate(args: &[&str], input: &str) -> (Option<i32>, String, String) {
    common::herald(&[&["validate"], args].concat(), input)
}

#[test]
fn the_samples_are_valid() {
    let samples =
        ["custom-resources.yaml", "bgp.yaml", "metallb-l2config.yaml"].map(|name| format!("config/samples/{name}"));
    for sample in &samples {
        let (code, out, notes) = validate(&[sample], "");
        assert_eq!((code, out.as_str()), (Some(0), ""), "{sample}: {notes}");
    }
}

/// One clear line for each problem. `HERALD_REWRITE=1` writes what is said now.
#[test]
fn the_broken_samples() {
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples/broken/expected.txt");
    let (code, out, _) = validate(&["config/samples/broken"], "");
    if std::env::var_os("HERALD_REWRITE").is_some() {
        std::fs::write(&expected, &out).unwrap();
    }
    assert_eq!(out, std::fs::read_to_string(expected).unwrap());
    assert_eq!(code, Some(1));
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples/broken")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(name == "expected.txt" || out.contains(&name), "nothing is said about {name}");
    }
}

const POOL: &str =
    "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {addresses: [10.0.0.0/24]}\n";

#[test]
fn standard_input_and_skipped_kinds() {
    let text = format!("{POOL}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\n");
    let (code, out, notes) = validate(&["-"], &text);
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert_eq!(notes, "-: Deployment/web: skipped: Herald does not read this kind\n1 objects in 1 files, 0 problems\n");
}

#[test]
fn files_count_together() {
    let (code, out, _) =
        validate(&["-", "config/samples/custom-resources.yaml"], &POOL.replace("name: p", "name: lan"));
    assert_eq!(code, Some(1));
    assert_eq!(
        out,
        "config/samples/custom-resources.yaml: IPAddressPool/lan: it is defined twice, first in -; remove one of the two\n"
    );
}

#[test]
fn references_that_may_come_later() {
    let text = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: p}\nspec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: fast}\n";
    let line = "-: BGPPeer/p: spec.bfdProfile: no valid BFDProfile object has the name \"fast\"; create it, correct it, or correct the name (it may \
                come later)\n";
    let (code, out, _) = validate(&["-"], text);
    assert_eq!((code, out.as_str()), (Some(0), line));
    let (code, out, _) = validate(&["--strict", "-"], text);
    assert_eq!((code, out.as_str()), (Some(1), line));
}

#[test]
fn another_namespace() {
    let text = POOL.replace("name: p", "name: p, namespace: lb");
    let (code, _, _) = validate(&["--namespace", "lb", "-"], &text);
    assert_eq!(code, Some(0));
    let (code, out, _) = validate(&["-"], &text);
    assert_eq!(
        (code, out.as_str()),
        (
            Some(1),
            "-: IPAddressPool/p: the object is in namespace \"lb\", where nobody reads it; create it in namespace metallb-system\n"
        )
    );
}

#[test]
fn what_cannot_be_read() {
    let (code, _, notes) = validate(&["does/not/exist.yaml"], "");
    assert_eq!(code, Some(2));
    assert!(notes.contains("does/not/exist.yaml"), "{notes}");
    assert_eq!(validate(&[], "").0, Some(2));
}
