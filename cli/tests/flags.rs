//! Flags that docs/compatibility.md calls the same as MetalLB's are there.

use std::{path::Path, process::Command};

#[test]
fn flags_that_are_metallb_s_exist() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let text = std::fs::read_to_string(text).unwrap();
    let help: String = ["controller", "speaker"]
        .map(|daemon| {
            let output = Command::new(env!("CARGO_BIN_EXE_herald")).args([daemon, "--help"]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        })
        .concat();
    let section = text.split("\n## Flags\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let same = section.lines().filter(|line| line.contains("| same |"));
    let flags: Vec<&str> =
        same.flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|text| text.starts_with("--")).collect();
    assert!(flags.len() > 15, "{flags:?}");
    // An alias, which help does not show.
    for flag in flags.into_iter().filter(|flag| *flag != "--port") {
        assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{flag} is not there");
    }
    let port = Command::new(env!("CARGO_BIN_EXE_herald")).args(["controller", "--port", "none"]).output().unwrap();
    assert!(String::from_utf8(port.stderr).unwrap().contains("invalid value 'none'"));
}
